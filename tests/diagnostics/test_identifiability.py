"""What the votes identify: profile intervals against closed forms and another profile, verdicts on known cases."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, special, stats

import earnest as er
from earnest.diagnostics import profile as profile_module
from earnest.diagnostics import scale as scale_module
from earnest.diagnostics.profile import profile
from earnest.diagnostics.scale import mean_attentiveness, scale_of_fit
from earnest.diagnostics.users_apart import contrarians, votes_and_attentiveness

EVEN = {"attentiveness_alpha": 1.0, "attentiveness_beta": 1.0}
KNOWN = er.BehaviorModel(er.Beta(), er.KnownAdvantage(0.75, stronger=("model_1", "model_2")), er.CoinFlip())
PAIR = er.BehaviorModel(er.Beta(), er.PairAdvantage(), er.CoinFlip())


# ---------------------------------------------------------------------------------------------- profile intervals


def quadratic(precision, centre):
    return lambda z: (-0.5 * (z - centre) @ precision @ (z - centre), -precision @ (z - centre))


def linear(weights):
    return lambda z: (float(weights @ z), weights)


@pytest.fixture(params=["few", "many"])
def parameters(request, monkeypatch):
    """Both roads: dense for few parameters, by multipliers for many."""
    if request.param == "many":
        monkeypatch.setattr(profile_module, "_MOST_DENSE", 0)


@pytest.mark.usefixtures("parameters")
@pytest.mark.parametrize("seed", range(5))
def test_of_a_normal_likelihood_it_is_the_normal_interval(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(4, 4))
    covariance = root @ root.T * 0.1 + 0.01 * np.eye(4)
    centre, weights = rng.normal(size=4) * 0.3, rng.normal(size=4)
    found = profile(quadratic(np.linalg.inv(covariance), centre), linear(weights), centre + 0.1, np.full(4, 0.5), 12.0)
    half = stats.norm.ppf(0.95) * np.sqrt(weights @ covariance @ weights)
    np.testing.assert_allclose([found.lower, found.upper], weights @ centre + np.array([-half, half]), rtol=2e-3)
    assert found.exact


@pytest.mark.usefixtures("parameters")
def test_a_flat_direction_is_followed_to_the_box():
    """z0 + z1 is known, z0 is not: its interval is the box; with z1 fixed it is that of the sum."""
    ones = np.ones((2, 2))
    found = profile(quadratic(ones, np.zeros(2)), linear(np.array([1.0, 0.0])), np.zeros(2), np.ones(2), 12.0)
    np.testing.assert_allclose([found.lower, found.upper], [-12, 12], atol=1e-3)
    assert found.exact
    fixed = np.array([False, True])
    found = profile(
        quadratic(ones, np.zeros(2)), linear(np.array([1.0, 0.0])), np.zeros(2), np.ones(2), 12.0, 0.9, fixed
    )
    np.testing.assert_allclose([found.lower, found.upper], stats.norm.ppf([0.05, 0.95]), rtol=2e-3)
    assert found.at_lower[1] == 0


@pytest.mark.usefixtures("parameters")
def test_a_likelihood_that_is_no_number_is_not_entered():
    def inside(z):
        return (-0.1 * float(z @ z), -0.2 * z) if z @ z < 1 else (float("nan"), z)

    found = profile(inside, linear(np.array([1.0, 0.0])), np.zeros(2), np.ones(2), 12.0)
    assert -1 <= found.lower <= found.upper <= 1
    assert not found.exact


def test_an_end_that_was_not_found_is_no_knowledge():
    narrow = scale_module.Scale(0.5, 0.48, 0.52, None, {}, {}, exact=False)
    assert narrow.only_ranking is None
    assert "could not be determined" in narrow.warning
    assert scale_module.Scale(0.5, 0.48, 0.52, None, {}, {}, exact=True).only_ranking is False
    assert scale_module.Scale(0.5, 0.3, 0.6, None, {}, {}, exact=False).only_ranking is True


def test_many_parameters_are_not_weak_by_chance():
    """Votes that tell of every skill what the prior does: no direction stands out by the noise of prior draws."""
    from earnest.diagnostics.identifiability import _prior_covariance, _prior_draws

    model = er.BehaviorModel(casual=er.CoinFlip())
    fit = er.fit_em(model, model.simulate(60, 30, 40, seed=1).log)
    covariance = _prior_covariance(fit, _prior_draws(fit))
    where = fit.table.slices["skill"]
    skill = covariance[where, where]
    np.testing.assert_allclose(skill, np.eye(39) * skill[0, 0])
    np.testing.assert_allclose(skill[0, 0], model.preference.prior.scale**2, rtol=0.05)


def test_the_mean_of_the_population():
    log = KNOWN.simulate(5, 4, 2, seed=0).log
    table = KNOWN.table(KNOWN.count(log).cells.schema)
    for alpha, beta in ((1.0, 1.0), (0.05, 0.3), (40.0, 3.0), (300.0, 900.0), (1e-5, 3e-5), (1e5, 3e4)):
        free = table.pack({"attentiveness_alpha": np.array(alpha), "attentiveness_beta": np.array(beta)})
        assert mean_attentiveness(KNOWN, table, free) == pytest.approx(alpha / (alpha + beta), rel=1e-6)
    groups = er.BehaviorModel(er.Groups(2), KNOWN.preference, KNOWN.casual)
    table = groups.table(groups.count(log).cells.schema)
    values = {"attentiveness_level": np.array([0.2, 0.9]), "attentiveness_weight": np.array([0.25, 0.75])}
    assert mean_attentiveness(groups, table, table.pack(values)) == pytest.approx(0.2 * 0.25 + 0.9 * 0.75)
    bell = er.BehaviorModel(er.LogitNormal(), KNOWN.preference, KNOWN.casual)
    table = bell.table(bell.count(log).cells.schema)
    for loc, scale in ((0.0, 1.0), (1.2, 0.01), (-2.0, 3.0)):
        free = table.pack({"attentiveness_loc": np.array(loc), "attentiveness_scale": np.array(scale)})
        exact = integrate.quad(lambda z: special.expit(loc + scale * z) * stats.norm.pdf(z), -12, 12, epsabs=1e-12)[0]  # noqa: B023
        assert mean_attentiveness(bell, table, free) == pytest.approx(exact, rel=1e-6)


@pytest.mark.usefixtures("parameters")
def test_the_scale_is_the_profile_of_another_program():
    """One pair, advantage known: the likelihood in (mean, size) by SciPy, profiled on the mean by root finding."""
    log = KNOWN.simulate(300, 12, 2, seed=4, parameters=EVEN).log
    scale = scale_of_fit(er.fit_em(KNOWN, log))
    frame = log.to_arrow().to_pandas()
    won = np.where(frame["winner"] == "model_a", frame["model_a"], frame["model_b"]) == "model_1"
    wins = pd.Series(won).groupby(frame["user"]).agg(["sum", "count"])

    def log_likelihood(mean, log_size):
        size = np.exp(log_size)
        at, weight = special.roots_jacobi(24, (1 - mean) * size - 1, mean * size - 1)
        t = (at + 1) / 2
        p = (t * 0.75 + (1 - t) / 2)[:, None]
        each = weight @ (p ** wins["sum"].to_numpy() * (1 - p) ** (wins["count"] - wins["sum"]).to_numpy())
        return np.log(each / weight.sum()).sum()

    def top(mean):
        answer = optimize.minimize_scalar(lambda s: -log_likelihood(mean, s), bounds=(-2, 4), method="bounded")
        return -answer.fun

    best = optimize.minimize_scalar(lambda m: -top(m), bounds=(0.3, 0.7), method="bounded")
    level = -best.fun - stats.chi2.ppf(0.9, 1) / 2
    ends = [optimize.brentq(lambda m: top(m) - level, *sorted((best.x, far)), xtol=1e-6) for far in (0.3, 0.7)]
    np.testing.assert_allclose([scale.lower, scale.upper], ends, atol=2e-4)
    assert scale.exact
    assert scale.if_known is None  # nothing of the preference is unknown


def test_some_users_stand_for_many(monkeypatch):
    """A tenth of the users, tilted to the slope of all: the interval is that of all, not that around their own top."""
    log = KNOWN.simulate(4000, 12, 2, seed=5, parameters=EVEN).log
    fit = er.fit_em(KNOWN, log)
    whole = scale_of_fit(fit)
    monkeypatch.setattr(scale_module, "_MOST_USERS", 400)
    part = scale_of_fit(fit)
    half = (whole.upper - whole.lower) / 2
    assert abs(part.lower - whole.lower) < 0.25 * half
    assert abs(part.upper - whole.upper) < 0.25 * half
    assert (part.lower, part.upper) != (whole.lower, whole.upper)


# ---------------------------------------------------------------------------------------------- verdicts


CASES = {
    "one pair, unknown": (PAIR, 2, {"advantage": [0.75]}, True),
    "one pair, known": (KNOWN, 2, {}, False),
    "Bradley-Terry, 4 models": (er.BehaviorModel(), 4, {}, False),
    "gold users": (
        er.BehaviorModel(
            er.Beta(), er.PairAdvantage(), er.CoinFlip(), er.Gold(users=[f"user_{i:04d}" for i in range(1, 21)])
        ),
        2,
        {"advantage": [0.75]},
        False,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict(case):
    model, models, parameters, only_ranking = CASES[case]
    log = model.simulate(1000, 20, models, seed=1, parameters={**EVEN, **parameters}).log
    fit = er.fit_em(model, log)
    found = er.identifiability(fit)
    assert found.only_ranking == only_ranking
    assert ("Only the ranking of users is identified" in found.verdict) == only_ranking
    assert ("known on its absolute scale" in found.verdict) != only_ranking
    assert bool(found.advice) == only_ranking
    # The recommendation of a threshold says so too, also where ranking is all that is asked: what is told of those who
    # are kept is on the absolute scale.
    curve = er.thresholds(fit)
    if case in ("Bradley-Terry, 4 models", "gold users"):  # the same search again takes as long
        assert curve.judge is not None
        curve = replace(curve, judge=lambda: found.scale)
    assert bool(curve.recommend().warning) == only_ranking
    assert ("Only the ranking" in curve.recommend().reason) == only_ranking
    assert bool(curve.recommend("share>=0.5").warning) == only_ranking
    if only_ranking:
        assert "advantage from" in found.verdict  # what is traded
        assert any("known to attend" in text for text in found.advice)
        low, high = found.scale.if_known
        assert high / low < 1.2  # as with the known advantage
    assert (found.directions["information"].diff().dropna() >= 0).all()
    assert found.directions["meaning"].str.contains("mean attentiveness from").all()


def test_information_adds_up():
    """The trace of L' I L is that of S I, with I from a fit without priors and S from draws of the priors."""
    model, models, parameters, _ = CASES["one pair, unknown"]
    log = model.simulate(1000, 20, models, seed=1, parameters={**EVEN, **parameters}).log
    fit = er.fit_em(model, log, objective="ml")
    found = er.identifiability(fit)
    rng = np.random.default_rng(5)
    prior = np.stack([fit.table.pack(fit.table.sample_prior(rng)) for _ in range(4000)])
    wanted = np.trace(np.cov(prior.T) @ np.linalg.inv(fit.covariance))
    assert found.directions["information"].sum() == pytest.approx(wanted, rel=0.1)
    assert (found.contraction["contraction"] > 0.5).all()
    few = er.fit_em(model, model.simulate(30, 4, models, seed=1, parameters={**EVEN, **parameters}).log)
    less = er.identifiability(few)
    assert less.directions["information"].sum() < 0.1 * wanted
    assert less.contraction["contraction"].min() < 0.5


def test_what_cannot_be_judged():
    log = KNOWN.simulate(20, 5, 2, seed=0).log
    with pytest.raises(er.EarnestError, match="label EM has one free parameter a user"):
        er.identifiability(er.fit_em(KNOWN, log, method="label"))
    fixed = er.BehaviorModel(er.Groups((0.5,)), KNOWN.preference, KNOWN.casual)
    with pytest.raises(er.EarnestError, match="no unknown parameter"):
        er.identifiability(er.fit_em(fixed, log))


# ---------------------------------------------------------------------------------------------- users apart


def test_contrarians_are_found():
    model = er.BehaviorModel()
    skills = {"skill": [1.5, 0.5, -0.5, -1.5], "casual_outcome": [0.5, 0.5]}
    log = model.simulate(300, 30, 4, seed=2, parameters={**EVEN, **skills}).log
    frame = log.to_arrow().to_pandas()
    turned = frame["user"].isin(["user_001", "user_002"])
    order = {f"model_{i}": -i for i in range(1, 5)}
    weaker = np.where(frame["model_a"].map(order) < frame["model_b"].map(order), "model_a", "model_b")
    frame.loc[turned, "winner"] = weaker[turned]
    found = contrarians(er.fit_em(model, er.read_comparisons(frame)))
    assert set(found["user"][found["probability"] > 0.9]) == {"user_001", "user_002"}
    assert er.identifiability(er.fit_em(model, er.read_comparisons(frame))).verdict.count("2 users disagree") == 1
    none = contrarians(er.fit_em(model, log))
    assert (none["probability"] > 0.9).sum() <= 1


def test_the_bayes_factor_is_the_ratio_of_two_integrals():
    log = KNOWN.simulate(12, 9, 2, seed=3, parameters=EVEN).log
    fit = er.fit_em(KNOWN, log)
    found = contrarians(fit).set_index("user")
    frame = log.to_arrow().to_pandas()
    alpha, beta = (float(fit.parameters[f"attentiveness_{name}"]) for name in ("alpha", "beta"))
    at, weight = special.roots_jacobi(12, beta - 1, alpha - 1)
    t = (at + 1) / 2
    for user, votes in frame.groupby("user"):
        right = (np.where(votes["winner"] == "model_a", votes["model_a"], votes["model_b"]) == "model_1").astype(float)
        usual, other = (
            weight @ np.prod(t[:, None] * p + (1 - t[:, None]) / 2, axis=1)
            for p in (0.25 + 0.5 * right, 0.75 - 0.5 * right)
        )
        assert found.loc[user, "log_bayes_factor"] == pytest.approx(np.log(other / usual), abs=1e-7)


def test_attentiveness_that_goes_with_the_number_of_votes():
    """The sandwich in matrices; a log in which they go together, and one in which they do not."""
    rng = np.random.default_rng(0)
    votes = rng.integers(4, 60, size=400)
    log = KNOWN.simulate(400, votes, 2, seed=6, parameters=EVEN).log
    fit = er.fit_em(KNOWN, log)
    found = votes_and_attentiveness(fit)
    users = fit.attentiveness
    x = np.stack([np.ones(len(users)), np.log2(users["comparisons"])], axis=1)
    bread = np.linalg.inv(x.T @ x)
    coefficients = bread @ x.T @ users["mean"].to_numpy()
    left = users["mean"].to_numpy() - x @ coefficients
    sandwich = bread @ (x.T * left**2 @ x) @ bread * len(users) / (len(users) - 2)
    assert found["slope"] == pytest.approx(coefficients[1])
    assert found["standard_error"] == pytest.approx(np.sqrt(sandwich[1, 1]))
    assert found["p"] > 0.001
    # Users with few votes toss a coin.
    frame = log.to_arrow().to_pandas()
    few = frame.groupby("user")["winner"].transform("size") < 20
    frame.loc[few, "winner"] = rng.choice(["model_a", "model_b"], size=int(few.sum()))
    fit = er.fit_em(KNOWN, er.read_comparisons(frame))
    assert votes_and_attentiveness(fit)["p"] < 0.001
    assert "goes with the number of votes" in er.identifiability(fit).verdict


def test_of_equal_numbers_of_votes_nothing_is_said():
    fit = er.fit_em(KNOWN, KNOWN.simulate(20, 5, 2, seed=0).log)
    assert np.isnan(list(votes_and_attentiveness(fit).values())).all()
