"""Is the posterior the posterior? The design, its limits and its controls are those of benchmarks/calibration.py."""

import runpy
from pathlib import Path

import jax
import numpy as np
import numpyro  # before its parts: ArviZ leaves a lazy stand-in, of which a part imported first is loaded twice
import numpyro.distributions as dist
import pytest
from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands

from earnest.diagnostics.ecdf import RANKED as L
from earnest.diagnostics.ecdf import bands, ecdf, rank
from earnest.inference.in_numpyro import _prior
from earnest.models import priors
from earnest.models.parameters import Parameter

_benchmark = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "calibration.py"))
run, report, verdict = (_benchmark[name] for name in ("run", "report", "verdict"))
COMBINATIONS, CONTROLS, ENOUGH, LOG_LIKELIHOOD = (
    _benchmark[name] for name in ("COMBINATIONS", "CONTROLS", "ENOUGH", "LOG_LIKELIHOOD")
)
QUICK = "groups01-known-davidson-coin"  # the cheapest one: a share and the tie strength are unknown


def test_sixty_replications_lie_inside_the_bands():
    lines = run(QUICK, 60)
    assert all(inside for *_, inside in verdict(lines)), verdict(lines)
    assert np.mean([line["divergences"] > 0 for line in lines]) < 0.05
    assert np.mean([line["ess"] < ENOUGH for line in lines]) < 0.05


def test_the_prior_returned_as_posterior_is_caught_by_the_log_likelihood_alone():
    inside = {label: ok for label, _, _, ok in verdict(run("prior-returned", 60))}
    assert not inside.pop(LOG_LIKELIHOOD)
    # Why it is ranked at all: no parameter's rank notices.
    assert all(inside.values()), inside


def test_the_combinations_meet_every_pair_of_components_once():
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert len({(parts[i], parts[j]) for parts in COMBINATIONS.values()}) == len(COMBINATIONS) == 9
    for i in range(3):
        assert len({(parts[i], parts[3]) for parts in COMBINATIONS.values()}) == 6


@pytest.mark.parametrize("n", [60, 400])
def test_bands_are_those_of_arviz(n):
    at = np.arange(1, L + 1) / (L + 1)
    level = 0.95
    pointwise = simulate_confidence_bands(n, 1, at, level, 4000, np.random.default_rng(1))
    theirs = get_pointwise_confidence_band(pointwise, n, at)
    # Both simulate the pointwise level, so it differs a little: by a count at some points, nowhere by two.
    assert np.max(np.abs(np.array(theirs) - np.array(bands(n, level)))) < 1.5 / n


def test_bands_hold_uniform_ranks_as_often_as_they_say():
    rng = np.random.default_rng(3)
    lower, upper = bands(100, 0.9)
    seen = np.array([ecdf(rng.integers(L + 1, size=100)) for _ in range(2000)])
    inside = np.mean(((lower <= seen) & (seen <= upper)).all(1))
    assert abs(inside - 0.9) < 4 * np.sqrt(0.09 / 2000)


def test_ties_between_truth_and_draws_are_broken_evenly():
    rng = np.random.default_rng(4)
    ranks = np.array([rank(1.0, np.repeat([0.0, 1.0], [40, 59]), rng) for _ in range(3000)])
    assert ranks.min() == 40
    assert ranks.max() == 99
    assert abs(ranks.mean() - 69.5) < 4 * np.sqrt((60**2 - 1) / 12 / 3000)


def test_a_bounded_log_normal_prior_is_sampled_inside_its_bound():
    """NUTS moves on the real line: whatever it proposes must be greater than the bound, or the density is NaN."""
    with jax.enable_x64(True):
        prior = _prior(Parameter("tie_threshold", priors.LogNormal(lower=1.0)), (), {})
        assert isinstance(prior.support, type(dist.constraints.greater_than(1.0)))
        values = numpyro.distributions.biject_to(prior.support)(np.array([-30.0, 0.0, 3.0]))
        assert np.all(values > 1.0)
        expected = priors.LogNormal(lower=1.0).log_prob(np, np.asarray(values)[1])
        np.testing.assert_allclose(prior.log_prob(values[1]), expected, rtol=1e-12)


@pytest.mark.long
@pytest.mark.parametrize("name", [*COMBINATIONS, *CONTROLS])
def test_calibration_in_full(name, root, capsys):
    """400 replications, minutes each; results are kept in .cache/calibration and a stopped run goes on."""
    folder = root / ".cache" / "calibration"
    folder.mkdir(parents=True, exist_ok=True)
    lines = run(name, path=folder / f"{name}.jsonl")
    with capsys.disabled():
        good = report(name, lines)
    assert good
