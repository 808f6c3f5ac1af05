"""The declaration as a PyMC model."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt

from ..comparisons.log import ComparisonLog
from ..models import priors
from ..models.behavior import BehaviorModel
from ..models.namespace import pytensor_namespace
from ..models.parameters import Parameter
from .bracket import Chances
from .compiled import LATENT, VOTES, Form, Statement, native_statement, no_counterpart
from .progress import ChainReport

__all__ = ["Compiled", "compile_pymc", "pymc_model", "run_pymc", "to_pymc"]

PT = pytensor_namespace()
_STATISTICS = {"diverging": "diverging", "energy": "energy", "logp": "lp", "n_steps": "n_steps", "depth": "tree_depth",
               "mean_tree_accept": "acceptance_rate", "step_size": "step_size"}  # fmt: skip
"""nutpie's names of statistics: ArviZ's."""


def to_pymc(model: BehaviorModel, log: ComparisonLog, latent: Form = "marginal") -> Any:
    """The declaration and a log as a PyMC model, to go on with.

    It is an ordinary `pm.Model`, for `pm.sample`, nutpie, `pm.find_MAP`, ADVI, `pm.compute_log_likelihood`, `pm.do`,
    `pm.model_to_graphviz`. Variables: the parameters by name; `votes`, the observed counts (unit, shown, outcome) of
    every user (or pattern of users with equal counts; its log-likelihood is then that of all its users); in the
    explicit form `attentiveness_logit` and the deterministic `attentiveness` (user).

    Args:
        model: the declaration.
        log: the comparisons.
        latent: "marginal" (users' latents integrated out) or "explicit".

    Returns:
        a `pm.Model`.

    Raises:
        InputError: the log does not suit the model.
        EarnestError: the explicit form of a model that tells kinds of users apart; they are summed out in the marginal.

    Reference: model.md, section 6.
    """
    return pymc_model(native_statement(model, log, latent, "PyMC"))


def pymc_model(statement: Statement) -> Any:
    """The PyMC model of a statement; see `to_pymc`."""
    with pm.Model(coords=statement.coords()) as native:
        values: dict[str, Any] = {}
        for p in statement.table.parameters:
            values[p.name] = _declare(p, statement.table.shape(p), values)
        chances = statement.chances(PT, values)
        if statement.form == "marginal":
            _marginal_votes(statement, chances, statement.rules(PT, values, chances))
        else:
            _conditional_votes(statement, chances, *_attention(statement, values, chances))
    return native


@dataclass(frozen=True)
class Compiled:
    """A PyMC model and nutpie's program of it."""

    native: Any
    program: Any


def compile_pymc(statement: Statement) -> Compiled:
    """Compile a statement for nutpie."""
    import nutpie

    native = pymc_model(statement)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Numba on operations that it leaves to Python
        return Compiled(native, nutpie.compile_pymc_model(native, backend="numba"))


def run_pymc(
    compiled: Compiled,
    starts: Sequence[Mapping[str, np.ndarray]],
    *,
    chain_draws: Sequence[int],
    tune: int,
    seed: int,
    target_accept: float,
    report: Callable[[ChainReport], None] | None = None,
) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]], str]:
    """Sample a PyMC model by nutpie.

    Each chain is a run of its own: nutpie decides by seeds which chain takes which start, and two may take the same.

    Args:
        compiled: the model.
        starts: values of its free variables on the constrained scale, one a chain.
        chain_draws: draws of each chain after warm-up.
        tune, seed, target_accept: as in `earnest.sample`.
        report: called from the chains' threads.

    Returns:
        of each chain {variable: (draw, ...)} and {statistic by ArviZ's name: (draw,)}; how chains ran, in words.
    """
    import nutpie

    points = _unconstrained(compiled.native, starts)
    seeds = np.random.SeedSequence(seed).generate_state(len(starts), np.uint64)
    running: list[Any] = []
    stop = Event()

    def run(number: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        if stop.is_set():
            raise CancelledError

        def follow(progress: Any) -> None:
            for chain in progress:
                if report is not None and chain.started:
                    stage = "warm-up" if chain.tuning else "sampling"
                    report(ChainReport(number, chain.finished_draws, chain.total_draws, stage, chain.divergences))

        program = dataclasses.replace(compiled.program, initial_point_func=lambda _: points[number])
        course: Any = nutpie.sample(
            program, draws=chain_draws[number], tune=tune, chains=1, cores=1, seed=int(seeds[number]),
            target_accept=target_accept, progress_bar=False, progress_callback=follow, progress_rate=500,
            save_warmup=False, blocking=False,
        )  # fmt: skip
        running.append(course)
        if stop.is_set():  # Ctrl-C came while this one was being set up
            course.cancel()
            raise CancelledError
        tree = course.wait()
        values = {str(name): np.asarray(tree.posterior[name])[0] for name in tree.posterior.data_vars}
        stats = {
            ours: np.asarray(tree.sample_stats[theirs])[0]
            for theirs, ours in _STATISTICS.items()
            if theirs in tree.sample_stats
        }
        return values, stats

    workers = max(min(len(starts), os.cpu_count() or 1), 1)
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # of Numba on operations that it leaves to Python
        futures = [pool.submit(run, number) for number in range(len(starts))]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:  # Ctrl-C, or one chain failed
            stop.set()
            for course in running:
                course.cancel()  # nutpie's own way would be to hand over the draws so far, as if they were all
            pool.shutdown(cancel_futures=True)
            raise
        answers = [future.result() for future in futures]
    method = f"{len(starts)} chains of nutpie on {workers} threads"
    return [values for values, _ in answers], [stats for _, stats in answers], method


def _unconstrained(native: Any, starts: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Starts as vectors of PyMC's value variables in the model's order, (start, size)."""
    inputs, outputs = {}, []
    for variable in native.free_RVs:
        given = pt.tensor(variable.name, dtype="float64", shape=variable.type.shape)
        transform = native.rvs_to_transforms[variable]
        inputs[variable] = given
        outputs.append(given if transform is None else transform.forward(given, *variable.owner.inputs))
    # A transform may rest on another variable, a scale: it is then at its own start, too.
    outputs = pytensor.graph.replace.graph_replace(outputs, inputs, strict=False)
    function = pytensor.function(list(inputs.values()), outputs, on_unused_input="ignore")
    names = [variable.name for variable in native.free_RVs]
    answers = [function(*(np.asarray(start[name], dtype=float) for name in names)) for start in starts]
    return np.array([np.concatenate([np.ravel(part) for part in answer]) for answer in answers])


def _marginal_votes(statement: Statement, chances: Chances, rules: list[tuple[Any, Any, Any]]) -> None:
    """Votes of units whose latent is integrated out; batch (unit,), support (shown, outcome)."""
    flat = _Flat.of(chances)

    def logp(value: Any, *parts: Any) -> Any:
        given, rules = flat.back(parts)
        each = statement.log_marginal(PT, given, _threes(rules), _known(value))
        return each * statement.tally.multiplicity if statement.tally.merged else each

    def random(*parts: Any, rng: np.random.Generator, size: Any) -> np.ndarray:
        given, rules = flat.back(parts)
        return statement.simulate(rng, given, *statement.draw_latent(rng, _threes(rules)))

    # With kinds of users there are more weights than nodes.
    nodes = ",".join(f"(w{i}),(k{i}),(k{i})" for i in range(len(rules)))
    parts = [part for rule in rules for part in rule]
    _votes(statement, [*flat.arrays, *parts], logp, random, f"{flat.signature},{nodes}->(s,o)", "MarginalVotes")


def _conditional_votes(statement: Statement, chances: Chances, a: Any, rest: Any) -> None:
    """Votes of users given their attentiveness; batch (user,), support (shown, outcome)."""
    flat = _Flat.of(chances)

    def logp(value: Any, *parts: Any) -> Any:
        given, _ = flat.back(parts[:-2])
        return statement.log_conditional(PT, given, parts[-2], parts[-1], _known(value))

    def random(*parts: Any, rng: np.random.Generator, size: Any) -> np.ndarray:
        given, _ = flat.back(parts[:-2])
        return statement.simulate(rng, given, parts[-2], parts[-1], np.zeros(len(parts[-1]), dtype=int))

    signature = f"{flat.signature},(),()->(s,o)"
    _votes(statement, [*flat.arrays, a, rest], logp, random, signature, "ConditionalVotes")


@dataclass(frozen=True)
class _Flat:
    """`Chances` as a list of inputs of a distribution, and back."""

    arrays: list[Any]
    odds: bool
    by_kind: bool
    chained: bool
    scaled: bool

    @classmethod
    def of(cls, chances: Chances) -> _Flat:
        shares = [chances.log_shares] if chances.by_kind else []
        stay = [] if chances.stay is None else [pt.as_tensor_variable(chances.stay)]
        scale = [] if chances.log_scale is None else [chances.log_scale]
        arrays = [chances.p, chances.c, *(chances.odds or ()), *stay, *scale, *shares]
        return cls(arrays, chances.odds is not None, chances.by_kind, bool(stay), bool(scale))

    @property
    def signature(self) -> str:
        cells, kinds = "(j,c)" if self.by_kind else "(c)", ["(r)"] * self.by_kind
        others = [*["(c)"] * 2 * self.odds, *["(z)"] * self.chained, *["(c)"] * self.scaled]
        return ",".join([cells, cells, *others, *kinds])

    def back(self, parts: Sequence[Any]) -> tuple[Chances, list[Any]]:
        """The same from what PyMC hands over, and what came after it."""
        n = len(self.arrays)
        p, c, *others = _once(parts[:n], [2 if self.by_kind else 1] * 2 + [1] * (n - 2))
        odds = (others[0], others[1]) if self.odds else None
        stay = others[2 * self.odds] if self.chained else None
        scale = others[2 * self.odds + self.chained] if self.scaled else None
        rest = parts[n:]
        shares = others[-1] if self.by_kind else None
        return Chances(p, c, odds, shares, stay=stay, log_scale=scale), _once(rest, [1] * len(rest))


def _votes(statement: Statement, inputs: list[Any], logp: Any, random: Any, signature: str, name: str) -> None:
    # What was shown and the outcomes' numbers are inputs too: PyMC reads the votes' shape off its inputs.
    tally = statement.tally
    pm.CustomDist(
        VOTES,
        tally.shown,
        np.arange(tally.count.shape[2]),
        *inputs,
        logp=lambda value, shown, outcomes, *given: logp(value, *given),
        random=lambda shown, outcomes, *given, rng, size: random(*given, rng=rng, size=size),
        signature=f"(s),(o),{signature}",
        observed=tally.count,
        dims=(statement.unit_dim, "shown", "outcome"),
        class_name=name,
    )


def _attention(statement: Statement, values: dict[str, Any], chances: Chances) -> tuple[Any, Any]:
    """The population of users, as its component declares it: attentiveness and its complement, (user,) each."""
    component = statement.model.attentiveness
    own = [p.name for p in component.parameters(statement.tally.schema)]

    def logp(value: Any, *given: Any) -> Any:
        return component.log_weights(PT, dict(zip(own, given, strict=True)), value)

    def random(*given: Any, rng: np.random.Generator, size: Any) -> np.ndarray:
        shape = tuple(int(n) for n in np.atleast_1d(size)) if size is not None else ()
        eta = component.sample(rng, dict(zip(own, given, strict=True)), int(np.prod(shape)))
        eta = np.clip(np.asarray(eta, dtype=float).reshape(shape), 1e-300, 1 - 1e-16)
        return np.asarray(np.log(eta) - np.log1p(-eta))

    cores = [f"({','.join(f'd{i}_{j}' for j in range(values[name].ndim))})" for i, name in enumerate(own)]
    logit = pm.CustomDist(
        LATENT,
        *(values[name] for name in own),
        logp=logp,
        random=random,
        support_point=lambda rv, size, *given: pt.zeros(rv.shape),
        signature=f"{','.join(cores)}->()",
        dims="user",
        class_name="Population",
    )
    a, rest = statement.attention(PT, values, logit)
    if chances.own is None:
        return pm.Deterministic("attentiveness", a, dims="user"), rest
    pm.Deterministic("attentiveness", statement.attentiveness(PT, values, logit, chances), dims="user")
    return a, rest


def _once(inputs: Sequence[Any], dims: Sequence[int]) -> list[Any]:
    """Inputs that all units share, without the axis of length 1 that PyMC gives them to match the units."""
    return [x[0] if x.ndim > n else x for x, n in zip(inputs, dims, strict=True)]


def _threes(parts: list[Any]) -> list[tuple[Any, Any, Any]]:
    return [(parts[i], parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3)]


def _known(value: Any) -> Any:
    """The array behind a constant, so that zero counts are left out when the graph is built."""
    return np.asarray(value.data) if isinstance(value, pt.TensorConstant) else value


class _InScale(pm.distributions.transforms.Transform):  # type: ignore[misc]  # PyMC has no types
    """Standard normal coordinates of Normal(0, scale): the scale and its effects are then independent."""

    name = "standard"

    def forward(self, value: Any, *inputs: Any) -> Any:
        return value / inputs[-1]

    def backward(self, value: Any, *inputs: Any) -> Any:
        return value * inputs[-1]

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return pt.zeros_like(value) + pt.log(inputs[-1])


class _ZeroSumInScale(pm.distributions.transforms.ZeroSumTransform):  # type: ignore[misc]  # PyMC has no types
    """The same of vectors that sum to zero; inputs of the distribution end in its scale and its shape."""

    name = "standard_zerosum"

    def forward(self, value: Any, *inputs: Any) -> Any:
        return super().forward(value / inputs[-2])

    def backward(self, value: Any, *inputs: Any) -> Any:
        return super().backward(value) * inputs[-2]

    def log_jac_det(self, value: Any, *inputs: Any) -> Any:
        return pt.sum(pt.zeros_like(value) + pt.log(inputs[-2]), axis=-1)


def _declare(parameter: Parameter, shape: tuple[int, ...], values: dict[str, Any]) -> Any:
    name, dims = parameter.name, parameter.dims or None
    if isinstance(parameter.prior, priors.HierarchicalNormal) and parameter.prior.zero_sum:
        scale = values[parameter.prior.scale]
        return pm.ZeroSumNormal(name, sigma=scale, dims=dims, default_transform=_ZeroSumInScale((-1,)))
    if isinstance(parameter.prior, priors.HierarchicalNormal):
        return pm.Normal(name, 0.0, values[parameter.prior.scale], dims=dims, default_transform=_InScale())
    # As NumPy's doubles: PyTensor takes a plain 2.0 for single precision, and its Beta function with it.
    numbers = {
        field.name: np.float64(getattr(parameter.prior, field.name)) for field in dataclasses.fields(parameter.prior)
    }
    prior = dataclasses.replace(parameter.prior, **numbers)
    match prior:
        case priors.Normal(loc, scale):
            return pm.Normal(name, loc, scale, dims=dims)
        case priors.HalfNormal(scale):
            return pm.HalfNormal(name, scale, dims=dims)
        case priors.LogNormal(loc, scale, 0.0):
            return pm.LogNormal(name, loc, scale, dims=dims)
        case priors.LogNormal(loc, scale, lower):
            return pm.CustomDist(
                name,
                loc,
                scale,
                dist=lambda loc, scale, size: lower + pm.LogNormal.dist(loc, scale, size=size),
                transform=pm.distributions.transforms.Interval(lower, None),
                dims=dims,
                class_name="ShiftedLogNormal",
            )
        case priors.Beta(a, b):
            return pm.Beta(name, a, b, dims=dims)
        case priors.Dirichlet(concentration):
            return pm.Dirichlet(name, np.full(shape, concentration), dims=dims)
        case priors.ZeroSumNormal(scale):
            return pm.ZeroSumNormal(name, sigma=scale, dims=dims)
    raise no_counterpart(parameter, "PyMC")
