"""A folder of files that grow: what is new in them, and whether what was read is still as it was."""

from __future__ import annotations

import codecs
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from .csv_files import read_header
from .errors import InputError
from .files import InputFile
from .rows import Rows, csv_rows, json_rows

__all__ = ["LONGEST", "Chunk", "Folder", "Progress"]

_KINDS = {".jsonl": "json", ".ndjson": "json", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_PIECE = 1 << 20
LONGEST = 1 << 24
"""Bytes of one row, at most."""
_COPIED = 1 << 12  # bytes that two files do not begin with by chance
_TAIL = 1 << 12  # bytes before the offset that are compared before what follows them is read


@dataclass(frozen=True)
class Progress:
    """How far a file was read.

    Attributes:
        name: Its name in the folder, or "-" for standard input.
        inode, size, modified: Of the file, when it was looked at.
        offset: Bytes that were read.
        lines: Lines that were read.
        crc: CRC-32 of the bytes that were read.
    """

    name: str
    inode: int = 0
    size: int = 0
    modified: int = 0
    offset: int = 0
    lines: int = 0
    crc: int = 0


@dataclass(frozen=True)
class Chunk:
    """New rows of one file.

    Attributes:
        kind: "json", "csv" or "parquet".
        progress: How far the file is read with them.
        rows: The rows; of a Parquet file, which is read whole, None.
        header: Names of the columns of `rows.fields`.
        path: The file; None for standard input.
        was: What the file was called when it was read before.
    """

    kind: str
    progress: Progress
    rows: Rows | None = None
    header: tuple[str, ...] = ()
    path: Path | None = None
    was: str | None = None


@dataclass
class Folder:
    """The files of a folder, read from where an earlier look ended.

    JSONL (.jsonl, .ndjson) and CSV (.csv, .tsv) files may grow; a last line without its end waits. Parquet files are
    read once, when they are whole. Names that begin with a dot or an underscore, and quarantined rows, are left out.

    Attributes:
        path: The folder.
        known: Name to what was read of it.
        skip: Names that are not votes, such as outputs that lie in the folder.
        behind: Bytes that were there and not read at the last look.
        waiting: Name to bytes that are no whole row, or no whole Parquet file, yet.
        foreign: Names of what is no file of votes in a known form.
        twins: Name to another name, under which the very same file is read: links, for instance.
        ids: Whether votes have ids, so that copies of a file do no harm.
    """

    path: Path
    known: dict[str, Progress] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    behind: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    twins: dict[str, str] = field(default_factory=dict)
    ids: bool = False
    _present: dict[str, os.stat_result] = field(default_factory=dict, repr=False)
    _tails: dict[str, bytes] = field(default_factory=dict, repr=False)
    _headers: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict, repr=False)

    def look(self, budget: int) -> Iterator[Chunk]:
        """New rows of the files in the order of their names, about `budget` bytes of them.

        `accept` what was counted before looking again.

        Raises:
            InputError: A file that was read has changed, was copied, or cannot be read.
        """
        self.behind, self.waiting = 0, {}
        self._present = self._listed()
        if moved := self._renamed():
            yield from moved
            return
        read = list(self.known.values())
        for name in self._present:
            try:
                chunk, unread = self._look_at(name, budget)
            except FileNotFoundError:  # renamed or removed since it was listed
                continue
            taken = 0
            if chunk is not None:
                if not self.ids and not self.known.get(name, Progress(name)).offset:
                    self._refuse_copy(chunk, read)
                read.append(chunk.progress)
                taken = chunk.progress.offset - self.known.get(name, Progress(name)).offset
                budget -= taken
                yield chunk
            if name not in self.waiting:
                self.behind += unread - taken

    def accept(self, chunks: Iterable[Chunk]) -> None:
        """Go on behind these chunks."""
        kept = list(chunks)
        for chunk in kept:  # first all of them: after a rotation one file's old name is another one's new name
            self.known.pop(chunk.was or "", None)
        self.known.update({chunk.progress.name: chunk.progress for chunk in kept})

    def _listed(self) -> dict[str, os.stat_result]:
        found, self.foreign = {}, []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if entry.name[0] in "._" or ".quarantine." in entry.name or entry.name in self.skip:
                        continue
                    if Path(entry.name).suffix.lower() not in _KINDS or not entry.is_file():
                        self.foreign.append(entry.name)
                        continue
                    with suppress(FileNotFoundError):
                        found[entry.name] = os.stat(entry.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror or error}); name a folder") from error
        self.twins = same_files(found, self.path, self.known)
        return {name: found[name] for name in sorted(found) if name not in self.twins}

    def _other(self, progress: Progress) -> bool:
        """Whether a file that was read is gone, or another one has its name."""
        return progress.name not in self._present or progress.inode != self._present[progress.name].st_ino

    def _renamed(self) -> list[Chunk]:
        """Files that were read under another name, as after a rotation; they are known by their inode and content."""
        gone = {progress.inode: progress for progress in self.known.values() if self._other(progress)}
        moved = []
        for name, status in self._present.items() if gone else ():
            old = gone.get(status.st_ino)
            if old is None or old.name == name or status.st_size < old.offset:
                continue
            with suppress(FileNotFoundError):
                if self._crc(name, old.offset) == old.crc:
                    progress = replace(_now(old, status), name=name)
                    moved.append(Chunk(_kind(name), progress, Rows(), path=self.path / name, was=old.name))
        return moved

    def _look_at(self, name: str, budget: int) -> tuple[Chunk | None, int]:
        """What is new in a file, as far as the budget goes, and how many bytes there are."""
        before, status = self.known.get(name, Progress(name)), self._present[name]
        now = _now(before, status)
        if now != before:
            self._check(before, status)
        if name in self.known:
            self.known[name] = now
        unread = now.size - now.offset
        return (self._read(now, min(unread, budget)) if unread > 0 and budget > 0 else None), unread

    def _check(self, before: Progress, status: os.stat_result) -> None:
        """Raise where what was read of a file is not what stands there now."""
        name, end = before.name, before.offset
        if not end:
            return
        grown = status.st_size > before.size and status.st_ino == before.inode
        same = status.st_size == end if _kind(name) == "parquet" else status.st_size >= end
        if same and grown and name in self._tails:
            same = self._bytes(name, end - len(self._tails[name]), end) == self._tails[name]
        elif same:
            same = self._crc(name, end) == before.crc
        if not same:
            raise InputError(
                f"{self.path / name}: has changed in what was counted already (the first {end:,} bytes); what was "
                "counted stays counted. Put the file back as it was, give new votes a file of their own, or count "
                "everything anew in another store"
            )

    def _refuse_copy(self, chunk: Chunk, read: Iterable[Progress]) -> None:
        """Raise where a new file begins with all that was read of another one."""
        name = chunk.progress.name
        size = self._present[name].st_size
        wanted = {(old.offset, old.crc): old.name for old in read if _COPIED <= old.offset <= size}
        crc = stop = 0
        for end in sorted({offset for offset, _ in wanted}):
            crc, stop = self._crc(name, end, stop, crc), end
            if (end, crc) in wanted:
                raise InputError(
                    f"{self.path / name}: begins with the very {end:,} bytes of {wanted[end, crc]} that are counted "
                    "already, so that their votes would count twice. Remove the copy (rotate files by renaming them, "
                    "not by copying), or begin a store that knows votes by their ids (comparison=)"
                )

    def _read(self, before: Progress, size: int) -> Chunk | None:
        name, path = before.name, self.path / before.name
        kind = _kind(name)
        if kind == "parquet":
            return self._whole(before)
        header: tuple[str, ...] = ()
        if kind == "csv" and (header := self._header(before)) == ():
            return None
        size = max(size, _PIECE)
        while True:
            stop = min(before.offset + size, before.size)
            data = self._bytes(name, before.offset, stop)
            rows = self._rows(kind, data[: data.rfind(b"\n") + 1], before)
            if rows.n_bytes or stop == before.size:
                break
            size *= 2
            if size > 2 * LONGEST:
                raise InputError(
                    f"{path}, line {before.lines + 1}: a row of more than {LONGEST:,} bytes; is a quote not closed?"
                )
        if stop == before.size and rows.n_bytes < len(data):
            self.waiting[name] = len(data) - rows.n_bytes
        if not rows.n_bytes:
            return None
        taken = data[: rows.n_bytes]
        self._tails[name] = taken[-_TAIL:]
        progress = replace(
            before,
            offset=before.offset + rows.n_bytes,
            lines=before.lines + rows.n_lines,
            crc=zlib.crc32(taken, before.crc),
        )
        return Chunk(kind, progress, rows, header, path)

    def _rows(self, kind: str, data: bytes, before: Progress) -> Rows:
        if kind == "json":
            if not before.offset and data.startswith(codecs.BOM_UTF8):
                where = self.path / before.name
                raise InputError(f"{where}, line 1: starts with a byte order mark; save the file as UTF-8 without one")
            return json_rows(data, before.lines + 1)
        delimiter, names = self._headers[before.name]
        first = 0 if before.offset else data.find(b"\n") + 1
        rows = csv_rows(data[first:], before.lines + 1 + bool(first), delimiter, len(names))
        rows.n_lines, rows.n_bytes = rows.n_lines + bool(first), rows.n_bytes + first
        return rows

    def _header(self, before: Progress) -> tuple[str, ...]:
        """Names of the columns; none while the first line has no end."""
        name, path = before.name, self.path / before.name
        if name not in self._headers or not before.offset:
            if b"\n" not in self._bytes(name, 0, LONGEST):
                self.waiting[name] = before.size
                return ()
            file = InputFile(path, str(path), "csv", None, before.size, before.modified)
            self._headers[name] = read_header(file)
        return self._headers[name][1]

    def _whole(self, before: Progress) -> Chunk | None:
        """A Parquet file, if it is whole: writers put its end there last."""
        name, path = before.name, self.path / before.name
        if before.size < 12 or self._bytes(name, before.size - 4, before.size) != b"PAR1":
            self.waiting[name] = before.size
            return None
        progress = replace(before, offset=before.size, crc=self._crc(name, before.size))
        return Chunk("parquet", progress, path=path)

    def _bytes(self, name: str, start: int, stop: int) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                if os.fstat(file.fileno()).st_ino != self._present[name].st_ino:
                    raise FileNotFoundError(name)
                file.seek(start)
                return file.read(stop - start)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{self.path / name}: cannot be read ({error.strerror or error})") from error

    def _crc(self, name: str, stop: int, start: int = 0, crc: int = 0) -> int:
        for place in range(start, stop, _PIECE):
            crc = zlib.crc32(self._bytes(name, place, min(place + _PIECE, stop)), crc)
        return crc


def same_files(found: dict[str, os.stat_result], folder: Path, known: Mapping[str, Progress]) -> dict[str, str]:
    """Names of files that are there under another name, too, and that one: what was read, else what is no link."""
    kept: dict[tuple[int, int], str] = {}
    for name in sorted(found, key=lambda name: (name not in known, (folder / name).is_symlink(), name)):
        kept.setdefault((found[name].st_dev, found[name].st_ino), name)
    names = {name: kept[status.st_dev, status.st_ino] for name, status in found.items()}
    return {name: own for name, own in names.items() if own != name}


def _kind(name: str) -> str:
    return _KINDS[Path(name).suffix.lower()]


def _now(progress: Progress, status: os.stat_result) -> Progress:
    return replace(progress, inode=status.st_ino, size=status.st_size, modified=status.st_mtime_ns)
