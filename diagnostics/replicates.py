"""Votes as a model would have them: a log's comparisons answered again, by new users or by the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.context import TIMESTAMP, moment, number, relation
from ..comparisons.counting import numbered
from ..comparisons.errors import EarnestError, InputError
from ..comparisons.names import as_names, places
from ..comparisons.schema import OUTCOMES, Schema
from ..comparisons.sql import ident, literal
from ..inference.arrays import JNP, Group, over_chunks
from ..inference.bracket import cell_chances
from ..inference.cohorts import eta_at, row_of_each_user
from ..inference.draws import around, flat_draws, sampled
from ..inference.marginal import Problem, chances_of, log_posterior_by_kind, nodes_at
from ..inference.nodes import Nodes
from ..inference.results import Fit
from ..inference.thinning import evenly
from ..inference.users import workload
from ..models.behavior import BehaviorModel
from ..models.choices import Users, carried, draw_users, in_turn, with_covariates
from ..models.component import CellView
from ..models.gold import GOLD
from ..models.namespace import NUMPY

if TYPE_CHECKING:
    from ..comparisons.log import ComparisonLog

__all__ = ["Believed", "Rows", "believed", "read_rows"]

# Numbers of attentiveness drawn for the same users; draws at least; users in one call of the compiled program.
_MOST_GIVEN, _FEWEST_GIVEN, _BLOCK = 2_000_000, 20, 65536
_MOST_GLOBALS, _FEWEST_GLOBALS = 400_000, 2  # draws of the globals behind them x users; at least


@dataclass(frozen=True)
class Rows:
    """A log's comparisons, user by user, each user's in the order of the log.

    Attributes:
        cells: everything that was shown, outcome aside, (shown,).
        shown: index of what each row showed, (row,).
        outcome: 0, 1, 2, (row,).
        start: where each user's rows begin, (user,).
        size: rows of each user, (user,).
        users: names, (user,).
    """

    cells: CellView
    shown: np.ndarray
    outcome: np.ndarray
    start: np.ndarray
    size: np.ndarray
    users: np.ndarray

    def chances(self, model: BehaviorModel, values: Mapping[str, Any]) -> Tables:
        """What a model makes of everything shown, given users' own attentiveness."""
        outcomes = range(self.cells.schema.n_outcomes)
        each = [cell_chances(NUMPY, model, values, self.cells.with_outcome(y), True) for y in outcomes]
        p, c = (np.stack([np.atleast_2d(part) for part in parts])
                for parts in ([one.p for one in each], [one.c for one in each]))  # fmt: skip
        stay = model.stay(NUMPY, values)
        return Tables(p, c, None if stay is None else np.asarray(stay, dtype=float))

    def favoured(self, model: BehaviorModel, values: Mapping[str, Any]) -> np.ndarray:
        """Log-odds by which who attends in earnest chooses the first response, (shown,); 0 where neither can win."""
        views = [self.cells.with_outcome(y) for y in (0, 1)]
        log_p = [np.atleast_2d(model.plain_log_prob(NUMPY, values, view)[0]) for view in views]
        shares = np.asarray(model.log_shares(NUMPY, values, self.cells.schema))
        mean = [NUMPY.logsumexp(part + np.tile(shares, len(part) // len(shares))[:, None], axis=0) for part in log_p]
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nan_to_num(mean[0] - mean[1], nan=0.0))

    def simulate(self, rng: np.random.Generator, tables: Tables, users: Users) -> np.ndarray:
        """Outcomes of every row, given its user, (row,)."""
        attention = np.repeat(np.abs(users.attentiveness).astype(np.float32), self.size)
        if tables.stay is not None:
            attention = self._states(rng, attention, tables.stay)
        kind = np.repeat(users.kind, self.size) if tables.p.shape[1] > 1 else 0
        uniform = rng.random(len(self.shown), dtype=np.float32)
        outcome = np.zeros(len(self.shown), dtype=np.int8)
        total: Any = 1.0 if tables.even else tables.mix(attention, kind, self.shown, -1)
        for y in range(len(tables.p) - 1):
            outcome += uniform * total >= tables.mix(attention, kind, self.shown, y)
        return outcome

    @cached_property
    def turns(self) -> list[np.ndarray]:
        """The users' first rows, their second ones, ..., users with most rows first."""
        return list(in_turn(np.repeat(np.arange(len(self.size)), self.size)))

    def _states(self, rng: np.random.Generator, attention: np.ndarray, stay: np.ndarray) -> np.ndarray:
        """Whether every row is attended, where the state of one bears on the next, (row,) of 0 and 1."""
        held = rng.random(len(attention), dtype=np.float32)
        tossed = (rng.random(len(attention), dtype=np.float32) < attention).astype(np.float32)
        return carried(tossed, held, stay, self.turns)


class Tables:
    """P and C of everything shown, summed over outcomes up to each, (outcome, kind, shown).

    Attributes:
        p, c: these sums, each times what the comparison's own attention makes of it.
        stay: where states drift, the probability of no toss, (state,).
        even: whether all comparisons get their users' own attention, so that the last sums are one.
    """

    def __init__(self, p: np.ndarray, c: np.ndarray, stay: np.ndarray | None = None) -> None:
        self.stay = stay
        self.p, self.c = (np.cumsum(part, axis=0).astype(np.float32) for part in (p, c))
        self.even = bool(np.all(np.abs(self.p[-1] - 1) < 1e-5) and np.all(np.abs(self.c[-1] - 1) < 1e-5))

    def mix(self, attention: np.ndarray, kind: Any, shown: np.ndarray, outcome: int) -> np.ndarray:
        """Probability of the outcomes up to one, of every row, but for a factor, (row,)."""
        p, c = self.p[outcome], self.c[outcome]
        if p.shape[0] == 1:
            return np.asarray(c[0][shown] + attention * (p[0] - c[0])[shown])
        return np.asarray(c[kind, shown] + attention * (p[kind, shown] - c[kind, shown]))


def read_rows(log: ComparisonLog, model: BehaviorModel, schema: Schema) -> Rows:
    """The rows of a log in a model's terms, user by user, each user's in the order of time or of the log."""
    keys = {name: _context(name) for name in model.context if name != GOLD or name in log.columns}
    wanted = "".join(f", {value} AS {ident('c_' + name)}" for name, value in keys.items())
    joined = "JOIN categories k ON log.category = k.name " if "category" in keys else ""
    joined += "JOIN items i ON log.item = i.name" if "item" in keys else ""
    winner = " ".join(f"WHEN {literal(word)} THEN {number}" for number, word in enumerate(OUTCOMES))
    names = as_names(log.users)
    order = f"{moment('log.timestamp')}, a.name, b.name, log.winner," if TIMESTAMP in model.context else ""
    found = log.query(
        f"""SELECT u.number AS u, a.number AS a, b.number AS b, CASE log.winner {winner} END AS w{wanted}
        FROM {relation(model.context)} log JOIN users u ON log."user" = u.name JOIN models a ON log.model_a = a.name
        JOIN models b ON log.model_b = b.name {joined} ORDER BY u.number, {order} log."row" """,
        users=numbered(names), models=numbered(schema.models), categories=numbered(schema.categories),
        items=numbered(schema.items),
    )  # fmt: skip
    if found.num_rows != len(log):
        raise InputError(
            f"{log.source}: {len(log) - found.num_rows:,} comparisons are of models that the fit never saw"
        )
    columns = {name: found[name].to_numpy() for name in found.column_names}
    code, first = _codes([columns[name] for name in columns if name not in ("u", "w")])
    context = {name: columns["c_" + name][first] for name in keys}
    context |= {name: np.zeros(len(first), dtype=np.int64) for name in model.context if name not in keys}
    a, b = (columns[name][first].astype(np.int64) for name in ("a", "b"))
    cells = CellView.of(Cells(schema, a, b, np.zeros(len(first), dtype=np.int64), context))
    size = np.bincount(columns["u"], minlength=len(names))
    start = np.cumsum(size) - size
    return Rows(cells, code.astype(np.int32), columns["w"].astype(np.int8), start, size, names)


def _context(name: str) -> str:
    joined = {"category": "k", "item": "i"}
    return f"{joined[name]}.number" if name in joined else number(name, "log.")


def _codes(columns: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """One number for each different row of some columns, (row,), and a row of each, (number,)."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, inverse = np.unique(column, return_inverse=True)
        _, code = np.unique(code * (int(inverse.max(initial=0)) + 1) + inverse, return_inverse=True)
    _, first = np.unique(code, return_index=True)
    return code, first


@dataclass(frozen=True)
class Believed:
    """What a fit or a posterior believes of a log.

    Attributes:
        model: the declaration (settled).
        counts: the log as counts.
        values: draws of the globals, {parameter: (draw, ...)}.
        point: one value of each parameter, by which favourites and gaps are named.
        draws: how many there are.
        drawn: attentiveness of the users at these draws, (draw, user), where it was kept.
        notes: what the reader should know.
    """

    model: BehaviorModel
    counts: Counts
    values: dict[str, np.ndarray]
    point: dict[str, np.ndarray]
    draws: int
    drawn: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def at(self, draw: int) -> dict[str, np.ndarray]:
        """The globals at one draw."""
        return {name: value[draw] for name, value in self.values.items()}

    @cached_property
    def sure(self) -> np.ndarray:
        """Who is known to attend, (user,)."""
        return self.model.attends(self.counts.users)

    def new_users(self, rng: np.random.Generator, draw: int) -> Users:
        """A new user in the place of each."""
        users = draw_users(self.model, rng, self.at(draw), self.counts.cells.schema, self.sure)
        return with_covariates(self.model, self.at(draw), self._each[0], users, self._each[1])

    @cached_property
    def _each(self) -> tuple[CellView, np.ndarray]:
        return row_of_each_user(self.counts)

    def same_users(self, seed: int) -> Iterator[tuple[int, Users]]:
        """(draw, the log's users given their votes); fewer where users are many.

        Then the globals are nearly known, and several draws of the users share one of them.
        """
        users, schema = len(self.counts.users), self.counts.cells.schema
        many = max(_FEWEST_GIVEN, _MOST_GIVEN // users)
        if self.drawn is not None and self.model.kinds(schema).size == 1:
            nobody = np.zeros(users, dtype=int)
            yield from ((int(draw), Users(self.drawn[draw], nobody)) for draw in evenly(self.draws, many))
            return
        chosen = evenly(self.draws, max(_FEWEST_GLOBALS, _MOST_GLOBALS // users))
        each = max(min(many, self.draws) // len(chosen), 1)
        work, table = workload(self.counts), self.model.table(schema)
        slot = work.layout.slot[work.pattern_of_user]
        kinds = self.model.kinds(schema)
        factor = np.array(kinds.factor)
        for draw in chosen:
            free = table.pack(self.at(draw))
            nodes = nodes_at(self.model, free, work.problem)
            uniforms = np.random.default_rng([seed, 8, int(draw)]).random((each, users))
            for eta, kind in zip(*map(np.asarray, _at_nodes(self.model, free, work.problem, nodes, slot, uniforms)),
                                 strict=True):  # fmt: skip
                own = np.where(self.sure, kinds.in_earnest(kind), kind)
                yield int(draw), Users(np.where(self.sure, 1.0, factor[kind] * eta), own)


@partial(jax.jit, static_argnames=("model",))
def _at_nodes(model: BehaviorModel, free: Any, problem: Problem, nodes: Nodes, slot: Any, uniforms: Any) -> Any:
    """Each user at a node of their posterior, chosen by its weight: eta and kind, (draw, user) each.

    Votes that are simulated from nodes follow the distribution that the rule integrates, to its rounding; and this is
    much cheaper than to draw between nodes.
    """
    schema = problem.cells.schema
    values = model.table(schema).unpack(JNP, free)
    chances = chances_of(model, values, problem.cells)

    def one(group: Group, at: Nodes) -> tuple[Any, Any]:
        log_weights = log_posterior_by_kind(model, schema, values, group, at, chances)[1]
        weights = jnp.exp(jnp.concatenate(list(log_weights), axis=1))
        eta = eta_at(model, values, group, at.latent, chances)
        return jnp.cumsum(weights, axis=1), jnp.broadcast_to(eta, (weights.shape[0], eta.shape[-1]))

    reached, eta = (a.reshape(-1, a.shape[-1]) for a in over_chunks(one, problem.group, nodes))

    def draw(user: tuple[Any, Any]) -> tuple[Any, Any]:
        where, u = user
        chosen = jnp.argmax(reached[where] >= u * reached[where, -1])
        return eta[where, chosen % eta.shape[1]], chosen // eta.shape[1]

    def of_all(uniform: Any) -> Any:
        return jax.lax.map(draw, (slot, uniform), batch_size=min(_BLOCK, slot.shape[0]))

    return jax.lax.map(of_all, uniforms)


def believed(source: Fit | Any, log: ComparisonLog, draws: int, rng: np.random.Generator) -> Believed:
    """Draws of the globals from a fit's normal approximation, or out of a posterior.

    Raises:
        EarnestError: neither a fit by marginal EM nor what `sample` returned, or of another log.
    """
    here, other = log.fingerprint(), "predictive_check: the log is another one than was fitted or sampled"
    if isinstance(source, Fit):
        source.check_users_known("predictive_check")
        if source.method != "marginal":
            raise EarnestError(
                "predictive_check: label EM knows no population that new users could be drawn from; fit with "
                "method='marginal'"
            )
        if source.fingerprint != here:
            raise EarnestError(other)
        if not np.all(np.isfinite(source.centre)):
            raise EarnestError(f"predictive_check: the fit's status is {source.status!r}; its estimates are no numbers")
        return _of_fit(source, draws, rng)
    if not hasattr(source, "posterior") or "declaration" not in source.attrs:
        raise EarnestError(f"predictive_check: expected a fit or what `sample` returned, got {type(source).__name__}")
    if source.attrs.get("fingerprint") != here:
        raise EarnestError(other)
    return _of_trace(source, log, draws)


def _of_fit(fit: Fit, draws: int, rng: np.random.Generator) -> Believed:
    points = around(fit.centre, fit.spread, rng.standard_normal((draws, fit.free.size)))
    unknown = "the fit leaves directions without a standard error, and their uncertainty is left out here"
    notes = () if np.isfinite(fit.spread).all() else (unknown,)
    counts, values = sampled(fit, points, rng)
    return Believed(fit.model, counts, values, _point(fit.model, fit.parameters), draws, None, notes)


def _of_trace(trace: Any, log: ComparisonLog, draws: int) -> Believed:
    model = BehaviorModel.from_toml(trace.attrs["declaration"])
    counts = model.count(log)
    flat = flat_draws(trace, [parameter.name for parameter in model.table(counts.cells.schema).parameters])
    chosen = evenly(len(next(iter(flat.values()))), draws)
    drawn = None
    if "attentiveness" in trace.posterior:
        kept = trace.posterior["attentiveness"].transpose("chain", "draw", "user")
        place = places(kept["user"].to_numpy(), counts.users)
        if (place < 0).any():
            missing = str(np.asarray(counts.users)[place < 0][0])
            raise EarnestError(f"predictive_check: the posterior holds no draws of user {missing!r}; sample again")
        drawn = kept.to_numpy().reshape(-1, kept.shape[-1])[chosen][:, place]
    values = {name: value[chosen] for name, value in flat.items()}
    for name, value in [*values.items(), *([("attentiveness", drawn)] if drawn is not None else [])]:
        if not np.all(np.isfinite(value)):
            raise EarnestError(f"predictive_check: the posterior's draws of {name} are not all numbers; sample again")
    point = _point(model, {name: value.mean(0) for name, value in flat.items()})
    return Believed(model, counts, values, point, len(chosen), drawn)


def _point(model: BehaviorModel, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Where discrepancies are measured from: without effects of items, which have the votes themselves in them."""
    crossed = model.crossed
    return {name: 0.0 * value if crossed and name == crossed.effect else value for name, value in values.items()}
