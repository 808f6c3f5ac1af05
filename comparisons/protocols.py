"""What this wing needs from a fit, so that it need not import the wings that are built on it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

import pandas as pd

if TYPE_CHECKING:
    from .log import ComparisonLog
    from .schema import Schema


class Fitted(Protocol):
    """Anything that can say how attentive users are: an EM fit, or a posterior."""

    @property
    def context(self) -> tuple[str, ...]:
        """Context columns by which `label_table` is keyed besides user, models and winner."""
        ...

    def attentiveness_for(self, log: "ComparisonLog") -> pd.DataFrame:
        """One row a user of the log: user, comparisons, mean, sd. Users that the fit never saw are scored."""
        ...

    def label_table(self, log: "ComparisonLog") -> pd.DataFrame:
        """One row for each distinct vote of the log.

        Columns: user, model_a, model_b, winner, the context; attentiveness, weight, label_noise,
        label_noise_posterior, responsibility.
        """
        ...

    def label_blocks(self, log: "ComparisonLog") -> "Iterator[pd.DataFrame]":
        """The same in pieces, each with all votes of some users."""
        ...


class FittedOnPatterns(Protocol):
    """An EM fit, as far as a log on a cluster needs it."""

    @property
    def counted_by(self) -> "tuple[bool, tuple[str, ...], bool, Schema]":
        """How votes are told apart: ties, context, whether the order of the models is left out, and the names."""
        ...

    def attentiveness_for(self, log: "ComparisonLog") -> pd.DataFrame:
        """One row a pattern of the log: pattern, users, comparisons, mean, sd, lower, upper."""
        ...

    def pattern_labels(self, log: "ComparisonLog") -> pd.DataFrame:
        """One row for each cell of a pattern: pattern, cell, and the per-vote quantities of `label_table`."""
        ...
