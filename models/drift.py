"""Users whose attention drifts in the course of their votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.context import TIMESTAMP
from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .attention import STATES, Attention
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Beta, Prior
from .settings import prior_of
from .supports import UNIT

__all__ = ["Drift"]


@dataclass(frozen=True)
class Drift(Attention):
    """Attention lasts: who attended to one vote is likelier to attend to the next.

    A hidden chain of two states, casual and attended. Before each vote it stays as it is with the probability
    `attention_stay` of its state; else it is tossed afresh, attended with the user's attentiveness eta_u:

        Pr(z' = z) = stay_z + (1 - stay_z) Pr(z | eta_u)

    The chain is summed out (forward and backward through each user's votes, in the order of the log's `timestamp`), so
    that a label is weighted by what its neighbours say of that moment. At `stay=(0, 0)` the model is that without
    drift. With equal probabilities eta_u remains the share of comparisons that a user attends to in the long run.

    Args:
        prior: prior of `attention_stay` (state).
        stay: both probabilities, casual and attended, where they are known.

    Raises:
        EarnestError: `stay` is no pair of probabilities below 1.

    Reference: Baum et al. (1970), Annals of Mathematical Statistics 41.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(attention=er.Drift())
        >>> fit = er.fit_em(model, model.simulate(users=40, comparisons_per_user=12, models=3, seed=1).log)
        >>> fit.coords["state"]
        ['casual', 'attended']
    """

    prior: Prior = prior_of(Beta, UNIT)
    stay: tuple[float, float] | None = None

    context: ClassVar[tuple[str, ...]] = (TIMESTAMP,)

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.stay
        if given is None:
            return
        right = isinstance(given, tuple | list) and len(given) == 2
        if not right or not all(isinstance(p, int | float) and 0 <= p < 1 for p in given):
            raise EarnestError(f"Drift(stay={given!r}): expected two probabilities below 1, casual and attended")
        object.__setattr__(self, "stay", (float(given[0]), float(given[1])))

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return () if self.stay is not None else (Parameter("attention_stay", self.prior, ("state",), STATES),)

    def transition(self, xp: Namespace, values: Values) -> Any:
        return np.array(self.stay) if self.stay is not None else values["attention_stay"]
