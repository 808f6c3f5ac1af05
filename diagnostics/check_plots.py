"""Figures of predictive checks and of model choice, in the style of `plots`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .figures import BLUE, GREEN, GREY, INK, VERMILION, name_rows, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .checks import Checks
    from .model_choice import Comparison
    from .sweep import Sweep

__all__ = ["favourite_shares", "model_comparison", "predictive_checks"]

_FARTHEST = 8.0


def _legend_below(axes: Axes) -> None:
    """A legend under the axis' label, which ends where the axes end: long names of rows lie to their left."""
    figure = axes.get_figure(root=True)
    drop = 0.6 / ((figure.get_figheight() if figure is not None else 4.0) * axes.get_position().height)
    axes.legend(loc="upper right", bbox_to_anchor=(1.0, -drop), ncols=3, columnspacing=1.2)


@style()
def predictive_checks(checks: Checks, ax: Axes | None = None) -> Axes:
    """Does the model reproduce the log? Every check's observed value on the scale of its replicates.

    Zero is what the model expects, 1 a standard deviation of the replicates; the bar holds 90 % of them. What lies
    farther out than 8 is drawn at the margin, with its number.

    Args:
        checks: result of `predictive_check`.
        ax: where to draw; by default a figure of its own, tall enough for every check.

    Returns:
        The axes.
    """
    table = checks.table.iloc[::-1]
    axes = ax if ax is not None else new_figure(width=8.4, height=1.2 + 0.27 * len(table))[1][0]
    rows = name_rows(axes, table["check"], 8)
    sds = table["sds"].to_numpy(dtype=float)
    sd = np.array([checks.replicates[name].std(ddof=1) for name in table["check"]])
    scale = np.where(sd > 0, sd, 1.0)
    ends = [(table[end].to_numpy() - table["expected"].to_numpy()) / scale for end in ("lower", "upper")]
    axes.axvline(0.0, color=GREY, linewidth=0.8)
    axes.hlines(rows, *ends, color=GREY, alpha=0.45, linewidth=6, label="90 % of the replicates")
    shown, failed = np.clip(sds, -_FARTHEST, _FARTHEST), table["failed"].to_numpy()
    axes.plot(shown[~failed], rows[~failed], "o", color=BLUE, markersize=5, label="the log")
    if failed.any():
        axes.plot(shown[failed], rows[failed], "D", color=VERMILION, markeredgecolor=INK, markersize=6,
                  label="the log, where the check fails")  # fmt: skip
    for row in np.flatnonzero(np.abs(sds) > _FARTHEST):
        right = sds[row] > 0
        text = f"{sds[row]:+.0f}" if np.isfinite(sds[row]) else ("far above" if right else "far below")
        axes.annotate(text, (shown[row], row), (-7 if right else 7, 0), textcoords="offset points", va="center",
                      ha="right" if right else "left", fontsize=8, color=VERMILION)  # fmt: skip
    reach = max(3.5, 1.06 * np.abs(shown).max(initial=0.0))
    axes.set(xlim=(-reach, reach), ylim=(-0.7, len(rows) - 0.3))
    axes.set_xlabel("observed minus expected, in standard deviations of the replicates")
    axes.set_title("Does the model reproduce the log?")
    _legend_below(axes)
    return axes


@style()
def favourite_shares(checks: Checks, ax: Axes | None = None) -> Axes:
    """Do users differ as the population says? Users by their share of votes for the favourite, and the replicates.

    Args:
        checks: result of `predictive_check`.
        ax: where to draw; by default a figure of its own.

    Returns:
        The axes.
    """
    axes = ax if ax is not None else new_figure()[1][0]
    table = checks.shares
    width = (table["to"] - table["from"]).to_numpy()
    axes.bar(table["from"], table["observed"], width, align="edge", color=BLUE, alpha=0.55, edgecolor="white",
             label="users of the log")  # fmt: skip
    middle = table["from"] + width / 2
    axes.vlines(middle, table["lower"], table["upper"], color=VERMILION, linewidth=2, label="90 % of the replicates")
    axes.plot(middle, table["expected"], "_", color=VERMILION, markersize=9, label="expected")
    used = table[(table["observed"] > 0) | (table["upper"] > 0)]
    axes.set_xlim(float(used["from"].min()) - 0.03, float(used["to"].max()) + 0.03)
    axes.set_ylim(0, 1.08 * float(table[["observed", "upper"]].to_numpy().max()))
    axes.set_xlabel("share of a user's votes for the favourite (a tie counts half)")
    axes.set_ylabel("users")
    axes.set_title("Do users differ as the population says?")
    axes.legend(loc="upper left")
    return axes


@style()
def misspecification(found: Sweep, ax: Axes | None = None) -> Axes:
    """Which wrong model is harmless? Share of the effective labels that each loses on logs of each.

    Args:
        found: result of `sweep`.
        ax: where to draw; by default a figure of its own.

    Returns:
        The axes.
    """
    loss = found.table.pivot(index="true", columns="fitted", values="loss")
    names = list(dict.fromkeys(found.table["fitted"]))
    loss = loss.loc[names, names].to_numpy()
    size = 1.8 + 0.85 * len(names)
    axes = ax if ax is not None else new_figure(width=size + 1.2, height=size)[1][0]
    # Yellow to red on a scale that ends at a quarter: losses beyond are told by their numbers.
    axes.imshow(np.clip(loss, 0.0, 0.25), cmap="YlOrRd", vmin=0.0, vmax=0.3, aspect="auto")
    for row, column in np.ndindex(loss.shape):
        text = "true" if row == column else f"{loss[row, column]:+.0%}".replace("+0%", "0%").replace("-0%", "0%")
        dark = loss[row, column] > 0.18
        axes.text(column, row, text, ha="center", va="center", color="white" if dark else INK, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_xlabel("model that is fitted")
    axes.set_ylabel("model that told the log")
    axes.set_title("Effective labels lost by the wrong model")
    return axes


@style()
def model_comparison(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Which model predicts new users best? Differences to the best, with two standard errors to either side.

    Beside each model what its choice would mean: users' mean attentiveness, the recommended threshold, and how its
    ranking of users agrees with that of the model that was named first.

    Args:
        comparison: result of `compare_models`.
        ax: where to draw; by default a figure of its own, tall enough for every model.

    Returns:
        The axes.
    """
    table = comparison.table.iloc[::-1]
    axes = ax if ax is not None else new_figure(width=9.2, height=1.5 + 0.36 * len(table))[1][0]
    rows = name_rows(axes, [f"{row.model} (weight {row.weight:.2f})" for row in table.itertuples()])
    difference, error = table["elpd_diff"].to_numpy(), table["dse"].to_numpy()
    axes.axvline(0.0, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.hlines(rows, difference - 2 * error, difference + 2 * error, color=BLUE, linewidth=2,
                label="two standard errors of the difference")  # fmt: skip
    axes.plot(difference[:-1], rows[:-1], "o", color=INK, markersize=5, label="difference to the best")
    axes.plot(difference[-1:], rows[-1:], "D", color=GREEN, markeredgecolor=INK, markersize=7, label="the best")
    beside = axes.get_yaxis_transform()
    axes.text(1.02, len(rows) - 0.35, "attention  cut   ranks", transform=beside, family="monospace", fontsize=8)
    for row, model in zip(rows, table.itertuples(), strict=True):
        numbers = f"{model.attentiveness:7.2f}  {model.threshold:6.2f}  {model.rank_correlation:+6.2f}"
        axes.text(1.02, row, numbers, transform=beside, family="monospace", fontsize=8, va="center")
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel("expected log predictive density of a new user's votes, all users together (nats)")
    axes.set_title("Which model predicts new users best?")
    _legend_below(axes)
    return axes
