"""How long a vote took, as evidence of whether it was attended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ..comparisons.cells import Cells
from ..comparisons.context import TIMESTAMP
from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .attention import STATES, Attention
from .component import CellView
from .covariates import check_positive, log_moments
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import LogNormal, Normal, Prior
from .settings import column, number, prior_of
from .supports import POSITIVE, REAL

__all__ = ["Speedster"]


@dataclass(frozen=True)
class Speedster(Attention):
    """Who clicks without reading is quick: attended and casual votes have a dwell time of their own law.

    log(dwell time), less `centre` and over `scale`, is normal with mean `dwell_loc` and standard deviation
    `dwell_scale`, each (state,): casual, attended. Unlike a covariate of `SampleAttention` the time does not move a
    user's attention, it bears witness to it: the likelihood is that of votes and times, and cannot be compared with
    that of a model of the votes alone.

    Args:
        column: the numeric column with the times, above 0, in any unit.
        prior: prior of each `dwell_loc`.
        scale_prior: prior of each `dwell_scale`. It must vanish at 0, where the density of a time is unbounded.
        centre, scale: of the logarithms; None: their mean and standard deviation in the log (0 and 1 in a simulation).

    Raises:
        EarnestError: no name of a column, or a prior whose support does not fit.

    Reference: model.md, section 2; Wise and DeMars (2006), Journal of Educational Measurement 43.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(attention=er.Speedster("seconds"))
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> fit.parameters["dwell_loc"].shape
        (2,)
    """

    column: str = column()
    prior: Prior = prior_of(Normal, REAL)
    scale_prior: Prior = prior_of(lambda: LogNormal(0.0, 0.5), POSITIVE)
    centre: float | None = number(None, -np.inf)
    scale: float | None = number(None, 0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.column == TIMESTAMP:
            raise EarnestError("Speedster(column='timestamp'): when a vote was given is not how long it took")

    @property
    def told(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant of simpler components
        return (self.column,)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        priors = {"dwell_loc": self.prior, "dwell_scale": self.scale_prior}
        return tuple(Parameter(name, prior, ("state",), STATES) for name, prior in priors.items())

    def draw_column(self, name: str, rng: np.random.Generator, size: int) -> np.ndarray:
        return np.exp(rng.standard_normal(size))  # times that bear no witness

    def starts(self, schema: Schema) -> Sequence[Values]:
        return tuple({"dwell_loc": np.array([-side, side])} for side in (0.5, -0.5))

    def check(self, cells: Cells) -> None:
        check_positive(self, self.column, cells)

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> Self:
        centre, scale = log_moments(cells[self.column], counts)
        return replace(self, centre=centre if self.centre is None else self.centre, scale=self.scale or scale)

    def evidence(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        loc, scale = values["dwell_loc"], values["dwell_scale"]
        at = (xp.log(cells[self.column]) - (self.centre or 0.0)) / (self.scale or 1.0)
        return tuple(_log_phi((at - loc[s]) / scale[s]) - xp.log(scale[s]) for s in (1, 0))

    def tell(
        self, rng: np.random.Generator, values: Values, attended: np.ndarray, cells: CellView
    ) -> dict[str, np.ndarray]:  # fmt: skip
        loc, scale = (np.asarray(values[name])[attended.astype(int)] for name in ("dwell_loc", "dwell_scale"))
        at = loc + scale * rng.standard_normal(len(attended))
        return {self.column: np.exp((self.centre or 0.0) + (self.scale or 1.0) * at)}


def _log_phi(x: Any) -> Any:
    """Log-density of the standard normal distribution, nats."""
    return -0.5 * x**2 - 0.5 * float(np.log(2 * np.pi))
