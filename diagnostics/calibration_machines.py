"""What is calibrated: a model on a design of logs, and a way to draw from its posterior given each of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..comparisons.cells import Cells, Counts
from ..comparisons.errors import EarnestError
from ..inference.arrays import JNP
from ..inference.compiled import Statement, prior_points, settle
from ..inference.integration import choose_pieces
from ..inference.tally import tally
from ..inference.users_given import users_given
from ..models.behavior import BehaviorModel
from ..models.component import CellView
from ..models.gold import GOLD
from ..models.parameters import Parameter
from ..models.supports import Simplex
from .calibration_logs import Design, Told, tell
from .ecdf import RANKED, rank

__all__ = ["LEVEL", "LOG_LIKELIHOOD", "USERS_EACH", "USERS_MEAN", "Draws", "Machine", "replicate", "settled_for"]

LOG_LIKELIHOOD, USERS_MEAN = "joint log-likelihood", "attentiveness, mean of users"
USERS_EACH = "attentiveness of each user"

LEVEL = 0.9
"""Of a method's own intervals whose coverage is counted."""

_RANKED_USERS = 3


@dataclass(frozen=True)
class Draws:
    """Draws that pass for independent ones of the posterior given one log.

    Attributes:
        values: {parameter: (draw, ...)}.
        attentiveness: (draw, user).
        went: how they were made, as JSON can hold it.
        covered: {quantity: whether the method's own 90 % interval holds the truth, None without an interval}; of users
            the share whose intervals do.
    """

    values: dict[str, np.ndarray]
    attentiveness: np.ndarray
    went: dict[str, Any] = field(default_factory=dict)
    covered: dict[str, float | None] = field(default_factory=dict)


def settled_for(model: BehaviorModel, design: Design, argument: str) -> BehaviorModel:
    """The model, if logs of this design are enough to settle it.

    Raises:
        EarnestError: it looks at gold answers, or leaves something to the votes of a log.
    """
    if not isinstance(model, BehaviorModel):
        raise EarnestError(f"calibrate({argument}=...): expected a BehaviorModel, got {model!r}")
    if GOLD in model.context:
        raise EarnestError(
            f"calibrate({argument}=...): the model looks at gold answers, which are not simulated; calibrate it with "
            "Gold(answers=False) or without"
        )
    counts = model.count(design.blank(model))
    # The scales of columns are known before any vote is.
    totals = counts.totals()
    model = model.measure(CellView.of(counts.cells), totals)
    settled = model.prepare(counts)
    if settled != model:
        changed = [role for role, part in settled.roles.items() if part != model.roles[role]]
        raise EarnestError(
            f"calibrate({argument}=...): its {changed[0]} component leaves something to the data, which here are yet "
            f"to be told; give it in full (for logs of this design: {getattr(settled, changed[0])!r})"
        )
    return model


class Machine:
    """A model on a design. Subclasses say how to draw from the posterior: `draws`.

    Args:
        model: the declaration.
        design: who is shown what.
        told: of a model that looks at what comes about with the votes, the log whose votes they are.

    Raises:
        EarnestError: the model cannot be settled without votes, or the design shows too many different things.
    """

    def __init__(self, model: BehaviorModel, design: Design, told: Told | None = None) -> None:
        self.model, self.design = settled_for(model, design, "model"), design
        blank = design.blank(self.model) if told is None else design.log(told.outcome, self.model, told.told)
        settled = settle(self.model, blank)
        self.table, self.tally = settled.table, tally(settled.counts, merge=False)
        if not self.tally.dense and not self.model.told:
            raise EarnestError(
                f"models={design.models}: logs with so many different pairs have no table with a column for each; "
                "calibrate with fewer models, or where items tell them apart with fewer users and comparisons"
            )
        pieces = choose_pieces(self.model, self.tally, prior_points(self.table))
        self.statement = Statement(self.model, self.table, self.tally, "marginal", pieces)

        def log_likelihood(values: dict[str, Any], votes: Any) -> Any:
            def at(one: dict[str, Any]) -> Any:
                chances = self.statement.chances(JNP, one)
                rules = self.statement.rules(JNP, one, chances)
                return jnp.sum(self.statement.log_marginal(JNP, chances, rules, votes))

            return jax.vmap(at)(values)

        self._log_likelihood = jax.jit(log_likelihood)

    def draws(self, told: Told, votes: np.ndarray, seed: Sequence[int], rng: np.random.Generator) -> Draws:
        """`RANKED` draws from the posterior given a log.

        Args:
            told: the log; nothing but its outcomes may be looked at, but for `Draws.covered`.
            votes: its outcomes, (user, shown, outcome).
            seed: of the replication.
            rng: to go on with.
        """
        raise NotImplementedError

    def log_likelihood(self, values: Mapping[str, Any], votes: np.ndarray) -> np.ndarray:
        """Joint log-likelihood of the votes, attentiveness integrated out, at draws (draw, ...), nats, (draw,)."""
        return np.asarray(self._log_likelihood(dict(values), votes))

    def of(self, told: Told) -> Machine:
        """The machine for a log: itself, unless the model looks at what comes about with the votes."""
        return type(self)(self.model, self.design, told) if self.model.told else self

    def count(self, outcome: np.ndarray) -> np.ndarray:
        """Outcomes of the design as the model's own table of votes, (user, shown, outcome)."""
        if self.model.told:
            return self.tally.count  # the log is its own
        user, first, second = self.design.shown_to(self.model)
        n, cells = self.tally.count.shape[2], self.tally.cells
        columns = self.design.columns(self.model).context
        there = [np.asarray(cells[name])[::n] for name in columns]
        shown = {key: slot for slot, key in enumerate(zip(cells.model_a[::n], cells.model_b[::n], *there, strict=True))}
        votes = np.zeros(self.tally.count.shape)
        for u, a, b, y, *rest in zip(user, first, second, outcome, *columns.values(), strict=True):
            if (a, b, *rest) in shown:
                votes[u, shown[a, b, *rest], y] += 1
            else:  # a model that does not look at the order has each pair in one order only
                votes[u, shown[b, a, *rest], (1, 0, 2)[y]] += 1
        return votes

    def entries(self, parameter: Parameter, shape: tuple[int, ...]) -> list[str]:
        """Label of each free scalar of a parameter: of two shares that sum to one only the first."""
        size = int(np.prod(shape))
        if size == 1:
            return [parameter.name]
        two_shares = isinstance(parameter.support, Simplex) and size == 2
        return [f"{parameter.name}[{i}]" for i in range(1 if two_shares else size)]

    def labels(self) -> dict[str, str]:
        """{label of a quantity: the same with the names along its axes}."""
        told = {}
        for parameter in self.table.parameters:
            shape = self.table.shape(parameter)
            names = [self.table.coords[dim] for dim in parameter.dims]
            for i, label in enumerate(self.entries(parameter, shape)):
                at = [str(names[axis][k]) for axis, k in enumerate(np.unravel_index(i, shape))] if shape else []
                told[label] = f"{parameter.name}[{', '.join(at)}]" if at else parameter.name
        users = {f"attentiveness[{u}]": f"attentiveness[{self.design.user_names[u]}]" for u in self.ranked_users}
        return told | users

    @property
    def ranked_users(self) -> range:
        """Users whose attentiveness is ranked one by one."""
        return range(min(_RANKED_USERS, self.design.users))

    def quantities(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{label: (draw,)} of every free scalar, labels of groups in their canonical order."""
        if not self.table.parameters:
            return {}
        n = len(next(iter(values.values())))
        each: list[Mapping[str, np.ndarray]] = [{k: v[i] for k, v in values.items()} for i in range(n)]
        if all(parameter.name in values for parameter in self.table.parameters):
            each = [self.model.canonical(one) for one in each]
        out = {}
        for parameter in self.table.parameters:
            if parameter.name in values:
                rows = np.array([one[parameter.name] for one in each])
                for i, label in enumerate(self.entries(parameter, rows.shape[1:])):
                    out[label] = rows.reshape(n, -1)[:, i]
        return out

    def counts(self, votes: np.ndarray) -> Counts:
        """A table of votes (user, shown, outcome) as counts over all cells of the design, chosen or not."""
        view, n = self.tally.cells, self.tally.count.shape[2]
        user, slot, y = np.nonzero(votes)
        cells = Cells(self.tally.schema, view.model_a, view.model_b, view.outcome, dict(view.context))
        return Counts(self.tally.users, cells, user, self.tally.shown[user, slot] * n + y, votes[user, slot, y])

    def attentiveness(self, values: Mapping[str, np.ndarray], votes: np.ndarray, rng: Any) -> np.ndarray:
        """Attentiveness of every user drawn given each draw of the globals, (draw, user)."""
        counts = self.counts(votes)
        uniforms = rng.random((len(next(iter(values.values()))), self.design.users))
        pieces = users_given(self.model, counts, values, lambda first, n: uniforms[first : first + n])
        return np.concatenate([piece.attentiveness for piece in pieces])

    def shared(self, told: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """True values of those parameters that the model has as well, in the same shape."""
        return {
            p.name: np.asarray(told[p.name])
            for p in self.table.parameters
            if p.name in told and np.shape(told[p.name]) == self.table.shape(p)
        }


def replicate(machine: Machine, truth: BehaviorModel, seed: Sequence[int]) -> dict[str, Any]:
    """One replication: a log is told by `truth`, the machine draws from its posterior, and the truth is ranked.

    Returns:
        {"ranks": {quantity: 0 .. 99}, "true": {quantity: value}, "mean": {quantity: of the draws}, "covered": {...}
        where the method has intervals, how the draws were made, "wall_s", "cpu_s"}
    """
    told = tell(truth, machine.design, [*seed, 0])
    machine = machine.of(told)
    votes = machine.count(told.outcome)
    rng = np.random.default_rng([*seed, 2])
    wall, cpu = time.perf_counter(), time.process_time()
    draws = machine.draws(told, votes, seed, rng)
    true = machine.shared(told.values)
    both = {k: np.concatenate([draws.values[k], true[k][None]]) for k in true}
    ranked = machine.quantities(both)
    if len(true) == len(machine.table.parameters):  # else the truth has no likelihood under the model
        ranked[LOG_LIKELIHOOD] = machine.log_likelihood(both, votes)
    eta = np.concatenate([draws.attentiveness, told.attentiveness[None]])
    ranked.update({f"attentiveness[{u}]": eta[:, u] for u in machine.ranked_users})
    ranked[USERS_MEAN] = eta.mean(1)
    for label, x in ranked.items():
        if np.isnan(x).any() or len(x) != RANKED + 1:
            raise EarnestError(f"calibrate: {label} is not a number at some draw or at the truth (seed {list(seed)})")
    ranks = {label: rank(x[-1], x[:-1], rng) for label, x in ranked.items()}
    seconds = {
        "wall_s": round(time.perf_counter() - wall, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
    }
    true_values = {label: float(f"{x[-1]:.6g}") for label, x in ranked.items()}
    means = {label: float(f"{x[:-1].mean():.6g}") for label, x in ranked.items()}
    covered = {"covered": draws.covered} if draws.covered else {}
    return {"ranks": ranks, "true": true_values, "mean": means, **covered, **draws.went, **seconds}
