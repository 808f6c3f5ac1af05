"""EM never lowers its objective, on whatever log: no NaN, and a status for each."""

import runpy
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import earnest as er

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
log_of = _logs["log_of"]

STATUSES = {"converged", "iteration_limit", "objective_decreased", "non_finite"}
TIES = {"none": None, "davidson": er.Davidson(), "rao_kupper": er.RaoKupper()}
PREFERENCE = {
    "known": lambda ties, names: er.KnownAdvantage(0.7, stronger=names, ties=ties),
    "pair": lambda ties, names: er.PairAdvantage(ties=ties),
    "skill": lambda ties, names: er.BradleyTerry(ties=ties),
}
CASUAL = {"coin": er.CoinFlip(), "position": er.PositionBias()}
POPULATION = {"beta": er.Beta(), "groups": er.Groups((0.0, 1.0)), "free": er.Groups(2)}
ALL = list(product(PREFERENCE, TIES, CASUAL, POPULATION))
NAMES = {2: ("a", "b"), 3: ("a", "b", "c"), 4: ("a", "b", "c", "d")}


def model_of(combination, names):
    preference, ties, casual, population = combination
    return er.BehaviorModel(POPULATION[population], PREFERENCE[preference](TIES[ties], names), CASUAL[casual])


# ------------------------------------------------------------------------------------------------ the logs


def votes(rng, users, size, names, ties, outcome=None):
    """Random votes; every pair occurs at least once, so that the schema (and what was compiled) stays the same."""
    rows = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    rows += [tuple(rng.permutation(len(names))[:2]) for _ in range(max(users * size - len(rows), 0))]
    words = ["model_a", "model_b", "tie"][: 3 if ties else 2]
    out = []
    for number, (i, j) in enumerate(rows):
        winner = outcome(int(i), int(j)) if outcome else str(rng.choice(words))
        out.append((f"u{number % users}", names[int(i)], names[int(j)], winner))
    return out


def random_log(rng, names, ties):
    """Skills, a population and casual habits drawn anew, also extreme ones."""
    skill = rng.normal(0, rng.choice([0.1, 1.0, 4.0]), len(names))
    population = rng.choice([0.1, 1.0, 10.0], 2)
    users, size = int(rng.integers(1, 9)), int(rng.integers(1, 12))
    eta = rng.beta(*population, users)
    habit = rng.dirichlet(np.full(3 if ties else 2, rng.choice([0.2, 2.0])))
    words = ["model_a", "model_b", "tie"]
    rows = votes(rng, users, size, names, ties)
    out = []
    for user, a, b, _ in rows:
        if rng.random() < eta[int(user[1:])]:
            difference = skill[names.index(a)] - skill[names.index(b)]
            noise = difference + rng.logistic()
            winner = "tie" if ties and abs(noise) < 0.4 else ("model_a" if noise > 0 else "model_b")
        else:
            winner = words[int(rng.choice(len(habit), p=habit))]
        out.append((user, a, b, winner))
    return out


def degenerate_logs(rng, ties):
    """{what is wrong: votes}, two models each. At most 8 users: logs of one size share compiled code."""
    ab = NAMES[2]
    stronger = lambda i, j: "model_a" if i < j else "model_b"  # noqa: E731
    logs = {
        "one comparison": [("u", "a", "b", "model_b")],
        "one user": votes(rng, 1, 15, ab, ties),
        "one vote a user": votes(rng, 8, 1, ab, ties),
        "unanimous users": votes(rng, 6, 6, ab, ties, stronger),
        "always left": votes(rng, 6, 6, ab, ties, lambda i, j: "model_a"),
        "half a tie of wins": [(f"u{i}", "a", "b", f"model_{'ab'[i % 2]}") for i in range(10)],
        "one contrarian": [
            *votes(rng, 6, 6, ab, ties, stronger), *[("x", "a", "b", "model_b")] * 8, *[("x", "b", "a", "model_a")] * 7,
        ],
    }  # fmt: skip
    if ties:
        logs["all ties"] = votes(rng, 4, 6, ab, ties, lambda i, j: "tie")
        logs["one tie"] = [*votes(rng, 6, 6, ab, False), ("u0", "a", "b", "tie")]
    return logs


def heavy_log():
    """One user with many more votes than shared quadrature nodes can serve."""
    return [*[("h", "a", "b", "model_a")] * 150, *[("h", "b", "a", "model_b")] * 60, ("u", "a", "b", "model_b")]


def wide_logs(ties):
    """{what is wrong: votes} with models that never meet or never win."""
    names = NAMES[4]
    apart = [(f"u{i}", *p, w) for i in range(5) for p, w in (("ab", "model_a"), ("ba", "model_a"), ("cd", "model_b"))]
    never = [
        (f"u{i}", a, b, "model_b" if a == "d" else "model_a")
        for i in range(5) for a in names for b in names if a != b and b < a
    ]  # fmt: skip
    return {"disconnected models": apart, "a model that never wins": never}


# ------------------------------------------------------------------------------------------------ the check


def check(model, rows, **options):
    """Fit, and look at the trace, the parameters, the users and the status."""
    fit = er.fit_em(model, log_of(rows), **options)
    assert fit.status in STATUSES
    assert fit.status not in ("objective_decreased", "non_finite"), fit.notes
    trace = fit.objective_trace
    assert len(trace) == fit.iterations + 1
    assert np.all(np.isfinite(trace))
    fall = np.diff(trace) / (1 + np.abs(trace[1:]))
    assert fall.min(initial=0.0) > -1e-9
    for name, value in fit.parameters.items():
        assert np.all(np.isfinite(value)), name
    columns = ["mean"] if options.get("method") == "label" else ["mean", "sd", "lower", "upper"]
    for column in columns:
        assert np.all(np.isfinite(fit.attentiveness[column])), column
    assert fit.attentiveness["mean"].between(0, 1).all()
    for ends in fit.intervals(0.9).values():
        assert not np.any(ends[0] > ends[1])
    if fit.modes:
        assert fit.modes[0].objective == max(mode.objective for mode in fit.modes)
        assert trace[-1] == pytest.approx(fit.modes[0].objective, rel=1e-9)
    return fit


# Each component, tie rule and population at least once; two models, so that all logs share what is compiled.
ROTATION = [
    ("skill", "davidson", "position", "beta"), ("pair", "rao_kupper", "position", "groups"),
    ("known", "none", "coin", "free"), ("pair", "none", "position", "beta"),
]  # fmt: skip


@pytest.mark.parametrize("combination", ROTATION, ids="-".join)
def test_degenerate_and_random_logs(combination):
    ties = combination[1] != "none"
    model = model_of(combination, NAMES[2])
    for rows in degenerate_logs(np.random.default_rng(3), ties).values():
        assert check(model, rows).status == "converged"
    for seed in range(6):
        check(model, random_log(np.random.default_rng(seed), NAMES[2], ties))


def test_a_user_with_very_many_votes():
    model = model_of(ROTATION[0], NAMES[2])
    check(model, heavy_log())
    check(model, heavy_log(), method="label")


@pytest.mark.parametrize("name", ["disconnected models", "a model that never wins"])
def test_models_that_never_meet_or_never_win(name):
    check(model_of(("skill", "none", "coin", "groups"), NAMES[4]), wide_logs(False)[name])


@pytest.mark.parametrize("combination", ROTATION[:2], ids="-".join)
def test_maximum_likelihood_on_degenerate_logs(combination):
    """Without priors parameters run off to infinity; the objective still may not fall, nor anything become NaN."""
    model = model_of(combination, NAMES[2])
    for rows in degenerate_logs(np.random.default_rng(3), combination[1] != "none").values():
        check(model, rows, objective="ml", max_iterations=300)


@pytest.mark.parametrize(
    ("combination", "objective"),
    [(ROTATION[0], "map"), (ROTATION[0], "ml"), (ROTATION[3], "map"), (ROTATION[2], "ml")],
    ids=["skill-map", "skill-ml", "pair-map", "known-ml"],
)
def test_label_em_on_degenerate_and_random_logs(combination, objective):
    ties = combination[1] != "none"
    model = model_of(combination, NAMES[2])
    logs = list(degenerate_logs(np.random.default_rng(3), ties).values())
    logs += [random_log(np.random.default_rng(seed), NAMES[2], ties) for seed in range(6)]
    # Twelve users with a vote each: on these a careless mixture of Newton and EM steps goes down.
    logs += [votes(np.random.default_rng(seed), 12, 1, NAMES[2], ties) for seed in range(6)]
    for rows in logs:
        check(model, rows, method="label", objective=objective, max_iterations=500)


@pytest.mark.long
@pytest.mark.parametrize("combination", ALL, ids="-".join)
def test_a_thousand_logs(combination):
    """54 combinations x 19 logs, degenerate and random ones, of which a fifth each by maximum likelihood and label EM."""
    number = ALL.index(combination)
    rng = np.random.default_rng(number)
    ties = combination[1] != "none"
    options = [{}, {}, {}, {"objective": "ml", "max_iterations": 300}, {"method": "label", "max_iterations": 500}]
    logs = [*degenerate_logs(rng, ties).values(), heavy_log()]
    logs += [random_log(rng, NAMES[2], ties) for _ in range(19 - len(logs))]
    for i, rows in enumerate(logs):
        check(model_of(combination, NAMES[2]), rows, **options[(i + number) % len(options)])


@pytest.mark.long
@pytest.mark.parametrize("combination", ALL, ids="-".join)
def test_models_that_never_meet_or_never_win_in_every_combination(combination):
    ties = combination[1] != "none"
    for rows in wide_logs(ties).values():
        check(model_of(combination, NAMES[4]), rows)
