"""What the comparisons of a log can look like: models, the pairs that met, outcomes, categories, items."""

from dataclasses import dataclass
from functools import cached_property

OUTCOMES = ("model_a", "model_b", "tie")


@dataclass(frozen=True)
class Schema:
    """Names and sizes of everything that a cell refers to by index.

    Attributes:
        models: Names, sorted.
        pairs: Index pairs (i, j), i < j, of the models that met, sorted.
        ties: Whether an outcome can be a tie; decided by the behavioural model, not by the log.
        categories: Names, sorted; empty unless "category" is a context column.
        items: Names of the pairs of responses that were judged, sorted; empty unless "item" is a context column.
    """

    models: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]
    ties: bool
    categories: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The possible outcomes: `OUTCOMES`, without the tie where ties cannot be."""
        return OUTCOMES if self.ties else OUTCOMES[:2]

    @property
    def n_models(self) -> int:
        """Number of models."""
        return len(self.models)

    @property
    def n_pairs(self) -> int:
        """Number of pairs of models that met."""
        return len(self.pairs)

    @property
    def n_outcomes(self) -> int:
        """Number of possible outcomes, 2 or 3."""
        return len(self.outcomes)

    @cached_property
    def pair_names(self) -> tuple[str, ...]:
        """One name a pair, "A vs B"."""
        return tuple(f"{self.models[i]} vs {self.models[j]}" for i, j in self.pairs)

    def coords(self) -> dict[str, list[str]]:
        """Dimension name to the names along it: the order of every array that has this dimension."""
        coords = {"model": list(self.models), "outcome": list(self.outcomes), "pair": list(self.pair_names)}
        if self.categories:
            coords["category"] = list(self.categories)
        if self.items:
            coords["item"] = list(self.items)
        return coords
