"""LOO of a sampled posterior: as ArviZ where that works, and against an integral or a real refit where it does not."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics.importance import smoothed
from earnest.diagnostics.loo import loo
from earnest.diagnostics.model_choice import compare_models

_whale = runpy.run_path(str(Path(__file__).with_name("whale.py")))
VOTES, read, two_models = (_whale[name] for name in ("VOTES", "read", "two_models"))
MODEL = er.BehaviorModel(er.Groups((0.0, 1.0)), er.PairAdvantage(), er.CoinFlip())
SETTINGS = {"draws": 1000, "tune": 500, "chains": 2, "predictive": 0}


def exact_elpd():
    """By user, from sums over a grid: w of the users attend, Beta(2, 2), and then prefer a with q, Beta(2, 2)."""
    grid = (np.arange(800) + 0.5) / 800
    w, q = grid[:, None], grid[None, :]
    own = [
        np.logaddexp(np.log(w) + a * np.log(q) + b * np.log(1 - q), np.log1p(-w) - (a + b) * np.log(2.0))
        for a, b in (VOTES[user] for user in sorted(VOTES))
    ]
    everybody = np.log(w * (1 - w) * q * (1 - q)) + sum(own)
    return np.array([logsumexp(everybody) - logsumexp(everybody - one) for one in own])


@pytest.fixture(scope="module")
def story():
    log = two_models(VOTES)
    return log, er.sample(MODEL, log, **SETTINGS)


def test_the_whale_is_left_out_exactly(story):
    log, trace = story
    found = loo(trace, log)
    assert found.kind == "loo"
    assert list(found.elpd_i["user"].values) == sorted(VOTES)
    error = np.abs(found.elpd_i.values - exact_elpd())
    # Monte Carlo: a few hundredths, and a few more for the user whom the others make most unlikely.
    assert (error < np.where(np.arange(13) < 12, 0.05, 0.2)).all()
    assert (found.pareto_k.values <= 0.7).all()
    assert not found.warning
    assert found.elpd == pytest.approx(found.elpd_i.values.sum())
    assert found.se == pytest.approx(np.sqrt(13) * found.elpd_i.values.std())


def test_without_that_it_is_wrong_there_and_says_so(story):
    """The control: ArviZ alone is off for the whale, and its k-hat tells."""
    _, trace = story
    found = loo(trace, exact=False)
    whale = sorted(VOTES).index("whale")
    assert found.pareto_k.values[whale] > 0.7
    assert found.warning
    assert abs(found.elpd_i.values[whale] - exact_elpd()[whale]) > 0.4


def test_users_whom_psis_serves_are_arvizs(story):
    import warnings

    import arviz_stats

    log, trace = story
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        theirs = arviz_stats.loo(trace, pointwise=True)
    ours = loo(trace, log)
    served = theirs.pareto_k.values < 0.5
    assert served.sum() >= 8
    # Only the effective draws differ, from which the length of the tail follows.
    np.testing.assert_allclose(ours.elpd_i.values[served], theirs.elpd_i.values[served], atol=0.02)
    assert ours.p == pytest.approx(theirs.p + (theirs.elpd_i.values - ours.elpd_i.values).sum(), abs=0.05)


def test_both_roads_lead_to_the_same_place(story):
    log, trace = story
    other = er.BehaviorModel(er.Groups((0.0, 1.0)), er.PairAdvantage(), er.PositionBias())
    found = compare_models({"sampled": trace, "fast": MODEL, "another": other}, log)
    table = found.table.set_index("model")
    assert table.loc["sampled", "how"] == "sampled"
    assert table.loc["fast", "how"] == "importance sampling"
    assert table.loc["sampled", "elpd"] == pytest.approx(table.loc["fast", "elpd"], abs=0.25)


def test_the_log_is_asked_for_where_it_is_needed(story):
    _, trace = story
    with pytest.raises(EarnestError, match=r"left out exactly, which needs the log: loo\(trace, log\)"):
        loo(trace)
    with pytest.raises(EarnestError, match="another one than the trace was sampled from"):
        loo(trace, two_models({"x": (3, 2), "y": (1, 4)}))
    with pytest.raises(EarnestError, match="expected what `sample` returned"):
        loo(er.fit_em(MODEL, two_models(VOTES)))


@pytest.mark.long
def test_against_a_real_refit():
    """The posterior without a user by `sample` itself, on a model of six unknowns, for a user who weighs much.

    They must not weigh too much: where somebody's votes carry the posterior into another mode, the integral lives in a
    part of the posterior without them that no sampler of it visits (150 votes against the crowd, of 30 users with 20
    each: -52 by draws around both modes, -109 by the mean over 8,000 draws of the refit).
    """
    true = {
        "skill": [1.5, 0.0, -1.5], "attentiveness_alpha": 1.0, "attentiveness_beta": 1.0, "casual_outcome": [0.5, 0.5],
    }  # fmt: skip
    model = er.BehaviorModel()
    many = model.simulate(30, 20, 3, seed=3, parameters=true).log.to_arrow().to_pandas()
    lefty = model.simulate(1, 60, 3, seed=9, parameters=true).log.to_arrow().to_pandas()
    rank = {name: i for i, name in enumerate(sorted({*lefty["model_a"], *lefty["model_b"]}))}
    lefty = lefty.assign(user="lefty", winner=["model_a"] * 50 + ["model_b"] * 10)
    both, rest = read(pd.concat([many, lefty])), read(many)
    without = er.sample(model, rest, draws=1000, tune=500, seed=1, keep_users="none", predictive=0)
    left = [without.posterior[name].values.reshape(-1, *without.posterior[name].shape[2:]) for name in true]
    density = np.array([_density(lefty, dict(zip(true, one, strict=True)), rank) for one in zip(*left, strict=True)])
    expected = logsumexp(density) - np.log(len(density))
    _, tail = smoothed(density)
    assert tail < 0.7  # or the mean over the refit's draws would be no reference
    trace = er.sample(model, both, draws=1000, tune=500, seed=2, keep_users="none", predictive=0)
    plain = loo(trace, exact=False)
    found = loo(trace, both)
    error = np.exp(0.5 * (logsumexp(2 * density) - 2 * logsumexp(density)))
    ours, theirs = (each.elpd_i.sel(user="lefty").item() for each in (found, plain))
    k = plain.pareto_k.sel(user="lefty").item()
    print(f"left out {ours:.2f}, refitted {expected:.2f} +- {error:.2f}; by PSIS {theirs:.2f} with k {k:.2f}")
    assert k > 0.7
    assert ours == pytest.approx(expected, abs=max(4 * error, 0.2))


def _density(frame, values, rank):
    """Log-likelihood of one user's votes under Beta attentiveness, by sums over a grid of eta."""
    eta = (np.arange(2000) + 0.5) / 2000
    alpha, beta = values["attentiveness_alpha"], values["attentiveness_beta"]
    weight = (alpha - 1) * np.log(eta) + (beta - 1) * np.log1p(-eta)
    a, b = (frame[f"model_{side}"].map(rank).to_numpy() for side in ("a", "b"))
    left = 1 / (1 + np.exp(values["skill"][b] - values["skill"][a]))
    first = (frame["winner"] == "model_a").to_numpy()
    p = np.where(first, left, 1 - left)
    c = np.where(first, *values["casual_outcome"])
    total = np.log(np.outer(eta, p) + np.outer(1 - eta, c)).sum(1)
    return logsumexp(weight + total) - logsumexp(weight)
