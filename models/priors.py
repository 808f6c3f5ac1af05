"""Prior distributions that a parameter may be declared with.

Each prior knows its support, its log-density on the constrained scale (no Jacobian) and how to draw from itself. The
set is small on purpose: each must have an exact counterpart in NumPyro and in PyMC.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError
from .supports import POSITIVE, REAL, SIMPLEX, UNIT, ZERO_SUM, Above, Support

__all__ = ["Beta", "Dirichlet", "HalfNormal", "HierarchicalNormal", "LogNormal", "Normal", "Prior", "ZeroSumNormal"]

_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True)
class Prior:
    """A proper prior over one parameter (all entries independent, or one joint vector along the last axis)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            lower = -np.inf if field.name in ("loc", "lower") else 0.0
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not np.isfinite(value) or not value > lower:
                raise EarnestError(
                    f"{type(self).__name__}({field.name}={value!r}): expected a finite number"
                    + (" greater than 0" if lower == 0.0 else "")
                )

    @property
    def support(self) -> Support:
        """The set on which the density is positive."""
        raise NotImplementedError

    @property
    def rests_on(self) -> str | None:
        """Name of the parameter, declared before, that this prior looks at (default: none)."""
        return None

    def given(self, values: Any) -> Prior:
        """The prior at the values of what it rests on."""
        return self

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        """Which entries of an estimate lie so near to the boundary that a normal approximation means nothing."""
        return self.support.on_boundary(value)

    def log_prob(self, xp: Any, value: Any) -> Any:
        """Log-density of a value, summed over its entries, nats (scalar)."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """One draw of this shape."""
        raise NotImplementedError


@dataclass(frozen=True)
class Normal(Prior):
    """Normal(loc, scale), entry by entry.

    Args:
        loc: mean, in the parameter's own unit.
        scale: standard deviation, in the same unit.
    """

    loc: float = 0.0
    scale: float = 1.0

    @property
    def support(self) -> Support:
        return REAL

    def log_prob(self, xp: Any, value: Any) -> Any:
        return xp.sum(-0.5 * ((value - self.loc) / self.scale) ** 2 - np.log(self.scale) - 0.5 * _LOG_2PI)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(self.loc, self.scale, shape)


@dataclass(frozen=True)
class HalfNormal(Prior):
    """The absolute value of Normal(0, scale), entry by entry.

    Args:
        scale: standard deviation of the normal whose absolute value it is, in the parameter's own unit.
    """

    scale: float = 1.0

    @property
    def support(self) -> Support:
        return POSITIVE

    def on_boundary(self, value: np.ndarray) -> np.ndarray:
        # Highest at 0, this density keeps no mode off it. EM then creeps towards 0, ever slower, and ends on its way.
        return super().on_boundary(value) | (np.asarray(value) < 1e-2 * self.scale)

    def log_prob(self, xp: Any, value: Any) -> Any:
        return xp.sum(-0.5 * (value / self.scale) ** 2 - np.log(self.scale) + 0.5 * np.log(2 / np.pi))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return np.abs(rng.normal(0.0, self.scale, shape))

    def estimate(self, xp: Any, squares: Any, n: int, prior: bool) -> Any:
        """Mode of the standard deviation of n normal numbers, mean 0, whose squares sum to this; without prior its ML.

        The derivative in t = scale^2 is a quadratic, solved so that nothing cancels.
        """
        if not prior:
            return xp.sqrt(squares / n)
        return xp.sqrt(2 * squares / (n + xp.sqrt(n**2 + 4 * squares / self.scale**2)))


@dataclass(frozen=True)
class HierarchicalNormal(Prior):
    """Normal(0, s), entry by entry, with s the value of the parameter named `scale`, declared before.

    With `zero_sum` conditioned to sum to zero along the last axis, as `ZeroSumNormal`.

    Args:
        scale: name of the parameter that is the standard deviation.
        zero_sum: whether the entries of the last axis sum to zero.
    """

    scale: str
    zero_sum: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.scale, str):
            raise EarnestError(f"HierarchicalNormal(scale={self.scale!r}): expected the name of a parameter")

    @property
    def support(self) -> Support:
        return ZERO_SUM if self.zero_sum else REAL

    @property
    def rests_on(self) -> str:
        return self.scale

    def given(self, values: Any) -> Prior:
        return _NormalGiven(values[self.scale], self.zero_sum)


@dataclass(frozen=True)
class _NormalGiven(Prior):
    """`HierarchicalNormal` with a scale of any backend's."""

    scale: Any
    zero_sum: bool

    def __post_init__(self) -> None:
        """Nothing to check: what is symbolic has no value."""

    @property
    def support(self) -> Support:
        return ZERO_SUM if self.zero_sum else REAL

    def log_prob(self, xp: Any, value: Any) -> Any:
        by_entry = -0.5 * (value / self.scale) ** 2 - xp.log(self.scale) - 0.5 * _LOG_2PI
        if not self.zero_sum:
            return xp.sum(by_entry)
        # The density is with respect to the subspace: one dimension less a vector.
        rows = xp.sum(by_entry, axis=-1) + xp.log(self.scale) + 0.5 * _LOG_2PI
        return xp.sum(rows)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        scale = np.asarray(self.scale)  # one, or one a draw
        standard = rng.standard_normal(shape)
        if self.zero_sum:
            standard = standard - standard.mean(axis=-1, keepdims=True)
        return np.asarray(scale.reshape(scale.shape + (1,) * (len(shape) - scale.ndim)) * standard)


@dataclass(frozen=True)
class LogNormal(Prior):
    """`value - lower` is the exponential of Normal(loc, scale), entry by entry.

    Args:
        loc: mean of log(value - lower): the median of the value is lower + exp(loc).
        scale: standard deviation of log(value - lower), so on the log scale, without unit.
        lower: where the support begins, in the parameter's own unit.
    """

    loc: float = 0.0
    scale: float = 1.0
    lower: float = 0.0

    @property
    def support(self) -> Support:
        return Above(self.lower)

    def log_prob(self, xp: Any, value: Any) -> Any:
        logs = xp.log(value - self.lower)
        return xp.sum(-0.5 * ((logs - self.loc) / self.scale) ** 2 - logs - np.log(self.scale) - 0.5 * _LOG_2PI)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return self.lower + rng.lognormal(self.loc, self.scale, shape)


@dataclass(frozen=True)
class Beta(Prior):
    """Beta(a, b), entry by entry.

    Args:
        a: first shape; a - 1 is what it adds to the successes.
        b: second shape; b - 1 is what it adds to the failures.
    """

    a: float = 2.0
    b: float = 2.0

    @property
    def support(self) -> Support:
        return UNIT

    def log_prob(self, xp: Any, value: Any) -> Any:
        return xp.sum((self.a - 1) * xp.log(value) + (self.b - 1) * xp.log1p(-value) - _betaln(self.a, self.b))

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.beta(self.a, self.b, shape)

    def estimate(self, xp: Any, successes: Any, failures: Any, prior: bool) -> Any:
        """Mode of a probability after counts (or, unless `prior`, their share), inside (0, 1); 1/2 without any."""
        a, b = (self.a - 1.0, self.b - 1.0) if prior else (0.0, 0.0)
        total = successes + failures + a + b
        share = xp.where(total > 0, (successes + a) / xp.where(total > 0, total, 1.0), 0.5)
        return xp.clip(share, 1e-12, 1 - 1e-12)


@dataclass(frozen=True)
class Dirichlet(Prior):
    """Symmetric Dirichlet with this concentration in each category, along the last axis.

    Args:
        concentration: of each category; 1 is uniform over the simplex.
    """

    concentration: float = 2.0

    @property
    def support(self) -> Support:
        return SIMPLEX

    def log_prob(self, xp: Any, value: Any) -> Any:
        size = int(value.type.shape[-1] if hasattr(value, "type") else value.shape[-1])
        constant = _gammaln(size * self.concentration) - size * _gammaln(self.concentration)
        rows = xp.sum((self.concentration - 1) * xp.log(value), axis=-1) + constant
        return xp.sum(rows)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.dirichlet(np.full(shape[-1], self.concentration), shape[:-1])

    def estimate(self, counts: Any, prior: bool) -> Any:
        """Mode of the shares after counts, along the last axis (or, unless `prior`, their shares).

        None where there may be none: concentration below 1.
        """
        if prior and self.concentration < 1:
            return None
        added = counts + (self.concentration - 1.0 if prior else 0.0) + 1e-300
        return added / added.sum(-1, keepdims=True)


@dataclass(frozen=True)
class ZeroSumNormal(Prior):
    """Independent Normal(0, scale) conditioned to sum to zero along the last axis.

    The density is with respect to the (n - 1)-dimensional volume of the sum-zero subspace.

    Args:
        scale: standard deviation before the condition; after it an entry's is scale * sqrt(1 - 1 / n).
    """

    scale: float = 2.0

    @property
    def support(self) -> Support:
        return ZERO_SUM

    def log_prob(self, xp: Any, value: Any) -> Any:
        shape = tuple(int(n) for n in (value.type.shape if hasattr(value, "type") else value.shape))
        free = int(np.prod(shape[:-1])) * (shape[-1] - 1)
        return xp.sum(-0.5 * (value / self.scale) ** 2) - free * (float(np.log(self.scale)) + 0.5 * _LOG_2PI)

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        draw = rng.normal(0.0, self.scale, shape)
        return draw - draw.mean(axis=-1, keepdims=True)


def _gammaln(x: float) -> float:
    from math import lgamma

    return lgamma(x)


def _betaln(a: float, b: float) -> float:
    return _gammaln(a) + _gammaln(b) - _gammaln(a + b)
