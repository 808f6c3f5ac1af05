"""`earnest import`, and that the other verbs go on from what it wrote."""

import json

import pytest

import earnest as er
from earnest.comparisons.exports import TOOLS
from earnest.verb_import import import_


@pytest.fixture
def export(tmp_path):
    """Battles of LMArena."""
    made = [
        {
            **{"question_id": f"q{i}", "model_a": "xy"[i % 2], "model_b": "yx"[i % 2], "judge": f"u{i % 4}"},
            **{"winner": ["model_a", "model_b", "tie (bothbad)"][i % 3], "anony": True},
            **{
                f"conversation_{side}": [
                    {"role": "user", "content": "¿?"},
                    {"role": "assistant", "content": f"{side}{i}"},
                ]
                for side in "ab"
            },
        }
        for i in range(60)
    ]
    path = tmp_path / "battles.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    return path


def test_from_an_export_to_preferences(earnest, export, tmp_path):
    out = tmp_path / "votes.parquet"
    said = earnest("import", export, "--out", out).output
    assert "recognised as an export of LMArena (--tool lmarena)" in said
    assert "60 votes of 4 users on 2 models" in said
    log = er.read_comparisons(out)
    assert log.outcome_counts() == {"model_a": 20, "model_b": 20, "tie": 20}
    earnest("fit", out, "--out", tmp_path / "fit")
    said = earnest("export", out, "--fit", tmp_path / "fit", "--out", tmp_path / "preferences.jsonl").output
    assert "40 preferences of 60 comparisons" in said
    row = json.loads((tmp_path / "preferences.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert row["prompt"] == [{"role": "user", "content": "¿?"}]
    assert row["chosen"] == [{"role": "assistant", "content": "a0"}]


def test_jsonl_holds_conversations_and_csv_does_not(earnest, export, tmp_path):
    earnest("import", export, "--tool", "lmarena", "--out", tmp_path / "votes.jsonl")
    log = er.read_comparisons(tmp_path / "votes.jsonl")
    assert er.write_preferences(log, tmp_path / "out.jsonl").conversational
    said = earnest("import", export, "--out", tmp_path / "votes.csv", code=2).output
    assert "response_a and response_b hold conversations, which a CSV file cannot" in said
    assert not (tmp_path / "votes.csv").exists()


def test_mistakes(earnest, export, tmp_path):
    out = tmp_path / "votes.parquet"
    assert "it looks like --tool lmarena" in earnest("import", export, "--tool", "argilla", "--out", out, code=2).output
    assert "expected WORD=model_a" in earnest("import", export, "--outcome", "good", "--out", out, code=2).output
    assert "no such file" in earnest("import", tmp_path / "none.json", "--out", out, code=2).output.lower()
    assert not out.exists()


def test_outcomes_and_the_question(earnest, tmp_path):
    made = [
        {
            **{"id": f"r{i}", "fields": {"prompt": "p", "response-1": "a", "response-2": "b"}},
            "metadata": {"model_a": "xy"[i % 2], "model_b": "yx"[i % 2]},
            "responses": {"better": [{"value": i % 3, "user_id": "u"}], "clear": [{"value": "yes", "user_id": "u"}]},
        }
        for i in range(9)
    ]
    (tmp_path / "a.json").write_text(json.dumps(made))
    words = ("--outcome", "0=model_a", "--outcome", "1=tie", "--outcome", "2=model_b")
    earnest("import", tmp_path / "a.json", "--question", "better", *words, "--out", tmp_path / "votes.csv")
    log = er.read_comparisons(tmp_path / "votes.csv")
    assert log.to_arrow()["winner"].to_pylist() == ["model_a", "tie", "model_b"] * 3


def test_the_verb_knows_every_tool():
    [tool] = [option for option in import_.params if option.name == "tool"]
    assert set(tool.type.choices) == {"auto", *TOOLS}
