"""LOO by importance sampling and model choice: against integrals on a grid, ArviZ, and models that are plainly wrong."""

import runpy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_t

import earnest as er
from earnest.comparisons.errors import EarnestError, InputError
from earnest.diagnostics import check_plots, importance, model_choice
from earnest.diagnostics.importance import Mixture
from earnest.diagnostics.model_choice import compare_models

_whale = runpy.run_path(str(Path(__file__).with_name("whale.py")))
VOTES, read, two_models = (_whale[name] for name in ("VOTES", "read", "two_models"))
GROUPS = er.BehaviorModel(er.Groups((0.0, 1.0)), er.PairAdvantage(), er.CoinFlip())
BIASED = er.BehaviorModel(er.Groups((0.0, 1.0)), er.KnownAdvantage(0.8, stronger=("a", "b")), er.PositionBias())
TIES = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))


def exact_elpd(model):
    """Every user's log predictive density from the others, (user,): sums over a grid of both parameters.

    Groups (0, 1) with weight w of the attentive, Dirichlet(2) prior, that is Beta(2, 2); and Pr(a | attentive) = q,
    Beta(2, 2), against a coin; or Pr(left | casual) = q, Dirichlet(2), beside the known 0.8.
    """
    grid = (np.arange(800) + 0.5) / 800
    w, q = grid[:, None], grid[None, :]
    prior = np.log(w * (1 - w) * q * (1 - q))
    likelihood = []
    for wins, losses in [VOTES[user] for user in sorted(VOTES)]:
        n = wins + losses
        free = wins * np.log(q) + losses * np.log(1 - q)
        if model is GROUPS:
            both = np.logaddexp(np.log(w) + free, np.log1p(-w) - n * np.log(2.0))
        else:
            both = np.logaddexp(np.log(w) + wins * np.log(0.8) + losses * np.log(0.2), np.log1p(-w) + free)
        likelihood.append(both)
    everybody = prior + sum(likelihood)
    return np.array([logsumexp(everybody) - logsumexp(everybody - own) for own in likelihood])


@pytest.fixture(scope="module")
def small():
    log = two_models(VOTES)
    return log, compare_models({"groups": GROUPS, "biased": BIASED}, log, seed=1)


# ----------------------------------------------------------------------------------------------- the integral


@pytest.mark.parametrize(("name", "model"), [("groups", GROUPS), ("biased", BIASED)])
def test_every_user_is_left_out_as_the_integral_says(small, name, model):
    _, found = small
    elpd = found.elpds[name]
    assert list(elpd.elpd_i["user"].values) == sorted(VOTES)
    # The last user, whose votes the others make most unlikely, is known to a few hundredths only.
    assert (np.abs(elpd.elpd_i.values - exact_elpd(model)) < np.where(np.arange(13) < 12, 0.03, 0.15)).all()
    assert elpd.elpd == pytest.approx(exact_elpd(model).sum(), abs=0.2)


def test_the_whale_needs_draws_of_its_own(small, monkeypatch):
    """Without the exact refit the same draws are wrong there, and say so."""
    log, found = small
    good = found.elpds["groups"].elpd_i.sel(user="whale").item()
    exact = exact_elpd(GROUPS)[sorted(VOTES).index("whale")]
    seen = {}

    def only_psis(target, proposal, start, units, draws, rng):
        seen["units"] = len(units)
        return np.full(len(units), np.nan), np.full(len(units), np.inf)

    monkeypatch.setattr("earnest.diagnostics.loo.leave_out", only_psis)
    compare_models({"groups": GROUPS, "biased": BIASED}, log, seed=1)
    assert seen["units"] >= 1
    assert abs(good - exact) < 0.15


def test_order_of_models_and_rows_does_not_matter(small):
    log, found = small
    shuffled = read(log.to_arrow().to_pandas().sample(frac=1, random_state=3))
    again = compare_models({"biased": BIASED, "groups": GROUPS}, shuffled, seed=8)
    one, two = (table.table.set_index("model") for table in (found, again))
    np.testing.assert_allclose(one["elpd"], two.loc[one.index, "elpd"], atol=0.1)


# ----------------------------------------------------------------------------------------------- the parts


def test_density_of_a_mixture_is_scipys():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 3))
    half = rng.normal(size=(2, 3, 3))
    covariances = np.einsum("kij,klj->kil", half, half) + 0.2 * np.eye(3)
    mixture = Mixture.of(list(centres), list(covariances)).joined(Mixture.of([np.ones(3)], [np.eye(3)]), 0.25)
    points = rng.normal(size=(50, 3)) * 3
    parts = zip([0.375, 0.375, 0.25], [*centres, np.ones(3)], [*covariances, np.eye(3)], strict=True)
    density = sum(share * multivariate_t(loc, shape, df=6).pdf(points) for share, loc, shape in parts)
    np.testing.assert_allclose(mixture.log_density(points), np.log(density), rtol=1e-10)


def test_draws_of_a_mixture_have_its_moments():
    mixture = Mixture.of([np.array([-4.0, 0.0])], [np.diag([1.0, 4.0])]).joined(
        Mixture.of([np.array([4.0, 1.0])], [np.eye(2)]), 0.25
    )
    drawn = mixture.draw(np.random.default_rng(1), 40_000)
    right = drawn[:, 0] > 0
    assert right.mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(np.median(drawn[~right], axis=0), [-4.0, 0.0], atol=0.06)
    assert drawn[~right, 1].var() == pytest.approx(4.0 * 6 / 4, rel=0.1)  # of t with 6 degrees: df / (df - 2)


def test_an_unknown_variance_is_taken_to_be_one():
    covariance = np.array([[0.25, np.nan], [np.nan, np.nan]])
    root = Mixture.of([np.zeros(2)], [covariance]).roots[0]
    np.testing.assert_allclose(root @ root.T, [[0.25, 0.0], [0.0, 1.0]], atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_stacking_weights_of_heavy_users(share):
    """Densities far below what exp can hold; the best mixture of two models is known from a grid."""
    rng = np.random.default_rng(5)
    which = rng.random(400) < share
    gap = np.where(which, 1.5, -1.5) + rng.normal(0, 0.5, 400)
    pointwise = np.stack([gap, np.zeros(400)]) - 2000.0
    weights = model_choice._stacked(pointwise)
    grid = np.linspace(0, 1, 2001)
    best = grid[np.argmax([np.sum(np.log(w * np.exp(gap) + (1 - w))) for w in grid])]
    assert weights[0] == pytest.approx(best, abs=2e-3)
    assert weights.sum() == pytest.approx(1.0)


# ----------------------------------------------------------------------------------------------- the table


@pytest.fixture(scope="module")
def three():
    true = {
        "skill": [1.5, 0.0, -1.5], "tie_strength": 0.5, "attentiveness_alpha": 1.0, "attentiveness_beta": 1.0,
        "casual_outcome": [0.7, 0.1, 0.2],
    }  # fmt: skip
    log = TIES.simulate(users=120, comparisons_per_user=20, models=3, seed=4, parameters=true).log
    models = {
        "davidson": TIES,
        "rao": er.BehaviorModel(preference=er.BradleyTerry(ties=er.RaoKupper())),
        "coin": er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.CoinFlip()),
    }
    return log, compare_models(models, log)


def test_the_table_is_arvizs(three):
    import arviz_stats

    _, found = three
    with np.errstate(all="ignore"):
        theirs = arviz_stats.compare(found.elpds, round_to="none")
    ours = found.table.set_index("model")
    assert list(ours.index) == list(theirs.index)
    for column in ("elpd", "se", "elpd_diff", "dse", "p"):
        np.testing.assert_allclose(ours[column], theirs[column], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours["weight"], theirs["weight"], atol=0.02)  # theirs by a general optimiser
    assert list(ours["rank"]) == [0, 1, 2]
    assert ours.loc["davidson", "rank_correlation"] == pytest.approx(1.0)  # the one that was named first
    assert ours["attentiveness"].between(0, 1).all()
    assert ours["threshold"].between(0, 1).all()
    assert (ours["seconds"] > 0).all()
    assert (ours["k_bad"] == 0).all()


def test_a_plainly_wrong_model_is_worse_by_many_standard_errors(three):
    """Careless users of this log go left seven times of ten; a coin cannot."""
    _, found = three
    coin = found.table.set_index("model").loc["coin"]
    assert coin["elpd_diff"] < -5 * coin["dse"]
    assert f"coin is worse by {-coin['elpd_diff']:,.0f} nats" in found.verdict


def test_two_that_say_nearly_the_same_cannot_be_told_apart(three):
    _, found = three
    table = found.table.set_index("model")
    near = table.loc[["davidson", "rao"]]
    assert (near["elpd_diff"] >= -2 * near["dse"] - 1e-9).any()
    assert abs(near["elpd_diff"].diff().iloc[-1]) < 10
    best, other = found.table["model"][:2]
    if -table.loc[other, "elpd_diff"] < 4:
        assert f"{best} predicts new users best, but cannot be told apart from {other}" in found.verdict


def test_the_same_seed_gives_the_same_table(small):
    log, found = small
    again = compare_models({"groups": GROUPS, "biased": BIASED}, log, seed=1)
    same = [one.table.drop(columns="seconds") for one in (found, again)]
    pd.testing.assert_frame_equal(*same)


def test_figure(three):
    _, found = three
    axes = check_plots.model_comparison(found)
    assert [label.get_text().split(" (")[0] for label in axes.get_yticklabels()] == list(found.table["model"][::-1])
    axes.figure.canvas.draw()


# ----------------------------------------------------------------------------------------------- other models


@dataclass(frozen=True)
class LeftOrRight(er.Casual):
    """Careless users go left with a probability of their own: a user-written PositionBias for two outcomes."""

    def parameters(self, schema):
        return (er.Parameter("left", er.priors.Beta(2.0, 2.0)),)

    def log_prob(self, xp, values, cells):
        return xp.where(cells.won_a, xp.log(values["left"]), xp.log1p(-values["left"]))


def test_a_component_of_ones_own_is_judged_like_its_built_in_twin():
    log = two_models(VOTES)
    known = {"attentiveness": er.Groups((0.0, 1.0)), "preference": er.KnownAdvantage(0.8, stronger=("a", "b"))}
    mine = er.BehaviorModel(**known, casual=LeftOrRight())
    found = compare_models({"mine": mine, "built in": BIASED}, log).table.set_index("model")
    assert found.loc["mine", "elpd"] == pytest.approx(found.loc["built in", "elpd"], abs=0.1)


def test_labels_of_groups_do_not_matter():
    """Free levels of two groups: the posterior has two copies, of which one is weighed."""
    log = two_models(VOTES)
    two = er.BehaviorModel(er.Groups(2), er.KnownAdvantage(0.8, stronger=("a", "b")), er.CoinFlip())
    found = compare_models({"two": two, "groups": GROUPS}, log)
    assert found.table.set_index("model").loc["two", "how"] == "importance sampling"
    # By sums over a grid of both levels and the weight of the first.
    level = (np.arange(60) + 0.5) / 60
    low, high, w = level[:, None, None], level[None, :, None], level[None, None, :]
    prior = np.log(low * (1 - low) * high * (1 - high) * w * (1 - w))
    own = []
    for wins, losses in [VOTES[user] for user in sorted(VOTES)]:
        at = [wins * np.log(0.5 + 0.3 * eta) + losses * np.log(0.5 - 0.3 * eta) for eta in (low, high)]
        own.append(np.logaddexp(np.log(w) + at[0], np.log1p(-w) + at[1]))
    everybody = prior + sum(own)
    exact = np.array([logsumexp(everybody) - logsumexp(everybody - one) for one in own])
    assert (np.abs(found.elpds["two"].elpd_i.values - exact) < np.where(np.arange(13) < 12, 0.05, 0.2)).all()


def test_a_model_without_unknowns():
    log = two_models(VOTES)
    fixed = er.BehaviorModel(er.Groups((0.5,)), er.KnownAdvantage(0.8, stronger=("a", "b")), er.CoinFlip())
    found = compare_models({"fixed": fixed, "groups": GROUPS}, log)
    wins, losses = np.array([VOTES[user] for user in sorted(VOTES)]).T
    expected = wins * np.log(0.65) + losses * np.log(0.35)
    np.testing.assert_allclose(found.elpds["fixed"].elpd_i.values, expected, rtol=1e-9)
    assert found.table.set_index("model").loc["fixed", "how"] == "no unknowns"


def test_where_importance_sampling_fails_the_model_is_sampled(small, monkeypatch):
    log, found = small
    real = importance.weigh

    def failing(target, proposal, draws, rng):
        from dataclasses import replace

        return replace(real(target, proposal, draws, rng), k=0.9)

    monkeypatch.setattr(model_choice, "weigh", failing)
    monkeypatch.setattr(
        "earnest.inference.sampling.sample",
        lambda model, log, **given: ("a trace of", given["seed"], given["fit"].fingerprint == log.fingerprint()),
    )
    monkeypatch.setattr(model_choice, "loo", lambda trace, log: found.elpds["groups"] if trace[2] else None)
    judged = SimpleNamespace(good=False, verdict="The chains disagree.")
    monkeypatch.setattr(model_choice, "convergence", lambda trace: judged)
    with pytest.warns(UserWarning, match=r"does not suit '(groups|biased)' \(its k-hat is 0\.90\)") as told:
        again = compare_models({"groups": GROUPS, "biased": BIASED}, log, seed=1)
    assert len(told) == 2  # one a model, before it is sampled
    assert set(again.table["how"]) == {"sampled, because importance sampling failed"}
    assert len(again.notes) == 5
    assert "was sampled" in again.verdict
    assert again.verdict.count("not to be relied on: The chains disagree.") == 2


# ----------------------------------------------------------------------------------------------- refused


def test_what_cannot_be_compared_is_refused(small):
    log, _ = small
    other = two_models({"x": (3, 2), "y": (1, 4)})
    free = er.BehaviorModel()
    with pytest.raises(EarnestError, match="at least two models"):
        compare_models({"one": free}, log)
    with pytest.raises(EarnestError, match="'tied' knows ties and 'free' does not"):
        compare_models({"free": free, "tied": TIES}, log)
    with pytest.raises(EarnestError, match=r"models\['b'\]: it is of another log"):
        compare_models({"a": GROUPS, "b": er.fit_em(GROUPS, other)}, log)
    with pytest.raises(EarnestError, match=r"models\['b'\]: expected a BehaviorModel"):
        compare_models({"a": GROUPS, "b": "model.toml"}, log)
    with pytest.raises(EarnestError, match="method='marginal'"):
        compare_models({"a": GROUPS, "b": er.fit_em(GROUPS, log, method="label")}, log)
    tied = read(pd.DataFrame([{"user": "u", "model_a": "a", "model_b": "b", "winner": "tie"}]))
    with pytest.raises(InputError, match="knows no ties"):
        compare_models({"a": GROUPS, "b": free}, tied)


def test_a_fit_is_taken_as_it_is(small):
    log, found = small
    again = compare_models({"groups": er.fit_em(GROUPS, log), "biased": BIASED}, log, seed=1)
    same = [one.table.drop(columns="seconds") for one in (found, again)]
    pd.testing.assert_frame_equal(*same)
