"""Rows that come in by a pipe."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .growing import Chunk, Progress
from .rows import json_rows

__all__ = ["Stream"]

_WAIT = 0.2  # seconds for which rows are gathered


class Stream:
    """JSON lines from a file descriptor, with the methods of `growing.Folder`.

    Attributes:
        ended: Whether the other side has closed it.
        behind: Bytes that were read and not counted at the last look.
    """

    def __init__(self, descriptor: int, known: dict[str, Progress]) -> None:
        """Read from `descriptor`, after what is known of earlier streams."""
        self._descriptor, self._rest = descriptor, b""
        self._progress = known.get("-", Progress("-"))
        self.ended, self.behind = False, 0
        self.waiting: dict[str, int] = {}
        self.foreign: list[str] = []

    def look(self, budget: int) -> Iterator[Chunk]:
        """New rows, gathered for a moment; the last line counts without its end once the stream has ended."""
        pieces, size, until = [self._rest], len(self._rest), time.monotonic() + _WAIT
        while not self.ended and size < budget and (left := until - time.monotonic()) > 0:
            if not select.select([self._descriptor], [], [], left)[0]:
                break
            piece = os.read(self._descriptor, 1 << 20)
            self.ended = not piece
            pieces.append(piece)
            size += len(piece)
        data = b"".join(pieces)
        cut = len(data) if self.ended else data.rfind(b"\n") + 1
        self._rest = data[cut:]
        self.waiting = {"-": len(self._rest)} if self._rest else {}
        if cut:
            rows = json_rows(data[:cut], self._progress.lines + 1)
            before = self._progress
            progress = replace(before, offset=before.offset + cut, lines=before.lines + rows.n_lines)
            yield Chunk("json", progress, rows)

    def accept(self, chunks: Iterable[Chunk]) -> None:
        """Go on behind these chunks."""
        for chunk in chunks:
            self._progress = chunk.progress
