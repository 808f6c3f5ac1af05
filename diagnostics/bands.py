"""Cuts under uncertainty: what a threshold is worth at every draw of the users' attentiveness.

With eta_us the attentiveness of user u at draw s and K the users above a cut, the cut's precision is
p_s = sum_K n_u eta_us / N and its worth N p_s^2 effective labels. Over draws these have a mean (the expected worth, by
which cuts are compared) and a band; and at each draw one cut is best, so the optimum has a distribution, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError
from ..comparisons.names import as_names, places
from ..inference.arrays import float64
from ..inference.bracket import Chances, cell_chances
from ..inference.chain import attends
from ..inference.compiled import Settled
from ..inference.draws import around, flat_draws, sampled
from ..inference.thinning import evenly
from ..inference.users_given import users_given
from ..models.behavior import BehaviorModel
from ..models.choices import in_turn
from ..models.component import CellView, Finite
from ..models.kinds import Kinds
from ..models.namespace import NUMPY
from .importance import GOOD_K, Target, around_modes, has_arviz, resampled, weigh

if TYPE_CHECKING:
    from ..comparisons.cells import Counts
    from ..comparisons.log import ComparisonLog
    from ..inference import Fit

__all__ = ["MOST_DRAWS", "Bands", "Drawn", "bands", "drawn_of_fit", "drawn_users"]

LEVEL = 0.9
MOST_DRAWS = 2000
"""Draws that are looked at."""

_MOST_WEIGHED = 20_000  # patterns of votes up to which globals are drawn by importance
_WEIGHED, _FEWEST_WEIGHED = 4, 2000  # draws of the proposal for each draw that is wanted, and at least
_FINITE_K = 0.5  # above, weights have no variance, and so many times the draws are made
_UNEVEN, _MOST_LIKELIHOODS = 8, 50_000_000
_ROUGH = (
    "Bands are rough: the posterior's shape is too far from what importance sampling can follow; sample it by "
    "earnest.sample."
)
_NORMAL = "Bands rest on the fit's normal approximation and are too narrow where users are few: {}."

_BLOCK = 2_000_000  # numbers in memory beside them
_MOST_CUTS = 500  # cuts at which a band is told
_MOST_LEFT_OUT, _ENTRIES = 400, 40_000_000  # draws behind leave-one-out weights; at most so many x entries


@dataclass(frozen=True)
class Drawn:
    """Users of a log with draws from the posterior of their attentiveness.

    Attributes:
        users: names, (user,).
        labels: votes of each, (user,).
        eta: attentiveness, (draw, user).
        information: expected effective labels under leave-one-out weights w_n = m_(u,-n); see `_left_out`.
        fingerprint: of the log.
        caveat: what to bear in mind, a sentence, or "".
    """

    users: np.ndarray
    labels: np.ndarray
    eta: np.ndarray
    information: float
    fingerprint: str
    caveat: str = ""

    @property
    def mean(self) -> np.ndarray:
        """Posterior mean attentiveness, (user,)."""
        return np.asarray(self.eta.mean(0))

    def worth(self, keep: np.ndarray) -> np.ndarray:
        """Effective labels of keeping some users (user,) at every draw, (draw,)."""
        labels = np.where(keep, self.labels, 0.0)
        return np.asarray((self.eta @ labels) ** 2 / max(labels.sum(), 1e-300))


@dataclass(frozen=True)
class Bands:
    """Every cut's worth over draws.

    Attributes:
        effective_labels: expected effective labels of each cut, (cut,).
        table: at some cuts (all, where there are few): threshold, effective_labels_lower, effective_labels_upper,
            precision_lower, precision_upper; 90 % bands, each for its cut alone.
        optimum: threshold of the cut that is best at each draw, (draw,).
    """

    effective_labels: np.ndarray
    table: pd.DataFrame
    optimum: np.ndarray


def drawn_users(trace: Any, log: ComparisonLog | None) -> Drawn:
    """Draws of the attentiveness of a log's users, out of the posterior that was sampled from it.

    Raises:
        EarnestError: the posterior was kept without its users' draws, or is of another log.
    """
    if "attentiveness" not in getattr(trace, "posterior", {}):
        raise EarnestError(
            "thresholds: expected a fit, or a posterior with the draws of users' attentiveness; sample with "
            "keep_users='draws'"
        )
    if log is None or log.fingerprint() != trace.attrs.get("fingerprint"):
        raise EarnestError(
            "thresholds: a posterior needs the log that it was sampled from: thresholds(trace, log); for another log "
            "use a fit, which scores users it never saw"
        )
    model = BehaviorModel.from_toml(trace.attrs["declaration"])
    counts = model.count(log)
    drawn = trace.posterior["attentiveness"].transpose("chain", "draw", "user")
    place = places(drawn["user"].to_numpy(), counts.users)
    if (place < 0).any():
        missing = str(as_names(counts.users)[place < 0][0])
        raise EarnestError(f"thresholds: the posterior holds no draws of user {missing!r}; sample the log again")
    eta = drawn.to_numpy().reshape(-1, drawn.shape[-1])
    if not np.all(np.isfinite(eta)):
        bad = str(drawn["user"].to_numpy()[~np.isfinite(eta).all(0)][0])
        raise EarnestError(f"thresholds: the draws of user {bad!r}'s attentiveness are not all numbers; sample again")
    flat = flat_draws(trace, [str(name) for name in trace.posterior if name != "attentiveness"])
    broken = [name for name, array in flat.items() if not np.all(np.isfinite(array))]
    if broken:
        raise EarnestError(f"thresholds: the draws of {broken[0]!r} are not all numbers; sample again")
    few = evenly(len(eta), _most_left_out(counts))
    information = _left_out(model, counts, {name: array[few] for name, array in flat.items()}, eta[few][:, place])
    return Drawn(
        as_names(counts.users), counts.n_comparisons(), eta[evenly(len(eta), MOST_DRAWS)][:, place],
        information, log.fingerprint(),
    )  # fmt: skip


def _most_left_out(counts: Counts) -> int:
    return int(np.clip(_ENTRIES // max(len(counts.count), 1), 50, _MOST_LEFT_OUT))


@float64
def drawn_of_fit(fit: Fit, draws: int) -> Drawn:
    """Draws of the attentiveness of a fit's users: globals from their posterior, every user given each.

    Globals are drawn around the modes and chosen by importance (see `importance`). Where that cannot be done they are
    drawn from the normal approximation, which of small logs is too narrow.
    """
    rng = np.random.default_rng([fit.seed, 6])
    points, caveat = _globals_of(fit, draws, rng)
    counts, stacked = sampled(fit, points, rng)
    n_users = len(fit.counts.users)

    def uniforms(first: int, n: int) -> np.ndarray:  # the same whatever thread asks, and when
        return np.random.default_rng([fit.seed, 7, first]).random((n, n_users))

    eta = np.empty((draws, n_users))
    for part in users_given(fit.model, counts, stacked, uniforms):
        eta[part.first : part.first + len(part.mean)] = part.attentiveness
    few = evenly(draws, _most_left_out(counts))
    information = _left_out(fit.model, counts, {name: value[few] for name, value in stacked.items()}, eta[few])
    return Drawn(
        as_names(counts.users), counts.n_comparisons(), eta, information, fit.fingerprint,
        caveat,
    )  # fmt: skip


def _globals_of(fit: Fit, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """Draws of the globals as free vectors, (draw, size), and what to bear in mind."""
    noise = rng.standard_normal((draws, fit.free.size))
    normal = around(fit.centre, fit.spread, noise)
    if len(fit.counts.patterns()) > _MOST_WEIGHED:  # so many users leave a posterior normal
        return normal, ""
    if fit.bound:
        return normal, _NORMAL.format("users share effects of items, whose posterior EM only approximates")
    if fit.objective != "map":
        return normal, _NORMAL.format("the fit has no priors, so that there is no posterior to draw from")
    if not has_arviz():
        return normal, _NORMAL.format("ArviZ is not installed: pip install 'earnest[numpyro]'")
    settled = Settled(fit.model, fit.table, fit.counts)
    proposal = around_modes(settled, fit)
    target = Target.of(settled, proposal.draw(rng, 12))
    drawn = weigh(target, proposal, max(_WEIGHED * draws, _FEWEST_WEIGHED), rng)
    if not drawn.k <= _FINITE_K:  # few draws with much weight: it takes more of them
        most = max(_MOST_LIKELIHOODS // len(target.statement.tally), len(drawn.points))
        drawn = weigh(target, drawn.proposal, min(_UNEVEN * len(drawn.points), most), rng)
    return resampled(drawn, draws, rng), "" if drawn.k <= GOOD_K else _ROUGH


def _left_out(model: BehaviorModel, counts: Counts, values: dict[str, np.ndarray], eta: np.ndarray) -> float:
    """Expected effective labels under leave-one-out weights.

    w_n = m_(u,-n) = E[eta_u / m_n] / E[1 / m_n] over draws, with m_n = eta_u P_n + (1 - eta_u) C_n. A label's own
    signal has the mean w_n, so that of all of them, sum_n w_n eta_u, has the mean sum w_n^2; its variance is the
    posterior's, and the expectation of its square over sum w_n^2 is sum w_n^2 + Var / sum w_n^2.
    """
    view, user, cell = CellView.of(counts.cells), counts.user, counts.cell
    kinds = model.kinds(view.schema)
    turns = list(in_turn(user)) if model.chained else []
    above, below = np.zeros(len(cell)), np.zeros(len(cell))
    for s, attentiveness in enumerate(eta):
        given = {name: value[s] for name, value in values.items()}
        chances = cell_chances(NUMPY, model, given, view, given_own=True)
        a = np.abs(attentiveness)[user]
        p, c = (np.atleast_2d(part)[:, cell] for part in (chances.p, chances.c))
        own = np.broadcast_to(a, p.shape)  # (kind, entry)
        ahead = None
        if chances.stay is not None:
            each = [attends(*one, a, np.asarray(chances.stay), turns) for one in zip(p, c, strict=True)]
            own, ahead = (np.stack(part) for part in zip(*each, strict=True))
        m = joint = np.maximum(own * p + (1 - own) * c, 1e-300)
        if (told := chances.odds or chances.evidence) is not None:
            share, rest = (part[cell] for part in told)
            whole = a * share + (1 - a) * rest
            m, own = m / whole, np.broadcast_to(a * share / whole, m.shape)
        # What came about with a vote tells of its user's kind, too; along a chain a vote is judged by those before it.
        seen = m if chances.evidence is None else joint
        seen = seen if ahead is None else np.maximum(ahead, 1e-300)
        probable = _of_kinds(model, kinds, chances, counts, seen, attentiveness, given)[:, user]
        signed = np.sign(attentiveness)[user]
        above += signed * (probable * own / m).sum(0)
        below += (probable / m).sum(0)
    weight = np.maximum(above / below, 0.0)  # as it is written: nobody's votes are turned round
    total = float((counts.count * weight**2).sum())
    of_user = np.bincount(counts.user, weights=counts.count * weight, minlength=len(counts.users))
    return total + float(np.var(eta @ of_user)) / max(total, 1e-300)


def _log_share_of_zero(model: BehaviorModel, values: dict[str, np.ndarray], counts: Counts) -> float:
    """Log of the population's weight at attentiveness 0, of finite levels."""
    kind = model.attentiveness.latents(counts.cells.schema)
    if not isinstance(kind, Finite):
        return 0.0
    latent = np.arange(kind.size)
    weights = np.exp(np.asarray(model.attentiveness.log_weights(NUMPY, values, latent)))
    zero = np.asarray(model.attentiveness.attention(NUMPY, values, latent)[0]) == -np.inf
    return float(np.log(max(weights[zero].sum(), 1e-300)))


def _of_kinds(
    model: BehaviorModel, kinds: Kinds, chances: Chances, counts: Counts, m: np.ndarray, attentiveness: np.ndarray,
    values: dict[str, np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Probability of each kind given the votes, the globals and the attentiveness, (kind, user)."""
    n = len(counts.users)
    if kinds.size == 1:
        return np.ones((1, n))
    log_prob = np.stack([np.bincount(counts.user, weights=counts.count * np.log(row), minlength=n) for row in m])
    signs = kinds.shape[0]
    log_prob += np.tile(np.asarray(chances.log_shares), signs)[:, None]
    # Attentiveness tells the sign, and 0 a kind that never attends.
    sign = np.sign(attentiveness)[None, :]
    finite = isinstance(model.attentiveness.latents(counts.cells.schema), Finite)
    zero_is_a_level = finite or not kinds.never.any()
    possible = (sign == np.array(kinds.factor)[:, None]) | ((sign == 0) & zero_is_a_level)
    log_prob = np.where(possible, log_prob, -np.inf)
    if zero_is_a_level:
        # At 0 two stories compete: one who never attends, and one who might, at the level 0 of the population.
        log_zero = _log_share_of_zero(model, values, counts)
        log_prob = np.where((sign == 0) & ~kinds.never[:, None], log_prob + log_zero, log_prob)
    log_prob -= log_prob.max(0)
    return np.asarray(np.exp(log_prob) / np.exp(log_prob).sum(0))


def bands(drawn: Drawn, mean: np.ndarray, thresholds: np.ndarray) -> Bands:
    """What every cut by posterior mean is worth.

    Args:
        drawn: the users.
        mean: posterior means by which users are cut, (user,).
        thresholds: of the cuts, ascending, one for each distinct mean.
    """
    levels, group = np.unique(mean, return_inverse=True)
    labels = np.cumsum(np.bincount(group, weights=drawn.labels)[::-1])[::-1]
    told = evenly(len(levels), _MOST_CUTS)
    total, best, kept = np.zeros(len(levels)), [], []
    for precision in _precisions(drawn, group, labels):
        worth = labels * precision**2
        total += worth.sum(0)
        best.append(worth.argmax(1))
        kept.append(precision[:, told])
    tail = (1 - LEVEL) / 2
    lower, upper = np.quantile(np.concatenate(kept), [tail, 1 - tail], axis=0)
    table = pd.DataFrame(
        {
            "threshold": thresholds[told],
            "effective_labels_lower": labels[told] * lower**2,
            "effective_labels_upper": labels[told] * upper**2,
            "precision_lower": lower,
            "precision_upper": upper,
        }
    )
    return Bands(total / len(drawn.eta), table, thresholds[np.concatenate(best)])


def _precisions(drawn: Drawn, group: np.ndarray, labels: np.ndarray) -> Iterator[np.ndarray]:
    """Precision of every cut, some draws at a time, (draw, cut)."""
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], np.arange(len(labels)))
    size = max(_BLOCK // max(len(order), 1), 1)
    for start in range(0, len(drawn.eta), size):
        attended = drawn.eta[start : start + size, order] * drawn.labels[order]
        signal = np.cumsum(np.add.reduceat(attended, first, axis=1)[:, ::-1], axis=1)[:, ::-1]
        yield np.divide(signal, labels, out=np.zeros_like(signal), where=labels > 0)
