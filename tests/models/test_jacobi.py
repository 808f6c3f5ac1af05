"""Gauss-Jacobi rules on (0, 1): exact for polynomials, differentiable, the same in three array libraries."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import special

from earnest.models.jacobi import gauss_jacobi
from earnest.models.namespace import NUMPY, jax_namespace, pytensor_namespace

JNP = jax_namespace()
SHAPES = [(0.05, 0.05), (0.05, 200.0), (200.0, 0.05), (0.3, 0.6), (1.0, 1.0), (0.5, 1.5), (2.0, 7.0), (200.0, 200.0)]
SIZES = (1, 2, 3, 5, 8, 13, 24, 32)


def exact_log_moments(alpha, beta, powers, others):
    """log E[eta^s (1 - eta)^t] under Beta(alpha, beta)."""
    return special.betaln(alpha + powers, beta + others) - special.betaln(alpha, beta)


@pytest.mark.parametrize(("alpha", "beta"), SHAPES)
def test_moments_are_exact(alpha, beta):
    """K nodes integrate eta^s (1 - eta)^t exactly for s + t < 2K: every term of a user's likelihood."""
    for size in SIZES:
        nodes, log_weights = gauss_jacobi(NUMPY, alpha, beta, size)
        # In the tails of an extreme population the outermost node rounds to an end.
        assert np.all(np.diff(nodes) > 0)
        assert nodes[0] > -1e-15
        assert nodes[-1] < 1 + 1e-15
        assert special.logsumexp(log_weights) == pytest.approx(0.0, abs=1e-10)
        for degree in {0, 1, size, 2 * size - 1}:
            s = np.arange(degree + 1)
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = special.xlogy(s[:, None], nodes.clip(0)) + special.xlogy(
                    degree - s[:, None], (1 - nodes).clip(0)
                )
            found = special.logsumexp(log_weights + terms, axis=1)
            exact = exact_log_moments(alpha, beta, s, degree - s)
            # Moments far below rounding (1e-15 of an eta near 1) carry the nodes' absolute error.
            np.testing.assert_allclose(np.exp(found), np.exp(exact), rtol=1e-8, atol=1e-13)


def test_one_node_too_few_is_not_exact():
    """Negative control: degree 2K is beyond the rule."""
    nodes, log_weights = gauss_jacobi(NUMPY, 0.7, 1.9, 4)
    found = np.exp(log_weights) @ nodes**8
    assert abs(found / np.exp(exact_log_moments(0.7, 1.9, 8, 0)) - 1) > 1e-6


def exact_slopes(alpha, beta, p, c, n):
    """d log E[(p eta + c (1 - eta))^n] / d(alpha, beta), by mpmath from the sum over Beta functions."""
    with mpmath.workdps(40):

        def log_mean(a, b):
            terms = (
                mpmath.binomial(n, s) * mpmath.mpf(p) ** s * mpmath.mpf(c) ** (n - s) * mpmath.beta(a + s, b + n - s)
                for s in range(n + 1)
            )
            return mpmath.log(mpmath.fsum(terms) / mpmath.beta(a, b))

        a, b = mpmath.mpf(alpha), mpmath.mpf(beta)
        return float(mpmath.diff(lambda x: log_mean(x, b), a)), float(mpmath.diff(lambda x: log_mean(a, x), b))


@pytest.mark.parametrize(("alpha", "beta"), SHAPES)
def test_slopes_are_exact_though_the_nodes_move(alpha, beta):
    p, c = 0.83, 0.31
    with jax.enable_x64(True):
        for size in (1, 4, 9):
            n = 2 * size - 1

            def log_mean(shape, size=size, n=n):
                nodes, log_weights = gauss_jacobi(JNP, shape[0], shape[1], size)
                return jax.scipy.special.logsumexp(log_weights + n * jnp.log(p * nodes + c * (1 - nodes)))

            found = jax.jit(jax.grad(log_mean))(jnp.array([alpha, beta]))
            np.testing.assert_allclose(found, exact_slopes(alpha, beta, p, c, n), rtol=1e-7, atol=1e-11)


def test_three_libraries_agree():
    """Nodes, weights and the slopes of a mean, every size in one PyTensor function."""
    sizes = (1, 2, 7, 16)
    alpha, beta = pt.dscalar("alpha"), pt.dscalar("beta")
    outputs = []
    for size in sizes:
        nodes, log_weights = gauss_jacobi(pytensor_namespace(), alpha, beta, size)
        mean = pt.sum(pt.exp(log_weights) * pt.log(1 + nodes))
        outputs += [nodes, log_weights, *pt.grad(mean, [alpha, beta])]
    function = pytensor.function(
        [alpha, beta], outputs, mode=pytensor.compile.Mode("py", None), on_unused_input="ignore"
    )

    def mean_of(shape, size):
        nodes, log_weights = gauss_jacobi(JNP, shape[0], shape[1], size)
        return jnp.sum(jnp.exp(log_weights) * jnp.log(1 + nodes)), (nodes, log_weights)

    with jax.enable_x64(True):
        for i, size in enumerate(sizes):
            compiled = jax.jit(lambda shape, size=size: jax.value_and_grad(mean_of, has_aux=True)(shape, size))
            for a, b in SHAPES:
                nodes, log_weights, *slopes = function(a, b)[4 * i : 4 * i + 4]
                (_, ours), ours_slopes = compiled(jnp.array([a, b]))
                plain = gauss_jacobi(NUMPY, a, b, size)
                for third, one, other in zip((nodes, log_weights), plain, ours, strict=True):
                    np.testing.assert_allclose(third, one, rtol=1e-10, atol=1e-10)
                    np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-10)
                np.testing.assert_allclose(slopes, ours_slopes, rtol=1e-8, atol=1e-10, err_msg=f"{a} {b} {size}")
