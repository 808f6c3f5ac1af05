"""A first look at a log: the right diagnosis for every trouble, and none for a healthy one."""

import importlib.util
import itertools
import json
import shlex
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.diagnostics.doctor_columns import Profile, likely_columns
from earnest.diagnostics.doctor_counts import Holdings
from earnest.diagnostics.doctor_doubts import doubts_of_counts
from earnest.diagnostics.doctor_evidence import Evidence, Votes

_spec = importlib.util.spec_from_file_location("sick_logs", Path(__file__).with_name("sick_logs.py"))
logs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(logs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sick")


@pytest.mark.parametrize("make", logs.TROUBLES, ids=lambda make: make.__name__)
def test_each_trouble_has_its_diagnosis_and_no_other(make, folder):
    path = logs.write(make, folder)
    before = sorted(folder.iterdir())
    started = time.perf_counter()
    found = er.doctor(path)
    assert time.perf_counter() - started < 5
    assert set(found.codes) == logs.TROUBLES[make]
    stops = {"no_signal", "too_few", "one_vote", "ties_only", "gold_missed", "unknown_words", "no_user"}
    assert found.can_tell == (not stops & logs.TROUBLES[make])
    assert sorted(folder.iterdir()) == before
    text = str(found)
    assert all(len(line) <= 80 for line in text.splitlines() if "earnest " not in line)
    assert all(finding.text and finding.remedy for finding in found.findings)
    assert found.verdict.startswith("This ")
    assert "_repr_html_" in dir(found)


@pytest.mark.parametrize("seed", range(100, 110))
def test_a_healthy_log_has_nothing_to_object_to(seed):
    found = er.doctor(logs.healthy(seed))
    assert (found.codes, found.can_tell) == ((), True)
    assert found.python == "fit = er.fit_em(diagnosis.model, diagnosis.log)"


@pytest.mark.parametrize("seed", range(200, 206))
def test_alike_models_and_absent_users_are_not_told_apart_nor_taken_for_signal(seed):
    for frame in (logs.votes(seed, eta=0.0), logs.votes(seed, skills=dict.fromkeys(logs.SKILLS, 0.0))):
        found = er.doctor(logs.plain(frame))
        assert found.codes == ("no_signal",)
        assert "equally good, or nobody attends" in found.verdict


def test_the_suggested_model_is_one_that_fits_what_was_found():
    said = {make: er.doctor(make()).model for make in (logs.opposed_halves, logs.sides_never_swapped, logs.with_gold)}
    assert isinstance(said[logs.opposed_halves].preference, er.TasteGroups)
    assert isinstance(said[logs.sides_never_swapped].casual, er.CoinFlip)
    assert said[logs.with_gold].gold is not None
    plain = er.doctor(logs.healthy()).model
    assert plain == er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    assert er.doctor(logs.healthy().query("winner != 'tie'")).model == er.BehaviorModel()


def test_what_else_a_log_has_is_pointed_at():
    def notes(make):
        return {finding.code: finding for finding in er.doctor(make()).findings if finding.severity == "note"}

    seen = notes(logs.with_dwell_and_time)
    assert {"dwell", "timestamp"} <= seen.keys()
    assert "Speedster('dwell_seconds')" in seen["dwell"].remedy
    assert "SampleAttention" in seen["dwell"].remedy
    assert "the fastest quarter" in seen["dwell"].text  # these times do bear witness to attention
    assert "category" in notes(logs.with_categories)
    assert "gold" in notes(logs.with_gold)
    assert "items_agree" in notes(logs.no_gap_but_items)
    # and of the same items, judged by a coin, nothing is said
    rng = np.random.default_rng(3)
    tossed = logs.no_gap_but_items().assign(winner=rng.choice(["model_a", "model_b"], 3000))
    assert not [f for f in er.doctor(tossed).findings if f.code == "items_agree"]


def test_columns_and_words_that_were_guessed_are_said_and_given_in_the_command(folder):
    found = er.doctor(logs.write(logs.unusual_names, folder))
    assert found.columns == {"user": "ip_hash", "model_a": "Bot #1", "model_b": "Bot #2", "winner": "picked"}
    words = shlex.split(found.command)
    assert words[words.index("--model-b") + 1] == "Bot #2"
    assert len(found.log) == 6000
    worded = er.doctor(logs.write(logs.unusual_words, folder))
    assert worded.outcomes == {"Assistant A is better": "model_a", "Assistant B is better": "model_b", "about the same": "tie"}  # fmt: skip
    assert "'Assistant A is better' in 'winner' means model_a" in worded.findings[0].text
    numbered = er.doctor(logs.write(logs.numbers_for_words, folder))
    assert numbered.outcomes == {"1": "model_a", "0": "model_b"}


def test_what_cannot_be_guessed_is_asked_for(folder):
    lost = er.doctor(logs.write(logs.no_user, folder))
    assert "who cast each vote" in lost.verdict
    assert "Columns: model_a, model_b, winner" in lost.findings[0].text
    assert "--user COLUMN" in lost.findings[0].remedy
    assert lost.model is None
    words = er.doctor(logs.write(logs.words_of_which_nothing_is_known, folder))
    assert "'ka', 'mu', 'po'" in words.findings[0].text
    assert "--outcome ka=model_a" in words.findings[0].remedy
    told = er.doctor(
        folder / "words_of_which_nothing_is_known.csv", outcomes={"ka": "model_a", "po": "model_b", "mu": "tie"}
    )
    assert told.can_tell


def test_what_is_wrong_with_the_call_is_said_in_words(folder):
    path = logs.write(logs.healthy, folder)
    with pytest.raises(er.EarnestError, match=r"doctor\(usr=...\): expected one of user, model_a"):
        er.doctor(path, usr="user")
    with pytest.raises(er.InputError, match="there is no column 'usr'"):
        er.doctor(path, user="usr")
    with pytest.raises(er.EarnestError, match="nothing.csv"):
        er.doctor(folder / "nothing.csv")


def test_a_log_gets_the_diagnosis_of_its_file(folder):
    path = logs.write(logs.unusual_names, folder)
    named = er.doctor(path)
    log = er.read_comparisons(path, **named.columns)
    again = er.doctor(log)
    assert again.facts == named.facts
    assert again.command == named.command
    assert "guessed" not in again.codes


def _evidence(frame):
    log = er.read_comparisons(logs.plain(frame))
    return Holdings(log).evidence


def test_the_gap_test_is_that_of_permuting_each_users_votes():
    """Against the permutation itself, on a small log."""
    frame = logs.votes(40, users=12, each=12, eta=0.8, tie=0.0, skills={"ant": 0.2, "bee": 0.0, "cat": -0.2})
    rng, names = np.random.default_rng(0), ["ant", "bee", "cat"]
    x = np.stack([(frame["model_a"] == m).astype(float) - (frame["model_b"] == m) for m in names], axis=1)
    y, user = (frame["winner"] == "model_a").to_numpy(float), frame["user"].to_numpy()
    draws = []
    for k in range(4001):
        shuffled = y.copy()
        if k:
            for u in np.unique(user):
                shuffled[user == u] = rng.permutation(shuffled[user == u])
        draws.append(x.T @ (shuffled - y.mean()))
    draws = np.array(draws)
    inverse = np.linalg.pinv(np.cov(draws[1:].T), rcond=1e-6)
    size = np.einsum("ki,ij,kj->k", draws - draws[1:].mean(0), inverse, draws - draws[1:].mean(0))
    p, df = _evidence(frame).gap
    assert df == 2
    assert p == pytest.approx((size >= size[0]).mean(), abs=0.02)
    assert 0.001 < p < 0.6  # a draw that tells something about the test


def test_under_chance_p_values_are_as_frequent_as_they_say():
    p = np.array([_evidence(logs.votes(seed, users=40, each=10, eta=0.0, left=0.7)).gap[0] for seed in range(300, 380)])
    assert 0.35 < (p < 0.5).mean() < 0.65
    assert (p < 0.05).mean() < 0.15


def test_the_promised_reliability_is_that_of_the_ratings():
    frame = logs.votes(41, users=1000)
    truth = frame.groupby("user")["attends"].mean()
    told = _evidence(frame).reliability
    # the best linear rating of these votes, with the true skills, which no test has seen
    gap = frame["model_a"].map(logs.SKILLS) - frame["model_b"].map(logs.SKILLS)
    due = 1 / (1 + np.exp(-gap)) - 0.5
    agreed = frame["winner"].map({"model_a": 0.5, "model_b": -0.5, "tie": 0.0}) * due
    rating = agreed.groupby(frame["user"]).sum().reindex(truth.index)
    assert told == pytest.approx(np.corrcoef(rating, truth)[0, 1], abs=0.1)


def test_evidence_of_nothing_is_no_evidence():
    nothing = np.zeros(0)
    index = nothing.astype(int)
    told = Evidence(Votes(index, index, index, nothing, nothing, users=2, models=2))
    assert told.gap[1] == 0
    assert not told.signal
    assert told.reliability == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["0", "1"], {"0": "model_b", "1": "model_a"}),
        (["1", "2", "3"], {"1": "model_a", "2": "model_b", "3": "tie"}),
        (["1", "2", "3", "4", "5"], {"1": "model_a", "2": "model_a", "3": "tie", "4": "model_b", "5": "model_b"}),
        (["links", "rechts", "gleich"], {"links": "model_a", "rechts": "model_b", "gleich": "tie"}),
        (["A>>B", "A=B", "B>A"], {"A>>B": "model_a", "A=B": "tie", "B>A": "model_b"}),
        (["A<B", "A>B"], {"A<B": "model_b", "A>B": "model_a"}),
        (["response 1", "response 2", "no preference"], {"response 1": "model_a", "response 2": "model_b"}),
        (["yes", "no"], {}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_words_for_outcomes(words, expected):
    from earnest.diagnostics.doctor_words_guessed import guess_outcomes

    assert guess_outcomes(words)[0] == expected


def test_a_column_is_found_whatever_the_order_of_columns():
    def look(values, kind="VARCHAR", n=50):
        return Profile(kind, dict.fromkeys(values, n), n * len(values), 5.0)

    columns = {
        "when": look([f"t{k}" for k in range(100)], "TIMESTAMP", 1),
        "who": look([f"w{k}" for k in range(20)], n=10),
        "assistant_one": look(["x", "y", "z"]),
        "assistant_two": look(["x", "y", "z"]),
        "best": look(["one", "two"]),
        "language": look(["de", "en", "fr", "it", "es", "pt", "nl", "sv", "da"]),
    }
    expected = {"user": "who", "model_a": "assistant_one", "model_b": "assistant_two", "winner": "best"}
    for order in itertools.islice(itertools.permutations(columns), 0, 720, 37):
        found = likely_columns({name: columns[name] for name in order}, {})
        assert found == expected
    assert likely_columns(columns, {}) == expected
    assert likely_columns(dict(reversed(columns.items())), {}) == expected


def test_names_from_the_log_are_text_in_html():
    frame = logs.healthy().replace({"u1": "<script>alert(1)</script>", "ant": "<b>ant</b>"})
    frame = pd.concat([frame, logs.healthy(5).assign(user="<i>bot</i>")])
    shown = er.doctor(frame)._repr_html_()
    assert "&lt;i&gt;bot" in shown
    assert "<script" not in shown
    assert "<b>ant" not in shown
    assert "<i>" not in shown


@pytest.mark.parametrize(
    ("make", "doubted"),
    [(logs.healthy, False), (logs.one_pair, False), (logs.opposed_halves, False), (logs.nobody_attends, True), (logs.thirty_votes, True), (logs.only_ties, True)],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_fit_of_votes_that_tell_nothing_is_doubted(make, doubted):
    log = er.read_comparisons(make())
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    said = doubts_of_counts(model.count(log), model.directed)
    assert bool(said) == doubted
    if doubted:
        assert er.doctor(log).findings[0].remedy in said  # what the doctor says of the log


def test_of_a_long_log_some_users_are_looked_at_and_tell_the_same(monkeypatch):
    log = er.read_comparisons(logs.plain(logs.votes(42, users=2000)))
    whole = er.doctor(log)
    monkeypatch.setattr("earnest.diagnostics.doctor_counts._MOST", 10_000)
    part = er.doctor(log)
    assert part.facts["looked at"] == "one user in 4, for what follows"
    assert "looked at" not in whole.facts
    assert part.codes == whole.codes == ()
    assert (Holdings(log).evidence.decided / len(log)) == pytest.approx(0.8 / 4, rel=0.2)


def test_the_advantage_of_the_better_model_is_what_it_is_however_many_votes():
    found = []
    for times in (1, 2000):
        votes = _evidence(logs.votes(43, users=600)).votes
        found.append(Evidence(replace(votes, n=votes.n * times)).advantage)
    truth = np.mean([(1 / (1 + np.exp(b - a)) - 0.5) ** 2 for a, b in itertools.permutations(logs.SKILLS.values(), 2)])
    assert found == pytest.approx([0.5 * truth**0.5] * 2, rel=0.15)  # half of the votes are attended


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda f: f[f["user"].isin(["u0", "u1"])], {"few_users", "too_few"}),
        (lambda f: f.groupby("user").head(3), {"few_votes"}),
        (lambda f: f.drop(columns="winner"), {"no_columns"}),
        (lambda f: f.assign(winner="nobody").head(40), {"unknown_words"}),
        (lambda f: f.assign(model_b=f["model_b"].where(f.index % 50 > 0, f["model_a"])), {"bad_rows"}),
        (lambda f: f.assign(winner=f["winner"].where(f.index % 9 > 0)), {"bad_rows"}),
        (lambda f: f.rename(columns={"winner": "preferred", "model_a": "chosen model", "model_b": "rejected model"}), {"no_sides"}),
        (lambda f: f.assign(session=f.index // 10).rename(columns={"user": "rater_uuid"}), {"guessed"}),
    ],
)  # fmt: skip
def test_more_troubles(change, codes):
    found = er.doctor(change(logs.plain(logs.votes(50, users=800))))
    assert set(found.codes) == codes
    if codes == {"guessed"}:
        assert found.columns["user"] == "rater_uuid"  # who, not when


def test_files_that_are_no_logs(tmp_path):
    (tmp_path / "head.csv").write_text("user,model_a,model_b,winner\n")
    empty = er.doctor(tmp_path / "head.csv")
    assert (empty.codes, "no rows" in empty.verdict) == (("unreadable",), True)
    (tmp_path / "prose.csv").write_text("hello world\nthis is not, a table\n")
    with pytest.raises(er.InputError, match="prose.csv"):
        er.doctor(tmp_path / "prose.csv")
    (tmp_path / "none.csv").write_text("")
    with pytest.raises(er.InputError, match="empty"):
        er.doctor(tmp_path / "none.csv")


def test_an_export_of_a_tool_is_told_by_name(tmp_path):
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    feedback = [
        {
            "id": str(k), "user_id": f"u{k % 3}", "type": "rating", "meta": {"arena": True, "model_id": "x", "message_id": "m"},
            "data": {"rating": 1, "model_id": "x", "sibling_model_ids": ["y"]}, "snapshot": {"chat": {"messages": said}},
        }
        for k in range(9)
    ]  # fmt: skip
    (tmp_path / "export.json").write_text(json.dumps(feedback))
    found = er.doctor(tmp_path / "export.json")
    assert found.codes == ("export",)
    assert found.command == f"earnest import {tmp_path / 'export.json'} --out votes.parquet"


@pytest.mark.parametrize("seed", range(5))
def test_habits_of_side_are_no_taste(seed):
    """Who always clicks left is consistent, too: where sides are shuffled it is nothing, else it is said that it may be."""
    frame = logs.habits_and_no_shuffling_for_a_user(60 + seed)
    unshuffled, shuffled = er.doctor(frame), er.doctor(logs.habits(60 + seed))
    assert "fixed_sides" in unshuffled.codes
    assert not {"contrarians", "no_signal"} & set(unshuffled.codes)
    assert "only if" in unshuffled.verdict
    assert "users differ" not in unshuffled.facts
    assert "contrarians" not in shuffled.codes
    assert not shuffled.can_tell
