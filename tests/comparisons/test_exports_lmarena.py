"""LMArena's data sets, written here after their cards, and read back."""

import json
import random

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.comparisons import InputError, read_comparisons, write_preferences
from earnest.comparisons.exports import read_export

MODELS = ("gpt-4", "koala-13b", "vicuna-13b", "claude-v1")
WINNERS = {"model_a": "model_a", "model_b": "model_b", "tie": "tie", "tie (bothbad)": "tie", "both_bad": "tie"}


def a_vote(rng):
    first, second = rng.sample(MODELS, 2)
    turns = [
        (f"¿Qué es {rng.random()}?", f"A{rng.random()} “…”", f"B\n{rng.random()}") for _ in range(rng.randrange(1, 4))
    ]
    return {
        **{"user": f"arena_user_{rng.randrange(5)}", "model_a": first, "model_b": second},
        **{"winner": rng.choice(list(WINNERS)), "turns": turns},
    }


def conversation(vote, side, parts=False):
    def content(text):
        return [{"type": "text", "text": text, "image": None, "mimeType": None}] if parts else text

    return [
        {"role": role, "content": content(said)}
        for asked, *answers in vote["turns"]
        for role, said in (("user", asked), ("assistant", answers["ab".index(side)]))
    ]


def of_33k(vote, number):
    """A row of lmsys/chatbot_arena_conversations."""
    return {
        **{"question_id": f"{number:032x}", "model_a": vote["model_a"], "model_b": vote["model_b"]},
        **{"winner": vote["winner"], "judge": vote["user"], "conversation_a": conversation(vote, "a")},
        **{"conversation_b": conversation(vote, "b"), "turn": len(vote["turns"]), "anony": True, "language": "Spanish"},
        **{
            "tstamp": 1682351000.5 + number,
            "openai_moderation": {"flagged": False},
            "toxic_chat_tag": {"x": {"flagged": False}},
        },
    }


def of_100k(vote, number):
    """A row of lmarena-ai/arena-human-preference-100k."""
    row = of_33k(vote, number)
    row["judge_hash"] = row.pop("judge")
    return row | {
        "is_code": False,
        "is_refusal": False,
        "dedup_tag": {"high_freq": False, "sampled": True},
        "conv_metadata": {"turns": 1},
    }


def of_140k(vote, number):
    """A row of lmarena-ai/arena-human-preference-140k, whose messages are lists of parts."""
    return {
        **{
            "id": f"{number:08x}-aaaa",
            "model_a": vote["model_a"],
            "model_b": vote["model_b"],
            "winner": vote["winner"],
        },
        **{
            "evaluation_session_id": vote["user"],
            "evaluation_order": 1,
            "conversation_a": conversation(vote, "a", True),
        },
        **{"conversation_b": conversation(vote, "b", True), "full_conversation": [], "conv_metadata": {"turns": 1}},
        **{
            "category_tag": {"math_v0.1": {"math": False}},
            "language": "es",
            "is_code": False,
            "timestamp": "2025-04-17T09:00:01",
        },
    }


FORMS = {"33k": of_33k, "100k": of_100k, "140k": of_140k}


def write(path, made):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(made), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(made, ensure_ascii=False), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def rows(log):
    return log.to_arrow().to_pylist()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(FORMS)), st.sampled_from(["parquet", "json", "jsonl"]))
def test_what_goes_in_comes_out(tmp_path_factory, seed, form, suffix):
    rng = random.Random(seed)
    votes = [a_vote(rng) for _ in range(rng.randrange(1, 8))]
    made = [FORMS[form](vote, i) for i, vote in enumerate(votes)]
    log = read_export(write(tmp_path_factory.mktemp("lmarena") / f"a.{suffix}", made))
    for vote, row, source in zip(votes, rows(log), made, strict=True):
        assert (row["user"], row["model_a"], row["model_b"]) == (vote["user"], vote["model_a"], vote["model_b"])
        assert row["winner"] == WINNERS[vote["winner"]]
        for side in "ab":
            assert row[f"response_{side}"] == conversation(vote, side)
        assert row["comparison"] == source.get("question_id", source.get("id"))
        assert row["timestamp"] == source.get("tstamp", 1744880401.0)
        assert row["language"] == source["language"]
    assert any("each evaluation session is taken for one" in note for note in log.notes) == (form == "140k")


def test_a_swapped_side_is_caught(tmp_path):
    vote = a_vote(random.Random(4)) | {"winner": "model_a"}
    made = of_33k(vote, 1)
    made["model_a"], made["model_b"] = made["model_b"], made["model_a"]
    [row] = rows(read_export(write(tmp_path / "a.json", [made])))
    assert row["model_a"] == vote["model_b"]
    assert row["winner"] == "model_a"


def test_a_table_of_votes_reads_as_read_comparisons_reads_it(tmp_path):
    made = [of_33k(a_vote(random.Random(i)), i) for i in range(30)]
    path = write(tmp_path / "a.parquet", made)
    plain = read_comparisons(path, user="judge", comparison="question_id", outcomes="words")
    log = read_export(path)
    for name in ("user", "model_a", "model_b", "winner", "comparison", "response_a"):
        assert [row[name] for row in rows(log)] == [row[name] for row in rows(plain)]


def of_55k(vote, number):
    """A row of arena-human-preference-55k: texts of lists, and nobody who voted."""
    asked, first, second = zip(*vote["turns"], strict=True)
    return {
        **{"id": number, "model_a": vote["model_a"], "model_b": vote["model_b"], "prompt": json.dumps(asked)},
        **{"response_a": json.dumps(first), "response_b": json.dumps(second)},
        **{f"winner_{name}": int(WINNERS[vote["winner"]] == name) for name in ("model_a", "model_b", "tie")},
    }


def test_a_data_set_without_users_says_so(tmp_path):
    votes = [a_vote(random.Random(i)) for i in range(6)]
    made = pd.DataFrame([of_55k(vote, i) for i, vote in enumerate(votes)])
    made.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(InputError, match=r"train\.csv: no field says who voted .* such as arena-human-preference-55k"):
        read_export(tmp_path / "train.csv")
    made.assign(rater=[vote["user"] for vote in votes]).to_csv(tmp_path / "train.csv", index=False)
    log = read_export(tmp_path / "train.csv", "lmarena", user="rater")
    for vote, row in zip(votes, rows(log), strict=True):
        assert (row["user"], row["winner"]) == (vote["user"], WINNERS[vote["winner"]])
        assert row["response_b"] == conversation(vote, "b")


def test_what_the_export_does_not_tell_is_said(tmp_path):
    votes = [a_vote(random.Random(i)) for i in range(3)]
    made = [of_140k(vote, i) for i, vote in enumerate(votes)]
    made[0]["evaluation_order"] = 2
    made[1]["conversation_b"][0]["content"].append(
        {"type": "image", "text": None, "image": "a.png", "mimeType": "image/png"}
    )
    log = read_export(write(tmp_path / "a.parquet", made))
    assert any(note.startswith("1 of the votes continues an earlier conversation") for note in log.notes)
    assert any(note.startswith("1 of the votes holds pictures") for note in log.notes)
    assert rows(log)[1]["response_b"] == conversation(votes[1], "b")
    made = [of_33k(vote, i) | {"anony": i > 0} for i, vote in enumerate(votes)]
    log = read_export(write(tmp_path / "b.json", made))
    assert any(note.startswith("1 of the votes was cast with the models' names in sight") for note in log.notes)


def test_bad_battles_name_the_record(tmp_path):
    made = [of_33k(a_vote(random.Random(i)), i) for i in range(4)]
    made[2]["winner"] = "model_c"
    path = write(tmp_path / "a.json", made)
    with pytest.raises(
        InputError, match=r"a\.json, record 3, column 'winner': expected model_a, model_b or tie .*model_c"
    ):
        read_export(path)
    log = read_export(path, on_bad_rows="quarantine", quarantine=tmp_path / "bad.jsonl")
    assert (len(log), log.quarantined) == (3, 1)
    made[2]["winner"], made[2]["judge"] = "tie", None
    with pytest.raises(InputError, match=r"record 3, column 'user': the user is missing"):
        read_export(write(path, made))


def test_preferences_split_where_the_conversations_part(tmp_path):
    vote = a_vote(random.Random(2)) | {"winner": "model_b", "turns": [("u1", "a1", "b1"), ("u2", "a2", "b2")]}
    log = read_export(write(tmp_path / "a.json", [of_33k(vote, 0)]))
    write_preferences(log, tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    assert row["prompt"] == [{"role": "user", "content": "u1"}]
    assert [m["content"] for m in row["chosen"]] == ["b1", "u2", "b2"]
    assert [m["content"] for m in row["rejected"]] == ["a1", "u2", "a2"]


def test_battles_without_a_conversation_are_counted(tmp_path):
    made = [of_33k(a_vote(random.Random(i)), i) for i in range(6)]
    made[0]["conversation_a"], made[1]["conversation_b"] = None, []
    log = read_export(write(tmp_path / "a.json", made))
    assert any(note.startswith("2 of the votes have no text of one or both responses") for note in log.notes)
    assert len(log) == 6
    assert not any("no text of" in note for note in read_export(write(tmp_path / "b.json", made[2:])).notes)
