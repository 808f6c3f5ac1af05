"""Users who vote for one favourite, whatever the responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .casual import PositionBias
from .component import CellView
from .namespace import Namespace, array_module
from .parameters import Parameter, Values
from .priors import Beta, Dirichlet, Prior
from .settings import number, prior_of
from .supports import SIMPLEX, UNIT

__all__ = ["Partisan"]


@dataclass(frozen=True)
class Partisan(PositionBias):
    """Some users have a favourite model: they never attend, vote for it where it is shown, and casually elsewhere.

    The favourite is unknown and summed out; `fit.kinds()` names who is for whom. All others are casual as under
    `PositionBias`, when they do not attend.

    Args:
        prior: prior of `casual_outcome`.
        by_category: must be False: partisans are told apart over all categories together.
        share_prior: prior of `partisan_share`, the share of users with a favourite.
        favourite_prior: prior of `favourite_weight` (model), the favourites of those who have one.
        loyalty: probability that a partisan's favourite wins where it is shown.

    Raises:
        EarnestError: a loyalty that is not between 1/2 and 1.

    Reference: Min, Pang, Du, Liu, Cheng and Guo (2025), arXiv 2501.17858.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(casual=er.Partisan())
        >>> fit = er.fit_em(model, model.simulate(users=60, comparisons_per_user=15, models=3, seed=1).log)
        >>> list(fit.kinds().columns)
        ['user', 'no favourite', 'for model_1', 'for model_2', 'for model_3']
    """

    directed: ClassVar[bool] = True

    share_prior: Prior = prior_of(lambda: Beta(1.0, 9.0), UNIT)
    favourite_prior: Prior = prior_of(Dirichlet, SIMPLEX)
    loyalty: float = number(0.98, 0.5, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by_category:
            raise EarnestError("Partisan(by_category=True): partisans are told apart over all categories together")

    def kinds(self, schema: Schema) -> tuple[str, ...]:
        return ("no favourite", *(f"for {model}" for model in schema.models))

    def attends(self, schema: Schema) -> tuple[bool, ...]:
        return (True, *(False for _ in schema.models))

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        share = Parameter("partisan_share", self.share_prior)
        return (*super().parameters(schema), share, Parameter("favourite_weight", self.favourite_prior, ("model",)))

    def log_kinds(self, xp: Namespace, values: Values) -> Any:
        share = values["partisan_share"]
        return xp.concatenate([xp.log1p(-share)[None], xp.log(share) + xp.log(values["favourite_weight"])])

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        usual = super().log_prob(xp, values, cells)[None, :]
        models = np.arange(cells.schema.n_models)[:, None]
        first, second = xp.equal(cells.model_a, models), xp.equal(cells.model_b, models)
        wins = xp.where(cells.won_a, 1.0 * first, 1.0 * second) * (1.0 - 1.0 * cells.tie)
        loyal = wins * np.log(self.loyalty)
        loyal = loyal + (1.0 - wins) * np.log((1 - self.loyalty) / (cells.schema.n_outcomes - 1))
        return xp.concatenate([usual, xp.where(first | second, loyal, usual)])

    def sample_by_kind(
        self, rng: np.random.Generator, values: Values, cells: CellView, kind: np.ndarray | None
    ) -> np.ndarray:
        usual, favourite = super().sample(rng, values, cells), np.asarray(kind) - 1
        first, second = cells.model_a == favourite, cells.model_b == favourite
        loyal = rng.random(len(cells)) < self.loyalty
        others = (np.where(first, 0, 1) + rng.integers(1, cells.schema.n_outcomes, size=len(cells))) % (
            cells.schema.n_outcomes
        )
        return np.where(first | second, np.where(loyal, np.where(first, 0, 1), others), usual)

    def maximize(self, schema: Schema, cells: CellView, weights: Any, prior: bool) -> dict[str, Any] | None:
        # Only where no favourite is shown does the vote of a partisan tell of the others' habits.
        models = np.arange(schema.n_models)[:, None]
        elsewhere = (cells.model_a != models) & (cells.model_b != models)
        return super().maximize(schema, cells, weights[0] + (weights[1:] * elsewhere).sum(0), prior)

    def maximize_kinds(self, users: Any, prior: bool) -> dict[str, Any]:
        if not isinstance(self.share_prior, Beta) or not isinstance(self.favourite_prior, Dirichlet):
            return {}
        favourites = self.favourite_prior.estimate(users[1:], prior)
        share = self.share_prior.estimate(array_module(users), users[1:].sum(), users[0], prior)
        return {} if favourites is None else {"partisan_share": share, "favourite_weight": favourites}
