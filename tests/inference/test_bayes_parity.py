"""One density, said five times: SciPy's oracle, EM, the statement in NumPy, the NumPyro model, the PyMC model.

On the constrained scale, without the samplers' Jacobians. Gradients are taken with respect to Earnest's free
coordinates, through the native models: NumPyro's by `jax.grad`, PyMC's by `pt.grad` after every value variable is
replaced by PyMC's own transform of the constrained value.
"""

import runpy
from pathlib import Path

import jax
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from numpyro.infer.util import log_density
from pytensor.graph.replace import graph_replace

from earnest.inference.arrays import JNP
from earnest.inference.compiled import settle
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
USERS = (1, 2, 3, 3, 5, 8, 13, 21)  # comparisons of each user: rules of up to 11 nodes
# The oracle's terms sum to some 50 nats; near 0 the relative error of a sum is not that of its terms.
VALUE, SLOPE = 1e-10, 1e-8


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


def points(table, seed, n):
    """Draws from the prior as free vectors."""
    rng = np.random.default_rng(seed)
    return [table.pack(table.sample_prior(rng)) for _ in range(n)]


def em(ready):
    """Free vector -> EM's objective and its gradient."""
    work = workload(ready.counts)

    def answer(free):
        nodes = nodes_at(ready.model, free, work.problem)
        return jax.value_and_grad(log_objective, argnums=2)(ready.model, True, free, work.problem, nodes)

    return answer


def in_numpyro(statement):
    """Free vector -> log-density of the NumPyro model and its gradient."""
    model = numpyro_model(statement)
    return jax.jit(jax.value_and_grad(lambda free: log_density(model, (), {}, statement.table.unpack(JNP, free))[0]))


def symbolic(statement, free):
    """Log-density of the PyMC model and its gradient, as expressions of a free vector."""
    native = pymc_model(statement)
    values = statement.table.unpack(PT, free)
    replaced = {}
    for variable in native.free_RVs:
        transform = native.rvs_to_transforms[variable]
        value = values[variable.name]
        moved = value if transform is None else transform.forward(value, *variable.owner.inputs)
        own = native.rvs_to_values[variable]
        replaced[own] = own.type.filter_variable(pt.specify_shape(moved, own.type.shape))
    total = graph_replace([native.logp(jacobian=False)], replaced)[0]
    return total, pt.grad(total, free)


def compare(name, seed, answers):
    """Four densities and three gradients at a point; `answers` are PyMC's."""
    ready = settled(name)
    statement = ready.statement("marginal")
    free = points(ready.table, seed, 1)[0]


@pytest.fixture(scope="module")
def in_pymc():
    """All combinations compiled into one PyTensor function of all their free vectors."""
    inputs, outputs = [], []
    for name in ALL:
        ready = settled(name)
        free = pt.tensor(name, dtype="float64", shape=(ready.table.size,))
        inputs.append(free)
        outputs += symbolic(ready.statement("marginal"), free)
    # Not rewritten and not turned into C: seconds instead of minutes, and the numbers of the declaration itself.
    return pytensor.function(inputs, outputs, mode=pytensor.compile.Mode("py", None))
