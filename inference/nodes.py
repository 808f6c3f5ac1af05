"""Quadrature nodes for a population on (0, 1).

With x = logit(eta), a user's posterior density is proportional to p(x) prod_c m_c(x)^n_c. Under a Beta population it
has one mode (the log-density's slope divided by eta (1 - eta) falls monotonically) and is analytic in the strip
|Im x| < pi, with exponential tails that may be hundreds of units long (alpha = 0.05) or a peak a thousandth wide
(100,000 comparisons). The trapezoidal rule in t under x = centre + s sinh(t) is spectrally accurate for such functions.

Sparse groups: nodes follow each pattern, dense at its mode, between the points where the density has fallen by
exp(-40).
Dense groups: one set of nodes serves all; its spacing is bounded by the curvature that any pattern can have
(|d^2 log m / dx^2| <= 1/4), its range covers every pattern's posterior.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparisons.schema import Schema
from ..models.behavior import BehaviorModel
from ..models.component import Finite
from .arrays import JNP, Dense, Group, over_chunks
from .bracket import Chances, log_likelihood

__all__ = ["NODES", "SHARED_NODES", "Nodes", "log_joint", "log_joint_by_kind", "place_nodes", "wanted"]

NODES = 96
"""Nodes a pattern. Over alpha, beta in [0.05, 200] and 0 to 100,000 comparisons the mean is within 1e-6 and the sd
within 1e-4 relative with room to spare (tests/inference/test_posterior.py); 64 nodes would just do, 32 would not."""

SHARED_NODES = (128, 192, 320, 640, 2048)
"""Sizes of a shared set of nodes; the first one whose spacing suffices is taken (each is compiled for itself)."""

_DROP = 40.0
# Spacing at the mode in units of the half-width, and the widest spacing that the poles at |Im x| = pi allow.
_SHARPNESS, _WIDEST = 2.9, 4.0
_SHARED_SCALE = 2.0
# Log-odds of up to ten million: a population with alpha = 6e-6 (the end of the free scale's box) reaches that far.
_FARTHEST = 1e7
_SCAN = np.sinh(np.linspace(-1.0, 1.0, 57) * np.arcsinh(2 * _FARTHEST)) / 2.0
_FINE_SCAN = np.sinh(np.linspace(-1.0, 1.0, 257) * np.arcsinh(_FARTHEST))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Nodes:
    """Values of the latent.

    Attributes:
        latent: logit of attentiveness, or index of the level: (chunk, pattern, node), or (chunk, 1, node) if shared.
        log_dx: log of the quadrature weight on the logit scale (0 for levels), the same shape.
        coarseness: spacing of shared nodes in units of what is needed (accurate up to 1).
    """

    latent: Any
    log_dx: Any
    coarseness: Any

    def over(self, chunks: int) -> Nodes:
        """Shared nodes for another number of chunks."""

        def spread(array: Any) -> Any:
            return jnp.broadcast_to(array[:1], (chunks, *array.shape[1:]))

        return Nodes(spread(self.latent), spread(self.log_dx), spread(self.coarseness))


def wanted(size: int, coarseness: float) -> int:
    """The size of a shared set of nodes that suffices where one of `size` over the same range has this coarseness.

    A coarseness that is not a number keeps the size: what is wrong there finer nodes do not mend.
    """
    needed = 1 + (size - 1) * coarseness
    return next((each for each in SHARED_NODES if each >= needed), SHARED_NODES[-1]) if needed > size else size


def log_joint(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, latent: Any, chances: Chances
) -> Any:
    """The log-joint log w_k + sum_c n_c log m_kc without quadrature weight, for one chunk, nats, (pattern, node).

    Kinds of users are summed out: all have the same nodes, which suit each of them.
    """
    joint = log_joint_by_kind(model, schema, values, group, latent, chances)
    return jax.scipy.special.logsumexp(joint, axis=0) if chances.by_kind else joint


def log_joint_by_kind(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, latent: Any, chances: Chances
) -> Any:
    """The same of each kind, (kind, pattern, node); without kinds (pattern, node)."""
    log_a, log_rest = model.attentiveness.attention(JNP, values, latent)
    log_lik = log_likelihood(group, jnp.exp(log_a), jnp.exp(log_rest), chances)
    return log_lik + _log_weights(model, schema, values, latent, chances)


def _log_weights(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], latent: Any, chances: Chances
) -> Any:  # fmt: skip
    """Log-weight of the latent, nats, with a leading axis of kinds where they are told apart."""
    weights = model.attentiveness.log_weights(JNP, values, latent)
    return model.kinds(schema).joined(weights, chances.log_shares) if chances.by_kind else weights


def place_nodes(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, chances: Chances, size: int
) -> Nodes:
    """Nodes for the patterns of a group, at these parameters; `size` is the number of shared nodes."""
    chunks, height = group.multiplicity.shape
    kind = model.attentiveness.latents(schema)
    if isinstance(kind, Finite):
        latent = jnp.broadcast_to(jnp.arange(kind.size), (chunks, 1, kind.size))
        return Nodes(latent, jnp.zeros((chunks, 1, kind.size)), jnp.zeros(chunks))
    if isinstance(group, Dense):
        return _shared(model, schema, values, group, chances, size)

    def place(piece: Group) -> tuple[Any, Any]:
        if chances.by_kind:
            return _follow_kinds(model, schema, values, piece, chances, height)
        return _follow(lambda x: log_joint(model, schema, values, piece, x, chances), height, NODES)

    latent, log_dx = over_chunks(place, group)
    return Nodes(latent, log_dx, jnp.zeros(chunks))


def _shared(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Dense, chances: Chances, size: int
) -> Nodes:
    scan = jnp.asarray(_FINE_SCAN)[None, :]

    def reach(piece: Dense) -> tuple[Any, Any, Any]:
        joint = log_joint(model, schema, values, piece, scan, chances) + jnp.log(jnp.sqrt(1 + scan**2))
        alive = joint > jnp.max(joint, axis=1, keepdims=True) - _DROP - 5.0
        any_alive = jnp.any(alive & (piece.multiplicity > 0)[:, None], axis=0)
        first = jnp.argmax(any_alive)
        last = scan.shape[1] - 1 - jnp.argmax(any_alive[::-1])
        return first, last, jnp.max(jnp.sum(piece.count, axis=1))

    first, last, largest = over_chunks(reach, group)
    low = scan[0, jnp.maximum(jnp.min(first) - 1, 0)]
    high = scan[0, jnp.minimum(jnp.max(last) + 1, scan.shape[1] - 1)]

    def prior(x: Any) -> Any:
        density = _log_weights(model, schema, values, x, chances)
        return jax.scipy.special.logsumexp(density, axis=0) if chances.by_kind else density

    bend = jnp.max(-jax.vmap(jax.grad(jax.grad(prior)))(jnp.linspace(-6.0, 6.0, 49)))
    needed = 0.9 / jnp.sqrt(jnp.max(largest) / 4 + jnp.maximum(bend, 0.05))
    ends = jnp.arcsinh(low / _SHARED_SCALE), jnp.arcsinh(high / _SHARED_SCALE)
    step = (ends[1] - ends[0]) / (size - 1)
    t = (ends[0] + step * jnp.arange(size))[None, None, :]
    chunks = group.multiplicity.shape[0]
    latent = jnp.broadcast_to(_SHARED_SCALE * jnp.sinh(t), (chunks, 1, size))
    log_dx = jnp.broadcast_to(jnp.log(_SHARED_SCALE * step) + jnp.log(jnp.cosh(t)), (chunks, 1, size))
    return Nodes(latent, log_dx, jnp.broadcast_to(_SHARED_SCALE * step / needed, (chunks,)))


def _follow_kinds(
    model: BehaviorModel, schema: Schema, values: dict[str, Any], group: Group, chances: Chances, height: int
) -> tuple[Any, Any]:
    """Nodes that follow the posterior of every kind of user at once, for one chunk.

    Each kind's density has a mode m_j and a width s_j of its own, and they may lie far apart. Equal steps in
    t = sum_j arcsinh((x - m_j) / s_j) are dense at all of them, and the map stays analytic; with one kind it is that of
    `_follow`. Kinds that are exp(-40) as probable as the best are left out.
    """

    def of_kind(kind: Any) -> tuple[Any, ...]:
        def density(x: Any) -> Any:
            one = replace(chances, p=chances.p[kind][None], c=chances.c[kind][None])
            log_a, log_rest = model.attentiveness.attention(JNP, values, x)
            log_lik = log_likelihood(group, jnp.exp(log_a), jnp.exp(log_rest), one)[0]
            return log_lik + _log_weights(model, schema, values, x, chances)[kind]

        mode, left, right = _located(density, height)
        return mode, left, right, density(mode) + jnp.log(left + right)

    kinds = model.kinds(schema)
    mode, left, right, mass = jax.lax.map(of_kind, jnp.arange(kinds.size))
    alive = mass > jnp.max(mass, axis=0) - _DROP
    scale = jnp.minimum(jnp.minimum(left, right) / _SHARPNESS, _WIDEST)
    low = jnp.min(jnp.where(alive, mode - left, jnp.inf), axis=0)
    high = jnp.max(jnp.where(alive, mode + right, -jnp.inf), axis=0)

    def steps(x: Any) -> Any:
        return jnp.sum(jnp.where(alive, jnp.arcsinh((x - mode) / scale), 0.0), axis=0)

    size = NODES * min(kinds.shape[0] * kinds.shape[1] + bool(kinds.never.any()), 4)
    first, last = steps(low), steps(high)
    step = (last - first) / (size - 1)
    wanted = first + step * jnp.arange(size)

    def halve(_: int, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        below, above = ends
        middle = 0.5 * (below + above)
        short = steps(middle) < wanted
        return jnp.where(short, middle, below), jnp.where(short, above, middle)

    ends = jnp.broadcast_to(low, wanted.shape), jnp.broadcast_to(high, wanted.shape)
    below, above = jax.lax.fori_loop(0, 60, halve, ends)
    latent = 0.5 * (below + above)
    slope = jnp.sum(jnp.where(alive, 1.0 / jnp.sqrt(scale**2 + (latent - mode) ** 2), 0.0), axis=0)
    return latent, jnp.log(step) - jnp.log(slope)


def _located(log_density: Callable[[Any], Any], height: int) -> tuple[Any, Any, Any]:
    """Mode of each pattern's density, and how far to its left and right it has fallen by `_DROP`, (pattern, 1) each."""
    scan = jnp.broadcast_to(jnp.asarray(_SCAN), (height, len(_SCAN)))
    mode = _zoom(log_density, scan)
    falls = _falls(log_density, mode)
    return mode, falls[:, :1], falls[:, 1:]


def _follow(log_density: Callable[[Any], Any], height: int, size: int) -> tuple[Any, Any]:
    mode, left, right = _located(log_density, height)
    scale = jnp.minimum(jnp.minimum(left, right) / _SHARPNESS, _WIDEST)
    low, high = -jnp.arcsinh(left / scale), jnp.arcsinh(right / scale)
    step = (high - low) / (size - 1)
    t = low + step * jnp.arange(size)
    return mode + scale * jnp.sinh(t), jnp.log(scale * step) + jnp.log(jnp.cosh(t))


def _zoom(log_density: Callable[[Any], Any], scan: Any) -> Any:
    """The mode, by repeatedly refining the best point of a grid. (pattern, 1)."""

    def bracket(grid: Any) -> tuple[Any, Any]:
        density = log_density(grid)
        best = jnp.argmax(jnp.where(jnp.isnan(density), -jnp.inf, density), axis=1)[:, None]
        low = jnp.take_along_axis(grid, jnp.maximum(best - 1, 0), axis=1)
        high = jnp.take_along_axis(grid, jnp.minimum(best + 1, grid.shape[1] - 1), axis=1)
        return low, high

    def refine(_: int, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        low, high = ends
        return bracket(low + (high - low) * jnp.linspace(0.0, 1.0, 9))

    low, high = jax.lax.fori_loop(0, 6, refine, bracket(scan))
    return 0.5 * (low + high)


def _falls(log_density: Callable[[Any], Any], mode: Any) -> Any:
    """Distances to the left and right of the mode at which the log-density has fallen by `_DROP`. (pattern, 2)."""
    size = 19
    distance = 1e-4 * 4.0 ** np.arange(size)
    density = log_density(mode + jnp.asarray(np.concatenate([[0.0], -distance, distance])))
    peak = density[:, :1]
    # Where the density underflows to nothing the comparison with NaN must count as "has fallen".
    fallen = ~(peak - density[:, 1:] < _DROP).reshape(-1, 2, size)
    first = jnp.where(fallen.any(2), jnp.argmax(fallen, axis=2), size - 1)
    outer = jnp.asarray(distance)[first]
    sides = jnp.asarray([-1.0, 1.0])

    def halve(_: int, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        near, far = ends
        middle = jnp.sqrt(near * far)
        beyond = ~(peak - log_density(mode + sides * middle) < _DROP)
        return jnp.where(beyond, near, middle), jnp.where(beyond, middle, far)

    return jax.lax.fori_loop(0, 5, halve, (outer / 4, outer))[1]
