"""The simulator: the generative story, told forward.

Each user has an attentiveness; each comparison is attended or not; an attended one is decided by the preference, the
others by the casual component. Nothing here evaluates the likelihood, so that simulator and density check each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..comparisons.cells import Cells
from ..comparisons.errors import EarnestError
from ..comparisons.log import ComparisonLog
from ..comparisons.read import read_comparisons
from ..comparisons.schema import OUTCOMES, Schema
from .component import CellView
from .gold import GOLD

if TYPE_CHECKING:
    from .behavior import BehaviorModel

__all__ = ["Truth", "simulate"]


@dataclass(frozen=True)
class Truth:
    """A simulated log and what is true of it.

    Attributes:
        log: the comparisons.
        parameters: {name: value} on the constrained scale.
        attentiveness: data frame with `user` and `attentiveness`.
        attended: whether each comparison was attended, in the log's row order, (comparison,).
        schema: names of models, outcomes and pairs.
    """

    log: ComparisonLog
    parameters: dict[str, np.ndarray]
    attentiveness: pd.DataFrame
    attended: np.ndarray
    schema: Schema


def simulate(
    model: BehaviorModel,
    users: int = 1000,
    comparisons_per_user: int | Sequence[int] = 20,
    models: int | Sequence[str] = 4,
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    texts: bool = False,
) -> Truth:
    """Simulate a log. Gold users attend to every comparison; gold answers are not simulated.

    Args:
        model: the declaration.
        users: number of users.
        comparisons_per_user: one number, or one a user (a user with 0 does not occur in the log).
        models: number of models or their names. Every comparison shows two different ones, uniformly chosen.
        seed: of all randomness.
        parameters: true values; those not given are drawn from their priors. Values by model are given in the order of
            `models`, and come back in alphabetical order, like every result.
        texts: add `prompt`, `response_a` and `response_b` with placeholder texts.

    Raises:
        EarnestError: no user, fewer than two models, a parameter that the model does not have or of the wrong shape.

    Example:
        >>> truth = BehaviorModel().simulate(users=5, comparisons_per_user=3, models=2, seed=1)
        >>> len(truth.log)
        15
    """
    unknown = [name for name in model.context if name != GOLD]
    if unknown:
        raise EarnestError(
            f"the model looks at the columns {', '.join(unknown)}, which the simulator does not know how to draw"
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise EarnestError(f"seed={seed!r}: expected a whole number, 0 or more")
    rng = np.random.default_rng(seed)
    schema = _schema(models, model.preference.allows_ties)
    values = _values(model, schema, parameters, rng, None if isinstance(models, int) else list(models))
    per_user = _per_user(users, comparisons_per_user)
    names = np.array([f"user_{i + 1:0{len(str(users))}d}" for i in range(users)])
    eta = np.asarray(model.attentiveness.sample(rng, values, users), dtype=float)
    eta = np.where(model.attends(names), 1.0, eta)

    owner = np.repeat(np.arange(users), per_user)
    first = rng.integers(schema.n_models, size=len(owner))
    second = (first + rng.integers(1, schema.n_models, size=len(owner))) % schema.n_models
    blank = Cells(schema, first, second, np.zeros(len(owner), dtype=int), {})
    view = CellView.of(blank)
    attended = rng.random(len(owner)) < eta[owner]
    outcome = np.where(attended, model.preference.sample(rng, values, view), model.casual.sample(rng, values, view))

    frame = pd.DataFrame(
        {
            "user": names[owner],
            "model_a": np.array(schema.models)[first],
            "model_b": np.array(schema.models)[second],
            "winner": np.array(OUTCOMES)[outcome],
        }
    )
    if texts:
        frame["prompt"] = [f"Prompt {i + 1}: please answer this question." for i in range(len(frame))]
        for side in ("a", "b"):
            frame[f"response_{side}"] = "Answer of " + frame[f"model_{side}"] + " to " + frame["prompt"].str[:-30] + "."
    text_columns: Any = {name: name for name in ("prompt", "response_a", "response_b") if texts}
    log = read_comparisons(
        frame, user="user", model_a="model_a", model_b="model_b", winner="winner", **text_columns
    )  # fmt: skip
    return Truth(log, values, pd.DataFrame({"user": names, "attentiveness": eta}), attended, schema)


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
    values = table.sample_prior(rng)
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
