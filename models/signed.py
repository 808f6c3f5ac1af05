"""Attentiveness that may be negative: users who pick the worse response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.schema import Schema
from .attentiveness import Beta
from .namespace import Namespace
from .parameters import Values
from .priors import LogNormal, Prior
from .settings import prior_of
from .supports import POSITIVE

__all__ = ["Signed"]


@dataclass(frozen=True)
class Signed(Beta):
    """(eta_u + 1) / 2 ~ Beta(alpha, beta): a user attends with probability abs(eta_u), to pick the worse if eta_u < 0.

    Which sign is the honest one the votes cannot say; that most users are honest is what the priors say, under which
    alpha > beta in 97 of 100 draws, and where EM starts.

    Args:
        alpha_prior, beta_prior: priors of `attentiveness_alpha` and `attentiveness_beta`.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(er.Signed())
        >>> fit = er.fit_em(model, model.simulate(users=50, comparisons_per_user=10, models=3, seed=1).log)
        >>> list(fit.kinds().columns)
        ['user', 'sincere', 'contrary']
    """

    signed: ClassVar[bool] = True

    alpha_prior: Prior = prior_of(lambda: LogNormal(0.7, 0.5), POSITIVE)
    beta_prior: Prior = prior_of(lambda: LogNormal(-0.7, 0.5), POSITIVE)

    def statistics(self, xp: Namespace, latent: Any) -> tuple[Any, ...] | None:
        # t = (1 + eta) / 2 and 1 - t are halves of 1 + |eta| and 1 - |eta|, whichever the sign.
        more = xp.log1p(xp.exp(xp.log_sigmoid(latent))) - np.log(2.0)
        less = xp.log_sigmoid(-latent) - np.log(2.0)
        volume = xp.log_sigmoid(latent) + less
        return xp.stack([more, less]), xp.stack([less, more]), xp.stack([volume, volume])

    def log_weights_at(self, xp: Namespace, values: Values, statistics: tuple[Any, ...]) -> Any:
        alpha, beta = values["attentiveness_alpha"], values["attentiveness_beta"]
        log_t, log_rest, volume = statistics
        return (alpha - 1.0) * log_t + (beta - 1.0) * log_rest + volume - xp.betaln(alpha, beta)

    def gauss(self, xp: Namespace, values: Values, size: int) -> tuple[Any, Any] | None:
        return None

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        return 2.0 * super().sample(rng, values, size) - 1.0

    def starts(self, schema: Schema) -> Sequence[Values]:
        return [{"attentiveness_alpha": a, "attentiveness_beta": b} for a, b in ((3.0, 0.7), (1.5, 1.0))]
