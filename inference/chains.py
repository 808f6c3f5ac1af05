"""NUTS chains on JAX: NumPyro's kernel, run piece by piece so that chains share one compilation, report and can stop.

NumPyro's own `MCMC` compiles anew for each object and runs chains one after the other unless several devices were
declared before JAX started. Here each chain is a thread on a CPU (compiled code does not hold Python's lock), and on an
accelerator all chains advance together in one vectorised program.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from threading import Event
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import hmc

from .progress import ChainReport

__all__ = ["Chains", "run_chains"]

Mass = Mapping[tuple[str, ...], Any]

_PIECE = 50


@dataclass(frozen=True)
class Chains:
    """Draws after warm-up, chain by chain.

    Attributes:
        draws: {site: unconstrained values, (draw, ...)} of each chain.
        stats: {ArviZ name: (draw,)} of each chain.
        method: how chains ran, in words.
        compiling: seconds until the first iteration.
    """

    draws: list[dict[str, np.ndarray]]
    stats: list[dict[str, np.ndarray]]
    method: str
    compiling: float


def run_chains(
    potential: Callable[[Any, Any], Any],
    data: Any,
    starts: Sequence[Mapping[str, np.ndarray]],
    seeds: Sequence[int],
    *,
    tune: int,
    draws: Sequence[int],
    target_accept: float,
    blocks: list[tuple[str, ...]],
    inverse_mass: Mass | None = None,
    report: Callable[[ChainReport], None] | None = None,
    vectorised: bool | None = None,
) -> Chains:
    """Run one chain from each start.

    NumPyro's windows estimate a mass matrix from the first 25 draws, which costs trajectories of a thousand steps where
    there are many dimensions. So where a first guess is given, two thirds of the warm-up keep it, and the rest has it
    blended with the covariance of their draws; only the step size adapts all the way.

    Args:
        potential: (data, unconstrained values) -> minus the log-density, nats.
        data: handed to `potential`; arrays that are too large to be compiled in.
        starts: unconstrained values {site: array}, one a chain.
        seeds: one a chain; the same seeds give the same draws, however many chains run beside each other.
        tune: iterations of warm-up.
        draws: iterations after it, of each chain.
        target_accept: of the step-size adaptation.
        blocks: sites whose mass matrix is dense together; it is diagonal for the others.
        inverse_mass: first guess, {sites: matrix or diagonal}; None: the identity, adapted in NumPyro's windows.
        report: called from the chains' threads.
        vectorised: all chains in one program (default: on an accelerator).
    """
    clock = time.perf_counter()
    init, sample = hmc(potential_fn_gen=lambda data: lambda z: potential(data, z), algo="NUTS")
    adaptive = inverse_mass is None
    first = tune if adaptive else (2 * tune) // 3

    def begin(start: Any, key: Any, data: Any, mass: Any) -> Any:
        return init(
            start, first, dense_mass=blocks, target_accept_prob=target_accept, inverse_mass_matrix=mass,
            adapt_mass_matrix=adaptive, step_size=0.1 if adaptive else 0.5, model_args=(data,), rng_key=key,
        )  # fmt: skip

    def piece(state: Any, data: Any) -> tuple[Any, Any]:
        def step(state: Any, _: None) -> tuple[Any, Any]:
            state = sample(state, (data,), {})
            return state, (state.z, _stats(state))

        return jax.lax.scan(step, state, None, length=_PIECE)

    vectorised = jax.default_backend() != "cpu" if vectorised is None else vectorised
    lengths = list(draws)
    n = len(starts)
    begin = jax.jit(jax.vmap(begin, in_axes=(0, 0, None, 0)) if vectorised else begin)
    keys = [jax.random.split(jax.random.key(seed)) for seed in seeds]
    points: list[Any] = [{name: jnp.asarray(value) for name, value in start.items()} for start in starts]
    masses: list[Any] = [inverse_mass] * n
    if vectorised:
        keys, points, masses = ([_stacked(items)] for items in (keys, points, masses))
        keys = [jnp.swapaxes(keys[0], 0, 1)]
        draws = [max(draws)]
    states = [begin(z, key[0], data, mass) for z, key, mass in zip(points, keys, masses, strict=True)]
    step = jax.jit(jax.vmap(piece, in_axes=(0, None)) if vectorised else piece).lower(states[0], data).compile()
    compiling = time.perf_counter() - clock
    stop = Event()
    course = _Course(step, begin, data, first, tune - first, 1 if vectorised else 0, report, stop)
    workers = max(min(len(states), os.cpu_count() or 1), 1)
    with ThreadPoolExecutor(workers) as pool:
        # JAX's 64-bit switch is local to a thread, and compiled code keeps what it was compiled with.
        each = enumerate(zip(states, keys, masses, draws, strict=True))
        futures = [
            pool.submit(_in_float64, course.run, number, state, key[1], mass, length)
            for number, (state, key, mass, length) in each
        ]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:  # Ctrl-C, or one chain failed: the others end with the piece they are in
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        finished = [future.result() for future in futures]
    if vectorised:
        both = [jax.tree.map(lambda a, i=i: a[i, : lengths[i]], finished[0]) for i in range(n)]
        return Chains([z for z, _ in both], [s for _, s in both],
                      f"{n} chains side by side in one program on {jax.default_backend()}", compiling)  # fmt: skip
    method = f"{n} chains on {workers} threads of the CPU"
    return Chains([z for z, _ in finished], [s for _, s in finished], method, compiling)


def _stacked(items: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *items)


def _in_float64(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with jax.enable_x64(True):
        return function(*args, **kwargs)


def _stats(state: Any) -> dict[str, Any]:
    return {
        "diverging": state.diverging,
        "energy": state.energy,
        "lp": -state.potential_energy,
        "n_steps": state.num_steps,
        "acceptance_rate": state.accept_prob,
        "step_size": state.adapt_state.step_size,
    }


@dataclass(frozen=True)
class _Course:
    """The stages of a chain (or of all, stacked): warm-up, warm-up with a better mass matrix, draws.

    Attributes:
        step: (state, data) -> (state, (values, statistics) of a piece of iterations).
        begin: (values, key, data, mass) -> state.
        data: see `run_chains`.
        first, second: iterations of the two stages of warm-up.
        axis: of the iterations in what `step` returns.
        report: called after each piece.
        stop: set when the chains are to end.
    """

    step: Callable[..., Any]
    begin: Callable[..., Any]
    data: Any
    first: int
    second: int
    axis: int
    report: Callable[[ChainReport], None] | None
    stop: Event

    def run(self, number: int, state: Any, key: Any, mass: Any, draws: int) -> Any:
        """({site: (draw, ...)}, {statistic: (draw,)}), with the chain's axis before where stacked."""
        total = self.first + self.second + draws
        divergences = 0

        def advance(state: Any, done: int, length: int, skip: int) -> tuple[Any, Any]:
            nonlocal divergences
            kept: list[Any] = []
            for start in range(0, length, _PIECE):
                if self.stop.is_set():
                    raise CancelledError
                state, out = self.step(state, self.data)
                out = jax.tree.map(np.asarray, out)
                inside = range(max(skip - start, 0), min(length - start, _PIECE))
                if len(inside):
                    kept.append(jax.tree.map(lambda a, i=inside: np.take(a, i, axis=self.axis), out))
                    divergences += int(kept[-1][1]["diverging"].sum()) if start >= skip and skip == self.second else 0
                if self.report is not None:
                    at = min(done + start + _PIECE, total)
                    stage = "warm-up" if at <= self.first + self.second else "sampling"
                    self.report(ChainReport(number, at, total, stage, divergences))
            return state, jax.tree.map(lambda *parts: np.concatenate(parts, axis=self.axis), *kept)

        if self.second:
            state, (warm, _) = advance(state, 0, self.first, self.first // 5)
            blend = _blended(mass, warm, self.axis)
            here = jax.tree.map(jnp.asarray, state.z)
            state = self.begin(here, key, self.data, blend)
            # The compiled kernel adapts until iteration `first`; so that it stops where the draws begin, it starts
            # late. The windows' ends, at which it would begin the step size anew, then never come: none is needed.
            state = state._replace(i=state.i + (self.first - self.second))
            _, (z, stats) = advance(state, self.first, self.second + draws, self.second)
        else:
            _, (z, stats) = advance(state, 0, self.first + draws, self.first)
        stats["tree_depth"] = np.ceil(np.log2(stats["n_steps"] + 1)).astype(int)
        return z, stats


def _blended(mass: Mass, draws: Mapping[str, np.ndarray], axis: int) -> Mass:
    """The first guess and the draws' covariance, weighted as if the guess had come from one draw a dimension."""
    out = {}
    for sites, guess in mass.items():
        guess = np.asarray(guess)
        parts = [np.asarray(draws[name]) for name in sites]
        lead = parts[0].shape[: axis + 1]
        flat = np.concatenate([part.reshape(*lead, -1) for part in parts], axis=-1)
        centred = flat - flat.mean(axis=axis, keepdims=True)
        n, size = flat.shape[axis], flat.shape[-1]
        dense = guess.ndim == 2 + axis
        seen = np.swapaxes(centred, -1, -2) @ centred if dense else (centred**2).sum(axis=axis)
        weight = size if dense else 5
        out[sites] = (seen + weight * guess) / (n + weight)
    return out
