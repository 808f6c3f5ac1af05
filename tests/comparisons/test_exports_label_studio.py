"""Label Studio's exports of a Pairwise project, written here after its guide and converter, and read back."""

import csv
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earnest.comparisons import InputError, write_preferences
from earnest.comparisons.exports import read_export

MODELS = ("mistral-7b", "phi-3", "größer-1b")
START = datetime(2025, 3, 9, 21, 52, 49, 513742, tzinfo=UTC)
SIDES = {"model_a": "left", "model_b": "right"}


def some_tasks(rng, n):
    """Tasks, each with the votes of a few annotators."""
    made = []
    for number in range(1, n + 1):
        first, second = rng.sample(MODELS, 2)
        users = rng.sample(["ann@x.org", "bob@x.org", "çan@x.org"], rng.randrange(1, 4))
        made.append(
            {
                **{"id": number, "model_a": first, "model_b": second, "prompt": f"Pourquoi {rng.random()} ?"},
                **{"text1": f"Parce que “{rng.random()}”", "text2": f"a, b\n{rng.random()}"},
                "votes": [{"user": user, "winner": rng.choice(["model_a", "model_b"])} for user in users],
            }
        )
    return made


def votes_of(tasks):
    return [{**task, **vote} for task in tasks for vote in task["votes"]]


def pairwise(side, name="pw"):
    return {
        "id": "x1",
        "from_name": name,
        "to_name": name,
        "type": "pairwise",
        "value": {"selected": side},
        "origin": "manual",
    }


def annotation(number, user, result, **more):
    moment = (START + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    return {
        **{"id": 1000 + number, "completed_by": user, "result": result, "was_cancelled": False, "ground_truth": False},
        **{"created_at": moment, "updated_at": moment, "draft_created_at": None, "lead_time": 4.25, "result_count": 1},
        **{"task": 1, "project": 83, "parent_prediction": None, "last_action": None, **more},
    }


def data_of(task):
    return {name: task[name] for name in ("model_a", "model_b", "prompt", "text1", "text2")}


def as_json(tasks, user=lambda user: user):
    """The raw JSON: tasks with their annotations."""
    made, number = [], 0
    for task in tasks:
        annotations = []
        for vote in task["votes"]:
            number += 1
            annotations.append(annotation(number, user(vote["user"]), [pairwise(SIDES[vote["winner"]])]))
        made.append(
            {
                **{"id": task["id"], "annotations": annotations, "file_upload": "tasks.json", "drafts": []},
                **{
                    "predictions": [{"model_version": "m", "result": [pairwise("left")]}],
                    "data": data_of(task),
                    "meta": {},
                },
                **{
                    "created_at": START.isoformat(),
                    "updated_at": START.isoformat(),
                    "project": 83,
                    "inner_id": task["id"],
                },
            }
        )
    return made


def as_json_min(tasks):
    """One object an annotation: the data, and a list of results under the control's name."""
    return [
        {
            **{
                **data_of(vote),
                "id": vote["id"],
                "pw": [{"selected": SIDES[vote["winner"]]}],
                "annotator": vote["user"],
            },
            **{
                "annotation_id": 1000 + i,
                "created_at": (START + timedelta(seconds=i)).isoformat(),
                "updated_at": START.isoformat(),
            },
            "lead_time": 4.25,
        }
        for i, vote in enumerate(votes_of(tasks), 1)
    ]


def write(folder, tasks, form):
    if form == "json":
        path = folder / "project-1.json"
        path.write_text(json.dumps(as_json(tasks), ensure_ascii=False, indent=2), encoding="utf-8")
    elif form == "json-min":
        path = folder / "project-1-min.json"
        path.write_text(json.dumps(as_json_min(tasks)), encoding="utf-8")
    else:
        path = folder / f"project-1.{form}"
        rows = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in row.items()} for row in as_json_min(tasks)]
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if form == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def rows(log):
    return log.to_arrow().to_pylist()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["json", "json-min", "csv", "tsv"]))
def test_what_goes_in_comes_out(tmp_path_factory, seed, form):
    rng = random.Random(seed)
    tasks = some_tasks(rng, rng.randrange(1, 6))
    log = read_export(write(tmp_path_factory.mktemp("label_studio"), tasks, form))
    assert log.notes[0] == "recognised as an export of Label Studio (tool='label-studio')"
    votes = votes_of(tasks)
    for number, (vote, row) in enumerate(zip(votes, rows(log), strict=True), 1):
        for name in ("user", "model_a", "model_b", "winner", "prompt"):
            assert row[name] == vote[name]
        assert (row["response_a"], row["response_b"]) == (vote["text1"], vote["text2"])
        assert (row["item"], row["comparison"], row["lead_time"]) == (str(vote["id"]), str(1000 + number), 4.25)
        assert row["timestamp"] == pytest.approx(START.timestamp() + number)


def save(path, made):
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


def test_a_swapped_side_is_caught(tmp_path):
    [task] = as_json(some_tasks(random.Random(1), 1))
    [straight, *_] = rows(read_export(save(tmp_path / "a.json", [task])))
    result = task["annotations"][0]["result"][0]["value"]
    result["selected"] = {"left": "right", "right": "left"}[result["selected"]]
    [swapped, *_] = rows(read_export(save(tmp_path / "b.json", [task])))
    assert {straight["winner"], swapped["winner"]} == {"model_a", "model_b"}


def test_an_annotator_may_be_a_number_or_a_person(tmp_path):
    tasks = some_tasks(random.Random(1), 3)
    numbered = read_export(save(tmp_path / "a.json", as_json(tasks, user=lambda user: len(user) + ord(user[0]))))
    person = read_export(
        save(tmp_path / "b.json", as_json(tasks, user=lambda user: {"id": 3, "email": user, "first_name": ""}))
    )
    votes = votes_of(tasks)
    assert [row["user"] for row in rows(numbered)] == [str(len(v["user"]) + ord(v["user"][0])) for v in votes]
    assert [row["user"] for row in rows(person)] == [vote["user"] for vote in votes]


def test_what_is_no_vote_is_counted_by_its_reason(tmp_path):
    made = as_json(some_tasks(random.Random(5), 5))
    made[0]["annotations"] = [annotation(900, "ann@x.org", [pairwise("left")], was_cancelled=True)]
    made[1]["annotations"] = []
    made[2]["annotations"] = [annotation(901, "ann@x.org", [])]
    made[3]["drafts"] = [{"id": 1, "user": "bob@x.org", "result": [pairwise("left")]}]
    log = read_export(save(tmp_path / "a.json", made))
    assert len(log) == len(made[3]["annotations"]) + len(made[4]["annotations"])
    [note] = [note for note in log.notes if "entries are votes" in note]
    for reason in ("skipped (was_cancelled) (1)", "task that nobody has annotated (1)", "no choice (1)", "draft (1)"):
        assert reason in note


def test_ties_by_a_choices_control(tmp_path):
    tasks = some_tasks(random.Random(2), 4)
    made = as_json(tasks)
    words = ["left", "Tie", "right"]
    for task in made:
        for i, held in enumerate(task["annotations"]):
            choice = {
                "from_name": "better",
                "to_name": "text1",
                "type": "choices",
                "value": {"choices": [words[i % 3]]},
            }
            held["result"] = [
                choice,
                {"from_name": "why", "to_name": "text1", "type": "textarea", "value": {"text": ["so"]}},
            ]
    path = save(tmp_path / "a.json", made)
    with pytest.raises(
        InputError, match=r"no annotation has a Pairwise control's result; .* question=\. Controls: 'better', 'why'"
    ):
        read_export(path)
    log = read_export(path, question="better")
    expected = [
        {"left": "model_a", "right": "model_b", "Tie": "tie"}[words[i % 3]]
        for t in tasks
        for i in range(len(t["votes"]))
    ]
    assert [row["winner"] for row in rows(log)] == expected
    with pytest.raises(InputError, match="no result is of a control 'bettr'"):
        read_export(path, question="bettr")


def test_choices_in_the_short_forms(tmp_path):
    made = as_json_min(some_tasks(random.Random(2), 3))
    for row in made:
        row["better"] = {"left": "left", "right": "same"}[row.pop("pw")[0]["selected"]]
    log = read_export(save(tmp_path / "a.json", made), question="better", outcomes={"left": "model_a", "same": "tie"})
    assert [row["winner"] for row in rows(log)] == [{"left": "model_a", "same": "tie"}[row["better"]] for row in made]


def test_models_must_be_in_the_tasks(tmp_path):
    made = as_json(some_tasks(random.Random(2), 3))
    for task in made:
        data = task["data"]
        data["links"], data["rechts"] = data.pop("model_a"), data.pop("model_b")
    path = save(tmp_path / "a.json", made)
    with pytest.raises(
        InputError, match=r"a\.json: no two fields of the tasks' data say which models .*'links'.*'rechts'"
    ):
        read_export(path)
    with pytest.raises(InputError, match=r"name the other one, too, with model_b="):
        read_export(path, model_a="links")
    log = read_export(path, model_a="links", model_b="rechts")
    assert rows(log)[0]["model_a"] == made[0]["data"]["links"]
    del made[1]["data"]["rechts"]
    with pytest.raises(InputError, match=r"a\.json, record 2, column 'model_b': the second model is missing"):
        read_export(save(path, made), model_a="links", model_b="rechts")


def test_the_texts_are_exported(tmp_path):
    tasks = some_tasks(random.Random(6), 2)
    log = read_export(write(tmp_path, tasks, "json"))
    write_preferences(log, tmp_path / "out.jsonl")
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    for vote, row in zip(votes_of(tasks), written, strict=True):
        texts = (vote["text1"], vote["text2"])
        assert row["prompt"] == vote["prompt"]
        assert (row["chosen"], row["rejected"]) == (texts if vote["winner"] == "model_a" else texts[::-1])


def test_a_shortened_pairwise_control_is_found_by_its_words(tmp_path):
    made = [
        {"id": k, "model_a": "x", "model_b": "y", "text1": "left", "pw": side, "annotator": k % 3, "annotation_id": k}
        for k, side in enumerate(["left", "right", "left", ""])
    ]
    made[1]["text1"] = "something else"  # a text that is one of the words by chance
    log = read_export(save(tmp_path / "a.json", made))
    assert log.outcome_counts() == {"model_a": 2, "model_b": 1, "tie": 0}
    for record in made:
        record["text1"] = "right"  # now it could be either
    with pytest.raises(InputError, match="question="):
        read_export(save(tmp_path / "b.json", made))


def test_one_annotators_contradictions_on_one_task_are_told(tmp_path):
    def task(number, *sides):
        made = [annotation(10 * number + k, "ann", [pairwise(side)]) for k, side in enumerate(sides)]
        return {"id": number, "data": {"model_a": "x", "model_b": "y"}, "annotations": made}

    log = read_export(save(tmp_path / "a.json", [task(1, "left", "right"), task(2, "left", "left")]))
    assert any(note.startswith("once a user answered one task in contradicting ways") for note in log.notes)
    log = read_export(save(tmp_path / "b.json", [task(1, "left"), task(2, "right", "right")]))
    assert not any("contradicting" in note for note in log.notes)
