"""What a user who attends chooses: P_n(y)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .component import CellView, Preference
from .covariates import Scaled, linear
from .namespace import NUMPY, Namespace, array_module
from .parameters import Parameter, Values
from .priors import Beta, HalfNormal, HierarchicalNormal, Normal, Prior, ZeroSumNormal
from .settings import category_switch, check_setting, columns, number, prior_of
from .supports import POSITIVE, REAL, UNIT, ZERO_SUM
from .ties import NoTies, TieRule

__all__ = ["BradleyTerry", "KnownAdvantage", "PairAdvantage", "WithTies"]


@dataclass(frozen=True)
class WithTies(Preference):
    """A preference that states a log-ratio of strengths and leaves the outcome to a tie rule."""

    directed: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if getattr(self, "ties", None) is not None:
            check_setting(self, "ties", TieRule, "Davidson(), RaoKupper() or None")
        if isinstance(getattr(self, "ties", None), NoTies):
            raise EarnestError(f"{type(self).__name__}(ties=NoTies()): for a model without ties give ties=None")

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """log(strength of model_a / strength of model_b), (cell,)."""
        raise NotImplementedError

    @property
    def rule(self) -> TieRule:
        """How ties come about, and the outcomes' probabilities from the log-ratio."""
        return getattr(self, "ties", None) or NoTies()

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return self.rule.log_prob(xp, values, self.log_ratio(xp, values, cells), cells)

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        return self.rule.sample(rng, values, np.asarray(self.log_ratio(NUMPY, values, cells), dtype=float))


@dataclass(frozen=True)
class BradleyTerry(Scaled, WithTies):
    """A skill per model; log(strength_a / strength_b) = skill_a - skill_b + covariates . slopes.

    Skills are on the log-odds scale and sum to zero. With `by_category` a model's skill in a category is
    skill + skill_deviation, and the deviations are Normal(0, skill_scale): categories share what they have in common
    and few votes do not tear them apart (partial pooling). How much they share, `skill_scale`, is estimated with the
    deviations integrated out: by the samplers as any parameter, by EM by Laplace's method.

    Args:
        ties: `Davidson()`, `RaoKupper()` or None (a log with ties is then refused).
        prior: prior of the skills.
        by_category: let skills vary with the log's column `category`.
        covariates: numeric columns, each a difference first minus second (`"length_difference"`), whose influence is
            to be told from the models' skills: what LMArena calls style control.
        category_scale: `skill_scale`, the standard deviation of `skill_deviation` (category, model), log-odds. None:
            it is estimated.
        scale_prior: prior of `skill_scale`.
        slope_prior: prior of each `preference_slope` (covariate), per root mean square of its column.
        scales: root mean squares of the covariates; None: those of the log.

    Reference: Bradley and Terry (1952), Biometrika 39.

    Example:
        >>> BradleyTerry().allows_ties
        False
        >>> [p.name for p in BradleyTerry(by_category=True, covariates=("length_difference",)).parameters(None)]
        ['skill', 'skill_scale', 'skill_deviation', 'preference_slope']
    """

    ties: TieRule | None = None
    prior: Prior = prior_of(ZeroSumNormal, ZERO_SUM)
    by_category: bool = category_switch()
    covariates: tuple[str, ...] = columns(())
    category_scale: float | None = number(None, 0.0)
    scale_prior: Prior = prior_of(HalfNormal, POSITIVE)
    slope_prior: Prior = prior_of(Normal, REAL)
    scales: tuple[float, ...] | None = None

    @property
    def directed(self) -> bool:  # type: ignore[override]  # a constant of simpler components
        return bool(self.covariates)  # a difference turns with the comparison, its column does not

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        out = [Parameter("skill", self.prior, ("model",))]
        if self.by_category:
            deviation: Prior = HierarchicalNormal("skill_scale", zero_sum=True)
            if self.category_scale is None:
                out.append(Parameter("skill_scale", self.scale_prior))
            else:
                deviation = ZeroSumNormal(self.category_scale)
            out.append(Parameter("skill_deviation", deviation, ("category", "model")))
        if self.covariates:
            named = (("covariate", self.covariates),)
            out.append(Parameter("preference_slope", self.slope_prior, ("covariate",), named))
        return (*out, *self.rule.parameters(schema))

    def starts(self, schema: Schema) -> Sequence[Values]:
        return ({"skill_scale": np.array(0.5)},) if self.by_category and self.category_scale is None else ({},)

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        skill = values["skill"]
        ratio = skill[cells.model_a] - skill[cells.model_b]
        if self.by_category:
            deviation, kind = values["skill_deviation"], cells["category"]
            ratio = ratio + deviation[kind, cells.model_a] - deviation[kind, cells.model_b]
        if self.covariates:
            ratio = ratio + linear(xp, values["preference_slope"], self.scaled(cells))
        return ratio


@dataclass(frozen=True)
class PairAdvantage(WithTies):
    """One unknown probability for each pair of models that met, with no transitivity assumed.

    `advantage` is the probability that the pair's first-named model wins among decided outcomes.

    Args:
        ties: `Davidson()`, `RaoKupper()` or None.
        prior: prior of each advantage.

    Reference: model.md, section 2.
    """

    ties: TieRule | None = None
    prior: Prior = prior_of(Beta, UNIT)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return (Parameter("advantage", self.prior, ("pair",)), *self.rule.parameters(schema))

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        advantage = values["advantage"][cells.pair]
        return self.rule.from_decided(xp, values, cells.sign * (xp.log(advantage) - xp.log1p(-advantage)))

    def maximize(self, schema: Schema, cells: CellView, weights: Any, prior: bool) -> dict[str, Any] | None:
        if self.ties is not None or not isinstance(self.prior, Beta):
            return None
        xp = array_module(weights)
        one_hot = xp.asarray(cells.pair)[None, :] == np.arange(schema.n_pairs)[:, None]
        first_won = xp.asarray(cells.won_a) == (xp.asarray(cells.sign) > 0)
        wins, losses = ((one_hot * (weights * won)).sum(1) for won in (first_won, ~first_won))
        # A pair that no attentive vote bears on stays at the even odds.
        return {"advantage": self.prior.estimate(xp, wins, losses, prior)}


@dataclass(frozen=True)
class KnownAdvantage(WithTies):
    """The stronger model wins with a known probability mu among decided outcomes: nothing is estimated.

    With `fit_em(..., method="label")` this is the estimator of "Users as Annotators" (arXiv 2510.13830).

    Args:
        mu: probability that the stronger of the two models wins, in [0.5, 1).
        stronger: model names from the strongest to the weakest. None: in each pair the model with more wins in the log.
        ties: `Davidson()`, `RaoKupper()` or None.

    Raises:
        EarnestError: mu outside [0.5, 1), or no order of different names; in a log, a pair of models of which neither
            the order nor (of two models) the votes say which is stronger.

    Example:
        >>> KnownAdvantage(0.7, stronger=("large", "small")).mu
        0.7
    """

    mu: float = 0.7
    stronger: tuple[str, ...] | None = None
    ties: TieRule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        number = isinstance(self.mu, int | float) and not isinstance(self.mu, bool)
        if not number or not 0.5 <= self.mu < 1.0:
            raise EarnestError(
                f"KnownAdvantage(mu={self.mu!r}): expected the probability that the stronger model wins, in [0.5, 1)"
            )
        given: Any = self.stronger
        if given is None:
            return
        names = (given,) if isinstance(given, str) else tuple(given)
        if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise EarnestError(f"KnownAdvantage(stronger={given!r}): expected different model names, strongest first")
        object.__setattr__(self, "stronger", names)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return self.rule.parameters(schema)

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> KnownAdvantage:
        if self.stronger is not None:
            return self
        if schema.n_models > 2:
            raise EarnestError(
                f"KnownAdvantage: the log has {schema.n_models} models; say which are stronger: "
                f"KnownAdvantage({self.mu}, stronger=({schema.models[0]!r}, {schema.models[1]!r}, ...)), best first"
            )
        decided = ~np.asarray(cells.tie)
        first_won = np.asarray(cells.won_a) == (np.asarray(cells.sign) > 0)
        balance = float((counts * decided * np.where(first_won, 1, -1)).sum())
        if balance == 0:
            raise EarnestError(
                f"KnownAdvantage: {schema.models[0]!r} and {schema.models[1]!r} won equally often, so the votes do not "
                "say which is stronger: give stronger=(name, ...)"
            )
        return replace(self, stronger=schema.models if balance > 0 else schema.models[::-1])

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        models = cells.schema.models
        order = self.stronger if self.stronger is not None else models
        unknown = [name for name in order if name not in models]
        if unknown and not set(order) & set(models):
            raise EarnestError(f"KnownAdvantage: no model of the log is among stronger={order}; the log has {models}")
        # Models that are not named rank below those that are.
        rank = np.array([order.index(name) if name in order else len(order) for name in models])
        first, second = np.array(cells.schema.pairs).reshape(-1, 2).T
        if np.any(rank[first] == rank[second]):
            tied = int(np.argmax(rank[first] == rank[second]))
            raise EarnestError(
                f"KnownAdvantage: stronger={order} does not say which of {models[first[tied]]!r} and "
                f"{models[second[tied]]!r} is stronger: name at least one of them"
            )
        first_is_stronger = np.where(rank[first] < rank[second], 1.0, -1.0)
        log_odds = float(np.log(self.mu) - np.log1p(-self.mu))
        signs = xp.stack(list(first_is_stronger))[cells.pair] if len(first) > 1 else float(first_is_stronger[0])
        return self.rule.from_decided(xp, values, cells.sign * signs * log_odds)
