"""The behavioural model: three components, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.context import PREVIOUS, TIMESTAMP
from ..comparisons.counting import check_one_at_a_time, count_cells
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.schema import Schema
from . import declaration
from .attention import Attention
from .attentiveness import Beta
from .casual import PositionBias
from .component import Attentiveness, Casual, CellView, Component, Preference
from .covariates import check_of_user
from .crossed import Crossed
from .gold import GOLD, GOLD_USER, Gold
from .kinds import Kinds
from .namespace import Namespace
from .parameters import Parameter, ParameterTable, Values
from .preference import BradleyTerry
from .ties import Davidson

if TYPE_CHECKING:
    from .simulate import Truth

__all__ = ["BehaviorModel", "usual"]

_ROLES: dict[str, type[Component]] = {"attentiveness": Attentiveness, "preference": Preference, "casual": Casual}
_SETTINGS = (*_ROLES, "attention")  # which components are given in; the last one may be absent


@dataclass(frozen=True)
class BehaviorModel:
    """Pr(y_n | eta_u) = eta_u P_n(y_n) + (1 - eta_u) C_n(y_n).

    Args:
        attentiveness: the population of eta_u (default `Beta()`).
        preference: P, what a user who attends chooses (default `BradleyTerry()`, without ties).
        casual: C, what a user who does not attend chooses (default `PositionBias()`).
        attention: how a user's attention varies from comparison to comparison (default: it does not).
        gold: users who are known to attend, and comparisons whose right answer is known (default: none).

    Raises:
        EarnestError: a component of the wrong kind, or two components that share a parameter name.

    Reference: model.md, section 2.

    Example:
        >>> model = BehaviorModel()
        >>> BehaviorModel.from_toml(model.to_toml()) == model
        True
    """

    attentiveness: Attentiveness = field(default_factory=Beta)
    preference: Preference = field(default_factory=BradleyTerry)
    casual: Casual = field(default_factory=PositionBias)
    gold: Gold | None = None
    attention: Attention | None = None

    def __post_init__(self) -> None:
        for role, kind in _ROLES.items():
            value = getattr(self, role)
            if not isinstance(value, kind):
                shown = value.__name__ + " (the class: call it)" if isinstance(value, type) else repr(value)
                raise EarnestError(f"BehaviorModel({role}=...): expected a {kind.__name__} component, got {shown}")
        for name, optional, what in (
            ("gold", Gold, "earnest.Gold(...)"),
            ("attention", Attention, "an Attention component"),
        ):
            value = getattr(self, name)
            if value is not None and not isinstance(value, optional):
                raise EarnestError(f"BehaviorModel({name}={value!r}): expected {what} or None")
        for component in self.components:
            seen = {name for other in self.components if other is not component for name in other.context}
            if shared := sorted(seen.intersection(component.told)):
                raise EarnestError(
                    f"{type(component).__name__} says how {shared[0]!r} comes about with a vote, and another component "
                    "looks at it before the vote: one column cannot be both"
                )
            if reason := component.objection(self):
                raise EarnestError(f"{type(component).__name__} cannot stand {reason}")
        if self.attention is not None and self.attentiveness.slopes:
            own, beside = (type(part).__name__ for part in (self.attentiveness, self.attention))
            if not self.attention.has("log_odds"):
                raise EarnestError(
                    f"{own} with covariates cannot stand beside {beside}: covariates move the odds of each vote on "
                    "its own, and it has another way from attentiveness to votes"
                )
            if shared := sorted(set(self.attentiveness.of_user).intersection(self.attention.context)):
                raise EarnestError(f"{own} and {beside} both have a slope on {shared[0]!r}: name it in one of them")

    def __repr__(self) -> str:
        from .cards import brief

        own = [brief(part) for part in (self.attentiveness, self.preference, self.casual)]
        more = [f"{name}={brief(part)}" for name in ("gold", "attention") if (part := getattr(self, name)) is not None]
        return f"BehaviorModel({', '.join([*own, *more])})"

    def _repr_html_(self) -> str:
        from .cards import model_card

        return model_card(self)

    @property
    def components(self) -> tuple[Component, ...]:
        """The components, in the order of the declaration."""
        own = (self.attentiveness, self.preference, self.casual)
        return own if self.attention is None else (*own, self.attention)

    @property
    def roles(self) -> dict[str, Component]:
        """The components by the setting that they are given in."""
        return dict(zip(_SETTINGS, self.components, strict=False))

    @property
    def crossed(self) -> Crossed | None:
        """Effects shared across users, or None."""
        return self.preference.crossed

    @property
    def context(self) -> tuple[str, ...]:
        """Further columns of the log that the model looks at."""
        answers = (GOLD,) if self.gold is not None and self.gold.answers else ()
        named = (name for component in self.components for name in component.context)
        return tuple(dict.fromkeys((*named, *answers)))

    @property
    def directed(self) -> bool:
        """Whether any component minds which response was shown first."""
        return any(component.directed for component in self.components)

    @property
    def told(self) -> tuple[str, ...]:
        """Those of these columns that come about with the votes."""
        return tuple(dict.fromkeys(name for component in self.components for name in component.told))

    @property
    def of_user(self) -> tuple[str, ...]:
        """Those of these columns that are the same in all of a user's comparisons."""
        return tuple(dict.fromkeys(name for component in self.components for name in component.of_user))

    @property
    def ordered(self) -> bool:
        """Whether any component minds the order of a user's votes."""
        return bool({TIMESTAMP, PREVIOUS}.intersection(self.context))

    @property
    def chained(self) -> bool:
        """Whether one vote's state bears on the next one's."""
        return self.attention is not None and self.attention.has("transition")

    @property
    def polynomial(self) -> bool:
        """Whether a user's likelihood is a polynomial in attentiveness: no comparison has odds of its own."""
        return not self.attentiveness.slopes and (self.attention is None or not self.attention.has("log_odds"))

    def moving(self, schema: Schema) -> tuple[Parameter, ...]:
        """The unknowns that move the log-odds of attending, of users or of single comparisons."""
        of_users = (p for p in self.attentiveness.parameters(schema) if p.name in self.attentiveness.slopes)
        attention = self.attention if self.attention is not None and self.attention.has("log_odds") else None
        return (*of_users, *(() if attention is None else attention.parameters(schema)))

    def table(self, schema: Schema) -> ParameterTable:
        """All unknowns for these names."""
        shared = () if self.crossed is None else self.crossed.parameters(schema)
        return ParameterTable((*(p for c in self.components for p in c.parameters(schema)), *shared), schema)

    def count(self, log: ComparisonLog, schema: Schema | None = None) -> Counts:
        """Count a log into (user, cell), looking only at what the components look at.

        Raises:
            InputError: the log has ties and the model none, lacks a column that a component needs, or (of a model that
                minds their order) has two votes of a user at one moment on the same models.
        """
        counts = count_cells(
            log, ties=self.preference.allows_ties, context=self.context, symmetric=not self.directed, schema=schema
        )
        if self.chained:
            check_one_at_a_time(log.source, counts)
        for component in self.components:
            component.check(counts.cells)
        self.check_users(counts, log.source)
        if counts.multiplicity is not None and self.gold is not None and self.gold.users:
            raise EarnestError(
                f"{log.source}: Gold(users=...) names users, whom a log on Spark does not know apart; give known "
                "answers instead (a column of them, gold=...)"
            )
        return self.gold.mark(counts) if self.gold is not None and self.gold.users else counts

    def check_users(self, counts: Counts, source: str) -> None:
        """Raise an `InputError` where a column that is known of the user differs between a user's comparisons."""
        for name in self.of_user:
            check_of_user(name, counts, source)

    def attends(self, users: Any) -> np.ndarray:
        """Which of some users are known to attend, (user,) booleans."""
        return np.zeros(len(users), dtype=bool) if self.gold is None else self.gold.known(users)

    def prepare(self, counts: Counts, schema: Schema | None = None) -> BehaviorModel:
        """A copy in which everything that the declaration left to the data is settled."""
        view = CellView.of(counts.cells, schema)
        totals = counts.totals()
        if GOLD in view.context:
            totals = np.where(view[GOLD] > 0, 0.0, totals)  # their answers were known: they tell nothing of the models
        settled: dict[str, Any] = {role: part.prepare(view.schema, view, totals) for role, part in self.roles.items()}
        return replace(self, **settled)  # `prepare` keeps the kind; __post_init__ checks it

    def measure(self, cells: CellView, counts: np.ndarray) -> BehaviorModel:
        """A copy whose components know the scales of the columns that they look at; counts are (cell,)."""
        measured: dict[str, Any] = {role: part.measure(cells, counts) for role, part in self.roles.items()}
        return replace(self, **measured)

    def kinds(self, schema: Schema) -> Kinds:
        """The kinds of users that the components tell apart."""
        signs = ("sincere", "contrary") if self.attentiveness.signed else ()
        return Kinds.of(signs, self.preference.kinds(schema), self.casual.kinds(schema), self.casual.attends(schema))

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> tuple[Any, Any]:
        """(log P, log C) of every cell, nats, (cell,) each, or (kind, cell) where kinds are told apart.

        Of a kind that never attends P is C, so that the mixture is C whatever the attentiveness.
        """
        kinds = self.kinds(cells.schema)
        log_p, log_c = self._attentive(xp, values, cells), self.casual.log_prob(xp, values, cells)
        if kinds.size > 1:
            attentive = [log_p]
            if self.attentiveness.signed:
                turned = self._attentive(xp, values, cells.turned())
                sure = GOLD_USER in cells.context
                attentive.append(xp.where(cells[GOLD_USER] > 0, log_p, turned) if sure else turned)
            log_p, log_c = kinds.spread(xp, attentive, log_c)
            if kinds.never.any():
                never = kinds.never[:, None]
                never = never & (cells[GOLD_USER] == 0) if GOLD_USER in cells.context else never
                log_p = xp.where(never, log_c, log_p)
        return log_p, log_c if self.gold is None else self.gold.attended(xp, cells, log_p, log_c)

    def plain_log_prob(self, xp: Namespace, values: Values, cells: CellView) -> tuple[Any, Any]:
        """(log P, log C) of every kind as it would be, did it attend and attend in earnest, (kind, cell) each."""
        kinds = self.kinds(cells.schema)
        attentive = [self._attentive(xp, values, cells)] * kinds.shape[0]
        return kinds.spread(xp, attentive, self.casual.log_prob(xp, values, cells))

    def _attentive(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        log_p = self.preference.log_prob(xp, values, cells)
        return log_p if self.gold is None else self.gold.answered(xp, cells, log_p)

    def log_shares(self, xp: Namespace, values: Values, schema: Schema) -> Any:
        """Log share of each kind as far as preference and casual component say; see `Kinds.log_shares`."""
        of = [part.log_kinds(xp, values) if part.kinds(schema) else None for part in (self.preference, self.casual)]
        return self.kinds(schema).log_shares(xp, *of)

    def log_odds(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """By how much each comparison and its user move the log-odds of attending, (cell,), or None where none does.

        A gold user attends to every comparison, and so is not moved.
        """
        parts = (self.offset(xp, values, cells), self.moved(xp, values, cells))
        known = [part for part in parts if part is not None]
        return sum(known[1:], known[0]) if known else None

    def offset(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """The part of it that is the user's own, by which attentiveness itself is moved."""
        return self._unless_gold(xp, cells, self.attentiveness.offset(xp, values, cells))

    def moved(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """The part of it that is the single comparison's."""
        moved = None if self.attention is None else self.attention.log_odds(xp, values, cells)
        return self._unless_gold(xp, cells, moved)

    def _unless_gold(self, xp: Namespace, cells: CellView, moved: Any) -> Any:
        if moved is None or GOLD_USER not in cells.context:
            return moved
        return xp.where(cells[GOLD_USER] > 0, 0.0, moved)

    def evidence(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """Log-densities of what came about with each vote if attended and if not, (cell,) each, or None.

        A gold user attends to every comparison.
        """
        told = None if self.attention is None else self.attention.evidence(xp, values, cells)
        if told is None or GOLD_USER not in cells.context:
            return told
        attended, casual = told
        return attended, xp.where(cells[GOLD_USER] > 0, attended, casual)

    def stay(self, xp: Namespace, values: Values) -> Any:
        """Probability that a vote is given in the state of the one before, (state,), or None where each is tossed."""
        return None if self.attention is None else self.attention.transition(xp, values)

    def component_weights(self, xp: Namespace, cells: CellView, attended: Any, casual: Any) -> tuple[Any, Any]:
        """Of expected attended and casual comparisons those from which P and C are learned, (cell,) each."""
        return (attended, casual) if self.gold is None else self.gold.weights(xp, cells, attended, casual)

    @property
    def labelled(self) -> bool:
        """Whether any component has labels that may be exchanged."""
        return any(component.labelled for component in self.components)

    def canonical(self, values: Values) -> dict[str, np.ndarray]:
        """The same values, axes as they were, with all labels in their fixed order; see `Component.canonical`."""
        out = dict(values)
        for component in self.components:
            out = component.canonical(out)
        return out

    def simulate(
        self,
        users: int = 1000,
        comparisons_per_user: int | Sequence[int] = 20,
        models: int | Sequence[str] = 4,
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
        texts: bool = False,
        columns: Mapping[str, Any] | None = None,
    ) -> Truth:
        """Simulate a log from the generative story. Gold users attend to every comparison; gold answers are not made.

        Args:
            users: number of users.
            comparisons_per_user: one number, or one a user (a user with 0 does not occur in the log).
            models: number of models or their names. Every comparison shows two different ones, uniformly chosen; those
                of an item show the same two, in either order.
            seed: of all randomness.
            parameters: true values, {name: array}; those not given are drawn from their priors. Values by model are
                given in the order of `models`, and come back in alphabetical order, like every result.
            texts: add `prompt`, `response_a` and `response_b` with placeholder texts.
            columns: {name: values (comparison,), or a function of (rng, size) that draws them} for columns that the
                model looks at; others are drawn as the components say. See `models.simulate.simulate`.

        Returns:
            The log with its truth.

        Raises:
            EarnestError: no user, fewer than two models, a parameter that the model does not have or of the wrong
                shape.
        """
        from .simulate import simulate

        return simulate(self, users, comparisons_per_user, models, seed, parameters, texts, columns)

    def to_toml(self) -> str:
        """The declaration as TOML text."""
        tables = {role: declaration.component_to_table(part) for role, part in self.roles.items()}
        if self.gold is not None:
            tables["gold"] = declaration.settings_to_table(self.gold)
        return declaration.dump({"format": declaration.FORMAT, **tables})

    @classmethod
    def from_toml(cls, text: str) -> BehaviorModel:
        """The model of a TOML text; a missing component is the default one.

        Raises:
            EarnestError: not TOML, unknown component or setting; the message names the table and the key.
        """
        tables = declaration.parse(text)
        known = [*_SETTINGS, "gold"]
        unknown = sorted(set(tables) - set(known) - {"format"})
        if unknown:
            raise EarnestError(f"unknown table [{unknown[0]}]; a declaration has {', '.join(f'[{r}]' for r in known)}")
        given: dict[str, Any] = {
            role: declaration.component_from_table(tables[role], role) for role in _SETTINGS if role in tables
        }
        if "gold" in tables:
            given["gold"] = declaration.settings_from_table(Gold, tables["gold"], "gold")
        return cls(**given)  # checked by __post_init__, which names the role


def usual(ties: bool) -> BehaviorModel:
    """The model to begin with: the default one, with Davidson's ties where votes may have some."""
    return BehaviorModel(preference=BradleyTerry(ties=Davidson()) if ties else BradleyTerry())
