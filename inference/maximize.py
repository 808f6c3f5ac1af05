"""The M-step: each component maximises its own expected complete-data log-density (plus log prior).

Closed form where the component offers one; damped Newton steps on the free scale otherwise. A step is taken only if it
does not lower the function, so that EM stays monotone however rough the Hessian is. For components with many parameters
the Hessian costs more than the E-step; they take one step an iteration with a metric that is renewed now and then, and
where even that is dear, one by conjugate gradients, which need no more than products of the Hessian with a vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..models.behavior import BehaviorModel
from ..models.component import CellView, Finite
from ..models.gold import GOLD_USER
from ..models.kinds import Kinds
from ..models.parameters import Parameter, ParameterTable
from .arrays import JNP
from .marginal import Expectation, Problem
from .nodes import Nodes

__all__ = [
    "BOX", "Evidence", "climb", "evidence_for", "inverse_metric", "maximize_attention", "maximize_outcomes",
    "maximize_population", "newton",
]  # fmt: skip

_STEPS = 3
_HALVINGS = 12
BOX = 12.0
"""Free coordinates go no further (a positive parameter 160,000, log-odds 12): where the optimum lies at infinity, the
ascent ends there and the parameter's status is `boundary`."""

_MANY = 8  # parameters of a component beyond which its metric is kept between iterations
_HUNDREDS = 100  # and beyond which there is none
# Conjugate gradients end when the slope that is left is this part of the first, or after so many products.
_ENOUGH, _PRODUCTS = 0.05, 24


def newton(function: Callable[[Any], Any], start: Any) -> Any:
    """A few Newton steps uphill on a smooth function, each damped until the function does not fall.

    Directions of negative curvature are turned uphill (absolute eigenvalues), flat ones are limited in length.
    """

    def step(state: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        count, z, _ = state
        inverse = _inverse(jax.hessian(function)(z))
        z, gain = _damped(function, z, inverse)
        return count + 1, z, gain

    def unfinished(state: tuple[Any, Any, Any]) -> Any:
        return (state[0] < _STEPS) & (state[2] > 1e-11)

    return jax.lax.while_loop(unfinished, step, (0, start, jnp.asarray(jnp.inf)))[1]


def _inverse(hessian: Any) -> Any:
    """Inverse of minus the Hessian with absolute, floored eigenvalues, (size, size)."""
    eigenvalues, vectors = jnp.linalg.eigh(-0.5 * (hessian + hessian.T))
    curvature = jnp.maximum(jnp.abs(eigenvalues), 1e-9 * (1.0 + jnp.max(jnp.abs(eigenvalues))))
    return (vectors / curvature) @ vectors.T


def _damped(function: Callable[[Any], Any], z: Any, inverse: Any) -> tuple[Any, Any]:
    """One step uphill, halved until the function does not fall; also the gain that its slope promised."""
    value, gradient = jax.value_and_grad(function)(z)
    return _along(function, z, inverse @ gradient, value, gradient)


def _along(function: Callable[[Any], Any], z: Any, direction: Any, value: Any, gradient: Any) -> tuple[Any, Any]:
    """A step from z in this direction, as in `_damped`; value and gradient are those at z."""
    direction = direction / jnp.maximum(1.0, jnp.max(jnp.abs(direction)) / 2.0)

    reach = jnp.maximum(BOX, jnp.max(jnp.abs(z)))

    def too_long(trial: tuple[Any, Any]) -> Any:
        t, halvings = trial
        end = z + t * direction
        return (halvings < _HALVINGS) & ~((function(end) >= value) & (jnp.max(jnp.abs(end)) <= reach))

    t, halvings = jax.lax.while_loop(too_long, lambda s: (s[0] / 2, s[1] + 1), (jnp.asarray(1.0), 0))
    moved = jnp.where(halvings < _HALVINGS, t, 0.0)
    return z + moved * direction, jnp.abs(gradient @ direction) * moved


def _by_conjugate_gradients(function: Callable[[Any], Any], z: Any) -> Any:
    """One damped step towards the mode of the quadratic that touches the function at z (truncated Newton).

    Where the function bends upwards along a direction, the way ends there (Steihaug 1983, SIAM J. Numer. Anal. 20).
    """
    value = function(z)
    gradient, bend = jax.linearize(jax.grad(function), z)
    first = gradient @ gradient

    def unfinished(state: tuple[Any, ...]) -> Any:
        count, _, _, _, left, usable = state
        return (count < _PRODUCTS) & (left > _ENOUGH**2 * first) & usable

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        count, move, residual, direction, left, _ = state
        image = -bend(direction)
        curvature = direction @ image
        usable = curvature > 1e-12 * (direction @ direction)
        share = jnp.where(usable, left / jnp.where(usable, curvature, 1.0), 0.0)
        move, residual = move + share * direction, residual - share * image
        after = residual @ residual
        return count + 1, move, residual, residual + (after / left) * direction, after, usable

    begin = (0, jnp.zeros_like(z), gradient, gradient, first, first > 0)
    move = jax.lax.while_loop(unfinished, advance, begin)[1]
    # Where even the first direction bends upwards, the slope itself.
    move = jnp.where(jnp.any(move != 0), move, gradient)
    return _along(function, z, move, value, gradient)[0]


@dataclass(frozen=True)
class Evidence:
    """What the E-step tells a preference or casual component.

    Attributes:
        component: which learns from it.
        cells: the cells that it looks at.
        weights: expected comparisons, (cell,), or (kind, cell) for a component that tells kinds of users apart.
        users: expected users of each of its kinds, (kind,), or None.
    """

    component: Any
    cells: CellView
    weights: Any
    users: Any


def evidence_for(
    model: BehaviorModel, cells: CellView, attended: Any, casual: Any, users: Any = None
) -> tuple[Evidence, Evidence]:
    """What preference and casual component learn from.

    Args:
        model: the declaration.
        cells: the cells.
        attended, casual: expected comparisons, (cell,) or (kind, cell).
        users: expected users of each kind, (kind,), or None: as many of each.
    """
    attended, casual = model.component_weights(JNP, cells, attended, casual)
    kinds = model.kinds(cells.schema)
    if kinds.size == 1:
        return Evidence(model.preference, cells, attended, None), Evidence(model.casual, cells, casual, None)
    users = jnp.ones(kinds.size) if users is None else users
    attentive, seen = kinds.of_component(attended, 1), cells
    if model.attentiveness.signed:
        # A contrary user's votes tell of the preference as if each had gone the other way.
        halves = [kinds.of_component(_where_sign(kinds, attended, sign), 1) for sign in (0, 1)]
        turned = cells.turned()
        if GOLD_USER in cells.context:
            sure = cells[GOLD_USER] > 0
            halves = [halves[0] + jnp.where(sure, halves[1], 0.0), jnp.where(sure, 0.0, halves[1])]
        seen = jax.tree.map(lambda one, other: jnp.concatenate([one, other]), cells, turned)
        attentive = jnp.concatenate(halves, axis=-1)
    careless = kinds.of_component(casual, 2)
    parts = []
    for component, which, view, weights in (
        (model.preference, 1, seen, attentive), (model.casual, 2, cells, careless)
    ):  # fmt: skip
        told = kinds.shape[which] > 1
        own = kinds.of_component(users, which) if told else None
        parts.append(Evidence(component, view, weights if told else weights[0], own))
    return parts[0], parts[1]


def _where_sign(kinds: Kinds, values: Any, sign: int) -> Any:
    """Of (kind, cell) those of one sign of attentiveness, the others 0."""
    signs = np.repeat(np.arange(kinds.shape[0]), kinds.size // kinds.shape[0])
    return jnp.where((signs == sign)[:, None], values, 0.0)


def maximize_outcomes(evidence: Evidence, table: ParameterTable, free: Any, prior: bool, metric: Any = None) -> Any:
    """M-step of a preference or casual component: maximise sum_c weights_c log_prob_c (+ log prior).

    Where it tells kinds of users apart, the sum goes over them, too, and over the users of each.

    Args:
        evidence: what it learns from.
        table: all unknowns.
        free: all free parameters (size,).
        prior: whether the log prior counts.
        metric: inverse metric of all free parameters (`inverse_metric`), for components with many.

    Returns:
        all free parameters, with the component's own replaced.
    """
    component, schema = evidence.component, table.schema
    open_ = component.parameters(schema)
    if evidence.users is not None:
        closed = component.maximize_kinds(evidence.users, prior)
        free = _placed(table, free, tuple(p for p in open_ if p.name in closed), closed)
        open_ = tuple(p for p in open_ if p.name not in closed)
    if not open_:
        return free
    closed = component.maximize(schema, evidence.cells, evidence.weights, prior)
    if closed is not None:
        free = _placed(table, free, tuple(p for p in open_ if p.name in closed), closed)
        open_ = tuple(p for p in open_ if p.name not in closed)
    if not open_:
        return free
    function, index = _expected(evidence, table, open_, free, prior)
    if index.shape[0] > _HUNDREDS:
        return free.at[index].set(_by_conjugate_gradients(function, free[index]))
    if metric is not None and index.shape[0] > _MANY:
        return free.at[index].set(_damped(function, free[index], metric[jnp.ix_(index, index)])[0])
    return free.at[index].set(newton(function, free[index]))


def maximize_attention(
    model: BehaviorModel, table: ParameterTable, free: Any, cells: CellView, expected: Expectation, prior: bool
) -> Any:
    """M-step of what comes about with the votes, and of how long a state lasts."""
    own = () if model.attention is None else model.attention.parameters(table.schema)
    if not own:
        return free
    votes = tuple(part if part.ndim == 1 else part.sum(0) for part in (expected.attended, expected.casual))

    def density(values: dict[str, Any]) -> Any:
        terms = []
        if (seen := model.evidence(JNP, values, cells)) is not None:
            terms += list(zip(votes, seen, strict=True))
        if (stay := model.stay(JNP, values)) is not None:
            terms += [(expected.changes[0], jnp.log(stay)), (expected.changes[1], jnp.log1p(-stay))]
        return sum(jnp.sum(jnp.where(n > 0, n * log, 0.0)) for n, log in terms)

    function, index = _own_function(table, own, free, density, prior)
    return free.at[index].set(newton(function, free[index]))


def climb(own: tuple[Parameter, ...], table: ParameterTable, free: Any, objective: Callable[[Any], Any]) -> Any:
    """One damped Newton step of some parameters on a function of all free parameters (size,)."""
    slices = [table.slices[p.name] for p in own]
    index = np.concatenate([np.arange(s.start, s.stop) for s in slices])

    def function(part: Any) -> Any:
        return objective(free.at[index].set(part))

    start = free[index]
    slope = jax.grad(function)
    hessian = jax.lax.map(lambda direction: jax.jvp(slope, (start,), (direction,))[1], jnp.eye(len(index)))
    return free.at[index].set(_damped(function, start, _inverse(hessian))[0])


def inverse_metric(parts: tuple[Evidence, ...], table: ParameterTable, free: Any, prior: bool) -> Any:
    """Inverse curvature of the M-steps of components with many parameters, (size, size), zero elsewhere.

    Args:
        parts: what outcome components learn from.
        table: all unknowns.
        free: all free parameters (size,).
        prior: whether the log prior counts.
    """
    metric = jnp.zeros((table.size, table.size))
    for evidence in parts:
        component = evidence.component
        own = component.parameters(table.schema)
        if not own or component.maximize(table.schema, evidence.cells, evidence.weights, prior) is not None:
            continue
        function, index = _expected(evidence, table, own, free, prior)
        if _MANY < index.shape[0] <= _HUNDREDS:
            metric = metric.at[jnp.ix_(index, index)].set(_inverse(jax.hessian(function)(free[index])))
    return metric


def needs_metric(model: BehaviorModel, table: ParameterTable) -> bool:
    """Whether any outcome component has many parameters, and not hundreds."""
    sizes = (
        sum(p.support.free_size(table.shape(p)) for p in component.parameters(table.schema))
        for component in (model.preference, model.casual)
    )
    return any(_MANY < size <= _HUNDREDS for size in sizes)


def _expected(
    evidence: Evidence, table: ParameterTable, own: tuple[Any, ...], free: Any, prior: bool
) -> tuple[Callable[[Any], Any], Any]:
    """The expected complete-data log-density of a component as a function of its own free parameters; their indices."""
    weights, users = evidence.weights, evidence.users

    def expected(values: dict[str, Any]) -> Any:
        log_prob = evidence.component.log_prob(JNP, values, evidence.cells)
        # A cell without weight must not turn log 0 into NaN.
        total = jnp.sum(jnp.where(weights > 0, weights * log_prob, 0.0))
        return total if users is None else total + jnp.sum(users * evidence.component.log_kinds(JNP, values))

    return _own_function(table, own, free, expected, prior)


def maximize_population(
    model: BehaviorModel, table: ParameterTable, free: Any, problem: Problem, nodes: Nodes,
    expected: Expectation, prior: bool,
) -> Any:  # fmt: skip
    """M-step of the population, from the expected statistics of the users' latents."""
    component = model.attentiveness
    # Of its slopes the users' latents tell nothing: they are climbed.
    own = tuple(p for p in component.parameters(problem.cells.schema) if p.name not in component.slopes)
    if not own:
        return free
    kind = component.latents(problem.cells.schema)
    closed = component.maximize_weights(expected.population[0], prior) if isinstance(kind, Finite) else None
    if closed is not None:
        return _placed(table, free, own, closed)

    def density(values: dict[str, Any]) -> Any:
        if isinstance(kind, Finite):
            users, attended, casual = expected.population
            latent = jnp.arange(kind.size)
            log_a, log_rest = component.attention(JNP, values, latent)
            terms = (
                (users, component.log_weights(JNP, values, latent)), (attended, log_a), (casual, log_rest)
            )  # fmt: skip
            return sum(jnp.sum(jnp.where(weight > 0, weight * log, 0.0)) for weight, log in terms)
        if component.statistics(JNP, jnp.zeros(1)) is not None:
            mean = tuple(s / expected.users for s in expected.population)
            return expected.users * component.log_weights_at(JNP, values, mean)
        return jnp.sum(expected.population[0] * component.log_weights(JNP, values, nodes.latent))

    function, index = _own_function(table, own, free, density, prior)
    return free.at[index].set(newton(function, free[index]))


def _placed(table: ParameterTable, free: Any, own: tuple[Any, ...], closed: dict[str, Any]) -> Any:
    """All free parameters with a component's own at these values."""
    for parameter in own:
        value = jnp.ravel(parameter.support.free(closed[parameter.name], jnp))
        free = free.at[table.slices[parameter.name]].set(value)
    return free


def _own_function(
    table: ParameterTable, own: tuple[Any, ...], free: Any, density: Callable[[dict[str, Any]], Any], prior: bool
) -> tuple[Callable[[Any], Any], Any]:
    """A component's objective as a function of its own free coordinates, and their indices.

    The scale of a pooled parameter stays where it is: see `pooled.py`.
    """
    own = tuple(p for p in own if p.name not in table.pooled.values())
    slices = [table.slices[p.name] for p in own]
    index = np.concatenate([np.arange(s.start, s.stop) for s in slices])

    def function(part: Any) -> Any:
        values = table.unpack(JNP, free.at[index].set(part))
        log_prior = sum(p.prior.given(values).log_prob(JNP, values[p.name]) for p in own) if prior else 0.0
        return density(values) + log_prior

    return function, index
