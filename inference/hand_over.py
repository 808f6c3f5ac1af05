"""Filtering and export by a fit or by a posterior, whichever is at hand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons import export, filtering
from ..comparisons.errors import EarnestError
from ..comparisons.names import among, as_names, places
from ..models.behavior import BehaviorModel
from .draws import free_draws
from .labels import label_blocks, label_table
from .results import Fit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..comparisons.cells import Counts
    from ..comparisons.export import PreferenceSummary
    from ..comparisons.log import ComparisonLog
    from ..comparisons.protocols import Fitted

__all__ = ["filter_log", "fitted", "write_preferences"]

_DRAWS = 64
"""Draws of the globals over which the quantities of labels are averaged."""


@dataclass(frozen=True)
class _Posterior:
    """What was sampled, asked like a fit.

    Attributes:
        trace: what `sample` returned.
        log: the log that it was sampled from, whole.
    """

    trace: Any
    log: ComparisonLog

    @cached_property
    def _counted(self) -> tuple[BehaviorModel, Counts]:
        """The declaration and the log in its terms."""
        model = BehaviorModel.from_toml(self.trace.attrs["declaration"])
        return model, model.count(self.log)

    @cached_property
    def _fit(self) -> Fit:
        """A fit at the posterior's middle: it knows the votes, and what a model makes of them."""
        model, counts = self._counted
        free = self._points.mean(0)
        unknown = np.broadcast_to(np.nan, (free.size, free.size))  # takes no memory
        return Fit(
            model=model, schema=counts.cells.schema, counts=counts, method="marginal", objective="map", free=free,
            covariance=unknown, centre=free, spread=unknown, attentiveness=pd.DataFrame(),
            objective_trace=np.zeros(0), status="converged", iterations=0, modes=(), level=0.9,
            columns=dict(self.log.mapping), fingerprint=self.log.fingerprint(),
        )  # fmt: skip

    @cached_property
    def _points(self) -> np.ndarray:
        """Some draws of the globals as free vectors, (draw, size)."""
        model, counts = self._counted
        table = model.table(counts.cells.schema)
        return free_draws(self.trace, table, _DRAWS) if table.size else np.zeros((1, 0))

    @property
    def context(self) -> tuple[str, ...]:
        """See `Fitted`."""
        return self._fit.context

    def attentiveness_for(self, log: ComparisonLog) -> pd.DataFrame:
        """See `Fitted`: posterior means and standard deviations of a log's users."""
        users = as_names(self._fit.counts.users)
        comparisons = np.rint(self._fit.counts.n_comparisons()).astype(np.int64)
        if "attentiveness" in self.trace.posterior:
            drawn = self.trace.posterior["attentiveness"].transpose("chain", "draw", "user")
            of, eta = drawn["user"].to_numpy(), drawn.to_numpy().reshape(-1, drawn.shape[-1])
            mean, sd = eta.mean(0), eta.std(0)
        elif "users" in self.trace.children:
            kept = self.trace["users"]
            of, mean, sd = (kept[name].to_numpy() for name in ("user", "mean", "sd"))
        else:
            raise EarnestError(
                "the posterior was kept without its users; sample with keep_users='draws' or keep_users='summary'"
            )
        place = places(of, users)
        if (place < 0).any():
            missing = str(np.asarray(users)[place < 0][0])
            raise EarnestError(f"the posterior holds nothing of user {missing!r}; sample the log again")
        frame = pd.DataFrame({"user": users, "comparisons": comparisons, "mean": mean[place], "sd": sd[place]})
        return frame[among(users, as_names(log.users))].reset_index(drop=True)

    def label_table(self, log: ComparisonLog) -> pd.DataFrame:
        """See `Fitted`: each quantity's mean over draws of the globals."""
        return label_table(self._fit, log, self._points)

    def label_blocks(self, log: ComparisonLog) -> Iterator[pd.DataFrame]:
        """The same in pieces of some users each."""
        return label_blocks(self._fit, log, self._points)


def fitted(source: Fit | Any, log: ComparisonLog) -> Fitted:
    """A fit as it is, and a posterior as something that can be asked like one.

    Raises:
        EarnestError: neither, or a posterior of another log.
    """
    if isinstance(source, Fit) or not hasattr(source, "posterior"):
        return source  # a fit, or anything else that can be asked like one
    if "declaration" not in source.attrs:
        raise EarnestError("expected a fit or what `sample` returned, got a DataTree without a declaration")
    whole = replace(log, kept=None)  # a log that was filtered is still a part of its own
    if whole.fingerprint() != source.attrs.get("fingerprint"):
        raise EarnestError(
            "a posterior needs the log that it was sampled from, or what filter_log kept of it; for another log use a "
            "fit, which scores users it never saw"
        )
    return _Posterior(source, whole)


@wraps(filtering.filter_log)
def filter_log(  # noqa: D103  # its twin's
    log: ComparisonLog, fit: Fit | Any, threshold: float, min_comparisons: int = 1
) -> ComparisonLog:
    return filtering.filter_log(log, fitted(fit, log), threshold, min_comparisons)


@wraps(export.write_preferences)
def write_preferences(  # noqa: D103  # its twin's
    log: ComparisonLog, path: Any, fit: Fit | Any | None = None, *texts: Any, **options: Any
) -> PreferenceSummary:
    return export.write_preferences(log, path, None if fit is None else fitted(fit, log), *texts, **options)
