"""Open WebUI's feedback, written here after its models and its editor's code, and read back."""

import json
import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.comparisons import InputError, write_preferences
from earnest.comparisons.exports import read_export

MODELS = ("llama3.2:3b", "qwen2.5:7b", "gemma-2-9b-ü")
TURN = ("Was ist ein Graf? 🏰", "Ein Adelstitel.")


def message(id_, parent, children, role, content, **more):
    return {
        **{"id": id_, "parentId": parent, "childrenIds": children, "role": role, "content": content},
        **{"timestamp": 1731000000, "done": True, **more},
    }


def feedback(vote, *, arena=True, snapshot=True, ids=None, number=1, rated="winner", turns=(), by_index=True):
    """A `FeedbackUserResponse`: the user gives a thumb to one of two responses to the same prompt."""
    ids = ids or {name: str(uuid.UUID(int=number * 100 + i)) for i, name in enumerate(("chat", "prompt", "a", "b"))}
    better, other = ("a", "b") if vote["winner"] == "model_a" else ("b", "a")
    side = {"winner": better, "loser": other}[rated]
    opposite = "b" if side == "a" else "a"
    messages, last = {}, None
    for i, (asked, answered) in enumerate(turns):
        one, two = f"{ids['chat']}-{i}-u", f"{ids['chat']}-{i}-m"
        messages[one] = message(one, last, [two], "user", asked)
        messages[two] = message(two, one, [], "assistant", answered, model="other")
        if last is not None:
            messages[last]["childrenIds"] = [one]
        last = two
    messages[ids["prompt"]] = message(ids["prompt"], last, [ids["a"], ids["b"]], "user", vote["prompt"])
    for place, name in enumerate("ab"):
        index = {"modelIdx": place} if by_index else {}
        said = vote[f"response_{name}"]
        model = vote[f"model_{name}"]
        messages[ids[name]] = message(ids[name], ids["prompt"], [], "assistant", said, model=model, **index)
    chat = {
        "id": "",
        "title": "🏰",
        "models": ["arena-model"] * 2,
        "history": {"messages": messages, "currentId": ids["a"]},
    }
    return {
        **{"id": str(uuid.UUID(int=number)), "user_id": vote["user"], "version": 0, "type": "rating"},
        "data": {
            "rating": 1 if rated == "winner" else -1,
            **{"model_id": vote[f"model_{side}"], "sibling_model_ids": [vote[f"model_{opposite}"]]},
            **{"reason": "accurate_information", "comment": "", "tags": ["history"], "details": {"rating": 8}},
        },
        "meta": {
            **{"arena": arena, "model_id": "arena-model", "message_id": ids[side], "chat_id": ids["chat"]},
            **{"message_index": 2 * len(turns) + 2, "base_models": {}, "tags": ["history"]},
        },
        "snapshot": {"chat": {"id": ids["chat"], "user_id": vote["user"], "chat": chat}} if snapshot else None,
        **{"created_at": 1731000000 + number, "updated_at": 1731000000 + number},
        "user": {"id": vote["user"], "name": "Zoë", "email": "z@example.org", "role": "user"},
    }


def a_vote(rng):
    first, second = rng.sample(MODELS, 2)
    return {
        **{"user": f"user-{rng.randrange(4)}", "model_a": first, "model_b": second},
        **{"winner": rng.choice(["model_a", "model_b"]), "prompt": f"Frage {rng.random()}?"},
        **{"response_a": f"Antwort “{rng.random()}”", "response_b": f"Réponse\n{rng.random()}"},
    }


def write(path, feedbacks):
    path.write_text(json.dumps(feedbacks), encoding="utf-8")
    return path


def rows(log):
    return log.to_arrow().to_pylist()


def said(vote, side, turns=()):
    above = [m for asked, answered in turns for m in (("user", asked), ("assistant", answered))]
    found = [*above, ("user", vote["prompt"]), ("assistant", vote[f"response_{side}"])]
    return [{"role": role, "content": content} for role, content in found]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_what_goes_in_comes_out(tmp_path_factory, seed):
    rng = random.Random(seed)
    votes = [a_vote(rng) for _ in range(rng.randrange(1, 9))]
    kinds = [
        {"rated": rng.choice(["winner", "loser"]), "turns": [TURN] * rng.randrange(3), "by_index": rng.random() < 0.5}
        for _ in votes
    ]
    path = tmp_path_factory.mktemp("open_webui") / "feedback-history-export-1.json"
    made = [feedback(vote, number=i, **kind) for i, (vote, kind) in enumerate(zip(votes, kinds, strict=True), 1)]
    log = read_export(write(path, made))
    found = rows(log)
    for vote, kind, row in zip(votes, kinds, found, strict=True):
        for name in ("user", "model_a", "model_b", "winner"):
            assert row[name] == vote[name]
        for side in "ab":
            assert row[f"response_{side}"] == said(vote, side, kind["turns"])
    assert [row["timestamp"] for row in found] == [1731000000 + i for i in range(1, len(votes) + 1)]
    assert log.notes[0] == "recognised as an export of Open WebUI (tool='open-webui')"


@pytest.mark.parametrize("by_index", [True, False])
def test_a_swapped_side_is_caught(tmp_path, by_index):
    vote = a_vote(random.Random(3))
    made = feedback(vote, by_index=by_index)
    [straight] = rows(read_export(write(tmp_path / "a.json", [made])))
    history = made["snapshot"]["chat"]["chat"]["history"]["messages"]
    for held in history.values():
        held["childrenIds"].reverse()
        if "modelIdx" in held:
            held["modelIdx"] = 1 - held["modelIdx"]
    [swapped] = rows(read_export(write(tmp_path / "b.json", [made])))
    assert (swapped["model_a"], swapped["model_b"]) == (straight["model_b"], straight["model_a"])
    assert {straight["winner"], swapped["winner"]} == {"model_a", "model_b"}
    assert swapped["response_a"] == straight["response_b"]


def test_the_slots_order_stands_above_that_of_the_answers_arrival(tmp_path):
    vote = a_vote(random.Random(5))
    made = feedback(vote)
    for held in made["snapshot"]["chat"]["chat"]["history"]["messages"].values():
        held["childrenIds"].reverse()
    [row] = rows(read_export(write(tmp_path / "a.json", [made])))
    assert row["model_a"] == vote["model_a"]


def test_what_is_no_vote_is_counted_by_its_reason(tmp_path):
    rng = random.Random(1)
    made = [feedback(a_vote(rng), number=i) for i in range(1, 9)]
    made[1]["data"]["sibling_model_ids"] = None
    del made[2]["data"]["sibling_model_ids"]
    made[3]["data"]["sibling_model_ids"] = ["x", "y"]
    made[4]["data"]["rating"] = None
    made[5]["type"] = "comment"
    made[6]["data"]["sibling_model_ids"] = [made[6]["data"]["model_id"]]
    log = read_export(write(tmp_path / "a.json", made))
    assert len(log) == 2
    [note] = [note for note in log.notes if "are votes" in note]
    assert note.startswith("2 of 8 feedbacks are votes; left out: a response that stood beside no other (2), ")
    for reason in (
        "thumb neither up nor down (1)",
        "no rating (1)",
        "a model beside itself (1)",
        "known against which (1)",
    ):
        assert reason in note


def both(vote, thumbs, **kind):
    """Both responses get a thumb, in two feedbacks."""
    first = feedback({**vote, "winner": "model_a"}, number=1, **kind)
    second = json.loads(json.dumps(first)) | {"id": "second", "updated_at": first["updated_at"] + 9}
    meta, data = second["meta"], second["data"]
    messages = feedback({**vote, "winner": "model_b"}, number=1)["meta"]
    meta["message_id"] = messages["message_id"]
    data["model_id"], data["sibling_model_ids"] = data["sibling_model_ids"][0], [data["model_id"]]
    first["data"]["rating"], data["rating"] = thumbs
    return [first, second]


@pytest.mark.parametrize("snapshot", [True, False])
@pytest.mark.parametrize(
    ("thumbs", "winner", "reason"),
    [
        ((1, 1), "tie", "first half of a tie, both thumbs alike (1)"),
        ((-1, -1), "tie", "first half"),
        ((1, -1), "a", "said again"),
        (("-1", 1), "b", "said again"),
    ],
)
def test_thumbs_on_both_responses_are_one_vote(tmp_path, snapshot, thumbs, winner, reason):
    vote = a_vote(random.Random(2))
    log = read_export(write(tmp_path / "a.json", both(vote, thumbs, snapshot=snapshot)))
    [row] = rows(log)
    won = {"tie": None, "a": vote["model_a"], "b": vote["model_b"]}[winner]
    assert (row["winner"] == "tie") == (won is None)
    if won is not None:
        assert row[row["winner"]] == won
    assert any(f"left out: {reason}" in note for note in log.notes)
    assert row["comparison"] == "second"


def test_without_a_snapshot_no_side_is_favoured_and_it_is_said(tmp_path):
    rng = random.Random(7)
    made = [feedback(a_vote(rng), number=i, snapshot=False) for i in range(1, 401)]
    for one in made:
        one["meta"]["chat_id"] = one["id"]
    log = read_export(write(tmp_path / "a.json", made))
    counts = log.outcome_counts()
    assert 160 < counts["model_a"] < 240  # 200 with a standard deviation of 10: a rated response first would give 400
    for one, row in zip(made, rows(log), strict=True):
        assert row[row["winner"]] == one["data"]["model_id"]
        assert row["response_a"] is None
        assert not row["sides_known"]
    assert any(
        note.startswith("400 of the votes do not tell which response stood first") and "CoinFlip" in note
        for note in log.notes
    )
    assert rows(read_export(tmp_path / "a.json")) == rows(log)


def test_named_models_are_told(tmp_path):
    rng = random.Random(8)
    made = [feedback(a_vote(rng), number=1, arena=True), feedback(a_vote(rng), number=2, arena=False)]
    log = read_export(write(tmp_path / "a.json", made))
    assert any(note.startswith("1 of the votes was cast with the models' names in sight") for note in log.notes)


def test_the_texts_are_exported_as_conversations(tmp_path):
    vote = a_vote(random.Random(9))
    log = read_export(write(tmp_path / "a.json", [feedback(vote, turns=[TURN])]))
    assert write_preferences(log, tmp_path / "out.jsonl").conversational
    [line] = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    row = json.loads(line)
    assert row["prompt"] == said(vote, "a", [TURN])[:-1]
    won = vote["winner"][-1]
    assert row["chosen"] == [{"role": "assistant", "content": vote[f"response_{won}"]}]


def test_a_feedback_exported_twice_counts_once_as_it_was_last(tmp_path):
    rng = random.Random(1)
    monday = [feedback(a_vote(rng), number=i) for i in range(1, 4)]
    write(tmp_path / "monday.json", monday[:2])
    changed = json.loads(json.dumps(monday[1]))
    changed["data"]["rating"], changed["updated_at"] = -1, changed["updated_at"] + 1000
    write(tmp_path / "friday.json", [changed, monday[2], monday[0]])
    log = read_export([tmp_path / "friday.json", tmp_path / "monday.json"])
    assert len(log) == 3
    assert any("3 of 5 feedbacks are votes; left out: there again, later (2)" in note for note in log.notes)
    [row] = [row for row in rows(log) if row["comparison"] == changed["id"]]
    assert row[row["winner"]] == changed["data"]["sibling_model_ids"][0]


def test_a_chat_that_refers_to_itself_ends(tmp_path):
    made = feedback(a_vote(random.Random(1)), turns=[TURN])
    messages = made["snapshot"]["chat"]["chat"]["history"]["messages"]
    prompt = next(held for held in messages.values() if len(held["childrenIds"]) == 2)
    first = next(held for held in messages.values() if held["parentId"] is None)
    first["parentId"] = prompt["id"]
    assert len(read_export(write(tmp_path / "a.json", [made]))) == 1


def test_nobody_and_nothing(tmp_path):
    made = feedback(a_vote(random.Random(1)))
    made["user_id"] = None
    with pytest.raises(InputError, match=r"a\.json, record 1, column 'user': the user is missing"):
        read_export(write(tmp_path / "a.json", [made]))
    made["data"] = None
    with pytest.raises(
        InputError, match=r"none of the 1 feedbacks of this export is a vote: thumb neither up nor down .1."
    ):
        read_export(write(tmp_path / "a.json", [made]))
