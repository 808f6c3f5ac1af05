"""The array namespace that every log-probability is written against.

A component's density is one function of `xp`; the same source runs on NumPy (simulation, checks), `jax.numpy` (EM,
NumPyro) and `pytensor.tensor` (PyMC). Only names that the three libraries share may be used, plus the few numerically
careful functions below, which live in different places in each of them.

The namespace is an argument, never a global: two backends can be in use at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["NUMPY", "Namespace", "array_module", "jax_namespace", "pytensor_namespace"]


@dataclass(frozen=True)
class Namespace:
    """An array library seen through the names that all backends share.

    Attributes:
        module: the array library; any attribute not found here is looked up in it (`exp`, `log`, `where`, `stack`,
            `sqrt`, `sinh`, `arcsinh`, `sum`, ...).
        gammaln: log of the absolute gamma function.
        logsumexp: `(array, axis) -> array`.
        softplus: `log(1 + exp(x))` without overflow.
        log_ndtr: log of the standard normal distribution function, accurate in the lower tail.
        eigenvectors: of a symmetric matrix, in its columns, by ascending eigenvalue; a constant to differentiation.
        segment_sum: `(rows, segment of each row, number of segments) -> sum of each segment's rows`.
    """

    module: ModuleType
    gammaln: Callable[[Any], Any]
    logsumexp: Callable[..., Any]
    softplus: Callable[[Any], Any]
    log_ndtr: Callable[[Any], Any]
    eigenvectors: Callable[[Any], Any]
    segment_sum: Callable[[Any, np.ndarray, int], Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def log_sigmoid(self, x: Any) -> Any:
        """log(1 / (1 + exp(-x))), accurate in both tails."""
        return -self.softplus(-x)

    def betaln(self, a: Any, b: Any) -> Any:
        """Log of the Beta function."""
        return self.gammaln(a) + self.gammaln(b) - self.gammaln(a + b)


def _numpy_namespace() -> Namespace:
    from scipy.special import gammaln, log_ndtr, logsumexp

    return Namespace(
        np,
        gammaln,
        lambda a, axis=None: logsumexp(a, axis=axis),
        lambda x: np.logaddexp(0.0, x),
        log_ndtr,
        lambda matrix: np.linalg.eigh(matrix)[1],
        _segment_sum,
    )


def _segment_sum(rows: Any, segment: np.ndarray, size: int) -> Any:
    from scipy.sparse import csr_array

    rows = np.asarray(rows, dtype=float)
    gather = csr_array((np.ones(len(rows)), (segment, np.arange(len(rows)))), shape=(size, len(rows)))
    return gather @ rows


def jax_namespace() -> Namespace:
    """The namespace of `jax.numpy` (JAX is imported here and not before)."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import gammaln, log_ndtr, logsumexp

    return Namespace(
        jnp,
        gammaln,
        lambda a, axis=None: logsumexp(a, axis=axis),
        jax.nn.softplus,
        log_ndtr,
        lambda matrix: jnp.linalg.eigh(jax.lax.stop_gradient(matrix))[1],
        lambda rows, segment, size: jax.ops.segment_sum(rows, segment, size),
    )


def array_module(array: Any) -> Any:
    """NumPy for its own arrays, else `jax.numpy`: where a closed form of the M-step computes."""
    if isinstance(array, np.ndarray):
        return np
    import jax.numpy as jnp

    return jnp


def pytensor_namespace() -> Namespace:
    """The namespace of `pytensor.tensor` (PyTensor is imported here and not before)."""
    import pytensor.tensor
    from pytensor.gradient import disconnected_grad

    def log_ndtr(x: Any) -> Any:
        # Each branch on its own side only, so that the other's overflow reaches no gradient.
        low, high = pt.minimum(x, 0.0), pt.maximum(x, 0.0)
        below = pt.log(0.5 * pt.erfcx(-low / np.sqrt(2.0))) - 0.5 * low**2
        return pt.switch(x < 0, below, pt.log1p(-0.5 * pt.erfc(high / np.sqrt(2.0))))

    pt: Any = pytensor.tensor  # its stubs leave out what its __init__ takes from the math module
    return Namespace(
        pt,
        pt.gammaln,
        lambda a, axis=None: pt.logsumexp(a, axis=axis),
        pt.softplus,
        log_ndtr,
        lambda matrix: disconnected_grad(pt.linalg.eigh(matrix)[1]),
        lambda rows, segment, size: pt.zeros((size, *rows.shape[1:]))[segment].inc(rows),
    )


NUMPY = _numpy_namespace()
