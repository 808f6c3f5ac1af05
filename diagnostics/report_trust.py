"""What a report says of how far to trust it: agreement, identifiability, checks, and how it was made."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..inference.thinning import evenly
from ..models.declaration import dump, parse
from .convergence import convergence
from .report_html import Html, Part, bdi, definitions, number, paragraphs, section, span, table, tag
from .report_names import LONGEST_TEXT, Discretion, visible
from .report_svg import line, plot
from .report_view import View
from .words import listed

if TYPE_CHECKING:
    from ..inference import Fit
    from .agreement import Agreement

__all__ = ["agreeing", "checked", "identified", "made", "trust"]

_MOST_ROWS = 60
_AGREEMENT = "EM beside the posterior"


def trust(fit: Fit, agreement: Agreement | None, only_ranking: bool | None) -> str:
    """One sentence on what may be relied on."""
    said = []
    if not fit.converged:
        said.append("EM has not converged, so nothing here is final")
    if agreement is None:
        said.append("no posterior of the users was given, so that intervals rest on EM's normal approximation")
    else:
        may = [word for word, good in (("ranking", agreement.may_rank), ("cutting", agreement.may_cut),
                                       ("the parameters' intervals", agreement.intervals_hold)) if good]  # fmt: skip
        may = may or ["nothing that was looked at"]
        said.append(f"held against the posterior, EM may stand in for it for {listed(may)}")
    if only_ranking is not None:
        ranking = "the ranking of the users is identified but not the absolute scale of their attentiveness"
        said.append(ranking if only_ranking else "the absolute scale of attentiveness is identified")
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}."


def agreeing(fit: Fit, view: View, agreement: Agreement | None, names: dict[str, str]) -> Part:
    """EM beside the posterior.

    Args:
        fit: the fit.
        view: the users and their curve.
        agreement: of the two; None without a posterior.
        names: {user: the name that is shown}.
    """
    if agreement is None:
        told = tag(
            "p",
            "No posterior of the users was given: sample one with their draws to see whether EM may stand in.",
        )
        return section("agreement", _AGREEMENT, told)
    said = [visible(agreement.verdict, LONGEST_TEXT)]
    if view.posterior:
        lost = view.curve.regret(fit)
        said.append(
            f"Cutting where EM says ({lost.em_threshold:.3f}) and not where the posterior does ({lost.threshold:.3f}) "
            f"is expected to lose {lost.expected:,.1f} effective labels ({lost.share:.1%})."
        )
    tables = _parameters(agreement.parameters), _apart(agreement.users, names), _decisions(agreement.decisions)
    return section("agreement", _AGREEMENT, paragraphs(said), _scatter(agreement.users), *tables)


def _parameters(frame: pd.DataFrame) -> Html:
    rows = []
    for row in frame.sort_values("coverage", kind="stable").head(_MOST_ROWS).itertuples():
        held = "not known" if np.isnan(row.coverage) else f"{row.coverage:.0%}"
        em, posterior = span(row.em_lower, row.em_upper), span(row.lower, row.upper)
        rows.append([bdi(row.parameter, 120), number(row.em), em, number(row.mean), posterior, held])
    heads = ["parameter", "EM", "90 % interval", "posterior mean", "90 % interval", "held by EM's"]
    return table(f"Parameters, worst held first{_cut(frame)}", heads, rows)


def _apart(frame: pd.DataFrame, names: dict[str, str]) -> Html:
    rows = []
    for row in frame.head(10).itertuples():
        means = f"{row.em:.3f}", f"{row.mean:.3f}"
        rows.append([bdi(names[row.user], 40), f"{row.comparisons:,}", *means, span(row.lower, row.upper)])
    return table("Users farthest apart", ["user", "votes", "EM", "posterior mean", "90 % interval"], rows)


def _decisions(frame: pd.DataFrame) -> Html:
    rows = []
    for row in frame.itertuples():
        counts = f"{row.users_em:,}", f"{row.users_posterior:,}", f"{row.labels_differ:,}"
        rows.append([f"{row.threshold:.2f}", *counts, f"{row.share_differ:.1%}"])
    heads = ["threshold", "users kept by EM", "by the posterior", "votes that differ", "share"]
    return tag("details", tag("summary", "Decisions at every threshold"), table("Decisions", heads, rows))


def _told(directions: pd.DataFrame) -> pd.DataFrame:
    """Those directions that are put into words."""
    return directions[directions["meaning"] != ""] if "meaning" in directions else directions


def _scatter(users: pd.DataFrame) -> Html:
    """EM's mean against the posterior's, of some users."""
    ordered = users.sort_values("em", kind="stable")
    some = ordered.iloc[evenly(len(users), 400)]
    dots = [
        Html(f'<circle cx="{100 * x:.4g}%" cy="{100 - 100 * y:.4g}%" r="2.5" class="dot"/>')
        for x, y in zip(some["em"], some["mean"], strict=True)
    ]
    of = f"{len(users):,} users" if len(some) == len(users) else f"{len(some):,} of {len(users):,} users"
    title = f"Attentiveness by EM (across) against the posterior mean (up), {of}; on the line both are the same."
    fifths = [(k / 5, f"{k / 5:.1f}") for k in range(6)]
    drawn = plot(title, [line((0, 0), (1, 1), "same"), *dots], fifths, fifths, "attentiveness by EM", "square")
    return tag("figure", tag("figcaption", tag("strong", title)), drawn)


def identified(found: Any, names: dict[str, str], discretion: Discretion) -> Part | None:
    """What the votes tell and what they leave open."""
    if found is None:
        return None
    verdict = discretion.sentences(found.verdict)
    parts: list[Any] = [paragraphs([verdict], class_="warning" if found.only_ranking else None)]
    advice = [text for text in discretion.keep(found.advice) if text not in verdict]
    if advice:
        parts += [tag("h3", "What would help"), tag("ul", *(tag("li", text) for text in advice))]
    for caption, frame in (
        ("Directions, least known first", _told(found.directions)),
        ("From prior to posterior", found.contraction),
    ):
        if len(frame):
            parts.append(_frame(caption, frame, discretion))
    apart = getattr(found, "contrarians", None)
    if apart is not None:
        parts.append(_contrarians(apart, names))
    return section("identifiability", "What is identified", *parts)


def _contrarians(frame: pd.DataFrame, names: dict[str, str]) -> Html:
    """Users with a taste of their own, if there are any."""
    there = frame[frame["probability"] >= 0.5]
    if not len(there):
        return tag("p", "No user consistently prefers what the others do not.")
    rows = []
    for row in there.head(20).itertuples():
        told = f"{row.comparisons:,}", f"{row.attentiveness:.3f}", f"{row.probability:.0%}"
        rows.append([bdi(names[row.user], 40), *told])
    of = "" if len(there) <= 20 else f" (20 of {len(there):,})"
    heads = ["user", "votes", "attentiveness by EM", "probability"]
    return table(f"Users who may hold another taste, or mean ill, rather than be careless{of}", heads, rows)


def checked(found: Any, discretion: Discretion) -> Part | None:
    """Whether votes made by the model look like the votes observed."""
    if found is None:
        return None
    frame = found.table
    rows = []
    for row in frame.head(_MOST_ROWS).itertuples():
        inside = "yes" if row.lower <= row.observed <= row.upper else "no"
        rows.append(
            [
                _allowed(row.check, discretion),
                number(row.observed),
                number(row.expected),
                span(row.lower, row.upper),
                number(row.p),
                inside,
            ]
        )
    heads = ["check", "observed", "expected", "range of replicates", "p", "inside"]
    said = paragraphs([discretion.sentences(found.verdict)])
    return section("checks", "Does the model fit?", said, table(f"Predictive checks{_cut(frame)}", heads, rows))


def made(fit: Fit, view: View, trace: Any, discretion: Discretion) -> Part:
    """Everything that says how the report came about."""
    reached = f", objective {fit.objective_trace[-1]:,.2f} nats" if len(fit.objective_trace) else ""
    facts: list[tuple[str, Any]] = [
        ("Estimator", f"{fit.method} EM, objective {fit.objective}, seed {fit.seed}"),
        ("Status", f"{fit.status} after {fit.iterations} iterations{reached}"),
        ("Data", f"{len(view.users):,} users, {view.curve.labels:,} votes, {fit.schema.n_models:,} models"),
        ("Fingerprint of the votes", tag("code", fit.fingerprint or "none", class_="long")),
        ("Versions", ", ".join(f"{name} {number}" for name, number in _versions(trace).items())),
    ]
    notes = list(fit.notes)
    if trace is not None:
        facts += [("Posterior", _chains(trace, discretion)),
                  ("Convergence", visible(convergence(trace).verdict, LONGEST_TEXT))]  # fmt: skip
        notes += [note for note in str(trace.attrs.get("notes", "")).split("\n") if note and note not in notes]
    parts: list[Any] = [definitions(facts, class_="facts"), *_modes(fit)]
    declaration = fit.model.to_toml()
    if discretion.private:
        declaration = dump(discretion.settings(parse(declaration)))
    kept = discretion.keep(notes)
    if kept:
        parts += [tag("h3", "Notes"), tag("ul", *(tag("li", note) for note in kept), class_="notes")]
    if discretion.withheld:
        said = f"{discretion.withheld} notes or settings are not shown here, since they may name users or files."
        parts.append(tag("p", said))
    code = tag(
        "pre", tag("code", declaration), tabindex="0", role="region", aria_label="Declaration of the model, TOML"
    )
    parts.append(tag("details", tag("summary", "Declaration of the model"), code, open="open"))
    return section("made", "How this was made", *parts)


def _chains(trace: Any, discretion: Discretion) -> str:
    attrs, sizes = trace.attrs, trace.posterior.sizes
    told = discretion.keep(str(attrs[key]) for key in ("form_reason", "chains_ran") if key in attrs)
    size = f"{sizes['chain']} chains of {sizes['draw']:,} draws"
    return "; ".join([f"{size} by {attrs.get('backend', 'NUTS')}, seed {attrs.get('seed', 'not known')}", *told])


def _modes(fit: Fit) -> list[Html]:
    if len(fit.modes) < 2:
        return []
    rows = []
    for k, mode in enumerate(fit.modes[:_MOST_ROWS], 1):
        below = f"{fit.modes[0].objective - mode.objective:,.1f}"
        rows.append([f"{k}", below, number(mode.rank_correlation), number(mode.attentive_share), f"{mode.starts}"])
    heads = [
        "mode",
        "nats below the best",
        "rank correlation of users",
        "mean attentiveness",
        "starts that ended there",
    ]
    return [table("Modes of the likelihood that were found", heads, rows)]


def _allowed(text: Any, discretion: Discretion) -> str:
    """A cell's text, unless it names a user."""
    if discretion.allows(str(text)):
        return str(text)
    discretion.withheld += 1
    return "(not shown)"


def _frame(caption: str, frame: pd.DataFrame, discretion: Discretion) -> Html:
    """Any table of numbers and words, its words first: they name the rows."""
    spoken = [name for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])]
    frame = frame[[*spoken, *(name for name in frame.columns if name not in spoken)]]
    words = range(len(spoken))
    rows = [
        [_allowed(cell, discretion) if j in words else number(float(cell)) for j, cell in enumerate(row)]
        for row in frame.head(_MOST_ROWS).itertuples(index=False)
    ]
    return table(f"{caption}{_cut(frame)}", [str(name).replace("_", " ") for name in frame.columns], rows, (0, *words))


def _cut(frame: pd.DataFrame) -> str:
    return "" if len(frame) <= _MOST_ROWS else f" ({_MOST_ROWS} of {len(frame):,})"


def _versions(trace: Any) -> dict[str, str]:
    """Of Earnest and what it computed with; the posterior's own where it says them."""
    out = {"Python": platform.python_version()}
    for name in ("earnest", "jax", "numpy", "scipy"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    if trace is not None:
        out |= {str(k): str(v) for k, v in json.loads(trace.attrs.get("versions", "{}")).items() if k not in out}
    return out
