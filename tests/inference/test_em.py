"""EM finds the optimum of the declared objective: against an objective, optimisers and libraries of others."""

import runpy
from pathlib import Path

import choix
import numpy as np
import pytest
from scipy import optimize

import earnest as er
from earnest.models.namespace import NUMPY

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
log_of, frame_of, votes_of, oracles = (_logs[name] for name in ("log_of", "frame_of", "votes_of", "oracles"))

TRUE = {
    "skill": [0.9, -0.2, -0.7],
    "attentiveness_alpha": 1.5,
    "attentiveness_beta": 0.8,
}
CASES = {
    "skill-davidson-position-beta": (
        er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias()),
        {**TRUE, "tie_strength": 0.6, "casual_outcome": [0.5, 0.3, 0.2]},
        None,
    ),
    "skill-none-coin-beta": (er.BehaviorModel(er.Beta(), er.BradleyTerry(), er.CoinFlip()), TRUE, None),
    "pair-rao_kupper-coin-groups": (
        er.BehaviorModel(er.Groups((0.0, 1.0)), er.PairAdvantage(ties=er.RaoKupper()), er.CoinFlip()),
        {"advantage": [0.8, 0.75, 0.3], "tie_threshold": 1.6, "attentiveness_weight": [0.3, 0.7]},
        (0.0, 1.0),
    ),
    "known-davidson-position-free": (
        er.BehaviorModel(
            er.Groups(2),
            er.KnownAdvantage(0.8, stronger=("model_2", "model_1", "model_3"), ties=er.Davidson()),
            er.PositionBias(),
        ),
        {
            "tie_strength": 0.4, "casual_outcome": [0.5, 0.3, 0.2],
            "attentiveness_level": [0.1, 0.9], "attentiveness_weight": [0.4, 0.6],
        },
        None,
    ),
}  # fmt: skip


def vote(name, log):
    kind, rule, casual, _ = name.split("-")
    return votes_of(log, kind=kind, rule=rule, casual=casual, levels=CASES[name][2], order=(1, 0, 2), mu=0.8)


@pytest.fixture(scope="module")
def fitted():
    """{case: (log, fit, oracle)}; 40 users, 12 votes each, 3 models."""
    out = {}
    for name, (model, parameters, _) in CASES.items():
        truth = model.simulate(users=40, comparisons_per_user=12, models=3, seed=4, parameters=parameters)
        out[name] = (truth.log, er.fit_em(model, truth.log), vote(name, truth.log))
    return out


@pytest.mark.parametrize("name", CASES)
def test_the_optimum_is_that_of_an_independent_optimiser(fitted, name):
    """L-BFGS with numerical gradients on an objective in NumPy, from 5 starts: same best value, same parameters."""
    _, fit, votes = fitted[name]
    assert fit.status == "converged"
    values = {k: np.array(v) for k, v in fit.parameters.items()}
    scale = oracles["Coordinates"](values)

    def objective(z):
        return votes.objective(scale.values(z))

    at_fit = scale.free(values)
    assert fit.objective_trace[-1] == pytest.approx(objective(at_fit), rel=1e-9)
    slope = oracles["numerical_gradient"](objective, at_fit, 1e-4)
    assert np.abs(slope).max() < 1e-4

    rng = np.random.default_rng(8)
    found = [oracles["maximise"](objective, rng.normal(0, 0.7, at_fit.size)) for _ in range(5)]
    best, value = max(found, key=lambda pair: pair[1])
    assert value == pytest.approx(fit.objective_trace[-1], rel=1e-8)
    theirs = scale.values(best)
    if "attentiveness_level" in theirs:
        order = np.argsort(theirs["attentiveness_level"])
        theirs = {k: v[order] if k.startswith("attentiveness") else v for k, v in theirs.items()}
    for parameter, ours in values.items():
        np.testing.assert_allclose(ours, theirs[parameter], atol=1e-4, rtol=1e-4, err_msg=parameter)


@pytest.mark.parametrize("name", CASES)
def test_users_posteriors_at_the_optimum(fitted, name):
    _, fit, votes = fitted[name]
    mean, sd = votes.means(fit.parameters)
    np.testing.assert_allclose(fit.attentiveness["mean"], mean, atol=1e-6)
    np.testing.assert_allclose(fit.attentiveness["sd"], sd, rtol=1e-4, atol=1e-7)
    assert np.all(fit.attentiveness["lower"] <= fit.attentiveness["upper"])
    assert list(fit.attentiveness["comparisons"]) == [12] * 40


def log_jacobian(values):
    """Log-volume of the free coordinates (up to a constant): logs, logits, log-ratios; nothing for skills."""
    total = 0.0
    for name, value in values.items():
        value = np.asarray(value)
        if name in ("advantage", "attentiveness_level"):
            total += np.log(value * (1 - value)).sum()
        elif name != "skill":
            total += np.log(value - (1.0 if name == "tie_threshold" else 0.0)).sum()
    return float(total)


@pytest.mark.parametrize("name", CASES)
def test_standard_errors_are_those_of_a_numerical_hessian(fitted, name):
    """Inverse observed information of the objective, by the oracle, and the delta method at the estimate."""
    _, fit, votes = fitted[name]

    def values(z):
        return fit.table.unpack(NUMPY, z)

    hessian = oracles["numerical_hessian"](lambda z: votes.objective(values(z)), fit.free)
    covariance = np.linalg.inv(-hessian)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=5e-3, atol=1e-5)
    for parameter in fit.parameters:

        def part(z, parameter=parameter):
            return np.ravel(values(z)[parameter])

        steps = 1e-5 * np.eye(fit.free.size)
        jacobian = np.stack([(part(fit.free + step) - part(fit.free - step)) / 2e-5 for step in steps], axis=1)
        expected = np.sqrt(np.diag(jacobian @ covariance @ jacobian.T))
        np.testing.assert_allclose(np.ravel(fit.standard_errors[parameter]), expected, rtol=5e-3, err_msg=parameter)


@pytest.mark.parametrize("name", CASES)
def test_intervals_are_the_normal_approximation_at_the_mode_of_the_density_on_the_free_scale(fitted, name):
    """Centre: a stationary point of log-objective + log-volume. Spread: inverse information there, by the oracle."""
    _, fit, votes = fitted[name]

    def target(z):
        return votes.objective(fit.table.unpack(NUMPY, z)) + log_jacobian(fit.table.unpack(NUMPY, z))

    spread = np.linalg.inv(-oracles["numerical_hessian"](target, fit.centre))
    slope = oracles["numerical_gradient"](target, fit.centre)
    # In units of the spread the centre is within a thousandth of the mode.
    assert np.sqrt(slope @ spread @ slope) < 1e-3
    np.testing.assert_allclose(fit.spread, spread, rtol=5e-3, atol=1e-5)
    for parameter, where in fit.table.slices.items():
        low, high = (np.ravel(end) for end in fit.intervals(0.9)[parameter])
        if parameter == "skill":
            jacobian = np.stack([fit.table.unpack(NUMPY, e)["skill"] for e in np.eye(fit.free.size)], axis=1)
            width = 2 * 1.6448536 * np.sqrt(np.diag(jacobian @ spread @ jacobian.T))
            np.testing.assert_allclose(high - low, width, rtol=5e-3)
        elif parameter in ("attentiveness_alpha", "attentiveness_beta", "tie_strength"):
            width = 2 * 1.6448536 * np.sqrt(np.diag(spread)[where])
            np.testing.assert_allclose(np.log(high / low), width, rtol=5e-3)


@pytest.mark.parametrize("name", CASES)
def test_modes_are_listed_best_first(fitted, name):
    _, fit, _ = fitted[name]
    objectives = [mode.objective for mode in fit.modes]
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[0] == pytest.approx(fit.objective_trace[-1], rel=1e-12)
    for parameter, value in fit.modes[0].parameters.items():
        np.testing.assert_allclose(value, fit.parameters[parameter], rtol=1e-9)
    assert fit.modes[0].rank_correlation == 1.0
    assert fit.modes[0].attentive_share == pytest.approx(fit.attentiveness["mean"].mean(), abs=1e-6)
    assert sum(mode.starts for mode in fit.modes) >= 1


def test_two_modes_are_told_apart():
    """Position-biased users: "all are casual with a bias" against "all attend"; both are optima of the oracle too."""
    model = CASES["skill-davidson-position-beta"][0]
    truth = model.simulate(
        users=40, comparisons_per_user=12, models=3, seed=9,
        parameters={
            "skill": [0.3, 0.0, -0.3], "tie_strength": 1.0, "casual_outcome": [0.85, 0.1, 0.05],
            "attentiveness_alpha": 0.3, "attentiveness_beta": 0.3,
        },
    )  # fmt: skip
    fit = er.fit_em(model, truth.log)
    votes = votes_of(truth.log, kind="skill", rule="davidson", casual="position")
    for mode in fit.modes:
        assert votes.objective(mode.parameters) == pytest.approx(mode.objective, rel=1e-6)
    assert max(mode.objective for mode in fit.modes) == fit.modes[0].objective
    assert fit.objective_trace[-1] == fit.modes[0].objective


def test_acceleration_changes_nothing_but_the_time(fitted):
    log, fit, _ = fitted["skill-davidson-position-beta"]
    plain = er.fit_em(fit.model, log, accelerate=False, max_iterations=5000)
    assert plain.status == "converged"
    assert plain.objective_trace[-1] == pytest.approx(fit.objective_trace[-1], rel=1e-10)
    for name, value in fit.parameters.items():
        np.testing.assert_allclose(plain.parameters[name], value, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(plain.attentiveness["mean"], fit.attentiveness["mean"], atol=1e-5)


def test_updating_a_fit_is_fitting_both_logs(fitted):
    log, _, _ = fitted["skill-davidson-position-beta"]
    model = CASES["skill-davidson-position-beta"][0]
    frame = frame_of(log)
    first, second = log_of(frame.iloc[:300]), log_of(frame.iloc[300:])
    whole = er.fit_em(model, log)
    updated = er.fit_em(model, first).update(second)
    assert updated.objective_trace[-1] == pytest.approx(whole.objective_trace[-1], rel=1e-9)
    for name, value in whole.parameters.items():
        np.testing.assert_allclose(updated.parameters[name], value, rtol=1e-5, atol=1e-5)
    for column in ("comparisons", "mean", "sd"):
        np.testing.assert_allclose(updated.attentiveness[column], whole.attentiveness[column], rtol=1e-4)
    assert list(updated.attentiveness["user"]) == list(whole.attentiveness["user"])
    with pytest.raises(er.EarnestError, match="count twice"):
        er.fit_em(model, first).update(first)


def test_an_update_may_bring_new_models_and_users(fitted):
    log, _, _ = fitted["skill-none-coin-beta"]
    model = CASES["skill-none-coin-beta"][0]
    frame = frame_of(log)
    known = frame[(frame["model_a"] != "model_2") & (frame["model_b"] != "model_2")]
    rest = frame.drop(known.index)
    whole, updated = er.fit_em(model, log), er.fit_em(model, log_of(known)).update(log_of(rest))
    assert updated.schema == whole.schema
    np.testing.assert_allclose(updated.parameters["skill"], whole.parameters["skill"], atol=1e-5)


# ------------------------------------------------------------------------------------------------ limits


def test_with_everyone_attentive_it_is_plain_bradley_terry(fitted):
    """Against choix, which maximises the same likelihood; it knows no ties, and there are none here."""
    log, _, _ = fitted["skill-none-coin-beta"]
    model = er.BehaviorModel(er.Groups((1.0,)), er.BradleyTerry(), er.CoinFlip())
    fit = er.fit_em(model, log, objective="ml")
    frame = frame_of(log)
    names = fit.coords["model"]
    wins = [
        (names.index(r.model_a), names.index(r.model_b))
        if r.winner == "model_a"
        else (names.index(r.model_b), names.index(r.model_a))
        for r in frame.itertuples()
    ]
    expected = choix.opt_pairwise(3, wins, alpha=0.0, method="Newton-CG", tol=1e-10)
    np.testing.assert_allclose(fit.parameters["skill"], expected - expected.mean(), atol=1e-5)
    assert np.all(fit.attentiveness["mean"] == 1.0)


@pytest.mark.parametrize("rule", ["davidson", "rao_kupper"])
def test_with_everyone_attentive_ties_match_an_independent_optimiser(fitted, rule):
    log, _, _ = fitted["skill-davidson-position-beta"]
    ties = {"davidson": er.Davidson(), "rao_kupper": er.RaoKupper()}[rule]
    fit = er.fit_em(er.BehaviorModel(er.Groups((1.0,)), er.BradleyTerry(ties=ties), er.CoinFlip()), log, objective="ml")
    votes = votes_of(log, kind="skill", rule=rule, casual="coin", levels=(1.0,))
    values = {k: np.array(v) for k, v in fit.parameters.items()}
    scale = oracles["Coordinates"](values)
    best, value = oracles["maximise"](lambda z: votes.objective(scale.values(z), prior=False), 0 * scale.free(values))
    assert fit.objective_trace[-1] == pytest.approx(value, rel=1e-10)
    for name, theirs in scale.values(best).items():
        np.testing.assert_allclose(values[name], theirs, atol=1e-4)


def test_with_nobody_attentive_the_casual_frequencies_remain(fitted):
    log, _, _ = fitted["skill-davidson-position-beta"]
    model = er.BehaviorModel(er.Groups((0.0,)), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())
    share = frame_of(log)["winner"].value_counts(normalize=True)
    expected = [share[w] for w in ("model_a", "model_b", "tie")]
    for objective in ("ml", "map"):
        fit = er.fit_em(model, log, objective=objective)
        added = 1.0 if objective == "map" else 0.0  # Dirichlet(2)
        exact = (np.array(expected) * len(log) + added) / (len(log) + 3 * added)
        np.testing.assert_allclose(fit.parameters["casual_outcome"], exact, atol=1e-9)
        assert np.all(fit.attentiveness["mean"] == 0.0)


def test_an_all_or_nothing_population():
    """Users who attend always or never drive alpha and beta towards 0; the objective is exact there too."""
    truth = er.BehaviorModel(er.Groups((0.0, 1.0)), er.BradleyTerry(), er.CoinFlip()).simulate(
        200, 60, 3, seed=0, parameters={"skill": [3.0, 0.0, -3.0], "attentiveness_weight": [0.4, 0.6]}
    )
    fit = er.fit_em(CASES["skill-none-coin-beta"][0], truth.log)
    votes = vote("skill-none-coin-beta", truth.log)
    assert fit.status == "converged"
    assert float(fit.parameters["attentiveness_alpha"]) < 0.05
    assert fit.objective_trace[-1] == pytest.approx(votes.objective(fit.parameters), rel=1e-8)


# ------------------------------------------------------------------------------------------------ label EM


PAPER = er.BehaviorModel(er.Beta(), er.KnownAdvantage(0.7, stronger=("model_1", "model_2")), er.CoinFlip())


@pytest.fixture(scope="module")
def two_models():
    return PAPER.simulate(users=60, comparisons_per_user=15, models=2, seed=2).log


@pytest.mark.parametrize("user_prior", [(1.0, 1.0), (1.5, 1.2)])
def test_the_papers_estimator_in_one_line(two_models, user_prior):
    """mu known, eta_u free: against the plain iteration of the paper and against a direct search, user by user."""
    fit = er.fit_em(PAPER, two_models, method="label", user_prior=user_prior)
    assert fit.status == "converged"
    votes = votes_of(two_models, kind="known", rule="none", casual="coin", order=(0, 1), mu=0.7)
    direct = votes.best_label_attentiveness({}, user_prior)
    np.testing.assert_allclose(fit.attentiveness["mean"], direct, atol=2e-5)
    value = votes.label_objective({}, direct, prior=False, user_prior=user_prior)
    assert fit.objective_trace[-1] == pytest.approx(value, rel=1e-8)
    if user_prior == (1.0, 1.0):
        # The paper's iteration creeps (sublinearly) where the optimum is at 0 or 1.
        textbook = votes.textbook_label_em({}, 20_000)
        np.testing.assert_allclose(fit.attentiveness["mean"], textbook, atol=2e-3)
        inside = (direct > 0.05) & (direct < 0.95)
        assert inside.sum() >= 5
        np.testing.assert_allclose(fit.attentiveness["mean"][inside], textbook[inside], atol=1e-5)


def test_the_stronger_model_is_read_off_the_votes(two_models):
    asked = er.fit_em(er.BehaviorModel(er.Beta(), er.KnownAdvantage(0.7), er.CoinFlip()), two_models, method="label")
    told = er.fit_em(PAPER, two_models, method="label")
    assert asked.model.preference.stronger == ("model_1", "model_2")
    np.testing.assert_allclose(asked.attentiveness["mean"], told.attentiveness["mean"])


def test_label_em_with_free_globals_reaches_the_direct_optimum(fitted):
    """Profile over users: L-BFGS on the globals, every user's best attentiveness searched for inside."""
    log, _, _ = fitted["skill-davidson-position-beta"]
    model = CASES["skill-davidson-position-beta"][0]
    fit = er.fit_em(model, log, method="label", max_iterations=20_000)
    assert fit.status == "converged"
    votes = votes_of(log, kind="skill", rule="davidson", casual="position")
    values = {k: np.array(v) for k, v in fit.parameters.items() if not k.startswith("attentiveness_")}
    scale = oracles["Coordinates"](values)
    eta = fit.attentiveness["mean"].to_numpy()
    ours = votes.label_objective(values, eta)
    assert fit.objective_trace[-1] == pytest.approx(ours, rel=1e-7)

    n = scale.free(values).size

    def loss(z):
        return -votes.label_objective(scale.values(z[:n]), z[n:])

    def slope(z):
        globals_ = oracles["numerical_gradient"](lambda g: loss(np.concatenate([g, z[n:]])), z[:n])
        p, c = votes.probabilities(scale.values(z[:n]))
        user = votes.rows[:, 0]
        ratio = (p - c) / (z[n:][user] * p + (1 - z[n:][user]) * c)
        return np.concatenate([globals_, -np.bincount(user, weights=ratio, minlength=votes.n_users)])

    values_found = []
    for start in (np.concatenate([scale.free(values), eta]), np.concatenate([0 * scale.free(values), 0.5 + 0 * eta])):
        start[n:] = np.clip(start[n:], 1e-3, 1 - 1e-3)
        found = optimize.minimize(
            loss, start, jac=slope, method="L-BFGS-B", bounds=[(-12, 12)] * n + [(0, 1)] * len(eta),
            options={"maxiter": 5000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-7},
        )  # fmt: skip
        values_found.append(-found.fun)
    # Not a better one anywhere near; the likelihood has several modes, and restarts must not miss the best of these.
    assert max(values_found) <= ours + 1e-5 * (1 + abs(ours))
    assert values_found[0] == pytest.approx(ours, rel=1e-6)


# ------------------------------------------------------------------------------------------------ arguments


def test_arguments_are_checked(two_models):
    for options, message in [
        ({"method": "mcmc"}, "method='mcmc'"),
        ({"objective": "mle"}, "objective='mle'"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"level": 1.0}, "level=1.0"),
        ({"user_prior": (0.5, 1.0)}, "user_prior"),
        ({"start": {"skill": [0, 0]}}, "no parameter 'skill'"),
    ]:
        with pytest.raises(er.EarnestError, match=message):
            er.fit_em(PAPER, two_models, **options)
    with pytest.raises(er.EarnestError, match="read_comparisons"):
        er.fit_em(PAPER, "votes.csv")
    with pytest.raises(er.InputError, match="tie"):
        er.fit_em(PAPER, log_of([("u", "model_1", "model_2", "tie")]))


def test_an_iteration_limit_is_a_status_not_an_error(fitted):
    log, _, _ = fitted["skill-davidson-position-beta"]
    model = CASES["skill-davidson-position-beta"][0]
    fit = er.fit_em(model, log, method="label", max_iterations=2)
    assert fit.status == "iteration_limit"
    assert not fit.converged
    assert any("iteration_limit" in note for note in fit.notes)
