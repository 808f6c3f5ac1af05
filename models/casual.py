"""What a user who does not attend chooses: C_n(y)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.schema import Schema
from .component import Casual, CellView
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Dirichlet, Prior
from .settings import category_switch, prior_of
from .supports import SIMPLEX

__all__ = ["CoinFlip", "PositionBias"]


@dataclass(frozen=True)
class CoinFlip(Casual):
    """All outcomes that the log can have are equally likely: 1/2 each, or 1/3 with ties.

    Reference: model.md, section 2.
    """

    directed: ClassVar[bool] = False

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return 0.0 * cells.sign - float(np.log(cells.schema.n_outcomes))

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        return rng.integers(cells.schema.n_outcomes, size=len(cells))


@dataclass(frozen=True)
class PositionBias(Casual):
    """Free probabilities of choosing the first, the second, or a tie, whatever the responses.

    Args:
        prior: prior of the probabilities `casual_outcome` (outcome), or (category, outcome).
        by_category: probabilities of their own for each value of the log's column `category`.

    Reference: model.md, section 2.

    Example:
        >>> [(p.name, p.dims) for p in PositionBias(by_category=True).parameters(None)]
        [('casual_outcome', ('category', 'outcome'))]
    """

    prior: Prior = prior_of(Dirichlet, SIMPLEX)
    by_category: bool = category_switch()

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        dims = ("category", "outcome") if self.by_category else ("outcome",)
        return (Parameter("casual_outcome", self.prior, dims),)

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        log_share = xp.log(values["casual_outcome"])
        return log_share[cells["category"], cells.outcome] if self.by_category else log_share[cells.outcome]

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        share = np.asarray(values["casual_outcome"])
        if not self.by_category:
            return rng.choice(cells.schema.n_outcomes, size=len(cells), p=share)
        reached = np.cumsum(share, axis=1)[cells["category"], :-1]
        return np.asarray((rng.random(len(cells))[:, None] > reached).sum(1))

    def starts(self, schema: Schema) -> Sequence[Values]:
        # One start near each corner of the simplex: "always left", "always right", "always tie" are different modes.
        n = schema.n_outcomes
        corners = np.full((n, n), 0.15 / max(n - 1, 1)) + np.eye(n) * (0.85 - 0.15 / max(n - 1, 1))
        if self.by_category:
            return [{"casual_outcome": np.tile(corner, (len(schema.categories), 1))} for corner in corners]
        return [{"casual_outcome": corner} for corner in corners]

    def maximize(self, schema: Schema, cells: CellView, weights: Any, prior: bool) -> dict[str, Any] | None:
        if not isinstance(self.prior, Dirichlet):
            return None
        one_hot = np.arange(schema.n_outcomes)[:, None] == cells.outcome[None, :]
        if self.by_category:
            kinds = np.arange(len(schema.categories))[:, None] == cells["category"][None, :]
            tally = (kinds[:, None, :] * (one_hot * weights)[None, :, :]).sum(-1)
        else:
            tally = (one_hot * weights).sum(-1)
        shares = self.prior.estimate(tally, prior)
        return None if shares is None else {"casual_outcome": shares}
