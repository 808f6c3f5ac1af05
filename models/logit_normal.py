"""Attentiveness that is normal on the logit scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..comparisons.schema import Schema
from .component import Attentiveness, Continuous, Finite, check_prior
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import HalfNormal, Normal, Prior
from .supports import POSITIVE, REAL

__all__ = ["LogitNormal"]

_REACH = 9.0  # standard deviations: the normal density has fallen by exp(-40)


@dataclass(frozen=True)
class LogitNormal(Attentiveness):
    """logit(eta_u) ~ Normal(loc, scale^2): one hump, thinner at the ends than `Beta` with alpha or beta below 1.

    Args:
        loc_prior, scale_prior: priors of `attentiveness_loc` and `attentiveness_scale`, logits.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(er.LogitNormal())
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> fit.status
        'converged'
    """

    gauss_exact: ClassVar[bool] = False

    loc_prior: Prior = field(default_factory=Normal)
    scale_prior: Prior = field(default_factory=HalfNormal)

    def __post_init__(self) -> None:
        check_prior(self, "loc_prior", REAL)
        check_prior(self, "scale_prior", POSITIVE)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (Parameter("attentiveness_loc", self.loc_prior), Parameter("attentiveness_scale", self.scale_prior))

    def latents(self, schema: Schema) -> Continuous | Finite:
        return Continuous()

    def statistics(self, xp: Namespace, latent: Any) -> tuple[Any, ...] | None:
        return latent, latent**2

    def log_weights_at(self, xp: Namespace, values: Values, statistics: tuple[Any, ...]) -> Any:
        loc, scale = values["attentiveness_loc"], values["attentiveness_scale"]
        logit, square = statistics
        distance = square - 2.0 * loc * logit + loc**2
        return -0.5 * distance / scale**2 - xp.log(scale) - 0.5 * np.log(2 * np.pi)

    def gauss(self, xp: Namespace, values: Values, size: int) -> tuple[Any, Any] | None:
        # The trapezoidal rule in standard units converges geometrically, and is as good for a narrow population.
        z, step = np.linspace(-_REACH, _REACH, size, retstep=True)
        logit = values["attentiveness_loc"] + values["attentiveness_scale"] * z
        return xp.exp(xp.log_sigmoid(logit)), 0.0 * logit + (np.log(step / np.sqrt(2 * np.pi)) - 0.5 * z**2)

    def log_weights(self, xp: Namespace, values: Values, latent: Any) -> Any:
        return self.log_weights_at(xp, values, (latent, latent**2))

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        logit = rng.normal(values["attentiveness_loc"], values["attentiveness_scale"], size)
        return np.asarray(np.exp(-np.logaddexp(0.0, -logit)))

    def starts(self, schema: Schema) -> Sequence[Values]:
        return [{"attentiveness_loc": loc, "attentiveness_scale": 1.0} for loc in (0.8, -0.8)]
