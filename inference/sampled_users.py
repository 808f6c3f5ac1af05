"""The globals of a long log, from a random sample of its users.

Where nearly every user has counts of his own, an iteration of EM costs as much as there are users, and a few thousand
of them say nearly all about the globals. How much the rest could still say is known: the sample's own standard errors
tell by how much the globals, and through them users' attentiveness, may be off. The sample grows until that is little.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, qmc

from ..comparisons.cells import Counts
from ..comparisons.context import PREVIOUS, TIMESTAMP
from ..comparisons.errors import EarnestError, check_whole
from ..comparisons.patterns import starts_of
from .arrays import DENSE_CELLS, DENSE_SIZE
from .draws import around
from .posteriors import Globals
from .users import posterior_means, workload

__all__ = ["ERROR", "Sample", "check_source", "first_sample", "grown", "larger", "scouts", "shift", "votes_of"]

ERROR = 0.01
"""How far, root mean square over users, attentiveness may be off for want of the users outside the sample. After twenty
votes a user's own posterior has a standard deviation of 0.15 or more, which this widens by a five-hundredth."""

# The first sample finds the modes, and should not be dear.
_FIRST, _SCOUTS = 4096, 2048
_BLIND = 4 * _FIRST  # users, where it is not known by how much a sample is off
_EXACT = 10**9  # users up to which NumPy draws without replacement
_MANY = 16_384  # patterns up to which all are taken
_DRAWS, _LOOKED_AT = 16, 512


@dataclass(frozen=True)
class Sample:
    """Users from whom the globals are estimated.

    Attributes:
        counts: their counts; of many models' cells they have few.
        total: how many users there are.
        share: of what all users say of the globals, as far as users or votes were left out.
        seed: of the random order in which users are taken.
        asked: whether this many were asked for: then the sample does not grow.
    """

    counts: Counts
    total: int
    share: float
    seed: int
    asked: bool

    @property
    def size(self) -> int:
        """Users in the sample."""
        return _users(self.counts)


def _users(counts: Counts) -> int:
    return len(counts.users) if counts.multiplicity is None else round(float(counts.multiplicity.sum()))


def votes_of(counts: Counts) -> float:
    """How many votes all users together gave."""
    return float(counts.count.sum() if counts.multiplicity is None else counts.count @ counts.multiplicity[counts.user])


def check_source(globals_from: str | int) -> None:
    """Raise an `EarnestError` unless this says where globals come from."""
    if globals_from in ("auto", "all"):
        return
    if isinstance(globals_from, str):
        raise EarnestError(f"globals_from={globals_from!r}: expected 'auto', 'all' or a number of users")
    check_whole("globals_from", globals_from, 1)


def first_sample(
    counts: Counts, n_patterns: int, globals_from: str | int, seed: int, blind: bool = False
) -> Sample | None:
    """The users to begin with; None for all of them. If `blind` it will not be known how many it takes."""
    size = (_BLIND if blind else _FIRST) if isinstance(globals_from, str) else int(globals_from)
    if globals_from == "all" or (globals_from == "auto" and n_patterns <= _MANY):
        return None
    return _taken(counts, size, seed, asked=globals_from != "auto")


def larger(counts: Counts, sample: Sample, error: float) -> Sample | None:
    """A sample that should do where this one's error is too large: errors fall as the root of size. None: all users."""
    wanted = _BLIND if np.isnan(error) else sample.size * 1.2 * max(error / ERROR, 1.0) ** 2
    return _taken(counts, int(np.ceil(wanted / _FIRST)) * _FIRST, sample.seed, sample.asked)


def scouts(counts: Counts, seed: int) -> Counts | None:
    """Users who are enough to see where the starting points of EM lead; None: all of them as they are.

    Modes lie tens of nats apart after a few ten thousand votes, and what is found here is only where EM of all users
    begins.
    """
    n = len(counts.users)
    thin = _can_be_thinned(counts) and float(counts.n_comparisons().max(initial=0.0)) > DENSE_SIZE
    if n <= 2 * _SCOUTS and not thin:
        return None
    some = counts
    if n > 2 * _SCOUTS:
        rng = np.random.default_rng([seed, 7])
        some = counts.of_users(np.sort(rng.permutation(n)[:_SCOUTS])) if counts.multiplicity is None else (
            _of_patterns(counts, min(_SCOUTS, _users(counts)), rng)
        )  # fmt: skip
    return (_thinned(some, np.random.default_rng([seed, 9])) if thin else some).of_cells_there()


def _can_be_thinned(counts: Counts) -> bool:
    """Whether a user's votes are exchangeable, and fewer of them would be a matrix."""
    return len(counts.cells) <= DENSE_CELLS and not {TIMESTAMP, PREVIOUS} & set(counts.cells.context)


def grown(sample: Sample) -> bool:
    """Whether a sample is as large as one whose error is not known should be."""
    return sample.size >= _BLIND


def _taken(counts: Counts, size: int, seed: int, asked: bool) -> Sample | None:
    """So many users, at random, each as likely as any other; None for all of them."""
    total = _users(counts)
    if size >= total:
        return None
    if counts.multiplicity is None:
        some = counts.of_users(np.sort(np.random.default_rng([seed, 8]).permutation(total)[:size]))
    else:
        some = _of_patterns(counts, size, np.random.default_rng([seed, 8]))
    if _can_be_thinned(counts):
        some = _thinned(some, np.random.default_rng([size, 9]))
    share = min(size / total, votes_of(some) / votes_of(counts))
    return Sample(some.of_cells_there(), total, share, seed, asked)


def _of_patterns(counts: Counts, size: int, rng: np.random.Generator) -> Counts:
    """The same of users who are known as patterns: how many of the drawn have each."""
    users = np.rint(np.asarray(counts.multiplicity)).astype(np.int64)
    if users.sum() < _EXACT:
        drawn = rng.multivariate_hypergeometric(users, size, method="marginals")
    else:  # so many that nobody is drawn twice
        drawn = rng.multinomial(size, users / users.sum())
    some = np.flatnonzero(drawn)
    return replace(counts.of_users(some), multiplicity=drawn[some].astype(np.float64))


def _thinned(counts: Counts, rng: np.random.Generator) -> Counts:
    """As many of a busy user's votes, at random, as a matrix of counts may have: finer nodes of all would cost more.

    Given attentiveness one vote is as good as another, so that this loses a little of what the votes say and adds
    nothing to it.
    """
    start, count = starts_of(counts.user, len(counts.users)), counts.count.copy()
    for user in np.flatnonzero(counts.n_comparisons() > DENSE_SIZE):
        own = slice(start[user], start[user + 1])
        count[own] = rng.multivariate_hypergeometric(count[own].astype(np.int64), DENSE_SIZE)
    kept = count > 0
    return replace(counts, user=counts.user[kept], cell=counts.cell[kept], count=count[kept])


def shift(at: Globals, sample: Sample) -> float:
    """How far users' attentiveness may be off for want of the others, root mean square over users and draws.

    What was left out leaves the part 1 - share of the variance that the globals have after the sample. NaN where that
    is not known.
    """
    if at.free.size and not np.isfinite(at.spread).any():
        return np.nan
    n = len(sample.counts.users)
    some = np.unique(np.linspace(0, n - 1, _LOOKED_AT).astype(np.int64))
    counts = sample.counts.of_users(some)
    work = workload(counts)
    uniform = qmc.LatinHypercube(d=at.free.size, rng=np.random.default_rng(at.seed)).random(_DRAWS)
    noise = norm.ppf(np.clip(uniform, 1e-6, 1 - 1e-6)) * np.sqrt(1 - sample.share)
    drawn = [posterior_means(at.model, point, work) for point in around(at.free, at.spread, noise)]
    moved = np.stack(drawn) - posterior_means(at.model, at.free, work)
    squares = np.mean(moved[:, work.pattern_of_user] ** 2, axis=0)
    return float(np.sqrt(np.average(squares, weights=counts.multiplicity)))
