"""A preference that follows a reward of each response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..comparisons.schema import Schema
from .component import CellView
from .covariates import Scaled
from .namespace import Namespace
from .parameters import Parameter, Values
from .preference import WithTies
from .priors import Normal, Prior
from .settings import category_switch, column, prior_of, switch
from .supports import REAL
from .ties import TieRule

__all__ = ["RewardGap"]


@dataclass(frozen=True)
class RewardGap(Scaled, WithTies):
    """Log-odds of the first response = offset + slope * (its reward - the other's).

    Args:
        gap: column with the difference of the two rewards, first minus second.
        ties: `Davidson()`, `RaoKupper()` or None.
        by_category: a slope for each value of the column `category`.
        offset: whether the first response may be preferred at equal rewards, too.
        prior: prior of `reward_slope` (per root mean square of the gap) and `reward_offset`.
        scales: root mean square of the gap; None: that of the log.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(preference=er.RewardGap())
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=2, seed=1).log)
        >>> sorted(fit.parameters)[-2:]
        ['reward_offset', 'reward_slope']
    """

    directed: ClassVar[bool] = True

    gap: str = column("reward_gap")
    ties: TieRule | None = None
    by_category: bool = category_switch()
    offset: bool = switch(True)
    prior: Prior = prior_of(Normal, REAL)
    scales: tuple[float, ...] | None = None

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        slope = Parameter("reward_slope", self.prior, ("category",) if self.by_category else ())
        offset = (Parameter("reward_offset", self.prior),) if self.offset else ()
        return (slope, *offset, *self.rule.parameters(schema))

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        slope = values["reward_slope"][cells["category"]] if self.by_category else values["reward_slope"]
        log_odds = slope * self.scaled(cells)[0] + (values["reward_offset"] if self.offset else 0.0)
        return self.rule.from_decided(xp, values, log_odds)
