"""What is looked at in votes, observed and replicated: one number a question, the same function for both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .replicates import Rows

__all__ = ["Looks"]

_BINS, _ENOUGH_VOTES, _ENOUGH_USERS, _HALF = 4, 5, 10, 4
_SHARE_BINS = 20


@dataclass(frozen=True)
class Looks:
    """The questions that can be asked of a log's rows.

    Attributes:
        rows: the comparisons.
        advantage: log-odds that an attentive user prefers the first response of what was shown, at the point by which
            favourites are named, (shown,).
    """

    rows: Rows
    advantage: np.ndarray

    @cached_property
    def side(self) -> np.ndarray:
        """+1 where the favourite is on the left, -1 on the right, 0 where there is none, (row,)."""
        return np.asarray(np.sign(self.advantage).astype(np.int8)[self.rows.shown])

    @cached_property
    def ties(self) -> bool:
        """Whether a tie is a possible outcome."""
        return self.rows.cells.schema.ties

    @cached_property
    def bins(self) -> tuple[np.ndarray, list[str]]:
        """Bin of what was shown by the gap between the two models, (shown,), and the bins in words.

        About as many votes in each.
        """
        gap = np.round(np.abs(self.advantage), 9)
        levels, of_shown = np.unique(gap, return_inverse=True)
        votes = np.bincount(of_shown[self.rows.shown], minlength=len(levels))
        middle = (np.cumsum(votes) - votes / 2) / votes.sum()
        part = np.unique(np.minimum((middle * _BINS).astype(int), _BINS - 1), return_inverse=True)[1]
        words = []
        for k in range(int(part.max(initial=0)) + 1):
            low, high = levels[part == k].min(), levels[part == k].max()
            words.append(f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}")
        return part[of_shown], words

    @cached_property
    def _of_shown(self) -> np.ndarray:
        """First of the three numbers of what each row showed: 3 * shown + outcome is a cell, (row,)."""
        return np.asarray(self.rows.shown.astype(np.int64) * 3)

    @cached_property
    def _many(self) -> np.ndarray:
        """Users with votes enough for a share of their own; all, where there are hardly any such."""
        many = self.rows.size >= _ENOUGH_VOTES
        return np.asarray(many if many.sum() >= _ENOUGH_USERS else np.ones_like(many))

    @cached_property
    def _next(self) -> np.ndarray:
        """Whether a row's successor is of the same user, (row - 1,)."""
        inside = np.ones(max(len(self.rows.shown) - 1, 0), dtype=bool)
        inside[self.rows.start[1:] - 1] = False
        return inside

    @cached_property
    def _halved(self) -> tuple[np.ndarray, np.ndarray]:
        """Users with votes enough to halve, and where their halves begin, two a user."""
        users = np.flatnonzero(self.rows.size >= _HALF)
        middle = self.rows.start[users] + self.rows.size[users] // 2
        return users, np.stack([self.rows.start[users], middle], axis=1).ravel()

    @cached_property
    def _kept(self) -> np.ndarray:
        """Whether a row's user has votes enough to halve, (row,): others' rows lie between, and are to add nothing."""
        return np.asarray(np.repeat(self.rows.size >= _HALF, self.rows.size))

    def score(self, outcome: np.ndarray) -> np.ndarray:
        """+1 a vote for the left, -1 for the right, 0 a tie, (row,)."""
        return np.asarray((outcome == 0).astype(np.int8) - (outcome == 1).astype(np.int8))

    def of_population(self, outcome: np.ndarray) -> dict[str, float]:
        """How users differ, {name: value}."""
        left = self.score(outcome)
        out: dict[str, float] = {}
        favourite = self._spread(left * self.side, "votes for the favourite", out)
        for level in (0.1, 0.9):
            out[f"votes for the favourite: {level * 100:.0f} % of users are below"] = float(
                np.quantile(favourite[self._many], level)
            )
        self._spread(left, "votes for the left", out)
        if self.ties:
            share = self._sum(outcome == 2) / self.rows.size
            out["ties: share of all votes"] = float(np.mean(outcome == 2))
            out["ties: spread over users"] = self._sd(share)
        return out

    def _spread(self, score: np.ndarray, name: str, out: dict[str, float]) -> np.ndarray:
        share = 0.5 + 0.5 * self._sum(score) / self.rows.size
        out[f"{name}: share of all votes"] = float(0.5 + 0.5 * np.mean(score))
        out[f"{name}: spread over users"] = self._sd(share)
        return np.asarray(share)

    def _sum(self, values: np.ndarray) -> np.ndarray:
        """Sum by user, (user,)."""
        return np.asarray(np.add.reduceat(values, self.rows.start, dtype=np.int64))

    def _sd(self, share: np.ndarray) -> float:
        """Standard deviation of a share over users, each with the weight of their votes."""
        weight = self.rows.size / self.rows.size.sum()
        return float(np.sqrt(weight @ (share - weight @ share) ** 2))

    def histogram(self, outcome: np.ndarray) -> np.ndarray:
        """Users by their share of votes for the favourite, (bin,)."""
        share = 0.5 + 0.5 * self._sum(self.score(outcome) * self.side) / self.rows.size
        # Shares of few votes lie on the bins' edges: rounding must not decide the bin.
        return np.asarray(np.histogram(np.minimum(share[self._many] + 1e-9, 1.0), _SHARE_BINS, (0.0, 1.0))[0])

    def of_votes(self, outcome: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
        """How votes hang on what was shown, and on the votes before.

        Returns:
            {name: value}; and the share of votes for the favourite by pair of models, a tie counting half, (pair,).
        """
        out: dict[str, float] = {}
        n_shown = len(self.advantage)
        counts = np.bincount(self._of_shown + outcome, minlength=3 * n_shown).reshape(n_shown, 3)
        if self.ties:
            self._ties(counts, out)
        score = self.score(outcome) * self.side
        if self._next.any():
            self._order(outcome, score, out)
        users, halves = self._halved
        if len(users) >= _ENOUGH_USERS:
            self._stability(score, users, halves, out)
        return out, self._by_pair(counts)

    def _ties(self, counts: np.ndarray, out: dict[str, float]) -> None:
        part, words = self.bins
        if len(words) < 2:
            return
        ties, votes = (np.bincount(part, weights=n, minlength=len(words)) for n in (counts[:, 2], counts.sum(1)))
        share = ties / votes
        for word, value in zip(words, share, strict=True):
            out[f"ties where the gap is {word}"] = float(value)
        out["ties: narrowest gap minus widest"] = float(share[0] - share[-1])

    def _by_pair(self, counts: np.ndarray) -> np.ndarray:
        pair, n = np.asarray(self.rows.cells.pair), self.rows.cells.schema.n_pairs
        score = np.bincount(pair, weights=(counts[:, 0] - counts[:, 1]) * np.sign(self.advantage), minlength=n)
        return np.asarray(0.5 + 0.5 * score / np.maximum(np.bincount(pair, weights=counts.sum(1), minlength=n), 1))

    def _order(self, outcome: np.ndarray, score: np.ndarray, out: dict[str, float]) -> None:
        pairs = np.count_nonzero(self._next)
        same = (outcome[1:] == outcome[:-1]) & self._next
        out["order: successive votes with the same outcome"] = float(np.count_nonzero(same) / pairs)
        alike = score[1:] * score[:-1] * self._next
        out["order: favourite or not as in the vote before"] = float(alike.sum(dtype=np.int64) / pairs)
        begins = np.flatnonzero(np.concatenate([[True], ~same]))
        length = np.diff(np.concatenate([begins, [len(outcome)]]))
        longest = np.maximum.reduceat(length, np.searchsorted(begins, self.rows.start))
        out["order: longest run of one outcome, mean over users"] = float(np.mean(longest))

    def _stability(self, score: np.ndarray, users: np.ndarray, halves: np.ndarray, out: dict[str, float]) -> None:
        first, second = np.add.reduceat(score * self._kept, halves, dtype=np.int64).reshape(-1, 2).T
        half = self.rows.size[users] // 2
        first, second = 0.5 + 0.5 * first / half, 0.5 + 0.5 * second / (self.rows.size[users] - half)
        differ = first.std() > 0 and second.std() > 0
        correlation = float(np.corrcoef(first, second)[0, 1]) if differ else 0.0
        out["halves: correlation over users of votes for the favourite"] = correlation
        out["halves: votes for the favourite, second minus first"] = float(np.mean(second - first))
