"""Attentiveness without a shape: free weights on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.schema import Schema
from .attentiveness import fixed_levels
from .component import Attentiveness, Continuous, Finite
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Dirichlet, Prior
from .settings import prior_of, whole
from .supports import SIMPLEX

__all__ = ["Nonparametric"]


@dataclass(frozen=True)
class Nonparametric(Attentiveness):
    """eta_u is one of `size` levels, evenly from 0 to 1, with free weights.

    The likelihood alone would put all weight on few levels (Lindsay 1983, Annals of Statistics 11); `support` says on
    how many, which is how much of a population's shape the votes can tell.

    Args:
        size: number of levels, 2 or more.
        prior: prior of the weights `attentiveness_weight` (node).

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(er.Nonparametric(11))
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> 1 <= model.attentiveness.support(fit.parameters) <= 11
        True
    """

    size: int = whole(21, least=2)
    prior: Prior = prior_of(lambda: Dirichlet(1.1), SIMPLEX)

    @property
    def levels(self) -> np.ndarray:
        """(node,)."""
        return np.linspace(0.0, 1.0, self.size)

    def support(self, values: Values, least: float = 0.01) -> int:
        """How many levels have a weight of `least` or more."""
        return int(np.sum(np.asarray(values["attentiveness_weight"]) >= least))

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        names = tuple(f"{level:.6g}" for level in self.levels)
        return (Parameter("attentiveness_weight", self.prior, ("node",), (("node", names),)),)

    def latents(self, schema: Schema) -> Continuous | Finite:
        return Finite(self.size)

    def log_weights(self, xp: Namespace, values: Values, latent: Any) -> Any:
        return xp.log(values["attentiveness_weight"])[latent]

    def attention(self, xp: Namespace, values: Values, latent: Any) -> tuple[Any, Any]:
        return fixed_levels(xp, self.levels, latent)

    def maximize_weights(self, users: Any, prior: bool) -> dict[str, Any] | None:
        shares = self.prior.estimate(users, prior) if isinstance(self.prior, Dirichlet) else None
        return None if shares is None else {"attentiveness_weight": shares}

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        return self.levels[rng.choice(self.size, size=size, p=np.asarray(values["attentiveness_weight"]))]

    def starts(self, schema: Schema) -> Sequence[Values]:
        lean = np.linspace(1.0, 2.0, self.size)
        return [{"attentiveness_weight": weight / weight.sum()} for weight in (lean, lean[::-1])]
