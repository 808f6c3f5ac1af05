"""Finding the files of a source and telling what they are."""

import codecs
import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from .errors import InputError

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
KNOWN = ".csv, .tsv, .jsonl, .ndjson, .json, .parquet (the text formats also with .gz or .zst)"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class InputFile:
    """One file of a source.

    Attributes:
        path: Absolute path.
        label: The path as the caller wrote it; used in messages.
        format: "csv", "json" or "parquet".
        compression: "gzip", "zstd" or None.
        size, modified: Bytes, and nanoseconds since the epoch, when the source was opened.
    """

    path: Path
    label: str
    format: str
    compression: str | None
    size: int
    modified: int

    def check_unchanged(self) -> None:
        """Raise where the file is not the one that was checked when it was read first."""
        try:
            now = self.path.stat()
        except OSError as error:
            raise InputError(f"{self.label}: the file is gone since the log was read; read it again") from error
        if (now.st_size, now.st_mtime_ns) != (self.size, self.modified):
            raise InputError(f"{self.label}: the file has changed since the log was read; read it again")

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file's bytes, decompressed."""
        try:
            with pa.OSFile(str(self.path)) as raw:
                if self.compression is None:
                    yield cast(BinaryIO, raw)
                else:
                    with pa.CompressedInputStream(raw, self.compression) as stream:
                        yield cast(BinaryIO, stream)
        except (OSError, pa.ArrowInvalid) as error:
            if self.compression is None:
                raise InputError(f"{self.label}: cannot be read ({error})") from error
            raise InputError(
                f"{self.label}: cannot be decompressed ({error}); the file is truncated, damaged or not "
                f"{self.compression}; fetch it again"
            ) from error


def is_path(source: object) -> bool:
    """Whether `source` is a path or a list of paths, rather than a data frame."""
    if isinstance(source, str | os.PathLike):
        return True
    return isinstance(source, list | tuple) and all(isinstance(item, str | os.PathLike) for item in source)


def find_files(source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[InputFile, ...]:
    """Expand patterns and check that every file exists, is readable and of a known format.

    A pattern leaves out files that an earlier run quarantined rows to (".quarantine." in the name).

    Raises:
        InputError: Nothing matches; a file is missing, empty, a folder, of an unknown or another format, named twice.
    """
    names = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not names:
        raise InputError("the list of files is empty; name at least one")
    files: dict[Path, InputFile] = {}
    for name in names:
        for path in _expand(os.fspath(name)):
            file = _inspect(path)
            if file.path in files:
                raise InputError(f"{path}: the file is named twice; its votes would count double")
            files[file.path] = file
    kinds = {file.format: file.label for file in files.values()}
    if len(kinds) > 1:
        examples = ", ".join(kinds.values())
        raise InputError(f"the files are of different formats ({examples}); read one format at a time or convert them")
    return tuple(files.values())


def _expand(name: str) -> list[str]:
    if not name or "\0" in name:
        raise InputError(f"{name!r} is not the name of a file")
    if os.path.exists(name) or not glob.has_magic(name):
        return [name]
    matches = sorted(
        match for match in glob.glob(name, recursive=True) if ".quarantine." not in os.path.basename(match)
    )
    if not matches:
        raise InputError(f"no file matches the pattern {name!r}; check the folder and the spelling")
    return matches


def _inspect(name: str) -> InputFile:
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name}: is a folder; name its files, for example {os.path.join(name, '*.csv')!r}")
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file{_nearest(path)}") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from error
    if not path.is_file():
        raise InputError(f"{name}: is not an ordinary file; write its content to one first")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    kept = suffixes[:-1] if compression else suffixes
    kind = FORMATS.get(kept[-1]) if kept else None
    if kind is None or (kind == "parquet" and compression):
        raise InputError(f"{name}: unknown file format; expected a name that ends in {KNOWN}")
    if status.st_size == 0:
        raise InputError(f"{name}: the file is empty; expected column names and votes: was it written to its end?")
    file = InputFile(path.resolve(), name, kind, compression, status.st_size, status.st_mtime_ns)
    _check_readable(file)
    return file


def _nearest(path: Path) -> str:
    import difflib

    try:
        names = [sibling.name for sibling in path.parent.iterdir()]
    except OSError:
        return f" (nor a folder {str(path.parent)!r})"
    # Of the bare name: all that ends in .csv is alike by its ending.
    stems = {sibling.partition(".")[0].lower(): sibling for sibling in reversed(sorted(names))}
    alike = difflib.get_close_matches(path.name.partition(".")[0].lower(), stems, n=1, cutoff=0.75)
    close = [stems[stem] for stem in alike]
    return f"; did you mean {close[0]!r}?" if close else ""


def _check_readable(file: InputFile) -> None:
    """Read a compressed file to its end: DuckDB takes a cut zstd stream, or wrong checksums, for a shorter file."""
    with file.open() as stream:
        while file.compression and stream.read(_CHUNK):
            pass


def first_line(file: InputFile) -> bytes:
    """The first line, without a byte order mark and line end.

    Raises:
        InputError: The file is UTF-16, holds nothing but white space, or starts with a blank line.
    """
    with file.open() as stream:
        start = b""
        while chunk := stream.read(_CHUNK):
            start += chunk
            if b"\n" in start or b"\r" in start or len(start) > 64 * _CHUNK:
                break
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{file.label}, line 1: the file is UTF-16, expected UTF-8; save it as UTF-8")
    text = start.removeprefix(codecs.BOM_UTF8)
    if not text.strip():
        raise InputError(f"{file.label}: the file is empty; expected votes: was it written to its end?")
    return text.splitlines()[0]
