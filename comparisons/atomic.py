"""Files that are written whole or not at all."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DiskFullError, EarnestError
from .limits import disk_is_full

_LIMIT = 180  # characters of the target's name kept in the temporary's: file systems stop at 255 bytes


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, OSError):
        return True
    return True


def _stem(name: str) -> str:
    while len(name.encode()) > _LIMIT:
        name = name[: len(name) // 2]
    return name


def remove_stale(target: Path) -> None:
    """Delete the temporaries that killed processes left beside `target`."""
    pattern = re.compile(rf"\.{re.escape(_stem(target.name))}\.(\d+)\.tmp")
    for sibling in target.parent.iterdir():
        match = pattern.match(sibling.name)
        if match and sibling.is_file() and not _alive(int(match[1])):
            with suppress(OSError):
                sibling.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _permissions(target: Path) -> int:
    """The mode the target has, or would get from an ordinary `open`."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


@contextmanager
def atomic_file(path: str | os.PathLike[str], replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block succeeds.

    At every moment `path` is the old file or the new one, never a piece. The temporary keeps the suffixes of the
    target, since writers choose a format or a compression by them, and is removed when the block fails. One that a
    killed process left is removed by the next write of the same target.

    Args:
        path: The file to write; its folder must exist.
        replace: Whether a file that is there is replaced; otherwise that is a `FileExistsError`.

    Yields:
        The path to write to.

    Raises:
        EarnestError: The folder does not exist, `path` is a folder or a device, may not be written, or the disk is
            full.
    """
    target = Path(os.path.realpath(path))  # through links, so that a linked file is replaced and the link stays
    if not target.parent.is_dir():
        raise EarnestError(f"cannot write {os.fspath(path)!r}: the folder {str(target.parent)!r} does not exist")
    if target.is_dir():
        raise EarnestError(f"cannot write {os.fspath(path)!r}: it is a folder; give the name of a file")
    if target.exists() and not target.is_file():  # renaming over /dev/null would destroy it
        raise EarnestError(f"cannot write {os.fspath(path)!r}: it is a device or pipe; give the name of a file")
    try:
        remove_stale(target)
        handle, name = tempfile.mkstemp(
            dir=target.parent,
            prefix=f".{_stem(target.name)}.{os.getpid()}.tmp.",
            suffix="".join(target.suffixes[-2:])[-40:],
        )
        os.close(handle)
    except OSError as error:
        raise EarnestError(f"cannot write {os.fspath(path)!r}: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, _permissions(target))
        _flush(temporary)
        if replace:
            os.replace(temporary, target)
        else:
            os.link(temporary, target)
            temporary.unlink()
    except BaseException as error:
        with suppress(OSError):  # on a disk that fails, too, the first error is the one to tell
            temporary.unlink(missing_ok=True)
        if isinstance(error, DiskFullError) or (isinstance(error, OSError) and disk_is_full(error)):
            raise DiskFullError(
                f"cannot write {os.fspath(path)!r}: the disk is full; free some room and run this again (what was "
                "there before is whole)"
            ) from error
        raise
    with suppress(OSError):  # some file systems refuse to open folders; the rename has already happened
        _flush(target.parent)
