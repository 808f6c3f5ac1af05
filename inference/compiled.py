"""A model and a log, settled into what both backends are built from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from ..comparisons.cells import Counts
from ..comparisons.errors import EarnestError, InputError
from ..comparisons.log import ComparisonLog
from ..models import priors
from ..models.behavior import BehaviorModel
from ..models.component import Finite
from ..models.namespace import NUMPY, Namespace
from ..models.parameters import Parameter, ParameterTable, Values
from .bracket import Chances, cell_chances
from .chain import draw_states
from .integration import EXACT, Piece, along_chain, choose_pieces, log_marginal, log_scales, with_kinds
from .tally import Entries, Tally, tally

__all__ = [
    "LATENT",
    "VOTES",
    "Form",
    "Settled",
    "Statement",
    "check_priors",
    "dispersed_points",
    "native_statement",
    "no_counterpart",
    "refuse_explicit",
    "settle",
    "values_at",
]

Form = Literal["marginal", "explicit"]
_TINY = 1e-300
LATENT, VOTES = "attentiveness_logit", "votes"
"""Names of the users' latent and of the observed votes, in both backends."""


@dataclass(frozen=True)
class Statement:
    """What a backend states in its own words.

    Attributes:
        model: the declaration, settled by the log.
        table: its unknowns.
        tally: the observed votes.
        form: "marginal": a user's latent is integrated out. "explicit": it is a parameter. A finite latent is summed
            out in both.
        pieces: the rules of integration (of the marginal form).
    """

    model: BehaviorModel
    table: ParameterTable
    tally: Tally
    form: Form
    pieces: tuple[Piece, ...]

    @property
    def unit_dim(self) -> str:
        """Name of the observed units' axis."""
        return "pattern" if self.tally.merged else "user"

    def coords(self) -> dict[str, list[Any]]:
        """Names along every axis."""
        units = list(range(len(self.tally))) if self.tally.merged else list(self.tally.users)
        slots = list(self.tally.names) if self.tally.dense else list(range(self.tally.shown.shape[1]))
        return {**self.table.coords, "user": list(self.tally.users), self.unit_dim: units, "shown": slots}

    def chances(self, xp: Namespace, values: Values) -> Chances:
        """What the model makes of every cell."""
        return cell_chances(xp, self.model, values, self.tally.cells)

    def attention(self, xp: Namespace, values: Values, latent: Any) -> tuple[Any, Any]:
        """Attentiveness of every user and its complement at latents of the explicit form, (user,) each.

        What is known of the user is not in it, but in `chances`.
        """
        log_a, log_rest = self.model.attentiveness.attention(xp, values, latent)
        a, rest = xp.exp(log_a), xp.exp(log_rest)
        sure = self.model.attends(self.tally.users)
        return (xp.where(sure, 1.0, a), xp.where(sure, 0.0, rest)) if sure.any() else (a, rest)

    def offset(self, chances: Chances) -> Any:
        """By how much what is known of every unit's users moves the logit of their attentiveness, (unit,); else 0."""
        return 0.0 if chances.own is None else chances.own[self.tally.cell_of_unit]

    def attentiveness(self, xp: Namespace, values: Values, latent: Any, chances: Chances) -> Any:
        """Users' own attentiveness at latents of the explicit form, (user,)."""
        return self.attention(xp, values, latent + self.offset(chances))[0]

    def rules(self, xp: Namespace, values: Values, chances: Chances) -> list[tuple[Any, Any, Any]]:
        """log w, a, 1 - a of every piece's nodes; with kinds of users, log w of all of them."""
        at = (piece.rule.at(xp, self.model, values) for piece in self.pieces)
        return [with_kinds(self.model, self.tally, rule, chances) for rule in at]

    def log_marginal(self, xp: Namespace, chances: Chances, rules: Sequence[Any], value: Any) -> Any:
        """Log marginal likelihood of every unit, nats, (unit,)."""
        return log_marginal(xp, chances, rules, self.pieces, self.tally, value)

    def log_conditional(self, xp: Namespace, chances: Chances, a: Any, rest: Any, value: Any) -> Any:
        """Log-likelihood of every user given the attentiveness a (user,) and 1 - a, nats, (user,)."""
        if chances.stay is not None:
            everyone, each = np.arange(len(self.tally)), (a[:, None], rest[:, None])
            return along_chain(xp, chances, *each, self.tally, value, everyone)[:, 0]
        entries: Entries | None = None if self.tally.dense else self.tally.entries(value)

        def log_sum(p: Any, c: Any) -> Any:
            if entries is None:
                m = a[:, None] * p[None, :] + rest[:, None] * c[None, :]
            else:
                m = a[entries.unit] * p[entries.cell] + rest[entries.unit] * c[entries.cell]
            return xp.log(xp.maximum(m, _TINY))

        log_m = log_sum(chances.p, chances.c)
        if chances.odds is not None:
            log_m = log_m - log_sum(*chances.odds)
        if entries is None:
            total = xp.sum(value.reshape((len(self.tally), len(self.tally.cells))) * log_m, axis=1)
        else:
            total = xp.segment_sum(entries.count * log_m, entries.unit, len(self.tally))
        return total if chances.log_scale is None else total + log_scales(xp, chances, self.tally, value)

    def log_density(self, xp: Namespace, values: Values) -> Any:
        """Log-density of the globals with the users' latents integrated out, on the constrained scale, nats.

        The log prior without Jacobians plus the log marginal likelihood: what marginal EM climbs under "map".
        """
        chances = self.chances(xp, values)
        by_unit = self.log_marginal(xp, chances, self.rules(xp, values, chances), self.tally.count)
        return xp.sum(self.tally.multiplicity * by_unit) + self.table.log_prior(xp, values)

    def simulate(
        self, rng: np.random.Generator, chances: Chances, a: np.ndarray, rest: np.ndarray, kind: np.ndarray
    ) -> np.ndarray:
        """Votes of every unit on what it was shown: (unit, slot, outcome).

        Args:
            rng: of the votes.
            chances: of every cell.
            a, rest: attentiveness and its complement, (unit,).
            kind: of user, (unit,); 0 where none are told apart.
        """
        n_outcomes = self.tally.count.shape[2]
        shown = np.maximum(self.tally.shown, 0)
        p, c = (np.asarray(part).reshape(-1, len(self.tally.cells) // n_outcomes, n_outcomes)
                for part in (chances.p, chances.c))  # fmt: skip
        totals = np.rint(self.tally.count.sum(2)).astype(np.int64)
        a, rest = a[:, None], rest[:, None]
        if chances.stay is not None:
            a = self.states(rng.random((2, *self.tally.steps[0].shape)), a[:, 0], np.asarray(chances.stay))
            rest = 1.0 - a
        m = a[:, :, None] * p[kind[:, None], shown] + rest[:, :, None] * c[kind[:, None], shown]
        return rng.multinomial(totals, m / m.sum(-1, keepdims=True)).astype(float)

    def states(self, uniform: Any, a: Any, stay: Any, xp: Any = np) -> Any:
        """Whether every unit attends to what it is shown, where states drift, (..., unit, slot) of 0 and 1.

        Args:
            uniform: random numbers, (2, ..., unit, step).
            a: attentiveness, (..., unit).
            stay: probability of no toss, (state,).
            xp: NumPy or `jax.numpy`.
        """
        slot, there = self.tally.steps
        step = np.zeros(self.tally.shown.shape, dtype=int)  # of every slot
        unit, at = np.nonzero(there)
        step[unit, slot[unit, at]] = at
        states = draw_states((uniform[0], uniform[1]), a, stay, xp)
        return xp.take_along_axis(states, np.broadcast_to(step, (*states.shape[:-1], step.shape[1])), axis=-1)

    def draw_latent(self, rng: np.random.Generator, rules: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Attentiveness, its complement and kind of every unit, one of its rule's nodes by weight, (unit,) each.

        Votes simulated from nodes follow the marginal likelihood that the rule defines, so no more need be known.
        """
        a, rest, kind = np.zeros(len(self.tally)), np.zeros(len(self.tally)), np.zeros(len(self.tally), dtype=int)
        for piece, (log_w, at, complement) in zip(self.pieces, rules, strict=True):
            weights = np.exp(log_w - np.max(log_w))
            node = rng.choice(len(weights), size=len(piece.units), p=weights / weights.sum())
            kind[piece.units], node = node // len(at), node % len(at)
            a[piece.units], rest[piece.units] = np.asarray(at)[node], np.asarray(complement)[node]
        return a, rest, kind


@dataclass(frozen=True)
class Settled:
    """A counted log and the model settled by it, before a form is chosen."""

    model: BehaviorModel
    table: ParameterTable
    counts: Counts

    @property
    def summed(self) -> bool:
        """Whether users' latents are finite, or kinds of users told apart: they are summed out in either form."""
        schema = self.table.schema
        return isinstance(self.model.attentiveness.latents(schema), Finite) or self.model.kinds(schema).size > 1

    def statement(self, form: Form, points: Sequence[Values] | None = None, tolerance: float = EXACT) -> Statement:
        """The model in a form.

        Args:
            form: marginal or explicit.
            points: parameter values at which rules of integration are tried (default: draws from the prior).
            tolerance: of the rules; see `choose_pieces`.
        """
        if self.summed:
            form = "marginal"
        votes = tally(self.counts, merge=form == "marginal")
        if form == "explicit":
            return Statement(self.model, self.table, votes, form, ())
        tried = list(points) if points is not None else prior_points(self.table)
        return Statement(self.model, self.table, votes, form, choose_pieces(self.model, votes, tried, tolerance))


def settle(model: BehaviorModel, log: ComparisonLog) -> Settled:
    """Count a log and settle the model by it.

    Raises:
        InputError: no comparisons, ties under a model without, a missing column.
        EarnestError: an argument of the wrong kind.
    """
    if not isinstance(model, BehaviorModel):
        raise EarnestError(f"model={model!r}: expected a BehaviorModel")
    if not isinstance(log, ComparisonLog):
        raise EarnestError(f"log: expected a log from read_comparisons, got {type(log).__name__}")
    counts = model.count(log)
    if log.by_pattern:
        raise EarnestError(
            f"{log.source}: a log on a cluster can be fitted by fit_em; sample a part of it: "
            "read_comparisons(frame.where(...).toArrow())"
        )
    if len(counts.count) == 0:
        raise InputError(f"{log.source}: the log has no comparisons, so there are no users to sample")
    settled = model.prepare(counts)
    return Settled(settled, settled.table(counts.cells.schema), counts)


def native_statement(model: BehaviorModel, log: ComparisonLog, latent: str, backend: str) -> Statement:
    """The statement behind `to_numpyro` and `to_pymc`."""
    if latent not in ("marginal", "explicit"):
        raise EarnestError(f"latent={latent!r}: expected 'marginal' or 'explicit'")
    settled = settle(model, log)
    if latent == "explicit":
        refuse_explicit(settled)
    check_priors(settled.table, backend)
    return settled.statement(cast(Form, latent))


def refuse_explicit(settled: Settled) -> None:
    """Raise an `EarnestError` where kinds of users are told apart: sampled users are of none."""
    if settled.model.kinds(settled.table.schema).size > 1:
        raise EarnestError(
            "latent='explicit': the model tells kinds of users apart, which are summed out together with their "
            "attentiveness; use latent='marginal'"
        )


def no_counterpart(parameter: Parameter, backend: str) -> EarnestError:
    """The error for a prior that a backend cannot express."""
    known = ", ".join(name for name in priors.__all__ if name != "Prior")
    return EarnestError(
        f"parameter {parameter.name!r}: the prior {type(parameter.prior).__name__} has no counterpart in {backend}; "
        f"use one of earnest.priors: {known}"
    )


def check_priors(table: ParameterTable, backend: str) -> None:
    """Refuse priors that no backend can express, before anything else is done."""
    for parameter in table.parameters:
        if type(parameter.prior).__name__ not in priors.__all__:
            raise no_counterpart(parameter, backend)


def prior_points(table: ParameterTable, n: int = 8) -> list[Mapping[str, np.ndarray]]:
    """Draws from the prior, for trying rules of integration where nothing is known of the posterior."""
    rng = np.random.default_rng(0)
    return [table.sample_prior(rng) for _ in range(n)]


def dispersed_points(
    table: ParameterTable, centre: np.ndarray, covariance: np.ndarray, n: int, spread: float, rng: np.random.Generator
) -> np.ndarray:
    """Free vectors around a centre, `spread` times as far as the normal approximation reaches, (n, size).

    Directions without a standard error are left at the centre with a spread of 1.
    """
    if table.size == 0:
        return np.zeros((n, 0))
    usable = np.where(np.isfinite(covariance), covariance, 0.0) + np.diag(
        np.where(np.isfinite(np.diag(covariance)), 0.0, 1.0)
    )
    eigenvalues, vectors = np.linalg.eigh(0.5 * (usable + usable.T))
    root = vectors * np.sqrt(np.clip(eigenvalues, 0.0, 4.0))
    draws = rng.standard_normal((n, table.size))
    # No draw farther out than three standard deviations: a start in the far tail only costs warm-up.
    length = np.linalg.norm(draws, axis=1, keepdims=True) / np.sqrt(table.size)
    draws = draws / np.maximum(1.0, length / 1.5)
    return np.asarray(centre + spread * draws @ root.T)


def values_at(table: ParameterTable, free: np.ndarray) -> dict[str, np.ndarray]:
    """Free vector -> values on the constrained scale."""
    return {name: np.asarray(value) for name, value in table.unpack(NUMPY, free).items()}
