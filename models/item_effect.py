"""Items that are judged by several users: an effect of each pair of responses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .component import CellView, Preference
from .crossed import Crossed
from .namespace import NUMPY, Namespace
from .parameters import Parameter, Values
from .preference import BradleyTerry, WithTies
from .priors import HalfNormal, Prior
from .settings import check_setting, prior_of
from .supports import POSITIVE
from .ties import TieRule

__all__ = ["ItemEffect"]

_JUDGES = 4


@dataclass(frozen=True)
class ItemEffect(WithTies):
    """log(strength_a / strength_b) of a preference plus d_i, d_i ~ Normal(0, item_scale).

    Two responses differ by more or less than their models do, and all who judge them see the same two.

    Needs the log's column `item`, which names the pair of responses that was judged. d_i refers to the pair's
    first-named model: shown the other way round, its sign turns. Samplers draw `item_effect`; in EM it is a normal
    distribution of each item, and the objective is the evidence lower bound. Such a bound leans towards small scales
    (0.9 where 1.5 is true and four users judge an item: benchmarks/stories.py), so that EM gives `item_scale` no
    interval, and those of skills and effects are too narrow (90 % intervals held two thirds of them: docs/matrix.md).
    EM's ranking of users is as good as the samplers'; for all else, sample.

    In a new log items that the fit never saw have their effect integrated out over Normal(0, item_scale).

    Args:
        preference: what the effect is added to: any that states a log-ratio of strengths (default `BradleyTerry()`).
        scale_prior: prior of `item_scale`, log-odds.

    Raises:
        EarnestError: a preference without a log-ratio; in a log, an item whose votes are of several pairs of models.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(preference=er.ItemEffect(er.BradleyTerry(ties=er.Davidson())))
        >>> fit = er.fit_em(model, model.simulate(users=20, comparisons_per_user=10, models=3, seed=1).log)
        >>> fit.bound, fit.parameters["item_effect"].shape
        (True, (50,))
    """

    preference: WithTies = field(default_factory=BradleyTerry)
    scale_prior: Prior = prior_of(HalfNormal, POSITIVE)

    def __post_init__(self) -> None:
        check_setting(self, "preference", WithTies, "a preference with a log-ratio, for example BradleyTerry()")
        if self.preference.crossed is not None:
            raise EarnestError("ItemEffect(preference=ItemEffect(...)): an item has one effect")
        super().__post_init__()

    @property
    def ties(self) -> TieRule | None:
        """The tie rule of the preference."""
        return getattr(self.preference, "ties", None)

    @property
    def rule(self) -> TieRule:
        return self.preference.rule

    @property
    def context(self) -> tuple[str, ...]:
        return ("item", *self.preference.context)

    @property
    def directed(self) -> bool:  # type: ignore[override]  # a constant of simpler components
        return self.preference.directed

    @property
    def crossed(self) -> Crossed:
        return Crossed("item", "item_effect", Parameter("item_scale", self.scale_prior))

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        return self.preference.parameters(schema)

    def starts(self, schema: Schema) -> Any:
        return self.preference.starts(schema)

    def objection(self, model: Any) -> str:
        if type(self.preference).log_kinds is not Preference.log_kinds:
            return f"around {type(self.preference).__name__}: an item would need an effect of its own for each taste"
        if model.chained:
            return "beside attention that lasts from vote to vote: a vote's effect is integrated out vote by vote"
        return self.preference.objection(model)

    def measure(self, cells: CellView, counts: np.ndarray) -> ItemEffect:
        return self._around(self.preference.measure(cells, counts))

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> ItemEffect:
        item, pair = np.asarray(cells["item"]), np.asarray(cells.pair)
        other = pair != pair[np.unique(item, return_index=True)[1]][np.unique(item, return_inverse=True)[1]]
        if other.any():
            one = int(item[np.argmax(other)])
            name, met = schema.items[one], " and ".join(schema.pair_names[p] for p in np.unique(pair[item == one])[:3])
            raise EarnestError(
                f"item {name!r} has votes on {met}; an item is one pair of responses: give each pair its own name"
            )
        return self._around(self.preference.prepare(schema, cells, counts))

    def _around(self, preference: Any) -> ItemEffect:
        return replace(self, preference=preference)

    def draw_column(self, name: str, rng: np.random.Generator, size: int) -> np.ndarray:
        """Items of four votes each, a user's all different; other columns as the preference draws them."""
        if name != "item":
            return self.preference.draw_column(name, rng, size)
        n_items = -(-size // _JUDGES)
        numbers = np.concatenate([rng.permutation(n_items) for _ in range(_JUDGES)])[:size]
        return np.array([f"item_{i + 1:0{len(str(n_items))}d}" for i in numbers])

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        ratio = self.preference.log_ratio(xp, values, cells)

        def given(effect: Any) -> Any:
            return self.rule.log_prob(xp, values, ratio + cells.sign * effect, cells)

        return self.crossed.log_prob(xp, values, cells, given)

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        effect = np.asarray(values["item_effect"])[cells["item"]]
        return self.rule.sample(rng, values, self.preference.log_ratio(NUMPY, values, cells) + cells.sign * effect)
