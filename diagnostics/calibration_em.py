"""Calibration of EM: its normal approximation in the place of the posterior, and its own intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..inference.draws import around, sampled
from ..inference.fitting import Settings, fit_counts
from ..inference.results import Fit
from ..models.behavior import BehaviorModel
from .calibration_logs import Design, Told
from .calibration_machines import LEVEL, USERS_EACH, Draws, Machine
from .ecdf import RANKED

__all__ = ["Approximation"]

_SETTINGS = Settings("marginal", "map", 2000, 1e-6, True, (1.0, 1.0), LEVEL, 0, None)  # those of `fit_em`


class Approximation(Machine):
    """A fit by marginal EM a log.

    Globals are drawn from the normal approximation on the free scale that `Fit.intervals` rests on, and every user
    given each; a direction without a standard error is left at its estimate, as EM leaves it, and has no interval.
    """

    def __init__(self, model: BehaviorModel, design: Design, told: Told | None = None) -> None:
        super().__init__(model, design, told)
        self._blank = design.blank(self.model)

    def draws(self, told: Told, votes: np.ndarray, seed: Sequence[int], rng: np.random.Generator) -> Draws:
        """Draws around an EM fit of the log, and whether its intervals hold the truth."""
        # As `fit_em` does it; without a log to read and to count, which would take longer than the fit.
        fit = fit_counts(self.model, self.counts(votes), self._blank, _SETTINGS, True, None)
        _, values = sampled(fit, around(fit.centre, fit.spread, rng.standard_normal((RANKED, fit.free.size))), rng)
        went: dict[str, Any] = {"status": fit.status, "iterations": fit.iterations, "modes": len(fit.modes)}
        return Draws(values, self.attentiveness(values, votes, rng), went, self._covered(fit, told))

    def _covered(self, fit: Fit, told: Told) -> dict[str, float | None]:
        """Whether each parameter's interval holds the truth (None: no interval), and the share of users' that do."""
        intervals, true = fit.intervals(LEVEL), self.shared(told.values)
        covered: dict[str, float | None] = {}
        for parameter in self.table.parameters:
            if parameter.name not in true:
                continue
            value = np.ravel(true[parameter.name])
            lower, upper = (np.ravel(end) for end in intervals[parameter.name])
            for i, label in enumerate(self.entries(parameter, np.shape(true[parameter.name]))):
                known = np.isfinite(lower[i]) and np.isfinite(upper[i])
                covered[label] = float(lower[i] <= value[i] <= upper[i]) if known else None
        frame = fit.attentiveness.set_index("user").loc[list(self.design.user_names)]
        inside = (frame["lower"] <= told.attentiveness) & (told.attentiveness <= frame["upper"])
        return covered | {USERS_EACH: float(inside.mean())}
