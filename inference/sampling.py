"""`sample`: from a model and a log to the posterior, as an ArviZ DataTree."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from threadpoolctl import threadpool_limits

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError, check_whole
from ..comparisons.log import ComparisonLog
from ..models.behavior import BehaviorModel
from .arrays import float64
from .choice import MOST_EXPLICIT, choose
from .compiled import Form, Settled, Statement, check_priors, refuse_explicit, settle, values_at
from .fitting import fit_em
from .integration import SAMPLED
from .packages import installed, without_widgets
from .progress import ChainReport
from .results import Fit
from .starts import NEAR, Plan, plan_starts, user_starts, user_variance
from .trees import assemble

if TYPE_CHECKING:
    import xarray

__all__ = ["sample"]

Progress = Callable[[str, int, int], None]
_SCOUT_DRAWS = 50


@dataclass(frozen=True)
class Run:
    """What a backend gave.

    Attributes:
        values: of each chain {parameter: (draw, ...)} on the constrained scale, with `attentiveness` (draw, user) in
            the explicit form.
        stats: of each chain {statistic: (draw,)}.
        method: how chains ran, in words.
        starts: the name of the mode each chain started from.
        n_main: how many of them, the first, are chains of the answer; the others are scouts.
        seconds: what compiling took, and all iterations of all chains.
    """

    values: list[dict[str, np.ndarray]]
    stats: list[dict[str, np.ndarray]]
    method: str
    starts: list[str]
    n_main: int
    seconds: dict[str, float]


@float64
def sample(
    model: BehaviorModel,
    log: ComparisonLog,
    *,
    backend: str = "numpyro",
    latent: str = "auto",
    chains: int = 4,
    draws: int = 1000,
    tune: int = 1000,
    seed: int = 0,
    target_accept: float = 0.95,
    init: str = "modes",
    keep_users: str = "auto",
    predictive: int = 100,
    fit: Fit | None = None,
    progress: Progress | None = None,
) -> xarray.DataTree:
    """Sample the posterior of a behavioural model by NUTS.

    Args:
        model: the declaration.
        log: the comparisons.
        backend: "numpyro" or "pymc" (sampled by nutpie).
        latent: "marginal" (users' attentiveness integrated out, then drawn exactly given each draw of the globals),
            "explicit" (sampled like any other parameter), or "auto", which estimates what an effective draw costs in
            either form. Latents that are finite are summed out in both.
        chains: chains in the answer.
        draws: of each chain, after warm-up.
        tune: iterations of warm-up of each chain.
        seed: of all randomness: the same seed gives the same draws.
        target_accept: of the step-size adaptation. Weakly identified logs have long tails that larger steps leave.
        init: "modes": chains start dispersed over the modes that EM finds within 10 nats of the best one, and a short
            scout starts from each of the next two, to see whether it stays. "prior": from draws of the prior.
        keep_users: "draws" (attentiveness of every user at every draw), "summary" (mean, sd and 90 % interval, from
            128 of the draws or more), "none", or "auto": draws up to 50 million numbers, else the summary.
        predictive: prior and posterior predictive replicates of the votes, as far as they stay below 20 million counts.
        fit: an EM fit of the same model and log, to start from (else it is made).
        progress: called with (stage, done, total).

    Returns:
        a DataTree with the groups posterior (globals; `attentiveness` where draws are kept), sample_stats,
        log_likelihood (votes of each user, attentiveness integrated out: the unit of LOO is the user), prior,
        prior_predictive, posterior_predictive (votes of a new user in the place of each), observed_data,
        constant_data, and `users` where a summary was asked for. Its attributes hold the declaration, versions, seed,
        fingerprint of the log, why the form was chosen, the modes and what became of the scouts. Save it with
        `.to_netcdf(path)` or `.to_zarr(path)`.

    Raises:
        InputError: no comparisons, ties under a model without, a missing column.
        EarnestError: an argument is not what it should be, or the backend is not installed. Before anything compiles.

    Reference: model.md, section 6; Hoffman and Gelman (2014), JMLR 15.
    """
    _check(backend, latent, chains, draws, tune, seed, target_accept, init, keep_users, predictive)
    _require(backend)
    clock = time.perf_counter()
    say = progress or (lambda stage, done, total: None)
    settled = settle(model, log)
    if settled.table.size == 0:
        raise EarnestError(
            "model: none of its components has an unknown parameter, so there is nothing to sample; fit_em gives every "
            "user's exact posterior"
        )
    check_priors(settled.table, {"numpyro": "NumPyro", "pymc": "PyMC"}[backend])
    if latent == "explicit":
        refuse_explicit(settled)
        _check_size(settled, chains * (draws + tune))
    if fit is not None:
        _check_fit(fit, settled.model, log)
    elif init == "modes":
        fit = fit_em(model, log, progress=lambda stage, iteration, _: say(f"EM, {stage}", iteration, 0))
    rng = np.random.default_rng([seed, 1])
    plan = plan_starts(settled.table, fit if init == "modes" else None, chains, rng)
    marginal = settled.statement("marginal", [values_at(settled.table, z) for z in plan.tried], SAMPLED)
    choice = choose(marginal, chains * (draws + tune))
    form = choice.form if latent == "auto" else cast(Form, latent)
    statement = marginal if form == "marginal" else settled.statement(form)
    # Chains are the parallelism; threads of BLAS inside them wait for each other (a small eigenproblem took 16 ms, not
    # 0.3, on two busy cores).
    with threadpool_limits(1):
        run = _run(
            backend, statement, settled.counts, plan, fit if init == "modes" else None, draws, tune, seed,
            target_accept, say,
        )  # fmt: skip
    asked = latent != "auto" and not settled.summed
    why = f"{statement.form} form, as asked for" if asked else choice.reason
    tree = assemble(
        run, statement, marginal, settled.counts, log, fit, why, backend=backend, draws=draws, tune=tune, seed=seed,
        keep_users=keep_users, predictive=predictive, init=init, near=NEAR, target_accept=target_accept, say=say,
    )  # fmt: skip
    tree.attrs["seconds"] = json.dumps({**run.seconds, "all": round(time.perf_counter() - clock, 2)})
    return tree


def _run(
    backend: str, statement: Statement, counts: Counts, plan: Plan, fit: Fit | None, draws: int, tune: int, seed: int,
    target_accept: float, say: Progress,
) -> Run:  # fmt: skip
    clock = time.perf_counter()
    starts = [*plan.main, *plan.scouts]
    points = [values_at(statement.table, z) for z, _ in starts]
    stacked = {name: np.stack([point[name] for point in points]) for name in points[0]}
    users = user_starts(statement, counts, stacked, seed, fitted=fit is not None)
    values = [{**point, **latent} for point, latent in zip(points, users, strict=True)]
    names = [name for _, name in starts]
    lengths = [draws] * len(plan.main) + [_SCOUT_DRAWS] * len(plan.scouts)

    def report(r: ChainReport) -> None:
        after = f", {r.divergences} divergences" if r.divergences else ""
        say(f"chain {r.chain + 1} of {len(starts)}, {r.stage}{after}", r.done, r.total)

    say("compiling", 0, 0)
    if backend == "numpyro":
        with without_widgets():
            from .in_numpyro import run_numpyro

        by_chain, stats, method, compiling = run_numpyro(
            statement, values, [values_at(statement.table, z) for z in plan.cloud], user_variance(statement, fit),
            chain_draws=lengths, tune=tune, seed=seed, target_accept=target_accept, report=report,
        )  # fmt: skip
    else:
        from .in_pymc import compile_pymc, run_pymc

        compiled = compile_pymc(statement)
        compiling = time.perf_counter() - clock
        by_chain, stats, method = run_pymc(
            compiled, values, chain_draws=lengths, tune=tune, seed=seed, target_accept=target_accept, report=report
        )
    return Run(by_chain, stats, method, names, len(plan.main), _seconds(clock, compiling))


def _seconds(start: float, compiling: float) -> dict[str, float]:
    return {"compiling": round(compiling, 2), "sampling": round(time.perf_counter() - start - compiling, 2)}


def _check(
    backend: str, latent: str, chains: int, draws: int, tune: int, seed: int, target_accept: float, init: str,
    keep_users: str, predictive: int,
) -> None:  # fmt: skip
    words: Sequence[tuple[str, Any, tuple[str, ...]]] = (
        ("backend", backend, ("numpyro", "pymc")),
        ("latent", latent, ("auto", "marginal", "explicit")),
        ("init", init, ("modes", "prior")),
        ("keep_users", keep_users, ("auto", "draws", "summary", "none")),
    )
    for name, value, allowed in words:
        if value not in allowed:
            raise EarnestError(f"{name}={value!r}: expected {' or '.join(repr(word) for word in allowed)}")
    numbers = (("chains", chains, 1), ("draws", draws, 4), ("tune", tune, 20), ("seed", seed, 0),
               ("predictive", predictive, 0))  # fmt: skip
    for name, number, least in numbers:
        check_whole(name, number, least)
    if not isinstance(target_accept, int | float) or not 0 < target_accept < 1:
        raise EarnestError(f"target_accept={target_accept!r}: expected a number between 0 and 1")


def _check_size(settled: Settled, iterations: int) -> None:
    users = len(settled.counts.users)
    size = iterations * users
    if size > MOST_EXPLICIT and not settled.summed:
        raise EarnestError(
            f"latent='explicit': {iterations:,} iterations of {users:,} users' attentiveness are {size:,} numbers in "
            f"memory ({size * 24 / 2**30:.0f} GiB); at most {MOST_EXPLICIT:,}. Use latent='marginal' "
            "(keep_users='summary' then needs no more than the summary), or fewer draws"
        )


def _require(backend: str) -> None:
    needed = {"numpyro": ("numpyro", "arviz_base"), "pymc": ("pymc", "nutpie", "arviz_base")}[backend]
    missing = [name for name in needed if not installed(name)]
    if missing:
        raise EarnestError(
            f"backend={backend!r} needs {' and '.join(missing)}, not installed here: pip install 'earnest[{backend}]'"
        )


def _check_fit(fit: Fit, model: BehaviorModel, log: ComparisonLog) -> None:
    if fit.method != "marginal" or fit.objective != "map":
        raise EarnestError("fit: expected a fit by method='marginal' and objective='map', whose modes the chains share")
    if fit.model != model or fit.fingerprint != log.fingerprint():
        raise EarnestError("fit: it was made from another model or another log; leave it out, or fit this model again")
