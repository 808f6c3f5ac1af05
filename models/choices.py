"""What users do with what they are shown: the generative story of one vote after the other.

Nothing here evaluates the likelihood, so that simulator and density check each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparisons.context import PREVIOUS
from ..comparisons.schema import Schema
from .component import CellView
from .covariates import shifted
from .namespace import NUMPY

if TYPE_CHECKING:
    from .behavior import BehaviorModel

__all__ = ["Choices", "Users", "carried", "choose", "draw_users", "in_turn", "with_covariates"]


@dataclass(frozen=True)
class Users:
    """Users as the population has them.

    Attributes:
        attentiveness: (user,); 0 of a kind that never attends, negative of one that picks the worse.
        kind: index in the model's `Kinds`, (user,); 0 where none are told apart.
    """

    attentiveness: np.ndarray
    kind: np.ndarray


def draw_users(
    model: BehaviorModel, rng: np.random.Generator, values: Mapping[str, Any], schema: Schema, sure: np.ndarray
) -> Users:
    """New users, whom nothing is known of; those who are known to attend (user,) do, in earnest."""
    size, kinds = len(sure), model.kinds(schema)
    eta = np.asarray(model.attentiveness.sample(rng, values, size), dtype=float)
    eta = np.where(sure, 1.0, eta)
    if kinds.size == 1:
        return Users(eta, np.zeros(size, dtype=int))
    sign = (eta < 0).astype(int)
    preference, casual = (
        rng.choice(n, size=size, p=np.exp(part.log_kinds(NUMPY, values))) if n > 1 else np.zeros(size, dtype=int)
        for part, n in ((model.preference, kinds.shape[1]), (model.casual, kinds.shape[2]))
    )
    kind = np.ravel_multi_index((sign, preference, casual), kinds.shape)
    kind = np.where(sure, kinds.in_earnest(kind), kind)
    return Users(np.where(kinds.never[kind], 0.0, eta), kind)


def with_covariates(
    model: BehaviorModel, values: Mapping[str, Any], view: CellView, users: Users, owner: np.ndarray
) -> Users:  # fmt: skip
    """Users with the attentiveness that goes with what is known of them.

    Args:
        model: the declaration (settled).
        values: the globals.
        view: what is shown, (comparison,), at least once to each user of whom anything is known.
        users: as `draw_users` has them.
        owner: index of each comparison's user, (comparison,).
    """
    offset = model.offset(NUMPY, values, view)
    if offset is None:
        return users
    size = len(users.attentiveness)
    votes = np.bincount(owner, minlength=size)
    mean = np.bincount(owner, weights=np.asarray(offset), minlength=size) / np.maximum(votes, 1)
    moved = np.sign(users.attentiveness) * shifted(NUMPY, np.abs(users.attentiveness), mean)
    return replace(users, attentiveness=moved)


@dataclass(frozen=True)
class Choices:
    """What users did, in the order of what they were shown.

    Attributes:
        attended: whether they attended, (comparison,).
        outcome: 0, 1 or 2, (comparison,).
        told: the columns that came about with it, as cells have them, {name: (comparison,)}.
    """

    attended: np.ndarray
    outcome: np.ndarray
    told: dict[str, np.ndarray]


def choose(
    model: BehaviorModel, rng: np.random.Generator, values: Mapping[str, Any], view: CellView, users: Users,
    owner: np.ndarray,
) -> Choices:  # fmt: skip
    """What users do with the comparisons that they are shown.

    Args:
        model: the declaration (settled).
        rng: of the choices.
        values: the globals.
        view: what is shown, (comparison,), each user's in the order of time.
        users: who is asked.
        owner: index of each comparison's user, (comparison,).
    """
    attended = _attended(model, rng, values, view, users, owner)
    told = {} if model.attention is None else model.attention.tell(rng, values, attended, view)
    if PREVIOUS not in model.context:
        return Choices(attended, _outcomes(model, rng, values, view, users, owner, attended), told)
    outcome, before = np.zeros(len(owner), dtype=int), np.zeros(len(owner), dtype=int)
    last = None
    for rows in in_turn(owner):
        if last is not None:
            before[rows] = 1 + outcome[last[: len(rows)]]
        shown = view.rows(rows, **{PREVIOUS: before[rows]})
        outcome[rows] = _outcomes(model, rng, values, shown, users, owner[rows], attended[rows])
        last = rows
    return Choices(attended, outcome, {**told, PREVIOUS: before})


def in_turn(owner: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the users' first rows, of their second ones, ..., users with most rows first."""
    order = np.argsort(owner, kind="stable")
    size = np.bincount(owner)
    start = np.cumsum(size) - size
    busy = np.argsort(-size, kind="stable")
    for turn in range(int(size.max(initial=0))):
        busy = busy[size[busy] > turn]
        yield order[start[busy] + turn]


def _attended(
    model: BehaviorModel, rng: np.random.Generator, values: Mapping[str, Any], view: CellView, users: Users,
    owner: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Whether each comparison is attended, (comparison,)."""
    attention = np.abs(users.attentiveness)[owner]
    moved = model.moved(NUMPY, values, view)  # what is known of users is in their attentiveness
    if moved is not None:
        with np.errstate(divide="ignore"):
            logit = np.log(attention) - np.log1p(-attention) + np.asarray(moved)
        attention = np.exp(-np.logaddexp(0.0, -logit))
    attended = np.asarray(rng.random(len(owner)) < attention)
    stay = model.stay(NUMPY, values)
    if stay is None:
        return attended
    return carried(attended, rng.random(len(owner)), np.asarray(stay), list(in_turn(owner)))


def carried(tossed: np.ndarray, held: np.ndarray, stay: np.ndarray, turns: Sequence[np.ndarray]) -> np.ndarray:
    """States of users' votes where one may be held over to the next, as `tossed`, (row,) of 0 and 1.

    Args:
        tossed: states as they would be tossed, (row,).
        held: random numbers that decide whether the state before is held, (row,).
        stay: probability of that by state, (state,).
        turns: see `in_turn`.
    """
    state = tossed.copy()
    for before, rows in pairwise(turns):
        last = state[before[: len(rows)]]
        state[rows] = np.where(held[rows] < stay[last.astype(int)], last, state[rows])
    return state


def _outcomes(
    model: BehaviorModel, rng: np.random.Generator, values: Mapping[str, Any], view: CellView, users: Users,
    owner: np.ndarray, attended: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """What is chosen of each comparison, (comparison,)."""
    kinds = model.kinds(view.schema)
    _, taste, habit = np.unravel_index(users.kind[owner], kinds.shape)
    wanted, careless = (
        part.sample_by_kind(rng, values, view, kind) if n > 1 else part.sample(rng, values, view)
        for part, kind, n in ((model.preference, taste, kinds.shape[1]), (model.casual, habit, kinds.shape[2]))
    )
    against = (users.attentiveness[owner] < 0) & (wanted < 2)
    return np.asarray(np.where(attended, np.where(against, 1 - wanted, wanted), careless))
