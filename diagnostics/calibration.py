"""Is the posterior the posterior? Simulation-based calibration of a model, its sampler and its simulator together.

One replication: parameters are drawn from the prior, a log from the generative story, and the posterior given that log.
If all three belong together, the rank of each true value among L independent posterior draws is uniform on 0 .. L.
Ranks of parameters alone cannot tell a posterior from the prior, so the joint log-likelihood of the votes at the truth
is ranked among that at the draws as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.errors import EarnestError, check_whole
from ..inference.arrays import float64
from ..inference.compiled import check_priors
from ..inference.packages import installed
from ..inference.ranks import rank_correlation
from ..models.behavior import BehaviorModel
from .calibration_logs import Design, tell
from .calibration_machines import LEVEL, USERS_EACH, Machine, replicate, settled_for
from .calibration_results import Results
from .calibration_words import reading, verdict
from .ecdf import RANKED, bands, uniformity

__all__ = ["Calibration", "calibrate"]

Progress = Callable[[str, int, int], None]

_LEAST = 20  # replications: of fewer, a band is as wide as the plot
_PROBES = 3


@dataclass(frozen=True)
class Calibration:
    """How a posterior's ranks lie to those of a right one.

    Attributes:
        table: one row a quantity: quantity, replications, deviation (of the ranks' distribution function, largest,
            signed), excursion (in units of the band's half-width there: above 1 is outside), inside, p (share of
            uniform samples that stray as far), shift and spread (of the ranks, in standard errors), correlation
            (Spearman's, of posterior mean and truth over the replications), reading ("right", "too narrow", "too wide",
            "too low", "too high", "turned round", "of another shape"; of the joint log-likelihood "the truth fits
            worse" and "the draws fit worse").
        ranks: of the truth among 99 draws, one row a replication, one column a quantity, 0 .. 99.
        coverage: of EM's own 90 % intervals: quantity, intervals (how many there were), missing, covered (share that
            hold the truth), standard_error, enough (not fewer than chance explains); None under method "sample".
        runs: how each replication's draws were made, one row a replication.
        level: simultaneous level of each quantity's band: 1 - error / number of quantities (and of EM's intervals).
        good: every quantity is inside its band, and EM's intervals hold what they should.
        verdict: all of it in words.
        design: what was asked for.
    """

    table: pd.DataFrame
    ranks: pd.DataFrame
    coverage: pd.DataFrame | None
    runs: pd.DataFrame
    level: float
    good: bool
    verdict: str
    design: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return f"<Calibration: {self.verdict}>"

    @property
    def bands(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the simultaneous band of every quantity's ECDF at k / 100, k = 1 .. 99, (99,) each."""
        return bands(len(self.ranks), self.level)


@float64
def calibrate(
    model: BehaviorModel,
    *,
    users: int = 50,
    comparisons: int = 8,
    models: int = 3,
    replications: int = 100,
    truth: BehaviorModel | None = None,
    method: str = "sample",
    seed: int = 0,
    error: float = 0.01,
    results: str | Path | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Simulation-based calibration.

    Args:
        model: the declaration whose posterior is judged; components of one's own included.
        users: of each log.
        comparisons: votes of each user.
        models: in each log. Who is shown what is drawn once, so that one compilation serves all logs.
        replications: logs. 100 notice a posterior shifted by half its standard deviation about every second time.
        truth: the declaration from whose prior and story the logs come; by default the model itself. Another one shows
            what a fault in the model does. Parameters that only one of them has are not ranked.
        method: "sample" (NUTS over the marginal form, a chain a log) or "em" (the normal approximation around an EM fit
            in the place of the posterior, and the coverage of EM's own intervals).
        seed: of all randomness. A replication does not depend on how many there are.
        error: chance that a right posterior is called wrong, over all quantities together.
        results: a file (JSON lines) in which replications are kept; if it exists the run goes on where it ended.
        progress: called with (stage, done, total).

    Returns:
        the ranks against their bands, and a verdict.

    Raises:
        EarnestError: an argument is not what it should be, the model needs what the simulator cannot draw, a value of
            the truth has no density under the model, or `results` holds replications of another design.

    Reference: Talts et al. (2018), arXiv:1804.06788; Modrak et al. (2023), Bayesian Analysis 20 (the joint
    log-likelihood); Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing 32 (the bands).
    """
    _check(replications, seed, error, method)
    design = Design(users, comparisons, models)
    told_by = model if truth is None else settled_for(truth, design, "truth")
    say = progress or (lambda stage, done, total: None)
    machine = _machine(method, model, design)
    _check_pair(model, told_by)
    asked = {
        "model": model.to_toml(), "truth": told_by.to_toml(), "users": users, "comparisons": comparisons,
        "models": models, "method": method, "seed": seed,
    }  # fmt: skip
    say("compiling", 0, 0)
    kept = Results(results, asked, lambda: _probe(machine, told_by, seed))
    for number in range(replications):
        if number not in kept.lines:
            kept.keep(number, replicate(machine, told_by, [seed, number]))
        say("replications", number + 1, replications)
    lines = [kept.lines[number] for number in range(replications)]
    return _judged(lines, machine.labels(), error, asked | {"error": error, "replications": replications})


def _check(replications: int, seed: int, error: float, method: str) -> None:
    for name, value, least in (("replications", replications, _LEAST), ("seed", seed, 0)):
        check_whole(name, value, least)
    if isinstance(error, bool) or not isinstance(error, int | float) or not 0 < error < 1:
        raise EarnestError(f"error={error!r}: expected a probability between 0 and 1")
    if method not in ("sample", "em"):
        raise EarnestError(f"method={method!r}: expected 'sample' or 'em'")
    if method == "sample" and (missing := [n for n in ("numpyro", "arviz_stats") if not installed(n)]):
        raise EarnestError(
            f"method='sample' needs {' and '.join(missing)}, not installed here: pip install 'earnest[numpyro]'; "
            "method='em' needs nothing more"
        )


def _machine(method: str, model: BehaviorModel, design: Design) -> Machine:
    model = settled_for(model, design, "model")
    table = model.table(design.schema(model))
    if table.size == 0:
        raise EarnestError("model: none of its components has an unknown parameter, so there is nothing to calibrate")
    if method == "sample":
        check_priors(table, "NumPyro")
        from .calibration_chains import Chain

        return Chain(model, design)
    from .calibration_em import Approximation

    return Approximation(model, design)


def _check_pair(model: BehaviorModel, truth: BehaviorModel) -> None:
    if truth.preference.allows_ties and not model.preference.allows_ties:
        raise EarnestError(
            "truth: its logs have ties, and the model none; give the model's preference a tie rule, or the truth's none"
        )


def _probe(machine: Machine, truth: BehaviorModel, seed: int) -> dict[str, list[float]]:
    """Numbers that change when the code of a component does: densities of the model, outcomes of the truth."""
    told = [tell(truth, machine.design, [seed, number, 0]) for number in range(_PROBES)]
    rng = np.random.default_rng(0)
    draws = [machine.table.sample_prior(rng) for _ in range(RANKED + 1)]  # as many as are ranked: one compilation
    values = {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
    machine = machine.of(told[0])
    density = machine.log_likelihood(values, machine.count(told[0].outcome))[:_PROBES]
    prior = [float(machine.table.log_prior(np, draw)) for draw in draws[:_PROBES]]
    return {
        "model": [float(f"{x:.10g}") for x in (*density, *prior)],
        "truth": [float(zlib.crc32(one.outcome.astype(np.int8).tobytes())) for one in told],
    }


def _judged(lines: list[dict[str, Any]], labels: dict[str, str], error: float, asked: dict[str, Any]) -> Calibration:
    known = list(lines[0]["ranks"])
    name = {label: labels.get(label, label) for label in known}
    ranks = pd.DataFrame([line["ranks"] for line in lines])[known].rename(columns=name)
    level = 1 - error / (len(known) + len(lines[0].get("covered", ())))
    rows = []
    for label in known:
        seen = uniformity(ranks[name[label]].to_numpy(), level)
        pairs = np.array([(line["mean"][label], line["true"][label]) for line in lines])
        row = {
            "quantity": name[label],
            "replications": len(lines),
            **vars(seen),
            "correlation": rank_correlation(*pairs.T),
        }
        rows.append(row | {"reading": reading(row)})
    table = pd.DataFrame(rows)
    coverage = _coverage(lines, labels, 1 - level) if "covered" in lines[0] else None
    aside = ("ranks", "true", "mean", "covered")
    runs = pd.DataFrame([{k: v for k, v in line.items() if k not in aside} for line in lines])
    said = verdict(table, coverage, runs, level, asked)
    good = bool(table["inside"].all() and (coverage is None or coverage["enough"].all()))
    return Calibration(table, ranks, coverage, runs, level, good, said, asked)


def _coverage(lines: list[dict[str, Any]], labels: dict[str, str], error: float) -> pd.DataFrame:
    from scipy.stats import binom, norm

    rows = []
    for label in lines[0]["covered"]:
        held = np.array([np.nan if line["covered"][label] is None else line["covered"][label] for line in lines])
        known = held[np.isfinite(held)]
        share = float(known.mean()) if len(known) else float("nan")
        se = float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else float("nan")
        # A log's users share its parameters, so that only logs are independent.
        users = label == USERS_EACH
        p = (
            float(norm.cdf((share - LEVEL) / se))
            if users and se > 0
            else float(binom.cdf(known.sum(), len(known), LEVEL))
        )
        rows.append(
            {
                "quantity": labels.get(label, label),
                "intervals": len(known),
                "missing": len(held) - len(known),
                "covered": share,
                "standard_error": se,
                "enough": bool(p >= error),
            }
        )
    return pd.DataFrame(rows)
