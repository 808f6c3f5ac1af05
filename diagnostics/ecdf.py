"""Are ranks uniform? Their empirical distribution against simultaneous bands.

With a posterior that is right the number of its L independent draws below the truth is uniform on 0 .. L. A band holds
the whole empirical distribution function of n such ranks, at all L points at once, with a stated probability.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

__all__ = ["RANKED", "Uniformity", "bands", "ecdf", "p_value", "rank", "smallest_noticed", "uniformity"]

RANKED = 99
"""Draws among which a truth is ranked: ranks are 0 .. 99, a hundredth of the distribution each."""

_SAMPLES, _TOGETHER, _SEED = 100_000, 1000, 2022
_SIMULATED = 400  # sets of replications behind what is said to be noticed


@dataclass(frozen=True)
class Uniformity:
    """How some ranks lie to their band.

    Attributes:
        deviation: of the empirical distribution function from the uniform one, where it is largest, signed.
        excursion: largest deviation in units of the band's half-width there; above 1 is outside.
        inside: whether all of it lies in the band.
        p: share of uniform samples that come as near to their band somewhere.
        shift: mean rank less the uniform's, in its standard errors; positive where the truth lies high.
        spread: mean square distance of the ranks from the middle less the uniform's, in its standard errors; positive
            where the truth lies at the ends too often.
    """

    deviation: float
    excursion: float
    inside: bool
    p: float
    shift: float
    spread: float


def rank(true: float, draws: np.ndarray, rng: np.random.Generator) -> int:
    """Number of draws below the truth, ties broken at random.

    What differs by rounding is a tie: the level of a group that a draw and the truth share comes by different ways.
    """
    with np.errstate(invalid="ignore"):  # equal infinities
        same = (draws == true) | (np.abs(draws - true) <= 1e-10 * (np.abs(draws) + abs(true)))
    return int(((draws < true) & ~same).sum()) + int(rng.integers(int(same.sum()) + 1))


def ecdf(ranks: np.ndarray, ranked: int = RANKED) -> np.ndarray:
    """Share of ranks below k, k = 1 .. ranked, (ranked,)."""
    return np.asarray(np.searchsorted(np.sort(ranks), np.arange(1, ranked + 1)) / len(ranks))


@lru_cache(maxsize=32)
def _tails(n: int, ranked: int) -> np.ndarray:
    """How far in the binomial tail each count of ranks below each point lies, (count 0 .. n, point)."""
    from scipy import stats

    count, at = np.arange(n + 1)[:, None], _points(ranked)
    return np.asarray(np.minimum(stats.binom.cdf(count, n, at), stats.binom.sf(count - 1, n, at)))


def _points(ranked: int) -> np.ndarray:
    return np.arange(1, ranked + 1) / (ranked + 1)


@lru_cache(maxsize=32)
def _narrowest(n: int, ranked: int) -> np.ndarray:
    """Of many samples of n uniform ranks: how far in the binomial tail the ECDF comes at its worst point, sorted."""
    rng = np.random.default_rng(_SEED)
    tail, worst = _tails(n, ranked), []
    for _ in range(_SAMPLES // _TOGETHER):
        below = rng.multinomial(n, np.full(ranked + 1, 1 / (ranked + 1)), size=_TOGETHER).cumsum(1)[:, :-1]
        worst.append(tail[below, np.arange(ranked)].min(1))
    return np.sort(np.concatenate(worst))


def bands(n: int, level: float, ranked: int = RANKED) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous bands of the ECDF of n ranks at k / (ranked + 1), k = 1 .. ranked.

    The pointwise level at which all points hold together is simulated for ranks, 100,000 samples of them.

    Args:
        n: ranks.
        level: probability with which uniform ranks stay inside.
        ranked: draws among which each was ranked.

    Returns:
        lower and upper ends, (ranked,) each, shares.

    Reference: Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing 32.
    """
    from scipy import stats

    tail = np.quantile(_narrowest(n, ranked), 1 - level)
    at = _points(ranked)
    return np.asarray(stats.binom.ppf(tail, n, at) / n), np.asarray(stats.binom.isf(tail, n, at) / n)


def p_value(ranks: np.ndarray, ranked: int = RANKED) -> float:
    """Share of samples of uniform ranks that stray as far at their worst point; at least 1 / 100,001."""
    below = np.rint(ecdf(ranks, ranked) * len(ranks)).astype(int)
    worst = _tails(len(ranks), ranked)[below, np.arange(ranked)].min()
    simulated = _narrowest(len(ranks), ranked)
    # A hair's breadth, because the same tail is summed in another order for another count.
    as_far = int(np.searchsorted(simulated, worst * (1 + 1e-9), side="right"))
    return (1 + as_far) / (1 + len(simulated))


def uniformity(ranks: np.ndarray, level: float, ranked: int = RANKED) -> Uniformity:
    """Hold some ranks against their band.

    Args:
        ranks: (replication,), whole numbers 0 .. ranked.
        level: of the simultaneous band.
        ranked: draws among which each truth was ranked.
    """
    ranks = np.asarray(ranks)
    lower, upper = bands(len(ranks), level, ranked)
    seen, at = ecdf(ranks, ranked), _points(ranked)
    off = seen - at
    # Where a bound is 0 or 1 nothing can cross it.
    above = np.divide(off, upper - at, out=np.zeros_like(off), where=upper < 1)
    below = np.divide(off, lower - at, out=np.zeros_like(off), where=lower > 0)
    place = (ranks + 0.5) / (ranked + 1)
    return Uniformity(
        deviation=float(off[np.argmax(np.abs(off))]),
        excursion=float(np.max(np.where(off >= 0, above, below))),
        inside=bool(np.all((lower <= seen) & (seen <= upper))),
        p=p_value(ranks, ranked),
        shift=float((place.mean() - 0.5) * np.sqrt(12 * len(ranks))),
        spread=float((12 * np.mean((place - 0.5) ** 2) - 1) * np.sqrt(len(ranks) / 0.8)),
    )


@lru_cache(maxsize=32)
def smallest_noticed(n: int, level: float) -> tuple[float, float]:
    """What n replications notice every second time, of posteriors that are normal.

    Found by bisection over simulated ranks of a truth whose place in its posterior is Phi(z + shift), or Phi(factor z).

    Returns:
        a shift in posterior standard deviations, and a factor by which the posterior is too narrow.
    """
    from scipy.special import ndtr

    z = np.random.default_rng(_SEED).standard_normal((_SIMULATED, n))
    lower, upper = (np.rint(end * n).astype(int) for end in bands(n, level))

    def noticed(place: np.ndarray) -> float:
        ranks = np.random.default_rng(_SEED).binomial(RANKED, ndtr(place))
        row = np.arange(_SIMULATED)[:, None]
        counts = np.bincount((ranks + row * (RANKED + 1)).ravel(), minlength=_SIMULATED * (RANKED + 1))
        below = counts.reshape(_SIMULATED, -1).cumsum(1)[:, :-1]
        return float(np.mean(np.any((below < lower) | (below > upper), axis=1)))

    def found(move: Callable[[float], np.ndarray]) -> float:
        low, high = 0.0, 3.0
        for _ in range(12):
            middle = 0.5 * (low + high)
            low, high = (low, middle) if noticed(move(middle)) >= 0.5 else (middle, high)
        return high

    return found(lambda d: z + d), float(np.exp(found(lambda d: z * np.exp(d))))
