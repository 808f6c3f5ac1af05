"""What of the users goes into a DataTree: attentiveness at every draw, a summary, or nothing; log-likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.names import as_names
from .compiled import Statement
from .tally import Tally
from .thinning import evenly
from .users_given import Drawn, users_given

__all__ = ["MOST_NUMBERS", "users_node", "users_of"]

MOST_NUMBERS = 50_000_000  # of attentiveness, and of log-likelihoods, that are kept without being asked for
# Draws behind a summary: as many as 20 million numbers give every user, and no fewer than 128.
_SUMMARY_DRAWS, _SUMMARY_NUMBERS = 128, 20_000_000


def users_of(
    marginal: Statement,
    statement: Statement,
    counts: Counts,
    values: Mapping[str, np.ndarray],
    chains: list[dict[str, np.ndarray]],
    keep: str,
    draws: int,
    seed: int,
    say: Callable[[str, int, int], None],
) -> tuple[dict[str, dict[str, Any]], dict[str, np.ndarray] | None]:
    """What is kept of the users.

    Args:
        marginal, statement: the model in marginal form, and in the form that was sampled.
        counts: the votes.
        values: {parameter: (chain, draw, ...)}.
        chains: of each chain all values, with `attentiveness` in the explicit form.
        keep: "draws", "summary" or "none".
        draws: of each chain.
        seed: of the draws of attentiveness.
        say: called with (stage, done, total).

    Returns:
        groups: log_likelihood (of fewer draws where all would be too many) and, with "draws", posterior; and the
        summary, {mean, sd, lower, upper: (user,)}, or None.
    """
    n_users, n_chains = len(counts.users), len(chains)
    everything = keep == "draws" or n_chains * draws * n_users <= MOST_NUMBERS
    chosen = evenly(draws, draws if everything else _summary_draws(n_users) // n_chains)
    size = n_chains * len(chosen)
    flat = {name: np.asarray(v)[:, chosen].reshape(size, *np.shape(v)[2:]) for name, v in values.items()}
    if keep == "none" or (keep == "draws" and statement.form == "explicit"):
        # Each chain the same draws, as many as are kept.
        few = evenly(len(chosen), max(MOST_NUMBERS // (n_chains * n_users), 1))
        flat = {k: v.reshape(n_chains, len(chosen), *v.shape[1:])[:, few] for k, v in flat.items()}
        flat = {k: v.reshape(n_chains * len(few), *v.shape[2:]) for k, v in flat.items()}
        likelihood = _log_likelihood(marginal, flat, n_chains * len(few), say)
        groups = {"log_likelihood": {"votes": likelihood.reshape(n_chains, -1, n_users)}}
        if keep == "draws":
            groups["posterior"] = {"attentiveness": np.stack([chain["attentiveness"] for chain in chains])}
        return groups, None
    users = _Kept(size, n_chains, n_users, keep, seed)
    for part in users_given(
        marginal.model, counts, flat, users.levels, lambda done, of: say("users given the globals", done, of)
    ):
        users.add(part)
    return users.groups(), users.summary()


def _summary_draws(n_users: int) -> int:
    return max(_SUMMARY_DRAWS, _SUMMARY_NUMBERS // max(n_users, 1))


class _Kept:
    """Gathers users draw by draw, in as little memory as what is kept of them takes."""

    def __init__(self, size: int, n_chains: int, n_users: int, keep: str, seed: int) -> None:
        self.n_chains, self.seed, self.size, self.n_users = n_chains, seed, size, n_users
        self.mean, self.square = np.zeros(n_users), np.zeros(n_users)
        per_chain = size // n_chains
        few = evenly(per_chain, max(MOST_NUMBERS // (n_chains * n_users), 1))
        self.with_likelihood = _numbered(np.add.outer(np.arange(n_chains) * per_chain, few).ravel(), size)
        self.likelihood = np.empty((n_chains * len(few), n_users))
        self.attentiveness = np.empty((size, n_users)) if keep == "draws" else None
        # Of a summary's quantiles: some draws, at levels that cover each user's distribution evenly.
        wanted = evenly(size, _summary_draws(n_users))
        self.place = _numbered(wanted, size)
        self.drawn = np.empty((len(wanted), n_users), dtype=np.float32) if keep == "summary" else None

    def levels(self, first: int, n: int) -> np.ndarray:
        """Probabilities at which attentiveness is drawn, (draw, user); the same whatever thread asks, and when."""
        uniform = np.random.default_rng([self.seed, 3, first]).random((n, self.n_users))
        if self.drawn is None:
            return uniform
        # A stratum for each user and draw: one random order of the strata, rotated by an amount of the user's own.
        rng, strata = np.random.default_rng([self.seed, 4]), len(self.drawn)
        order, shift = rng.permutation(strata), rng.integers(strata, size=self.n_users)
        place = np.maximum(self.place[first : first + n], 0)[:, None]
        return np.asarray((order[(place + shift) % strata] + uniform) / strata)

    def add(self, part: Drawn) -> None:
        """Take some draws in."""
        where = slice(part.first, part.first + len(part.mean))
        self.mean += part.mean.sum(0)
        self.square += (part.sd**2 + part.mean**2).sum(0)
        at = self.with_likelihood[where]
        self.likelihood[at[at >= 0]] = part.log_likelihood[at >= 0]
        if self.attentiveness is not None:
            self.attentiveness[where] = part.attentiveness
        if self.drawn is not None:
            at = self.place[where]
            self.drawn[at[at >= 0]] = part.attentiveness[at >= 0]

    def groups(self) -> dict[str, dict[str, Any]]:
        """Groups of a DataTree, (chain, draw, user) each."""
        shape = (self.n_chains, -1, self.n_users)
        out: dict[str, dict[str, Any]] = {"log_likelihood": {"votes": self.likelihood.reshape(shape)}}
        if self.attentiveness is not None:
            out["posterior"] = {"attentiveness": self.attentiveness.reshape(shape)}
        return out

    def summary(self) -> dict[str, np.ndarray] | None:
        """Posterior mean, sd and 90 % interval of every user, (user,) each; None unless asked for."""
        if self.drawn is None:
            return None
        mean = self.mean / self.size
        lower, upper = np.quantile(self.drawn, [0.05, 0.95], axis=0)
        sd = np.sqrt(np.maximum(self.square / self.size - mean**2, 0.0))
        return {"mean": mean, "sd": sd, "lower": lower, "upper": upper}


def _numbered(chosen: np.ndarray, size: int) -> np.ndarray:
    """Number of each of `size` draws among the chosen ones, -1 for the others."""
    out = np.full(size, -1)
    out[chosen] = np.arange(len(chosen))
    return out


def _log_likelihood(
    marginal: Statement, values: Mapping[str, np.ndarray], size: int, say: Callable[[str, int, int], None]
) -> np.ndarray:
    """Log marginal likelihood of every user at every draw, nats, (draw, user)."""
    import jax

    from .arrays import JNP

    @jax.jit
    def piece(points: dict[str, Any]) -> Any:
        def one(point: dict[str, Any]) -> Any:
            chances = marginal.chances(JNP, point)
            return marginal.log_marginal(JNP, chances, marginal.rules(JNP, point, chances), marginal.tally.count)

        return jax.lax.map(one, points) if points else one({})[None]

    out = np.empty((size, len(marginal.tally.users)))
    for first in range(0, size, 100):
        at = np.minimum(np.arange(first, first + 100), size - 1)
        part = np.asarray(piece({name: np.asarray(value)[at] for name, value in values.items()}))
        n = min(100, size - first)
        out[first : first + n] = marginal.tally.of_users(part[:n])
        say("users given the globals", first + n, size)
    return out


def users_node(users: Mapping[str, np.ndarray], votes: Tally) -> Any:
    """The summary as a node of a DataTree."""
    import xarray

    variables = {name: (("user",), value) for name, value in users.items()}
    data = xarray.Dataset({**variables, "comparisons": (("user",), votes.comparisons)}, {"user": as_names(votes.users)})
    return xarray.DataTree(data)
