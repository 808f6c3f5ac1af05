"""The probit twin of Bradley-Terry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .component import CellView
from .namespace import NUMPY, Namespace
from .parameters import Values
from .preference import BradleyTerry
from .priors import Prior, ZeroSumNormal
from .settings import prior_of
from .supports import ZERO_SUM

__all__ = ["Thurstone"]


@dataclass(frozen=True)
class Thurstone(BradleyTerry):
    """Each response has a normal appeal around its model's skill; the more appealing one wins.

    Pr(a wins | decided) = Phi(skill_a - skill_b): skills are in units of the noise of a difference, some 1.7 times as
    small as under `BradleyTerry`, of which it is otherwise the same, ties, categories and covariates included.

    The prior of the skills is as much narrower, so that it says the same of how often models win.

    Args:
        ties, by_category, covariates, category_scale, scale_prior, slope_prior, scales: as of `BradleyTerry`.
        prior: prior of the skills.

    Reference: Thurstone (1927), Psychological Review 34 (case V).

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(preference=er.Thurstone(ties=er.Davidson()))
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> fit.status
        'converged'
    """

    prior: Prior = prior_of(lambda: ZeroSumNormal(1.2), ZERO_SUM)

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        difference = super().log_ratio(xp, values, cells)
        log_odds = xp.log_ndtr(difference) - xp.log_ndtr(-difference)
        return self.rule.from_decided(xp, values, log_odds)

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        if self.ties is not None:
            return super().sample(rng, values, cells)
        difference = np.asarray(super().log_ratio(NUMPY, values, cells), dtype=float)
        return np.where(difference + rng.standard_normal(difference.shape) > 0, 0, 1)
