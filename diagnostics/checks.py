"""Does the model reproduce the log? Predictive checks, each against the replicates that its question asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError, InputError, check_whole
from ..comparisons.log import ComparisonLog
from ..inference.arrays import float64
from .discrepancies import Looks
from .replicates import Believed, Rows, believed, read_rows

if TYPE_CHECKING:
    from ..inference import Fit

__all__ = ["Checks", "predictive_check"]

LEVEL = 0.9
FAILED = 3.0
"""Standard deviations of the replicates from which a check counts as failed, where it is outside the band as well:
under the right model some twenty checks raise a false alarm in about one log of twenty."""

_LEAST = 20
_BY_PAIR = "pairs: votes for the favourite, deviation by pair"

# What a failed check may mean, by the beginning of its name: below what is expected, above it.
_MEANING: tuple[tuple[str, str, str], ...] = (
    ("votes for the favourite: share", "", ""),
    (
        "votes for the favourite",
        "users are more alike in siding with the favourite than the population that was fitted; try another population "
        "(Beta, Groups)",
        "users differ more in siding with the favourite than the population that was fitted: try another population "
        "(Groups, Beta), or look for users with a taste of their own",
    ),
    (
        "votes for the left: share",
        "the right side is preferred more than the model can say: try a casual behaviour that minds position "
        "(PositionBias); where it does already, attentive users mind it, too",
        "the left side is preferred more than the model can say: try a casual behaviour that minds position "
        "(PositionBias); where it does already, attentive users mind it, too",
    ),
    (
        "votes for the left: spread",
        "users are more alike in their preference for a side than the model says",
        "users differ in which side they prefer, or in how much: try a casual behaviour that minds position "
        "(PositionBias); where it does already, one habit for all casual users is not enough",
    ),
    (
        "ties: spread",
        "users are more alike in how often they tie than the model says",
        "some users tie far more often than others: a casual behaviour with its own share of ties (PositionBias) may "
        "do; where it has one, one habit for all is not enough",
    ),
    ("ties where", "fewer ties there than the rule for them says", "more ties there than the rule for them says"),
    (
        "ties: narrowest",
        "ties fall less with the gap between the models than the rule for them says: try the other rule (Davidson, "
        "RaoKupper), or a casual behaviour with its own share of ties (PositionBias)",
        "ties fall more with the gap between the models than the rule for them says: try the other rule (Davidson, "
        "RaoKupper)",
    ),
    (
        "order",
        "users alternate: a vote depends on the one before, which no variant here describes; weights and intervals "
        "take votes for independent given attentiveness",
        "votes come in streaks: attention or habit lasts over several votes; where the log has times, try "
        "attention=Drift() or casual=Habit(); where one of them is in, a richer one; "
        "intervals of users are too narrow",
    ),
    (
        "halves: correlation",
        "a user's attentiveness is not the same in both halves of the votes: it drifts, and one number a user is too "
        "few",
        "the two halves of a user's votes agree more than the model says: users differ in more than attentiveness",
    ),
    (
        "halves: votes",
        "users side less with the favourite in the second half of their votes: attention tires",
        "users side more with the favourite in the second half of their votes: they learn, or the early votes are "
        "careless",
    ),
    (
        "pairs",
        "",
        "some pairs of models are decided otherwise than the skills say: try a probability for each pair "
        "(PairAdvantage)",
    ),
)


@dataclass(frozen=True)
class Checks:
    """A log against replicates.

    Attributes:
        table: one row a check: check, observed, expected (mean of the replicates), lower, upper (90 % of them), p
            (predictive tail probability, two-sided; of the deviation by pair, which is never negative, one-sided), sds
            (observed minus expected, in standard deviations of the replicates), failed (more than 3 of them away, and
            outside the band), replicates ("new users" or "same users").
        verdict: what the model does not reproduce and which variant might, in words.
        replicates: {check: its value in every replicate, (replicate,)}.
        shares: users by their share of votes for the favourite: from, to, observed, expected, lower, upper (users in
            the bin, 90 %; new users).
        notes: what the reader should know.
    """

    table: pd.DataFrame
    verdict: str
    replicates: dict[str, np.ndarray] = field(repr=False)
    shares: pd.DataFrame = field(repr=False)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Checks: {self.verdict}>"

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not bool(self.table["failed"].any())


@float64
def predictive_check(source: Fit | Any, log: ComparisonLog, *, replicates: int = 200, seed: int = 0) -> Checks:
    """Hold a log against votes that the model would have had in its place.

    Every replicate answers the log's own comparisons anew, at one draw of the globals (a fit's normal approximation, or
    the posterior). Two kinds of users answer:

    * **new users**, drawn from the population, where the question is how users differ: the share of votes for the
      favourite (the model that an attentive user prefers), for the left, and ties, and their spread over users. The
      same users would not do: whatever their attentiveness has taken up of a misfit would be handed back unnoticed.
      (The mixed predictive distribution of Marshall and Spiegelhalter 2003.)
    * **the same users**, with attentiveness drawn from its posterior, where the question is what a user's votes hang on
      given the user: ties by the gap between the models, favourites by pair, order and runs, agreement between the
      first and the second half of a user's votes. New users would only add noise.

    A tie counts as half a vote for the favourite and for the left. Parameters are learned from the same log, so that
    p-values of what the model has a parameter for crowd around 1: a check may miss a fault, it seldom invents one.

    Args:
        source: a fit by marginal EM, or what `sample` returned.
        log: the log of either. Order means that of its rows.
        replicates: how many; 20 or more.
        seed: of all randomness.

    Returns:
        `Checks`: each statistic beside those of its replicates, and a verdict.

    Raises:
        InputError: the log has no comparisons.
        EarnestError: an argument is not what it should be, or the log is another one.

    Reference: Gelman, Meng and Stern (1996), Statistica Sinica 6; Marshall and Spiegelhalter (2003), Statistics in
    Medicine 22.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel()
        >>> log = model.simulate(users=30, comparisons_per_user=10, models=3, seed=1).log
        >>> checks = predictive_check(er.fit_em(model, log), log, replicates=50)
        >>> list(checks.table.columns[:6])
        ['check', 'observed', 'expected', 'lower', 'upper', 'p']
    """
    if not isinstance(log, ComparisonLog):
        raise EarnestError(f"predictive_check(log=...): expected a log from read_comparisons, got {type(log).__name__}")
    for name, number, least in (("replicates", replicates, _LEAST), ("seed", seed, 0)):
        check_whole(name, number, least)
    if len(log) == 0:
        raise InputError(f"{log.source}: the log has no comparisons")
    rng = np.random.default_rng([seed, 7])
    belief = believed(source, log, replicates, rng)
    rows = read_rows(log, belief.model, belief.counts.cells.schema)
    advantage = rows.favoured(belief.model, belief.point)
    # A share of 1/2 is known to rounding only.
    looks = Looks(rows, np.where(np.abs(advantage) < 1e-9, 0.0, advantage))
    outcome = rows.outcome
    new, histograms = _by_new_users(belief, rows, looks, replicates, rng)
    same, pairs = _by_same_users(belief, rows, looks, replicates, rng, seed)
    of_votes, of_pairs = looks.of_votes(outcome)
    observed = looks.of_population(outcome) | of_votes
    if rows.cells.schema.n_pairs >= 3:
        observed[_BY_PAIR], same[_BY_PAIR] = _deviation(of_pairs, pairs)
    table = _table(observed, new, same)
    edges = np.linspace(0.0, 1.0, histograms.shape[1] + 1)
    tail = (1 - LEVEL) / 2
    lower, upper = np.quantile(histograms, [tail, 1 - tail], axis=0)
    shares = pd.DataFrame(
        {"from": edges[:-1], "to": edges[1:], "observed": looks.histogram(outcome), "expected": histograms.mean(0),
         "lower": lower, "upper": upper}
    )  # fmt: skip
    said = " ".join([_verdict(table), *(f"Note: {note}." for note in belief.notes)])
    return Checks(table, said, {**new, **same}, shares, belief.notes)


def _by_new_users(
    belief: Believed, rows: Rows, looks: Looks, replicates: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    found, histograms = [], []
    for replicate in range(replicates):
        draw = replicate % belief.draws
        tables = rows.chances(belief.model, belief.at(draw))
        outcome = rows.simulate(rng, tables, belief.new_users(rng, draw))
        found.append(looks.of_population(outcome))
        histograms.append(looks.histogram(outcome))
    return _columns(found), np.stack(histograms)


def _by_same_users(
    belief: Believed, rows: Rows, looks: Looks, replicates: int, rng: np.random.Generator, seed: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    given = list(belief.same_users(seed))
    found = []
    for replicate in range(replicates):
        draw, users = given[replicate % len(given)]
        outcome = rows.simulate(rng, rows.chances(belief.model, belief.at(draw)), users)
        found.append(looks.of_votes(outcome))
    return _columns([values for values, _ in found]), np.stack([pairs for _, pairs in found])


def _columns(found: list[dict[str, float]]) -> dict[str, np.ndarray]:
    return {name: np.array([one[name] for one in found]) for name in found[0]}


def _deviation(observed: np.ndarray, replicated: np.ndarray) -> tuple[float, np.ndarray]:
    """Root mean square, over pairs, of how many standard deviations a pair is off: observed, and of every replicate."""
    mean, sd = replicated.mean(0), replicated.std(0, ddof=1)
    varies = sd > 0
    away = (np.vstack([observed, replicated]) - mean)[:, varies] / sd[varies]
    size = np.sqrt(np.mean(away**2, axis=1)) if varies.any() else np.zeros(len(away))
    return float(size[0]), size[1:]


def _table(observed: dict[str, float], new: dict[str, np.ndarray], same: dict[str, np.ndarray]) -> pd.DataFrame:
    rows, tail = [], (1 - LEVEL) / 2
    for name, value in observed.items():
        drawn = new[name] if name in new else same[name]
        # A deviation cannot be too small: where it is, the pairs were fitted well.
        one_sided = name == _BY_PAIR
        lower, upper = (0.0, np.quantile(drawn, LEVEL)) if one_sided else np.quantile(drawn, [tail, 1 - tail])
        # Counts that agree to rounding are the same.
        slack = 1e-9 * max(abs(value), 1.0)
        below, above = int((drawn <= value + slack).sum()), int((drawn >= value - slack).sum())
        rarer = 1 + above if one_sided else 2 * (1 + min(below, above))
        p = min(1.0, rarer / (1 + len(drawn)))
        gap, sd = value - float(drawn.mean()), float(drawn.std(ddof=1))
        never = 0.0 if abs(gap) <= slack else float(np.copysign(np.inf, gap))  # no replicate has another value
        sds = gap / sd if sd > 1e-12 else never
        rows.append(
            {
                "check": name,
                "observed": value,
                "expected": float(drawn.mean()),
                "lower": float(lower),
                "upper": float(upper),
                "p": p,
                "sds": sds,
                "failed": bool((sds if one_sided else abs(sds)) > FAILED and p <= 1 - LEVEL),
                "replicates": "new users" if name in new else "same users",
            }
        )
    return pd.DataFrame(rows)


def _verdict(table: pd.DataFrame) -> str:
    failed = table[table["failed"]]
    if len(failed) == 0:
        odd = int((table["p"] <= 1 - LEVEL).sum())
        beside = f" {odd} lie outside their 90 % band; by chance {0.1 * len(table):.0f} would." if odd else ""
        return f"The model reproduces what was looked at: none of {len(table)} checks fails.{beside}"
    said = [f"{len(failed)} of {len(table)} checks fail."]
    worst = failed.iloc[np.argsort(-np.abs(failed["sds"].to_numpy()), kind="stable")]
    told: set[str] = set()
    for row in worst.itertuples():
        meaning = _meaning(str(row.check), above=row.sds > 0)
        if meaning and meaning in told:  # the same fault, seen by another check
            continue
        told.add(meaning)
        found = f"{row.check}: {row.observed:.3f}, where {row.lower:.3f} to {row.upper:.3f} is expected"
        said.append(f"{_capital(found)}{'; ' * bool(meaning)}{meaning}.")
    return " ".join(said)


def _meaning(check: str, above: bool) -> str:
    for beginning, low, high in _MEANING:
        if check.startswith(beginning):
            return high if above else low
    return ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
