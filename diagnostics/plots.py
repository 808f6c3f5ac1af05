"""One figure a question: who attends, which model is better, where to cut, has EM arrived, may it stand in.

Every function takes the axes it draws on (or makes its own) and returns them, so that figures can be combined:

    figure, (left, right) = plt.subplots(1, 2)
    plots.attentiveness(fit, left)
    plots.threshold_curve(curve, right)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..comparisons.errors import EarnestError
from ..inference.thinning import evenly
from .calibration_plots import calibration_ecdf, prior_sensitivity
from .check_plots import favourite_shares, misspecification, model_comparison, predictive_checks
from .figures import BLUE, GREEN, GREY, INK, ORANGE, VERMILION, name_rows, new_figure, save_figure, style
from .plan_plots import plan_outlook
from .trust_plots import open_directions, user_intervals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..inference import Fit
    from .agreement import Agreement
    from .thresholds import ThresholdCurve

__all__ = [
    "attentiveness",
    "calibration_ecdf",
    "em_against_posterior",
    "em_trace",
    "favourite_shares",
    "misspecification",
    "model_comparison",
    "open_directions",
    "parameter_intervals",
    "plan_outlook",
    "predictive_checks",
    "prior_sensitivity",
    "save_figure",
    "threshold_curve",
    "user_intervals",
]


def _legend_below(axes: Axes, columns: int = 1) -> None:
    """Put the legend under the horizontal axis' label, where it hides nothing."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns)


@style()
def attentiveness(fit: Fit, ax: Axes | None = None, bins: int = 25) -> Axes:
    """Who attends? Histogram of the users' posterior means, with the fitted population over it.

    The two differ on purpose: a posterior mean is drawn towards the middle of the population, the more so the fewer
    votes the user gave. The population's curve is the one that says how many users of each kind there are.

    Args:
        fit: result of `fit_em`.
        ax: where to draw; by default a figure of its own.
        bins: number of bins on [0, 1] (or [-1, 1]).

    Returns:
        The axes.
    """
    fit.check_users_known("attentiveness")
    axes = ax if ax is not None else new_figure()[1][0]
    means = np.asarray(fit.attentiveness["mean"], dtype=float)
    low = -1.0 if means.min(initial=0.0) < 0 else 0.0
    heights, edges = np.histogram(means, bins=bins, range=(low, 1.0))
    width = edges[1] - edges[0]
    label = f"posterior means of {len(means):,} users"
    axes.bar(edges[:-1], heights, width, align="edge", color=BLUE, alpha=0.55, edgecolor="white", label=label)
    top = max(1, int(heights.max()))
    grid = np.linspace(low, 1.0, 402)[1:-1]
    density = fit.population_density(grid)
    if density is not None:
        expected = np.asarray(density) * len(means) * width
        axes.plot(grid, expected, color=VERMILION, linewidth=2, label="fitted population (expected users a bin)")
        # A density may be infinite at 0 and 1: the histogram sets the scale, the curve leaves through the top.
        top = max(top, int(min(expected[20:-20].max(), 2.0 * top)))
    axes.set(xlim=(low, 1), ylim=(0, 1.12 * top), ylabel="users")
    really = "share of votes in which a user really compares"
    axes.set_xlabel(f"attentiveness: {really}" if low == 0 else "attentiveness (below 0: compares to pick the worse)")
    axes.set_title("Who attends?")
    _legend_below(axes, columns=2)
    return axes


@style()
def parameter_intervals(
    fit: Fit, name: str = "skill", ax: Axes | None = None, level: float = 0.9, label: str | None = None
) -> Axes:
    """Which is better? Estimates of one parameter with their intervals, best first.

    An estimate without an interval (on its boundary, or in a direction that the data leave open) is an open circle.

    Args:
        fit: result of `fit_em`.
        name: a parameter with one dimension, a row for each of its entries.
        ax: where to draw; by default a figure of its own, tall enough for every row.
        level: probability of the intervals.
        label: text under the horizontal axis; by default the parameter's name.

    Returns:
        The axes.

    Raises:
        EarnestError: the fit has no such parameter, or it has not exactly one dimension.
    """
    vectors = [known for known, dims in fit.dims.items() if len(dims) == 1]
    if name not in vectors:
        raise EarnestError(
            f"no parameter {name!r} with one dimension in this fit; it has: {', '.join(vectors) or 'none'}"
        )
    values = np.asarray(fit.parameters[name], dtype=float)
    names = [str(entry) for entry in fit.coords[fit.dims[name][0]]]
    lower, upper = np.asarray(fit.intervals(level)[name], dtype=float)
    order = np.argsort(values, kind="stable")
    values, lower, upper = values[order], lower[order], upper[order]
    known = np.isfinite(lower) & np.isfinite(upper)
    axes = ax if ax is not None else new_figure(height=max(2.6, 1.0 + 0.17 * len(order)))[1][0]
    rows = name_rows(axes, [names[k] for k in order], 10 if len(order) <= 15 else 7)
    axes.hlines(rows[known], lower[known], upper[known], color=BLUE, linewidth=1.8)
    axes.plot(values[known], rows[known], "o", color=INK, markersize=4, label=f"estimate, {level:.0%} interval")
    if not known.all():
        (open_circles,) = axes.plot(values[~known], rows[~known], "o", color=INK, label="no interval (see fit.status)")
        open_circles.set(markerfacecolor="white", markersize=5)
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    axes.set_xlabel(label or name)
    axes.set_title("Which is better?")
    axes.legend(loc="lower right")
    return axes


@style()
def threshold_curve(curve: ThresholdCurve, ax: Axes | None = None) -> Axes:
    """Where to cut? Effective labels against the threshold, the recommendation, and what needs no threshold at all.

    Of a posterior also the curve's 90 % band, and how far the best threshold varies over the draws.

    Args:
        curve: result of `thresholds`.
        ax: where to draw; by default a figure of its own.

    Returns:
        The axes.
    """
    bands = curve.bands
    axes = ax if ax is not None else new_figure(height=4.0 if bands is None else 5.2)[1][0]
    table = curve.table
    best = curve.recommend()
    y = np.asarray(table["effective_labels"], dtype=float)
    # A cut stays the same until the threshold passes its least attentive user: steps that hold to their right ends.
    x = np.asarray(table["lowest_kept"], dtype=float)
    top = max(y.max(), curve.unfiltered, curve.soft_weights_leave_one_out)
    if bands is not None:
        ends = table.set_index("threshold")["lowest_kept"].reindex(bands["threshold"]).to_numpy(dtype=float)
        low, high = (bands[f"effective_labels_{end}"].to_numpy(dtype=float) for end in ("lower", "upper"))
        low, high = np.insert(low, 0, low[0]), np.insert(high, 0, high[0])
        axes.fill_between([0.0, *ends], low, high, step="pre", color=BLUE, alpha=0.18, linewidth=0, label="90 % band")
        top = max(top, high.max())
    axes.step([0.0, *x], [y[0], *y], where="pre", color=BLUE, linewidth=2, label="users at or above the threshold")
    references = (
        (curve.soft_weights_leave_one_out, "soft weights, a label never vouching for itself", GREEN, (0, (6, 2))),
        (curve.unfiltered, "every label kept", GREY, (0, (2, 2))),
    )
    for level, text, colour, dashes in references:
        axes.axhline(level, color=colour, linestyle=dashes, linewidth=1.6, label=f"{text}: {level:,.0f}")
    axes.plot([best.threshold] * 2, [0, best.effective_labels], color=ORANGE, linestyle=":", linewidth=1.6)
    text = f"recommended: {best.threshold:.2f}, {best.effective_labels:,.0f}"
    axes.plot(best.threshold, best.effective_labels, "D", color=ORANGE, markeredgecolor=INK, markersize=8, label=text)
    if best.interval is not None:
        low, high = best.interval
        axes.plot([low, high], [0.02 * top] * 2, color=ORANGE, linewidth=5, solid_capstyle="butt",
                  label=f"best threshold over the posterior: {low:.2f} to {high:.2f} (90 %)")  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1.08 * top))
    axes.set_xlabel("threshold on posterior mean attentiveness")
    axes.set_ylabel("effective labels")
    axes.set_title("Where to cut?")
    _legend_below(axes)
    return axes


@style()
def em_trace(fit: Fit, axes: Sequence[Axes] | None = None) -> Sequence[Axes]:
    """Has EM arrived? The objective, and how far each iteration was from the last, on a log scale.

    Args:
        fit: result of `fit_em`.
        axes: two axes; by default a figure of its own.

    Returns:
        The two axes.
    """
    from matplotlib.ticker import MaxNLocator

    left, right = axes if axes is not None else new_figure(width=8.4, height=3.4, columns=2)[1]
    trace = np.asarray(fit.objective_trace, dtype=float)
    iterations = np.arange(len(trace))
    left.plot(iterations, trace, color=BLUE, linewidth=1.8, marker="o", markersize=2.5)
    left.set(xlabel="iteration", ylabel="objective (nats)")
    left.set_title("Has EM arrived?")
    left.ticklabel_format(axis="y", useOffset=False)
    for axes_of in (left, right):
        axes_of.xaxis.set_major_locator(MaxNLocator(integer=True))
    gap = trace[-1] - trace
    shown = gap > 0
    if shown.any():
        right.semilogy(iterations[shown], gap[shown], color=VERMILION, linewidth=1.8, marker="s", markersize=2.5)
    else:
        right.text(0.5, 0.5, "nothing to gain after the start", ha="center", transform=right.transAxes)
    right.set(xlabel="iteration", ylabel="gap to the final objective (nats)")
    right.set_title(f"{fit.status}, {fit.iterations} iterations")
    return left, right


@style()
def em_against_posterior(agreement: Agreement, ax: Axes | None = None, intervals: int = 200) -> Axes:
    """May EM stand in? Every user's attentiveness by EM against the posterior, with the posterior's intervals.

    Args:
        agreement: result of `compare`.
        ax: where to draw; by default a figure of its own.
        intervals: of at most so many users, evenly chosen, the 90 % interval is drawn.

    Returns:
        The axes.
    """
    axes = ax if ax is not None else new_figure(width=5.4, height=5.2)[1][0]
    users = agreement.users.sort_values("em", kind="stable")
    some = users.iloc[evenly(len(users), intervals)]
    told = "90 % interval" if len(some) == len(users) else f"90 % interval of {len(some):,} of them"
    axes.vlines(some["em"], some["lower"], some["upper"], color=GREY, alpha=0.35, linewidth=1, label=told)
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="the same")
    size = 4 if len(users) <= 500 else 2
    axes.plot(users["em"], users["mean"], "o", color=BLUE, markersize=size, alpha=0.8, label=f"{len(users):,} users")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xlabel("attentiveness by EM")
    axes.set_ylabel("posterior mean attentiveness")
    axes.set_title("May EM stand in?")
    axes.legend(loc="upper left")
    axes.text(0.98, 0.03, f"rank correlation {agreement.rank_correlation:.3f}", ha="right", transform=axes.transAxes)
    return axes
