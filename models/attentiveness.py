"""The population of users: how attentive they are, eta_u in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from . import priors
from .component import Attentiveness, Continuous, Finite
from .jacobi import gauss_jacobi
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import Prior
from .settings import prior_of, setting
from .supports import POSITIVE, SIMPLEX, UNIT

__all__ = ["Beta", "Groups", "fixed_levels"]


@dataclass(frozen=True)
class Beta(Attentiveness):
    """eta_u ~ Beta(alpha, beta).

    Args:
        alpha_prior, beta_prior: priors of the two shape parameters.

    Reference: model.md, section 4.

    Example:
        >>> [p.name for p in Beta().parameters(None)]
        ['attentiveness_alpha', 'attentiveness_beta']
    """

    alpha_prior: Prior = prior_of(priors.LogNormal, POSITIVE)
    beta_prior: Prior = prior_of(priors.LogNormal, POSITIVE)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (Parameter("attentiveness_alpha", self.alpha_prior), Parameter("attentiveness_beta", self.beta_prior))

    def statistics(self, xp: Namespace, latent: Any) -> tuple[Any, ...] | None:
        return xp.log_sigmoid(latent), xp.log_sigmoid(-latent)

    def log_weights_at(self, xp: Namespace, values: Values, statistics: tuple[Any, ...]) -> Any:
        alpha, beta = values["attentiveness_alpha"], values["attentiveness_beta"]
        log_eta, log_rest = statistics
        # On the logit scale: the Jacobian eta (1 - eta) turns the exponents alpha - 1, beta - 1 into alpha, beta.
        return alpha * log_eta + beta * log_rest - xp.betaln(alpha, beta)

    def gauss(self, xp: Namespace, values: Values, size: int) -> tuple[Any, Any] | None:
        return gauss_jacobi(xp, values["attentiveness_alpha"], values["attentiveness_beta"], size)

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        # Two gamma-distributed amounts of care and of haste.
        care = rng.gamma(values["attentiveness_alpha"], size=size)
        haste = rng.gamma(values["attentiveness_beta"], size=size)
        return np.where(care + haste > 0, care / np.maximum(care + haste, 1e-300), 0.5)

    def starts(self, schema: Schema) -> Sequence[Values]:
        return [
            {"attentiveness_alpha": 2.0, "attentiveness_beta": 1.0},
            {"attentiveness_alpha": 0.7, "attentiveness_beta": 1.4},
        ]


def fixed_levels(xp: Namespace, levels: np.ndarray, latent: Any) -> tuple[Any, Any]:
    """(log eta, log(1 - eta)) of known levels (level,) at the nodes; the shape of `latent`."""
    with np.errstate(divide="ignore"):
        log_level, log_rest = np.log(levels), np.log1p(-levels)
    # `xp.stack` makes a constant of the backend's own type, which a symbolic index can take from.
    return xp.stack(list(log_level))[latent], xp.stack(list(log_rest))[latent]


def _levels(owner: object, name: str) -> int | tuple[float, ...]:
    """The setting of `Groups`: a number of groups, or their distinct levels."""
    given = getattr(owner, name)
    if isinstance(given, int) and not isinstance(given, bool):
        if given < 1:
            raise EarnestError(f"Groups(levels={given}): expected at least one group")
        return given
    if not isinstance(given, tuple | list) or not all(isinstance(level, int | float) for level in given):
        raise EarnestError(f"Groups(levels={given!r}): expected numbers in [0, 1], or how many groups to estimate")
    levels = tuple(float(level) for level in given)
    if not levels or not all(0.0 <= level <= 1.0 for level in levels) or len(set(levels)) < len(levels):
        raise EarnestError(f"Groups(levels={given}): expected distinct numbers in [0, 1]")
    return levels


@dataclass(frozen=True)
class Groups(Attentiveness):
    """Finitely many kinds of users, each with one level of attentiveness.

    Args:
        levels: the levels, fixed (`(0.0, 1.0)`: casual and attentive), or a number of groups whose levels are estimated
            (`attentiveness_level`, ascending).
        weight_prior: prior of the groups' shares `attentiveness_weight`.
        level_prior: prior of each free level.

    Raises:
        EarnestError: a level outside [0, 1], no level, or the same level twice.

    Reference: model.md, section 4 (levels are nodes).

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(er.Groups(2))
        >>> fit = er.fit_em(model, model.simulate(users=60, comparisons_per_user=15, models=3, seed=1).log)
        >>> fit.coords["group"]
        ['group 1', 'group 2']
    """

    levels: tuple[float, ...] | int = setting(_levels, (0.0, 1.0))
    weight_prior: Prior = prior_of(priors.Dirichlet, SIMPLEX)
    level_prior: Prior = prior_of(priors.Beta, UNIT)

    @property
    def free(self) -> bool:
        """Whether the levels are estimated."""
        return isinstance(self.levels, int)

    @property
    def size(self) -> int:
        """Number of groups."""
        return self.levels if isinstance(self.levels, int) else len(self.levels)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        given = range(1, self.size + 1) if isinstance(self.levels, int) else self.levels
        coords = (("group", tuple(f"group {k}" if self.free else f"{k:g}" for k in given)),)
        level = Parameter("attentiveness_level", self.level_prior, ("group",), coords)
        weight = Parameter("attentiveness_weight", self.weight_prior, ("group",), coords)
        return (*((level,) if self.free else ()), *((weight,) if self.size > 1 else ()))

    def latents(self, schema: Schema) -> Continuous | Finite:
        return Finite(self.size)

    def log_weights(self, xp: Namespace, values: Values, latent: Any) -> Any:
        return xp.log(values["attentiveness_weight"])[latent] if self.size > 1 else 0.0 * latent

    def attention(self, xp: Namespace, values: Values, latent: Any) -> tuple[Any, Any]:
        if not self.free:
            return fixed_levels(xp, np.array(self.levels), latent)
        level = values["attentiveness_level"]
        return xp.log(level)[latent], xp.log1p(-level)[latent]

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        levels = np.asarray(values["attentiveness_level"] if self.free else self.levels)
        shares = np.asarray(values["attentiveness_weight"]) if self.size > 1 else np.ones(1)
        return levels[rng.choice(self.size, size=size, p=shares)]

    def starts(self, schema: Schema) -> Sequence[Values]:
        lean = np.linspace(1.0, 2.0, self.size)
        level = {"attentiveness_level": (np.arange(self.size) + 0.5) / self.size} if self.free else {}
        weights = [{"attentiveness_weight": w / w.sum()} for w in (lean, lean[::-1])] if self.size > 1 else [{}]
        return [{**level, **weight} for weight in weights]

    def canonical(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        order = np.argsort(values["attentiveness_level"]) if self.free else np.arange(self.size)
        return {k: v[order] if k.startswith("attentiveness_") else v for k, v in values.items()}
