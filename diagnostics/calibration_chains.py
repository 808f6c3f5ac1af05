"""Calibration of full Bayes: draws by NUTS from the NumPyro model of the declaration, marginal form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..inference.in_numpyro import numpyro_model
from ..models.behavior import BehaviorModel
from .calibration_logs import Design, Told
from .calibration_machines import LOG_LIKELIHOOD, Draws, Machine
from .ecdf import RANKED

__all__ = ["ENOUGH", "Chain"]

ENOUGH = 200
"""Bulk ESS that every ranked quantity is to reach: of RANKED evenly thinned draws neighbours are then correlated by
about exp(-4)."""

_WARMUP, _DRAWS, _LONGEST = 500, 1000, 10_000
_STARTS = 4000  # draws of the prior, of which the likelihood chooses one


class Chain(Machine):
    """One chain a log, compiled once for all logs (for each, where the model looks at what comes about with votes).

    It starts from one of 4,000 draws of the prior, resampled by likelihood: it knows nothing of the truth, and a mode
    is chosen about by its mass. 500 iterations of warm-up, dense mass matrix, target acceptance 0.9; 1,000 draws, then
    1,000 more until every ranked quantity has a bulk ESS of 200, at most 10,000.
    """

    def __init__(self, model: BehaviorModel, design: Design, told: Told | None = None) -> None:
        from numpyro.infer.hmc import hmc
        from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

        super().__init__(model, design, told)
        native = numpyro_model(self.statement)

        def potential(votes: Any) -> Any:
            return lambda free: potential_energy(native, (votes,), {}, free)

        start, sample = hmc(potential_fn_gen=potential, algo="NUTS")

        def begin(votes: Any, values: Any, key: Any) -> Any:
            free = unconstrain_fn(native, (votes,), {}, values)
            return start(
                free, _WARMUP, dense_mass=True, target_accept_prob=0.9, step_size=0.1, model_args=(votes,), rng_key=key
            )

        def piece(state: Any, votes: Any) -> Any:
            def step(state: Any, _: Any) -> Any:
                state = sample(state, (votes,), {})
                return state, (state.z, {"diverging": state.diverging, "n_steps": state.num_steps})

            state, (free, stats) = jax.lax.scan(step, state, None, length=_WARMUP)
            return state, jax.vmap(lambda z: constrain_fn(native, (votes,), {}, z))(free), stats

        self._begin, self._piece = jax.jit(begin), jax.jit(piece)

    def draws(self, told: Told, votes: np.ndarray, seed: Sequence[int], rng: np.random.Generator) -> Draws:
        """A chain's draws, thinned, and every user's attentiveness given each."""
        values, went = self._posterior(votes, seed)
        kept = np.rint(np.linspace(0, went["draws"], RANKED + 1)[1:]).astype(int) - 1
        values = {k: v[kept] for k, v in values.items()}
        return Draws(values, self.attentiveness(values, votes, rng), went)

    def _start(self, votes: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """One of many draws of the prior, resampled by their likelihood."""
        draws: dict[str, np.ndarray] = {}
        for p in self.table.parameters:
            draws[p.name] = p.prior.given(draws).sample(rng, (_STARTS, *self.table.shape(p)))
        pieces = [{k: v[i : i + _WARMUP] for k, v in draws.items()} for i in range(0, _STARTS, _WARMUP)]
        log_likelihood = np.concatenate([self.log_likelihood(piece, votes) for piece in pieces])
        chosen = np.argmax(log_likelihood + rng.gumbel(size=_STARTS))
        return {k: v[chosen] for k, v in draws.items()}

    def _posterior(self, votes: np.ndarray, seed: Sequence[int]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Draws {parameter: (draw, ...)}, and how the chain went."""
        from arviz_stats.base import array_stats

        rng = np.random.default_rng([*seed, 1])
        values = self._start(votes, rng)
        state = self._begin(votes, values, jax.random.key(int(rng.integers(2**31))))
        state, _, warm = self._piece(state, votes)
        parts: list[dict[str, np.ndarray]] = []
        stats: list[dict[str, np.ndarray]] = []
        while True:
            for _ in range(_DRAWS // _WARMUP):
                state, drawn, stat = self._piece(state, votes)
                parts.append(jax.tree.map(np.asarray, drawn))
                stats.append(jax.tree.map(np.asarray, stat))
            drawn = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            quantities = self.quantities(drawn)
            quantities[LOG_LIKELIHOOD] = np.concatenate([self.log_likelihood(part, votes) for part in parts])
            ess = {k: float(array_stats.ess(x[None], chain_axis=0, draw_axis=1)) for k, x in quantities.items()}
            slowest = min(ess, key=lambda label: ess[label])
            n = len(quantities[slowest])
            if ess[slowest] >= ENOUGH or n >= _LONGEST:
                break
        went = {
            "draws": n,
            "ess": round(ess[slowest], 1),
            "slowest": slowest,
            "divergences": int(sum(s["diverging"].sum() for s in stats)),
            "steps": round(float(np.mean([s["n_steps"].mean() for s in stats])), 1),
            "warmup_steps": round(float(np.asarray(warm["n_steps"]).mean()), 1),
        }
        return drawn, went
