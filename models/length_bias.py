"""Careless users who go by length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..comparisons.schema import Schema
from .component import Casual, CellView
from .covariates import Scaled
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Beta, Normal, Prior
from .settings import column, prior_of
from .supports import REAL, UNIT

__all__ = ["LengthBias"]


@dataclass(frozen=True)
class LengthBias(Scaled, Casual):
    """Log-odds of the first response among decided ones = slope * (its length - the other's).

    Args:
        difference: column with the difference of the two lengths, first minus second.
        slope_prior: prior of `length_slope`, per root mean square of the difference.
        tie_prior: prior of `casual_tie`, the probability of a tie, where the log can have ties.
        scales: root mean square of the difference; None: that of the log.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(casual=er.LengthBias())
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> "length_slope" in fit.parameters
        True
    """

    difference: str = column("length_difference")
    slope_prior: Prior = prior_of(Normal, REAL)
    tie_prior: Prior = prior_of(Beta, UNIT)
    scales: tuple[float, ...] | None = None

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        tie = (Parameter("casual_tie", self.tie_prior),) if schema.ties else ()
        return (Parameter("length_slope", self.slope_prior), *tie)

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        pull = values["length_slope"] * self.scaled(cells)[0]
        decided = xp.log_sigmoid(xp.where(cells.won_a, pull, -pull))
        if not cells.schema.ties:
            return decided
        return xp.where(cells.tie, xp.log(values["casual_tie"]), xp.log1p(-values["casual_tie"]) + decided)
