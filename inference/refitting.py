"""Fits of a count table that grows: warm starts, and users scored between them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.cells import Counts
from ..comparisons.counted import CountedLog
from ..comparisons.names import as_names, places
from ..models.behavior import BehaviorModel
from .arrays import float64
from .fitting import Settings, fit_counts
from .results import Fit

__all__ = ["Warmth", "merged", "refit", "rescore"]

_CHECKED = 2.0
"""Growth after which EM starts from every corner again: another mode may have become the best one."""


@dataclass(frozen=True)
class Warmth:
    """Where the next fit starts.

    Attributes:
        votes: What the last fit was made of.
        checked: Votes when EM started from every corner.
        parameters: {name: estimate} of the last fit.
    """

    votes: int
    checked: int
    parameters: dict[str, Any]

    def to_json(self) -> str:
        """As `from_json` reads it."""
        plain = {name: np.asarray(value).tolist() for name, value in self.parameters.items()}
        return json.dumps({"votes": self.votes, "checked": self.checked, "parameters": plain})

    @classmethod
    def from_json(cls, text: str | None) -> Warmth | None:
        """What `to_json` wrote; None of None."""
        return None if text is None else cls(**json.loads(text))


@float64
def refit(
    model: BehaviorModel,
    log: CountedLog,
    last: Warmth | None = None,
    seed: int = 0,
    progress: Callable[[str, int, float], None] | None = None,
) -> tuple[Fit, Warmth]:
    """Fit all votes, from where the last fit ended.

    From every corner, as `fit_em` does, where there is no fit yet, the parameters are others (a new model came in), or
    the votes have doubled since that was done.

    Returns:
        The fit, the same as `fit_em` makes of all votes at once, and where the next one starts.
    """
    counts, votes = model.count(log), len(log)
    settings = Settings(seed=seed, progress=progress)
    start = None if last is None or votes >= _CHECKED * last.checked else _start(model, counts, last)
    fit = fit_counts(model, counts, log, settings, start is None, start)
    checked = votes if start is None or last is None else last.checked
    return fit, Warmth(votes, checked, {p.name: fit.parameters[p.name] for p in fit.table.parameters})


def _start(model: BehaviorModel, counts: Counts, last: Warmth) -> dict[str, np.ndarray] | None:
    """The last parameters, if they are those of the model still."""
    table = model.prepare(counts).table(counts.cells.schema)
    start = {name: np.asarray(value, dtype=float) for name, value in last.parameters.items()}
    shapes = {p.name: table.shape(p) for p in table.parameters}
    same = {name: value.shape for name, value in start.items()} == shapes
    return start if same and model.crossed is None else None  # effects of items start anew


def rescore(fit: Fit, log: CountedLog) -> pd.DataFrame:
    """Attentiveness of the users of a log at the fit's globals, as `Fit.score` with no draws.

    Intervals leave the uncertainty of the globals out. Users who voted on models or categories that the fit does not
    know are left out: they wait for the next fit.
    """
    known = _known_users(fit, log)
    if not len(known):
        return fit.attentiveness.iloc[:0]
    return fit.score(log.of_users(known), draws=0)


def _known_users(fit: Fit, log: CountedLog) -> list[str]:
    strange = [f"model_{side} NOT IN (FROM models)" for side in "ab"]
    tables: dict[str, pd.DataFrame] = {"models": pd.DataFrame({"name": list(fit.schema.models)})}
    if fit.schema.categories:
        strange.append("category NOT IN (FROM categories)")
        tables["categories"] = pd.DataFrame({"name": list(fit.schema.categories)})
    if any("pair" in dims for dims in fit.dims.values()):
        strange.append("least(model_a, model_b) || chr(0) || greatest(model_a, model_b) NOT IN (FROM pairs)")
        pairs = ["\0".join(fit.schema.models[i] for i in pair) for pair in fit.schema.pairs]
        tables["pairs"] = pd.DataFrame({"name": pairs})
    sql = f'SELECT "user" AS name FROM {log.tally[0]} GROUP BY 1 HAVING NOT bool_or({" OR ".join(strange)}) ORDER BY 1'
    return [str(name) for name in log.query(sql, **tables)["name"].to_pylist()]


def merged(frame: pd.DataFrame, newer: pd.DataFrame) -> pd.DataFrame:
    """A table of users with some rows replaced or added, sorted by user."""
    place = places(frame["user"], newer["user"])
    there = place >= 0
    out = frame.copy()
    for name in frame.columns[1:]:
        column = out[name].to_numpy(copy=True)
        column[place[there]] = newer[name].to_numpy()[there]
        out[name] = column
    if there.all():
        return out
    both = pd.concat([out, newer[~there]], ignore_index=True)
    return both.iloc[np.argsort(as_names(both["user"]), kind="stable")].reset_index(drop=True)
