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
from earnest.inference.doubts import doubts_of_counts
from earnest.inference.evidence import Evidence, Votes

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
    stops = {"no_signal", "too_few", "one_vote", "ties_only", "gold_missed", "unknown_words", "two_readings", "no_user"}
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


def _written(folder, values, column="winner", sides=("model_a", "model_b")):
    """A healthy log whose winner is told by these values of model_a, model_b and tie."""
    frame = logs.healthy(29)
    if len(values) == 2:
        frame = frame[frame["winner"] != "tie"]
    told = dict(zip(("model_a", "model_b", "tie"), values, strict=False))
    frame = frame.assign(winner=frame["winner"].map(told))
    path = folder / "coded.csv"
    frame.rename(columns={"winner": column, "model_a": sides[0], "model_b": sides[1]}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "values", [(1, 0), (0, 1), (0, 1, 2), (1, 2, 0), (1, 3, 2), ("true", "false"), (1, -1), (-1, 1, 0)]
)
def test_codes_of_two_readings_are_not_guessed(values, folder):
    found = er.doctor(_written(folder, values))
    assert (found.codes, found.can_tell, found.model) == (("two_readings",), False, None)
    assert "OUTCOME" in found.command  # which cannot be run without an answer
    assert len(found.choices) >= 2
    for command in found.choices:
        assert command in str(found)
    # one of the readings is the truth, and each command says one that the log can be read with
    true = {str(value): name for value, name in zip(values, ("model_a", "model_b", "tie"), strict=False)}
    wanted = {f"--outcome={word}={name}" for word, name in true.items()}
    given = [{f"--outcome={w}" for w in shlex.split(c) if "=" in w} for c in found.choices]
    assert wanted in given
    told = er.doctor(folder / "coded.csv", outcomes=true)
    assert (told.codes, told.can_tell) == ((), True)
    # a part of the answer leaves fewer readings, and where one is left that is taken
    parts = [er.doctor(folder / "coded.csv", outcomes={word: true[word]}) for word in true]
    assert min(len(part.choices) for part in parts) < len(found.choices)


@pytest.mark.parametrize(
    ("values", "column", "sides"),
    [
        ((1, 0), "a_wins", ("model_a", "model_b")), ((0, 1), "model_b_is_better", ("model_a", "model_b")),
        ((0, 1, 2), "choice", ("model_0", "model_1")), ((1, 2, 0), "choice", ("bot 1", "bot 2")),
        ((1, 2), "winner", ("model_a", "model_b")),
    ],
)  # fmt: skip
def test_codes_that_the_columns_explain_are_guessed(values, column, sides, folder):
    found = er.doctor(_written(folder, values, column, sides))
    assert (found.codes, found.can_tell) == (("guessed",), True)
    names = ("model_a", "model_b", "tie")
    assert found.outcomes == {str(value): name for value, name in zip(values, names, strict=False)}


def test_one_odd_word_among_names_is_guessed_without_losing_the_names(folder):
    frame = logs.healthy(28)
    name = frame["model_a"].where(frame["winner"] == "model_a", frame["model_b"])
    frame["winner"] = name.where(frame["winner"] != "tie", "No preference")
    frame.to_csv(folder / "names.csv", index=False)
    found = er.doctor(folder / "names.csv")
    assert found.outcomes == {"No preference": "tie"}
    assert (found.numbers["votes"], found.numbers["ties"]) == (6000, (frame["winner"] == "No preference").sum())
    frame["winner"] = frame["winner"].replace("No preference", "fnord")
    frame.to_csv(folder / "names.csv", index=False)
    odd = er.doctor(folder / "names.csv", outcomes={"fnord": "tie"})
    assert odd.numbers == found.numbers


def test_what_cannot_be_guessed_is_asked_for(folder):
    lost = er.doctor(logs.write(logs.no_user, folder))
    assert "who cast each vote" in lost.verdict
    assert "Columns: model_a, model_b, winner" in lost.findings[0].text
    assert "--user COLUMN" in lost.command
    assert lost.model is None
    words = er.doctor(logs.write(logs.words_of_which_nothing_is_known, folder))
    assert "'ka', 'mu', 'po'" in words.findings[0].text
    assert "--outcome ka=OUTCOME" in words.command
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
        (["response 1", "response 2", "no preference", "skipped"], {"response 1": "model_a", "response 2": "model_b", "no preference": "tie"}),
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


def _one_user():
    return logs.plain(logs.votes(44, users=1, each=2000, eta=0.9))


def _all_left():
    return logs.healthy(45).assign(winner="model_a")


@pytest.mark.parametrize(
    ("make", "doubted"),
    [
        (logs.healthy, False), (logs.one_pair, False), (logs.opposed_halves, False), (logs.nobody_attends, True),
        (logs.thirty_votes, True), (logs.only_ties, True), (logs.one_vote_a_user, True), (_one_user, True),
        (_all_left, True), (logs.gold_missed, True), (logs.with_gold, False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_a_fit_of_votes_that_tell_nothing_is_doubted(make, doubted):
    log = er.read_comparisons(make())
    gold = er.Gold() if "gold" in log.columns else None
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), gold=gold)
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
    with pytest.raises(er.InputError, match="head.csv: the log is empty, it has column names but no rows"):
        er.doctor(tmp_path / "head.csv")
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
    # an export some of whose votes cannot be used is one as well
    (tmp_path / "export.json").write_text(json.dumps([*feedback, feedback[0] | {"id": "n", "user_id": None}]))
    found = er.doctor(tmp_path / "export.json")
    assert found.codes == ("export",)
    assert "--on-bad-rows quarantine" in found.command
    (tmp_path / "export.json").write_text(json.dumps([{"id": 1, "text": "no export"}]))
    assert er.doctor(tmp_path / "export.json").codes == ("no_user",)


def test_winners_and_losers_get_sides_by_the_program_that_is_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = logs.healthy(46).query("winner != 'tie'")
    first = frame["winner"] == "model_a"
    won, lost = (frame["model_a"].where(first, frame["model_b"]), frame["model_b"].where(first, frame["model_a"]))
    votes = pd.DataFrame({"annotator": frame["user"], "win_model": won, "lose_model": lost})
    votes.to_csv("wl.csv", index=False)
    found = er.doctor("wl.csv")
    assert found.codes == ("no_sides",)
    printed = str(found).split("in Python:\n")[1].split("\n\nnext:")[0]
    exec("\n".join(line[2:] for line in printed.split("\n")), {})
    again = er.doctor("shuffled.csv")
    assert found.command == "earnest doctor shuffled.csv"
    assert again.can_tell
    assert again.numbers["left_share"] == pytest.approx(0.5, abs=0.03)


def test_what_is_said_of_a_log_that_stops_does_not_contradict_it():
    for make, code in ((_one_user, "few_users"), (_all_left, "one_side")):
        found = er.doctor(make())
        assert found.codes[0] == code
        assert "users_alike" not in found.codes
        assert "nan" not in str(found)


def test_users_are_called_alike_only_where_the_log_can_show_it():
    """Of 40 small logs with a spread of 0.45 of the mean seven were called alike before; now none is."""
    for seed in range(40):
        eta = np.repeat(np.random.default_rng(seed).beta(2.0, 2.0, 60)[:, None], 20, axis=1)
        frame = logs.votes(500 + seed, users=60, eta=0.0)
        attends = np.random.default_rng(seed).random(1200) < eta.ravel()
        better = frame["model_a"].map(logs.SKILLS) > frame["model_b"].map(logs.SKILLS)
        said = np.where(attends, np.where(better, "model_a", "model_b"), frame["winner"])
        assert "users_alike" not in er.doctor(logs.plain(frame.assign(winner=said))).codes
    assert "users_alike" in er.doctor(logs.all_alike()).codes  # and where it can, they are


def test_ties_that_call_both_bad_are_told(folder):
    frame = logs.healthy(47)
    ties = frame.index[frame["winner"] == "tie"]
    frame.loc[ties[:300], "winner"] = "both_bad"
    frame.to_csv(folder / "bad.csv", index=False)
    text = {finding.code: finding.text for finding in er.doctor(folder / "bad.csv").findings}
    assert text["both_bad"] == f"300 of the {len(ties):,} ties say that both responses are bad; they count as ties."
    assert "both_bad" not in {finding.code for finding in er.doctor(logs.healthy(47)).findings}


def test_facts_come_as_numbers_too():
    found = er.doctor(logs.two_islands())
    told = found.numbers
    assert (told["votes"], told["users"], told["models"], told["components"]) == (6000, 300, 6, 2)
    assert (told["pairs_compared"], told["pairs_possible"], told["least_votes"], told["most_votes"]) == (7, 15, 20, 20)
    assert told["ties"] + told["decided"] == told["votes"]
    assert f"{told['left_share']:.0%}" in found.facts["left side"]
    assert found.facts["users"] == "300, with 20 votes each"
    json.dumps(told, allow_nan=False)


def test_texts_that_an_export_will_need_are_asked_for_early():
    def codes(frame):
        return {finding.code for finding in er.doctor(frame).findings}

    assert "no_texts" in codes(logs.healthy())
    assert "no_texts" not in codes(logs.healthy().assign(prompt="?", response_a="x", response_b="y"))


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
