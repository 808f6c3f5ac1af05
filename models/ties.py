"""How a preference between two responses becomes a win, a loss or a tie.

A rule receives the log-ratio of the two strengths, d = log(strength_a / strength_b), and says how probable each outcome
is. `from_decided` turns the log-odds among decided outcomes into that ratio, so that a probability of winning keeps its
meaning under every rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.schema import Schema
from .component import CellView, Component
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import LogNormal, Prior
from .settings import prior_of
from .supports import POSITIVE, Above

__all__ = ["Davidson", "NoTies", "RaoKupper", "TieRule"]


@dataclass(frozen=True)
class TieRule(Component):
    """Base of the tie rules."""

    directed: ClassVar[bool] = False

    def log_prob(self, xp: Namespace, values: Values, log_ratio: Any, cells: CellView) -> Any:
        """Log-probability of each cell's outcome, nats, (cell,)."""
        raise NotImplementedError

    def from_decided(self, xp: Namespace, values: Values, log_odds: Any) -> Any:
        """Log-odds of a win among decided outcomes -> log-ratio of strengths."""
        return log_odds

    def sample(self, rng: np.random.Generator, values: Values, log_ratio: np.ndarray) -> np.ndarray:
        """Draw outcomes from the rule's own story, (cell,) of 0, 1, 2."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoTies(TieRule):
    """Every comparison is decided: Pr(a wins) = 1 / (1 + exp(-d))."""

    def log_prob(self, xp: Namespace, values: Values, log_ratio: Any, cells: CellView) -> Any:
        return xp.log_sigmoid(xp.where(cells.won_a, log_ratio, -log_ratio))

    def sample(self, rng: np.random.Generator, values: Values, log_ratio: np.ndarray) -> np.ndarray:
        # Two responses, each with a Gumbel-distributed appeal; the more appealing one wins.
        appeal_a = log_ratio + rng.gumbel(size=log_ratio.shape)
        return np.where(appeal_a > rng.gumbel(size=log_ratio.shape), 0, 1)


@dataclass(frozen=True)
class Davidson(TieRule):
    r"""Pr(tie) is proportional to nu times the geometric mean of the strengths (Davidson 1970, JASA 65).

    Pr(a) : Pr(b) : Pr(tie) = exp(d/2) : exp(-d/2) : nu. The odds among decided outcomes do not depend on nu.

    Args:
        prior: prior of nu, `tie_strength`.

    Example:
        >>> Davidson().parameters(None)[0].name
        'tie_strength'
    """

    prior: Prior = prior_of(LogNormal, POSITIVE)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (Parameter("tie_strength", self.prior),)

    def log_prob(self, xp: Namespace, values: Values, log_ratio: Any, cells: CellView) -> Any:
        half, log_nu = 0.5 * log_ratio, xp.log(values["tie_strength"])
        log_total = xp.logaddexp(xp.logaddexp(half, -half), log_nu + 0.0 * half)
        return xp.where(cells.tie, log_nu, xp.where(cells.won_a, half, -half)) - log_total

    def sample(self, rng: np.random.Generator, values: Values, log_ratio: np.ndarray) -> np.ndarray:
        # Three options with Gumbel noise: first, second, "cannot say".
        scores = np.stack([0.5 * log_ratio, -0.5 * log_ratio, np.full_like(log_ratio, np.log(values["tie_strength"]))])
        return np.argmax(scores + rng.gumbel(size=scores.shape), axis=0)


@dataclass(frozen=True)
class RaoKupper(TieRule):
    r"""A difference below a threshold is not noticed (Rao and Kupper 1967, JASA 62).

    With d the log-ratio of the strengths and theta >= 1: Pr(a) = sigmoid(d - log theta), Pr(b) = sigmoid(-d - log
    theta), and the rest are ties. With o the odds among decided outcomes, the ratio of strengths is
    [(o - 1) + sqrt((o - 1)^2 + 4 theta^2 o)] / (2 theta), computed here as exp(h + arcsinh(sinh(h) / theta)), h =
    log(o) / 2, which does not cancel for small o.

    Args:
        prior: prior of theta, `tie_threshold`, above 1.
    """

    prior: Prior = prior_of(lambda: LogNormal(lower=1.0), Above(1.0))

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (Parameter("tie_threshold", self.prior),)

    def log_prob(self, xp: Namespace, values: Values, log_ratio: Any, cells: CellView) -> Any:
        theta = values["tie_threshold"]
        log_a = xp.log_sigmoid(log_ratio - xp.log(theta))
        log_b = xp.log_sigmoid(-log_ratio - xp.log(theta))
        log_tie = xp.log(theta - 1.0) + xp.log(theta + 1.0) + log_a + log_b
        return xp.where(cells.tie, log_tie, xp.where(cells.won_a, log_a, log_b))

    def from_decided(self, xp: Namespace, values: Values, log_odds: Any) -> Any:
        half = 0.5 * log_odds
        return half + xp.arcsinh(xp.sinh(half) / values["tie_threshold"])

    def sample(self, rng: np.random.Generator, values: Values, log_ratio: np.ndarray) -> np.ndarray:
        # The difference is perceived with logistic noise; a side wins if it is ahead by more than log theta.
        perceived = log_ratio + rng.logistic(size=log_ratio.shape)
        margin = np.log(values["tie_threshold"])
        return np.where(perceived > margin, 0, np.where(perceived < -margin, 1, 2))
