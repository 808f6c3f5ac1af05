"""How many votes, how large a gap: the figure of `plan`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .figures import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .planning import Plan

_LINES = ((BLUE, "-"), (GREEN, (0, (6, 2))), (ORANGE, (0, (4, 1, 1, 1))), (VERMILION, (0, (2, 1))), (INK, ":"))


@style()
def plan_outlook(found: Plan, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """What is a label worth, by votes a user and by gap? After the best cut (left) and with soft weights (right).

    Args:
        found: result of `plan`.
        axes: two axes; by default a figure of its own.

    Returns:
        The two axes.
    """
    pair = axes if axes is not None else new_figure(width=8.8, height=4.4, columns=2)[1]
    table, labels = found.table, found.users * found.table["votes"]
    ideal = found.ideal / (found.users * found.here["votes"])
    nothing = float((table["unfiltered"] / labels).iloc[0])
    for ax, column, title in ((pair[0], "filtered", "After the best cut"), (pair[1], "weighted", "With soft weights")):
        for k, (gap, of) in enumerate(table.groupby("gap")):
            colour, line = _LINES[k % len(_LINES)]
            worth = of[column] / (found.users * of["votes"])
            name = f"gap {gap:.2f}: {of['advantage'].iloc[0]:.0%} for the better model"
            ax.semilogx(of["votes"], worth, color=colour, linestyle=line, linewidth=1.8, label=name)
        here = found.here[column] / (found.users * found.here["votes"])
        ax.plot(found.here["votes"], here, "D", color=ORANGE, markeredgecolor=INK, markersize=8, label="this design")
        ax.axhline(nothing, color=GREY, linewidth=1.2, linestyle=(0, (2, 2)), label="every label as it is")
        ax.axhline(ideal, color=GREY, linewidth=1.2, label="attentiveness known, as weights")
        votes = np.unique(table["votes"])
        ax.set_xticks(votes, [f"{n:g}" for n in votes])
        ax.minorticks_off()
        ax.set(xlabel="votes a user", ylim=(0, 1.08 * ideal))
        ax.set_title(title)
    pair[0].set_ylabel("effective labels a label")
    handles, names = pair[0].get_legend_handles_labels()
    figure = pair[0].figure
    if axes is None and figure is not None:
        figure.legend(handles, names, loc="outside lower center", ncols=2)
    else:
        pair[0].legend(handles, names)
    return pair
