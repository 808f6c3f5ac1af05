"""`fit_em`: from a model and a log to a `Fit`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError, InputError
from ..comparisons.log import ComparisonLog
from ..comparisons.patterns import Patterns
from ..comparisons.schema import Schema
from ..models.attention import Attention
from ..models.behavior import BehaviorModel
from ..models.component import Casual, Preference
from ..models.gold import gold_notes
from ..models.namespace import NUMPY
from ..models.priors import HalfNormal
from .arrays import float64
from .ascent import Ascent
from .crossed_em import CrossedEM, copies, effects_at
from .effects import detached, known
from .em import MarginalEM, starting_points
from .label import LabelEM
from .modes import canonical, label_modes, merged, met, modes_of
from .pooled import Pooled
from .posteriors import Globals, patterns_of
from .results import Fit, Mode
from .sampled_users import ERROR, check_source, first_sample, grown, larger, scouts, shift
from .scoring import DRAWS, estimate
from .users import Workload, workload

__all__ = ["Settings", "fit_counts", "fit_em"]

Progress = Callable[[str, int, float], None]

# Iterations of each round of scouting, and how alike users' attentiveness must be for two starts to count as one.
_SCOUT_ROUNDS = ((8, 0.05), (60, 0.1))
_SCOUT_TOLERANCE = 1e-3
# Another mode than the best is followed for so many legs of so many iterations, unless it meets the best before.
_LEGS, _LEG = 8, 25
_BOUND = (
    "users share effects of items: EM is variational, objective_trace is the evidence lower bound, standard errors of "
    "the globals are from its curvature with the effects' distributions following, and users' intervals, those of "
    "effects and per-label quantities hold the latter fixed"
)
_NO_INTERVAL = (
    "{scale} is estimated from a bound that leans towards small scales: it has no standard error and no interval, and "
    "users' intervals leave its uncertainty out; sample for it"
)
_POOLED = (
    "{scale} is the mode of its own density, all else integrated out by Laplace's method; objective_trace is at that "
    "{scale}"
)
_SAMPLED = (
    "the globals are from a random sample of {m:,} of {n:,} users, which may put attentiveness off by {error:.4f} "
    "(root mean square); objective, standard errors and modes are those of the sample, attentiveness is everybody's; "
    "globals_from='all' takes every user"
)
_SAMPLED_BLINDLY = (
    "the globals are from a random sample of {m:,} of {n:,} users; by how much that may put attentiveness off is not "
    "known without standard errors; globals_from='all' takes every user"
)
_MOST_GLOBALS = 200  # of which the curvature is measured, column by column, each as dear as two steps of EM
_BLIND_TOLERANCE = 1e-3  # of globals, hundreds of them, which a sample leaves uncertain by a twentieth and more
_TOO_MANY = (
    "{n} globals are too many to measure the objective's curvature: EM ends without Newton's steps, globals have no "
    "standard errors, and users' intervals leave their uncertainty out"
)
_RESTLESS = "{scale} did not come to rest: give it (category_scale=...), or sample"


@dataclass(frozen=True)
class Settings:
    """The arguments of `fit_em`, checked."""

    method: str = "marginal"
    objective: str = "map"
    max_iterations: int = 2000
    tolerance: float = 1e-6
    accelerate: bool = True
    user_prior: tuple[float, float] = (1.0, 1.0)
    level: float = 0.9
    seed: int = 0
    progress: Progress | None = None
    globals_from: str | int = "auto"

    def reporter(self, stage: str) -> Callable[[int, float], None]:
        """A callback (iteration, objective) for one stage."""
        return lambda iteration, objective: _say(self, stage, iteration, objective)

    def __post_init__(self) -> None:
        if self.method not in ("marginal", "label"):
            raise EarnestError(f"method={self.method!r}: expected 'marginal' or 'label'")
        if self.objective not in ("map", "ml"):
            raise EarnestError(f"objective={self.objective!r}: expected 'map' (with priors) or 'ml' (without)")
        for name in ("max_iterations", "tolerance", "level", "seed"):
            value = getattr(self, name)
            whole = name in ("max_iterations", "seed")
            kinds = (int, np.integer) if whole else (int, float, np.number)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise EarnestError(f"{name}={value!r}: expected a {'whole ' if whole else ''}number")
        if self.max_iterations < 1 or not self.tolerance > 0:
            raise EarnestError("max_iterations and tolerance must be positive")
        pair = self.user_prior
        if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(v, int | float) for v in pair):
            raise EarnestError(f"user_prior={pair!r}: expected (a, b) of a Beta prior, both at least 1")
        if min(pair) < 1:
            raise EarnestError(f"user_prior={self.user_prior!r}: expected (a, b) of a Beta prior, both at least 1")
        if self.seed < 0:
            raise EarnestError(f"seed={self.seed!r}: expected a whole number, 0 or more")
        if not 0 < self.level < 1:
            raise EarnestError(f"level={self.level!r}: expected a probability between 0 and 1")
        check_source(self.globals_from)


@dataclass(frozen=True)
class _Normal:
    """Normal approximation: covariance at the estimate, and centre and covariance of the intervals (see `laplace`)."""

    covariance: np.ndarray
    centre: np.ndarray
    spread: np.ndarray


@float64
def fit_em(
    model: BehaviorModel,
    log: ComparisonLog,
    *,
    method: str = "marginal",
    objective: str = "map",
    max_iterations: int = 2000,
    tolerance: float = 1e-6,
    accelerate: bool = True,
    restarts: bool = True,
    start: dict[str, Any] | None = None,
    user_prior: tuple[float, float] = (1.0, 1.0),
    level: float = 0.9,
    seed: int = 0,
    progress: Progress | None = None,
    globals_from: str | int = "auto",
) -> Fit:
    """Fit a behavioural model by expectation-maximisation.

    Args:
        model: the declaration.
        log: the comparisons.
        method: "marginal" (empirical Bayes: users' attentiveness is integrated out) or "label" (each user's
            attentiveness is a free parameter, as in arXiv 2510.13830).
        objective: "map" adds the log prior on the constrained scale; "ml" leaves it out.
        max_iterations: accepted iterations at most, after the restarts.
        tolerance: largest move of a free parameter at which label EM ends. Marginal EM ends at 1e-5 at the earliest:
            Newton steps on the marginal objective finish it to rounding.
        accelerate: use Anderson acceleration (marginal EM).
        restarts: start from every combination of the components' starting values. False: from the first only.
        start: starting values {name: value} instead (the others as in the first start).
        user_prior: (a, b) of a Beta prior of each user's attentiveness in label EM; (1, 1) is none.
        level: probability content of the users' intervals.
        seed: of the draws behind the users' intervals, and of the sample of users, where there is one; nothing else is
            random.
        progress: called with (stage, iteration, objective).
        globals_from: users from whom the globals are estimated. "auto": all of them, but of more than 16,384 users
            whose counts differ a random sample, as large as it takes for no more error than 0.01 in attentiveness
            (root mean square; the fit's notes say how much it is). "all", or a number of users. Every user's
            attentiveness is then computed from all the user's votes, given the globals; objective and standard errors
            are those of the sample.

    Returns:
        the fit; look at `status` and `notes`.

    Raises:
        InputError: the log has ties and the model none, or lacks a column that the model looks at.
        EarnestError: an argument is not what it should be.

    Reference: model.md, section 5; Dempster, Laird and Rubin (1977), JRSS B 39.
    """
    if not isinstance(model, BehaviorModel):
        raise EarnestError(f"fit_em(model=...): expected a BehaviorModel, got {model!r}")
    pair = tuple(user_prior) if isinstance(user_prior, list) else user_prior
    settings = Settings(
        method, objective, max_iterations, tolerance, accelerate, pair, level, seed, progress, globals_from
    )
    if not isinstance(log, ComparisonLog):
        raise EarnestError(f"fit_em(log=...): expected a log from read_comparisons, got {type(log).__name__}")
    counts = model.count(log)
    return fit_counts(model, counts, log, settings, restarts, start)


def fit_counts(
    model: BehaviorModel,
    counts: Counts,
    log: ComparisonLog,
    settings: Settings,
    restarts: bool,
    start: dict[str, Any] | None,
) -> Fit:
    """Fit counts of a log; see `fit_em`, whose arguments these are."""
    schema = counts.cells.schema
    if len(counts.count) == 0:
        raise InputError(f"{log.source}: the log has no comparisons")
    if settings.method == "label":
        _check_label(model, schema)
    model = model.prepare(counts)
    _check_pooled(model, schema, settings)
    work = None if model.crossed is None else copies(model.crossed, counts)
    counts, effects = detached(model, counts)
    schema = counts.cells.schema
    table = model.table(schema)
    points = starting_points(model, table)
    if start is not None:
        first = dict(table.unpack(NUMPY, points[0]))
        unknown = [name for name in start if name not in first]
        if unknown:
            raise EarnestError(f"start: the model has no parameter {unknown[0]!r}; it has {', '.join(first)}")
        points = [table.pack({**first, **start})]
    if not restarts:
        points = points[:1]
    patterns = None
    if settings.globals_from != "auto" and (work is not None or settings.method != "marginal"):
        what = "label EM" if settings.method != "marginal" else "a model with effects of items"
        raise EarnestError(f"globals_from={settings.globals_from!r}: {what} takes all users; leave it out")
    if work is None and settings.method == "marginal":
        patterns = patterns_of(counts)
        ascent, normal, modes, notes = _fit_sampled(model, counts, patterns, points, settings)
    else:
        work = work or workload(counts, dense=False)
        engine = _fit_marginal if settings.method == "marginal" else _fit_label
        ascent, normal, modes, notes = engine(model, work, points, settings)
    if effects is not None and model.crossed is not None:
        mean, sd = effects_at(model.crossed, table, ascent.free)
        effects = replace(effects, mean=mean, sd=sd)
        counts, ascent = known(model.crossed, counts, effects), replace(ascent, free=ascent.free[: table.size])
        notes = [*notes, _BOUND]
    fit = Fit(
        model=model,
        schema=schema,
        counts=counts,
        method=settings.method,
        objective=settings.objective,
        free=ascent.free,
        covariance=normal.covariance,
        centre=normal.centre,
        spread=normal.spread,
        attentiveness=pd.DataFrame(),  # filled in below: scoring needs the fit
        objective_trace=np.array(ascent.trace),
        status=ascent.status,
        iterations=max(len(ascent.trace) - 1, 0),
        modes=modes,
        level=settings.level,
        columns=dict(log.mapping),
        notes=(*log.notes, *gold_notes(model.gold, log, counts.users), *notes),
        fingerprint=log.fingerprint(),
        user_prior=settings.user_prior,
        seed=settings.seed,
        outcomes=log.outcomes,
        effects=effects,
    )
    _say(settings, "users' intervals", 0, ascent.trace[-1] if ascent.trace else np.nan)
    fit = replace(fit, notes=(*fit.notes, *_boundary_notes(fit)))
    return replace(fit, attentiveness=estimate(fit, counts, by_pair=False, draws=DRAWS, patterns=patterns))


def _fit_sampled(
    model: BehaviorModel, counts: Counts, patterns: Patterns, points: list[np.ndarray], settings: Settings
) -> tuple[Ascent, _Normal, tuple[Mode, ...], list[str]]:
    """Marginal EM on all users, or on as many of a long log's as it takes."""
    blind = model.table(counts.cells.schema).size > _MOST_GLOBALS
    sample = first_sample(counts, len(patterns), settings.globals_from, settings.seed, blind)
    if sample is not None and blind:
        settings = replace(settings, tolerance=max(settings.tolerance, _BLIND_TOLERANCE))
    if sample is None:
        return _fit_marginal(model, workload(counts, patterns=patterns), points, settings)
    while True:
        ascent, normal, modes, notes = _fit_marginal(model, workload(sample.counts), points, settings)
        error = shift(Globals(model, ascent.free, normal.centre, normal.spread, settings.seed), sample)
        if sample.asked or error <= ERROR or (np.isnan(error) and grown(sample)):
            break
        # Where the smaller sample led; its other modes stay behind.
        sample, points = larger(counts, sample, error), [ascent.free]
        if sample is None:
            return _fit_marginal(model, workload(counts, patterns=patterns), points, settings)
    note = (_SAMPLED_BLINDLY if np.isnan(error) else _SAMPLED).format(m=sample.size, n=sample.total, error=error)
    return ascent, normal, modes, [note, *notes]


def _check_label(model: BehaviorModel, schema: Schema) -> None:
    """Label EM knows no more of a user than one attentiveness, the same in all comparisons."""
    if model.crossed is not None:
        raise EarnestError(
            f"method='label' has a free attentiveness of every user and would need a free {model.crossed.effect} of "
            "every item besides, which soak up careless votes; fit with method='marginal'"
        )
    for component in model.components:
        kinds = isinstance(component, Preference | Casual) and component.kinds(schema)
        covariates = "'s covariates" if getattr(component, "slopes", ()) else ""
        if getattr(component, "signed", False) or isinstance(component, Attention) or kinds or covariates:
            raise EarnestError(
                "method='label' estimates one attentiveness a user and knows nothing of "
                f"{type(component).__name__}{covariates}; "
                "fit with method='marginal'"
            )


def _check_pooled(model: BehaviorModel, schema: Schema, settings: Settings) -> None:
    """A pooled scale is that of a prior, and is not maximised together with what it pools."""
    shared = () if model.crossed is None else (model.crossed.scale.name,)
    scales = [scale for scale in model.table(schema).pooled.values() if scale not in shared]
    how = [("method='label'", settings.method == "label"), ("objective='ml'", settings.objective == "ml")]
    how += [("a model with effects of items", bool(shared))]
    for said in [words for words, is_so in how if is_so and scales]:
        raise EarnestError(
            f"{said} cannot estimate {scales[0]}, the scale of a prior: give it (category_scale=0.5), or fit "
            "with method='marginal', objective='map' and no effects of items, or sample with init='prior'"
        )


def _fit_marginal(
    model: BehaviorModel, work: Workload, points: list[np.ndarray], settings: Settings
) -> tuple[Ascent, _Normal, tuple[Mode, ...], list[str]]:
    em = _engine(model, work, settings.objective == "map")
    few = scouts(work.counts, settings.seed) if len(points) > 1 and model.crossed is None else None
    if few is None:
        groups = _scout(em, work, points, settings)
    else:
        there = workload(few)
        found = _scout(_engine(model, there, settings.objective == "map"), there, points, settings)
        groups = [(Ascent(ascent.free), starts) for ascent, starts in found]
    final = _finally(em, groups[0][0], settings)
    if final.status == "non_finite":
        covariance = np.full((em.table.size,) * 2, np.nan)
        return (
            final,
            _Normal(covariance, em.placed(final.free)[0], covariance),
            (),
            ["the objective is not finite: some vote has probability 0"],
        )
    rested = True
    if em.pooled:
        # What scouts found at one scale begins again at the scale that the best of them says.
        rested, at = _settle(em, final, settings)
        groups = [(Ascent(em.pooled.moved(scout.free, at)), starts) for scout, starts in groups]
        final = _finally(em, groups[0][0], settings)
    followed = [(_other(em, work, scout, final, settings), starts) for scout, starts in groups[1:]]
    others = [(run, starts) for run, starts in followed if run is not None]
    joined = groups[0][1] + sum(starts for run, starts in followed if run is None)
    runs = sorted([(final, joined), *others], key=lambda run: -_height(run[0]))
    if runs[0][0] is not final:
        # A mode that lay behind has overtaken.
        final = _finally(em, runs[0][0], settings)
        if em.pooled:
            rested, at = _settle(em, final, settings)
            final = _finally(em, Ascent(em.pooled.moved(final.free, at)), settings)
        runs[0] = (final, runs[0][1])
    (final, starts), others = runs[0], runs[1:]
    own = em.table.size  # before the effects of items, where there are any
    final = replace(final, free=np.concatenate([canonical(model, work, final.free[:own]), final.free[own:]]))
    if many := own > _MOST_GLOBALS:
        curvature = np.full((own, own), np.nan)
    else:
        _say(settings, "curvature", len(final.trace), final.trace[-1])
        final, curvature = em.finish(final)
    centre, centre_curvature = em.laplace(final.free, curvature)
    table = model.table(work.problem.cells.schema)
    spread, _ = _covariance(table, centre_curvature, em.pooled, centre)
    covariance, notes = _covariance(table, curvature, em.pooled, final.free[:own])
    notes = [_TOO_MANY.format(n=own)] if many else notes
    if model.crossed is not None:
        # A bound leans towards small scales: its curvature says how sharp the bound is, not where the scale lies.
        own_scale = table.slices[model.crossed.scale.name]
        for matrix in (covariance, spread):
            matrix[own_scale, :] = matrix[:, own_scale] = np.nan
        notes.append(_NO_INTERVAL.format(scale=model.crossed.scale.name))
    notes += [_POOLED.format(scale=scale) for scale in em.pooled.scale_of.values()]
    notes += [_RESTLESS.format(scale=scale) for scale in em.pooled.scale_of.values() if not rested]
    modes = modes_of(em, work, final, starts, others)
    if len(modes) > 1:
        notes.append(
            f"{len(modes)} modes found; the best is {modes[0].objective - modes[1].objective:.1f} nats above the next, "
            f"whose ranking of users correlates {modes[1].rank_correlation:+.2f} with it"
        )
    if final.status != "converged":
        notes.append(f"EM ended with status {final.status!r} after {len(final.trace) - 1} iterations")
    return final, _Normal(covariance, centre, spread), modes, notes


def _engine(model: BehaviorModel, work: Workload, prior: bool) -> MarginalEM:
    """EM of the marginal likelihood; where users share effects, of a lower bound of it."""
    if model.crossed is None:
        return MarginalEM(model, work.problem, prior)
    n = int(np.max(work.counts.cells[model.crossed.column])) + 1
    return CrossedEM(model, work.problem, prior, n_items=n)


def _scout(em: MarginalEM, work: Workload, points: list[np.ndarray], settings: Settings) -> list[tuple[Ascent, int]]:
    """Where the starting points lead, best first, with the number of starts that went there.

    After a few iterations starts that have met go on as one.
    """
    groups = [(Ascent(em.extended(point)), 1) for point in points]
    for limit, reach in _SCOUT_ROUNDS if len(points) > 1 else ():
        runs = []
        for number, (ascent, starts) in enumerate(groups):
            stage = f"start {number + 1} of {len(groups)}"
            runs.append((_continued(em, ascent, settings, stage, limit, _SCOUT_TOLERANCE), starts))
        groups = merged(em, work, runs, reach)
    return groups


def _height(ascent: Ascent) -> float:
    """Objective at the end of an ascent; minus infinity if it failed."""
    return ascent.trace[-1] if ascent.trace and ascent.status != "non_finite" else -np.inf


def _continued(em: MarginalEM, ascent: Ascent, settings: Settings, stage: str, limit: int, tolerance: float) -> Ascent:
    """More EM iterations from where an ascent stands; the traces are joined."""
    more = em.run(ascent.free, limit, tolerance, settings.accelerate, settings.reporter(stage))
    return replace(more, trace=[*ascent.trace[:-1], *more.trace])


def _other(em: MarginalEM, work: Workload, scout: Ascent, final: Ascent, settings: Settings) -> Ascent | None:
    """Where another scout leads; None if that is where the best one led, as is often seen long before its end."""
    run = scout
    for _ in range(_LEGS):
        run = _continued(em, run, settings, "another mode", _LEG, 1e-4)
        if met(em, work, run, final, _SCOUT_ROUNDS[-1][1]):
            return None
        if run.status != "iteration_limit":
            break
    return run


def _settle(em: MarginalEM, final: Ascent, settings: Settings) -> tuple[bool, np.ndarray]:
    """Whether pooled scales came to rest, and free coordinates there, (size,)."""
    _say(settings, "pooled scale", len(final.trace), final.trace[-1])
    settled = em.settled(final.free)
    return settled.converged, settled.free


def _finally(em: MarginalEM, ascent: Ascent, settings: Settings) -> Ascent:
    """EM to its end."""
    return _continued(em, ascent, settings, "EM", settings.max_iterations, max(settings.tolerance, 1e-5))


def _fit_label(
    model: BehaviorModel, work: Workload, points: list[np.ndarray], settings: Settings
) -> tuple[Ascent, _Normal, tuple[Mode, ...], list[str]]:
    em = LabelEM(model, work.problem, settings.objective == "map", settings.user_prior)
    best = em.run(points[0], settings.max_iterations, settings.tolerance, settings.reporter("EM"))
    reached = [best]
    for number, point in enumerate(points[1:], 2):
        if model.table(work.problem.cells.schema).size == 0:
            break
        other = em.run(
            point, settings.max_iterations, settings.tolerance,
            settings.reporter(f"start {number} of {len(points)}"),
        )  # fmt: skip
        reached.append(other)
    finite = [run for run in reached if run.trace and run.status != "non_finite"]
    size = best.free.size
    unknown = _Normal(*(np.full(shape, np.nan) for shape in ((size, size), size, (size, size))))
    if not finite:
        return best, unknown, (), ["the objective is not finite"]
    best = max(finite, key=lambda run: run.trace[-1])
    notes = [] if best.status == "converged" else [f"EM ended with status {best.status!r}"]
    if size:
        notes.append("label EM gives no standard errors of the globals: it has one parameter for each user")
    best = replace(best, free=canonical(model, work, best.free))
    modes = label_modes(model, work, best, finite, settings.user_prior)
    return best, replace(unknown, centre=best.free), modes, notes


def _covariance(
    table: Any, curvature: np.ndarray, pooled: Pooled, free: np.ndarray
) -> tuple[np.ndarray, list[str]]:  # fmt: skip
    """Inverse observed information; directions that the objective leaves flat are given infinite variance as NaN.

    Args:
        table: all unknowns.
        curvature: Hessian of the objective, (size, size).
        pooled: scales of pooled parameters, in whose units flatness is judged; on their boundary they and what they
            pool have no variance.
        free: where the Hessian is that of, (size,).
    """
    if curvature.size == 0:
        return curvature, []
    if not np.all(np.isfinite(curvature)):
        return np.full_like(curvature, np.nan), ["standard errors unknown: the observed information is not finite"]
    there = ~pooled.at_zero(free)
    kept, unit = np.ix_(there, there), pooled.unit(free)[there]
    eigenvalues, vectors = np.linalg.eigh(-curvature[kept] * np.outer(unit, unit))
    flat = eigenvalues < 1e-6 * max(1.0, float(eigenvalues.max()) * 1e-3)
    covariance = np.full_like(curvature, np.nan)
    covariance[kept] = (vectors[:, ~flat] / eigenvalues[~flat]) @ vectors[:, ~flat].T * np.outer(unit, unit)
    if not flat.any():
        return covariance, []
    loaded = np.zeros(len(free), dtype=bool)
    loaded[there] = np.max(np.abs(vectors[:, flat]), axis=1) > 0.05
    covariance[loaded, :] = np.nan
    covariance[:, loaded] = np.nan
    names = [name for name, where in table.slices.items() if loaded[where].any()]
    note = (
        f"the data leave {int(flat.sum())} direction(s) flat: no standard errors for {', '.join(names)}, and users' "
        "intervals leave their uncertainty out"
    )
    return covariance, [note]


def _boundary_notes(fit: Fit) -> list[str]:
    notes, pooled = [], fit.table.pooled.values()
    for parameter in fit.table.parameters:
        there = np.flatnonzero(fit.parameter_status[parameter.name] == "boundary")
        if len(there):
            names = fit.table.entries(parameter)
            at = [" ".join(names[i]) for i in there] if parameter.dims else []
            where = f" ({', '.join(at[:5])}{', ...' if len(at) > 5 else ''})" if at else ""
            notes.append(
                f"{parameter.name}{where} lies on its boundary: its standard error is not defined there and is NaN"
            )
            if isinstance(parameter.prior, HalfNormal) and parameter.name not in pooled and fit.objective == "map":
                notes[-1] += "; a prior that vanishes there, such as LogNormal(0, 0.75), keeps its estimate off it"
    return notes


def _say(settings: Settings, stage: str, iteration: int, objective: float) -> None:
    if settings.progress is not None:
        settings.progress(stage, iteration, objective)
