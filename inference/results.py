"""The result of an EM fit, and the parts it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from ..models.behavior import BehaviorModel
from ..models.namespace import NUMPY
from ..models.parameters import Parameter, ParameterTable
from ..models.supports import Simplex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..comparisons.log import ComparisonLog
    from .effects import Effects

__all__ = ["Fit", "Mode"]


@dataclass(frozen=True)
class Mode:
    """One mode of the objective that the restarts reached.

    Attributes:
        objective: its value, nats.
        parameters: {name: value} there.
        rank_correlation: Spearman correlation of the users' attentiveness with that of the best mode.
        attentive_share: mean attentiveness of the users.
        starts: how many starting points ended here.
    """

    objective: float
    parameters: dict[str, np.ndarray]
    rank_correlation: float
    attentive_share: float
    starts: int

    def __repr__(self) -> str:
        return (
            f"<Mode at {self.objective:,.2f} nats from {self.starts} starts: mean attentiveness "
            f"{self.attentive_share:.2f}, rank correlation with the best {self.rank_correlation:+.2f}>"
        )


@dataclass(frozen=True)
class Fit:
    """What EM learned from a log.

    Attributes:
        model: the declaration, with everything settled that it left to the data.
        schema: names of models, outcomes and pairs.
        counts: the log as counts per (user, cell).
        method: "marginal" or "label".
        objective: "map" or "ml".
        free: estimates on the free scale, (size,).
        covariance: of the free parameters, inverse observed information, (size, size); NaN where unknown.
        centre, spread: centre (size,) and covariance (size, size) of the normal approximation behind the intervals, on
            the free scale; see `MarginalEM.laplace`.
        attentiveness: data frame with user, comparisons, mean, sd, lower, upper. Mean and sd are those of the posterior
            given the estimated globals; the interval also carries the globals' uncertainty. In label EM `mean` is the
            estimate itself and `sd` its standard error, NaN (like the interval) at 0 and 1. Of a log on a cluster the
            frame has pattern and users (how many have it) instead of user: see `SparkLog.attentiveness`.
        objective_trace: objective after each accepted iteration, nats.
        status: "converged", "iteration_limit", "non_finite" or "objective_decreased".
        iterations: accepted iterations.
        modes: the modes found, best first.
        level: probability content of the intervals in `attentiveness`.
        columns: {standard name: column of the log}.
        notes: what the reader should know (guesses, boundaries, modes, non-convergence).
        fingerprint: hash of the log; after updates those of all logs, joined by `+`.
        user_prior: Beta prior of each user in label EM.
        seed: of the draws behind the intervals.
        outcomes: how the log's winners were read, where the user said it (see `read_comparisons`).
        effects: what is known of effects shared across users (see `inference.effects`), or None. They are not among
            `free`; with them the objective is the evidence lower bound.
    """

    model: BehaviorModel
    schema: Schema
    counts: Counts
    method: str
    objective: str
    free: np.ndarray
    covariance: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    attentiveness: pd.DataFrame
    objective_trace: np.ndarray
    status: str
    iterations: int
    modes: tuple[Mode, ...]
    level: float = 0.9
    columns: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fingerprint: str = ""
    user_prior: tuple[float, float] = (1.0, 1.0)
    seed: int = 0
    outcomes: dict[str, str] | str | None = None
    effects: Effects | None = None

    def __repr__(self) -> str:
        from .doubts import doubts_of_fit

        times = self.counts.multiplicity
        users = len(self.attentiveness) if times is None else round(float(times.sum()))
        doubted = "; trust neither ranking nor threshold" if doubts_of_fit(self) else ""
        return (
            f"<Fit {self.method} EM, {self.objective}: {users:,} users, "
            f"{self.schema.n_models} models, {self.status} after {self.iterations} iterations{doubted}>"
        )

    def _repr_html_(self) -> str:
        from .cards import fit_card

        return fit_card(self)

    def check_users_known(self, what: str) -> None:
        """Raise an `EarnestError` where the fit knows patterns of votes, not users: it is of a log on a cluster."""
        if self.counts.multiplicity is not None:
            raise EarnestError(
                f"{what}: the fit is of a log on a cluster and knows the users' patterns of votes, not the users; fit "
                "a part of the log for this: read_comparisons(frame.where(...).toArrow())"
            )

    @property
    def converged(self) -> bool:
        """Whether the ascent ended at a stationary point."""
        return self.status == "converged"

    @property
    def bound(self) -> bool:
        """Whether `objective_trace` is a lower bound of the log marginal likelihood (variational EM), not itself."""
        return self.effects is not None

    @cached_property
    def table(self) -> ParameterTable:
        """The unknowns and their packing."""
        return self.model.table(self.schema)

    @cached_property
    def parameters(self) -> dict[str, np.ndarray]:
        """{name: estimate}, axes as in `dims`, on the constrained scale; of shared effects their posterior means."""
        return {name: np.asarray(v) for name, v in self.table.unpack(NUMPY, self.free).items()} | self._of_effects(
            lambda effects: effects.mean
        )

    @property
    def coords(self) -> dict[str, list[str]]:
        """{axis: names}: the order of every array."""
        crossed = self.model.crossed
        named = {} if self.effects is None or crossed is None else {crossed.column: list(self.effects.names)}
        return self.table.coords | named

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """{parameter: names of its axes}."""
        crossed = self.model.crossed
        shared = {} if self.effects is None or crossed is None else {crossed.effect: (crossed.column,)}
        return {p.name: p.dims for p in self.table.parameters} | shared

    @property
    def context(self) -> tuple[str, ...]:
        """Columns beyond models and winner by which per-label quantities are keyed."""
        return self.model.context

    @cached_property
    def parameter_status(self) -> dict[str, np.ndarray]:
        """{name: "interior" or "boundary", axes as in `dims`}: at a boundary a standard error means nothing."""
        return {
            p.name: np.where(p.prior.on_boundary(self.parameters[p.name]), "boundary", "interior")
            for p in self.table.parameters
        } | self._of_effects(lambda effects: np.full(len(effects.names), "interior"))

    @cached_property
    def standard_errors(self) -> dict[str, np.ndarray]:
        """{name: standard error}, axes as in `dims`, constrained scale (delta method); NaN at a boundary or unknown."""
        known = {p.name: _delta(self, p, self.free, self.covariance) for p in self.table.parameters}
        return known | self._of_effects(lambda effects: effects.sd)

    def intervals(self, level: float = 0.9) -> dict[str, np.ndarray]:
        """{name: (lower, upper)} on the constrained scale, shape (2, ...).

        Normal intervals on the scale where the parameter is free of its bounds (log, logit, log-ratio; the value itself
        for skills), mapped back. They are centred on the mode of the density on that scale, which under "map" is not
        the transformed estimate. Conditional on the mode found.

        Raises:
            EarnestError: a level that is no probability between 0 and 1.
        """
        if not 0 < level < 1:
            raise EarnestError(f"level={level!r}: expected a probability between 0 and 1")
        z = float(norm.ppf(0.5 + level / 2))
        # Entries without a standard error (label EM, boundaries) are NaN; `parameter_status` and the notes say so.
        with np.errstate(all="ignore"):
            known = {p.name: _interval(self, p, z) for p in self.table.parameters}
        return known | self._of_effects(lambda effects: effects.mean + np.outer([-z, z], effects.sd))

    def _of_effects(self, what: Callable[[Effects], np.ndarray]) -> dict[str, np.ndarray]:
        """{name of the effects: something of them, (item,)}, where there are any."""
        crossed = self.model.crossed
        return {} if self.effects is None or crossed is None else {crossed.effect: what(self.effects)}

    def responsibilities(self, log: ComparisonLog) -> np.ndarray:
        """Pr(z_n = 1 | data): the probability that each comparison was attended, in row order, (comparison,)."""
        from .labels import responsibilities

        return responsibilities(self, log)

    def label_table(self, log: ComparisonLog) -> pd.DataFrame:
        """Per-label quantities for every (user, model_a, model_b, winner) in the log. See `inference.labels`.

        Where the model does not tell the order of the two models apart, each row is there in both orders.
        """
        from .labels import label_table

        return label_table(self, log)

    def label_blocks(self, log: ComparisonLog) -> Iterator[pd.DataFrame]:
        """`label_table` in pieces of some ten thousand users each; of a long log the whole takes much memory."""
        from .labels import label_blocks

        return label_blocks(self, log)

    @property
    def counted_by(self) -> tuple[bool, tuple[str, ...], bool, Schema]:
        """How votes are told apart: ties, context, whether the order of the models is left out, and the names."""
        return self.model.preference.allows_ties, self.context, not self.model.directed, self.schema

    def pattern_labels(self, log: ComparisonLog) -> pd.DataFrame:
        """Per-label quantities for every cell of every pattern of a log on a cluster. See `inference.labels`."""
        from .labels import pattern_labels

        return pattern_labels(self, log)

    def leave_one_out_information(self, log: ComparisonLog | None = None) -> float:
        """Effective labels under leave-one-out weights, sum_n m_(u,-n)^2, of a log (default: the fit's own).

        Of the fit's own log, where more than 65,536 users differ, from so many of them at random.
        """
        from .labels import leave_one_out_information

        return leave_one_out_information(self, log)

    def score(self, log: ComparisonLog, draws: int = 32) -> pd.DataFrame:
        """Attentiveness of the users of another log, from that log's votes alone, with the fitted population.

        Args:
            log: the votes.
            draws: of the globals, behind the users' intervals. 0 leaves the globals' uncertainty out of them and takes
                a tenth of the time or less; mean and sd are the same.

        Raises:
            InputError: the log has a model (or pair, where each pair has its own parameter) that the fit never saw.
            EarnestError: `draws` is no whole number, 0 or more.
        """
        from .scoring import score

        return score(self, log, draws)

    def attentiveness_for(self, log: ComparisonLog) -> pd.DataFrame:
        """Attentiveness of every user of a log: the fit's own estimate where it knows the user, else scored."""
        from .scoring import attentiveness_for

        return attentiveness_for(self, log)

    def probability_above(self, level: float, log: ComparisonLog | None = None) -> pd.DataFrame:
        """Pr(eta_u > level) given the estimated globals: data frame with user, mean, probability.

        Args:
            level: an attentiveness.
            log: whose users; by default the fit's own. Users whom the fit does not know are scored.

        Raises:
            EarnestError: a fit by label EM, or a level outside [0, 1].
        """
        from .scoring import probability_above

        return probability_above(self, level, log)

    def kinds(self, log: ComparisonLog | None = None) -> pd.DataFrame:
        """Posterior probability of each kind of user that the model tells apart, given the estimated globals.

        Args:
            log: whose users, judged by this log's votes alone; by default the fit's own.

        Returns:
            data frame with user and one column a kind: a taste, a favourite, the sign of attentiveness; of several
            components' kinds every combination.

        Raises:
            EarnestError: the model tells no kinds of users apart.
        """
        from .scoring import kinds

        return kinds(self, log)

    def population_density(self, grid: np.ndarray) -> np.ndarray | None:
        """Density of the fitted population at attentiveness `grid`, the shape of `grid`; None for finite levels.

        Between 0 and 1, or -1 and 1 where attentiveness has a sign. Users of a kind that never attends are not in it:
        it integrates to the share of the others.
        """
        from .scoring import population_density

        return population_density(self, grid)

    def update(self, more: ComparisonLog, **options: Any) -> Fit:
        """Fit again with more comparisons: counts add up, EM starts from this fit.

        What the declaration left to the first log stays as it was settled there: a slope's prior is still per root mean
        square of the first log's column.
        """
        from .updating import update

        return update(self, more, **options)

    def save(self, folder: str | Path) -> None:
        """Write the fit to a folder, whole or not at all. See `inference.store`."""
        from .store import save

        save(self, folder)


def _jacobian(support: Any, free: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Derivative of the value in the free coordinates by central differences (cheap and smooth maps), (value, free)."""
    size = int(np.prod(shape))
    out = np.zeros((size, free.size))
    for j in range(free.size):
        step = np.zeros(free.size)
        step[j] = 1e-5
        ends = [np.ravel(support.constrain(NUMPY, support.folded(free + s, shape))) for s in (step, -step)]
        out[:, j] = (ends[0] - ends[1]) / 2e-5
    return out


def _delta(fit: Fit, parameter: Parameter, free: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard errors of a parameter's entries on the constrained scale (delta method), NaN at a boundary."""
    where, shape = fit.table.slices[parameter.name], fit.table.shape(parameter)
    jacobian = _jacobian(parameter.support, free[where], shape)
    with np.errstate(invalid="ignore"):
        variance = np.einsum("ij,jk,ik->i", jacobian, covariance[where, where], jacobian)
    errors = np.sqrt(np.where(variance >= 0, variance, np.nan)).reshape(shape)
    return np.where(fit.parameter_status[parameter.name] == "boundary", np.nan, errors)


def _interval(fit: Fit, parameter: Parameter, z: float) -> np.ndarray:
    """Interval of +-z standard deviations, (2, ...); see `Fit.intervals`."""
    support, where = parameter.support, fit.table.slices[parameter.name]
    value = np.asarray(fit.table.unpack(NUMPY, fit.centre)[parameter.name])
    error = _delta(fit, parameter, fit.centre, fit.spread)
    if support.free_size(value.shape) == value.size:
        sd = np.sqrt(np.diag(fit.spread)[where])
        free = [support.folded(fit.centre[where] + sign * z * sd, value.shape) for sign in (-1, 1)]
        ends = np.stack([np.asarray(support.constrain(NUMPY, end)) for end in free])
        return np.where(np.isnan(error), np.nan, ends)
    if isinstance(support, Simplex):
        # A share of a simplex: normal on its logit, so that the interval stays inside (0, 1).
        logit, scale = np.log(value) - np.log1p(-value), error / (value * (1 - value))
        ends = np.stack([1 / (1 + np.exp(-(logit + s * z * scale))) for s in (-1, 1)])
        return np.where(np.isnan(error), np.nan, ends)
    return np.stack([value - z * error, value + z * error])
