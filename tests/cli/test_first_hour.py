"""The first hour with a log that is not as one would wish: every step ends in an answer or says what would help."""

import importlib.util
import json
import shlex
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("sick", Path(__file__).parents[1] / "diagnostics" / "sick_logs.py")
logs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(logs)


def _with_texts(make, folder):
    frame = make()
    frame = frame.assign(prompt="?", response_a=[f"left {k}" for k in range(len(frame))], response_b="right")
    frame.to_csv(folder / "votes.csv", index=False)


@pytest.mark.parametrize("make", [logs.unusual_names, logs.one_pair], ids=lambda make: make.__name__)
def test_a_log_that_can_tell_goes_all_the_way(earnest, tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    _with_texts(make, tmp_path)
    words = shlex.split(earnest("doctor", "votes.csv").output.split("next:\n")[1])
    fitted = earnest(*words[1:])
    assert "warning" not in fitted.stderr
    assert "next: earnest threshold fit" in fitted.output
    assert "recommended threshold" in earnest("threshold", "fit").output
    earnest("filter", "votes.csv", "--fit", "fit", "--threshold", "recommended", "--out", "kept.csv")
    for log in ("votes.csv", "kept.csv"):
        earnest("export", log, "--fit", "fit", "--out", "preferences.jsonl")
        first = json.loads(Path("preferences.jsonl").read_text().splitlines()[0])
        assert {first["chosen"][:4], first["rejected"][:4]} == {"left", "righ"}


@pytest.mark.parametrize(
    ("make", "why", "help_"),
    [(logs.nobody_attends, "do not depend on which models", "answer is known"), (logs.thirty_votes, "decided votes", "Collect more votes")],
    ids=["nobody_attends", "thirty_votes"],
)  # fmt: skip
def test_a_log_that_cannot_tell_says_so_at_every_step(earnest, tmp_path, monkeypatch, make, why, help_):
    monkeypatch.chdir(tmp_path)
    _with_texts(make, tmp_path)
    said = " ".join(earnest("doctor", "votes.csv").output.split())
    assert "This log cannot tell who was paying attention" in said
    assert why in said
    assert help_ in said
    fitted = earnest("fit", "votes.csv", "--out", "fit")
    assert why in fitted.stderr
    assert "next: earnest doctor votes.csv" in fitted.stdout
    for step in (
        ("threshold", "fit"),
        ("threshold", "fit", "--criterion", "share>=0.5"),
        ("filter", "votes.csv", "--fit", "fit", "--threshold", "recommended", "--out", "kept.csv"),
    ):
        output = earnest(*step).output
        assert "Trust neither threshold nor ranking: " in output
        assert why in output
        assert output.index(why) < output.index("no filter")  # first of all
        assert help_ in output
        assert "Only the ranking" not in output  # not even that
    told = json.loads(earnest("threshold", "fit", "--json").stdout)
    assert why in told["recommendation"]["warning"]


def test_where_reading_gives_up_the_doctor_is_named(earnest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _with_texts(logs.unusual_names, tmp_path)
    refused = earnest("fit", "votes.csv", "--out", "fit", code=2).stderr
    assert "no user column" in refused
    assert refused.rstrip().endswith("Or see: earnest doctor votes.csv")


def test_without_texts_the_export_says_how_to_name_them(earnest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs.one_pair().to_csv("votes.csv", index=False)
    earnest("fit", "votes.csv", "--out", "fit")
    refused = earnest("export", "votes.csv", "--fit", "fit", "--out", "preferences.jsonl", code=2).stderr
    assert "--response-a" in refused
    assert "--responses" in refused
