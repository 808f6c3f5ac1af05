"""Logs for calibration: who is shown what is drawn once, parameters and outcomes anew for every log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.cells import Cells
from ..comparisons.context import NAMED, PREVIOUS, TIMESTAMP
from ..comparisons.errors import EarnestError, check_whole
from ..comparisons.log import ComparisonLog
from ..comparisons.read import read_comparisons
from ..comparisons.schema import OUTCOMES, Schema
from ..models.behavior import BehaviorModel
from ..models.choices import choose, draw_users, with_covariates
from ..models.component import CellView
from ..models.simulate import Shown, draw_columns

__all__ = ["Design", "Told", "tell"]

_FEW = 3


@dataclass(frozen=True)
class Design:
    """Who is shown what: one for all logs, so that they have the same shape and one compilation serves them all.

    Attributes:
        users: number of users.
        comparisons: votes of each.
        models: number of models; every comparison shows two different ones, uniformly chosen.
        seed: of that choice.
    """

    users: int = 50
    comparisons: int = 8
    models: int = 3
    seed: int = 2018

    def __post_init__(self) -> None:
        for name, least in (("users", 1), ("comparisons", 1), ("models", 2)):
            check_whole(name, getattr(self, name), least)
        _, first, second = self.shown
        if len(np.unique([first, second])) < self.models:
            raise EarnestError(
                f"users={self.users}, comparisons={self.comparisons}: too few to show each of {self.models} models; "
                "ask for more of them or for fewer models"
            )

    @cached_property
    def shown(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """User, first and second model of every comparison, indices, (comparison,) each."""
        rng = np.random.default_rng(self.seed)
        user = np.repeat(np.arange(self.users), self.comparisons)
        first = rng.integers(self.models, size=len(user))
        return user, first, (first + rng.integers(1, self.models, size=len(user))) % self.models

    @cached_property
    def model_names(self) -> tuple[str, ...]:
        """Names of the models, in order."""
        return tuple(f"model_{i + 1:0{len(str(self.models))}d}" for i in range(self.models))

    @cached_property
    def user_names(self) -> np.ndarray:
        """Names of the users, in order, (user,)."""
        return np.array([f"user_{i + 1:0{len(str(self.users))}d}" for i in range(self.users)])

    def shown_to(self, model: BehaviorModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same, with one pair of models for an item where the model looks at items."""
        user, first, second = self.shown
        return user, *self.columns(model).of_items(first, second)

    def schema(self, model: BehaviorModel) -> Schema:
        """The names in these logs."""
        _, first, second = self.shown_to(model)
        columns, ties = self.columns(model), model.preference.allows_ties
        pairs = sorted({(int(min(a, b)), int(max(a, b))) for a, b in zip(first, second, strict=True)})
        return Schema(self.model_names, tuple(pairs), ties, columns.categories, columns.items)

    def columns(self, model: BehaviorModel) -> Shown:
        """Columns that a model looks at, the same in every log; covariates have few values, so that few cells do."""
        size, turn = self.users * self.comparisons, np.tile(np.arange(self.comparisons), self.users)
        drawn = draw_columns(model, size, self.seed, turn=turn).columns
        few = {name: _few(value) for name, value in drawn.items() if name not in (*NAMED, TIMESTAMP)}
        return draw_columns(model, size, self.seed, drawn | few)

    def log(
        self, outcome: np.ndarray, model: BehaviorModel, told: Mapping[str, np.ndarray] | None = None
    ) -> ComparisonLog:
        """The log in which these outcomes (comparison,) were chosen, with the columns that the model looks at.

        `told` are those that came about with the votes; else they are 1 throughout.
        """
        aside = {name: np.ones(len(outcome)) for name in model.told} if told is None else told
        user, first, second = self.shown_to(model)
        names = np.array(self.model_names)
        frame = {
            "user": self.user_names[user],
            "model_a": names[first],
            "model_b": names[second],
            "winner": np.array(OUTCOMES)[outcome],
            **self.columns(model).columns,
            **{name: column for name, column in aside.items() if name != PREVIOUS},  # which follows from the outcomes
        }
        named: dict[str, Any] = {name: name for name in (*NAMED, TIMESTAMP) if name in frame}
        return read_comparisons(
            pd.DataFrame(frame), user="user", model_a="model_a", model_b="model_b", winner="winner", **named
        )

    def blank(self, model: BehaviorModel) -> ComparisonLog:
        """A log of this design whose outcomes mean nothing."""
        return self.log((np.arange(self.users * self.comparisons) % 3 == 0).astype(int), model)


@dataclass(frozen=True)
class Told:
    """A log and what is true of it.

    Attributes:
        values: {parameter: value} on the constrained scale.
        attentiveness: of every user, (user,).
        outcome: of every comparison of the design, 0, 1 or 2, (comparison,).
        told: the columns that came about with it, {name: (comparison,)}.
    """

    values: dict[str, np.ndarray]
    attentiveness: np.ndarray
    outcome: np.ndarray
    told: dict[str, np.ndarray]


def _few(column: np.ndarray) -> np.ndarray:
    """A covariate with at most three values as it is; of another each half at its mean."""
    if len(np.unique(column)) <= _FEW:
        return column
    low = column <= np.median(column)
    return np.asarray(np.where(low, column[low].mean(), column[~low].mean()))


def tell(model: BehaviorModel, design: Design, seed: int | Sequence[int]) -> Told:
    """Parameters from the prior, attentiveness and outcomes of the design from the generative story.

    Each user's attentiveness, each vote attended or not, attended ones decided by the preference, the others by the
    casual component: no likelihood is evaluated.
    """
    rng = np.random.default_rng(seed)
    user, first, second = design.shown_to(model)
    columns, schema = design.columns(model), design.schema(model)
    values = model.table(schema).sample_prior(rng)
    users = draw_users(model, rng, values, schema, model.attends(design.user_names))
    view = CellView.of(Cells(schema, first, second, np.zeros(len(user), dtype=int), columns.context))
    model = model.measure(view, np.ones(len(user)))
    users = with_covariates(model, values, view, users, user)
    chosen = choose(model, rng, values, view, users, user)
    return Told(values, users.attentiveness, chosen.outcome, chosen.told)
