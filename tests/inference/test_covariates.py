"""Covariates of users: cohorts that differ in attentiveness, against integrals written down a second time."""

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats
from scipy.special import expit

import earnest as er
from earnest.comparisons.cells import Cells
from earnest.comparisons.errors import EarnestError, InputError
from earnest.comparisons.schema import Schema
from earnest.diagnostics.bands import drawn_of_fit
from earnest.diagnostics.replicates import believed
from earnest.diagnostics.scale import mean_attentiveness, means_expected
from earnest.inference.arrays import float64
from earnest.inference.users import summarise, workload
from earnest.inference.users_given import users_given
from earnest.models.component import CellView

NAMES = {"user": "user", "model_a": "model_a", "model_b": "model_b", "winner": "winner"}
# Given, so that logs share what is compiled: the slope is then half the difference of the cohorts.
COHORTS = er.BehaviorModel(er.LogitNormal(covariates=("from_web",), centres=(0.5,), scales=(0.5,)))
OUTCOMES = {"model_a": 0, "model_b": 1}


def halves(rng, users):
    return np.arange(users) % 2


def told(slope, votes, seed=1, users=120, models=2, model=COHORTS, **others):
    parameters = {"attentiveness_loc": 0.4, "attentiveness_scale": 0.7, "attentiveness_slope": [slope], **others}
    return model.simulate(users, votes, models, seed=seed, parameters=parameters, columns={"from_web": halves})


@pytest.fixture(scope="module")
def small():
    """A fit whose users gave 1 to 30 votes, in a population that is neither narrow nor wide."""
    truth = told(1.2, [1, 2, 4, 8, 16, 30] * 5, users=30, skill=[1.0, -1.0], attentiveness_scale=1.2)
    fit = er.fit_em(COHORTS, truth.log)
    assert 0.3 < float(fit.parameters["attentiveness_scale"]) < 2
    return fit, truth


class Oracle:
    """One user's posterior on the scale of their own attentiveness, by adaptive quadrature."""

    def __init__(self, fit, rows):
        values, models = fit.parameters, list(fit.schema.models)
        known = set(rows["from_web"])
        assert len(known) == 1
        self.centre = float(values["attentiveness_loc"]) + float(values["attentiveness_slope"][0]) * (
            (known.pop() - fit.model.attentiveness.centres[0]) / fit.model.attentiveness.scales[0]
        )
        self.scale = float(values["attentiveness_scale"])
        self.p, self.c = [], []
        for row in rows.to_dict("records"):
            a, b = models.index(row["model_a"]), models.index(row["model_b"])
            first, y = expit(values["skill"][a] - values["skill"][b]), OUTCOMES[row["winner"]]
            self.p.append((first, 1 - first)[y])
            self.c.append(values["casual_outcome"][y])
        self.p, self.c = np.array(self.p), np.array(self.c)
        self.whole = self.integral(lambda eta: 1.0)

    def integral(self, function, low=-np.inf, high=np.inf):
        """Of a function of attentiveness times prior and likelihood, over logits."""

        def at(logit):
            eta = expit(logit)
            votes = np.prod(eta * self.p + (1 - eta) * self.c)
            return function(eta) * votes * stats.norm.pdf(logit, self.centre, self.scale)

        ends = max(low, self.centre - 12 * self.scale), min(high, self.centre + 12 * self.scale)
        return integrate.quad(at, *ends, epsabs=1e-16, epsrel=1e-10, limit=400)[0]

    def mean(self, function=lambda eta: eta):
        return self.integral(function) / self.whole

    def below(self, eta):
        return self.integral(lambda _: 1.0, high=np.log(eta) - np.log1p(-eta)) / self.whole

    def quantile(self, level):
        return optimize.brentq(lambda eta: self.below(eta) - level, 1e-3, 1 - 1e-3, xtol=1e-10)

    def weight(self, vote):
        """E[eta / m] / E[1 / m] of one vote."""
        m = lambda eta: eta * self.p[vote] + (1 - eta) * self.c[vote]  # noqa: E731
        return self.mean(lambda eta: eta / m(eta)) / self.mean(lambda eta: 1 / m(eta))


@pytest.fixture(scope="module")
def oracles(small):
    fit, truth = small
    frame = truth.log.to_arrow().to_pandas()
    return {user: Oracle(fit, rows) for user, rows in frame.groupby("user")}


def test_the_likelihood_and_the_users(small, oracles):
    fit, _ = small
    log_likelihood = sum(np.log(oracle.whole) for oracle in oracles.values())
    prior = fit.table.log_prior(er.models.namespace.NUMPY, fit.parameters)
    assert fit.objective_trace[-1] == pytest.approx(log_likelihood + prior, abs=1e-6)
    assert np.diff(fit.objective_trace).min() > -1e-9
    for row in fit.attentiveness.to_dict("records"):
        oracle = oracles[row["user"]]
        mean = oracle.mean()
        assert row["mean"] == pytest.approx(mean, abs=1e-6)
        assert row["sd"] == pytest.approx(np.sqrt(oracle.mean(lambda eta, m=mean: (eta - m) ** 2)), abs=1e-6)


def test_quantiles_probabilities_and_draws(small, oracles):
    fit, _ = small
    levels, users = (0.05, 0.5, 0.95), fit.attentiveness["user"].tolist()
    found = {}
    for dense in (True, False):
        work = workload(fit.counts, dense=dense)
        part = float64(summarise)(fit.model, fit.free, work, levels)
        found[dense] = part.quantiles[work.pattern_of_user]
    uniforms = np.array([np.full(len(users), level) for level in levels])
    values = {name: np.stack([value] * 3) for name, value in fit.parameters.items()}
    with jax.enable_x64(True):
        drawn = next(iter(users_given(fit.model, fit.counts, values, lambda first, n: uniforms)))
    above = fit.probability_above(0.6)["probability"].to_numpy()
    for u in range(0, len(users), 4):
        oracle = oracles[users[u]]
        exact = [oracle.quantile(level) for level in levels]
        # Between nodes quantiles are read off a normal-score scale, with or without covariates.
        np.testing.assert_allclose(found[True][u], exact, atol=5e-6)
        np.testing.assert_allclose(found[False][u], exact, atol=5e-6)
        np.testing.assert_allclose(drawn.attentiveness[:, u], exact, atol=2e-5)
        assert drawn.mean[0, u] == pytest.approx(oracle.mean(), abs=1e-6)
        assert above[u] == pytest.approx(1 - oracle.below(0.6), abs=1e-6)


def test_labels_are_weighed_by_the_users_own_attentiveness(small, oracles):
    fit, truth = small
    frame = truth.log.to_arrow().to_pandas()
    labels = fit.label_table(truth.log)
    keys = ["user", "model_a", "model_b", "winner"]
    told = labels.set_index(keys)
    for user, rows in list(frame.groupby("user"))[::5]:
        for vote, row in enumerate(rows.to_dict("records")):
            one = told.loc[tuple(row[key] for key in keys)]
            assert one["attentiveness"] == pytest.approx(oracles[user].mean(), abs=1e-6)
            assert one["weight"] == pytest.approx(oracles[user].weight(vote), abs=1e-6)


def test_the_mean_of_the_population_is_that_of_its_cohorts(small):
    fit, _ = small
    loc, scale, slope = (float(np.ravel(fit.parameters[f"attentiveness_{n}"])[0]) for n in ("loc", "scale", "slope"))
    exact = [
        integrate.quad(lambda z, s=s: expit(loc + s * slope + scale * z) * stats.norm.pdf(z), -12, 12, epsabs=1e-12)[0]
        for s in (-1, 1)
    ]
    assert mean_attentiveness(fit.model, fit.table, fit.free, fit.counts) == pytest.approx(np.mean(exact), rel=1e-8)
    np.testing.assert_allclose(means_expected(fit), np.tile(exact, 15), rtol=1e-8)
    logit = np.linspace(-34, 34, 20001)
    eta = expit(logit)
    density = fit.population_density(eta) * eta * expit(-logit)
    assert integrate.trapezoid(density, logit) == pytest.approx(1.0, abs=1e-6)
    assert integrate.trapezoid(eta * density, logit) == pytest.approx(np.mean(exact), abs=1e-6)


def test_users_of_checks_and_bands_are_the_fitted_ones(small):
    """Draws for cuts and replicates: the same users' means are the posterior's, new users' their cohort's."""
    fit, truth = small
    eta = drawn_of_fit(fit, 2000).eta
    assert np.abs(eta.mean(0) - fit.attentiveness["mean"]).max() < 0.12  # they carry the globals' uncertainty, too
    belief = believed(fit, truth.log, 400, np.random.default_rng(1))
    with jax.enable_x64(True):
        same = np.mean([users.attentiveness for _, users in belief.same_users(3)], axis=0)
    assert np.abs(same - fit.attentiveness["mean"]).max() < 0.15
    rng = np.random.default_rng(2)
    new = np.mean([belief.new_users(rng, draw).attentiveness for draw in range(400)], axis=0)
    assert np.abs(new - means_expected(fit)).max() < 0.1
    assert er.thresholds(fit).recommend().threshold <= fit.attentiveness["mean"].max()


@pytest.fixture(scope="module")
def large():
    return [told(0.8, [1] * 30 + [24] * 150, seed, 180, 3, skill=[1.5, 0.0, -1.5]) for seed in range(4)]


def test_the_difference_of_cohorts_is_found(large):
    """Intervals hold the truth; users of few votes are drawn towards their own cohort, and one without is its mean."""
    held, covered = [], []
    for truth in large:
        fit = er.fit_em(COHORTS, truth.log)
        assert fit.status == "converged"
        low, high = fit.intervals(0.95)["attentiveness_slope"]
        held.append(low[0] < 0.8 < high[0])
        assert low[0] > 0.3
        both = fit.attentiveness.merge(truth.attentiveness, on="user", suffixes=("", "_true"))
        covered.append(((both["lower"] <= both["attentiveness"]) & (both["attentiveness"] <= both["upper"])).mean())
        few, own = fit.attentiveness["comparisons"].to_numpy() == 1, means_expected(fit)
        other = np.unique(own)[::-1][np.searchsorted(np.unique(own), own)]
        mean = fit.attentiveness["mean"].to_numpy()
        assert few.sum() == 30
        assert (np.abs(mean - own) < np.abs(mean - other))[few].all()
        assert np.abs((mean - own)[few].mean()) < 0.05
    assert sum(held) >= 3
    assert 0.8 < np.mean(covered) < 0.97


def test_without_covariates_nothing_is_known_of_cohorts():
    """The same votes: users of few votes are then drawn towards all, and the model with cohorts is preferred."""
    truth = told(1.2, [1] * 40 + [20] * 120, 5, 160, 3, skill=[1.5, 0.0, -1.5])
    plain, fit = (er.fit_em(model, truth.log) for model in (er.BehaviorModel(er.LogitNormal()), COHORTS))
    few = plain.attentiveness["comparisons"] == 1
    web = np.arange(160) % 2 == 1
    gaps = [one.attentiveness["mean"][few & web].mean() - one.attentiveness["mean"][few & ~web].mean()
            for one in (plain, fit)]  # fmt: skip
    assert gaps[1] > 0.25
    assert gaps[0] < 0.5 * gaps[1]
    eta = truth.attentiveness["attentiveness"]
    errors = [float(np.sqrt(np.mean((one.attentiveness["mean"] - eta)[few] ** 2))) for one in (plain, fit)]
    assert errors[1] < errors[0]
    assert "attentiveness_slope" not in plain.parameters


def few_votes(columns):
    """60 users of 8 votes about two models: they say little of how far users differ."""
    model = er.BehaviorModel(er.LogitNormal(covariates=("x",)))
    parameters = {"attentiveness_loc": 0.4, "attentiveness_scale": 0.7, "attentiveness_slope": [0.8]}
    return model.simulate(60, 8, 2, seed=5, parameters=parameters, columns=columns)


SIDES = {"x": lambda rng, users: rng.integers(0, 2, users)}


@pytest.mark.parametrize("columns", [None, SIDES], ids=["normal", "two-sided"])
def test_the_scale_keeps_off_zero(columns):
    """Users' own votes count: those of one cohort differ, and sd and interval say the same."""
    truth = few_votes(columns)
    fit = er.fit_em(er.BehaviorModel(er.LogitNormal(covariates=("x",))), truth.log)
    assert fit.status == "converged"
    assert fit.parameter_status["attentiveness_scale"] == "interior"
    assert 0.3 < fit.parameters["attentiveness_scale"] < 1.2
    low, high = fit.intervals(0.9)["attentiveness_scale"]
    assert low < 0.7 < high
    # An interval carries the globals' uncertainty besides, a sd does not.
    users = fit.attentiveness
    ratio = 2 * stats.norm.ppf(0.95) * users["sd"] / (users["upper"] - users["lower"])
    assert ratio.between(0.25, 1.05).all()
    assert ratio.median() > 0.4
    if columns is not None:
        rows = truth.log.to_arrow().to_pandas().groupby("user")["x"].first()
        for side in (0, 1):
            assert users["mean"][(rows == side).to_numpy()].std() > 0.01


def test_a_scale_on_its_boundary_says_so():
    """HalfNormal is highest at 0: where the votes do not object the estimate creeps there."""
    model = er.BehaviorModel(er.LogitNormal(covariates=("x",), scale_prior=er.priors.HalfNormal()))
    fit = er.fit_em(model, few_votes(None).log)
    assert fit.parameters["attentiveness_scale"] < 1e-2
    assert fit.parameter_status["attentiveness_scale"] == "boundary"
    assert np.isnan(fit.standard_errors["attentiveness_scale"])
    assert np.isnan(fit.intervals()["attentiveness_scale"]).all()
    note = next(note for note in fit.notes if note.startswith("attentiveness_scale lies on its boundary"))
    assert "LogNormal(0, 0.75)" in note


def test_a_column_that_differs_within_a_user_is_refused(small):
    fit, truth = small
    frame = truth.log.to_arrow().to_pandas()
    user = frame["user"].value_counts().index[0]
    row = frame.index[frame["user"] == user][-1]
    other = er.read_comparisons(frame.assign(from_web=frame["from_web"].mask(frame.index == row, 7.0)), **NAMES)
    with pytest.raises(InputError, match=rf"'{user}' has from_web = \d and 7;.*SampleAttention\(\('from_web',\)\)"):
        er.fit_em(COHORTS, other)
    missing = er.read_comparisons(frame.assign(from_web=frame["from_web"].mask(frame.index == row)), **NAMES)
    for ask in (lambda log: er.fit_em(COHORTS, log), fit.score):
        with pytest.raises(InputError, match=rf"row {row + 1}.*'from_web'"):
            ask(missing)
    # A user who changes from one log to the next.
    votes = frame[frame["user"] == user].assign(from_web=lambda part: 1 - part["from_web"])
    later = er.read_comparisons(votes, **NAMES)
    with pytest.raises(InputError, match="together with the fit's own votes: user"):
        fit.update(later)
    with pytest.raises(InputError, match="together with the fit's own votes: user"):
        fit.label_table(later)


def test_what_stands_beside_them():
    own = er.LogitNormal(covariates=("from_web",))
    for attention in (er.Drift(), er.Speedster("seconds")):
        with pytest.raises(
            EarnestError, match=f"LogitNormal with covariates cannot stand beside {type(attention).__name__}"
        ):
            er.BehaviorModel(own, attention=attention)
        er.BehaviorModel(er.LogitNormal(), attention=attention)
    with pytest.raises(EarnestError, match="both have a slope on 'from_web'"):
        er.BehaviorModel(own, attention=er.SampleAttention(("from_web",)))
    for wrong, words in {
        "from_web": "expected names of numeric columns",
        ("user",): "is no covariate",
    }.items():
        with pytest.raises(EarnestError, match=words):
            er.LogitNormal(covariates=wrong)
    with pytest.raises(EarnestError, match="one positive number"):
        er.LogitNormal(covariates=("x",), scales=(0.0,))
    with pytest.raises(EarnestError, match="knows nothing of LogitNormal's covariates"):
        er.fit_em(COHORTS, told(0.5, 4, users=10).log, method="label")


def measured(values, counts=None, **given):
    """Centre, scale and standard units of a column."""
    n = len(values)
    votes = Cells(Schema(("a", "b"), ((0, 1),), False), np.zeros(n, dtype=int), np.ones(n, dtype=int),
                  np.zeros(n, dtype=int), {"x": np.asarray(values, dtype=float)})  # fmt: skip
    cells = CellView.of(votes)
    component = er.LogitNormal(covariates=("x",), **given).measure(cells, np.ones(n) if counts is None else counts)
    return component.centres[0], component.scales[0], component.standard(cells)[0]


@pytest.mark.parametrize(
    ("times", "plus"), [(1, 1e9), (1, -1e12), (1e-200, 0), (1e200, 0), (1e-9, 1.0), (1e300, 1e305)]
)
def test_units_of_a_column_do_not_matter(times, plus):
    web, counts = np.array([0.0, 1.0, 1.0, 0.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0, 0.0])
    _, scale, standard = measured(times * web + plus, counts)
    assert scale == pytest.approx(0.5 * times, rel=1e-5)
    np.testing.assert_allclose(standard, [-1, 1, 1, -1, 1], rtol=1e-3)


def test_a_column_constant_but_for_rounding_has_no_scale():
    for values in ([0.1 + 0.2, 0.3, 0.3], [7.0] * 3, [0.0] * 3, [1e16, 1e16 + 2, 1e16]):
        assert measured(values)[1] == 1.0
    assert measured([3.0, 3.0, 9.0], np.array([1.0, 1.0, 0.0]))[1] == 1.0  # the other value was never seen


def test_what_floating_point_cannot_hold_is_named():
    for values, words in {(-1.7e308, 1.7e308): "far apart", (0.0, 1e-312): "near together"}.items():
        with pytest.raises(EarnestError, match=f"column 'x' lie from .*{words}"):
            measured(values)


def test_centres_and_scales_may_be_any_numbers():
    for kind in (np.float32, np.int64, float):
        own = er.LogitNormal(covariates=("x",), centres=(kind(2),), scales=[kind(4)])
        assert own == er.LogitNormal(covariates=("x",), centres=(2.0,), scales=(4.0,))
        assert type(own.centres[0]) is float
    assert er.LogitNormal(covariates=("x", "y"), scales=np.array([1, 2], dtype=np.float32)).scales == (1.0, 2.0)
    assert er.BradleyTerry(covariates=("x",), scales=np.array([3])).scales == (3.0,)
    for bad in (np.array([[1.0]]), np.array([np.nan]), np.array(["1"]), np.array([True])):
        with pytest.raises(EarnestError, match="one positive number"):
            er.LogitNormal(covariates=("x",), scales=bad)


def test_beside_covariates_of_comparisons_axes_are_told_apart():
    model = er.BehaviorModel(
        er.LogitNormal(covariates=("from_web",)), er.BradleyTerry(covariates=("longer",)),
        attention=er.SampleAttention(("dwell_time", "hour")),
    )  # fmt: skip
    truth = model.simulate(100, 20, 3, seed=3, parameters={
        "attentiveness_slope": [1.0], "attention_slope": [1.0, 0.0], "attentiveness_loc": 0.0,
        "attentiveness_scale": 0.5, "skill": [1.5, 0.0, -1.5]})  # fmt: skip
    fit = er.fit_em(model, truth.log)
    assert np.diff(fit.objective_trace).min() > -1e-9 * abs(fit.objective_trace[-1])
    assert fit.coords["attention_slope_covariate"] == ["dwell_time", "hour"]
    assert [fit.parameters[f"{n}_slope"].shape for n in ("attentiveness", "attention", "preference")] == [
        (1,), (2,), (1,)]  # fmt: skip
    away = fit.table.pack(truth.parameters) - fit.centre
    assert away @ np.linalg.solve(fit.spread, away) < stats.chi2(fit.table.size).ppf(0.999)


def test_a_simulated_column_belongs_to_the_user():
    model = er.BehaviorModel(er.LogitNormal(covariates=("from_web",)))
    frame = model.simulate(30, [0, 1, 4] * 10, 2, seed=2).log.to_arrow().to_pandas()
    assert (frame.groupby("user")["from_web"].nunique() == 1).all()
    assert frame["from_web"].nunique() == 20
    with pytest.raises(EarnestError, match="comparison 2 and another in the user's first"):
        model.simulate(3, 4, 2, columns={"from_web": np.arange(12.0)})
    with pytest.raises(EarnestError, match="each of 3 users"):
        model.simulate(3, 4, 2, columns={"from_web": lambda rng, n: np.zeros(12)})
    given = np.repeat([0.0, 1.0, 1.0], 4)
    truth = model.simulate(3, 4, 2, columns={"from_web": given})
    assert truth.log.to_arrow().to_pandas()["from_web"].tolist() == given.tolist()
    # In a population that hardly varies, attentiveness is that of the cohort.
    narrow = told(1.5, 10, attentiveness_scale=1e-6)
    expected = expit(0.4 + 1.5 * np.where(np.arange(120) % 2 == 1, 1, -1))
    np.testing.assert_allclose(narrow.attentiveness["attentiveness"], expected, atol=1e-5)


def test_a_fit_comes_back_and_its_weights_are_written(small, tmp_path):
    fit, truth = small
    fit.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit")
    assert again.model == fit.model == er.BehaviorModel.from_toml(fit.model.to_toml())
    np.testing.assert_allclose(again.score(truth.log)["mean"], fit.attentiveness["mean"], atol=1e-9)
    texts = COHORTS.simulate(30, 5, 2, seed=4, texts=True, columns={"from_web": halves}).log
    er.write_preferences(texts, tmp_path / "out.jsonl", again)
    written = pd.read_json(tmp_path / "out.jsonl", lines=True)
    assert written["weight"].between(0, 1).all()
    assert len(written) == len(texts)
    kept = er.filter_log(truth.log, again, 0.6)
    assert len(kept) == int(fit.attentiveness.query("mean >= 0.6")["comparisons"].sum())
    assert er.BehaviorModel.from_toml('[attentiveness]\ncomponent = "LogitNormal"\n') == er.BehaviorModel(
        er.LogitNormal())  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize(
    ("backend", "latent"), [("numpyro", "marginal"), ("numpyro", "explicit"), ("pymc", "marginal")]
)
def test_samplers_agree_with_em(backend, latent):
    truth = told(0.8, 15, 2, 150, 3, skill=[1.5, 0.0, -1.5])
    fit = er.fit_em(COHORTS, truth.log)
    trace = er.sample(COHORTS, truth.log, backend=backend, latent=latent, draws=500, tune=500, chains=2, predictive=0,
                      keep_users="draws")  # fmt: skip
    drawn = trace.posterior["attentiveness"].mean(("chain", "draw")).to_numpy()
    assert np.abs(drawn - fit.attentiveness["mean"].to_numpy()).max() < 0.06
    slope = trace.posterior["attentiveness_slope"].to_numpy().ravel()
    error = fit.standard_errors["attentiveness_slope"][0]
    assert abs(slope.mean() - fit.parameters["attentiveness_slope"][0]) < 0.5 * error
    assert slope.std() == pytest.approx(error, rel=0.35)
