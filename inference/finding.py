"""A finding: what the reader of a log should know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """Something that the log's reader should know.

    Attributes:
        code: a short name, for programs.
        severity: "stop": the log cannot tell who attends; "warning": it tells less than it seems to, or something is
            wrong with it; "note": an opportunity, or something to bear in mind.
        text: what was found.
        remedy: what would help.
    """

    code: str
    severity: Literal["stop", "warning", "note"]
    text: str
    remedy: str = ""
