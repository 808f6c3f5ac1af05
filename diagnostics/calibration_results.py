"""Replications on disk: what was done is kept, and a run that was stopped goes on where it ended.

JSON lines. The first says of which design they are; each other is one replication. A line is added in one write, and
one that a kill cut off is left out and done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..comparisons.atomic import atomic_file
from ..comparisons.errors import EarnestError

__all__ = ["Results"]

_KIND, _FORMAT = "earnest calibration", 1
_RTOL = 1e-6  # of probes: another machine rounds otherwise


class Results:
    """A file of replications, or none at all.

    Args:
        path: the file; None keeps everything in memory only.
        design: what the replications are of: {name: value}.
        probe: gives numbers that change when the behaviour of a component does, though its declaration may not.

    Raises:
        EarnestError: the file holds something else, or replications of another design.
    """

    def __init__(
        self, path: str | Path | None, design: Mapping[str, Any], probe: Callable[[], Mapping[str, list[float]]]
    ) -> None:
        self.path = None if path is None else Path(path)
        self.lines: dict[int, dict[str, Any]] = {}
        if self.path is None:
            return
        if self.path.exists() and self.path.stat().st_size:
            found, self.lines = _read(self.path)
            _check_design(self.path, found.get("design", {}), design)
            _check_probe(self.path, found.get("probe", {}), probe())
        else:
            head = {"kind": _KIND, "format": _FORMAT, "design": dict(design), "probe": dict(probe())}
            with atomic_file(self.path) as temporary:
                temporary.write_text(json.dumps(head) + "\n", encoding="utf-8")

    def keep(self, number: int, line: Mapping[str, Any]) -> None:
        """Add a replication."""
        self.lines[number] = {"replication": number, **line}
        if self.path is None:
            return
        with self.path.open("a+b") as file:
            file.seek(-1, 2)
            cut = file.read(1) != b"\n"  # by a kill: what is left of that line stays a line of its own
            file.write((b"\n" if cut else b"") + json.dumps(self.lines[number]).encode() + b"\n")


def _read(path: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise EarnestError(f"results={str(path)!r}: not text; give the name of a new file") from error
    head: Any = _parsed(texts[0]) if texts else None
    if not isinstance(head, dict) or head.get("kind") != _KIND or head.get("format") != _FORMAT:
        raise EarnestError(
            f"results={str(path)!r}: this file was not written by calibrate (its first line does not say so); "
            "give the name of a new file"
        )
    lines = [_parsed(text) for text in texts[1:]]
    return head, {line["replication"]: line for line in lines if isinstance(line, dict) and "replication" in line}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _check_design(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    for name, value in json.loads(json.dumps(dict(here))).items():
        if there.get(name) != value:
            shown = "another one" if isinstance(value, str) and "\n" in value else f"{there.get(name)!r}, not {value!r}"
            raise _other(path, f"{name} was {shown}")


def _check_probe(path: Path, there: Mapping[str, Any], here: Mapping[str, list[float]]) -> None:
    for name, numbers in here.items():
        before = there.get(name, [])
        if len(before) != len(numbers) or not np.allclose(before, numbers, rtol=_RTOL, atol=0, equal_nan=True):
            raise _other(path, f"{name} behaves otherwise than it did, by the same declaration (has its code changed?)")


def _other(path: Path, what: str) -> EarnestError:
    return EarnestError(
        f"results={str(path)!r} holds replications of another design: {what}. Give the name of a new file, or the "
        "arguments that this one was made with"
    )
