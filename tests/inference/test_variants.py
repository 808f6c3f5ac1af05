"""The family of variants: one declaration each, against probabilities written down a second time."""

import runpy
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats
from scipy.special import logsumexp

import earnest as er
from earnest.comparisons.errors import EarnestError, InputError
from earnest.diagnostics.calibration_em import Approximation
from earnest.diagnostics.calibration_logs import Design, tell
from earnest.diagnostics.calibration_machines import settled_for
from earnest.inference.compiled import settle, values_at
from earnest.models.component import CellView
from earnest.models.namespace import NUMPY

_here = Path(__file__)
_variants = runpy.run_path(str(_here.parents[1] / "models" / "variants.py"))
_parity = runpy.run_path(str(_here.with_name("test_bayes_parity.py")))
MODELS = _variants["MODELS"]
# Each takes seconds to compile: in the ordinary run those that have a seam of their own.
SEAMS = ("logit-normal", "nonparametric", "skills by category", "signed partisans")
ENGINES = ("logit-normal", "style", "drift", "items")
OUTCOMES = {"model_a": 0, "model_b": 1, "tie": 2}


@pytest.fixture(scope="module")
def logs():
    return {name: model.simulate(9, [1, 2, 3, 5, 8, 13, 4, 2, 6], 3, seed=7) for name, model in MODELS.items()}


@pytest.fixture(scope="module")
def settled(logs):
    return {name: settle(model, logs[name].log) for name, model in MODELS.items()}


def draws(table, n, seed=0):
    rng = np.random.default_rng(seed)
    return [table.pack(table.sample_prior(rng)) for _ in range(n)]


def log_likelihood(name, values, log):
    """Over rows, users and a grid of attentiveness, in loops."""
    frame = log.to_arrow().to_pandas()
    models = sorted({*frame["model_a"], *frame["model_b"]})
    known = ("user", "model_a", "model_b", "winner", "category", "item", "timestamp")
    numeric = [c for c in frame if c not in known]
    items = sorted(frame["item"].unique()) if "item" in frame else []
    scale = {c: np.sqrt(np.mean(frame[c].astype(float) ** 2)) for c in numeric if frame[c].dtype.kind == "f"}
    categories = sorted(frame["category"].unique()) if "category" in frame else []
    eta, log_weight = _variants["population"](name, values)
    total = 0.0
    for _, rows in frame.groupby("user"):
        every = []
        for share, taste, favourite in _variants["kinds"](name, values):
            votes, previous = [], None
            ordered = rows.sort_values("timestamp") if "timestamp" in rows else rows
            for row in ordered.to_dict("records"):
                row["item"] = items.index(row["item"]) if items else None
                row["category"] = categories.index(row["category"]) if categories else None
                a, b, y = models.index(row["model_a"]), models.index(row["model_b"]), OUTCOMES[row["winner"]]
                preferred = _variants["attended"](name, values, a, b, row, scale, taste)
                row["previous"], previous = previous, y
                careless = _variants["casual"](name, values, row, scale, a, b, favourite)[y]
                worse = (1, 0, 2)[y]  # who attends to pick the worse
                wanted = np.where(eta < 0, preferred[worse], preferred[y])
                attends = _variants["attention"](name, eta, values, row, frame) if favourite is None else 0.0
                attended, casual = _variants["dwell"](name, values, row)
                votes.append((attends, wanted * attended, careless * casual, row))
            every.append(log_weight + np.log(share) + _variants["together"](name, eta, values, votes))
        total += logsumexp(every)
    return total


@pytest.mark.parametrize("name", MODELS)
def test_the_likelihood_is_the_one_written_down(name, logs, settled):
    ready = settled[name]
    statement = ready.statement("marginal")
    for free in draws(ready.table, 3):
        values = values_at(ready.table, free)
        found = float(statement.log_density(NUMPY, values)) - float(ready.table.log_prior(NUMPY, values))
        assert found == pytest.approx(log_likelihood(name, values, logs[name].log), rel=1e-8)


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=pytest.mark.long)])
def test_four_engines_agree(settled, which):
    """Density and gradient of EM, NumPyro and PyMC, and the density in NumPy."""
    chosen = {name: ready for name, ready in settled.items() if which == "all" or name in ENGINES}
    # Its Gauss rule has more terms to a sum than PyTensor adds in Python; "everything" has its attention, too.
    chosen.pop("sample attention", None)
    drawn = {name: draws(ready.table, 1, seed=1) for name, ready in chosen.items()}
    inputs, outputs = [], []
    for name, ready in chosen.items():
        free = pt.tensor(name, dtype="float64", shape=(ready.table.size,))
        inputs.append(free)
        outputs += _parity["symbolic"](ready.statement("marginal"), free, True)
    in_pymc = pytensor.function(inputs, outputs, mode=pytensor.compile.Mode("py", None))
    calls = [in_pymc(*at) for at in zip(*drawn.values(), strict=True)]
    with jax.enable_x64(True):
        for number, (name, ready) in enumerate(chosen.items()):
            statement, points = ready.statement("marginal"), drawn[name]
            plain = [float(statement.log_density(NUMPY, values_at(ready.table, free))) for free in points]
            for what, (value, slope) in {
                "EM": _parity["em"](ready, points, True),
                "NumPyro": _parity["in_numpyro"](statement, points, True),
                "PyMC": [np.array([call[2 * number + k] for call in calls]) for k in (0, 1)],
            }.items():
                np.testing.assert_allclose(value, plain, rtol=1e-10, err_msg=f"{name}, {what}")
                if what == "EM":
                    slopes = np.asarray(slope)
                np.testing.assert_allclose(slope, slopes, atol=1e-8 * np.abs(slopes).max(), err_msg=f"{name}, {what}")


@pytest.mark.parametrize("name", MODELS)
def test_probabilities_sum_to_one_and_are_simulated(name, settled):
    """Outcomes drawn from the component's story have the probabilities of its density."""
    ready, rng = settled[name], np.random.default_rng(3)
    view = CellView.of(ready.counts.cells)
    values = values_at(ready.table, draws(ready.table, 1, seed=2)[0])
    for component in (ready.model.preference, ready.model.casual):
        outcomes = range(view.schema.n_outcomes)
        p = np.exp([component.log_prob(NUMPY, values, view.with_outcome(y)) for y in outcomes])
        np.testing.assert_allclose(p.sum(0), 1.0, atol=1e-12)
        if component.kinds(view.schema):
            kind = np.arange(len(view)) % p.shape[1]
            p = p[:, kind, np.arange(len(view))]
            drawn = np.stack([component.sample_by_kind(rng, values, view, kind) for _ in range(4000)])
        else:
            drawn = np.stack([component.sample(rng, values, view) for _ in range(4000)])
        found = np.stack([(drawn == y).mean(0) for y in outcomes])
        assert (np.abs(found - p) < 5 * np.sqrt(p * (1 - p) / 4000) + 1e-3).all()


@pytest.mark.parametrize("name", [n if n in SEAMS else pytest.param(n, marks=pytest.mark.long) for n in MODELS])
def test_em_climbs_and_finds_the_truth(name):
    """The truth's squared distance from the estimate, in standard errors, is chi-square."""
    model = MODELS[name]
    truth = model.simulate(400, 15, 3, seed=5, parameters=KNOWN.get(name, {}))
    fit = er.fit_em(model, truth.log)
    assert fit.status in ("converged", "boundary")
    assert np.diff(fit.objective_trace).min() > -1e-7
    assert er.BehaviorModel.from_toml(fit.model.to_toml()) == fit.model
    assert er.BehaviorModel.from_toml(model.to_toml()) == model
    if name == "nonparametric" or name.startswith("items"):
        return  # estimates of weights on their boundary are not normal, and a lower bound leans (see test_items.py)
    away = fit.table.pack(model.canonical(truth.parameters)) - fit.centre
    distance = away @ np.linalg.solve(fit.spread, away)
    assert distance < stats.chi2(fit.table.size).ppf(0.999)


KNOWN = {
    name: {"attentiveness_alpha": 1.5, "attentiveness_beta": 1.0}
    for name in MODELS
    if isinstance(MODELS[name].attentiveness, er.Beta) and not MODELS[name].attentiveness.signed
}


def test_the_nonparametric_population_says_how_much_shape_the_votes_bear():
    """Two kinds of users: the weights lie near both, and nearly none between."""
    told = er.BehaviorModel(er.Groups((0.1, 0.9)))
    log = told.simulate(400, 40, 2, seed=1, parameters={
        "skill": [1.5, -1.5], "attentiveness_weight": [0.5, 0.5], "casual_outcome": [0.5, 0.5]}).log  # fmt: skip
    model = er.BehaviorModel(er.Nonparametric(11))
    fit = er.fit_em(model, log)
    weight = fit.parameters["attentiveness_weight"]
    assert weight[:4].sum() == pytest.approx(0.5, abs=0.1)
    assert weight[4:7].sum() < 0.1
    assert 2 <= model.attentiveness.support(fit.parameters) <= 8


def test_what_is_not_a_setting_is_refused():
    for bad, words in {
        lambda: er.BradleyTerry(covariates="length"): "expected names of numeric columns",
        lambda: er.BradleyTerry(covariates=("category",)): "is no covariate",
        lambda: er.BradleyTerry(covariates=("x", "x")): "named twice",
        lambda: er.BradleyTerry(covariates=("x",), scales=(0.0,)): "one positive number",
        lambda: er.LengthBias(scales=(1.0, 2.0)): "one positive number",
        lambda: er.RewardGap(gap=""): "expected names of numeric columns",
        lambda: er.Nonparametric(1): "2 or more",
        lambda: er.BradleyTerry(by_category="no"): "True or False",
        lambda: er.BradleyTerry(by_category=True, category_scale=0.0): "number above 0",
        lambda: er.PositionBias(by_category=1): "True or False",
        lambda: er.RewardGap(offset="no"): "True or False",
        lambda: er.LengthBias(scales=(True,)): "one positive number",
        lambda: er.BradleyTerry(covariates=(" ",)): "expected names of numeric columns",
        lambda: er.BehaviorModel.from_toml('[preference]\ncomponent = "WithTies"\n'): "unknown component 'WithTies'",
        lambda: er.LogitNormal(scale_prior=er.priors.Normal()): "not inside",
    }.items():
        with pytest.raises(EarnestError, match=words):
            bad()


def test_a_missing_value_names_its_row_and_column():
    model = MODELS["style"]
    frame = model.simulate(20, 5, 3, seed=1).log.to_arrow().to_pandas()
    frame.loc[17, "headings"] = np.nan
    log = er.read_comparisons(frame, user="user", model_a="model_a", model_b="model_b", winner="winner")
    with pytest.raises(InputError, match=r"row 18.*'headings'"):
        er.fit_em(model, log)


def test_columns_of_a_simulation():
    model = MODELS["style"]
    given = {"length_difference": np.arange(60.0), "headings": lambda rng, n: rng.integers(0, 3, n)}
    frame = model.simulate(20, 3, 3, seed=1, columns=given).log.to_arrow().to_pandas()
    assert frame["length_difference"].tolist() == list(range(60))
    assert set(frame["headings"]) == {0, 1, 2}
    for wrong, words in {
        "colour": (np.zeros(60), "does not look at 'colour'"),
        "headings": (np.zeros(59), "one value for each of 60"),
        "length_difference": (np.r_[np.zeros(59), np.inf], "in comparison 60"),
    }.items():
        with pytest.raises(EarnestError, match=words[1]):
            model.simulate(20, 3, 3, columns={wrong: words[0]})
    with pytest.raises(EarnestError, match="expected numbers, got '1'"):
        model.simulate(20, 3, 3, columns={"headings": ["1"] * 60})
    with pytest.raises(EarnestError, match="expected {name: values}"):
        model.simulate(20, 3, 3, columns=["headings"])
    with pytest.raises(EarnestError, match="expected texts, got None in comparison 2"):
        MODELS["skills by category"].simulate(20, 3, 3, columns={"category": ["a", None] * 30})


def test_the_scale_of_a_column_neither_overflows_nor_vanishes():
    column = np.array([3.0, -4.0])
    for by in (1e-200, 1.0, 1e200):
        measured = er.LengthBias().measure(SimpleView({"length_difference": column * by}), np.array([1.0, 3.0]))
        assert measured.scales[0] == pytest.approx(np.sqrt((9 + 3 * 16) / 4) * by)
    assert er.LengthBias().measure(SimpleView({"length_difference": 0 * column}), np.ones(2)).scales == (1.0,)


class SimpleView(dict):
    """As much of a view of cells as a scale is taken from."""


@pytest.mark.parametrize(
    "name", ["skills by category", *(pytest.param(name, marks=pytest.mark.long) for name in ("style", "cohorts"))]
)
def test_calibration_shows_the_columns(name):
    """Both logs and fits have them: twenty replications run, and the truth's density is the statement's own."""
    design = Design(12, 6, 3)
    settled = settled_for(MODELS[name], design, "model")
    told = tell(settled, design, 4)
    machine = Approximation(settled, design)
    votes = machine.count(told.outcome)
    assert votes.sum() == 72
    log = design.log(told.outcome, settled)
    values = {k: np.stack([v] * 2) for k, v in told.values.items()}
    exact = log_likelihood(name, told.values, log)
    np.testing.assert_allclose(machine.log_likelihood(values, votes), exact, rtol=1e-6)
    found = er.calibrate(MODELS[name], replications=20, users=12, comparisons=6, method="em")
    own = ("preference_slope", "skill_deviation", "attentiveness_slope")
    assert any(name in quantity for quantity in found.table["quantity"] for name in own)


def test_an_indicator_stays_one():
    @dataclass(frozen=True)
    class Seldom(er.Casual):
        context = ("seldom",)

        def draw_column(self, name, rng, size):
            return rng.random(size) < 0.1

        def parameters(self, schema):
            return (er.Parameter("pull", er.priors.Normal()),)

        def log_prob(self, xp, values, cells):
            return xp.log_sigmoid(xp.where(cells.won_a, 1.0, -1.0) * values["pull"] * cells["seldom"])

    column = Design(30, 6, 2).columns(er.BehaviorModel(casual=Seldom())).context["seldom"]
    assert set(column) == {0.0, 1.0}


def test_the_prior_is_weighed_by_category(settled, logs):
    """Power scaling knows the axis of categories."""
    name = "position by category"
    tree = er.sample(MODELS[name], logs[name].log, draws=30, tune=30, chains=2, predictive=0, latent="marginal")
    assert er.sensitivity(tree).table["quantity"].str.contains("category_2, model_a").any()


def test_slopes_are_on_the_scale_of_their_column():
    """Seconds or milliseconds: the same fit."""
    model = er.BehaviorModel(preference=er.BradleyTerry(covariates=("x",)))
    truth = model.simulate(60, 15, 3, seed=2)
    frame = truth.log.to_arrow().to_pandas()
    names = {"user": "user", "model_a": "model_a", "model_b": "model_b", "winner": "winner"}
    fits = [er.fit_em(model, er.read_comparisons(frame.assign(x=frame["x"] * by), **names)) for by in (1.0, 1000.0)]
    np.testing.assert_allclose(*(fit.parameters["preference_slope"] for fit in fits), rtol=1e-6)
    assert fits[1].model.preference.scales[0] == pytest.approx(1000 * fits[0].model.preference.scales[0])
