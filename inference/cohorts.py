"""Users' own attentiveness, where covariates of users move it.

The latent is what a user would have at offset 0, and a comparison's log-odds of attending have the user's offset in
them (`Chances.odds`), so that likelihoods need nothing else. What is told of a user is

    eta_u = sigmoid(latent + offset_u),

a rising function of the latent: quantiles of one are those of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparisons.cells import Counts
from ..models.behavior import BehaviorModel
from ..models.component import CellView
from .arrays import JNP, Dense, Group
from .bracket import Chances, to_patterns
from .thinning import evenly

__all__ = ["Cohorts", "cohorts_of", "eta_at", "own_latent", "row_of_each_user"]

_MOST = 1000  # of more different users so many, evenly, stand for all


def own_latent(group: Group, latent: Any, chances: Chances) -> Any:
    """Latents of one chunk's nodes as the patterns' own, (pattern, node), or as they are where nothing moves them.

    A user without votes, of whom no covariate is known, is one in the middle.
    """
    if chances.own is None:
        return latent
    if isinstance(group, Dense):
        total, votes = group.count @ chances.own, jnp.sum(group.count, axis=1)
    else:
        each = jnp.sum(group.count * chances.own[group.cell], axis=1), jnp.sum(group.count, axis=1)
        total, votes = (to_patterns(group, part) for part in each)
    return latent + jnp.where(votes > 0, total / jnp.maximum(votes, 1e-300), 0.0)[:, None]


def eta_at(model: BehaviorModel, values: dict[str, Any], group: Group, latent: Any, chances: Chances) -> Any:
    """Users' own attentiveness at the nodes, (pattern, node) or (1, node); without its sign."""
    return jnp.exp(model.attentiveness.attention(JNP, values, own_latent(group, latent, chances))[0])


def row_of_each_user(counts: Counts) -> tuple[CellView, np.ndarray]:
    """A cell of each user who has votes, (user,), and which user that is."""
    owner, first = np.unique(counts.user, return_index=True)
    return CellView.of(counts.cells).rows(counts.cell[first]), owner


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cohorts:
    """Users who differ in what is known of them: a cell of each, (cohort,), and their share of the users, (cohort,)."""

    cells: CellView
    share: Any


def cohorts_of(model: BehaviorModel, counts: Counts) -> Cohorts | None:
    """The cohorts among a log's users; None where nothing that is known of users moves their attentiveness."""
    if not model.attentiveness.slopes or not len(counts.user):
        return None
    view, owner = row_of_each_user(counts)
    times = np.ones(len(owner)) if counts.multiplicity is None else counts.multiplicity[owner]
    columns = np.stack([np.asarray(view[name], dtype=float) for name in model.attentiveness.of_user], axis=1)
    _, first, cohort = np.unique(columns, axis=0, return_index=True, return_inverse=True)
    size = np.bincount(np.asarray(cohort).ravel(), times)
    some = evenly(len(first), _MOST)
    return Cohorts(view.rows(first[some]), size[some] / size[some].sum())
