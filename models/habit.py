"""Casual users who do what they did before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.context import PREVIOUS
from ..comparisons.schema import Schema
from .casual import PositionBias
from .component import CellView
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Beta, Prior
from .settings import prior_of
from .supports import UNIT

__all__ = ["Habit"]


@dataclass(frozen=True)
class Habit(PositionBias):
    """Repeats the choice of the vote before, with the probability `habit_repeat`; else as `PositionBias`.

    The choice is a side, the first response, the second or a tie, whatever the models behind it; the first vote of a
    user in a log has none before it (`Fit.update` does not look back into the log before). The order is that of the
    log's `timestamp`. Votes to be replicated, in checks and predictions, follow the choices as they were observed, one
    step ahead.

    Args:
        prior: prior of the probabilities `casual_outcome` (outcome), or (category, outcome).
        by_category: probabilities of their own for each value of the log's column `category`.
        repeat_prior: prior of `habit_repeat`.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(casual=er.Habit())
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> bool(0 < fit.parameters["habit_repeat"] < 1)
        True
    """

    repeat_prior: Prior = prior_of(Beta, UNIT)

    told: ClassVar[tuple[str, ...]] = (PREVIOUS,)

    @property
    def context(self) -> tuple[str, ...]:
        return (*super().context, PREVIOUS)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (*super().parameters(schema), Parameter("habit_repeat", self.repeat_prior))

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        share = xp.exp(super().log_prob(xp, values, cells))
        again = 1.0 * (cells[PREVIOUS] - 1 == cells.outcome)
        repeats = values["habit_repeat"] * (cells[PREVIOUS] > 0)
        return xp.log(repeats * again + (1.0 - repeats) * share)

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        before = np.asarray(cells[PREVIOUS])
        repeats = (before > 0) & (rng.random(len(cells)) < values["habit_repeat"])
        return np.where(repeats, before - 1, super().sample(rng, values, cells))

    def maximize(self, schema: Schema, cells: CellView, weights: Any, prior: bool) -> dict[str, Any] | None:
        return None
