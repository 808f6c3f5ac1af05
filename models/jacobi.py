"""Gauss-Jacobi quadrature on (0, 1), differentiable in the weight's exponents, against the array namespace.

With K nodes the mean of a polynomial of degree up to 2K - 1 under Beta(alpha, beta) is exact, and so is its derivative
in alpha and beta although the nodes move. A user's likelihood is such a polynomial in eta, of degree n_u.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .namespace import Namespace

__all__ = ["gauss_jacobi"]


def gauss_jacobi(xp: Namespace, alpha: Any, beta: Any, size: int) -> tuple[Any, Any]:
    """Nodes and log-weights of the Beta(alpha, beta) distribution.

    The nodes are eigenvalues of the Jacobi matrix T of the orthonormal polynomials. Their derivative is that of
    v' T v at fixed eigenvectors v (Hellmann-Feynman), so no derivative of an eigendecomposition is needed. Weights are
    Christoffel's 1 / sum_j p_j(x)^2, which keeps small ones accurate relative to themselves.

    Args:
        xp: array namespace.
        alpha, beta: shape parameters, scalars.
        size: number of nodes K.

    Returns:
        nodes (node,) in (0, 1), ascending, and log-weights (node,), nats; the weights sum to 1.

    Reference: Golub and Welsch (1969), Math. Comp. 23.
    """
    diagonal, off = _recurrence(xp, alpha, beta, size)
    identity, above = np.eye(size), np.eye(size, k=1)
    off_padded = xp.concatenate([off, np.zeros(1)])
    matrix = identity * diagonal[:, None] + above * off_padded[:, None] + above.T * off_padded[None, :]
    vectors = xp.eigenvectors(matrix)
    nodes = xp.sum(vectors * xp.matmul(matrix, vectors), axis=0)
    before, here = xp.zeros_like(nodes), xp.ones_like(nodes)
    total = here
    for j in range(size - 1):
        below = off[j - 1] if j else 0.0
        before, here = here, ((nodes - diagonal[j]) * here - below * before) / off[j]
        total = total + here * here
    return nodes, -xp.log(total)


def _recurrence(xp: Namespace, alpha: Any, beta: Any, size: int) -> tuple[Any, Any]:
    """Coefficients of x p_j = off_j p_(j+1) + diagonal_j p_j + off_(j-1) p_(j-1): (size,) and (size - 1,)."""
    total = alpha + beta
    # At j = 0 (diagonal) and j = 1 (off) the general formulas are 0 / 0 for some exponents; these are their limits.
    j = np.arange(1.0, size)
    rest = (alpha - beta) * (total - 2) / ((2 * j + total - 2) * (2 * j + total))
    diagonal = 0.5 + 0.5 * xp.concatenate([xp.stack([(alpha - beta) / total]), rest])
    j = np.arange(2.0, size)
    reach = 2 * j + total - 2
    later = 4 * j * (j + alpha - 1) * (j + beta - 1) * (j + total - 2) / (reach**2 * (reach**2 - 1))
    first = 4 * alpha * beta / (total**2 * (total + 1))
    off = 0.5 * xp.sqrt(xp.concatenate([xp.stack([first]), later])[: size - 1])
    return diagonal, off
