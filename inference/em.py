"""Marginal EM: attentiveness and attendance are latent, the globals are estimated (empirical Bayes).

Restarts from every combination of the components' starting values find the several modes that this likelihood has; the
best one is finished by Newton steps on the marginal objective, whose curvature also gives the standard errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..models.behavior import BehaviorModel
from ..models.namespace import NUMPY
from ..models.parameters import ParameterTable, Values
from .arrays import JNP, largest_size
from .ascent import Ascent, ascend, uphill
from .marginal import Problem, expectation, log_objective, nodes_at
from .maximize import (
    BOX,
    climb,
    evidence_for,
    inverse_metric,
    maximize_attention,
    maximize_outcomes,
    maximize_population,
    needs_metric,
)
from .nodes import Nodes
from .pooled import USUAL, AtRest, Pooled

__all__ = ["MarginalEM", "em_step", "starting_points"]

# Nodes are placed anew when a free parameter has moved this far, or by two posterior widths of the user with the most
# comparisons; between, EM is exact on fixed nodes.
_STALE = 0.1
# A curvature is measured anew on the way when a free parameter has moved this far, or the point this many standard
# deviations; and at the end by so much it may be off.
_BENT, _BENT_SDS, _STRAIGHT = 0.01, 0.02, 1e-8
# The metric of the M-step is measured anew when a free parameter has moved this far (and at least every 20 steps).
_FAR = 0.3


@partial(jax.jit, static_argnames=("model", "prior"))
def em_step(
    model: BehaviorModel, prior: bool, free: Any, problem: Problem, nodes: Nodes, metric: Any
) -> tuple[Any, Any, tuple[Any, Any]]:
    """One EM iteration.

    Returns:
        the objective at `free`, the free parameters that the M-step makes of it, and the expected attended and casual
        comparisons, (cell,) each, or (kind, cell).
    """
    table = model.table(problem.cells.schema)
    values = table.unpack(JNP, free)
    expected = expectation(model, values, problem, nodes)
    objective = expected.log_likelihood + (table.log_prior(JNP, values) if prior else 0.0)
    told = (expected.attended, expected.casual)
    image = free
    for evidence in evidence_for(model, problem.cells, *told, expected.kinds):
        image = maximize_outcomes(evidence, table, image, prior, metric)
    image = maximize_population(model, table, image, problem, nodes, expected, prior)
    if model.attention is not None and not model.attention.has("log_odds"):
        image = maximize_attention(model, table, image, problem.cells, expected, prior)
    if moving := model.moving(table.schema):
        # Their votes and nodes do not come apart into expected counts: the marginal objective itself is climbed, which
        # is as monotone (ECME; Liu and Rubin 1994, Biometrika 81).
        image = climb(moving, table, image, lambda z: log_objective(model, prior, z, problem, nodes))
    return objective, image, told


@partial(jax.jit, static_argnames=("model", "prior"))
def _metric(model: BehaviorModel, prior: bool, free: Any, problem: Problem, expected: tuple[Any, Any]) -> Any:
    return inverse_metric(evidence_for(model, problem.cells, *expected), model.table(problem.cells.schema), free, prior)


@partial(jax.jit, static_argnames=("model", "prior"))
def value_and_gradient(model: BehaviorModel, prior: bool, free: Any, problem: Problem, nodes: Nodes) -> tuple[Any, Any]:
    """The marginal objective (see `log_objective`) and its gradient in the free parameters, (size,)."""
    return jax.value_and_grad(partial(log_objective, model, prior), argnums=0)(free, problem, nodes)


@partial(jax.jit, static_argnames=("model", "prior"))
def hessian(model: BehaviorModel, prior: bool, free: Any, problem: Problem, nodes: Nodes) -> Any:
    """Hessian of the marginal objective in the free parameters, (size, size). Column by column: memory stays small."""

    def column(direction: Any) -> Any:
        slope = jax.grad(partial(log_objective, model, prior), argnums=0)
        return jax.jvp(lambda z: slope(z, problem, nodes), (free,), (direction,))[1]

    matrix = jax.lax.map(column, jnp.eye(free.shape[0]))
    return 0.5 * (matrix + matrix.T)


@partial(jax.jit, static_argnames=("table",))
def _log_jacobian(table: ParameterTable, free: Any) -> tuple[Any, Any, Any]:
    """Log volume change from the free to the constrained scale, its gradient (size,) and Hessian (size, size)."""

    def change(z: Any) -> Any:
        return jnp.asarray(table.log_jacobian(JNP, z), dtype=z.dtype)

    return change(free), jax.grad(change)(free), jax.hessian(change)(free)


@dataclass
class MarginalEM:
    """The ascent of one model on one log; keeps the current nodes.

    Attributes:
        model: the declaration (settled).
        problem: the data.
        prior: whether the log prior is part of the objective.
    """

    model: BehaviorModel
    problem: Problem
    prior: bool
    _nodes: Nodes | None = None
    _placed: np.ndarray | None = None
    _inverse: Any = None
    _expected: tuple[Any, Any] | None = None
    _measured: np.ndarray | None = None
    _age: int = 0

    @property
    def table(self) -> ParameterTable:
        """The unknowns."""
        return self.model.table(self.problem.cells.schema)

    @cached_property
    def pooled(self) -> Pooled:
        """Scales of pooled parameters, which have a mode of their own (none where priors do not count)."""
        return Pooled(self.table, self.table.pooled if self.prior else {})

    def extended(self, point: np.ndarray) -> np.ndarray:
        """A starting point of the globals as a vector of the ascent (here the same)."""
        return point

    def placed(self, free: np.ndarray) -> tuple[np.ndarray, Problem]:
        """The globals in a vector of the ascent, and the data as they look there."""
        return free, self.problem

    def values(self, free: np.ndarray) -> dict[str, np.ndarray]:
        """{name: value} at a vector of the ascent, on the constrained scale."""
        return {name: np.asarray(value) for name, value in self.table.unpack(NUMPY, free).items()}

    def nodes(self, free: np.ndarray) -> Nodes:
        """Nodes that suit these parameters: the last ones if little has moved."""
        if self._nodes is None or self._placed is None or self._moved(free) > self._stale:
            self._nodes = nodes_at(self.model, *self.placed(free))
            self._placed = np.array(free)
        return self._nodes

    def step(self, free: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective at a point and its EM image."""
        nodes = self.nodes(free)
        metric = self._current_metric(free)
        objective, image, self._expected = em_step(self.model, self.prior, free, self.problem, nodes, metric)
        return float(objective), np.asarray(image)

    def _current_metric(self, free: np.ndarray) -> Any:
        if not self._has_metric:
            return None
        self._age += 1
        far = self._measured is None or np.max(np.abs(free - self._measured), initial=0.0) > _FAR
        if self._expected is None:
            # Before the first E-step: everyone half attentive.
            kinds = self.model.kinds(self.problem.cells.schema).size
            half = self.problem.counted / 2 if kinds == 1 else np.tile(self.problem.counted / 2 / kinds, (kinds, 1))
            self._expected = (half, half)
        if self._inverse is None or (far and self._age > 2) or self._age > 20:
            self._inverse = _metric(self.model, self.prior, *self.placed(free), self._expected)
            self._measured, self._age = np.array(free), 0
        return self._inverse

    @cached_property
    def _has_metric(self) -> bool:
        return needs_metric(self.model, self.table)

    def objective(self, free: np.ndarray) -> float:
        """The marginal objective, on nodes placed for these very parameters."""
        return self.value_and_slope(free)[0]

    def value_and_slope(self, free: np.ndarray) -> tuple[float, np.ndarray]:
        """The marginal objective and its gradient in the free parameters, (size,)."""
        value, slope = value_and_gradient(self.model, self.prior, free, self.problem, self._fresh(free))
        return float(value), np.asarray(slope)

    def run(
        self,
        start: np.ndarray,
        max_iterations: int,
        tolerance: float,
        accelerate: bool = True,
        report: Callable[[int, float], None] | None = None,
    ) -> Ascent:
        """EM from one starting point."""
        return ascend(
            self.step,
            start,
            max_iterations=max_iterations,
            tolerance=tolerance,
            accelerate=accelerate,
            report=report,
        )

    def finish(self, ascent: Ascent, steps: int = 8) -> tuple[Ascent, np.ndarray]:
        """Newton steps on the marginal objective from EM's answer; each is kept only if the objective does not fall.

        Scales of pooled parameters stay where they are.

        Returns:
            the ascent, continued, and the Hessian of the objective at its end, (size, size).
        """
        free = measured = ascent.free
        curvature = self.hessian(free)
        if free.size == 0:
            return ascent, curvature
        trace, status = list(ascent.trace), ascent.status
        value, slope = self.value_and_slope(free)
        usable = bool(np.all(np.isfinite(curvature)) and np.all(np.isfinite(slope)))
        for _ in range(steps if usable else 0):
            reach = np.maximum(BOX, np.abs(free))
            candidate = np.clip(free + uphill(*self.pooled.held(slope, curvature)), -reach, reach)
            move = candidate - free
            gain = float(slope @ move)  # 0 along what is held
            new, slope = self.value_and_slope(candidate)
            if not new >= value - 1e-12 * (1 + abs(value)) or not np.all(np.isfinite(slope)):
                break
            free, value = candidate, max(new, value)
            trace.append(value)
            if np.max(np.abs(move)) < 1e-9 or gain < 1e-14 * (1 + abs(value)):
                status = "converged" if status == "iteration_limit" else status
                break
            if np.max(np.abs(free - measured)) > 0.05:
                curvature, measured = self.hessian(free), free
        if np.max(np.abs(free - measured)) > 1e-3:
            curvature = self.hessian(free)
        return replace(ascent, free=free, trace=trace, status=status), curvature

    def laplace(self, free: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre and Hessian of the normal approximation on the free scale, from the estimate and its Hessian.

        Under "map" the estimate is the mode on the constrained scale, which is not the mode on the free scale: where
        the data say little, a normal approximation put there is off by half a standard error and more (measured in
        benchmarks/recovery.py). The centre is the mode of the density on the free scale, with the Jacobian, reached by
        Newton steps from the estimate. Under "ml" there is no density to transform.
        """
        if not self.prior or free.size == 0 or not np.all(np.isfinite(curvature)):
            return free, curvature
        if self.pooled:
            centred = self.settled(free, jacobian=True)
            return centred.free, centred.curvature
        centre, change = free, self._log_jacobian(free)
        total = curvature + change[2]
        value, slope = self.value_and_slope(free)
        value, slope = value + change[0], slope + change[1]
        share, measured = 1.0, free
        for _ in range(40):  # at most 1 free unit each, and from an edge the way is 10 and more
            move = share * uphill(slope, total)
            candidate = np.clip(centre + move, -BOX, BOX)
            new, new_slope = self.value_and_slope(candidate)
            change = self._log_jacobian(candidate)
            new, new_slope = new + change[0], new_slope + change[1]
            if not new >= value - 1e-12 * (1 + abs(value)) or not np.all(np.isfinite(new_slope)):
                if (share := share / 4) < 1e-3:
                    break
                continue
            centre, value, slope, share = candidate, new, new_slope, 1.0
            way = centre - measured
            if np.max(np.abs(way)) > _BENT or abs(way @ total @ way) > _BENT_SDS**2:
                # The curvature of where it was is no guide here: with it the steps would turn round before the mode.
                total, measured = self.hessian(centre) + change[2], centre
            if np.max(np.abs(move)) < 1e-6:  # the next one, as Newton's go, would be a millionth of that
                break
        if np.max(np.abs(centre - measured)) > _STRAIGHT:
            total = self.hessian(centre) + self._log_jacobian(centre)[2]
        return centre, total

    def settled(self, free: np.ndarray, jacobian: bool = False) -> AtRest:
        """The mode of pooled scales, all else integrated out by Laplace's method, and of all else at them.

        Args:
            free: where to begin, (size,).
            jacobian: of the density on the free scale instead of the constrained one.
        """

        def look(z: np.ndarray) -> tuple[float, np.ndarray]:
            value, slope = self.value_and_slope(z)
            change = self._log_jacobian(z) if jacobian else (0.0, 0.0)
            return value + change[0], slope + change[1]

        def bend(z: np.ndarray) -> np.ndarray:
            return self._raw_hessian(z) + (self._log_jacobian(z)[2] if jacobian else 0.0)

        found = self.pooled.mode(look, bend, free)
        if not found.converged:
            # From where the quadratics mislead: once more from a scale of common size.
            usual = np.where(self.pooled.scales, np.log(USUAL), free)
            again = self.pooled.mode(look, bend, self.pooled.moved(free, usual))
            found = again if again.converged else found
        return found

    def _log_jacobian(self, free: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        value, slope, bend = _log_jacobian(self.table, free)
        return float(value), np.asarray(slope), np.asarray(bend)

    def hessian(self, free: np.ndarray) -> np.ndarray:
        """Hessian of the marginal objective at a point, (size, size).

        That of the scale of a pooled parameter is of the density with all else integrated out.
        """
        return self.pooled.nested(free, self._raw_hessian(free))

    def _raw_hessian(self, free: np.ndarray) -> np.ndarray:
        if free.size == 0:
            return np.zeros((0, 0))
        return np.asarray(hessian(self.model, self.prior, free, self.problem, self._fresh(free)))

    @cached_property
    def _stale(self) -> float:
        return float(min(_STALE, 2.0 / np.sqrt(max(largest_size(self.problem.group), 1.0))))

    def _moved(self, free: np.ndarray) -> float:
        """Largest move of a free parameter since nodes were placed."""
        return np.inf if self._placed is None else float(np.max(np.abs(free - self._placed), initial=0.0))

    def _fresh(self, free: np.ndarray) -> Nodes:
        if self._moved(free) > 1e-4:
            self._placed = None
        return self.nodes(free)


def starting_points(model: BehaviorModel, table: ParameterTable) -> list[np.ndarray]:
    """Every combination of the components' starting values; what none of them names starts at the free origin."""
    schema = table.schema
    lists: list[Sequence[Values]] = [component.starts(schema) for component in model.components]
    origin = table.unpack(NUMPY, np.zeros(table.size))
    points = []
    for combination in product(*lists):
        values: dict[str, Any] = dict(origin)
        for part in combination:
            values.update(part)
        points.append(table.pack(values))
    return points
