"""Accelerated monotone ascent of a fixed-point map.

EM converges linearly and slowly where attentiveness and skills trade off. Anderson acceleration (Walker and Ni 2011,
SIAM J. Numer. Anal. 49; for EM: Henderson and Varadhan 2019, JCGS 28) mixes the last few steps; a mixed step that
lowers the objective is thrown away and the plain EM step, which cannot, is taken instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .maximize import BOX

__all__ = ["Ascent", "ascend"]

_MEMORY = 8
_PATIENCE = 30
_LONGEST = 1.5  # longest accelerated step, in free units (a factor of 4.5 on a positive parameter)


@dataclass
class Ascent:
    """The course of an ascent.

    Attributes:
        free: the best free parameters, (size,).
        trace: objective at every accepted point, nats.
        status: `converged`, `iteration_limit`, `non_finite` or `objective_decreased`.
        evaluations: calls of the map.
    """

    free: np.ndarray
    trace: list[float] = field(default_factory=list)
    status: str = "iteration_limit"
    evaluations: int = 0


def ascend(
    step: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    max_iterations: int,
    tolerance: float,
    accelerate: bool = True,
    report: Callable[[int, float], None] | None = None,
) -> Ascent:
    """Iterate `step`, which returns the objective at a point and the EM image of the point.

    Args:
        step: free parameters -> (objective there, image).
        start: free parameters, (size,).
        max_iterations: accepted points at most.
        tolerance: stop when the image is nearer than this in every coordinate and the objective's relative change is
            below `tolerance ** 1.5`, or when the objective has gained nothing for 30 iterations.
        accelerate: use Anderson steps.
        report: called with (iteration, objective).
    """
    out = Ascent(np.array(start, dtype=float))
    points: list[np.ndarray] = []
    residuals: list[np.ndarray] = []
    objective, image = step(out.free)
    out.evaluations = 1
    if not np.isfinite(objective) or not np.all(np.isfinite(image)):
        out.status = "non_finite"
        return out
    out.trace.append(objective)
    for iteration in range(max_iterations):
        residual = image - out.free
        points, residuals = [*points, out.free][-_MEMORY:], [*residuals, residual][-_MEMORY:]
        change = np.inf if len(out.trace) < 2 else abs(out.trace[-1] - out.trace[-2]) / (1 + abs(out.trace[-1]))
        still = residual.size == 0 or (np.max(np.abs(residual)) < tolerance and change < tolerance**1.5)
        if still or _flat(out.trace):
            out.status = "converged"
            return out
        candidate = _mixed(points, residuals) if accelerate and len(points) > 1 else image
        accepted = _try(step, candidate, objective, out)
        if accepted is None and candidate is not image:
            points, residuals = [], []
            candidate = image
            accepted = _try(step, image, objective, out)
        if accepted is None:
            out.status = "objective_decreased" if np.all(np.isfinite(image)) else "non_finite"
            return out
        out.free, (objective, image) = candidate, accepted
        out.trace.append(objective)
        if report is not None:
            report(iteration + 1, objective)
    return out


def _flat(trace: list[float]) -> bool:
    """Whether the last iterations gained nothing: the parameters wander along a direction the data leave flat."""
    return len(trace) > _PATIENCE and trace[-1] - trace[-_PATIENCE] < 1e-12 * (1 + abs(trace[-1]))


def _try(
    step: Callable[[np.ndarray], tuple[float, np.ndarray]], candidate: np.ndarray, objective: float, out: Ascent
) -> tuple[float, np.ndarray] | None:
    """Evaluate a candidate; None if it lowers the objective beyond rounding or is not finite."""
    value, image = step(candidate)
    out.evaluations += 1
    slack = 1e-10 * (1 + abs(objective))
    if not np.isfinite(value) or not np.all(np.isfinite(image)) or value < objective - slack:
        return None
    return value, image


def _mixed(points: list[np.ndarray], residuals: list[np.ndarray]) -> np.ndarray:
    """Anderson's mixture of the last points, regularised; limited in length."""
    dx = np.diff(np.stack(points), axis=0).T
    dr = np.diff(np.stack(residuals), axis=0).T
    gram = dr.T @ dr
    ridge = 1e-10 * np.trace(gram) + 1e-300
    weights = np.linalg.solve(gram + ridge * np.eye(len(gram)), dr.T @ residuals[-1])
    move = residuals[-1] - (dx + dr) @ weights
    mixed = points[-1] + move / max(1.0, np.max(np.abs(move)) / _LONGEST)
    reach = np.maximum(BOX, np.abs(points[-1]))
    return np.asarray(np.clip(mixed, -reach, reach))


def uphill(slope: np.ndarray, curvature: np.ndarray) -> np.ndarray:
    """Newton direction with absolute eigenvalues, at most 1 free unit long."""
    eigenvalues, vectors = np.linalg.eigh(-curvature)
    size = np.maximum(np.abs(eigenvalues), 1e-9 * (1.0 + np.abs(eigenvalues).max(initial=0.0)))
    move = vectors @ ((vectors.T @ slope) / size)
    return np.asarray(move / max(1.0, np.max(np.abs(move), initial=0.0)))
