"""What a user who does not attend chooses: C_n(y)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..comparisons.schema import Schema
from .component import Casual, CellView, check_prior
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Dirichlet, Prior
from .supports import SIMPLEX

__all__ = ["CoinFlip", "PositionBias"]


@dataclass(frozen=True)
class CoinFlip(Casual):
    """All outcomes that the log can have are equally likely: 1/2 each, or 1/3 with ties."""

    directed: ClassVar[bool] = False

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return 0.0 * cells.sign - float(np.log(cells.schema.n_outcomes))

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        return rng.integers(cells.schema.n_outcomes, size=len(cells))


@dataclass(frozen=True)
class PositionBias(Casual):
    """Free probabilities of choosing the first, the second, or a tie, whatever the responses.

    Args:
        prior: prior of the probabilities `casual_outcome` (outcome).
    """

    prior: Prior = field(default_factory=Dirichlet)

    def __post_init__(self) -> None:
        check_prior(self, "prior", SIMPLEX)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (Parameter("casual_outcome", self.prior, ("outcome",)),)

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return xp.log(values["casual_outcome"])[cells.outcome]

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        return rng.choice(cells.schema.n_outcomes, size=len(cells), p=np.asarray(values["casual_outcome"]))

    def starts(self, schema: Schema) -> Sequence[Values]:
        # One start near each corner of the simplex: "always left", "always right", "always tie" are different modes.
        n = schema.n_outcomes
        corners = np.full((n, n), 0.15 / max(n - 1, 1)) + np.eye(n) * (0.85 - 0.15 / max(n - 1, 1))
        return [{"casual_outcome": corner} for corner in corners]

    def maximize(self, schema: Schema, cells: CellView, weights: Any, prior: bool) -> dict[str, Any] | None:
        if not isinstance(self.prior, Dirichlet):
            return None
        added = self.prior.concentration - 1.0 if prior else 0.0
        one_hot = np.arange(schema.n_outcomes)[:, None] == cells.outcome[None, :]
        tally = (one_hot * weights).sum(1) + added
        if added < 0:
            return None
        return {"casual_outcome": (tally + 1e-300) / (tally + 1e-300).sum()}
