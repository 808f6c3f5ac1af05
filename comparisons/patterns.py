"""Merging users with equal counts, without a Python loop over users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .cells import Counts

_WORD = np.uint64


@dataclass(frozen=True)
class Patterns:
    """Users with equal counts in every cell, merged; a sparse (pattern, cell) matrix in row form.

    Attributes:
        indptr: (pattern + 1,) where the entries of each pattern start.
        cell: (entry,) index of the cell, rising inside a pattern.
        count: (entry,) comparisons.
        multiplicity: (pattern,) users.
        pattern_of_user: (user,) index of each user's pattern.
        size: (pattern,) comparisons that a user of the pattern gave.
    """

    indptr: NDArray[np.int64]
    cell: NDArray[np.int64]
    count: NDArray[np.float64]
    multiplicity: NDArray[np.float64]
    pattern_of_user: NDArray[np.int64]
    size: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.size)

    def some(self, which: NDArray[np.int64]) -> Patterns:
        """Some of the patterns by themselves, in this order, each the pattern of one user."""
        entry, indptr = entries_of(self.indptr, which)
        return Patterns(
            indptr, self.cell[entry], self.count[entry], self.multiplicity[which], np.arange(len(which)),
            self.size[which],
        )  # fmt: skip


def _mix(words: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Scramble 64-bit words (the finaliser of splitmix64)."""
    words = words + _WORD((seed * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    words = (words ^ (words >> _WORD(30))) * _WORD(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> _WORD(27))) * _WORD(0x94D049BB133111EB)
    return words ^ (words >> _WORD(31))


def _signatures(counts: Counts, start: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """(user,) one word for a user's whole row of counts; the sum does not depend on the entries' order."""
    words = _mix(counts.cell.astype(_WORD), seed)
    words = _mix(words ^ counts.count.view(_WORD), seed + 1)
    total = np.concatenate([np.zeros(1, _WORD), np.cumsum(words, dtype=_WORD)])  # wraps around on purpose
    signature: NDArray[np.uint64] = total[start[1:]] - total[start[:-1]]
    return signature


def starts_of(user: NDArray[np.int64], n_users: int) -> NDArray[np.int64]:
    """Where the entries of each user start, (user + 1,)."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(user, minlength=n_users), dtype=np.int64)])


def entries_of(start: NDArray[np.int64], users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The entries of some users one after the other, (entry,), and where each user's begin among them, (user + 1,)."""
    sizes = start[users + 1] - start[users]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return np.arange(indptr[-1]) - np.repeat(indptr[:-1] - start[users], sizes), indptr


def find_patterns(counts: Counts) -> Patterns:
    """Group users by their counts.

    The groups are found by a 64-bit signature and then verified entry by entry, so they are exact. Their order depends
    only on the cells and counts, not on the users' names.
    """
    n_users = len(counts.users)
    start = starts_of(counts.user, n_users)
    for seed in range(1, 100, 2):
        signature = _signatures(counts, start, seed)
        order = np.argsort(signature)
        new = np.ones(n_users, bool)
        new[1:] = np.diff(signature[order]) != 0
        number = np.cumsum(new) - 1
        first = order[new]
        pattern_of_user = np.empty(n_users, np.int64)
        pattern_of_user[order] = number
        if _same(counts, start, order[~new], first[number[~new]]):
            break
    else:  # pragma: no cover - needs 50 collisions of 64-bit words in a row
        raise RuntimeError("users could not be told apart")
    # The shortest first, as the layout of rows likes it.
    by_length = np.argsort(np.diff(start)[first], kind="stable")
    place = np.empty_like(by_length)
    place[by_length] = np.arange(len(by_length))
    return _patterns(counts, start, first[by_length], place[pattern_of_user])


def own_patterns(counts: Counts) -> Patterns:
    """A pattern for every user, without looking for users with equal counts."""
    n = len(counts.users)
    return Patterns(
        indptr=starts_of(counts.user, n), cell=counts.cell, count=counts.count,
        multiplicity=np.ones(n) if counts.multiplicity is None else counts.multiplicity,
        pattern_of_user=np.arange(n), size=counts.n_comparisons(),
    )  # fmt: skip


def _patterns(
    counts: Counts, start: NDArray[np.int64], representative: NDArray[np.int64], pattern_of_user: NDArray[np.int64]
) -> Patterns:
    entry, indptr = entries_of(start, representative)
    count = counts.count[entry]
    owner = np.repeat(np.arange(len(representative)), np.diff(indptr))
    return Patterns(
        indptr=indptr,
        cell=counts.cell[entry],
        count=count,
        multiplicity=np.bincount(pattern_of_user, counts.multiplicity, len(representative)).astype(np.float64),
        pattern_of_user=pattern_of_user,
        size=np.bincount(owner, weights=count, minlength=len(representative)),
    )


def _same(counts: Counts, start: NDArray[np.int64], users: NDArray[np.int64], twins: NDArray[np.int64]) -> bool:
    """Whether the entries of some users equal those of their twins, (user,) each."""
    lengths = np.diff(start)
    if not np.array_equal(lengths[users], lengths[twins]):
        return False
    (one, _), (other, _) = entries_of(start, users), entries_of(start, twins)
    return bool(np.all(counts.cell[one] == counts.cell[other]) and np.all(counts.count[one] == counts.count[other]))
