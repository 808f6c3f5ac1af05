"""Rows that come in by a pipe."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .errors import InputError
from .growing import LONGEST, Chunk, Progress
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
        """New rows, gathered for a moment; the last line counts without its end once the stream has ended.

        Raises:
            InputError: A line is longer than any vote, or nothing can be read.
        """
        # What waits for its end counts not towards the budget: a line longer than that would wait for ever.
        pieces, size, until = [self._rest], 0, time.monotonic() + _WAIT
        while not self.ended and size < budget and (left := until - time.monotonic()) > 0:
            try:
                if not select.select([self._descriptor], [], [], left)[0]:
                    break
                piece = os.read(self._descriptor, min(1 << 20, budget))
            except OSError as error:
                raise InputError(f"standard input: cannot be read ({error.strerror or error})") from error
            self.ended = not piece
            pieces.append(piece)
            size += len(piece)
        data = b"".join(pieces)
        if len(data) - (data.rfind(b"\n") + 1) > LONGEST:
            raise InputError(
                f"standard input, after line {self._progress.lines + data.count(b'\n'):,}: a line of more than "
                f"{LONGEST:,} bytes; expected one vote a line"
            )
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
