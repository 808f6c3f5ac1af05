"""Argilla's exports, written here after its SDK's records, and read back."""

import json
import random
import uuid

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.comparisons import InputError, write_preferences
from earnest.comparisons.exports import read_export

MODELS = ("zephyr", "notus", "olmo-é")
USERS = [str(uuid.UUID(int=i)) for i in range(3)]
WINNERS = ("model_a", "model_b", "tie")


def some_records(rng, n, winners=WINNERS):
    made = []
    for number in range(n):
        first, second = rng.sample(MODELS, 2)
        votes = [{"user": user, "winner": rng.choice(winners)} for user in rng.sample(USERS, rng.randrange(1, 4))]
        made.append(
            {
                **{"id": f"record-{number}", "model_a": first, "model_b": second, "prompt": f"Hvorfor {rng.random()}?"},
                **{"response-1": f"Fordi {rng.random()}", "response-2": f"„Nej“\n{rng.random()}", "votes": votes},
            }
        )
    return made


def votes_of(records):
    return [{**record, **vote} for record in records for vote in record["votes"]]


def label(winner):
    return {"model_a": "response-1", "model_b": "response-2", "tie": "tie"}[winner]


def ranking(winner):
    ranks = {"model_a": (1, 2), "model_b": (2, 1), "tie": (1, 1)}[winner]
    return [{"value": f"response-{i}", "rank": rank} for i, rank in enumerate(ranks, 1)]


def sdk_ranking(winner):
    return ["response-1", "response-2"] if winner == "model_a" else ["response-2", "response-1"]


def nested(records, value=label, question="preference"):
    """`dataset.records.to_json`."""
    return [
        {
            **{"id": record["id"], "fields": {k: record[k] for k in ("prompt", "response-1", "response-2")}},
            **{"metadata": {"model_a": record["model_a"], "model_b": record["model_b"], "source": "ultra"}},
            "suggestions": {question: {"value": "response-1", "score": 0.9, "agent": "gpt"}},
            "responses": {
                question: [{"value": value(vote["winner"]), "user_id": vote["user"]} for vote in record["votes"]]
            },
            **{"vectors": {}, "_server_id": str(uuid.uuid5(uuid.NAMESPACE_URL, record["id"]))},
        }
        for record in records
    ]


def flat(records, value=label, question="preference", status="submitted"):
    """`to_list(flatten=True)`, and `to_datasets()`."""
    return [
        {
            **{"id": record["id"], "_server_id": "x", "prompt": record["prompt"], "response-1": record["response-1"]},
            **{"response-2": record["response-2"], "model_a": record["model_a"], "model_b": record["model_b"]},
            f"{question}.responses": [value(vote["winner"]) for vote in record["votes"]],
            f"{question}.responses.users": [vote["user"] for vote in record["votes"]],
            f"{question}.responses.status": [status for _ in record["votes"]],
            **{
                f"{question}.suggestion": "response-1",
                f"{question}.suggestion.score": 0.9,
                f"{question}.suggestion.agent": "gpt",
            },
        }
        for record in records
    ]


def write(path, made):
    if path.suffix == ".parquet":
        pd.DataFrame(made).to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    else:
        path.write_text(json.dumps(made), encoding="utf-8")
    return path


def rows(log):
    return log.to_arrow().to_pylist()


def check(log, votes):
    for vote, row in zip(votes, rows(log), strict=True):
        for name in ("user", "model_a", "model_b", "winner", "prompt"):
            assert row[name] == vote[name]
        assert (row["response_a"], row["response_b"]) == (vote["response-1"], vote["response-2"])
        assert row["item"] == vote["id"]


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["json", "jsonl", "flat.json", "flat.parquet"]),
    st.sampled_from([label, ranking]),
)
def test_what_goes_in_comes_out(tmp_path_factory, seed, suffix, value):
    rng = random.Random(seed)
    records = some_records(rng, rng.randrange(1, 6))
    form = "flat" if suffix.startswith("flat") else "nested"
    made = (flat if form == "flat" else nested)(records, value)
    log = read_export(write(tmp_path_factory.mktemp("argilla") / f"a.{suffix}", made))
    assert log.notes[0] == "recognised as an export of Argilla (tool='argilla')"
    check(log, votes_of(records))
    assert any("leaves the status out" in note for note in log.notes) == (form == "nested")


def test_a_ranking_without_ranks_is_an_order(tmp_path):
    records = some_records(random.Random(1), 5, WINNERS[:2])
    check(read_export(write(tmp_path / "a.json", flat(records, sdk_ranking))), votes_of(records))


def test_a_rating_needs_its_meaning(tmp_path):
    records = some_records(random.Random(1), 5)
    path = write(tmp_path / "a.jsonl", flat(records, {"model_a": 1, "tie": 2, "model_b": 3}.get))
    with pytest.raises(InputError, match=r"a\.jsonl, record \d, column 'winner': expected model_a.*outcomes="):
        read_export(path)
    check(read_export(path, outcomes={1: "model_a", 2: "tie", 3: "model_b"}), votes_of(records))


def test_a_swapped_side_is_caught(tmp_path):
    records = some_records(random.Random(3), 1, ["model_a"])
    made = nested(records, ranking)
    for answer in made[0]["responses"]["preference"]:
        answer["value"].reverse()
    log = read_export(write(tmp_path / "a.json", made))
    assert log.outcome_counts()["model_a"] == len(log)  # the ranks count, not the order in which they are written
    for answer in made[0]["responses"]["preference"]:
        for element in answer["value"]:
            element["rank"] = 3 - element["rank"]
    log = read_export(write(tmp_path / "b.json", made))
    assert log.outcome_counts()["model_b"] == len(log)


def test_drafts_and_discarded_responses_are_counted_and_left_out(tmp_path):
    records = some_records(random.Random(4), 6)
    made = flat(records)
    made[0]["preference.responses.status"][0] = "discarded"
    made[1]["preference.responses.status"][0] = "draft"
    for ending in ("", ".users", ".status"):
        made[2][f"preference.responses{ending}"] = None
    made[3]["preference.responses"][0] = None
    log = read_export(write(tmp_path / "a.json", made))
    [note] = [note for note in log.notes if "entries are votes" in note]
    for reason in ("discarded (1)", "draft (1)", "record to which nobody has responded (1)", "no value (1)"):
        assert reason in note
    assert len(log) == len(votes_of(records)) - 3 - len(records[2]["votes"])


def test_a_ranking_of_three_is_no_vote(tmp_path):
    made = nested(some_records(random.Random(4), 2), ranking)
    made[0]["responses"]["preference"][0]["value"].append({"value": "response-3", "rank": 3})
    log = read_export(write(tmp_path / "a.json", made))
    assert any("ranking of three or more responses (1)" in note for note in log.notes)


def test_several_questions_must_be_told_apart(tmp_path):
    records = some_records(random.Random(4), 3)
    made = nested(records)
    for record, other in zip(made, nested(records, lambda _: "fine", "quality"), strict=True):
        record["responses"] |= other["responses"]
    path = write(tmp_path / "a.json", made)
    with pytest.raises(
        InputError, match=r"responses to 2 questions; name the one .* Questions: 'preference', 'quality'"
    ):
        read_export(path)
    check(read_export(path, question="preference"), votes_of(records))
    with pytest.raises(InputError, match=r"no response is to a question 'x'"):
        read_export(path, question="x")


def test_an_answer_of_no_known_meaning_names_the_record(tmp_path):
    made = nested(some_records(random.Random(4), 3))
    made[1]["responses"]["preference"][0]["value"] = "response-7"
    with pytest.raises(InputError, match=r"a\.json, record 2, column 'winner': .*response-7"):
        read_export(write(tmp_path / "a.json", made))
    made = nested(some_records(random.Random(4), 3), ranking)
    made[2]["responses"]["preference"][0]["value"][0]["value"] = "response-7"
    with pytest.raises(InputError, match=r"a\.json, record 3, column 'winner': .*response-7"):
        read_export(write(tmp_path / "a.json", made))


def test_a_chat_field_is_a_conversation(tmp_path):
    records = some_records(random.Random(4), 3, ["model_a"])
    made = nested(records)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hvorfor?"}]
    for record in made:
        record["fields"]["prompt"] = chat
    log = read_export(write(tmp_path / "a.json", made))
    write_preferences(log, tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["prompt"] == chat
    assert row["chosen"] == [{"role": "assistant", "content": records[0]["response-1"]}]


def test_records_to_which_nobody_has_responded_say_so(tmp_path):
    made = nested(some_records(random.Random(1), 4))
    for record in made:
        record["responses"] = {}
    with pytest.raises(InputError, match="nobody has responded yet"):
        read_export(write(tmp_path / "a.json", made))
