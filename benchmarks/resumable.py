"""Results of long runs as JSON lines: what was done is kept, and a run that was stopped goes on where it ended."""

from __future__ import annotations

import json


def read(path):
    """Lines of an earlier run (none without a file); a last line cut off by a kill is dropped."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path and path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def keep(line, path):
    """Add a line (if there is a file to add to) and return it; one cut off before stays a line of its own."""
    if path:
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                cut = file.read(1) != b"\n"
            else:
                cut = False
            file.write((b"\n" if cut else b"") + json.dumps(line).encode() + b"\n")
    return line
