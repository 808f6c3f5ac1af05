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


def find_patterns(counts: Counts) -> Patterns:
    """Group users by their counts.

    The groups are found by a 128-bit signature and then verified entry by entry, so they are exact. Their order
    depends only on the cells and counts, not on the users' names.
    """
    n_users = len(counts.users)
    start = np.searchsorted(counts.user, np.arange(n_users + 1)).astype(np.int64)
    for seed in range(1, 100, 4):
        keys = _signatures(counts, start, seed), _signatures(counts, start, seed + 2)
        length = np.diff(start)
        order = np.lexsort((*keys, length))
        new = np.ones(n_users, bool)
        new[1:] = np.any([np.diff(key[order]) != 0 for key in (*keys, length)], axis=0)
        pattern_of_user = np.empty(n_users, np.int64)
        pattern_of_user[order] = np.cumsum(new) - 1
        representative = order[new]
        if _same(counts, start, representative[pattern_of_user]):
            break
    else:  # pragma: no cover - needs 25 collisions of 128-bit words in a row
        raise RuntimeError("users could not be told apart")
    sizes = length[representative]
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    entry = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - start[representative], sizes)
    count = counts.count[entry]
    return Patterns(
        indptr=indptr,
        cell=counts.cell[entry],
        count=count,
        multiplicity=np.bincount(pattern_of_user, counts.multiplicity, len(representative)).astype(np.float64),
        pattern_of_user=pattern_of_user,
        size=counts.n_comparisons()[representative],
    )


def _same(counts: Counts, start: NDArray[np.int64], twin: NDArray[np.int64]) -> bool:
    """Whether every user's entries equal those of its `twin` (user,), which has as many."""
    entry = np.arange(len(counts.cell)) + (start[twin] - start[:-1])[counts.user]
    return bool(np.all(counts.cell == counts.cell[entry]) and np.all(counts.count == counts.count[entry]))
