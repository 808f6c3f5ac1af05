"""How the standard columns are made from a source: the SQL behind the view `log`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .columns import RESERVED, STANDARD
from .errors import InputError
from .outcomes import Outcomes, outcome_sql
from .sources import ROW, VIEW, Source
from .sql import ident
from .values import id_sql, inexact_sql

IDS = ("user", "model_a", "model_b", "comparison", "item", "category")
Fault = tuple[str, str, str, str]
"""What makes a row unusable: standard column, SQL condition, what is wrong, remedy."""
_CALLED = {"comparison": "comparison id", "model_a": "first model", "model_b": "second model"}
LONGEST = 1000
"""Characters of an id; what is longer is a text in the wrong column."""


@dataclass(frozen=True)
class Recipe:
    """The mapping of a source's columns to the standard ones.

    Attributes:
        source: Where the rows come from.
        columns: Standard name to source column.
        outcomes: How winners are read, see `read_comparisons`.
    """

    source: Source
    columns: dict[str, str]
    outcomes: Outcomes = None

    @cached_property
    def carried(self) -> dict[str, str]:
        """Name in the log to source column, for the columns that Earnest does not know.

        A carried column whose name a standard column of the log already has (in any capitals) is called
        "source_<name>".
        """
        used = {*RESERVED, ROW}
        carried = {}
        mapped = set(self.columns.values())
        names = {name.lower() for name in self.source.columns if name not in mapped} - used
        for name in self.source.columns:
            if name in mapped:
                continue
            new = name
            while new.lower() in used or (new != name and new.lower() in names):
                new = f"source_{new}"
            used.add(new.lower())
            carried[new] = name
        return carried

    @cached_property
    def values(self) -> dict[str, str]:
        """Standard name to the SQL of its value, from the columns of the source."""
        values = {}
        for standard in STANDARD:
            if standard not in self.columns:
                continue
            column = self.columns[standard]
            kind = self.source.columns[column]
            if (
                standard in IDS
                or standard in ("winner", "gold")
                or (standard == "prompt" and not self.is_nested(column))
            ):
                values[standard] = id_sql(self.source.label, column, kind)
            else:
                values[standard] = ident(column)
        return values

    def is_nested(self, column: str) -> bool:
        """Whether a source column holds lists or objects, such as conversations."""
        kind = self.source.columns[column]
        return kind == "JSON" or kind.endswith("]") or kind.startswith(("STRUCT", "MAP", "UNION"))

    def outcome(self, standard: str) -> tuple[str, str]:
        """SQL of an outcome column's reading, and of whether it is ambiguous."""
        values = self.values
        return outcome_sql(values[standard], values["model_a"], values["model_b"], self.outcomes)

    def reading(self, standard: str) -> str:
        """SQL of a standard column of the view `log`: its value, or the outcome that is read from it."""
        return self.outcome(standard)[0] if standard in ("winner", "gold") else self.values[standard]

    def select(self, where: str = "true") -> str:
        """SQL of the view `log`: row, the standard columns that are present, the carried ones."""
        parts = [f"{ident(ROW)} AS {ident('row')}"]
        parts += [f"{self.reading(standard)} AS {ident(standard)}" for standard in self.values]
        parts += [f"{ident(column)} AS {ident(new)}" for new, column in self.carried.items()]
        return f"SELECT {', '.join(parts)} FROM {VIEW} WHERE {where}"

    @cached_property
    def faults(self) -> list[Fault]:
        """What makes a row unusable. The first match counts."""
        faults = []
        for name in [name for name in IDS if name in self.values]:
            faults += self._id_faults(name)
        values = self.values
        faults.append(
            (
                "model_b",
                f"{values['model_a']} = {values['model_b']}",
                "the model is compared with itself",
                "a comparison needs two different models; remove the row",
            )
        )
        faults.append(
            ("winner", f"{values['winner']} IS NULL", "the winner is missing", "fill it in or remove the row")
        )
        for name in ("winner", "gold"):
            if name in values:
                faults += self._outcome_faults(name)
        return faults

    def _id_faults(self, name: str) -> list[Fault]:
        value, column = self.values[name], self.columns[name]
        remedy = {"user": "Earnest must know who cast each vote"}.get(name, "every row needs one")
        kind = self.source.columns[column]
        faults = [
            (name, inexact_sql(column, kind), "a number too large to be an exact id", "write ids as texts"),
            (name, f"contains({value}, chr(0))", "the value holds a NUL character", "remove it"),
            (
                name,
                f"CASE WHEN strlen({value}) > {LONGEST} THEN length({value}) > {LONGEST} ELSE false END",
                f"the value is longer than {LONGEST} characters, expected a name or an id",
                "is this a column of texts? name the right one",
            ),
        ]
        if name in ("user", "model_a", "model_b", "comparison"):
            faults.append(
                (
                    name,
                    f"{value} IS NULL",
                    f"the {_CALLED.get(name, name)} is missing",
                    f"{remedy}; fill it in or remove the row",
                )
            )
        return faults

    def _outcome_faults(self, name: str) -> list[Fault]:
        reading, ambiguous = self.outcome(name)
        expected = "model_a, model_b or tie (also left/right, a/b, 'tie (bothbad)'), or the name of one of the models"
        if not isinstance(self.outcomes, str | None):
            expected = f"{', '.join(repr(str(key)) for key in self.outcomes)} as was said, else {expected}"
        remedy = "correct it, or say what it means with outcomes={'...': 'model_a'}"
        return [
            (
                name,
                ambiguous,
                "the value is an outcome word and the name of the other model, so it could mean either",
                "say which with outcomes='words', outcomes='names' or a mapping",
            ),
            (name, f"{self.values[name]} IS NOT NULL AND {reading} IS NULL", f"expected {expected}", remedy),
        ]


def check_distinct_columns(recipe: Recipe) -> None:
    """Raise where the source has a column whose name Earnest needs for itself."""
    for name in recipe.source.columns:
        if name.lower().startswith("__earnest_"):
            raise InputError(f"{recipe.source.label}: the column name {name!r} is reserved; rename the column")
