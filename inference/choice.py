"""Which form to sample: integrate users' latents out, or sample them? By estimated cost, said in words.

A gradient of the marginal form costs units x cells x nodes (or votes x nodes where cells are many); one of the explicit
form votes. Against that, the explicit form moves through one dimension a user: its trajectories are longer and its
draws of the globals less independent, the more so the less each user's votes say of the user. The constants are
measured (benchmarks/bayes.py --part choice); only their ratio matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..models.component import Finite
from .compiled import Form, Statement
from .integration import Levels

__all__ = ["MOST_EXPLICIT", "Choice", "choose"]

MOST_EXPLICIT = 250_000_000
"""Iterations (warm-up included) x users that the explicit form may hold.

6 GiB: as logit, as attentiveness, and once more while joined."""

# Seconds on one core. Of the marginal form: unit x cell x node (dense), unit x node, entry x node; of the explicit one:
# entry, user; of both: a cell's probabilities. And what a gradient costs whatever the data.
_DENSE, _NODE, _ENTRY, _VOTE, _USER, _CELL = 0.5e-9, 8e-9, 9e-9, 12e-9, 60e-9, 120e-9
_MARGINAL_CALL, _EXPLICIT_CALL = 60e-6, 10e-6
_TRAJECTORY = 60.0  # gradients an effective draw of the slowest global, marginal form


@dataclass(frozen=True)
class Choice:
    """A form, and why.

    Attributes:
        form: "marginal" or "explicit".
        marginal_cost, explicit_cost: estimated milliseconds an effective draw, one core.
        reason: one sentence.
    """

    form: Form
    marginal_cost: float
    explicit_cost: float
    reason: str


def choose(statement: Statement, iterations: int = 8000) -> Choice:
    """Compare the two forms for a statement in marginal form, for so many iterations of all chains together."""
    tally = statement.tally
    n_users = len(tally.users)
    if isinstance(statement.model.attentiveness.latents(tally.schema), Finite):
        return Choice("marginal", 0.0, 0.0, "marginal form: users' latents are finite and are summed out")
    if statement.model.kinds(tally.schema).size > 1:
        return Choice("marginal", 0.0, 0.0, "marginal form: kinds of users are summed out")
    if iterations * n_users > MOST_EXPLICIT:
        reason = f"marginal form: {iterations:,} iterations of {n_users:,} users would fill memory"
        return Choice("marginal", 0.0, 0.0, reason)
    marginal = 1e3 * _TRAJECTORY * _marginal_gradient(statement)
    votes = float(tally.multiplicity @ tally.comparisons)
    explicit = (
        1e3 * _explicit_gradients(votes / n_users, n_users, tally.schema.n_models) * _explicit_gradient(statement)
    )
    form: Form = "marginal" if marginal <= explicit else "explicit"
    first, second = sorted((marginal, explicit))
    reason = (
        f"{form} form: about {first:.2g} ms an effective draw against {second:.2g} for the other, estimated from "
        f"{n_users:,} users in {len(tally):,} patterns, {votes:,.0f} votes and "
        f"{max(_nodes(piece.rule) for piece in statement.pieces)} nodes"
    )
    return Choice(form, marginal, explicit, reason)


def _nodes(rule: object) -> int:
    return rule.size if hasattr(rule, "size") else 1


def _marginal_gradient(statement: Statement) -> float:
    """Seconds a gradient of the marginal form."""
    tally = statement.tally
    total = _MARGINAL_CALL + len(tally.cells) * _CELL
    entries = np.count_nonzero(tally.count, axis=(1, 2))
    for piece in statement.pieces:
        nodes = _nodes(piece.rule)
        per_unit = len(tally.cells) * _DENSE * len(piece.units) if tally.dense else entries[piece.units].sum() * _ENTRY
        total += nodes * (per_unit + len(piece.units) * _NODE)
        total += 0.0 if isinstance(piece.rule, Levels) else 2e-6 * nodes
    return float(total)


def _explicit_gradient(statement: Statement) -> float:
    """Seconds a gradient of the explicit form."""
    tally = statement.tally
    entries = np.count_nonzero(tally.count, axis=(1, 2))[tally.unit_of_user].sum()
    counted = len(tally.cells) * len(tally.users) if tally.dense else entries
    return float(_EXPLICIT_CALL + len(tally.cells) * _CELL + counted * _VOTE + len(tally.users) * _USER)


def _explicit_gradients(votes_a_user: float, n_users: int, n_models: int) -> float:
    """Gradients an effective draw of the slowest global, explicit form.

    Many where a user's votes say little of the user, where users are many, and where models are few, so that their
    skills hang together with the population of users.
    """
    few_votes, few_models, many = 1.0 + 200.0 / votes_a_user, 1.0 + 5.0 / n_models, max(n_users / 100.0, 1.0) ** 0.5
    return float(130.0 * few_votes * few_models * many)
