"""`earnest doctor`: what it prints, and that the command it ends with can be run word for word."""

import importlib.util
import json
import shlex
from pathlib import Path

import pytest

import earnest as er

_spec = importlib.util.spec_from_file_location("sick", Path(__file__).parents[1] / "diagnostics" / "sick_logs.py")
logs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(logs)


def _next(said: str) -> list[str]:
    return shlex.split(said.split("next:\n")[1])


# One of each kind of command; the others, which differ in what is fitted, take two minutes.
_QUICK = {
    logs.healthy, logs.one_pair, logs.nobody_attends, logs.thirty_votes, logs.unusual_names, logs.unusual_words,
    logs.numbers_for_words, logs.words_of_which_nothing_is_known, logs.no_user, logs.some_bad_rows,
}  # fmt: skip
_CASES = [
    pytest.param(make, id=make.__name__, marks=() if make in _QUICK else pytest.mark.long) for make in logs.TROUBLES
]


@pytest.mark.parametrize("make", _CASES)
def test_the_next_command_works_word_for_word(earnest, tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    logs.write(make, tmp_path)
    said = earnest("doctor", f"{make.__name__}.csv").output
    stopped = "This log cannot tell" in said
    if make is logs.numbers_for_words:
        choices = said.split("next, whichever is right:\n")[1].splitlines()
        assert len(choices) == 2
        assert all("This log can tell" in earnest(*shlex.split(choice)[1:]).output for choice in choices)
        return
    words = _next(said)
    assert words[0] == "earnest"
    if make in (logs.no_user, logs.words_of_which_nothing_is_known):  # only the reader knows: it has blanks
        assert words[1] == "doctor"
        earnest(*words[1:], code=2)
        told = {"ka=OUTCOME": "ka=model_a", "po=OUTCOME": "po=model_b", "mu=OUTCOME": "mu=tie"}
        if make is not logs.no_user:
            assert "This log can tell" in earnest(*(told.get(word, word) for word in words[1:])).output
        return
    done = earnest(*words[1:]).output
    assert words[1] == ("plan" if stopped else "fit")
    if not stopped:
        assert "next: earnest threshold fit" in done
        assert len(er.load("fit").attentiveness) > 0


def test_options_of_reading_are_taken_and_given_on(earnest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logs.healthy().rename(columns={"user": "it's", "winner": "a winner"}).to_csv("my votes.csv", index=False)
    said = earnest("doctor", "my votes.csv", "--user", "it's", "--winner", "a winner").output
    assert "Guessed" not in said
    words = _next(said)
    assert words[2] == "my votes.csv"
    assert words[words.index("--user") + 1] == "it's"
    earnest(*words[1:])
    assert er.load("fit").columns["user"] == "it's"


def test_it_speaks_json(earnest, tmp_path):
    path = logs.write(logs.contrary_fifth, tmp_path)
    told = json.loads(earnest("doctor", path, "--json").stdout)
    assert [finding["code"] for finding in told["findings"]] == ["contrarians", "no_texts"]
    assert (told["numbers"]["votes"], told["numbers"]["users"], told["choices"]) == (6000, 300, [])
    assert told["can_tell"] is True
    assert er.BehaviorModel.from_toml(told["model"]).preference == er.TasteGroups(2, ties=er.Davidson())
    assert told["command"].endswith("--model suggested --out fit")


def test_the_suggested_model_is_what_is_fitted(earnest, tmp_path):
    path = logs.write(logs.contrary_fifth, tmp_path)
    said = earnest("fit", path, "--model", "suggested", "--out", tmp_path / "fit").output
    assert "as `earnest doctor` suggests, Beta attentiveness, TasteGroups with ties" in said
    fit = er.load(tmp_path / "fit")
    weights = fit.parameters["taste_weight"]
    assert weights.min() == pytest.approx(0.2, abs=0.08)  # a fifth of the users are of the other taste
    plain = er.fit_em(er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())), er.read_comparisons(path))
    others = [f"u{k}" for k in range(0, 300, 5)]

    def mean_of_others(found):
        return found.attentiveness.set_index("user")["mean"].loc[others].mean()

    assert mean_of_others(fit) > 0.7  # they attend as all do
    assert mean_of_others(plain) < 0.4  # for which the usual model takes them not


def test_what_is_not_there_is_one_message(earnest, tmp_path):
    result = earnest("doctor", tmp_path / "none.csv", code=2)
    assert "none.csv" in result.stderr
    path = logs.write(logs.healthy, tmp_path)
    assert "'usr'" in earnest("doctor", path, "--user", "usr", code=2).stderr


@pytest.mark.parametrize(("users", "each", "word"), [(1, 200, "one user only"), (1000, 1, "one vote does not tell")])
def test_what_stops_the_doctor_is_said_by_fit_and_threshold(earnest, tmp_path, monkeypatch, users, each, word):
    """Each would report a mean attentiveness in three digits otherwise."""
    monkeypatch.chdir(tmp_path)
    logs.plain(logs.votes(51, users=users, each=each)).to_csv("v.csv", index=False)
    assert word in earnest("doctor", "v.csv").output.replace("\n   ", "")
    fitted = earnest("fit", "v.csv", "--out", "fit")
    assert word in fitted.stderr
    assert "next: earnest doctor v.csv" in fitted.stdout
    for criterion in ("effective_labels", "share>=0.5"):
        said = earnest("threshold", "fit", "--criterion", criterion).output
        assert "Trust neither threshold nor ranking" in said
        assert word in said
        assert "next: earnest doctor v.csv" in said
    told = json.loads(earnest("threshold", "fit", "--json").stdout)
    assert word in told["recommendation"]["warning"]
