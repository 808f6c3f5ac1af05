"""Where a parameter may lie, and the smooth map between that set and unconstrained coordinates.

Optimisation and standard errors work on unconstrained coordinates; users see the constrained scale only. Every map is
written against the array namespace, so that samplers can use the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError

__all__ = ["POSITIVE", "REAL", "SIMPLEX", "UNIT", "ZERO_SUM", "Above", "Real", "Simplex", "Support", "Unit", "ZeroSum"]


@cache
def contrast(n: int) -> np.ndarray:
    """Orthonormal basis of the vectors of length n that sum to zero (Helmert). Shape (n, n - 1)."""
    basis = np.zeros((n, max(n - 1, 0)))
    for j in range(1, n):
        basis[:j, j - 1] = 1.0
        basis[j, j - 1] = -float(j)
        basis[:, j - 1] /= np.sqrt(j * (j + 1.0))
    return basis


@dataclass(frozen=True)
class Support:
    """A set of values with a bijection from free coordinates. Subclasses say which set."""

    def free_size(self, shape: tuple[int, ...]) -> int:
        """Number of free coordinates of a value of this shape."""
        return int(np.prod(shape))

    def folded(self, free: Any, shape: tuple[int, ...]) -> Any:
        """A vector of free coordinates in the shape that `constrain` takes for a value of this shape."""
        short = self.free_size(shape) != int(np.prod(shape))
        return free.reshape((*shape[:-1], -1) if short else shape)

    def constrain(self, xp: Any, free: Any) -> Any:
        """Free coordinates -> value. `free` has the value's shape, except along the last axis where a sum is fixed."""
        raise NotImplementedError

    def free(self, value: Any, xp: Any = np) -> Any:
        """Value -> free coordinates."""
        raise NotImplementedError

    def log_jacobian(self, xp: Any, free: Any) -> Any:
        """Log of the volume change of `constrain`, up to a constant (scalar; 0 where the map is linear)."""
        return 0.0

    def contains(self, value: np.ndarray) -> bool:
        """Whether a value lies in the set."""
        raise NotImplementedError

    def includes(self, other: Support) -> bool:
        """Whether every value of another support lies in this one."""
        return self == other

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        """Which entries lie so near to the boundary that a normal approximation means nothing. The value's shape."""
        return np.zeros(np.shape(value), dtype=bool)


@dataclass(frozen=True)
class Real(Support):
    """The real line."""

    def constrain(self, xp: Any, free: Any) -> Any:
        return free

    def free(self, value: Any, xp: Any = np) -> Any:
        return xp.asarray(value, dtype=float)

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.all(np.isfinite(value)))

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        # A log-odds of 8 is a probability of 3e-4 that no log of this world measures: the optimum is at infinity.
        return np.abs(value) > 8.0


@dataclass(frozen=True)
class Above(Support):
    """Numbers greater than `lower`."""

    lower: float = 0.0

    def includes(self, other: Support) -> bool:
        inside = isinstance(other, Above) and other.lower >= self.lower
        return inside or (isinstance(other, Unit) and self.lower <= 0)

    def constrain(self, xp: Any, free: Any) -> Any:
        return self.lower + xp.exp(free)

    def log_jacobian(self, xp: Any, free: Any) -> Any:
        return xp.sum(free)

    def free(self, value: Any, xp: Any = np) -> Any:
        return xp.log(xp.maximum(xp.asarray(value, dtype=float) - self.lower, 1e-300))

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.all(np.isfinite(value)) and np.all(np.asarray(value) > self.lower))

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        excess = np.asarray(value) - self.lower
        return (excess < 1e-5) | (excess > 1e5)


@dataclass(frozen=True)
class Unit(Support):
    """Numbers strictly between 0 and 1."""

    def constrain(self, xp: Any, free: Any) -> Any:
        return xp.exp(-xp.softplus(-free))

    def log_jacobian(self, xp: Any, free: Any) -> Any:
        return -xp.sum(xp.softplus(free) + xp.softplus(-free))

    def free(self, value: Any, xp: Any = np) -> Any:
        inside = xp.clip(xp.asarray(value, dtype=float), 1e-15, 1 - 1e-15)
        return xp.log(inside) - xp.log1p(-inside)

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.all(np.isfinite(value)) and np.all((np.asarray(value) > 0) & (np.asarray(value) < 1)))

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        return (np.asarray(value) < 1e-5) | (np.asarray(value) > 1 - 1e-5)


@dataclass(frozen=True)
class ZeroSum(Support):
    """Vectors (last axis) that sum to zero."""

    def free_size(self, shape: tuple[int, ...]) -> int:
        return int(np.prod(shape[:-1])) * max(shape[-1] - 1, 0)

    def constrain(self, xp: Any, free: Any) -> Any:
        # free has shape (..., n - 1); n is read off it, so the basis is a constant in every backend.
        return free @ contrast(_last(free) + 1).T

    def free(self, value: Any, xp: Any = np) -> Any:
        value = xp.asarray(value, dtype=float)
        return value @ contrast(value.shape[-1])

    def contains(self, value: np.ndarray) -> bool:
        value = np.asarray(value)
        return bool(np.all(np.isfinite(value)) and np.all(np.abs(value.sum(-1)) < 1e-6 * (1 + np.abs(value).max())))

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        return np.abs(value) > 8.0


@dataclass(frozen=True)
class Simplex(Support):
    """Vectors (last axis) of positive numbers that sum to one."""

    def free_size(self, shape: tuple[int, ...]) -> int:
        return int(np.prod(shape[:-1])) * max(shape[-1] - 1, 0)

    def constrain(self, xp: Any, free: Any) -> Any:
        scores = free @ contrast(_last(free) + 1).T
        shifted = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
        return shifted / xp.sum(shifted, axis=-1, keepdims=True)

    def log_jacobian(self, xp: Any, free: Any) -> Any:
        # The contrasts are orthonormal, so the volume element of the softmax is the product of the shares.
        return xp.sum(xp.log(self.constrain(xp, free)))

    def free(self, value: Any, xp: Any = np) -> Any:
        logs = xp.log(xp.maximum(xp.asarray(value, dtype=float), 1e-300))
        return logs @ contrast(logs.shape[-1])

    def contains(self, value: np.ndarray) -> bool:
        value = np.asarray(value)
        return bool(np.all(np.isfinite(value)) and np.all(value >= 0) and np.allclose(value.sum(-1), 1.0, atol=1e-8))

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        return np.asarray(value) < 1e-5


def _last(free: Any) -> int:
    size = free.type.shape[-1] if hasattr(free, "type") and hasattr(free.type, "shape") else free.shape[-1]
    if size is None:
        raise EarnestError("the last axis of a sum-constrained parameter must have a static length")
    return int(size)


REAL, POSITIVE, UNIT, ZERO_SUM, SIMPLEX = Real(), Above(0.0), Unit(), ZeroSum(), Simplex()
