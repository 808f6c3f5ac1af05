"""What a report says of the fit: in five sentences, of the users, and of the parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .report_html import Html, Part, bdi, join, number, paragraphs, section, span, table, tag
from .report_names import Named
from .report_svg import interval_bar, legend, path, plot, ticks
from .report_view import Packed, View

if TYPE_CHECKING:
    from ..inference import Fit
    from .agreement import Agreement

__all__ = ["attention", "learned", "summary", "user_table"]

_MOST_ROWS = 300
_LIMITS = (
    "Means are drawn towards the middle of the population, the more so the fewer votes a user gave. Attentiveness is "
    "agreement with the crowd beyond chance: a user with a minority taste looks like an inattentive one, and the "
    "number of votes is taken to say nothing of attentiveness. Look at who is left out before you leave them out."
)
_COLUMNS = (("name", "user", None), ("votes", "votes", "number"), ("mean", "mean", "number"),
            ("width", "90 % interval", "number"))  # fmt: skip


def summary(fit: Fit, view: View, trust: str) -> Part:
    """Five sentences: the data, who attends, which model is best, where to cut, what to trust.

    Args:
        fit: the fit.
        view: its users and their curve.
        trust: the fifth.
    """
    curve, best, users = view.curve, view.best, view.users
    low, high = np.quantile(users["mean"], [0.25, 0.75])
    ended = (
        f"converged after {fit.iterations} iterations" if fit.converged else f"did not converge (status {fit.status})"
    )
    data = (
        f"{len(users):,} users gave {curve.labels:,} votes on {fit.schema.n_models:,} models, and EM "
        f"({fit.method}, {fit.objective}) {ended}."
    )
    attend = (
        f"About {curve.table['precision'].iloc[0]:.0%} of all votes are expected to be attended: a quarter of the "
        f"users lie below {low:.2f} in attentiveness and a quarter above {high:.2f}."
    )
    if best.users == len(users):
        cut = (
            f"No cut is recommended: keeping everybody gives {curve.unfiltered:,.0f} effective labels, which no "
            f"threshold exceeds, and soft weights give {curve.soft_weights_leave_one_out:,.0f}."
        )
    else:
        cut = (
            f"Keeping the {best.users:,} users at or above the recommended threshold of {best.threshold:.3f} leaves "
            f"{best.labels:,} labels, from users who attend to {best.precision:.0%} of their votes, and gives "
            f"{best.effective_labels:,.0f} effective labels against {curve.unfiltered:,.0f} without a filter and "
            f"{curve.soft_weights_leave_one_out:,.0f} by soft weights."
        )
    return section("summary", "Summary", paragraphs([data, attend, _best_model(fit), cut, trust], class_="sentence"))


def _best_model(fit: Fit) -> Html:
    ranked = [p for p in fit.table.parameters if p.dims == ("model",)]
    if not ranked:
        return Html("The fitted model gives the models no order.")
    value, names = np.ravel(fit.parameters[ranked[0].name]), fit.coords["model"]
    order = np.argsort(-value, kind="stable")
    lower, upper = fit.intervals()[ranked[0].name][:, order[0]]
    told = f", 90 % interval {lower:.2f} to {upper:.2f}" if np.isfinite(lower) and np.isfinite(upper) else ""
    first, last = bdi(names[order[0]]), bdi(names[order[-1]])
    head = f" is the best model by {ranked[0].name.replace('_', ' ')} ({value[order[0]]:+.2f}{told})"
    middle = join([", followed by ", bdi(names[order[1]])]) if len(order) > 2 else ""
    return join([first, head, middle, "; ", last, " is the last of them."])


def attention(fit: Fit, view: View) -> Part:
    """Who attends: a histogram of the users, with the fitted population over it."""
    means = view.users["mean"].to_numpy(dtype=float)
    heights, edges = np.histogram(means, bins=25, range=(0.0, 1.0))
    grid = np.linspace(0.0, 1.0, 201)[2:-2]
    density = fit.population_density(grid)
    expected = None if density is None else density * len(means) * (edges[1] - edges[0])
    top = 1.08 * max(int(heights.max()), 1)
    bars = [
        tag(
            "rect",
            x=f"{100 * left:.4g}%",
            y=f"{100 - 100 * h / top:.4g}%",
            width="3.8%",
            height=f"{100 * h / top:.4g}%",
            class_="block",
        )
        for left, h in zip(edges[:-1], heights, strict=True)
        if h
    ]
    keys = [("block", f"{'posterior' if view.posterior else 'estimated'} means of {len(means):,} users")]
    if expected is not None:  # towards an end where it is infinite it leaves the plot
        bars.append(path(grid, np.minimum(expected / top, 1.0), "second"))
        keys.append(("second", "the fitted population"))
    title = (
        f"Histogram of attentiveness: {np.mean(means < 0.25):.0%} of users below 0.25, {np.mean(means >= 0.75):.0%} at "
        "0.75 or above."
    )
    across, up = [(k / 5, f"{k / 5:.1f}") for k in range(6)], [(v / top, f"{v:,.10g}") for v in ticks(top)]
    drawn = plot(title, bars, across, up, "attentiveness")
    figure = tag("figure", tag("figcaption", tag("strong", title), legend(keys)), drawn)
    return section("attention", "Who attends", figure, tag("p", _LIMITS))


def user_table(named: Named, packed: Packed, view: View) -> Part:
    """The table of users: its frame and its data; the script fills it."""
    total = len(view.users)
    few = f"{packed.shown:,} (evenly chosen by attentiveness, so that the file stays small) of"
    said = (
        f"The table holds {'all' if packed.shown == total else few} {total:,} users, with "
        f"{'posterior' if view.posterior else 'estimated'} means and 90 % intervals of their attentiveness to three "
        f"decimals. {named.about}"
    )
    return section(
        "users",
        "Users",
        tag("p", said),
        _controls(),
        tag("p", "The table is filled by a script, which has not run.", id="users-status", role="status"),
        tag("div", _frame(), class_="scroll", tabindex="0", role="region", aria_label="Table of users"),
        _paging(),
        Html(f'<script type="text/plain" id="users-data">{packed.text}</script>'),
    )


def _controls() -> Html:
    kinds = (("all", "all"), ("kept", "kept"), ("out", "left out"))
    which = tag("select", *(tag("option", text, value=value) for value, text in kinds), id="which")
    size = tag("select", *(tag("option", str(n), value=str(n)) for n in (25, 100, 500)), id="size")
    search = tag("input", type="search", id="search", autocomplete="off", spellcheck="false")
    labelled = (("search", "Search names: ", search), ("which", "Show: ", which), ("size", "Rows: ", size))
    return tag(
        "div", *(tag("span", tag("label", text, for_=name), made) for name, text, made in labelled), class_="controls"
    )


def _frame() -> Html:
    heads = [tag("th", "rank", scope="col", class_="number wide")]
    for key, text, kind in _COLUMNS:
        button = tag("button", text, tag("span", class_="arrow", aria_hidden="true"), type="button", data_sort=key)
        order = "descending" if key == "mean" else "none"
        heads.append(tag("th", button, scope="col", class_=kind, aria_sort=order))
    heads.append(tag("th", "kept?", scope="col"))
    caption = "Users: mean attentiveness, 90 % interval, and whether the threshold above keeps them"
    head = tag("thead", tag("tr", *heads))
    return tag("table", tag("caption", caption), head, tag("tbody", id="user-rows"), id="user-table")


def _paging() -> Html:
    turns = (("first", "First"), ("previous", "Previous"), ("next", "Next"), ("last", "Last"))
    buttons = (tag("button", text, type="button", id=f"page-{key}") for key, text in turns)
    return tag("div", *buttons, class_="controls", role="group", aria_label="Pages of the table of users")


def learned(fit: Fit, agreement: Agreement | None) -> Part:
    """Skills and other parameters, with intervals; those of the posterior beside them where there is one."""
    intervals, parts, others = fit.intervals(), [], []
    beside = {} if agreement is None else {row.parameter: row for row in agreement.parameters.itertuples()}
    for parameter in fit.table.parameters:
        rows = _entries(fit, parameter, intervals[parameter.name], beside)
        if len(parameter.dims) == 1 and len(rows) > 1:
            parts.append(_forest(parameter.name.replace("_", " "), parameter.dims[0], rows, bool(beside)))
        else:
            others += rows
    if others:
        cells = [[join([row["parameter"], " ", *_comma(row["entry"])]), *row["cells"]] for row in others[:_MOST_ROWS]]
        parts.append(table(f"Parameters{_cut(len(others))}", ["parameter", *_heads(bool(beside))], cells))
    if not parts:
        parts.append(tag("p", "The model has no unknown parameters."))
    return section("learned", "Models and parameters", *parts)


def _entries(fit: Fit, parameter: Any, interval: np.ndarray, beside: dict[str, Any]) -> list[dict[str, Any]]:
    """One dictionary a scalar: parameter, entry (names), value, lower, upper, cells of a table."""
    value, error = np.asarray(fit.parameters[parameter.name]), np.asarray(fit.standard_errors[parameter.name])
    status, rows = fit.parameter_status[parameter.name], []
    for index in np.ndindex(value.shape):
        entry = [str(fit.coords[dim][i]) for dim, i in zip(parameter.dims, index, strict=True)]
        lower, upper = (float(end[index]) for end in interval)
        note = "at its boundary" if np.asarray(status)[index] == "boundary" else number(error[index])
        cells: list[Any] = [number(value[index]), note, span(lower, upper)]
        if beside:
            row = beside[f"{parameter.name}[{', '.join(entry)}]" if entry else parameter.name]
            cells += [number(row.mean), span(row.lower, row.upper)]
        rows.append({"parameter": parameter.name.replace("_", " "), "entry": entry, "value": float(value[index]),
                     "lower": lower, "upper": upper, "cells": cells})  # fmt: skip
    return rows


def _forest(name: str, dim: str, rows: list[dict[str, Any]], beside: bool) -> Html:
    """The entries of a parameter, the highest first, with their intervals drawn."""
    rows = sorted(rows, key=lambda row: -row["value"])
    ends = np.array([[row["lower"], row["value"], row["upper"]] for row in rows])
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    places = 0.04 + 0.92 * (np.column_stack([ends, np.zeros(len(ends))]) - low) / ((high - low) or 1.0)
    cells = [
        [bdi(row["entry"][0]), interval_bar(*map(float, place)), *row["cells"]]
        for row, place in zip(rows[:_MOST_ROWS], places, strict=False)
    ]
    drawn = f"from {number(low)} to {number(high)}"
    return table(f"{name} by {dim}, highest first{_cut(len(rows))}", [dim, drawn, *_heads(beside)], cells)


def _heads(beside: bool) -> list[str]:
    return ["estimate", "standard error", "90 % interval", *(["posterior mean", "90 % interval"] if beside else [])]


def _comma(names: list[str]) -> list[Any]:
    return [part for k, name in enumerate(names) for part in ([", "] if k else []) + [bdi(name)]]


def _cut(size: int) -> str:
    return "" if size <= _MOST_ROWS else f" ({_MOST_ROWS} of {size:,}; all are in fit.parameters)"
