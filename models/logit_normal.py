"""Attentiveness that is normal on the logit scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..comparisons.schema import Schema
from .component import Attentiveness, CellView
from .covariates import Standardised, linear
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import LogNormal, Normal, Prior
from .settings import columns, prior_of
from .supports import POSITIVE, REAL

__all__ = ["LogitNormal"]

_REACH = 9.0  # standard deviations: the normal density has fallen by exp(-40)


@dataclass(frozen=True)
class LogitNormal(Standardised, Attentiveness):
    """logit(eta_u) ~ Normal(loc + x_u . w, scale^2): one hump, thinner at the ends than `Beta` with shapes below 1.

    x_u is what is known of the user: numeric columns that are the same in all of a user's comparisons (a signup
    channel as 0 or 1, days since sign-up), each less its mean and over its standard deviation over the comparisons. A
    user of few votes is then drawn towards the users who are alike, and not towards all. A channel with more than two
    values takes an indicator of each but one.

    Args:
        loc_prior, scale_prior: priors of `attentiveness_loc` and `attentiveness_scale`, logits. The latter (median 1,
            90 % between 0.29 and 3.4) vanishes at 0: a modal estimate is otherwise often 0 there, where users' own
            votes count for nothing (Chung, Rabe-Hesketh, Dorie, Gelman and Liu 2013, Psychometrika 78).
        covariates: names of numeric columns (default: none).
        slope_prior: prior of each `attentiveness_slope` (covariate), logits per standard deviation of its column.
        centres, scales: means and standard deviations of the columns; None: those of the log.

    Raises:
        EarnestError: names that are none, or centres and scales that do not fit them; in a log, a user with two values.

    Example:
        Users who came by the web attend less; the slope over the column's standard deviation is the difference.

        >>> import earnest as er
        >>> model = er.BehaviorModel(er.LogitNormal(covariates=("from_web",)))
        >>> web = {"from_web": lambda rng, users: rng.integers(0, 2, users)}
        >>> told = {"attentiveness_slope": [-1.0]}
        >>> truth = model.simulate(users=200, comparisons_per_user=20, models=3, seed=1, columns=web, parameters=told)
        >>> fit = er.fit_em(model, truth.log)
        >>> bool(fit.parameters["attentiveness_slope"][0] < -0.5)
        True
        >>> low, high = fit.intervals(0.9)["attentiveness_slope"]
        >>> bool(low[0] < -1.0 < high[0])
        True
    """

    gauss_exact: ClassVar[bool] = False

    loc_prior: Prior = prior_of(Normal, REAL)
    scale_prior: Prior = prior_of(lambda: LogNormal(0.0, 0.75), POSITIVE)
    covariates: tuple[str, ...] = columns(())
    slope_prior: Prior = prior_of(Normal, REAL)
    centres: tuple[float, ...] | None = None
    scales: tuple[float, ...] | None = None

    @property
    def of_user(self) -> tuple[str, ...]:  # type: ignore[override]  # a constant of simpler components
        return self.covariates

    @property
    def slopes(self) -> tuple[str, ...]:
        return ("attentiveness_slope",) if self.covariates else ()

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        named = (("covariate", self.covariates),)
        slope = (Parameter("attentiveness_slope", self.slope_prior, ("covariate",), named),)
        own = (Parameter("attentiveness_loc", self.loc_prior), Parameter("attentiveness_scale", self.scale_prior))
        return (*own, *slope) if self.covariates else own

    def offset(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return linear(xp, values["attentiveness_slope"], self.standard(cells)) if self.covariates else None

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

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        logit = rng.normal(values["attentiveness_loc"], values["attentiveness_scale"], size)
        return np.asarray(np.exp(-np.logaddexp(0.0, -logit)))

    def starts(self, schema: Schema) -> Sequence[Values]:
        return [{"attentiveness_loc": loc, "attentiveness_scale": 1.0} for loc in (0.8, -0.8)]
