"""Figures of what is known: users with their intervals, and the directions that the votes leave open."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.errors import EarnestError
from ..inference.thinning import evenly
from .figures import BLUE, GREY, INK, ORANGE, name_rows, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..inference import Fit
    from .identifiability import Identifiability

__all__ = ["open_directions", "user_intervals"]


@style()
def user_intervals(fit: Fit, users: Sequence[str] | int = 30, ax: Axes | None = None) -> Axes:
    """How sure are we of a user? Posterior means with 90 % intervals, most attentive on top.

    Args:
        fit: result of `fit_em`.
        users: names, or how many of all to show, evenly by attentiveness.
        ax: where to draw; by default a figure of its own, tall enough for every row.

    Returns:
        The axes.

    Raises:
        EarnestError: the fit does not know a user.
    """
    fit.check_users_known("user_intervals")
    frame = fit.attentiveness.sort_values("mean", kind="stable")
    if isinstance(users, int):
        shown = frame.iloc[evenly(len(frame), users)]
    else:
        unknown = sorted(set(users) - set(frame["user"]))
        if unknown:
            raise EarnestError(f"users: the fit knows no user {unknown[0]!r}")
        shown = frame[frame["user"].isin(users)]
    height = max(2.6, 1.2 + 0.17 * len(shown))
    axes = ax if ax is not None else new_figure(height=height)[1][0]
    named = zip(shown["user"], shown["comparisons"], strict=True)
    rows = name_rows(axes, [f"{str(name)[:24]} ({n:,})" for name, n in named], 7)
    known = shown[["lower", "upper"]].notna().all(axis=1).to_numpy()
    axes.hlines(rows[known], shown["lower"][known], shown["upper"][known], color=BLUE, linewidth=1.8)
    axes.plot(shown["mean"], rows, "o", color=INK, markersize=4, label=f"posterior mean, {fit.level:.0%} interval")
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    low = -1 if frame["lower"].min() < 0 else 0
    axes.set(xlim=(low, 1), ylim=(-0.8, len(rows) - 0.2), ylabel="user (votes)")
    axes.set_xlabel("attentiveness")
    some = f" ({len(rows)} of {len(frame):,})" if len(rows) < len(frame) else ""
    axes.set_title(f"How sure are we of a user?{some}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.55 / height))
    return axes


def _whole_entries(text: str, width: int = 52, lines: int = 3) -> str:
    """As many entries of "a from 0.1 to 0.2, b from ..." as the lines hold, and "..." for the others."""
    entries = text.split(", ")
    for kept in range(len(entries), 0, -1):
        more = "" if kept == len(entries) else ", ..."
        wrapped = textwrap.wrap(", ".join(entries[:kept]) + more, width, break_on_hyphens=False)
        if len(wrapped) <= lines:
            break
    return "\n".join(wrapped)


@style()
def open_directions(found: Identifiability, n: int = 5, ax: Axes | None = None) -> Axes:
    """What do the votes leave open? Of the prior's variance, how much is left along the least known directions.

    Args:
        found: result of `identifiability`.
        n: how many directions to show at most.
        ax: where to draw; by default a figure of its own.

    Returns:
        The axes.
    """
    rows = found.directions.head(n).iloc[::-1]
    axes = ax if ax is not None else new_figure(width=8.4, height=1.3 + 0.62 * len(rows))[1][0]
    labels = [_whole_entries(text.partition(" (mean")[0]) for text in rows["meaning"]]
    place = name_rows(axes, labels, 8)
    left = rows["remaining"].to_numpy(dtype=float)
    axes.barh(place, left, 0.55, color=np.where(left > 0.25, ORANGE, BLUE))
    for y, share in enumerate(left.tolist()):
        axes.text(share + 0.012, y, f"{share:.0%}" if share >= 0.005 else "< 1 %", va="center", color=INK, fontsize=9)
    axes.axvline(0.25, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1.08))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
    axes.set_xlabel("share of the prior's variance that is left")
    axes.set_title("What do the votes leave open?")
    return axes
