"""The votes as a distribution: it sums to one, it is what the simulators draw, and no layout changes it."""

import runpy
from dataclasses import replace
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from scipy import integrate, special, stats

import earnest as er
from earnest.inference import tally as tally_module
from earnest.inference.arrays import JNP
from earnest.inference.compiled import prior_points, settle
from earnest.inference.in_numpyro import Logits, MarginalVotes, numpyro_model
from earnest.inference.in_pymc import pymc_model
from earnest.models.namespace import NUMPY

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
_oracles = _logs["oracles"]

# Two users; the second was shown one pair twice, so that outcomes come with a multinomial number of orders.
SHOWN = {"ann": [("a", "b"), ("b", "a"), ("a", "c")], "bob": [("b", "c"), ("b", "c"), ("c", "a")]}
MODELS = {
    "beta": er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias()),
    "groups": er.BehaviorModel(er.Groups((0.1, 0.8)), er.PairAdvantage(ties=er.RaoKupper()), er.PositionBias()),
}
VALUES = {
    "skill": np.array([1.4, -0.3, -1.1]),
    "advantage": np.array([0.8, 0.75, 0.35]),
    "tie_strength": np.array(0.6),
    "tie_threshold": np.array(1.5),
    "attentiveness_alpha": np.array(0.7),
    "attentiveness_beta": np.array(0.4),
    "attentiveness_weight": np.array([0.35, 0.65]),
    "casual_outcome": np.array([0.55, 0.25, 0.2]),
}


def design(votes=1):
    """A log in which everybody saw what `SHOWN` says, `votes` times over."""
    rows = [(user, a, b, "model_a") for user, shown in SHOWN.items() for a, b in shown * votes]
    rows[0] = (*rows[0][:3], "tie")
    return _logs["log_of"](rows)


def statement_of(model, log=None):
    return settle(model, log or design()).statement("marginal")


def values_for(statement):
    return {p.name: VALUES[p.name] for p in statement.table.parameters}


def exact(name, user, counts, shown):
    """Probability of a user's counts (shown, outcome), one sequence of votes at a time, by the oracle."""
    kind, rule = ("skill", "davidson") if name == "beta" else ("pair", "rao_kupper")
    pairs = [(0, 1), (0, 2), (1, 2)]
    number = {"a": 0, "b": 1, "c": 2}
    p, c, n, orders = [], [], [], 0.0
    for (a, b), row in zip(shown, counts, strict=True):
        given = _oracles["preference_probabilities"](kind, rule, VALUES, number[a], number[b], pairs)
        p += list(given)
        c += list(VALUES["casual_outcome"])
        n += [int(k) for k in row]
        orders += special.gammaln(sum(row) + 1) - special.gammaln(np.asarray(row) + 1).sum()
    if name == "beta":
        return orders, _oracles["ExactUser"](p, c, n, 0.7, 0.4).log_marginal
    levels, weight = np.array([0.1, 0.8]), VALUES["attentiveness_weight"]
    m = np.outer(p, levels) + np.outer(c, 1 - levels)
    return orders, float(np.log(weight @ np.prod(m ** np.array(n)[:, None], axis=0)))


def outcomes_of(statement, unit):
    """Every table of counts (slot, outcome) that a unit may give, and what its slots show."""
    totals = statement.tally.count[unit].sum(1).astype(int)
    per_slot = [[c for c in product(range(t + 1), repeat=3) if sum(c) == t] for t in totals]
    shown = [tuple(name.split(" | ")) for name in statement.tally.names]
    return [np.array(table) for table in product(*per_slot)], shown


@pytest.mark.parametrize("name", list(MODELS))
def test_probabilities_of_all_outcomes_sum_to_one(name):
    """MarginalVotes is a probability of votes in their order: a table of counts counts once an order."""
    with jax.enable_x64(True):
        statement = statement_of(MODELS[name])
        values = {k: jnp.asarray(v) for k, v in values_for(statement).items()}
        chances = statement.chances(JNP, values)
        density = jax.jit(MarginalVotes(statement, chances, statement.rules(JNP, values, chances)).log_prob)
        for unit, user in enumerate(SHOWN):
            tables, shown = outcomes_of(statement, unit)
            total = 0.0
            for table in tables:
                value = np.array(statement.tally.count)
                value[unit] = table
                found = float(density(jnp.asarray(value))[unit])
                orders, log_p = exact(name, user, table, shown)
                assert found == pytest.approx(log_p, abs=1e-12)
                total += np.exp(found + orders)
            assert total == pytest.approx(1.0, abs=1e-12)


def chi_square(name, statement, draws):
    """p-value of every unit's simulated tables (draw, unit, slot, outcome) under the exact probabilities."""
    levels = []
    for unit, user in enumerate(SHOWN):
        tables, shown = outcomes_of(statement, unit)
        expected = np.array([np.exp(sum(exact(name, user, table, shown))) for table in tables])
        assert expected.sum() == pytest.approx(1.0, abs=1e-12)
        index = {table.astype(int).tobytes(): i for i, table in enumerate(tables)}
        seen = np.bincount([index[d.astype(int).tobytes()] for d in draws[:, unit]], minlength=len(tables))
        common = expected * len(draws) >= 5
        f_obs = np.append(seen[common], seen[~common].sum())
        f_exp = np.append(expected[common], expected[~common].sum()) * len(draws)
        levels.append(stats.chisquare(f_obs[f_exp > 0], f_exp[f_exp > 0]).pvalue)
    return np.array(levels)


SIMULATED = 20_000


def in_numpyro(statement, values):
    values = {k: jnp.asarray(v) for k, v in values.items()}
    chances = statement.chances(JNP, values)
    votes = MarginalVotes(statement, chances, statement.rules(JNP, values, chances))
    return np.asarray(votes.sample(jax.random.key(3), (SIMULATED,)))


def in_statement(statement, values):
    """What PyMC's distribution draws by."""
    rng = np.random.default_rng(4)
    chances = statement.chances(NUMPY, values)
    rules = statement.rules(NUMPY, values, chances)
    return np.stack([statement.simulate(rng, chances, *statement.draw_latent(rng, rules)) for _ in range(SIMULATED)])


@pytest.mark.parametrize("simulator", [in_numpyro, in_statement], ids=["numpyro", "statement"])
@pytest.mark.parametrize("name", list(MODELS))
def test_simulated_votes_have_these_probabilities(name, simulator):
    with jax.enable_x64(True):
        statement = statement_of(MODELS[name])
        values = values_for(statement)
        draws = simulator(statement, values)
        assert chi_square(name, statement, draws).min() > 1e-3
        # Negative control: slightly more casual ties than the probabilities say.
        values["casual_outcome"] = np.array([0.53, 0.23, 0.24])
        assert chi_square(name, statement, simulator(statement, values)).max() < 1e-4


@pytest.mark.filterwarnings("ignore:Numba will use object mode:UserWarning")
def test_pymc_draws_what_the_statement_draws():
    """Through PyMC's own machinery: frequencies of its prior-predictive votes at fixed globals."""
    statement = statement_of(MODELS["groups"])
    native = pm.do(pymc_model(statement), values_for(statement))
    with native:
        drawn = pm.draw(native["votes"], draws=4000, random_seed=5)
    assert drawn.shape == (4000, *statement.tally.count.shape)
    assert chi_square("groups", statement, drawn).min() > 1e-3


# ---------------------------------------------------------------------------------------------- layouts


def long_log():
    """Users with 0 repeats to many; the same votes twice, so that patterns merge."""
    rng = np.random.default_rng(2)
    rows = []
    for user, n in enumerate([1, 1, 2, 3, 6, 6, 12]):
        for _ in range(n):
            a, b = rng.permutation(4)[:2]
            rows.append((f"u{user}", "abcd"[a], "abcd"[b], _logs["OUTCOMES"][rng.integers(3)]))
    return _logs["log_of"](rows + [(f"again_{row[0]}", *row[1:]) for row in rows])


@pytest.mark.parametrize("name", list(MODELS))
def test_no_layout_changes_the_likelihood(name, monkeypatch):
    """Every user's log-likelihood, in NumPy and JAX: dense and padded, merged and not, one rule and three."""
    ready = settle(MODELS[name], long_log())
    rng = np.random.default_rng(9)
    points = [ready.table.sample_prior(rng) for _ in range(3)]
    dense = ready.statement("marginal", points)
    assert dense.tally.dense
    assert dense.tally.merged
    assert dense.tally.multiplicity.sum() == 14
    monkeypatch.setattr(tally_module, "_DENSE_CELLS", 4)
    padded = ready.statement("marginal", points)
    assert not padded.tally.dense
    assert (padded.tally.shown == -1).any()
    monkeypatch.undo()
    monkeypatch.setattr("earnest.inference.integration._SIZE_CLASSES", (2, 5))
    classes = ready.statement("marginal", points)
    assert len(classes.pieces) == (3 if name == "beta" else 1)
    everybody = (replace(dense.pieces[0], units=np.arange(14)),)
    unmerged = replace(dense, tally=tally_module.tally(ready.counts, merge=False), pieces=everybody)
    monkeypatch.setattr(tally_module, "_DENSE_CELLS", 4)
    padded_classes = ready.statement("marginal", points)
    monkeypatch.undo()

    def by_user(xp, statement, values, value=None):
        chances = statement.chances(xp, values)
        value = statement.tally.count if value is None else value
        return statement.tally.of_users(
            np.asarray(statement.log_marginal(xp, chances, statement.rules(xp, values, chances), value))
        )

    with jax.enable_x64(True):
        for values in points:
            reference = by_user(NUMPY, dense, values)
            assert np.ptp(reference) > 1
            total = float(unmerged.log_density(NUMPY, values))
            for other, limit in ((padded, 4), (classes, 256), (unmerged, 256), (padded_classes, 4)):
                # It decides how counts are read, too.
                monkeypatch.setattr(tally_module, "_DENSE_CELLS", limit)
                np.testing.assert_allclose(by_user(NUMPY, other, values), reference, atol=1e-9)
                np.testing.assert_allclose(by_user(JNP, other, values), reference, atol=1e-9)
                np.testing.assert_allclose(
                    by_user(JNP, other, values, jnp.asarray(other.tally.count)), reference, atol=1e-9
                )
                assert float(other.log_density(NUMPY, values)) == pytest.approx(total, abs=1e-8)
                monkeypatch.undo()


# ---------------------------------------------------------------------------------------------- explicit form


def conditional_numpyro(statement, values):
    """(user, logits) -> log-density of this user's latent and votes in the explicit NumPyro model."""
    import numpyro

    names = list(statement.tally.users)

    def terms(logits):
        model = numpyro.handlers.substitute(numpyro_model(statement), data={**values, "attentiveness_logit": logits})
        sites = numpyro.handlers.trace(model).get_trace()
        return sum(sites[s]["fn"].log_prob(sites[s]["value"]) for s in ("attentiveness_logit", "votes"))

    compiled = jax.jit(terms)
    return lambda user, x: float(compiled(jnp.full(len(names), x))[user])


def conditional_pymc(statement, values):
    native = pm.do(pymc_model(statement), values)
    pieces = native.logp(vars=[native["attentiveness_logit"], native["votes"]], sum=False, jacobian=False)
    compiled = native.compile_fn(sum(pieces), inputs=native.value_vars, mode="FAST_COMPILE")
    n = len(statement.tally.users)
    return lambda user, x: float(compiled({"attentiveness_logit": np.full(n, x)})[user])


@pytest.mark.parametrize("build", [conditional_numpyro, conditional_pymc], ids=["numpyro", "pymc"])
@pytest.mark.parametrize("padded", [False, True], ids=["dense", "padded"])
def test_the_explicit_form_integrates_to_the_marginal_one(build, padded, monkeypatch):
    """The integral over a user's latent, by SciPy, against the exact mixture of Betas."""
    if padded:
        monkeypatch.setattr(tally_module, "_DENSE_CELLS", 4)
    with jax.enable_x64(True):
        statement = settle(MODELS["beta"], design()).statement("explicit")
        assert statement.form == "explicit"
        assert statement.tally.dense is not padded
        density = build(statement, values_for(statement))
        for number, user in enumerate(SHOWN):
            slots = statement.tally.shown[number]
            shown = [tuple(statement.tally.names[s].split(" | ")) for s in slots if s >= 0]
            counts = statement.tally.count[number][slots >= 0]
            _, log_p = exact("beta", user, counts, shown)
            found, _ = integrate.quad(
                lambda x, number=number, log_p=log_p: np.exp(density(number, x) - log_p),
                -80, 80, points=[-10, -3, 0, 3, 10],
                epsabs=1e-9, epsrel=1e-9, limit=200,
            )  # fmt: skip
            assert found == pytest.approx(1.0, abs=1e-7)


def test_logits_are_drawn_from_the_population():
    """NumPyro's draws of the latent: Kolmogorov-Smirnov against the Beta distribution; another one is told apart."""
    values = {"attentiveness_alpha": jnp.asarray(0.7), "attentiveness_beta": jnp.asarray(0.4)}
    with jax.enable_x64(True):
        drawn = special.expit(np.asarray(Logits(er.Beta(), values).sample(jax.random.key(1), (20_000,))))
    assert stats.kstest(drawn, stats.beta(0.7, 0.4).cdf).pvalue > 1e-3
    assert stats.kstest(drawn, stats.beta(0.75, 0.4).cdf).pvalue < 1e-3


def test_rules_are_tried_where_the_prior_lies():
    ready = settle(MODELS["beta"], design())
    assert all(set(point) == set(values_for(ready.statement("marginal"))) for point in prior_points(ready.table))
