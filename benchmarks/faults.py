"""Faults that a calibration must notice: models that are wrong in one place, judged on logs of the right one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import earnest as er


@dataclass(frozen=True)
class Rootless(er.Davidson):
    """Davidson's rule without the square root: Pr(a) : Pr(b) : Pr(tie) = exp(d) : exp(-d) : nu."""

    def log_prob(self, xp, values, log_ratio, cells):
        return super().log_prob(xp, values, 2.0 * log_ratio, cells)


@dataclass(frozen=True)
class Swapped(er.BradleyTerry):
    """The two responses taken for each other: skill_b - skill_a."""

    def log_ratio(self, xp, values, cells):
        return -super().log_ratio(xp, values, cells)


@dataclass(frozen=True)
class SwappedPosition(er.PositionBias):
    """The share of the second response taken for that of the first."""

    def log_prob(self, xp, values, cells):
        shares = values["casual_outcome"]
        return xp.log(xp.stack([shares[i] for i in (1, 0, 2)[: cells.schema.n_outcomes]]))[cells.outcome]


RIGHT = er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())

FAULTS = {
    "wrong-tie-term": replace(RIGHT, preference=er.BradleyTerry(ties=Rootless())),
    "swapped-order": replace(RIGHT, preference=Swapped(ties=er.Davidson())),
    "swapped-position": replace(RIGHT, casual=SwappedPosition()),
    "prior-too-narrow": replace(
        RIGHT, preference=er.BradleyTerry(ties=er.Davidson(), prior=er.priors.ZeroSumNormal(0.7))
    ),
    "prior-shifted": replace(RIGHT, attentiveness=er.Beta(alpha_prior=er.priors.LogNormal(1.0))),
}
"""The three faults of issue 5 (a tie term, an order, a prior), the latter two of two kinds each."""
