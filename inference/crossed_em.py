"""Marginal EM with effects shared across users: the ascent of the evidence lower bound, and its profiled curvature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ..comparisons.cells import Cells, Counts
from ..comparisons.names import as_names
from ..models.behavior import BehaviorModel
from ..models.crossed import Crossed
from ..models.namespace import NUMPY
from ..models.parameters import ParameterTable
from .ascent import Ascent, uphill
from .crossed import bound, crossed_step, located
from .em import MarginalEM
from .marginal import Problem
from .maximize import BOX
from .nodes import Nodes
from .users import Workload, workload

__all__ = ["COPIES", "CrossedEM", "copies", "effects_at"]

COPIES = 16
"""Of each user in the bound, each with draws of the effects; other draws move the bound by half a nat."""
_SCALE, _NARROW = 0.5, -1.0  # where the effects' scale starts, and log(sd / scale) of each
_SOLVED = 1e-6


@dataclass
class CrossedEM(MarginalEM):
    """The ascent where users share effects; its vector is the globals, then m / s and log(sd / s) of every item.

    Attributes:
        n_items: their number.
    """

    n_items: int = 0

    @property
    def crossed(self) -> Crossed:
        """The effects."""
        crossed = self.model.crossed
        assert crossed is not None  # the engine of models that have some
        return crossed

    def extended(self, point: np.ndarray) -> np.ndarray:
        free = np.array(point)
        free[self.table.slices[self.crossed.scale.name]] = np.log(_SCALE)
        return np.concatenate([free, np.zeros(self.n_items), np.full(self.n_items, _NARROW)])

    def placed(self, free: np.ndarray) -> tuple[np.ndarray, Problem]:
        own, _ = parts(self.table, free)
        cells = located(self.crossed, self.problem.cells, *effects_at(self.crossed, self.table, free))
        return own, replace(self.problem, cells=cells)

    def values(self, free: np.ndarray) -> dict[str, np.ndarray]:
        own, _ = parts(self.table, free)
        return {**super().values(own), self.crossed.effect: effects_at(self.crossed, self.table, free)[0]}

    def step(self, free: np.ndarray) -> tuple[float, np.ndarray]:
        own, q = parts(self.table, free)
        objective, image, q, self._expected = crossed_step(
            self.model, self.prior, own, q, self.problem, self.nodes(free), self._current_metric(free)
        )
        return float(objective), np.concatenate([np.asarray(image), np.ravel(q)])

    def finish(self, ascent: Ascent, steps: int = 8) -> tuple[Ascent, np.ndarray]:
        """The ascent as it is, and the Hessian of the bound in the globals with q maximised out, (size, size)."""
        own, q = parts(self.table, ascent.free)
        if own.size == 0:
            return ascent, np.zeros((0, 0))
        nodes = self._fresh(ascent.free)
        return ascent, np.asarray(_profiled(self.model, self.prior, own, q, self.problem, nodes))

    def laplace(self, free: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `MarginalEM.laplace`, by one Newton step with the curvature at the estimate: q would follow each."""
        own, _ = parts(self.table, free)
        if not self.prior or own.size == 0 or not np.all(np.isfinite(curvature)):
            return own, curvature
        _, slope, bend = self._log_jacobian(own)
        centre = np.clip(own + uphill(slope, curvature + bend), -BOX, BOX)
        return centre, curvature + self._log_jacobian(centre)[2]


def copies(crossed: Crossed, counts: Counts) -> Workload:
    """The data of the bound: every user in `COPIES`, each of which counts for a part and has its own draw of effects.

    Args:
        crossed: the effects.
        counts: with an axis of effects.
    """
    cells, s = counts.cells, np.arange(COPIES)
    # Over its copies an item meets every stratum of its normal once; which ones meet in a copy is by chance.
    strata = norm.ppf((s + 0.5) / COPIES)
    strata = strata / np.sqrt(np.mean(strata**2))
    n_items = len(cells.schema.coords()[crossed.column])
    drawn = np.random.default_rng(0).permuted(np.tile(strata, (n_items, 1)), axis=1)
    item = np.asarray(cells[crossed.column])
    context: dict[str, Any] = {name: np.repeat(column, COPIES) for name, column in cells.context.items()}
    context |= {crossed.node: drawn[item].ravel(), crossed.effect: np.zeros(len(item) * COPIES)}
    schema, n = replace(cells.schema, items=()), len(counts.users)
    a, b, outcome = (np.repeat(part, COPIES) for part in (cells.model_a, cells.model_b, cells.outcome))
    wide = Cells(schema, a, b, outcome, context)
    user = (counts.user + n * s[:, None]).ravel()
    cell = (counts.cell * COPIES + s[:, None]).ravel()
    names = as_names([f"{name} {copy}" for copy in s for name in counts.users])
    work = workload(Counts(names, wide, user, cell, np.tile(counts.count, COPIES)))
    group = replace(work.problem.group, multiplicity=work.problem.group.multiplicity / COPIES)
    return replace(work, problem=replace(work.problem, group=group, counted=work.problem.counted / COPIES))


def parts(table: ParameterTable, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The globals (size,) in a vector of the ascent, and the coordinates of q, (2, item)."""
    return free[: table.size], free[table.size :].reshape(2, -1)


def effects_at(crossed: Crossed, table: ParameterTable, free: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every item's effect at a vector of the ascent, log-odds, (item,) each."""
    own, q = parts(table, free)
    scale = np.asarray(table.unpack(NUMPY, own)[crossed.scale.name])
    return scale * q[0], scale * np.exp(q[1])


@partial(jax.jit, static_argnames=("model", "prior"))
def _profiled(model: BehaviorModel, prior: bool, free: Any, q: Any, problem: Problem, nodes: Nodes) -> Any:
    """Hessian of max_q bound(free, q) at q's maximum: H_ff - H_fq H_qq^-1 H_qf, column by column.

    H_qq is not block-diagonal (two items of one user hang together by the user's attentiveness); conjugate gradients
    need it times a vector only.
    """

    def slope(free: Any, q: Any) -> Any:
        return jax.grad(partial(bound, model, prior), argnums=(0, 1))(free, q, problem, nodes)

    def times(one: Any, other: Any) -> Any:
        return jax.jvp(slope, (free, q), (one, other))[1]

    still, none = jnp.zeros_like(free), jnp.zeros_like(q)

    def column(direction: Any) -> Any:
        own, others = times(direction, none)
        solve: Any = jax.scipy.sparse.linalg.cg
        followed, _ = solve(lambda z: jax.tree.map(jnp.negative, times(still, z)[1]), others, tol=_SOLVED, maxiter=200)
        return own + times(still, followed)[0]

    matrix = jax.lax.map(column, jnp.eye(free.shape[0]))
    return 0.5 * (matrix + matrix.T)
