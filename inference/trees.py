"""Draws as an ArviZ DataTree: names on every axis, and everything that says how they were made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.names import as_names
from ..models.choices import draw_users
from ..models.gold import gold_notes
from ..models.namespace import NUMPY
from .compiled import Statement
from .integration import worst_error
from .kept_users import MOST_NUMBERS, users_node, users_of
from .results import Fit
from .tally import Tally, tally
from .thinning import evenly

if TYPE_CHECKING:
    import xarray

    from .sampling import Run

__all__ = ["assemble"]

_WORTH_SAYING = 1e-3  # nats a user that integration may be off by, before it is said
_MOST_VOTES = 20_000_000  # counts in each group of replicates
_PRIOR_DRAWS = 500


def assemble(
    run: Run,
    statement: Statement,
    marginal: Statement,
    counts: Counts,
    log: ComparisonLog,
    fit: Fit | None,
    why: str,
    *,
    backend: str,
    draws: int,
    tune: int,
    seed: int,
    keep_users: str,
    predictive: int,
    init: str,
    near: float,
    target_accept: float,
    say: Callable[[str, int, int], None],
) -> xarray.DataTree:
    """Everything that `sample` returns; see there."""
    from arviz_base import from_dict

    table, votes = marginal.table, tally(counts, merge=False)
    rng = np.random.default_rng([seed, 2])
    _order_labels(marginal, run.values)
    heights = [_height(marginal, chain) for chain in run.values]
    complete = [i for i in range(run.n_main) if np.isfinite(heights[i][0])]
    if not complete:
        raise EarnestError("no chain reached a point of positive density; sample with init='prior' or another model")
    top = max(complete, key=lambda i: heights[i][0])
    kept = [
        i for i in complete if heights[top][0] - heights[i][0] <= near + 4 * np.hypot(heights[i][1], heights[top][1])
    ]
    left_out = [i for i in range(run.n_main) if i not in kept]
    values = {p.name: np.stack([run.values[i][p.name] for i in kept]) for p in table.parameters}
    groups: dict[str, dict[str, Any]] = {
        "posterior": dict(values),
        "sample_stats": {name: np.stack([run.stats[i][name] for i in kept]) for name in run.stats[kept[0]]},
    }
    n_users, n_chains = len(votes.users), len(kept)
    if keep_users == "auto":
        keep_users = "draws" if n_chains * draws * n_users <= MOST_NUMBERS else "summary"
    pass_groups, users = users_of(
        marginal, statement, counts, values, [run.values[i] for i in kept], keep_users, draws, seed, say
    )
    for name, group in pass_groups.items():
        groups.setdefault(name, {}).update(group)
    replicates = min(predictive, _MOST_VOTES // max(votes.count.size, 1))
    say("replicates", 0, 0)
    groups.update(_prior_groups(marginal, votes, replicates, rng))
    if replicates:
        groups["posterior_predictive"] = {"votes": _replicates(marginal, votes, values, replicates, rng)}
    groups["observed_data"] = {"votes": _small(votes.count)}
    groups["constant_data"] = {"comparisons": votes.comparisons}
    if replicates:
        groups["constant_data"]["shown_comparisons"] = _small(votes.count.sum(2))
    coords: dict[str, Any] = {**table.coords, "user": as_names(votes.users), "shown": _slot_names(votes)}
    dims = {p.name: list(p.dims) for p in table.parameters} | {
        "attentiveness": ["user"],
        "comparisons": ["user"],
        "shown_comparisons": ["user", "shown"],
    }
    tree: Any = from_dict(
        {name: group for name, group in groups.items() if name not in ("log_likelihood",)},
        coords=coords,
        dims=dims | {"votes": ["user", "shown", "outcome"]},
    )
    if "log_likelihood" in groups:
        likelihood: Any = from_dict(
            {"log_likelihood": groups["log_likelihood"]}, coords=coords, dims={"votes": ["user"]}
        )
        tree["log_likelihood"] = likelihood["log_likelihood"]
    if users is not None:
        tree["users"] = users_node(users, votes)
    points = _some(values, 6)
    error = worst_error(marginal.model, marginal.tally, marginal.pieces, points)
    levels, best = [height for height, _ in heights], heights[top][0]
    notes = _notes(run, levels, left_out, best, near, error, replicates, predictive)
    low = min(kept, key=lambda i: levels[i])
    if best - levels[low] > 2.0 + 4 * np.hypot(heights[low][1], heights[top][1]):
        notes.append(
            f"the chains that are kept lie up to {best - levels[low]:.1f} nats apart: they are in different modes, "
            "each given the weight of its chains and not of its mass; R-hat shows where it matters"
        )
    if len(kept) < 2:
        notes.append("one chain only: R-hat says nothing; ask for more chains")
    tree.attrs.update(
        {
            "declaration": marginal.model.to_toml(),
            "backend": backend,
            "form": f"{statement.form}",
            "form_reason": why,
            "chains_ran": run.method,
            "chain_starts": json.dumps([run.starts[i] for i in kept]),
            "init": init,
            "seed": seed,
            "draws": draws,
            "tune": tune,
            "target_accept": target_accept,
            "fingerprint": log.fingerprint(),
            "columns": json.dumps(dict(log.mapping)),
            "keep_users": keep_users,
            "observed_unit": "user",
            "integration_error_nats": error,
            "modes": json.dumps(_modes(fit)),
            "scouts": json.dumps(_scouts(run, levels, best, near)),
            "chains_left_out": len(left_out),
            "divergences_left_out": int(sum(run.stats[i]["diverging"].sum() for i in left_out)),
            "notes": "\n".join([*(_log_notes(marginal, log) if fit is None else fit.notes), *notes]),
            "versions": json.dumps(_versions()),
        }
    )
    return tree  # type: ignore[no-any-return]  # a DataTree; arviz_base is imported late


def _order_labels(statement: Statement, chains: list[dict[str, np.ndarray]]) -> None:
    """Put the population's labels into their fixed order, draw by draw: a finite mixture does not know them."""
    for component in statement.model.components:
        own = [p.name for p in component.parameters(statement.table.schema)] if component.labelled else []
        for chain in chains if own else ():
            chain.update({name: np.array(chain[name]) for name in own})
            for i in range(len(chain[own[0]])):
                for name, value in component.canonical({name: chain[name][i] for name in own}).items():
                    chain[name][i] = value


def _height(statement: Statement, chain: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Mean log posterior density (latents integrated out) of some of a chain's draws, nats, and its error.

    The error takes neighbouring points to be worth half as many: with many parameters the density varies by tens of
    nats from draw to draw.
    """
    points = [float(statement.log_density(NUMPY, point)) for point in _some(chain, 24, chained=False)]
    return float(np.mean(points)), float(np.std(points) / np.sqrt(max(len(points) / 2, 1)))


def _some(values: Mapping[str, np.ndarray], n: int, chained: bool = True) -> list[dict[str, np.ndarray]]:
    """Some of the draws, evenly, as points."""
    if not values:
        return [{}]
    flat = {k: np.asarray(v).reshape(-1, *np.shape(v)[2:]) if chained else np.asarray(v) for k, v in values.items()}
    size = len(next(iter(flat.values())))
    return [{k: v[i] for k, v in flat.items()} for i in evenly(size, n)]


def _prior_groups(
    statement: Statement, votes: Tally, replicates: int, rng: np.random.Generator
) -> dict[str, dict[str, Any]]:
    draws = [statement.table.sample_prior(rng) for _ in range(_PRIOR_DRAWS)]
    prior = {p.name: np.stack([draw[p.name] for draw in draws])[None] for p in statement.table.parameters}
    if not replicates:
        return {"prior": prior} if prior else {}
    out: dict[str, dict[str, Any]] = {"prior": prior} if prior else {}
    out["prior_predictive"] = {"votes": _replicates(statement, votes, prior, replicates, rng)}
    return out


def _replicates(
    statement: Statement, votes: Tally, values: Mapping[str, np.ndarray], n: int, rng: np.random.Generator
) -> np.ndarray:
    """Votes of a new user in the place of each, told forward, (1, draw, user, slot, outcome)."""
    for_users = Statement(statement.model, statement.table, votes, "explicit", ())
    out = []
    for point in _some(values, n):
        # Votes of users who are known to attend have cells in which it does not matter whether they do.
        nobody = np.zeros(len(votes), dtype=bool)
        users = draw_users(statement.model, rng, point, votes.schema, nobody)
        eta = np.abs(users.attentiveness)
        out.append(_small(for_users.simulate(rng, for_users.chances(NUMPY, point), eta, 1.0 - eta, users.kind)))
    return np.stack(out)[None]


def _small(votes: np.ndarray) -> np.ndarray:
    return votes.astype(np.int16 if votes.max(initial=0) < 32000 else np.int64)


def _slot_names(votes: Tally) -> list[Any]:
    return list(votes.names) if votes.dense else list(range(votes.shown.shape[1]))


def _notes(
    run: Run, heights: list[float], left_out: list[int], best: float, near: float, error: float, replicates: int,
    predictive: int,
) -> list[str]:  # fmt: skip
    notes = []
    for i in left_out:
        notes.append(
            f"the chain from {run.starts[i]} ended {best - heights[i]:.1f} nats below the best and is left out: it is "
            "in another mode, or has not converged"
        )
    for i in range(run.n_main, len(run.values)):
        if heights[i] > best + near:
            notes.append(
                f"the scout from {run.starts[i]} found a mode {heights[i] - best:.1f} nats above the chains': sample "
                "again with init='prior' and more warm-up"
            )
    if error > _WORTH_SAYING:
        notes.append(
            f"integrating over users' latents is off by up to {error:.1e} nats a user; use latent='explicit' to check"
        )
    if replicates < predictive:
        notes.append(f"{replicates} replicates of the votes are kept instead of {predictive}: more would not fit")
    return notes


def _log_notes(statement: Statement, log: ComparisonLog) -> list[str]:
    return [*log.notes, *gold_notes(statement.model.gold, log, statement.tally.users)]


def _modes(fit: Fit | None) -> list[dict[str, float]]:
    if fit is None or not fit.modes:
        return []
    best = fit.modes[0].objective
    return [
        {
            "nats_below_best": float(best - mode.objective),
            "rank_correlation": float(mode.rank_correlation),
            "attentive_share": float(mode.attentive_share),
        }
        for mode in fit.modes
    ]


def _scouts(run: Run, heights: list[float], best: float, near: float) -> list[dict[str, Any]]:
    """What became of the chains that started in lesser modes."""
    return [
        {"start": run.starts[i], "nats_below_best": best - heights[i], "stayed": bool(best - heights[i] > near)}
        for i in range(run.n_main, len(run.values))
    ]


def _versions() -> dict[str, str]:
    out = {}
    for name in ("earnest", "jax", "numpyro", "pymc", "nutpie", "arviz"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out
