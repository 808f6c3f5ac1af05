"""One density, said five times: SciPy's oracle, EM, the statement in NumPy, the NumPyro model, the PyMC model.

On the constrained scale, without the samplers' Jacobians. Gradients are taken with respect to Earnest's free
coordinates, through the native models: NumPyro's by `jax.grad`, PyMC's by `pt.grad` after every value variable is
replaced by PyMC's own transform of the constrained value.
"""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpyro.infer.util import log_density
from pytensor.graph.replace import graph_replace

from earnest.inference.arrays import JNP
from earnest.inference.compiled import settle, values_at
from earnest.inference.in_numpyro import numpyro_model
from earnest.inference.in_pymc import pymc_model
from earnest.inference.marginal import log_objective, nodes_at
from earnest.inference.users import workload
from earnest.models.namespace import NUMPY, pytensor_namespace

_here = Path(__file__)
_logs = runpy.run_path(str(_here.with_name("logs.py")))
ALL = runpy.run_path(str(_here.parents[1] / "models" / "combinations.py"))["ALL"]
PT = pytensor_namespace()
LEVELS = {"fixed_groups": (0.0, 0.4, 1.0)}
USERS = (1, 2, 3, 3, 5, 8, 13)  # comparisons of each user: rules of up to 7 nodes
VALUE, SLOPE = 1e-10, 1e-8


def told():
    """A third of the combinations, in which every two components meet (a Latin square): those of the ordinary run."""
    parts = [name.split("-") for name in ALL]
    levels = [sorted(set(column)) for column in zip(*parts, strict=True)]
    ranks = [[level.index(part) for level, part in zip(levels, each, strict=True)] for each in parts]
    return tuple(name for name, rank in zip(ALL, ranks, strict=True) if sum(rank) % 3 == 0)


TOLD = told()
SLOPES = tuple(name for k, name in enumerate(TOLD) if k % 3 == 0 or k % 5 == 0)  # they take most of the time


def log_for(ties):
    """Votes by chance, every pair in both orders, ties or not; two users with equal counts."""
    rng = np.random.default_rng(12)
    rows = []
    for user, n in enumerate(USERS):
        for _ in range(n):
            a, b = rng.permutation(3)[:2]
            rows.append((f"u{user}", "abc"[a], "abc"[b], _logs["OUTCOMES"][rng.integers(3 if ties else 2)]))
    rows += [("twin", *row[1:]) for row in rows if row[0] == "u2"]
    return _logs["log_of"](rows)


LOGS = {ties: log_for(ties) for ties in (False, True)}


def settled(name):
    return settle(ALL[name], LOGS[ALL[name].preference.allows_ties])


def oracle(name):
    kind, rule, casual, attentiveness = name.split("-")
    log = LOGS[rule != "none"]
    return _logs["votes_of"](
        log, kind=kind, rule=rule, casual=casual, levels=LEVELS.get(attentiveness), order=(1, 0, 2)
    )


def draw(name, seed, n):
    """Draws from the prior as free vectors."""
    table, rng = settled(name).table, np.random.default_rng([seed, *name.encode()])
    return [table.pack(table.sample_prior(rng)) for _ in range(n)]


def mapped(density, slopes, *at):
    """(values, gradients) at every point, or (values, None)."""
    if slopes:
        return jax.jit(jax.vmap(jax.value_and_grad(density)))(*at)
    return jax.jit(jax.vmap(density))(*at), None


def em(ready, points, slopes):
    """EM's objective and its gradient at every point."""
    work = workload(ready.counts)
    nodes = [nodes_at(ready.model, free, work.problem) for free in points]
    nodes = jax.tree.map(lambda *parts: jnp.stack(parts), *nodes)

    def objective(free, at):
        return log_objective(ready.model, True, free, work.problem, at)

    return mapped(objective, slopes, jnp.stack(points), nodes)


def in_numpyro(statement, points, slopes):
    """Log-density of the NumPyro model and its gradient at every point."""
    model = numpyro_model(statement)

    def density(free):
        return log_density(model, (), {}, statement.table.unpack(JNP, free))[0]

    return mapped(density, slopes, jnp.stack(points))


def symbolic(statement, free, slopes):
    """Log-density of the PyMC model and its gradient (or zeros), as expressions of a free vector."""
    native = pymc_model(statement)
    values = statement.table.unpack(PT, free)
    replaced = {}
    for variable in native.free_RVs:
        transform = native.rvs_to_transforms[variable]
        value = values[variable.name]
        moved = value if transform is None else transform.forward(value, *variable.owner.inputs)
        own = native.rvs_to_values[variable]
        # A transform may rest on another variable, which then has its value here, too.
        moved = graph_replace([moved], {rv: values[rv.name] for rv in native.free_RVs}, strict=False)[0]
        replaced[own] = own.type.filter_variable(pt.specify_shape(moved, own.type.shape))
    total = graph_replace([native.logp(jacobian=False)], replaced)[0]
    return total, pt.grad(total, free) if slopes else pt.zeros_like(free)


def compare(name, seed, points, theirs, slopes=True):
    """Density and gradient of EM and NumPyro, and PyMC's given ones, at points, against the oracle and each other."""
    ready = settled(name)
    statement, votes = ready.statement("marginal"), oracle(name)
    exact = np.array([votes.objective(values_at(ready.table, free)) for free in points])
    plain = [float(statement.log_density(NUMPY, values_at(ready.table, free))) for free in points]
    values, gradients = em(ready, points, slopes)
    native, native_gradients = in_numpyro(statement, points, slopes)
    for what, found in {"NumPy": plain, "EM": values, "NumPyro": native, "PyMC": [a[0] for a in theirs]}.items():
        np.testing.assert_allclose(found, exact, rtol=VALUE, err_msg=f"{name}, {what}, seed {seed}")
    if not slopes:
        return
    scale = np.abs(gradients).max(axis=1, keepdims=True)
    for what, found in {"NumPyro": native_gradients, "PyMC": np.array([a[1] for a in theirs])}.items():
        np.testing.assert_allclose(found / scale, gradients / scale, atol=SLOPE, err_msg=f"{name}, {what}, seed {seed}")


def compiled(names, with_slopes):
    """Combinations compiled into one PyTensor function of all their free vectors."""
    inputs, outputs = [], []
    for name in names:
        ready = settled(name)
        free = pt.tensor(name, dtype="float64", shape=(ready.table.size,))
        inputs.append(free)
        outputs += symbolic(ready.statement("marginal"), free, name in with_slopes)
    # Not rewritten and not turned into C: seconds instead of minutes, and the numbers of the declaration itself.
    return pytensor.function(inputs, outputs, mode=pytensor.compile.Mode("py", None))


@pytest.fixture(scope="module")
def in_pymc():
    return compiled(TOLD, SLOPES)


@pytest.fixture(scope="module")
def in_pymc_with_all_slopes():
    return compiled(ALL, ALL)


def replies(in_pymc, drawn):
    """PyMC's (density, gradient) at every point of every combination."""
    calls = [in_pymc(*at) for at in zip(*drawn.values(), strict=True)]
    return {name: [call[2 * i : 2 * i + 2] for call in calls] for i, name in enumerate(drawn)}


def test_five_densities_agree(in_pymc):
    """A third of the combinations at one point each; all of them in the long run."""
    assert {part for name in SLOPES for part in name.split("-")} == {part for name in ALL for part in name.split("-")}
    drawn = {name: draw(name, 1, 1) for name in TOLD}
    theirs = replies(in_pymc, drawn)
    # Not jitted: each combination would compile for seconds, and single operations are shared by all.
    with jax.enable_x64(True), jax.disable_jit():
        for name in TOLD:
            compare(name, 1, drawn[name], theirs[name], name in SLOPES)


@pytest.mark.long
@pytest.mark.parametrize("part", range(6))
def test_five_densities_agree_at_a_hundred_points(in_pymc_with_all_slopes, part):
    """All combinations at a hundred points each, EM and NumPyro as they are compiled."""
    names = list(ALL)[part::6]
    drawn = {name: draw(name, 2, 100) for name in ALL}
    theirs = replies(in_pymc_with_all_slopes, drawn)
    with jax.enable_x64(True):
        for name in names:
            compare(name, 2, drawn[name], theirs[name])


def test_a_wrong_constant_is_seen(in_pymc):
    """Negative control: an error of 1e-9 in the density, or of 1e-6 in the gradient."""
    name = SLOPES[0]
    drawn = {other: draw(other, 1, 2) for other in TOLD}
    theirs = replies(in_pymc, drawn)[name]
    off = [(value * (1 + 1e-9), slope) for value, slope in theirs]
    with jax.enable_x64(True), jax.disable_jit(), pytest.raises(AssertionError, match="PyMC"):
        compare(name, 1, drawn[name], off)
    off = [(value, slope + 1e-6 * np.abs(slope).max()) for value, slope in theirs]
    with jax.enable_x64(True), jax.disable_jit(), pytest.raises(AssertionError, match="PyMC"):
        compare(name, 1, drawn[name], off)
