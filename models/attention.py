"""How a user's attention varies from comparison to comparison, and what bears witness to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .component import CellView, Component
from .covariates import Standardised, linear
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Normal, Prior
from .settings import columns, prior_of
from .supports import REAL

__all__ = ["STATES", "Attention", "SampleAttention"]

STATES = (("state", ("casual", "attended")),)
"""Axis of parameters that a vote's state has values of its own of."""


class Attention(Component):
    """What makes attending to a single comparison more than a toss of the user's attentiveness.

    A component fills one of the three hooks: what moves the probability (`log_odds`), what one vote leaves to the next
    (`transition`), or what is seen of it (`evidence`).
    """

    directed: ClassVar[bool] = False

    def log_odds(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """logit eta_n - logit eta_u of each cell, (cell,)."""
        return None

    def transition(self, xp: Namespace, values: Values) -> Any:
        """Probability that a vote is given in the state of the one before, casual or attended, (state,).

        Else whether it is attended is tossed afresh. Needs `timestamp` in `context`: a user's votes are then in its
        order.
        """
        return None

    def evidence(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """Log-densities of what came about with each vote if attended and if not, a pair of (cell,)."""
        return None

    def tell(
        self, rng: np.random.Generator, values: Values, attended: np.ndarray, cells: CellView
    ) -> dict[str, np.ndarray]:  # fmt: skip
        """The columns in `told` as they come about, {name: (comparison,)}."""
        return {}

    def has(self, hook: str) -> bool:
        """Whether the component fills one of the hooks."""
        return getattr(type(self), hook) is not getattr(Attention, hook)


@dataclass(frozen=True)
class SampleAttention(Standardised, Attention):
    """logit eta_n = logit eta_u + x_n . w: attention that goes with what is known of the comparison.

    Dwell time, length of the prompt, time in the session: numeric columns, each less its mean and over its standard
    deviation, so that eta_u is a user's attentiveness to an average comparison. Nothing is approximated: however many
    values a column has, each vote has its own. A column that is the same in all of a user's comparisons (a signup
    channel, as 0 or 1) belongs to the user's own attentiveness: `LogitNormal(covariates=...)`.

    Args:
        covariates: names of numeric columns.
        prior: prior of each `attention_slope` (covariate), per standard deviation of its column.
        centres, scales: means and standard deviations of the columns; None: those of the log.

    Raises:
        EarnestError: no column, a name that is none, or centres and scales that do not fit them.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(attention=er.SampleAttention(("dwell_time",)))
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> fit.parameters["attention_slope"].shape
        (1,)
    """

    covariates: tuple[str, ...] = columns()
    prior: Prior = prior_of(Normal, REAL)
    centres: tuple[float, ...] | None = None
    scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.covariates:
            raise EarnestError("SampleAttention(covariates=()): expected at least one numeric column")

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        named = (("covariate", self.covariates),)
        return (Parameter("attention_slope", self.prior, ("covariate",), named),)

    def log_odds(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return linear(xp, values["attention_slope"], self.standard(cells))
