"""The simulator: the generative story, told forward.

Each user has an attentiveness; each comparison is attended or not; an attended one is decided by the preference, the
others by the casual component. Nothing here evaluates the likelihood, so that simulator and density check each other.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.cells import Cells
from ..comparisons.context import NAMED, PREVIOUS, TIMESTAMP
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.read import read_comparisons
from ..comparisons.schema import OUTCOMES, Schema
from .choices import choose, draw_users, with_covariates
from .component import CellView
from .gold import GOLD

if TYPE_CHECKING:
    from .behavior import BehaviorModel

__all__ = ["Shown", "Truth", "draw_columns", "simulate"]


@dataclass(frozen=True)
class Truth:
    """A simulated log and what is true of it.

    Attributes:
        log: the comparisons.
        parameters: {name: value} on the constrained scale.
        attentiveness: data frame with `user` and `attentiveness`; with `kind` where the model tells kinds
            of users apart.
        attended: whether each comparison was attended, in the log's row order, (comparison,).
        schema: names of models, outcomes and pairs.
    """

    log: ComparisonLog
    parameters: dict[str, np.ndarray]
    attentiveness: pd.DataFrame
    attended: np.ndarray
    schema: Schema

    def __repr__(self) -> str:
        size = f"{len(self.log):,} comparisons by {len(self.attentiveness):,} users"
        return f"<Truth behind {size}: {', '.join(self.parameters)}>"


def simulate(
    model: BehaviorModel,
    users: int = 1000,
    comparisons_per_user: int | Sequence[int] = 20,
    models: int | Sequence[str] = 4,
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    texts: bool = False,
    columns: Mapping[str, Any] | None = None,
) -> Truth:
    """Simulate a log. Gold users attend to every comparison; gold answers are not simulated.

    Args:
        model: the declaration.
        users: number of users.
        comparisons_per_user: one number, or one a user (a user with 0 does not occur in the log).
        models: number of models or their names. Every comparison shows two different ones, uniformly chosen; those of
            an item show the same two, in either order.
        seed: of all randomness.
        parameters: true values; those not given are drawn from their priors. Values by model are given in the order of
            `models`, and come back in alphabetical order, like every result.
        texts: add `prompt`, `response_a` and `response_b` with placeholder texts.
        columns: {name: values (comparison,), or a function of (rng, size) that draws them} for columns that the model
            looks at: categories as texts, covariates as finite numbers. Others are drawn as the components say
            (standard normal covariates; three categories; a user's votes at the times 0, 1, 2, ...). A covariate of
            users has the same value in all of a user's comparisons; a function draws one for each user. Slopes in
            `parameters` are per root mean square of a column, per standard deviation where it is centred.

    Raises:
        EarnestError: no user, fewer than two models, a parameter that the model does not have or of the wrong shape.

    Example:
        >>> truth = BehaviorModel().simulate(users=5, comparisons_per_user=3, models=2, seed=1)
        >>> len(truth.log)
        15
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise EarnestError(f"seed={seed!r}: expected a whole number, 0 or more")
    rng = np.random.default_rng(seed)
    schema = _schema(models, model.preference.allows_ties)
    per_user = _per_user(users, comparisons_per_user)
    turn = np.arange(per_user.sum()) - np.repeat(np.cumsum(per_user) - per_user, per_user)
    shown = draw_columns(model, len(turn), seed, columns, turn)
    schema = replace(schema, categories=shown.categories, items=shown.items)
    values = _values(model, schema, parameters, rng, None if isinstance(models, int) else list(models))
    names = np.array([f"user_{i + 1:0{len(str(users))}d}" for i in range(users)])
    drawn = draw_users(model, rng, values, schema, model.attends(names))

    owner = np.repeat(np.arange(users), per_user)
    if TIMESTAMP in shown.columns and np.any((np.diff(shown.columns[TIMESTAMP]) < 0) & (np.diff(owner) == 0)):
        raise EarnestError("columns['timestamp']: expected times that do not fall from one vote of a user to the next")
    first = rng.integers(schema.n_models, size=len(owner))
    second = (first + rng.integers(1, schema.n_models, size=len(owner))) % schema.n_models
    first, second = shown.of_items(first, second)
    view = CellView.of(Cells(schema, first, second, np.zeros(len(owner), dtype=int), shown.context))
    model = model.measure(view, np.ones(len(owner)))
    drawn = with_covariates(model, values, view, drawn, owner)
    chosen = choose(model, rng, values, view, drawn, owner)

    frame = pd.DataFrame(
        {
            "user": names[owner],
            "model_a": np.array(schema.models)[first],
            "model_b": np.array(schema.models)[second],
            "winner": np.array(OUTCOMES)[chosen.outcome],
            **shown.columns,
            **{name: column for name, column in chosen.told.items() if name != PREVIOUS},
        }
    )
    if texts:
        frame["prompt"] = [f"Prompt {i + 1}: please answer this question." for i in range(len(frame))]
        for side in ("a", "b"):
            frame[f"response_{side}"] = "Answer of " + frame[f"model_{side}"] + " to " + frame["prompt"].str[:-30] + "."
    text_columns: Any = {name: name for name in ("prompt", "response_a", "response_b") if texts}
    named: dict[str, Any] = {name: name for name in (*NAMED, TIMESTAMP) if name in shown.columns}
    log = read_comparisons(
        frame, user="user", model_a="model_a", model_b="model_b", winner="winner", **text_columns, **named
    )  # fmt: skip
    told = pd.DataFrame({"user": names, "attentiveness": drawn.attentiveness})
    kinds = model.kinds(schema)
    if kinds.size > 1:
        told["kind"] = np.array(kinds.labels)[drawn.kind]
    return Truth(log, values, told, chosen.attended, schema)


@dataclass(frozen=True)
class Shown:
    """Columns of a simulated log that a model looks at.

    Attributes:
        columns: as the log has them, {name: (comparison,)}.
        context: as cells have them: categories and items by their index, {name: (comparison,)}.
        categories, items: their names, sorted.
    """

    columns: dict[str, np.ndarray]
    context: dict[str, np.ndarray]
    categories: tuple[str, ...] = ()
    items: tuple[str, ...] = ()

    def of_items(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Models shown, with those of an item's first comparison in all of its, each in its own order."""
        if "item" not in self.context:
            return first, second
        lead = np.unique(self.context["item"], return_index=True)[1][self.context["item"]]
        low, high = np.minimum(first, second)[lead], np.maximum(first, second)[lead]
        return np.where(first < second, low, high), np.where(first < second, high, low)


def draw_columns(
    model: BehaviorModel, size: int, seed: int, given: Mapping[str, Any] | None = None,
    turn: np.ndarray | None = None,
) -> Shown:  # fmt: skip
    """The columns that a model looks at before the votes: those given, the others as its components draw them.

    Args:
        model: the declaration.
        size: number of comparisons.
        seed: of columns that are drawn.
        given: {name: values, or a function of (rng, size)}.
        turn: number of each comparison among its user's, (comparison,): the time of the vote unless that is given.

    Raises:
        EarnestError: a column that the model does not look at, or with values that it cannot have.
    """
    wanted = [name for name in model.context if name not in (GOLD, *model.told)]
    if model.ordered and TIMESTAMP not in wanted:
        wanted.append(TIMESTAMP)
    if given is not None and not isinstance(given, Mapping):
        raise EarnestError(f"columns={given!r}: expected {{name: values}}")
    if unknown := sorted(set(given or {}) - set(wanted)):
        looks = f"it looks at {', '.join(map(repr, wanted))}" if wanted else "it looks at none"
        raise EarnestError(f"columns: the model does not look at {unknown[0]!r}; {looks}")
    columns: dict[str, np.ndarray] = {}
    context: dict[str, np.ndarray] = {}
    texts: dict[str, tuple[str, ...]] = {}
    for name in wanted:
        # Each column has randomness of its own: two models that look at it see the same.
        rng = np.random.default_rng([seed, 9, zlib.crc32(name.encode())])
        value = (given or {}).get(name)
        if value is None and name == TIMESTAMP:
            value = np.arange(size, dtype=float) if turn is None else turn.astype(float)
        if value is None:
            value = partial(next(c for c in model.components if name in c.context).draw_column, name)
        if callable(value) and name in model.of_user and turn is not None:
            owner = np.cumsum(turn == 0) - 1
            value = _of_users(name, value(rng, int(owner[-1]) + 1), owner)
        value = np.asarray(value(rng, size) if callable(value) else value)
        if value.shape != (size,):
            raise EarnestError(f"columns[{name!r}]: expected one value for each of {size:,} comparisons")
        if name in model.of_user and turn is not None:
            _check_constant(name, value, turn)
        if name in NAMED:
            names, context[name] = np.unique(_texts(name, value), return_inverse=True)
            texts[name] = tuple(str(text) for text in names)
            columns[name] = names[context[name]]
        else:
            columns[name] = _finite(name, value)
            if name in model.context:
                context[name] = columns[name]
    return Shown(columns, context, texts.get("category", ()), texts.get("item", ()))


def _of_users(name: str, value: Any, owner: np.ndarray) -> np.ndarray:
    """One value for each user as one for each of their comparisons, (comparison,)."""
    value = np.asarray(value)
    if value.shape != (owner[-1] + 1,):
        raise EarnestError(
            f"columns[{name!r}]: expected one value for each of {owner[-1] + 1:,} users with comparisons"
        )
    return np.asarray(value[owner])


def _texts(name: str, value: np.ndarray) -> np.ndarray:
    for row, text in enumerate(value.tolist()):
        if not isinstance(text, str) or not text.strip():
            raise EarnestError(f"columns[{name!r}]: expected texts, got {text!r} in comparison {row + 1}")
    return value.astype(str)


def _check_constant(name: str, value: np.ndarray, turn: np.ndarray) -> None:
    other = value != value[np.flatnonzero(turn == 0)][np.cumsum(turn == 0) - 1]
    if other.any():
        raise EarnestError(
            f"columns[{name!r}]: expected the same value in all of a user's comparisons, got {value[np.argmax(other)]} "
            f"in comparison {int(np.argmax(other)) + 1} and another in the user's first; a function of (rng, users) "
            "draws one for each user"
        )


def _finite(name: str, value: np.ndarray) -> np.ndarray:
    if value.dtype.kind not in "biuf":
        raise EarnestError(f"columns[{name!r}]: expected numbers, got {value.tolist()[0]!r} in comparison 1")
    numbers = value.astype(float)
    if not np.all(np.isfinite(numbers)):
        row = int(np.argmin(np.isfinite(numbers)))
        shown = f"{numbers[row]} in comparison {row + 1}"
        raise EarnestError(f"columns[{name!r}]: expected finite numbers, got {shown}")
    return numbers


def _schema(models: int | Sequence[str], ties: bool) -> Schema:
    if isinstance(models, int):
        names = tuple(f"model_{i + 1:0{len(str(models))}d}" for i in range(models))
    else:
        names = tuple(sorted(models))
    if len(names) < 2 or len(set(names)) < len(names):
        raise EarnestError(f"models={models!r}: expected at least two different models")
    pairs = tuple((i, j) for i in range(len(names)) for j in range(i + 1, len(names)))
    return Schema(models=names, pairs=pairs, ties=ties)


def _values(
    model: BehaviorModel,
    schema: Schema,
    given: Mapping[str, Any] | None,
    rng: np.random.Generator,
    names: list[str] | None,
) -> dict[str, np.ndarray]:
    table = model.table(schema)
    values = table.sample_prior(rng, given if isinstance(given, Mapping) else None)
    unknown = [name for name in given or {} if name not in values]
    if unknown:
        raise EarnestError(f"the model has no parameter {unknown[0]!r}; it has: {', '.join(values) or 'none'}")
    values.update({name: np.asarray(value, dtype=float) for name, value in (given or {}).items()})
    table.pack(values)  # checks shapes and supports
    if names is not None:
        # Values were given in the caller's order of the models; the schema's is alphabetical.
        order = [names.index(name) for name in schema.models]
        for parameter in table.parameters:
            if parameter.name in (given or {}) and "model" in parameter.dims:
                values[parameter.name] = np.take(values[parameter.name], order, axis=parameter.dims.index("model"))
    return values


def _per_user(users: int, comparisons: int | Sequence[int]) -> np.ndarray:
    if users < 1:
        raise EarnestError(f"users={users}: expected at least one user")
    per_user = np.full(users, comparisons) if np.isscalar(comparisons) else np.asarray(comparisons)
    if per_user.shape != (users,) or per_user.min() < 0 or per_user.sum() == 0:
        raise EarnestError(
            f"comparisons_per_user: expected one non-negative number, or {users} of them, not all zero; got "
            f"{np.array2string(np.asarray(comparisons), threshold=5)}"
        )
    return per_user.astype(int)
