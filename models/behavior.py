"""The behavioural model: three components, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.counting import count_cells
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.schema import Schema
from . import declaration
from .attentiveness import Beta
from .casual import PositionBias
from .component import Attentiveness, Casual, CellView, Component, Preference
from .gold import GOLD, Gold
from .namespace import Namespace
from .parameters import ParameterTable, Values
from .preference import BradleyTerry

if TYPE_CHECKING:
    from .simulate import Truth

__all__ = ["BehaviorModel"]

_ROLES: dict[str, type[Component]] = {"attentiveness": Attentiveness, "preference": Preference, "casual": Casual}


@dataclass(frozen=True)
class BehaviorModel:
    """Pr(y_n | eta_u) = eta_u P_n(y_n) + (1 - eta_u) C_n(y_n).

    Args:
        attentiveness: the population of eta_u (default `Beta()`).
        preference: P, what a user who attends chooses (default `BradleyTerry()`, without ties).
        casual: C, what a user who does not attend chooses (default `PositionBias()`).
        gold: users who are known to attend, and comparisons whose right answer is known (default: none).

    Raises:
        EarnestError: a component of the wrong kind, or two components that share a parameter name.

    Example:
        >>> model = BehaviorModel()
        >>> BehaviorModel.from_toml(model.to_toml()) == model
        True
    """

    attentiveness: Attentiveness = field(default_factory=Beta)
    preference: Preference = field(default_factory=BradleyTerry)
    casual: Casual = field(default_factory=PositionBias)
    gold: Gold | None = None

    def __post_init__(self) -> None:
        for role, kind in _ROLES.items():
            value = getattr(self, role)
            if not isinstance(value, kind):
                shown = value.__name__ + " (the class: call it)" if isinstance(value, type) else repr(value)
                raise EarnestError(f"BehaviorModel({role}=...): expected a {kind.__name__} component, got {shown}")
        if self.gold is not None and not isinstance(self.gold, Gold):
            raise EarnestError(f"BehaviorModel(gold={self.gold!r}): expected earnest.Gold(...) or None")

    @property
    def components(self) -> tuple[Attentiveness, Preference, Casual]:
        """The three components, in the order of the declaration."""
        return self.attentiveness, self.preference, self.casual

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

    def table(self, schema: Schema) -> ParameterTable:
        """All unknowns for these names."""
        return ParameterTable(tuple(p for c in self.components for p in c.parameters(schema)), schema)

    def count(self, log: ComparisonLog, schema: Schema | None = None) -> Counts:
        """Count a log into (user, cell), looking only at what the components look at.

        Raises:
            InputError: the log has ties and the model none, or lacks a column that a component needs.
        """
        counts = count_cells(
            log, ties=self.preference.allows_ties, context=self.context, symmetric=not self.directed, schema=schema
        )
        return self.gold.mark(counts) if self.gold is not None and self.gold.users else counts

    def attends(self, users: Any) -> np.ndarray:
        """Which of some users are known to attend, (user,) booleans."""
        return np.zeros(len(users), dtype=bool) if self.gold is None else self.gold.known(users)

    def prepare(self, counts: Counts, schema: Schema | None = None) -> BehaviorModel:
        """A copy in which everything that the declaration left to the data is settled."""
        view = CellView.of(counts.cells, schema)
        totals = np.bincount(counts.cell, weights=counts.count, minlength=len(counts.cells))
        if GOLD in view.context:
            totals = np.where(view[GOLD] > 0, 0.0, totals)  # their answers were known: they tell nothing of the models
        settled = {role: getattr(self, role).prepare(view.schema, view, totals) for role in _ROLES}
        return replace(self, **settled)  # `prepare` keeps the kind; __post_init__ checks it

    def measure(self, cells: CellView, counts: np.ndarray) -> BehaviorModel:
        """A copy whose components know the scales of the columns that they look at; counts are (cell,)."""
        return replace(self, **{role: getattr(self, role).measure(cells, counts) for role in _ROLES})

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> tuple[Any, Any]:
        """(log P, log C) of every cell, nats, (cell,) each."""
        log_p, log_c = self.preference.log_prob(xp, values, cells), self.casual.log_prob(xp, values, cells)
        return (log_p, log_c) if self.gold is None else self.gold.log_prob(xp, cells, log_p, log_c)

    def component_weights(self, xp: Namespace, cells: CellView, attended: Any, casual: Any) -> tuple[Any, Any]:
        """Of expected attended and casual comparisons those from which P and C are learned, (cell,) each."""
        return (attended, casual) if self.gold is None else self.gold.weights(xp, cells, attended, casual)

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
        """Simulate a log from the generative story. See `models.simulate.simulate`."""
        from .simulate import simulate

        return simulate(self, users, comparisons_per_user, models, seed, parameters, texts, columns)

    def to_toml(self) -> str:
        """The declaration as TOML text."""
        tables = {role: declaration.component_to_table(getattr(self, role)) for role in _ROLES}
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
        known = [*_ROLES, "gold"]
        unknown = sorted(set(tables) - set(known) - {"format"})
        if unknown:
            raise EarnestError(f"unknown table [{unknown[0]}]; a declaration has {', '.join(f'[{r}]' for r in known)}")
        given: dict[str, Any] = {
            role: declaration.component_from_table(tables[role], role) for role in _ROLES if role in tables
        }
        if "gold" in tables:
            given["gold"] = declaration.settings_from_table(Gold, tables["gold"], "gold")
        return cls(**given)  # checked by __post_init__, which names the role
