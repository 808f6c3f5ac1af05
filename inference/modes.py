"""The several modes of the objective: which runs of EM met, and how the modes they reached differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..models.behavior import BehaviorModel
from ..models.namespace import NUMPY
from .ascent import Ascent
from .em import MarginalEM
from .label import best_attentiveness
from .ranks import rank_correlation
from .results import Mode
from .users import Workload, posterior_means

__all__ = ["canonical", "label_modes", "merged", "met", "modes_of"]


def label_modes(
    model: BehaviorModel, work: Workload, best: Ascent, runs: list[Ascent], user_prior: tuple[float, float]
) -> tuple[Mode, ...]:
    """The different ends of label EM, by objective, best first."""
    users = _users(work)

    def means(free: np.ndarray) -> np.ndarray:
        eta, _ = best_attentiveness(model, free, work.problem, user_prior)
        return np.asarray(work.layout.patterns(eta)[work.pattern_of_user])

    reference = means(best.free)
    modes: list[Mode] = []
    for run in sorted(runs, key=lambda run: -run.trace[-1]):
        known = [k for k, mode in enumerate(modes) if mode.objective - run.trace[-1] < 1e-6 * (1 + abs(run.trace[-1]))]
        if known:
            modes[known[-1]] = replace(modes[known[-1]], starts=modes[known[-1]].starts + 1)
            continue
        eta = means(run.free)
        correlation = rank_correlation(reference, eta, users) if modes else 1.0
        share = float(np.average(eta, weights=users))
        modes.append(Mode(run.trace[-1], values_of(model, work, run.free), correlation, share, 1))
    return tuple(modes)


def values_of(model: BehaviorModel, work: Workload, free: np.ndarray) -> dict[str, np.ndarray]:
    table = model.table(work.problem.cells.schema)
    return {name: np.asarray(value) for name, value in table.unpack(NUMPY, free).items()}


def canonical(model: BehaviorModel, work: Workload, free: np.ndarray) -> np.ndarray:
    """The same point with the population's labels in their fixed order."""
    values = values_of(model, work, free)
    ordered = {name: np.asarray(value) for name, value in model.canonical(values).items()}
    same = all(np.array_equal(ordered[name], values[name]) for name in values)
    return free if same else model.table(work.problem.cells.schema).pack(ordered)


def _users(work: Workload) -> np.ndarray | None:
    """How many users each of the counts' stands for, (user,); None: one."""
    return work.counts.multiplicity


def _distance(x: np.ndarray, y: np.ndarray, users: np.ndarray | None) -> float:
    """Root mean square over users of the difference of two ratings."""
    return float(np.sqrt(np.average((x - y) ** 2, weights=users)))


def _user_means(em: MarginalEM, work: Workload, free: np.ndarray) -> np.ndarray:
    own, problem = em.placed(free)
    return np.asarray(posterior_means(em.model, own, replace(work, problem=problem))[work.pattern_of_user])


def merged(em: MarginalEM, work: Workload, runs: list[tuple[Ascent, int]], reach: float) -> list[tuple[Ascent, int]]:
    """Runs whose users' attentiveness agrees within `reach` (root mean square) as one, best objective first."""
    usable = [(run, starts) for run, starts in runs if run.trace and np.isfinite(run.trace[-1])]
    if not usable:
        return runs[:1]
    groups: list[tuple[Ascent, int, np.ndarray]] = []
    for run, starts in sorted(usable, key=lambda pair: -pair[0].trace[-1]):
        means = _user_means(em, work, run.free)
        for k, (leader, n, led) in enumerate(groups):
            if _distance(means, led, _users(work)) < reach:
                groups[k] = (leader, n + starts, led)
                break
        else:
            groups.append((run, starts, means))
    return [(leader, n) for leader, n, _ in groups]


def met(em: MarginalEM, work: Workload, run: Ascent, best: Ascent, reach: float) -> bool:
    """Whether a run, no higher than the best, rates users as that does, within `reach` (root mean square)."""
    if not run.trace or not run.trace[-1] <= best.trace[-1]:
        return False
    return _distance(_user_means(em, work, run.free), _user_means(em, work, best.free), _users(work)) < reach


def modes_of(
    em: MarginalEM, work: Workload, best: Ascent, n_starts: int, others: list[tuple[Ascent, int]]
) -> tuple[Mode, ...]:
    """The modes that marginal EM reached, best first; runs that ended at the best one count as its starts."""
    reference, users = _user_means(em, work, best.free), _users(work)

    def share(means: np.ndarray) -> float:
        return float(np.average(means, weights=users))

    modes = [Mode(best.trace[-1], em.values(best.free), 1.0, share(reference), n_starts)]
    for other, starts in others:
        means = _user_means(em, work, other.free)
        near = _distance(means, reference, users) < 0.02
        if near and abs(other.trace[-1] - best.trace[-1]) < 1.0:
            modes[0] = replace(modes[0], starts=modes[0].starts + starts)
            continue
        values = em.values(other.free)
        correlation = rank_correlation(reference, means, users)
        modes.append(Mode(other.trace[-1], values, correlation, share(means), starts))
    return tuple(sorted(modes, key=lambda mode: -mode.objective))
