"""Names in a report: shown without harm, or not shown at all.

User and model names come from a log, and a report may leave the house. So what a name looks like is settled here once
(nothing invisible, nothing endless), and with private ids every free text is looked through for the users it names.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.errors import EarnestError

__all__ = ["LONGEST_TEXT", "Discretion", "Named", "called", "visible"]

LONGEST, LONGEST_TEXT = 200, 4000
"""Characters of a name, and of a text, that are kept; of longer ones start, end and length."""

_JOINERS = "\u200c\u200d"  # invisible, but part of how words and emoji are written
_PATH = re.compile(
    r"(?<![\w.])(?:[A-Za-z]:)?[~.]{0,2}[\\/][\w.~-]|\w[\\/]\w[\w.~-]*[\\/]\w|://|"
    r"\.(?:csv|tsv|tab|txt|ndjson|jsonl?|parquet|pq|arrow|feather|avro|toml|nc|gz|bz2|xz|zst|zip|db|duckdb|xlsx?|html?|pkl)\b",
    re.I,
)
_EDGE = ("", r"(?<!\w)", "", r"(?!\w)")  # what must not stand before or after a name that begins or ends in a letter
_BETWEEN = re.compile(r"[.;] (?=[A-Z\d])")
_AS_WRITTEN = 40  # characters to which messages cut a long name


@dataclass(frozen=True)
class Named:
    """Users under the names that a report shows.

    Attributes:
        order: users by falling attentiveness, (user,) positions. Equal ones stand in an order that tells nothing of
            names that are hidden.
        shown: the name of each in that order, as text, (user,).
        about: what these names are, a sentence.
    """

    order: np.ndarray
    shown: list[str]
    about: str


def visible(name: str, longest: int = LONGEST) -> str:
    """A name with its invisible characters written out and, if it is very long, without its middle.

    Example:
        >>> visible("ann\u202ebob")
        'ann[U+202E]bob'
    """
    size = len(name)
    if size > longest:
        name = f"{name[: longest * 3 // 4]}…{name[-(longest // 5) :]}"
    if not name.isprintable():
        name = "".join(c if c.isprintable() or c in _JOINERS else _code(c) for c in name)
    return f"{name} ({size:,} characters)" if size > longest else name


def _code(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else f"[U+{ord(character):04X}]"


def called(users: Sequence[str], mean: np.ndarray, ids: str, key: bytes | str | None) -> Named:
    """Order users by attentiveness and name them.

    Args:
        users: their names in the log, (user,).
        mean: attentiveness, (user,).
        ids: "plain", "hash" or "none"; see `report`.
        key: for "hash".

    Raises:
        EarnestError: `ids` is another word, or there is a key that is not used, not text or bytes, or empty.
    """
    if ids not in ("plain", "hash", "none"):
        raise EarnestError(f"ids={ids!r}: expected 'plain', 'hash' or 'none'")
    if key is not None and ids != "hash":
        raise EarnestError(f"key: ids={ids!r} has no use for it; only ids='hash' has")
    if key is not None and (not isinstance(key, bytes | str) or not key):
        raise EarnestError("key: expected bytes or text, not empty; or None for a random one that is not kept")
    if ids == "plain":
        order = np.argsort(-mean, kind="stable")
        return Named(order, [visible(users[i]) for i in order], "Users have the names that the log gives them.")
    secret = secrets.token_bytes(32) if key is None else key.encode() if isinstance(key, str) else key
    digests = [hmac.new(secret, user.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest() for user in users]
    order = np.lexsort((np.asarray(digests), -mean))
    if ids == "none":
        about = "Users have no names here; they are numbered by attentiveness."
        return Named(order, [f"user {rank:,}" for rank in range(1, len(order) + 1)], about)
    length = 16 if len({digest[:16] for digest in digests}) == len(digests) else 64
    held = "a key that was drawn for this report and not kept" if key is None else "a key that its maker holds"
    about = f"Users are called by a keyed hash of their names (HMAC-SHA256, {length} digits, {held})."
    return Named(order, [digests[i][:length] for i in order], about)


class Discretion:
    """Keeps texts that name a user, or a place on this machine, out of a report without plain ids.

    Args:
        users: names that must not appear.
        private: whether anything is to be kept out.
    """

    def __init__(self, users: Iterable[str], private: bool) -> None:
        self.private = private
        self.withheld = 0
        written = {part for user in users for part in (user, repr(user)[1:-1])} if private else set()
        self._whole = frozenset(written)
        self._names = frozenset(part[:_AS_WRITTEN] for part in written if part.strip())
        self._lengths = sorted({len(name) for name in self._names})

    def allows(self, text: str) -> bool:
        """Whether a text may be shown."""
        return not self._found(text)

    def keep(self, texts: Iterable[str]) -> list[str]:
        """Those of some texts that may be shown; the others are counted in `withheld`."""
        texts = list(texts)
        kept = [text for text in texts if self.allows(text)]
        self.withheld += len(texts) - len(kept)
        return [visible(text, LONGEST_TEXT) for text in kept]

    def sentences(self, text: str) -> str:
        """A text without those of its sentences that must not be shown."""
        found, kept, start = self._found(text), [], 0
        for end in [match.end() for match in _BETWEEN.finditer(text)] + [len(text)]:
            if any(first < end and last > start for first, last in found):
                self.withheld += 1
            else:
                kept.append(text[start:end].strip())
            start = end
        return visible(" ".join(kept), LONGEST_TEXT)

    def settings(self, table: Any) -> Any:
        """A declaration's tables with every setting that names a user replaced; components keep their names."""
        if isinstance(table, dict):
            fixed = ("component", "distribution")
            return {
                self.settings(k): v if k in fixed and isinstance(v, str) else self.settings(v) for k, v in table.items()
            }
        if isinstance(table, list):
            return [self.settings(item) for item in table]
        if isinstance(table, str) and (table in self._whole or not self.allows(table)):
            self.withheld += 1
            return "(not shown)"
        return table

    def _found(self, text: str) -> list[tuple[int, int]]:
        """Where a text names a user or a place."""
        if not self.private:
            return []
        found = [match.span() for match in _PATH.finditer(text)]
        # Users may be millions, texts are short: whatever stands in the text is looked up among the names.
        parts = (text[i : i + size] for size in self._lengths for i in range(len(text) - size + 1))
        for name in sorted(self._names.intersection(parts)):
            # A number is a name only where it stands like one: quoted, in a list in brackets, or after "user".
            number = re.fullmatch(r"\d+", name)
            around = (
                (r"(?:(?<=['\"(])|(?<=, )|(?<=user )|(?<=users ))", r"(?=['\"),]|$|\s(?!of\b|%)|\.(?!\d))")
                if number
                else (_EDGE[name[0].isalnum()], _EDGE[2 + name[-1].isalnum()])
            )
            found += [match.span() for match in re.finditer(around[0] + re.escape(name) + around[1], text)]
        return found
