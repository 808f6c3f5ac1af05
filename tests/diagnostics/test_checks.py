"""Predictive checks: what is counted against loops, replicates against probabilities, faults each by the right check."""

import runpy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics import check_plots
from earnest.diagnostics.checks import predictive_check
from earnest.diagnostics.discrepancies import Looks
from earnest.diagnostics.replicates import Believed, read_rows
from earnest.models.choices import Users
from earnest.models.namespace import NUMPY

read = runpy.run_path(str(Path(__file__).with_name("whale.py")))["read"]
TIES = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
COIN = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.CoinFlip())
TRUE = {
    "skill": [1.5, 0.5, -0.5, -1.5], "tie_strength": 0.5, "attentiveness_alpha": 1.0, "attentiveness_beta": 1.0,
    "casual_outcome": [0.5, 0.3, 0.2],
}  # fmt: skip


def simulated(seed=1, model=TIES, users=150, votes=20, **changed):
    return model.simulate(users, votes, 4, seed=seed, parameters={**TRUE, **changed}).log


def frame_of(log):
    return log.to_arrow().to_pandas()


def checked(model, log, **options):
    return predictive_check(er.fit_em(model, log, restarts=False), log, **options)


def row(checks, beginning):
    found = checks.table[checks.table["check"].str.startswith(beginning)]
    assert len(found) == 1
    return found.iloc[0]


# ----------------------------------------------------------------------------------------------- what is counted


@pytest.fixture(scope="module")
def ragged():
    """Users with 1 to 12 votes in an order of rows that jumps between users, and what is looked at in it."""
    sizes = [1, 2, 3, 4, 5, 7, 12] * 4
    log = TIES.simulate(len(sizes), sizes, 4, seed=2, parameters=TRUE).log
    frame = frame_of(log).sample(frac=1, random_state=1).reset_index(drop=True)
    log = read(frame)
    skill = dict(zip(sorted(set(frame["model_a"])), [0.9, 0.2, -0.3, -0.8], strict=True))
    schema = TIES.count(log).cells.schema
    rows = read_rows(log, TIES, schema)
    values = {"skill": np.array(list(skill.values())), "tie_strength": np.array(0.4),
              "casual_outcome": np.array([0.5, 0.3, 0.2])}  # fmt: skip
    return frame, skill, Looks(rows, rows.favoured(TIES, values)), rows


def told_one_by_one(frame, skill):
    """{user: [(left score, favourite score, outcome, gap)]} in the order of the frame."""
    out = {}
    for vote in frame.itertuples():
        left = {"model_a": 1, "model_b": -1, "tie": 0}[vote.winner]
        gap = skill[vote.model_a] - skill[vote.model_b]
        out.setdefault(vote.user, []).append((left, left * (1 if gap > 0 else -1), vote.winner, abs(gap)))
    return dict(sorted(out.items()))


def weighted_sd(shares, sizes):
    mean = sum(s * n for s, n in zip(shares, sizes, strict=True)) / sum(sizes)
    return (sum(n * (s - mean) ** 2 for s, n in zip(shares, sizes, strict=True)) / sum(sizes)) ** 0.5


def test_users_are_counted_as_in_a_loop(ragged):
    frame, skill, looks, rows = ragged
    users = told_one_by_one(frame, skill)
    found = looks.of_population(rows.outcome)
    sizes = [len(votes) for votes in users.values()]
    for name, k in (("favourite", 1), ("left", 0)):
        shares = [0.5 + sum(vote[k] for vote in votes) / 2 / len(votes) for votes in users.values()]
        overall = 0.5 + sum(vote[k] for votes in users.values() for vote in votes) / 2 / len(frame)
        assert found[f"votes for the {name}: share of all votes"] == pytest.approx(overall)
        assert found[f"votes for the {name}: spread over users"] == pytest.approx(weighted_sd(shares, sizes))
        if name == "favourite":
            many = [share for share, n in zip(shares, sizes, strict=True) if n >= 5]
            assert found["votes for the favourite: 90 % of users are below"] == pytest.approx(np.quantile(many, 0.9))
    ties = [sum(vote[2] == "tie" for vote in votes) / len(votes) for votes in users.values()]
    assert found["ties: spread over users"] == pytest.approx(weighted_sd(ties, sizes))
    assert found["ties: share of all votes"] == pytest.approx((frame["winner"] == "tie").mean())


def test_order_is_that_of_the_rows(ragged):
    frame, skill, looks, rows = ragged
    users = told_one_by_one(frame, skill)
    found, _ = looks.of_votes(rows.outcome)
    steps = [(one, two) for votes in users.values() for one, two in pairwise(votes)]
    assert found["order: successive votes with the same outcome"] == pytest.approx(
        np.mean([one[2] == two[2] for one, two in steps])
    )
    assert found["order: favourite or not as in the vote before"] == pytest.approx(
        np.mean([one[1] * two[1] for one, two in steps])
    )
    longest = []
    for votes in users.values():
        best = run = 1
        for one, two in pairwise(votes):
            run = run + 1 if one[2] == two[2] else 1
            best = max(best, run)
        longest.append(best)
    assert found["order: longest run of one outcome, mean over users"] == pytest.approx(np.mean(longest))


def test_halves_are_of_users_with_four_votes_or_more(ragged):
    frame, skill, looks, rows = ragged
    halves = []
    for votes in told_one_by_one(frame, skill).values():
        if len(votes) >= 4:
            cut = len(votes) // 2
            halves.append([0.5 + sum(v[1] for v in part) / 2 / len(part) for part in (votes[:cut], votes[cut:])])
    first, second = np.array(halves).T
    found, _ = looks.of_votes(rows.outcome)
    assert found["halves: correlation over users of votes for the favourite"] == pytest.approx(
        np.corrcoef(first, second)[0, 1]
    )
    assert found["halves: votes for the favourite, second minus first"] == pytest.approx(np.mean(second - first))


def test_ties_by_gap_and_favourites_by_pair(ragged):
    frame, skill, looks, rows = ragged
    votes = [vote for each in told_one_by_one(frame, skill).values() for vote in each]
    found, _ = looks.of_votes(rows.outcome)
    bins = {name: value for name, value in found.items() if name.startswith("ties where the gap is")}
    assert len(bins) >= 3
    seen = 0
    for name, value in bins.items():
        ends = [float(word) for word in name.removeprefix("ties where the gap is ").split(" to ")]
        inside = [vote for vote in votes if ends[0] - 0.006 < vote[3] < ends[-1] + 0.006]
        seen += len(inside)
        assert value == pytest.approx(np.mean([vote[2] == "tie" for vote in inside]))
    assert seen == len(votes)
    pairs = {}
    for vote in frame.itertuples():
        key = tuple(sorted((vote.model_a, vote.model_b)))
        better = "model_a" if skill[vote.model_a] > skill[vote.model_b] else "model_b"
        pairs.setdefault(key, []).append({better: 1.0, "tie": 0.5}.get(vote.winner, 0.0))
    expected = [np.mean(pairs[key]) for key in sorted(pairs)]
    np.testing.assert_allclose(looks.of_votes(rows.outcome)[1], expected)


def test_replicates_follow_the_probabilities(ragged):
    *_, rows = ragged
    values = {"skill": np.array([2.0, 0.0, -0.5, -1.5]), "tie_strength": np.array(0.8),
              "casual_outcome": np.array([0.7, 0.2, 0.1])}  # fmt: skip
    tables = rows.chances(TIES, values)
    eta = np.linspace(0, 1, len(rows.users))
    rng = np.random.default_rng(0)
    users = Users(eta, np.zeros(len(eta), dtype=int))
    drawn = np.stack([rows.simulate(rng, tables, users) for _ in range(3000)])
    owner = np.repeat(np.arange(len(rows.users)), rows.size)
    for y in range(3):
        p, c = (np.exp(part)[rows.shown] for part in TIES.log_prob(NUMPY, values, rows.cells.with_outcome(y)))
        expected = eta[owner] * p + (1 - eta[owner]) * c
        error = np.abs((drawn == y).mean(0) - expected) / np.sqrt(expected * (1 - expected) / 3000 + 1e-6)
        assert error.max() < 5


@pytest.mark.parametrize("population", [er.Beta(), er.Groups((0.2, 0.9))])
def test_the_same_users_have_the_attentiveness_that_the_fit_says(population):
    model = er.BehaviorModel(population, er.BradleyTerry(ties=er.Davidson()), er.CoinFlip())
    log = model.simulate(40, [5, 30] * 20, 3, seed=2).log
    fit = er.fit_em(model, log, restarts=False)
    point = {name: value[None] for name, value in fit.parameters.items()}
    many = {name: np.repeat(value, 400, axis=0) for name, value in point.items()}
    with jax.enable_x64(True):
        given = list(Believed(fit.model, fit.counts, many, fit.parameters, 400).same_users(seed=3))
    assert [draw for draw, _ in given] == list(range(400))
    drawn = np.stack([users.attentiveness for _, users in given])
    known = fit.attentiveness
    mean, sd = known["mean"].to_numpy(), known["sd"].to_numpy()
    # Beside 4.5 standard errors a little for levels that are drawn once or never.
    assert (np.abs(drawn.mean(0) - mean) < 4.5 * sd / 20 + 0.004).all()
    wide = sd > 0.12  # rarer levels are drawn too seldom to tell
    np.testing.assert_allclose(drawn.std(0)[wide], sd[wide], rtol=0.25)


# ----------------------------------------------------------------------------------------------- the right model


@pytest.fixture(scope="module")
def story():
    log = simulated()
    fit = er.fit_em(TIES, log)
    return log, fit, predictive_check(fit, log)


def test_the_model_itself_passes(story):
    _, _, checks = story
    assert checks.passed
    assert "none of 19 checks fails" in checks.verdict
    table = checks.table
    assert list(table.columns[:6]) == ["check", "observed", "expected", "lower", "upper", "p"]
    assert ((table["p"] > 0) & (table["p"] <= 1)).all()
    for name, value in zip(table["check"], table["lower"], strict=True):
        if not name.startswith("pairs"):
            assert value == pytest.approx(np.quantile(checks.replicates[name], 0.05))
    assert checks.shares["observed"].sum() == 150


def out_of_band(seeds):
    tables = [checked(TIES, simulated(seed, users=100, votes=12), replicates=60, seed=seed).table for seed in seeds]
    return pd.concat([table.assign(out=table["p"] <= 0.1) for table in tables])


def told_too_often(found):
    """Checks that are out of their band more often than 1 in 10 would be, once in 10,000 checks."""
    # Bins of the gap have other names in other logs.
    names = found["check"].str.replace(r"gap is .*", "gap is ...", regex=True)
    outs = found.groupby(names)["out"].agg(["sum", "count"])
    return outs[outs["sum"] > binom.ppf(1 - 1e-4, outs["count"], 0.1)]


def test_p_values_do_not_cry_wolf():
    found = out_of_band(range(4))
    assert len(told_too_often(found)) == 0
    assert found["out"].mean() < 0.14
    assert found["failed"].mean() < 0.01


@pytest.mark.long
def test_p_values_over_forty_logs():
    found = out_of_band(range(40))
    print(found.groupby(found["check"].str.replace(r"gap is .*", "gap is ...", regex=True))["out"].mean())
    print(f"out of band {found['out'].mean():.3f}, failed {found['failed'].mean():.4f}")
    assert len(told_too_often(found)) == 0
    assert found["out"].mean() < 0.12
    assert found["failed"].mean() < 0.005


# ----------------------------------------------------------------------------------------------- faults


def streaky():
    """One vote of four repeats the one before, whatever is shown."""
    frame, rng = frame_of(simulated()), np.random.default_rng(0)
    winner, again = frame["winner"].to_numpy().copy(), rng.random(len(frame)) < 0.25
    for i in range(1, len(frame)):
        if again[i] and frame["user"][i] == frame["user"][i - 1]:
            winner[i] = winner[i - 1]
    return TIES, read(frame.assign(winner=winner))


def drifting():
    """The second half of everybody's votes is another user's."""
    parts = [frame_of(simulated(seed, users=250, votes=10, attentiveness_alpha=0.3, attentiveness_beta=0.3))
             for seed in (5, 6)]  # fmt: skip
    return TIES, read(pd.concat(parts, ignore_index=True))


def tiring():
    """Nearly everybody attends at first, nearly nobody at last."""
    parts = [frame_of(simulated(seed, votes=10, attentiveness_alpha=alpha, attentiveness_beta=5.0 - alpha))
             for seed, alpha in ((5, 4.5), (6, 0.5))]  # fmt: skip
    return TIES, read(pd.concat(parts, ignore_index=True))


def leaning():
    """Careless users prefer the left; the model has them flip a coin."""
    return COIN, simulated()


def flat_ties():
    """One vote of four is a tie, however far apart the models; the model has them fall with the gap."""
    parameters = {"skill": [2.2, 1.0, -1.0, -2.2], "attentiveness_alpha": 3.0, "attentiveness_beta": 1.0}
    untied = er.BehaviorModel(casual=er.CoinFlip())
    frame = frame_of(untied.simulate(200, 20, 4, seed=1, parameters=parameters).log)
    tie = np.random.default_rng(0).random(len(frame)) < 0.25
    return COIN, read(frame.assign(winner=np.where(tie, "tie", frame["winner"])))


def intransitive():
    """Three models go round in a circle; skills cannot."""
    model = er.BehaviorModel(preference=er.PairAdvantage(), casual=er.CoinFlip())
    parameters = {"advantage": [0.9, 0.1, 0.9], "attentiveness_alpha": 4.0, "attentiveness_beta": 1.0}
    return er.BehaviorModel(casual=er.CoinFlip()), model.simulate(150, 20, 3, seed=1, parameters=parameters).log


@pytest.mark.parametrize(
    ("fault", "check", "words"),
    [
        (streaky, "order: successive", "votes come in streaks"),
        (drifting, "halves: correlation", "it drifts"),
        (tiring, "halves: votes for the favourite, second minus first", "attention tires"),
        (leaning, "votes for the left: share", "minds position (PositionBias)"),
        (flat_ties, "ties: narrowest gap", "ties fall less with the gap"),
        (intransitive, "pairs", "(PairAdvantage)"),
    ],
)
def test_each_fault_is_caught_by_the_right_check(fault, check, words):
    checks = checked(*fault())
    worst = checks.table.loc[checks.table["sds"].abs().idxmax()]
    assert worst["check"].startswith(check)
    assert row(checks, check)["failed"]
    assert words in checks.verdict
    assert not checks.passed


def test_with_the_remedy_the_fault_is_gone():
    """The control of the faults: the variants that the verdicts name reproduce the same logs."""
    _, log = leaning()
    assert not row(checked(TIES, log), "votes for the left: share")["failed"]
    _, log = intransitive()
    model = er.BehaviorModel(preference=er.PairAdvantage(), casual=er.CoinFlip())
    assert not row(checked(model, log), "pairs")["failed"]


# ----------------------------------------------------------------------------------------------- other logs, models


@dataclass(frozen=True)
class ByLength(er.Casual):
    """Careless users go by a column of the log: a user-written component with a covariate."""

    context = ("length",)

    def parameters(self, schema):
        return (er.Parameter("pull", er.priors.Normal(0.0, 1.0)),)

    def log_prob(self, xp, values, cells):
        return xp.log_sigmoid(xp.where(cells.won_a, 1.0, -1.0) * values["pull"] * cells["length"])


def test_a_component_of_ones_own_that_looks_at_a_column():
    rng = np.random.default_rng(3)
    n = 60 * 20
    first = rng.integers(3, size=n)
    second = (first + rng.integers(1, 3, size=n)) % 3
    length = np.round(rng.normal(size=n), 1)
    attends = rng.random(n) < np.repeat(rng.random(60), 20)
    skill = np.array([1.5, 0.0, -1.5])
    chance = 1 / (1 + np.exp(-np.where(attends, skill[first] - skill[second], 2.0 * length)))
    frame = pd.DataFrame(
        {"user": np.repeat([f"u{i:02d}" for i in range(60)], 20), "model_a": np.array(list("abc"))[first],
         "model_b": np.array(list("abc"))[second],
         "winner": np.where(rng.random(n) < chance, "model_a", "model_b"), "length": length}
    )  # fmt: skip
    log = read(frame)
    model = er.BehaviorModel(casual=ByLength())
    rows = read_rows(log, model, model.count(log).cells.schema)
    order = np.argsort(frame["user"].to_numpy(), kind="stable")
    np.testing.assert_allclose(rows.cells["length"][rows.shown], length[order])
    checks = checked(model, log, replicates=60)
    assert checks.passed
    assert not checks.table["check"].str.contains("ties").any()


@pytest.mark.parametrize("votes", [1, 2, 9])
def test_few_users_one_pair_no_ties(votes):
    model = er.BehaviorModel(er.Groups((0.0, 1.0)), er.PairAdvantage(), er.CoinFlip())
    log = model.simulate(12, votes, 2, seed=1).log
    checks = checked(model, log, replicates=40)
    assert np.isfinite(checks.table[["observed", "expected", "lower", "upper", "p"]].to_numpy()).all()
    assert not checks.table["check"].str.startswith("pairs").any()
    assert checks.table["check"].str.startswith("halves").any() == (votes >= 4)


def test_gold_users_attend_in_every_replicate():
    names = [f"user_{i:03d}" for i in range(1, 31)]
    model = er.BehaviorModel(casual=er.CoinFlip(), gold=er.Gold(users=names))
    log = model.simulate(100, 20, 2, seed=1, parameters={
        "skill": [2.0, -2.0], "attentiveness_alpha": 1.0, "attentiveness_beta": 8.0,
    }).log  # fmt: skip
    assert not row(checked(model, log), "votes for the favourite: spread")["failed"]
    # The control: a crowd of two kinds is not one of equals.
    eager = er.BehaviorModel(er.Groups((0.3,)), casual=er.CoinFlip())
    assert row(checked(eager, log), "votes for the favourite: spread")["failed"]


def test_a_posterior_is_checked_like_a_fit(story):
    log, _, checks = story
    settings = {"latent": "marginal", "draws": 300, "tune": 300, "chains": 2, "predictive": 0}
    trace = er.sample(TIES, log, **settings)
    found = predictive_check(trace, log)
    assert found.passed
    wide = checks.table["upper"] - checks.table["lower"]
    assert (np.abs(found.table["expected"] - checks.table["expected"]) < 0.5 * wide).mean() > 0.9
    summary = er.sample(TIES, log, keep_users="summary", **settings)
    again = predictive_check(summary, log)  # attentiveness is drawn anew
    assert (np.abs(found.table["expected"] - again.table["expected"]) < 0.4 * wide).all()


def test_the_same_seed_gives_the_same_table(story):
    log, fit, checks = story
    pd.testing.assert_frame_equal(checks.table, predictive_check(fit, log).table)
    assert not np.allclose(checks.table["expected"], predictive_check(fit, log, seed=1).table["expected"])


def test_figures(story):
    *_, checks = story
    axes = check_plots.predictive_checks(checks)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(checks.table["check"][::-1])
    axes.figure.canvas.draw()
    check_plots.favourite_shares(checks).figure.canvas.draw()


def test_what_cannot_be_checked_is_refused(story):
    log, fit, _ = story
    with pytest.raises(EarnestError, match="another one"):
        predictive_check(fit, simulated(3, users=10))
    with pytest.raises(EarnestError, match="label EM"):
        predictive_check(er.fit_em(TIES, log, method="label", restarts=False), log)
    with pytest.raises(EarnestError, match="expected a fit or what `sample` returned"):
        predictive_check(TIES, log)
    with pytest.raises(EarnestError, match="replicates=5"):
        predictive_check(fit, log, replicates=5)
    with pytest.raises(EarnestError, match="expected a log"):
        predictive_check(fit, frame_of(log))


def test_rows_carry_gold_answers():
    frame = frame_of(simulated(users=20)).assign(gold=None)
    frame.loc[::7, "gold"] = "model_b"
    frame.loc[::5, "gold"] = "tie"
    log = er.read_comparisons(
        frame, user="user", model_a="model_a", model_b="model_b", winner="winner", gold="gold"
    )  # fmt: skip
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), gold=er.Gold())
    rows = read_rows(log, model, model.count(log).cells.schema)
    order = np.argsort(frame["user"].to_numpy(), kind="stable")
    expected = frame["gold"].map({"model_b": 2, "tie": 3}).fillna(0).to_numpy()[order]
    np.testing.assert_array_equal(rows.cells["gold"][rows.shown], expected)
    assert checked(model, log, replicates=40).table["observed"].notna().all()
