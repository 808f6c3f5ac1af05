"""Before any vote: how many users, how many votes of each, how large a gap between the two models?

One pair of models; who attends takes the better model's response with probability mu, who does not, either. Of n votes
of a user with attentiveness eta, k for the better model, k is binomial with 1/2 + eta (mu - 1/2). With the population
and mu known the posterior mean m_k follows by summing over eta, and with it, exactly, what any cut keeps and what
weights are worth (model.md, section 8). Knowing both costs votes of its own, which a log of some hundred users has to
spare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, roots_jacobi
from scipy.stats import binom

from ..comparisons.errors import EarnestError

__all__ = ["MOST_ADVANTAGE", "Plan", "plan"]

_NODES = 200
_MOST_VOTES, _MOST_GAP = 2000, 8.0
MOST_ADVANTAGE = 0.9996  # at that gap, rounded down
_LEAST_SHARE, _LEAST_CONCENTRATION, _MOST_CONCENTRATION = 1e-3, 1e-2, 1e3
_VOTES, _GAPS = (5, 10, 20, 40, 80, 160), (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Plan:
    """What a comparison mode will be worth.

    Attributes:
        here: the asked design: votes, gap (log-odds), advantage (probability that a user who attends takes the better
            model's response), threshold (the cut with the most effective labels), share (of labels kept), precision
            (mean attentiveness of the users kept), unfiltered, filtered, weighted (effective labels of all users),
            reliability (correlation of posterior means with attentiveness).
        table: the same for other numbers of votes and other gaps, all else alike.
        ideal: effective labels if every user's attentiveness were known.
        users: in all.
        needed: what it would take to reach the goal, one sentence each; empty without a goal.
        verdict: in words.
    """

    here: pd.Series[Any]
    table: pd.DataFrame
    ideal: float
    users: int
    needed: tuple[str, ...]
    verdict: str

    def __repr__(self) -> str:
        return f"<Plan: {' '.join((self.verdict, *self.needed))}>"


@dataclass(frozen=True)
class _Population:
    """Levels of attentiveness and their shares, (node,) each."""

    eta: np.ndarray
    share: np.ndarray

    @classmethod
    def beta(cls, mean: float, concentration: float) -> _Population:
        """Gauss-Jacobi nodes of Beta(mean c, (1 - mean) c)."""
        x, w = roots_jacobi(_NODES, (1 - mean) * concentration - 1, mean * concentration - 1)
        return cls((1 + x) / 2, w / w.sum())

    @property
    def mean(self) -> float:
        return float(self.share @ self.eta)

    @property
    def square(self) -> float:
        return float(self.share @ self.eta**2)

    def told(self, votes: int, advantage: float) -> tuple[np.ndarray, np.ndarray]:
        """Probability of k = 0..votes for the better model, and posterior mean attentiveness then, (k,) each."""
        k = np.arange(votes + 1)
        joint = self.share * binom.pmf(k[:, None], votes, 0.5 + self.eta * (advantage - 0.5))
        chance = joint.sum(1)
        return chance, (joint @ self.eta) / np.maximum(chance, 1e-300)


def plan(
    users: int = 1000,
    votes: int = 20,
    attentive: float = 0.5,
    gap: float = 1.0,
    *,
    concentration: float = 1.2,
    precision: float | None = None,
    effective_labels: float | None = None,
) -> Plan:
    """What votes on pairs of two models will be worth, and what a goal would take.

    Args:
        users: how many.
        votes: of each.
        attentive: mean attentiveness of the population: the share of all votes that are attended, 0.001 to 0.999.
        gap: between the two models, log-odds with which a user who attends takes the better one's response (0.85: 70 in
            100; skills of `BradleyTerry` differ by it).
        concentration: alpha + beta of the population's Beta distribution, 0.01 to 1,000: below 2 most users are rather
            at one end.
        precision: a goal: mean attentiveness of the users kept, that is the share of their further votes that they will
            attend to. (Of the votes by which they were chosen somewhat more were attended.)
        effective_labels: a goal for the filtered labels.

    Returns:
        a `Plan`: effective labels of this design and of those around it, what a goal would take, and a verdict.

    Raises:
        EarnestError: an argument is not what it should be.

    Reference: model.md, section 8.

    Example:
        >>> found = plan(users=5000, votes=20, attentive=0.4, gap=1.0)
        >>> bool(found.here["unfiltered"] < found.here["filtered"] < found.here["weighted"] < found.ideal)
        True
    """
    _check(users, votes, attentive, gap, concentration, precision, effective_labels)
    population = _Population.beta(attentive, concentration)
    here = _outlook(population, users, votes, gap)
    rows = [_outlook(population, users, n, g) for g in sorted({*_GAPS, gap}) for n in sorted({*_VOTES, votes})]
    ideal = users * votes * population.square
    needed = _needed(population, users, votes, gap, precision, effective_labels)
    verdict = _verdict(population, here, ideal, users, votes, concentration)
    return Plan(pd.Series(here), pd.DataFrame(rows), ideal, users, tuple(needed), verdict)


def _check(
    users: int, votes: int, attentive: float, gap: float, concentration: float, precision: float | None,
    effective_labels: float | None,
) -> None:  # fmt: skip
    for name, whole in (("users", users), ("votes", votes)):
        if isinstance(whole, bool) or not isinstance(whole, int | np.integer) or whole < 1:
            raise EarnestError(f"plan({name}={whole!r}): expected a whole number, 1 or more")
    if votes > _MOST_VOTES:
        raise EarnestError(f"plan(votes={votes}): expected {_MOST_VOTES:,} or fewer; so many tell all there is to tell")
    most = 1 - _LEAST_SHARE
    limits: list[tuple[str, Any, float, float]] = [
        ("attentive", attentive, _LEAST_SHARE, most), ("gap", gap, 0.0, _MOST_GAP),
        ("concentration", concentration, _LEAST_CONCENTRATION, _MOST_CONCENTRATION),
    ]  # fmt: skip
    for name, value, low, high in limits:
        if not _number(value) or not low <= value <= high:
            raise EarnestError(f"plan({name}={value!r}): expected a number from {low:g} to {high:g}")
    for name, value, high in (("precision", precision, 1.0), ("effective_labels", effective_labels, np.inf)):
        if value is not None and (not _number(value) or not 0 < value < high):
            raise EarnestError(f"plan({name}={value!r}): expected a number between 0 and {high:g}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _advantage(gap: float) -> float:
    return float(expit(gap))


def _outlook(population: _Population, users: int, votes: int, gap: float) -> dict[str, float]:
    """One row of `Plan.table`."""
    chance, mean = population.told(votes, _advantage(gap))
    kept, attended = _kept(chance, mean)
    best = int(np.argmax(_worth(kept, attended)))
    chance_without, without = population.told(votes - 1, _advantage(gap))
    spread = float(np.sqrt(max(population.square - population.mean**2, 1e-300)))
    labels = users * votes
    return {
        "votes": votes, "gap": gap, "advantage": _advantage(gap), "threshold": float(mean[best]) if best else 0.0,
        "share": float(kept[best]), "precision": float(attended[best] / kept[best]),
        "unfiltered": labels * population.mean**2, "filtered": labels * float(_worth(kept, attended)[best]),
        # A label must not vouch for itself: its weight is what the other votes of its user say.
        "weighted": labels * float(chance_without @ without**2),
        "reliability": float(np.sqrt(max(float(chance @ (mean - population.mean) ** 2), 0.0)) / spread),
    }  # fmt: skip


def _kept(chance: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the cut at each k: share of labels kept, and share kept and attended, (k,) each."""
    return np.cumsum(chance[::-1])[::-1], np.cumsum((chance * mean)[::-1])[::-1]


def _worth(kept: np.ndarray, attended: np.ndarray) -> np.ndarray:
    """Effective labels of each cut, of one label given, (k,)."""
    return np.asarray(np.where(kept > 1e-12, attended**2 / np.maximum(kept, 1e-300), 0.0))


def _share_at(population: _Population, votes: int, gap: float, precision: float) -> float:
    """Share of labels that the loosest cut of a wanted precision keeps; 0 where none reaches it.

    Of the users at its edge it keeps such a part that the precision is met exactly. Cuts between whole k would keep now
    more and now less as votes or gap grow; this one never less (more of either is a better experiment: Blackwell 1953,
    Annals of Mathematical Statistics 24).
    """
    kept, attended = _kept(*population.told(votes, _advantage(gap)))
    spare = attended - precision * kept
    reached = (spare >= 0) & (kept > 1e-12)
    if not reached.any():
        return 0.0
    k = int(np.argmax(reached))
    if k == 0:
        return float(kept[0])
    part = spare[k] / (spare[k] - spare[k - 1])
    return float(kept[k] + part * (kept[k - 1] - kept[k]))


_WORTH_KEEPING = 0.1
"""Share of labels that a cut must keep for its precision to count as reached."""


def _needed(
    population: _Population, users: int, votes: int, gap: float, precision: float | None,
    effective_labels: float | None,
) -> list[str]:  # fmt: skip
    out = []
    if precision is not None:
        share = _share_at(population, votes, gap, precision)
        cut = f"the loosest such cut keeps about {_percent(share)} of the labels" if share else None
        wanted = f"Users who attend to {100 * precision:.10g}% of their votes"
        out.append(f"{wanted}: {cut or 'no cut of this design gets there'}.")
        if share < _WORTH_KEEPING:

            def enough(n: int, g: float) -> bool:
                return _share_at(population, n, g, precision) >= _WORTH_KEEPING

            out += _ways(enough, votes, gap, f"To keep {_WORTH_KEEPING:.0%} of the labels at that precision")
    if effective_labels is not None:

        def reached(n: int, g: float) -> float:
            return _outlook(population, users, n, g)["filtered"] - effective_labels

        if reached(votes, gap) >= 0:
            out.append(f"{effective_labels:,.0f} effective labels: this design has them.")
        else:
            each = _outlook(population, 1, votes, gap)["filtered"]
            out.append(
                f"{effective_labels:,.0f} effective labels at {votes} votes a user and this gap: "
                f"{int(np.ceil(effective_labels / each)):,} users."
            )
            out += _ways(lambda n, g: reached(n, g) >= 0, votes, gap, f"Or, with {users:,} users")
    return out


def _ways(enough: Callable[[int, float], bool], votes: int, gap: float, words: str) -> list[str]:
    """What more votes or a larger gap it takes, one sentence; with more of either it is never again too little."""
    ways = []
    if enough(_MOST_VOTES, gap):
        low, high = votes, _MOST_VOTES
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle, gap) else (middle, high)
        ways.append(f"about {high} votes a user")
    if enough(votes, _MOST_GAP):
        narrow, wide = gap, _MOST_GAP
        while wide - narrow > 5e-3:
            half = (narrow + wide) / 2
            narrow, wide = (narrow, half) if enough(votes, half) else (half, wide)
        ways.append(f"a gap of about {wide:.2f} log-odds ({_percent(_advantage(wide))} for the better model)")
    return [f"{words}: {' or '.join(ways) if ways else 'neither more votes nor a larger gap is enough'}."]


def _percent(share: float) -> str:
    """A share in whole per cent, in as many digits as tell it from none and from all."""
    shown = (f"{share:.{digits}%}" for digits in range(5))
    return next((text for text in shown if 0 < float(text[:-1]) < 100), f"{share:.0%}")


def _verdict(
    population: _Population, here: dict[str, float], ideal: float, users: int, votes: int, concentration: float
) -> str:
    labels = users * votes
    gains = {what: here[what] / here["unfiltered"] - 1 for what in ("filtered", "weighted")}
    said = [
        f"With a gap of {here['gap']:.3g} log-odds (who attends takes the better model's response "
        f"{_percent(here['advantage'])} of the time) and a concentration of {concentration:g}, {labels:,} labels of "
        f"which {_percent(population.mean)} are attended would be worth {here['unfiltered']:,.0f} as they are, "
        f"{here['filtered']:,.0f} after the best cut ({gains['filtered']:+.0%}), {here['weighted']:,.0f} with weights "
        f"({gains['weighted']:+.0%}), and {ideal:,.0f} were every user's attentiveness known."
    ]
    if gains["weighted"] < 0.02:
        said.append(
            "These votes hardly tell users apart: take models that lie further apart, more votes a user, or questions "
            "whose right answer is known."
        )
    else:
        said.append(
            f"The best cut, at {here['threshold']:.2f}, keeps {_percent(here['share'])} of the labels, of users who "
            f"attend to {_percent(here['precision'])} of their votes; posterior means correlate "
            f"{here['reliability']:.2f} with the truth."
        )
    return " ".join(said)
