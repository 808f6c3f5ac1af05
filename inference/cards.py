"""A fit as a card in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.markup import bars, card, cell_table, points
from .doubts import doubts_of_fit

if TYPE_CHECKING:
    from .results import Fit

__all__ = ["fit_card"]

_BINS, _SHOWN = 25, 12


def fit_card(fit: Fit) -> str:
    """What was learned of users and models, as HTML."""
    frame = fit.attentiveness
    means = frame["mean"].to_numpy(dtype=float)
    times = np.ones(len(means)) if fit.counts.multiplicity is None else np.asarray(fit.counts.multiplicity)
    votes = float(frame["comparisons"].to_numpy(dtype=float) @ times)
    known = np.isfinite(means)
    facts = {
        "votes": f"{votes:,.0f} of {times.sum():,.0f} users on {fit.schema.n_models:,} models",
        "status": f"{fit.status} after {fit.iterations} iterations ({fit.method} EM, {fit.objective})",
    }
    doubts = doubts_of_fit(fit)
    parts = [points([("warning", doubts)] if doubts else [])]
    if known.any():
        low, middle, high = np.quantile(np.repeat(means[known], times[known].astype(int)), [0.25, 0.5, 0.75])
        facts["attentiveness"] = (
            f"a quarter of users below {low:.2f}, half below {middle:.2f}, a quarter above {high:.2f}"
        )
        least = -1.0 if fit.model.attentiveness.signed else 0.0
        heights, _ = np.histogram(means[known], _BINS, (least, 1.0), weights=times[known])
        ends = (f"attentiveness {least:.0f}", "1")
        parts.append(bars([float(h) for h in heights], "users by mean attentiveness", ends))
    parts.append(_parameters(fit))
    parts.append(points(("note", note) for note in fit.notes))
    return card("Fit", facts, *parts)


def _parameters(fit: Fit) -> str:
    """Estimates with their standard errors; of parameters with many entries the extremes."""
    rows = []
    for parameter in fit.table.parameters:
        values, errors = np.ravel(fit.parameters[parameter.name]), np.ravel(fit.standard_errors[parameter.name])
        entries = [", ".join(names) for names in fit.table.entries(parameter)]
        order = list(range(values.size))
        if values.size > _SHOWN:
            ranked = [int(k) for k in np.argsort(-values, kind="stable")]
            order = ranked[:3] + ranked[-1:]
        for k in order:
            name = f"{parameter.name} {entries[k]}".strip()
            error = f"{errors[k]:.3f}" if np.isfinite(errors[k]) else ""
            rows.append([name, f"{values[k]:.3f}", error])
        if values.size > _SHOWN:
            rows.insert(-1, [f"... {values.size - 4:,} more ...", "", ""])
    return cell_table(["parameter", "estimate", "s.e."], rows) if rows else ""
