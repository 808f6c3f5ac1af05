"""Markup that cannot be broken out of: what is not `Html` is escaped where it enters, and scripts are known by hash.

A page is one file. Its policy forbids every request, and every script and style but the two that it carries.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

from .report_names import visible

__all__ = [
    "Html", "Part", "bdi", "definitions", "embedded", "join", "number", "page", "paragraphs", "section", "span",
    "table", "tag",
]  # fmt: skip


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def _escaped(part: Any) -> Html:
    if isinstance(part, Html):
        return part
    # A lone surrogate is no character and cannot be written in UTF-8.
    return Html(html.escape(str(part).encode("utf-8", "replace").decode()))


def join(parts: Iterable[Any]) -> Html:
    """Parts one after the other, escaped where they are not markup."""
    return Html("".join(map(_escaped, parts)))


def tag(name: str, *parts: Any, **attributes: Any) -> Html:
    """An element. A trailing underscore of an attribute's name falls away, others are hyphens; None leaves it out."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{told}>{join(parts)}</{name}>")


def bdi(name: Any, longest: int = 80) -> Html:
    """A name from the log: made visible, and kept from turning the direction of what stands around it."""
    return tag("bdi", visible(str(name), longest))


def paragraphs(texts: Iterable[Any], **attributes: Any) -> Html:
    """A paragraph for each text."""
    return join(tag("p", text, **attributes) for text in texts)


@dataclass(frozen=True)
class Part:
    """A part of the page.

    Attributes:
        name: id by which it is linked.
        title: its heading.
        body: what stands under it.
    """

    name: str
    title: str
    body: Html

    @property
    def markup(self) -> Html:
        """The part with its heading."""
        heading = tag("h2", self.title, id=f"{self.name}-title")
        return tag("section", heading, self.body, id=self.name, aria_labelledby=f"{self.name}-title")


def section(name: str, title: str, *parts: Any) -> Part:
    """A part of the page out of pieces."""
    return Part(name, title, join(parts))


def table(caption: str, headers: Sequence[str], rows: Iterable[Sequence[Any]], words: Sequence[int] = (0,)) -> Html:
    """A table whose first column names its rows.

    Args:
        caption: what it shows.
        headers: of the columns.
        rows: cells.
        words: columns of words; the others hold numbers and are aligned right.
    """
    kind = [None if j in words else "number" for j in range(len(headers))]
    head = join(tag("th", text, scope="col", class_=kind[j]) for j, text in enumerate(headers))
    body = join(
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_=kind[j]) for j, cell in enumerate(row) if j))
        for row in rows
    )
    filled = tag("table", tag("caption", caption), tag("thead", tag("tr", head)), tag("tbody", body))
    return tag("div", filled, class_="scroll", tabindex="0", role="region", aria_label=caption)


def definitions(pairs: Iterable[tuple[Any, Any]], **attributes: Any) -> Html:
    """Terms and what they are here."""
    return tag("dl", *(tag("div", tag("dt", term), tag("dd", value)) for term, value in pairs), **attributes)


def number(value: Any) -> str:
    """A number to three decimals, or few digits where these would not tell; words where it is none."""
    value = float(value)
    if not math.isfinite(value):
        return "not known"
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.2e}"


def span(lower: Any, upper: Any) -> str:
    """An interval in words."""
    known = math.isfinite(float(lower)) and math.isfinite(float(upper))
    return f"{number(lower)} to {number(upper)}" if known else "not known"


def embedded(name: str, data: Any) -> Html:
    """Data for the page's script, inert: nothing in it can end the element that holds it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # ASCII: U+2028 and the like are escapes
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{name}">{text}</script>')


def page(slots: Mapping[str, str]) -> str:
    """The page's template with its style, its script and the policy that allows these two alone.

    Args:
        slots: {name in the template: markup}.
    """
    folder = files(__package__) / "page"
    source = {end: (folder / f"page.{end}").read_text(encoding="utf-8") for end in ("html", "css", "js")}
    policy = (
        f"default-src 'none'; script-src {_hash(source['js'])}; style-src {_hash(source['css'])}; base-uri 'none'; "
        "form-action 'none'"
    )
    return Template(source["html"]).substitute(slots, style=source["css"], script=source["js"], policy=policy)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
