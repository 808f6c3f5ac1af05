"""What votes say before any model is fitted: do they depend on the models, and do users differ?

Every test is about a decided vote's side, y = 1 where the model on the left won, and the models shown, x = +1 for the
left one and -1 for the right one. A vote that nobody attended does not depend on x, whatever the habits of its user.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from scipy import sparse, stats
from scipy.optimize import brentq

__all__ = ["Evidence", "Votes"]

_OWN_SHARE = 4  # votes from which on a user's own share of left votes is taken for their habit
_PULL = 20.0  # votes as which the linear fit counts in what a pair's own votes say
_AGAINST = 2.326  # one in a hundred of who votes without looking is so far on the wrong side
_SURE, _POWER = 0.01, 0.8


@dataclass(frozen=True)
class Votes:
    """Decided votes, counted: `n` votes of a `user` on `left` against `right` of which the left one `won` (1) or not.

    Indices and counts, (cell,) each.
    """

    user: np.ndarray
    left: np.ndarray
    right: np.ndarray
    won: np.ndarray
    n: np.ndarray
    users: int
    models: int

    @classmethod
    def of(cls, table: pa.Table, models: list[str]) -> Votes:
        """From a table with user, model_a, model_b, winner and n; ties are left out."""
        winner = table["winner"].to_numpy(zero_copy_only=False)
        place = {name: k for k, name in enumerate(models)}
        sides = [
            np.array([place[name] for name in table[side].to_pylist()], dtype=np.int64)
            for side in ("model_a", "model_b")
        ]
        names = table["user"].combine_chunks().dictionary_encode()
        user = names.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        n = table["n"].to_numpy(zero_copy_only=False).astype(float)
        decided = winner != "tie"
        won = (winner == "model_a").astype(float)
        user, left, right, won, n = (part[decided] for part in (user, *sides, won, n))
        return cls(user, left, right, won, n, users=len(names.dictionary), models=len(models))


@dataclass(frozen=True)
class Evidence:
    """The tests, each looked at when it is asked for.

    Attributes:
        votes: decided votes.
    """

    votes: Votes = field(repr=False)

    @property
    def decided(self) -> float:
        """Decided votes."""
        return float(self.votes.n.sum())

    @cached_property
    def left_share(self) -> float:
        """Share of the decided votes that the left side won."""
        return float(self.votes.n @ self.votes.won / max(self.decided, 1.0))

    @property
    def noise(self) -> float:
        """Variance of a vote's side, by the left share alone."""
        return max(self.left_share * (1 - self.left_share), 0.01)

    @property
    def gap(self) -> tuple[float, int]:
        """P-value of "votes do not depend on the models", and the degrees of freedom; (nan, 0) where nothing tells."""
        size, df = self._gap
        return (float(stats.chi2.sf(size, df)), df) if df else (float("nan"), 0)

    @cached_property
    def _gap(self) -> tuple[float, int]:
        """Its statistic and degrees of freedom.

        A score test, each user's votes permuted among the pairs that the user saw (Cochran, Mantel and Haenszel), so
        that a user's own liking for a side does no harm. Users of few votes are permuted together.
        """
        v = self.votes
        each = _sums(v.user, v.n, v.users)
        stratum = np.where(each[v.user] >= _OWN_SHARE, v.user + 1, 0)
        size = _sums(stratum, v.n, v.users + 1)
        share = _sums(stratum, v.n * v.won, v.users + 1) / np.maximum(size, 1)
        factor = share * (1 - share) * size / np.maximum(size - 1, 1)
        score = self._by_model(v.n * (v.won - share[stratum]))
        shown = self._shown(stratum, v.n, v.users + 1)
        spread = self._laplacian(v.n * factor[stratum])
        spread -= (shown.T @ shown.multiply((factor / np.maximum(size, 1))[:, None])).toarray()
        inverse, rank = _inverse(spread)
        return float(score @ inverse @ score), rank

    @cached_property
    def detectable(self) -> float:
        """How much more often than by side the better model must win, on average, to be noticed in 4 logs of 5."""
        df = max(self.gap[1], 1)
        edge = stats.chi2.isf(_SURE, df)
        strength = brentq(lambda ncp: stats.ncx2.sf(edge, df, ncp) - _POWER, 1e-6, 1e4)
        return float(np.sqrt(strength * self.noise / max(self.decided, 1.0)))

    @cached_property
    def consistent(self) -> float:
        """Normal score of "a user's votes go together": of one vote's models with those of the same user's others.

        In whatever direction: a user with a taste of their own is consistent, too.
        """
        v = self.votes
        residual = v.won - self.left_share
        inverse, _ = _inverse(self.noise * self._laplacian(v.n))
        score = np.asarray(self._shown(v.user, v.n * residual, v.users).todense())
        own = _sums(v.user, v.n * residual**2 * self._length(inverse), v.users)
        # A sum of skewed terms over its own root sum of squares is careful in the tail.
        each = np.einsum("um,mk,uk->u", score, inverse, score, optimize=True) - own
        size = float(np.sqrt((each**2).sum()))
        return float(each.sum() / size) if size > 1e-9 else 0.0

    @cached_property
    def fitted(self) -> tuple[np.ndarray, np.ndarray]:
        """Expected share of the left side in each cell, and how much of it is due to the models, (cell,) each."""
        v = self.votes
        mean = np.array(self._by_model(v.n)) / max(self.decided, 1.0)
        spread = self._laplacian(v.n) - self.decided * np.outer(mean, mean)
        slope = _inverse(spread)[0] @ self._by_model(v.n * (v.won - self.left_share))

        def share(first: np.ndarray, second: np.ndarray, sign: float) -> np.ndarray:
            line = self.left_share + sign * (slope[v.left] - slope[v.right]) - slope @ mean
            size, wins = self._of_others(first, second)
            return np.asarray((wins + _PULL * line) / (size + _PULL))

        ahead, behind = share(v.left, v.right, 1.0), share(v.right, v.left, -1.0)
        return np.clip(ahead, 0.02, 0.98), (ahead - behind) / 2

    @cached_property
    def advantage(self) -> float:
        """How often, beyond one half, the better model of a pair wins: root mean square, freed of its own noise."""
        size, df = self._gap
        return float(min(np.sqrt(max(size - df, 0.0) * self.noise / max(self.decided, 1.0)), 0.5))

    @cached_property
    def differ(self) -> tuple[float, float, float]:
        """Normal score of "users differ in how far they go with the models", variance of that, and its standard error.

        The variance is that of attentiveness, relative to its squared mean (a score test for a random slope).
        """
        v = self.votes
        expected, due = self.fitted
        weighted = due * (v.won - expected)
        square, fourth = (_sums(v.user, v.n * weighted**k, v.users) for k in (2, 4))
        each = _sums(v.user, v.n * weighted, v.users) ** 2 - square
        # Were the signs of `weighted` tossed, which habits of side do not prevent:
        noise = float(np.sqrt(2 * np.maximum(square**2 - fourth, 0).sum()))
        told = _sums(v.user, v.n * due**2, v.users) ** 2 - _sums(v.user, v.n * due**4, v.users)
        if min(told.sum(), noise) <= 1e-12:
            return 0.0, 0.0, float("inf")
        return float(each.sum() / noise), float(each.sum() / told.sum()), float(noise / told.sum())

    @cached_property
    def reliability(self) -> float:
        """Correlation of a typical user's rating with their attentiveness that these votes can reach, about."""
        v = self.votes
        expected, due = self.fitted
        told = _sums(v.user, v.n * due**2 / (expected * (1 - expected)), v.users)
        signal = max(self.differ[1], 0.0) * float(np.median(told))
        return float(np.sqrt(signal / (1 + signal)))

    @cached_property
    def against(self) -> tuple[int, float]:
        """Users who side with the weaker models more than chance allows, and the p-value of so many."""
        v = self.votes
        expected, due = self.fitted
        noise = expected * (1 - expected)
        score = _sums(v.user, v.n * due * (v.won - expected + due), v.users)
        spread = _sums(v.user, v.n * due**2 * noise, v.users)
        counted = _sums(v.user, v.n, v.users) >= 5
        z = score[counted] / np.sqrt(np.maximum(spread[counted], 1e-12))
        n = int((z < -_AGAINST).sum())
        return n, float(stats.binom.sf(n - 1, max(len(z), 1), _SURE))

    @property
    def signal(self) -> bool:
        """Whether votes have anything to do with the models that were shown."""
        return self.gap[0] < _SURE or self.consistent > 4

    def _of_others(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Votes on (first on the left, second on the right), and those that the left won, but for the user's own."""
        v, pairs = self.votes, self.votes.models**2
        here, asked = v.left * v.models + v.right, first * v.models + second
        keys, place = np.unique(v.user * pairs + here, return_inverse=True)
        wanted = v.user * pairs + asked
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        both = []
        for weight in (v.n, v.n * v.won):
            own = _sums(place, weight, len(keys))
            both.append(_sums(here, weight, pairs)[asked] - np.where(keys[at] == wanted, own[at], 0.0))
        return both[0], both[1]

    def _by_model(self, weight: np.ndarray) -> np.ndarray:
        """Sum of x times a weight (cell,), (model,)."""
        v = self.votes
        return np.asarray(_sums(v.left, weight, v.models) - _sums(v.right, weight, v.models))

    def _shown(self, row: np.ndarray, weight: np.ndarray, rows: int) -> sparse.csr_matrix:
        """Sum of x times a weight (cell,) by some grouping of cells, (row, model)."""
        v = self.votes
        place = (np.concatenate([row, row]), np.concatenate([v.left, v.right]))
        return sparse.csr_matrix((np.concatenate([weight, -weight]), place), shape=(rows, v.models))

    def _laplacian(self, weight: np.ndarray) -> np.ndarray:
        """Sum of x x' times a weight (cell,), (model, model)."""
        v = self.votes
        met = _sums(v.left * v.models + v.right, weight, v.models**2).reshape(v.models, v.models)
        met = met + met.T
        return np.asarray(np.diag(met.sum(1)) - met)

    def _length(self, inverse: np.ndarray) -> np.ndarray:
        """Length of x under an inverse, x' A x, (cell,)."""
        v, on = self.votes, np.diag(inverse)
        return np.asarray(on[v.left] + on[v.right] - 2 * inverse[v.left, v.right])


def _inverse(matrix: np.ndarray) -> tuple[np.ndarray, int]:
    """Pseudo-inverse of a covariance, and its rank."""
    values, vectors = np.linalg.eigh(matrix)
    keep = values > 1e-8 * max(float(values.max(initial=0.0)), 1.0)
    return np.asarray((vectors[:, keep] / values[keep]) @ vectors[:, keep].T), int(keep.sum())


def _sums(index: np.ndarray, weight: np.ndarray, size: int) -> np.ndarray:
    """Sums of weights by index, floats also where there is none."""
    return np.bincount(index, weight, size).astype(float)
