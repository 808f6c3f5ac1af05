"""Figures of calibration and of sensitivity; see `plots` for the manner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.errors import EarnestError
from .ecdf import RANKED, ecdf
from .figures import BLUE, GREY, INK, ORANGE, VERMILION, name_rows, new_figure, style
from .sensitivity import LIMIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .calibration import Calibration
    from .sensitivity import Sensitivity

__all__ = ["calibration_ecdf", "prior_sensitivity"]

_COLUMNS, _PANELS = 4, 16


@style()
def calibration_ecdf(calibration: Calibration, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Is the posterior the posterior? Each quantity's ranks less uniform ones, with the simultaneous band.

    A line above the band on the left says that the truth lies low too often, below the band that it lies high; an arch
    up and down (left, right) that the posterior is too narrow, down and up that it is too wide.

    Args:
        calibration: result of `calibrate`.
        axes: where to draw, one a quantity, the farthest out first; by default a figure of its own with 16 at most.

    Returns:
        the axes drawn on.

    Raises:
        EarnestError: no axes were given to draw on.
    """
    order = calibration.table.sort_values("excursion", ascending=False, kind="stable").reset_index(drop=True)
    own = axes is None
    shown = order.head(_PANELS if axes is None else len(axes))
    panels = _grid(len(shown)) if axes is None else list(axes)
    if not panels:
        raise EarnestError("calibration_ecdf(axes=[]): expected one axes or more")
    at = np.arange(1, RANKED + 1) / (RANKED + 1)
    lower, upper = (np.concatenate([[0.0], end - at, [0.0]]) for end in calibration.bands)
    x = np.concatenate([[0.0], at, [1.0]])
    offs = [ecdf(calibration.ranks[quantity].to_numpy()) - at for quantity in shown["quantity"]]
    reach = 1.08 * max(np.max(upper), -np.min(lower), *(np.max(np.abs(off)) for off in offs))
    for axis, off, (_, row) in zip(panels, offs, shown.iterrows(), strict=False):
        inside = bool(row["inside"])
        axis.fill_between(x, lower, upper, color=GREY, alpha=0.25, linewidth=0)
        axis.axhline(0, color=GREY, linewidth=0.7)
        line = np.concatenate([[0.0], off, [0.0]])
        axis.plot(x, line, color=BLUE if inside else VERMILION, linewidth=1.4 if inside else 2.2)
        axis.set(xlim=(0, 1), ylim=(-reach, reach), xticks=[0, 0.5, 1], xticklabels=["0", "½", "1"])
        axis.set_title(f"{row['quantity']}\n{row['reading']}", fontsize=8, fontweight="normal" if inside else "bold")
        axis.tick_params(labelsize=8)
    if own:
        _label(panels, calibration, len(order) - len(shown))
    return panels[: len(shown)]


def _grid(n: int) -> list[Axes]:
    """Panels in rows of four, in a figure of their own."""
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, n)
    rows = -(-n // columns)
    figure = Figure(figsize=(2.5 * columns, 0.9 + 1.75 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for empty in panels[n:]:
        empty.set_axis_off()
    # The last panel of a column that ends early carries the column's ticks.
    for panel in panels[max(n - columns, 0) : n]:
        panel.tick_params(labelbottom=True)
    return panels[:n]


def _label(panels: list[Axes], calibration: Calibration, more: int) -> None:
    figure = panels[0].figure
    outside = int((~calibration.table["inside"]).sum())
    left = f"{outside} of {len(calibration.table)} quantities outside" if outside else "Every quantity inside"
    rest = f"; {more} nearer to uniform not shown" if more else ""
    figure.suptitle(
        f"Is it calibrated? {left} the bands, {len(calibration.ranks)} replications{rest}",
        x=0.01, ha="left", fontsize=11, fontweight="bold",
    )  # fmt: skip
    figure.supxlabel("rank of the truth among the posterior's draws (0: below all, 1: above all)", fontsize=9)
    figure.supylabel("ECDF of ranks minus uniform", fontsize=9)


@style()
def prior_sensitivity(sensitivity: Sensitivity, ax: Axes | None = None) -> Axes:
    """What would other priors have said? Sensitivity of every quantity to the priors and to the votes.

    Args:
        sensitivity: result of `sensitivity`.
        ax: where to draw; by default a figure of its own, tall enough for every row.

    Returns:
        The axes.
    """
    table = sensitivity.table[::-1]
    axes = ax if ax is not None else new_figure(width=7.2, height=max(2.8, 1.6 + 0.27 * len(table)))[1][0]
    rows = name_rows(axes, table["quantity"], 9 if len(table) <= 25 else 7)
    prior, votes = (table[name].to_numpy(dtype=float) for name in ("prior", "likelihood"))
    axes.axvspan(0, LIMIT, color=GREY, alpha=0.15, linewidth=0)
    axes.axvline(LIMIT, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.hlines(rows, np.fmin(prior, votes), np.fmax(prior, votes), color=GREY, linewidth=1)
    axes.plot(votes, rows, "s", color=BLUE, markersize=6, label="the votes")
    axes.plot(prior, rows, "o", color=ORANGE, markeredgecolor=INK, markersize=7, label="the priors")
    unknown = ~(np.isfinite(prior) & np.isfinite(votes))
    for row in rows[unknown]:
        axes.text(0.002, row, " does not vary", va="center", fontsize=8, color=GREY)
    top = float(np.nanmax([LIMIT * 1.5, *prior, *votes]))
    axes.set(xlim=(0, 1.08 * top), ylim=(-0.8, len(rows) - 0.2))
    axes.set_xlabel(f"sensitivity (in the grey, below {LIMIT}: hardly moved)")
    axes.set_title("What leans on the prior?")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / (0.3 * len(rows) + 0.6)), ncols=2)
    return axes
