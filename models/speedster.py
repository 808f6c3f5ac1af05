"""How long a vote took, as evidence of whether it was attended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .attention import Attention
from .component import CellView, check_prior
from .covariates import column_names
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import LogNormal, Normal, Prior
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

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(attention=er.Speedster("seconds"))
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> fit.parameters["dwell_loc"].shape
        (2,)
    """

    column: str
    prior: Prior = field(default_factory=Normal)
    scale_prior: Prior = field(default_factory=lambda: LogNormal(0.0, 0.5))
    centre: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        given: Any = self.column
        column_names(self, "column", (given,))
        check_prior(self, "prior", REAL)
        check_prior(self, "scale_prior", POSITIVE)
        for name in ("centre", "scale"):
            value: Any = getattr(self, name)
            right = isinstance(value, int | float) and np.isfinite(value) and (value > 0 or name == "centre")
            if value is not None and not right:
                raise EarnestError(f"Speedster({name}={value!r}): expected a {'positive ' * (name == 'scale')}number")

    @property
    def context(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant of simpler components
        return (self.column,)

    @property
    def told(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.column,)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        named = (("state", ("casual", "attended")),)
        return (
            Parameter("dwell_loc", self.prior, ("state",), named),
            Parameter("dwell_scale", self.scale_prior, ("state",), named),
        )

    def draw_column(self, name: str, rng: np.random.Generator, size: int) -> np.ndarray:
        return np.exp(rng.standard_normal(size))  # times that bear no witness

    def starts(self, schema: Schema) -> Sequence[Values]:
        return ({"dwell_loc": np.array([-0.5, 0.5])}, {"dwell_loc": np.array([0.5, -0.5])})

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> Self:
        seconds = np.asarray(cells[self.column], dtype=float)
        if len(seconds) and not seconds.min() > 0:
            raise EarnestError(
                f"Speedster(column={self.column!r}): expected times above 0, the log has {seconds.min():g}; leave such "
                "votes out, or put the shortest time that could be measured in their place"
            )
        logs, share = np.log(seconds), counts / max(float(np.sum(counts)), 1e-300)
        centre = float(share @ logs) if self.centre is None else self.centre
        spread = float(np.sqrt(share @ (logs - centre) ** 2)) if self.scale is None else self.scale
        return replace(self, centre=centre, scale=spread if spread > 1e-9 else 1.0)

    def evidence(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        at = (xp.log(cells[self.column]) - (self.centre or 0.0)) / (self.scale or 1.0)
        casual, attended = (
            -0.5 * ((at - values["dwell_loc"][s]) / values["dwell_scale"][s]) ** 2
            - xp.log(values["dwell_scale"][s])
            - 0.5 * float(np.log(2 * np.pi))
            for s in (0, 1)
        )
        return attended, casual

    def tell(
        self, rng: np.random.Generator, values: Values, attended: np.ndarray, cells: CellView
    ) -> dict[str, np.ndarray]:  # fmt: skip
        state = attended.astype(int)
        at = np.asarray(values["dwell_loc"])[state] + np.asarray(values["dwell_scale"])[state] * rng.standard_normal(
            len(state)
        )
        return {self.column: np.exp((self.centre or 0.0) + (self.scale or 1.0) * at)}
