"""Effects of items: the evidence lower bound against its definition, and what EM and the samplers make of them."""

from itertools import product

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from scipy.special import logsumexp

import earnest as er
from earnest.comparisons.errors import EarnestError, InputError
from earnest.inference import crossed_em
from earnest.inference.arrays import JNP
from earnest.inference.crossed import bound
from earnest.inference.crossed_em import CrossedEM, copies
from earnest.models.priors import HalfNormal

NAMES = {name: name for name in ("user", "model_a", "model_b", "winner", "item")}
MODEL = er.BehaviorModel(preference=er.ItemEffect())
VALUES = {"attentiveness_alpha": 1.3, "attentiveness_beta": 0.7, "skill": np.array([0.4, -0.1, -0.3]),
          "casual_outcome": np.array([0.6, 0.4]), "item_scale": 0.9}  # fmt: skip
# Three users and two items, one of each shown the other way round; a and c, b and c.
TINY = pd.DataFrame(
    [("u1", "a", "c", "model_a", "i1"), ("u1", "c", "b", "model_a", "i2"), ("u2", "c", "a", "model_b", "i1"),
     ("u2", "b", "c", "model_b", "i2"), ("u3", "a", "c", "model_b", "i1")],
    columns=list(NAMES),
)  # fmt: skip
MEAN, SD = np.array([0.5, -0.7]), np.array([0.6, 0.8])
ETA, ETA_WEIGHT = np.polynomial.legendre.leggauss(200)
ETA, ETA_WEIGHT = (ETA + 1) / 2, ETA_WEIGHT / 2


def log_of(frame):
    return er.read_comparisons(frame, **NAMES)


def log_likelihoods(frame, effects, values=VALUES):
    """Log marginal likelihood of each user's votes at effects (item,), nats; attentiveness by quadrature."""
    models, items = sorted({*frame["model_a"], *frame["model_b"]}), sorted(frame["item"].unique())
    # The ends of a Beta density: u = eta^alpha would do for one; its distribution function does for both.
    eta = stats.beta(values["attentiveness_alpha"], values["attentiveness_beta"]).ppf(ETA)
    out = {}
    for user, rows in frame.groupby("user"):
        log_lik = np.zeros(len(eta))
        for row in rows.to_dict("records"):
            a, b = models.index(row["model_a"]), models.index(row["model_b"])
            d = effects[items.index(row["item"])] * (1 if a < b else -1)
            first = 1 / (1 + np.exp(-(values["skill"][a] - values["skill"][b] + d)))
            won = row["winner"] == "model_a"
            p, c = (first if won else 1 - first), values["casual_outcome"][0 if won else 1]
            log_lik += np.log(eta * p + (1 - eta) * c)
        out[user] = logsumexp(log_lik, b=ETA_WEIGHT)
    return out


def divergence(mean, sd, scale):
    return np.sum(np.log(scale / sd) + (sd**2 + mean**2) / (2 * scale**2) - 0.5)


def engine(log, prior=False):
    """EM of a log and the vector of its ascent at known values."""
    counts = MODEL.count(log)
    model = MODEL.prepare(counts)
    work = copies(model.crossed, counts)
    em = CrossedEM(model, work.problem, prior, n_items=len(counts.cells.schema.items))
    return em, work


def vector(em, values, mean, sd):
    scale = values["item_scale"]
    return np.concatenate([em.table.pack(values), mean / scale, np.log(sd / scale)])


def bound_at(em, free):
    with jax.enable_x64(True):
        own, q = free[: em.table.size], free[em.table.size :].reshape(2, -1)
        return float(bound(em.model, em.prior, own, q, em.problem, em.nodes(free)))


def test_the_bound_is_its_definition(monkeypatch):
    """With many copies the expectation over fixed draws is that of the definition, here by dense quadrature."""
    x, w = np.polynomial.hermite_e.hermegauss(25)
    w = w / w.sum()
    expected = 0.0
    for (x1, w1), (x2, w2) in product(zip(x, w, strict=True), repeat=2):
        expected += w1 * w2 * sum(log_likelihoods(TINY, MEAN + SD * [x1, x2]).values())
    expected -= divergence(MEAN, SD, VALUES["item_scale"])
    monkeypatch.setattr(crossed_em, "COPIES", 1024)
    em, _ = engine(log_of(TINY))
    assert bound_at(em, vector(em, VALUES, MEAN, SD)) == pytest.approx(expected, abs=2e-3)


def test_the_bound_of_few_copies_is_the_mean_over_their_draws():
    """Copy by copy in loops, at the draws that the cells carry."""
    em, work = engine(log_of(TINY))
    cells, counts = work.counts.cells, work.counts
    total = 0.0
    for copy in range(crossed_em.COPIES):
        own = counts.cell[counts.user == list(counts.users).index(f"u1 {copy}")]
        item = np.asarray(cells["item"])[own]
        draw = np.zeros(2)
        draw[item] = np.asarray(cells["item_effect_node"])[own]
        total += sum(log_likelihoods(TINY, MEAN + SD * draw).values()) / crossed_em.COPIES
    total -= divergence(MEAN, SD, VALUES["item_scale"])
    assert bound_at(em, vector(em, VALUES, MEAN, SD)) == pytest.approx(total, rel=1e-9)
    nodes = np.asarray(cells["item_effect_node"])
    assert nodes.mean() == pytest.approx(0, abs=1e-12)
    assert (nodes**2).mean() == pytest.approx(1)


def exact(frame, values):
    """Log marginal likelihood with both effects integrated out, nats."""
    x, w = np.polynomial.hermite_e.hermegauss(25)
    w = w / w.sum()
    parts, weights = [], []
    for (x1, w1), (x2, w2) in product(zip(x, w, strict=True), repeat=2):
        parts.append(sum(log_likelihoods(frame, values["item_scale"] * np.array([x1, x2])).values()))
        weights.append(w1 * w2)
    return logsumexp(parts, b=weights)


@pytest.fixture(scope="module")
def climbed():
    """The tiny log's bound, maximised over q by an optimiser that is not ours."""
    em, _ = engine(log_of(TINY))
    start = vector(em, VALUES, np.zeros(2), np.full(2, 0.5))
    size = em.table.size

    def negative(q):
        return -bound_at(em, np.concatenate([start[:size], q]))

    best = optimize.minimize(negative, start[size:], method="BFGS", options={"gtol": 1e-4})
    return -best.fun


def test_it_is_a_lower_bound_and_a_close_one(climbed):
    assert exact(TINY, VALUES) - 0.05 < climbed < exact(TINY, VALUES)


def test_em_ends_where_the_bound_is_level(fit, truth):
    """Its gradient in the globals and in q, at the end of EM: the M-steps, of effects and scale too, reach the top."""
    em, _ = engine(truth.log, prior=True)
    q = np.concatenate([fit.effects.mean, fit.effects.sd])
    n, scale = em.n_items, float(fit.parameters["item_scale"])
    with jax.enable_x64(True):
        at = np.concatenate([fit.free, q[:n] / scale, np.log(q[n:] / scale)])
        nodes = em.nodes(at)
        slopes = jax.grad(
            lambda own, q: bound(em.model, True, own, q, em.problem, nodes), argnums=(0, 1)
        )(fit.free, at[em.table.size :].reshape(2, -1))  # fmt: skip
    assert bound_at(em, at) == pytest.approx(fit.objective_trace[-1], abs=1e-6)
    assert np.abs(slopes[0]).max() < 0.01
    assert np.abs(slopes[1]).max() < 1e-3


def test_the_scale_has_a_closed_form():
    for squares, n in ((3.0, 5), (1e-8, 4), (200.0, 50)):
        for prior in (True, False):

            def height(scale, squares=squares, n=n, prior=prior):
                density = HalfNormal(0.7).log_prob(np, scale) if prior else 0.0
                return n * np.log(scale) + squares / (2 * scale**2) - density

            found = HalfNormal(0.7).estimate(np, squares, n, prior)
            best = optimize.minimize_scalar(height, bracket=(found / 2, found, found * 2), options={"xtol": 1e-10})
            assert found == pytest.approx(best.x, rel=1e-5)


@pytest.fixture(scope="module")
def truth():
    return MODEL.simulate(40, 12, 3, seed=3, parameters={
        "attentiveness_alpha": 2.0, "attentiveness_beta": 1.0, "item_scale": 1.2, "skill": [0.8, 0.0, -0.8],
        "casual_outcome": [0.5, 0.5]})  # fmt: skip


@pytest.fixture(scope="module")
def frame(truth):
    return truth.log.to_arrow().to_pandas()[list(NAMES)]


@pytest.fixture(scope="module")
def fit(truth):
    return er.fit_em(MODEL, truth.log, restarts=False)


def test_a_fit_says_what_it_is(fit, truth):
    assert fit.status == "converged"
    assert fit.bound
    assert any("evidence lower bound" in note for note in fit.notes)
    relative = np.diff(fit.objective_trace) / np.abs(fit.objective_trace[1:])
    assert relative.min() > -1e-9
    names = sorted(truth.log.to_arrow()["item"].unique().to_pylist())
    assert fit.coords["item"] == names
    assert fit.dims["item_effect"] == ("item",)
    assert fit.parameters["item_effect"].shape == fit.standard_errors["item_effect"].shape == (len(names),)
    assert (fit.standard_errors["item_effect"] < 1.05 * fit.parameters["item_scale"]).all()
    assert np.corrcoef(fit.parameters["item_effect"], truth.parameters["item_effect"])[0, 1] > 0.4
    # Nor a standard error nor an interval of what the bound leans away from; the others have theirs.
    assert np.isnan(fit.standard_errors["item_scale"])
    assert np.isnan(fit.intervals()["item_scale"]).all()
    assert np.isfinite(fit.intervals()["skill"]).all()
    assert any("no interval" in note for note in fit.notes)
    assert fit.schema.items == ()  # no axis of any global
    assert fit.covariance.shape == (fit.table.size,) * 2
    assert er.BehaviorModel.from_toml(fit.model.to_toml()) == fit.model


@pytest.mark.long
def test_the_curvature_is_that_of_the_profiled_bound(frame):
    """Second differences of the bound, maximised over q anew at each point by EM with the globals held."""
    em, _ = engine(log_of(frame[frame["user"] < "user_13"]), prior=True)
    with jax.enable_x64(True):
        run = em.run(em.extended(em.table.pack({**VALUES, "skill": np.array([0.4, 0.0, -0.4])})), 2000, 1e-7)
        _, curvature = em.finish(run)
        size, where = em.table.size, em.table.slices["skill"].start

        def top(shift):
            own = run.free[:size].copy()
            own[where] += shift
            q = run.free[size:]
            value_and_slope = jax.jit(jax.value_and_grad(
                lambda q: -bound(em.model, True, own, q.reshape(2, -1), em.problem, em.nodes(run.free))))  # fmt: skip
            best = optimize.minimize(
                lambda q: tuple(np.asarray(part, dtype=float) for part in value_and_slope(JNP.asarray(q))), q,
                jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9},
            )  # fmt: skip
            return -best.fun

        step = 0.1
        second = (top(step) - 2 * top(0.0) + top(-step)) / step**2
    assert curvature[where, where] == pytest.approx(second, rel=0.01)


def same(first, second, rtol=1e-5):
    np.testing.assert_allclose(first.attentiveness["mean"], second.attentiveness["mean"], rtol=rtol)
    for name, value in first.parameters.items():
        np.testing.assert_allclose(value, second.parameters[name], rtol=rtol, atol=1e-5, err_msg=name)


def test_the_order_of_rows_does_not_matter(frame, fit):
    same(fit, er.fit_em(MODEL, log_of(frame.sample(frac=1.0, random_state=1)), restarts=False), 1e-9)


@pytest.mark.long
def test_display_order_turns_the_sign_and_nothing_else(frame):
    """Every second vote shown the other way round, under a coin flip, which does not care."""
    model = er.BehaviorModel(preference=er.ItemEffect(), casual=er.CoinFlip())
    turned = frame.copy()
    half = np.arange(len(frame)) % 2 == 0
    turned.loc[half, ["model_a", "model_b"]] = frame.loc[half, ["model_b", "model_a"]].to_numpy()
    turned.loc[half, "winner"] = frame.loc[half, "winner"].map({"model_a": "model_b", "model_b": "model_a"})
    same(*(er.fit_em(model, log_of(one), restarts=False) for one in (frame, turned)), 1e-9)


@pytest.mark.long
def test_display_order_does_not_matter_where_the_casual_mind_it(frame, fit):
    """All shown the other way round: habits turn with them, and the effects stay."""
    turned = frame.rename(columns={"model_a": "model_b", "model_b": "model_a"})[list(frame)]
    turned["winner"] = frame["winner"].map({"model_a": "model_b", "model_b": "model_a"})
    other = er.fit_em(MODEL, log_of(turned), start={"casual_outcome": [0.4, 0.6]})
    again = er.fit_em(MODEL, log_of(frame), start={"casual_outcome": [0.6, 0.4]})
    np.testing.assert_allclose(other.parameters["item_effect"], again.parameters["item_effect"], atol=2e-3)
    np.testing.assert_allclose(other.parameters["casual_outcome"][::-1], again.parameters["casual_outcome"], atol=2e-3)


@pytest.mark.long
def test_without_a_scale_it_is_the_model_without(truth):
    tight = er.BehaviorModel(preference=er.ItemEffect(scale_prior=er.priors.LogNormal(-9.0, 1e-3)))
    start = {"attentiveness_alpha": 1.0, "attentiveness_beta": 1.0}
    small, plain = (er.fit_em(model, truth.log, start=start) for model in (tight, er.BehaviorModel()))
    assert small.parameters["item_scale"] == pytest.approx(np.exp(-9), rel=0.01)
    for name, value in plain.parameters.items():
        np.testing.assert_allclose(small.parameters[name], value, atol=2e-3, err_msg=name)
    np.testing.assert_allclose(small.attentiveness["mean"], plain.attentiveness["mean"], atol=1e-3)


def test_votes_are_whole_in_the_label_table(fit, truth):
    table = fit.label_table(truth.log)
    assert table["comparisons"].sum() == len(truth.log)
    assert set(table["item"]) == set(fit.coords["item"])
    by_user = table.groupby("user")["attentiveness"].agg(["min", "max"])
    np.testing.assert_allclose(by_user["min"], fit.attentiveness["mean"], atol=1e-9)
    np.testing.assert_allclose(by_user["max"], by_user["min"], atol=1e-9)
    assert table[["weight", "responsibility", "label_noise"]].to_numpy().min() > 0
    assert fit.responsibilities(truth.log).shape == (len(truth.log),)
    # Expected attended votes are attentiveness plus what the population adds: m_u (a + b + n_u) = a + sum of r.
    r = pd.Series(fit.responsibilities(truth.log)).groupby(truth.log.to_arrow()["user"].to_numpy()).sum()
    alpha, beta = (float(fit.parameters[f"attentiveness_{shape}"]) for shape in ("alpha", "beta"))
    m, n = fit.attentiveness["mean"].to_numpy(), fit.attentiveness["comparisons"].to_numpy()
    np.testing.assert_allclose(m * (alpha + beta + n), alpha + r.to_numpy(), rtol=1e-6)


def test_effects_of_unseen_items_are_integrated_out(fit, frame):
    rows = frame[frame["user"] == "user_07"].assign(user="new")
    new = log_of(rows.assign(item="unseen " + rows["item"]))
    scored = fit.score(new)
    values = {name: np.asarray(value) for name, value in fit.parameters.items()}
    x, w = np.polynomial.hermite_e.hermegauss(41)
    w = w / w.sum()
    eta = stats.beta(values["attentiveness_alpha"], values["attentiveness_beta"]).ppf(ETA)
    log_lik = np.zeros(len(eta))
    models = fit.coords["model"]
    for row in rows.to_dict("records"):
        a, b = models.index(row["model_a"]), models.index(row["model_b"])
        first = w @ (1 / (1 + np.exp(-(values["skill"][a] - values["skill"][b] + values["item_scale"] * x))))
        won = row["winner"] == "model_a"
        log_lik += np.log(eta * (first if won else 1 - first) + (1 - eta) * values["casual_outcome"][0 if won else 1])
    weight = ETA_WEIGHT * np.exp(log_lik - log_lik.max())
    assert scored["mean"].iloc[0] == pytest.approx(eta @ weight / weight.sum(), abs=1e-5)
    table = fit.label_table(new)
    assert len(table) == len(rows)
    assert table["item"].str.startswith("unseen ").all()
    assert table["attentiveness"].iloc[0] == pytest.approx(scored["mean"].iloc[0])
    mixed = fit.label_table(log_of(pd.concat([frame, rows.assign(item="unseen " + rows["item"])])))
    own = mixed[mixed["user"] == "user_01"]["attentiveness"].iloc[0]
    assert own == pytest.approx(fit.attentiveness["mean"].iloc[0])


def test_a_saved_fit_keeps_its_effects_and_more_votes_join_them(fit, frame, tmp_path):
    fit.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit")
    same(fit, again, 0)
    assert again.bound
    more = log_of(frame[frame["user"] < "user_05"].assign(user=lambda f: "new " + f["user"]))
    both = fit.update(more)
    assert both.coords["item"] == fit.coords["item"]
    together = log_of(pd.concat([frame, more.to_arrow().to_pandas()[list(frame)]]))
    assert both.objective_trace[-1] == pytest.approx(
        er.fit_em(MODEL, together, restarts=False).objective_trace[-1], abs=0.05
    )


@pytest.mark.long
def test_everything_else_takes_such_a_fit_and_such_a_posterior(fit, truth):
    assert er.thresholds(fit, truth.log).recommend().users > 0
    assert "Attentive" in er.identifiability(fit).verdict or er.identifiability(fit).verdict
    assert er.predictive_check(fit, truth.log).table is not None
    traces = {
        backend: er.sample(MODEL, truth.log, backend=backend, latent="marginal", chains=2, draws=400, tune=400, fit=fit)
        for backend in ("numpyro", "pymc")
    }
    draws = [trace.posterior["item_scale"].to_numpy().ravel() for trace in traces.values()]
    assert abs(draws[0].mean() - draws[1].mean()) < 0.25
    effects = [trace.posterior["item_effect"].mean(("chain", "draw")).to_numpy() for trace in traces.values()]
    assert np.corrcoef(*effects)[0, 1] > 0.97
    trace = traces["numpyro"]
    assert np.corrcoef(effects[0], fit.parameters["item_effect"])[0, 1] > 0.95
    assert er.compare(fit, trace).parameters is not None
    assert np.isfinite(er.loo(trace, exact=False).elpd)
    assert er.predictive_check(trace, truth.log).table is not None
    assert er.thresholds(trace, truth.log).recommend().users > 0
    assert len(er.sensitivity(trace).table)


@pytest.mark.long
def test_the_sampler_is_calibrated():
    model = er.BehaviorModel(preference=er.ItemEffect(), casual=er.CoinFlip())
    found = er.calibrate(model, replications=40, users=12, comparisons=6, models=2)
    assert found.table.set_index("quantity").loc["item_scale", "inside"]


def test_bad_input_is_named(frame, truth, fit):
    with pytest.raises(InputError, match="item="):
        er.fit_em(MODEL, er.read_comparisons(frame.drop(columns="item"), **{k: k for k in NAMES if k != "item"}))
    missing = frame.copy()
    missing.loc[17, "item"] = None
    with pytest.raises(InputError, match=r"row 18.*'item'.*not an item"):
        er.fit_em(MODEL, log_of(missing))
    two = frame.assign(item=lambda f: f["item"].where(f.index > 60, "one for all"))
    with pytest.raises(EarnestError, match="item 'one for all' has votes on model_1 vs model_2 and"):
        er.fit_em(MODEL, log_of(two))
    with pytest.raises(InputError, match="was fitted on another pair"):
        fit.score(log_of(frame.assign(item=frame["item"].to_numpy()[::-1])))
    with pytest.raises(EarnestError, match="soak up careless votes"):
        er.fit_em(MODEL, truth.log, method="label")
    with pytest.raises(EarnestError, match="around TasteGroups"):
        er.BehaviorModel(preference=er.ItemEffect(er.TasteGroups(2)))
    with pytest.raises(EarnestError, match="one effect"):
        er.ItemEffect(er.ItemEffect())
    with pytest.raises(EarnestError, match="with a log-ratio"):
        er.ItemEffect(preference=er.CoinFlip())
    with pytest.raises(EarnestError, match="not inside"):
        er.ItemEffect(scale_prior=er.priors.Normal())
    with pytest.raises(EarnestError, match="outside its support"):
        MODEL.simulate(10, 4, 3, parameters={"item_scale": -1.0})


def test_items_are_simulated_as_they_are_judged(truth):
    shown = truth.log.to_arrow().to_pandas()
    assert (shown.groupby("item")["user"].nunique() >= 3).all()
    pair = shown.apply(lambda row: tuple(sorted((row["model_a"], row["model_b"]))), axis=1)
    assert (pair.groupby(shown["item"]).nunique() == 1).all()
    both = shown.groupby("item")["model_a"].nunique()
    assert (both == 2).any()  # an item is seen either way round
    given = MODEL.simulate(10, 4, 3, seed=1, columns={"item": np.repeat(["x", "y"], 20)}, parameters={
        "item_scale": 50.0, "attentiveness_alpha": 50.0, "attentiveness_beta": 0.1})  # fmt: skip
    assert set(given.log.to_arrow()["item"].to_pylist()) == {"x", "y"}
    assert given.parameters["item_effect"].shape == (2,)
    assert np.abs(given.parameters["item_effect"]).max() > 5  # drawn from the given scale, not from the prior's
