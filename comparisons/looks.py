"""What a count table must remember of a vote: the columns that a model looks at, and where a log has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .columns import REQUIRED, STANDARD, choose_columns
from .context import NAMED, PREVIOUS, TIMESTAMP
from .errors import InputError
from .outcomes import Outcomes, check_mapping
from .recipe import Recipe
from .sources import FrameSource

__all__ = ["Looks", "Reading", "settle"]


@dataclass(frozen=True)
class Looks:
    """What a model looks at in a vote.

    Attributes:
        declaration: The model as TOML.
        context: Columns beyond user, models and winner.
        ties: Whether the model knows ties.
        directed: Whether it minds which response was shown first.
        chained: Whether one vote's state bears on the next one's, so that no two may be given at one moment.
    """

    declaration: str
    context: tuple[str, ...] = ()
    ties: bool = True
    directed: bool = True
    chained: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The context columns that must be kept: a choice before follows from the times."""
        return tuple(dict.fromkeys(TIMESTAMP if name == PREVIOUS else name for name in self.context))


@dataclass(frozen=True)
class Reading:
    """Where a log has what a count table keeps.

    Attributes:
        columns: Standard name to the source's column.
        covariates: Name in the context to the source's column.
        outcomes: What winners mean; see `read_comparisons`.
        times: "numbers" or "dates" once a time was read: their order is known among one kind only.
        notes: What was guessed.
    """

    columns: dict[str, str]
    covariates: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, str] | str | None = None
    times: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def source_columns(self) -> list[str]:
        """The source's columns that are read."""
        return [*self.columns.values(), *self.covariates.values()]

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Reading:
        """What `to_json` wrote."""
        return cls(**json.loads(text))

    def check_named(self, store: str, named: Mapping[str, str | None], outcomes: Outcomes) -> None:
        """Raise an `InputError` where columns or outcomes are named otherwise than the store was begun with."""
        for standard, column in named.items():
            own = self.columns.get(standard)
            if column is not None and (standard in (*REQUIRED, "comparison") or own is not None) and column != own:
                raise InputError(
                    f"{store}: was begun with {standard} in the column {own!r}, not {column!r}; name that, or begin "
                    "another store"
                )
        if outcomes is not None and _words(outcomes) != self.outcomes:
            raise InputError(
                f"{store}: was begun with outcomes={self.outcomes!r}, not {_words(outcomes)!r}; leave it out, or begin "
                "another store"
            )


def settle(
    label: str, available: list[str], named: Mapping[str, str | None], outcomes: Outcomes, looks: Looks
) -> Reading:
    """Decide which columns of a source are read, from those of its first rows.

    As `read_comparisons` does, but that a stream may not be looked through for ids that repeat: ids of votes are read
    from the column that the caller names, or that is called "comparison".

    Raises:
        InputError: A column that is needed is not found or not clear, or one that is named is not there.
    """
    wanted = {name: named.get(name) for name in STANDARD}
    answers = wanted["gold"] or "gold"
    if answers not in available:
        wanted["gold"] = None
    chosen = choose_columns(label, available, wanted)
    columns = dict(chosen.columns)
    if "gold" in looks.columns:
        columns.setdefault("gold", answers)  # few rows have an answer, perhaps none of the first
    guess = columns.get("comparison")
    notes = []
    if "comparison" in chosen.guessed and guess is not None and guess.lower() != "comparison":
        del columns["comparison"]
        notes.append(
            f"the column {guess!r} may be the votes' id: name it with comparison={guess!r}, and a vote that is sent "
            "twice counts once"
        )
    carried = Recipe(FrameSource(label, dict.fromkeys(available, "VARCHAR"), None), columns).carried
    covariates = {}
    for name in looks.columns:
        if name in STANDARD:
            if name not in columns:
                option = f"; name its column with {name}=" if name in (*NAMED, TIMESTAMP) else ""
                raise InputError(f"{label}: the model looks at {name!r}, but the log has no such column{option}")
        elif name in carried:
            covariates[name] = carried[name]
        else:
            listed = ", ".join(map(repr, available[:30]))
            raise InputError(f"{label}: the model looks at {name!r}, but the log has no such column. Columns: {listed}")
    kept = {name: columns[name] for name in (*REQUIRED, "comparison", *looks.columns) if name in columns}
    reading = Reading(kept, covariates, None if outcomes is None else _words(outcomes))
    return replace(reading, notes=[*chosen.said(kept), *notes])


def _words(outcomes: Any) -> dict[str, str] | str:
    return outcomes if isinstance(outcomes, str) else check_mapping(outcomes)
