"""Supports, priors and the packing of parameters into one free vector."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

import earnest as er
from earnest.models import supports
from earnest.models.namespace import NUMPY
from earnest.models.parameters import ParameterTable

_built = runpy.run_path(str(Path(__file__).with_name("combinations.py")))
ALL = _built["ALL"]
P = er.priors


@pytest.mark.parametrize("name", ALL)
def test_packing_is_a_bijection(name):
    model = ALL[name]
    table = model.table(_built["schema"](model.preference.allows_ties))
    rng = np.random.default_rng(7)
    for _ in range(5):
        free = rng.normal(0.0, 2.0, table.size)
        values = table.unpack(NUMPY, free)
        for parameter in table.parameters:
            assert np.shape(values[parameter.name]) == table.shape(parameter)
            assert parameter.support.contains(np.asarray(values[parameter.name]))
        np.testing.assert_allclose(table.pack(values), free, atol=1e-9)
        drawn = table.sample_prior(rng)
        back = table.unpack(NUMPY, table.pack(drawn))
        for key, value in drawn.items():
            np.testing.assert_allclose(back[key], value, rtol=1e-9, atol=1e-9)
    slices = table.slices.values()
    assert sorted(i for s in slices for i in range(s.start, s.stop)) == list(range(table.size))


@pytest.mark.parametrize(
    ("support", "bad"),
    [
        (supports.REAL, [np.nan, np.inf]),
        (supports.POSITIVE, [0.0, -1.0, np.nan, np.inf]),
        (supports.Above(1.0), [1.0, 0.5, np.nan]),
        (supports.UNIT, [0.0, 1.0, -0.1, 1.1, np.nan]),
        (supports.ZERO_SUM, [[1.0, 0.0], [np.nan, 0.0], [np.inf, -np.inf]]),
        (supports.SIMPLEX, [[0.5, 0.6], [-0.1, 1.1], [np.nan, 1.0]]),
    ],
    ids=["real", "positive", "above", "unit", "zero_sum", "simplex"],
)
def test_values_outside_a_support_are_refused(support, bad):
    for value in bad:
        with np.errstate(invalid="ignore"):
            assert not support.contains(np.asarray(value))


def test_errors_of_packing_name_the_parameter():
    table = ALL["skill-davidson-position-beta"].table(_built["schema"](True))
    good = _built["draw"](ALL["skill-davidson-position-beta"], 0)
    for name, value, message in [
        ("skill", [1.0, -1.0], r"'skill': expected shape \(3,\), got \(2,\)"),
        ("skill", [1.0, 1.0, 1.0], "'skill'.*outside its support"),
        ("tie_strength", [1.0], r"'tie_strength': expected shape \(\), got \(1,\)"),
        ("tie_strength", -1.0, "'tie_strength'.*outside"),
        ("casual_outcome", [0.5, 0.5, 0.5], "'casual_outcome'.*outside"),
        ("attentiveness_alpha", np.nan, "'attentiveness_alpha'.*outside"),
    ]:
        with pytest.raises(er.EarnestError, match=message):
            table.pack({**good, name: np.array(value)})
    del good["tie_strength"]
    with pytest.raises(er.EarnestError, match="no value given for parameter 'tie_strength'"):
        table.pack(good)


def test_an_axis_that_the_log_does_not_have():
    table = ParameterTable((er.Parameter("x", P.Normal(), ("planet",)),), _built["schema"](False))
    with pytest.raises(er.EarnestError, match="'x' has the axis 'planet'.*known axes: model"):
        _ = table.size


CASES = [
    (P.Normal(0.3, 1.7), [0.1, -2.0, 4.0], lambda x: stats.norm(0.3, 1.7).logpdf(x).sum()),
    (P.HalfNormal(0.8), [0.1, 2.0], lambda x: stats.halfnorm(scale=0.8).logpdf(x).sum()),
    (P.LogNormal(0.4, 0.6), [0.1, 3.0], lambda x: stats.lognorm(0.6, scale=np.exp(0.4)).logpdf(x).sum()),
    (P.LogNormal(0.4, 0.6, 1.0), [1.1, 3.0], lambda x: stats.lognorm(0.6, 1.0, np.exp(0.4)).logpdf(x).sum()),
    (P.Beta(2.5, 0.7), [0.01, 0.6], lambda x: stats.beta(2.5, 0.7).logpdf(x).sum()),
    (P.Dirichlet(1.7), [0.2, 0.5, 0.3], lambda x: stats.dirichlet([1.7] * 3).logpdf(x)),
    (
        P.Dirichlet(0.8),
        [[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]],
        lambda x: sum(stats.dirichlet([0.8] * 3).logpdf(r) for r in x),
    ),
]


@pytest.mark.parametrize(
    ("prior", "value", "expected"), CASES, ids=[f"{type(c[0]).__name__}-{i}" for i, c in enumerate(CASES)]
)
def test_log_densities_are_those_of_scipy(prior, value, expected):
    value = np.array(value)
    assert float(prior.log_prob(NUMPY, value)) == pytest.approx(float(expected(value)), abs=1e-12)
    assert prior.support.contains(value)
    drawn = prior.sample(np.random.default_rng(0), value.shape)
    assert drawn.shape == value.shape
    assert prior.support.contains(drawn)


def test_the_density_of_skills_is_one_on_the_plane_they_lie_in():
    """It integrates to one over orthonormal coordinates of the plane, and its draws have its covariance."""
    prior = P.ZeroSumNormal(1.3)

    def density(v, u):
        value = supports.ZERO_SUM.constrain(NUMPY, np.array([u, v]))
        return np.exp(float(prior.log_prob(NUMPY, value)))

    total, _ = integrate.dblquad(density, -12, 12, -12, 12, epsabs=1e-7)
    assert total == pytest.approx(1.0, abs=1e-5)
    drawn = prior.sample(np.random.default_rng(1), (20_000, 3))
    np.testing.assert_allclose(drawn.sum(1), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.cov(drawn.T), 1.3**2 * (np.eye(3) - 1 / 3), atol=0.05)


@pytest.mark.parametrize(
    ("prior", "cdf"),
    [
        (P.Normal(0.3, 1.7), stats.norm(0.3, 1.7).cdf),
        (P.HalfNormal(0.8), stats.halfnorm(scale=0.8).cdf),
        (P.LogNormal(0.4, 0.6, 1.0), stats.lognorm(0.6, 1.0, np.exp(0.4)).cdf),
        (P.Beta(2.5, 0.7), stats.beta(2.5, 0.7).cdf),
    ],
    ids=["Normal", "HalfNormal", "LogNormal", "Beta"],
)
def test_draws_follow_the_density(prior, cdf):
    assert stats.kstest(prior.sample(np.random.default_rng(2), (5000,)), cdf).pvalue > 1e-3


def test_boundaries_are_noticed():
    assert list(supports.SIMPLEX.on_boundary(np.array([1e-7, 0.3, 0.7]))) == [True, False, False]
    assert list(supports.UNIT.on_boundary(np.array([1e-7, 0.5, 1 - 1e-7]))) == [True, False, True]
    assert list(supports.POSITIVE.on_boundary(np.array([1e-7, 1.0, 1e7]))) == [True, False, True]
    assert list(supports.REAL.on_boundary(np.array([20.0, 0.0]))) == [True, False]
    assert list(P.HalfNormal(2.0).on_boundary(np.array([0.01, 0.03]))) == [True, False]
    assert not P.LogNormal().on_boundary(np.array(0.001))
