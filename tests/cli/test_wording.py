"""Prose has lines of 80 characters, and speaks of options as the command line has them."""

import json
import re

import pytest

import earnest as er
from earnest.wording import in_shell, wrapped


@pytest.fixture
def eighty(monkeypatch):
    monkeypatch.delenv("COLUMNS")


def _prose(output):
    """Lines but those that are commands or have a word that cannot be broken."""
    lines = output.splitlines()
    return [line for line in lines if "earnest " not in line and max(map(len, line.split()), default=0) < 60]


def test_no_line_of_prose_is_wider_than_80(earnest, votes, tmp_path, monkeypatch, eighty):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.csv").write_bytes(votes.read_bytes())
    said = [earnest("doctor", "v.csv"), earnest("fit", "v.csv", "--out", "fit"), earnest("threshold", "fit")]
    said += [earnest("filter", "v.csv", "--fit", "fit", "--threshold", "recommended", "--out", "kept.csv")]
    said += [earnest("export", "v.csv", "--fit", "fit", "--out", "p.jsonl"), earnest("plan")]
    said += [earnest("fit", "v.csv", "--user", "usr", "--out", "fit", code=2)]
    for result in said:
        assert all(len(line) <= 80 for line in _prose(result.output)), result.output
    # what programs read is not touched
    json.loads(earnest("threshold", "fit", "--json").stdout)
    whole = er.thresholds(er.load("fit")).recommend().reason
    assert len(whole) > 80
    assert " ".join(whole.split()) in in_shell(" ".join(said[2].output.split())).replace("`earnest report` says more", "see earnest.identifiability(fit)")  # fmt: skip


def test_wrapping_loses_no_word_and_breaks_none(eighty):
    text = "a path/that-is/very-long/" + "x" * 100 + " and  some words " * 20 + "\nand another line"
    lines = wrapped(text, "earnest: ", "  ")
    assert lines.replace("earnest: ", "", 1).split() == text.split()
    assert wrapped("", "note: ") == "note: "


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("on_bad_rows='quarantine' sets such rows aside", "--on-bad-rows quarantine sets such rows aside"),
        ("say what it means with outcomes={'banana': 'model_a'}.", "say what it means with --outcome banana=model_a (or =model_b, =tie)."),
        ("say what it means with outcomes={\"it's\": 'model_a'}", "say what it means with --outcome 'it'\"'\"'s=model_a' (or =model_b, =tie)"),
        ("no column 'usr' (user='usr')", "no column 'usr' (--user usr)"),
        ("name one with user=", "name one with --user"),
        ("name them with model_a= and model_b=.", "name them with --model-a and --model-b."),
        ("name the column with user=... Columns: 'a'", "name the column with --user... Columns: 'a'"),
        ("say which with tool= (one of 'argilla')", "say which with --tool (one of 'argilla')"),
        ("recognised (tool='label-studio')", "recognised (--tool label-studio)"),
        ("reading it (response_a=, --response-a), or", "reading it (--response-a), or"),
        ("noise='drop' leaves them out", "--noise drop leaves them out"),
        ("BehaviorModel(attention=er.Drift()), or casual=er.Habit() for", "a model with attention Drift() (--model MODEL.toml), or casual Habit for"),
        ("BehaviorModel(attention=er.Speedster('ms')) learns, or er.SampleAttention(('ms',)).", "a model with attention Speedster('ms') (--model MODEL.toml) learns, or SampleAttention(('ms',))."),
        # what is no argument of ours stays
        ("plan(votes=20): expected", "plan(votes=20): expected"),
        ("WORD=model_a, user_id=3, user=ann", "WORD=model_a, user_id=3, user=ann"),
        ("the user is missing; 'share>=0.5'", "the user is missing; 'share>=0.5'"),
        ("threshold >= 0.3, x=threshold==2", "threshold >= 0.3, x=threshold==2"),
    ],
)  # fmt: skip
def test_messages_of_the_library_name_options_of_the_shell(said, expected):
    assert in_shell(said) == expected


def test_no_message_on_the_way_speaks_python(earnest, votes, tmp_path):
    """Of the usual mistakes with a log."""
    lines = votes.read_text().splitlines()
    bad = {
        "word": [*lines[:5], "u,model_1,model_2,banana,,,", *lines[5:]],
        "user": [*lines[:5], ",model_1,model_2,tie,,,", *lines[5:]],
        "names": [lines[0].replace("winner", "who_won"), *lines[1:]],
    }
    for name, rows in bad.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
        said = earnest("fit", tmp_path / f"{name}.csv", "--out", tmp_path / "fit", code=2).stderr
        assert not re.search(r"\b(on_bad_rows|outcomes|user|winner)=(?!model)", said), said
        assert "--" in said


def test_what_the_fit_was_told_of_bad_rows_holds_for_what_follows(earnest, votes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = votes.read_text().splitlines()
    (tmp_path / "v.csv").write_text("\n".join([*lines[:9], "u1,model_1,model_1,tie,,,", *lines[9:]]) + "\n")
    out = ("--fit", "fit", "--threshold", 0.2, "--out", "kept.csv")
    earnest("fit", "v.csv", "--out", "fit", code=2)
    earnest("fit", "v.csv", "--on-bad-rows", "quarantine", "--out", "fit")
    assert "next: earnest filter v.csv --fit fit" in earnest("threshold", "fit").output
    said = earnest("filter", "v.csv", *out).output
    assert "1 of 481 rows cannot be used and is in" in said
    assert "next: earnest export kept.csv --fit fit --out preferences.jsonl" in said
    # unless something else is said, or the fit is another one by now
    earnest("filter", "v.csv", "--on-bad-rows", "error", *out, code=2)
    (tmp_path / "good.csv").write_bytes(votes.read_bytes())
    earnest("fit", "good.csv", "--out", "fit")
    earnest("filter", "v.csv", *out, code=2)


def test_every_verb_on_the_way_says_what_comes_next(earnest, votes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v.csv").write_bytes(votes.read_bytes())
    command, seen = "doctor v.csv", []
    for _ in range(6):
        said = earnest(*command.split()).output
        seen.append(command.split()[0])
        found = re.findall(r"next:\s+earnest (.+)", said)
        if not found:
            break
        command = found[-1]
    assert seen == ["doctor", "fit", "threshold", "filter", "export", "report"]
