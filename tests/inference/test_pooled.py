"""Skills by category with an estimated scale: `inference/pooled.py`."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.inference.em import MarginalEM
from earnest.inference.users import workload
from earnest.models.namespace import NUMPY
from earnest.models.priors import HierarchicalNormal, ZeroSumNormal

POPULATION = {"attentiveness_alpha": 2.0, "attentiveness_beta": 1.0}
ALIKE = {**POPULATION, "skill": [0.9, 0.3, -0.3, -0.9], "casual_outcome": [0.5, 0.5]}
MODEL = er.BehaviorModel(preference=er.BradleyTerry(by_category=True))


def told(scale, seed):
    """300 users, 15 votes each, four models, three categories."""
    return MODEL.simulate(300, 15, 4, seed=seed, parameters={"skill_scale": scale, **POPULATION})


@pytest.fixture(scope="module")
def truth():
    return told(0.6, 4)


@pytest.fixture(scope="module")
def fit(truth):
    return er.fit_em(MODEL, truth.log)


@pytest.fixture(scope="module")
def alike():
    """A log whose every vote stands in each category once: nothing to tell categories apart."""
    rows = er.BehaviorModel().simulate(80, 15, 4, seed=2, parameters=ALIKE).log.to_arrow().to_pandas()
    return er.read_comparisons(pd.concat([rows.assign(category=name) for name in ("code", "prose", "sums")]))


@pytest.mark.long
def test_the_scale_is_the_mode_of_laplaces_density(truth, fit):
    # Fits at given scales know nothing of pooled.py; their log-determinants hold what votes do to the curvature, too.
    grid = np.exp(np.linspace(np.log(0.3), np.log(1.4), 13))
    start = {name: value for name, value in fit.parameters.items() if name != "skill_scale"}
    heights = []
    for scale in grid:
        at = er.BehaviorModel(preference=er.BradleyTerry(by_category=True, category_scale=float(scale)))
        given = er.fit_em(at, truth.log, start=start)
        heights.append(given.objective_trace[-1] + 0.5 * np.linalg.slogdet(given.covariance)[1])
    heights = np.array(heights) + stats.halfnorm.logpdf(grid)
    top = slice(heights.argmax() - 2, heights.argmax() + 3)
    bend, slope, _ = np.polyfit(np.log(grid[top]), heights[top], 2)
    found = fit.parameters["skill_scale"]
    assert np.log(found) == pytest.approx(-slope / (2 * bend), abs=0.1)
    assert fit.standard_errors["skill_scale"] / found == pytest.approx((-2 * bend) ** -0.5, rel=0.05)


def test_it_is_where_the_mean_square_and_the_variance_say(fit):
    # model.md 5: s^2 = mean(b^2 + var), here with the prior of s.
    own, at = fit.table.slices["skill_deviation"], fit.table.slices["skill_scale"].start
    scale = float(fit.parameters["skill_scale"])
    rest = np.delete(np.arange(fit.table.size), at)
    precision = np.linalg.inv(fit.covariance)[np.ix_(rest, rest)]
    variance = np.diag(np.linalg.inv(precision))[np.searchsorted(rest, np.arange(own.start, own.stop))]
    squares = np.sum(fit.free[own] ** 2 + variance)
    n = own.stop - own.start
    assert -n + squares / scale**2 - scale**2 == pytest.approx(0.0, abs=1e-3 * n)


def test_the_joint_density_would_have_led_astray(fit):
    # Why the scale is not maximised with the rest: towards 0 the joint density passes that of the estimate.
    def joint(scale):
        values = {**fit.parameters, "skill_scale": np.array(scale)}
        values["skill_deviation"] = values["skill_deviation"] * scale / fit.parameters["skill_scale"]
        return fit.table.log_prior(NUMPY, values)

    gain = joint(1e-6) - joint(float(fit.parameters["skill_scale"]))
    assert gain > 50
    assert 0.3 < fit.parameters["skill_scale"] < 1.2


def test_the_ascent_is_monotone_and_says_what_it_is(fit):
    assert fit.status == "converged"
    assert np.all(np.diff(fit.objective_trace) > -1e-9 * np.abs(fit.objective_trace[1:]))
    assert any("skill_scale is the mode of its own density" in note for note in fit.notes)


@pytest.fixture(scope="module")
def sparse():
    """8 models, 6 categories, 800 votes: 53 parameters that the votes hardly tell."""
    rng = np.random.default_rng(1)
    skill, deviation = rng.normal(size=8), 0.6 * rng.normal(size=(6, 8))
    a, c, user = rng.integers(8, size=800), rng.integers(6, size=800), np.repeat(np.arange(40), 20)
    b = (a + 1 + rng.integers(7, size=800)) % 8
    eta = rng.beta(2, 1, 40)[user]
    ratio = skill[a] - skill[b] + deviation[c, a] - deviation[c, b]
    first = rng.random(800) < eta / (1 + np.exp(-ratio)) + (1 - eta) / 2
    return er.read_comparisons(
        pd.DataFrame({
            "user": [f"user_{u}" for u in user], "model_a": [f"model_{m}" for m in a],
            "model_b": [f"model_{m}" for m in b], "winner": np.where(first, "model_a", "model_b"),
            "category": [f"category_{k}" for k in c],
        })
    )  # fmt: skip


def test_where_votes_are_few_it_comes_to_rest_in_few_steps(sparse, monkeypatch):
    looked = []
    own = MarginalEM._raw_hessian
    monkeypatch.setattr(MarginalEM, "_raw_hessian", lambda self, free: looked.append(1) or own(self, free))
    found = {}
    for start in (None, 1e-5, 8.0):
        begin = {} if start is None else {"start": {"skill_scale": start}}
        looked.clear()
        fit = er.fit_em(MODEL, sparse, restarts=False, **begin)
        found[start] = float(fit.parameters["skill_scale"])
        assert len(looked) < 80
        assert not any("come to rest" in note for note in fit.notes)
        low, high = fit.intervals()["skill_scale"].ravel()
        assert low < found[start] < high
        if start is None:
            assert len(looked) < 20
            problem = workload(fit.counts).problem
            with jax.enable_x64(True):
                slope = MarginalEM(fit.model, problem, True).value_and_slope(fit.free)[1]
            at = fit.table.slices["skill_scale"].start
            assert np.abs(np.delete(slope, at)).max() < 1e-3
    np.testing.assert_allclose(list(found.values()), found[None], rtol=1e-4)


def test_a_scale_leaves_its_boundary_when_votes_say_so(alike):
    nothing = er.fit_em(MODEL, alike)
    more = MODEL.simulate(
        300, 15, 4, seed=9, parameters={"skill_scale": 0.8, **ALIKE},
        columns={"category": lambda rng, n: rng.choice(["code", "prose", "sums"], n)},
    )  # fmt: skip
    frame = more.log.to_arrow().to_pandas()
    frame["user"] = "new_" + frame["user"].astype(str)
    both = nothing.update(er.read_comparisons(frame))
    assert both.parameter_status["skill_scale"] == "interior"
    assert both.parameters["skill_scale"] > 0.1


def test_a_boundary_goes_through_everything(alike, tmp_path):
    fit = er.fit_em(MODEL, alike)
    assert np.isnan(fit.standard_errors["skill_deviation"]).all()
    assert not any("flat" in note for note in fit.notes)
    fit.save(tmp_path / "fit")
    assert er.load(tmp_path / "fit").parameter_status["skill_scale"] == "boundary"
    assert np.isfinite(er.identifiability(fit).directions["remaining"]).all()
    assert np.isfinite(er.thresholds(fit).recommend().effective_labels)
    assert np.isfinite(fit.score(alike)[["mean", "lower", "upper"]].to_numpy()).all()


@pytest.mark.parametrize("start", [0.05, 3.0])
def test_it_does_not_depend_on_where_it_began(truth, fit, start):
    again = er.fit_em(MODEL, truth.log, start={"skill_scale": start})
    np.testing.assert_allclose(again.parameters["skill_scale"], fit.parameters["skill_scale"], rtol=1e-3)
    np.testing.assert_allclose(again.parameters["skill"], fit.parameters["skill"], atol=1e-3)


def test_categories_that_are_alike_are_one(alike):
    fit, plain = er.fit_em(MODEL, alike), er.fit_em(er.BehaviorModel(), alike)
    assert fit.parameters["skill_scale"] < 1e-5
    assert fit.parameter_status["skill_scale"] == "boundary"
    assert np.isnan(fit.standard_errors["skill_scale"])
    np.testing.assert_allclose(fit.parameters["skill_deviation"], 0.0, atol=1e-6)
    for name in ("skill", "attentiveness_alpha", "casual_outcome"):
        np.testing.assert_allclose(fit.parameters[name], plain.parameters[name], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(fit.standard_errors[name], plain.standard_errors[name], rtol=1e-3)
    # Intervals are those of the centre on the free scale, which has the log of the scale somewhere above.
    np.testing.assert_allclose(fit.attentiveness["lower"], plain.attentiveness["lower"], atol=0.05)


def test_everything_downstream_takes_it(truth, fit, tmp_path):
    fit.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit")
    np.testing.assert_array_equal(again.score(truth.log)["mean"], fit.score(truth.log)["mean"])
    assert 0 < er.thresholds(fit, truth.log).recommend().threshold < 1
    directions = er.identifiability(fit).directions
    assert np.isfinite(directions["remaining"]).all()
    rows = truth.log.to_arrow().to_pandas()
    early = rows["user"].astype(str) < "user_150"
    half = er.fit_em(MODEL, er.read_comparisons(rows[early]))
    whole = half.update(er.read_comparisons(rows[~early]))
    np.testing.assert_allclose(whole.parameters["skill_scale"], fit.parameters["skill_scale"], rtol=1e-3)
    np.testing.assert_allclose(whole.attentiveness["mean"], fit.attentiveness["mean"], atol=1e-4)


def test_a_new_category_is_named(fit):
    rows = told(0.6, 6).log.to_arrow().to_pandas()
    with pytest.raises(EarnestError, match="poetry"):
        fit.score(er.read_comparisons(rows.assign(category="poetry")))


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (MODEL, {"method": "label"}, "method='label'"),
        (MODEL, {"objective": "ml"}, "objective='ml'"),
        (er.BehaviorModel(preference=er.ItemEffect(MODEL.preference)), {}, "effects of items"),
    ],
)
def test_where_it_cannot_be_estimated_the_remedy_is_named(model, options, said):
    log = model.simulate(40, 10, 3, seed=1).log
    with pytest.raises(EarnestError, match=f"{said}.*skill_scale.*category_scale=0.5"):
        er.fit_em(model, log, **options)


def test_a_given_scale_is_as_before(truth):
    given = er.BehaviorModel(preference=er.BradleyTerry(by_category=True, category_scale=0.5))
    fit = er.fit_em(given, truth.log)
    assert "skill_scale" not in fit.parameters
    assert er.BehaviorModel.from_toml(given.to_toml()) == given


def test_the_prior_is_that_of_a_given_scale():
    rng = np.random.default_rng(0)
    value = rng.normal(size=(3, 4))
    value -= value.mean(-1, keepdims=True)
    prior = HierarchicalNormal("s", zero_sum=True)
    assert prior.given({"s": 0.7}).log_prob(NUMPY, value) == pytest.approx(ZeroSumNormal(0.7).log_prob(NUMPY, value))
    drawn = prior.given({"s": 0.7}).sample(rng, (20_000, 4))
    np.testing.assert_allclose(drawn.sum(-1), 0.0, atol=1e-12)
    assert drawn.std() == pytest.approx(0.7 * np.sqrt(3 / 4), rel=0.02)
    each = prior.given({"s": np.array([0.1, 10.0])}).sample(rng, (2, 500, 4))
    assert each[0].std() == pytest.approx(0.1 * np.sqrt(3 / 4), rel=0.1)
    assert dataclasses.replace(prior, zero_sum=False).support != prior.support


@pytest.mark.long
@pytest.mark.parametrize("backend", ["numpyro", "pymc"])
def test_samplers_find_it(truth, fit, backend):
    trace = er.sample(MODEL, truth.log, backend=backend, latent="marginal", chains=2, draws=500, tune=500, seed=0)
    # EM's normal approximation is centred at the mode on the free scale. Laplace's method leaves out how the scale of all
    # log-odds goes with attentiveness: 0.6 of a standard deviation here; it must lie in the middle of the draws all the same.
    at, centre = fit.table.slices["skill_scale"].start, fit.table.unpack(NUMPY, fit.centre)
    drawn = np.log(trace.posterior["skill_scale"].to_numpy().ravel())
    low, high = np.quantile(drawn, [0.1, 0.9])
    assert low < fit.centre[at] < high
    assert drawn.std() == pytest.approx(np.sqrt(fit.spread[at, at]), rel=0.3)
    deviations = trace.posterior["skill_deviation"]
    means, sds = deviations.mean(("chain", "draw")).to_numpy(), deviations.std(("chain", "draw")).to_numpy()
    assert (np.abs(means - centre["skill_deviation"]) < 0.5 * sds).all()
    assert int(trace.sample_stats["diverging"].sum()) < 20
