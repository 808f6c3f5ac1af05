"""The contract between a behavioural component and everything that Earnest derives from it.

A component is a frozen dataclass. It says what is unknown (`parameters`) and how probable an outcome is (`log_prob`),
once, against an array namespace; the simulator, both EM estimators and the samplers follow from that. The remaining
methods are optional hooks with defaults that simple components never see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..comparisons.cells import Cells
from ..comparisons.errors import EarnestError
from ..comparisons.schema import Schema
from .namespace import NUMPY, Namespace
from .parameters import Parameter, Values
from .settings import checked, context_of

if TYPE_CHECKING:
    from .crossed import Crossed

__all__ = ["Attentiveness", "Casual", "CellView", "Component", "Continuous", "Finite", "Preference"]


@dataclass(frozen=True)
class CellView:
    """What a component sees of the cells: one entry a cell, in whatever array type the caller works with.

    Attributes:
        schema: names of models, pairs, outcomes and categories.
        model_a, model_b: index of the model shown first and second, (cell,).
        outcome: 0 = model_a won, 1 = model_b won, 2 = tie, (cell,).
        pair: index of the unordered pair, (cell,).
        sign: +1 where model_a is the pair's first-named model, else -1, (cell,).
        won_a, tie: whether the outcome is a win of model_a / a tie, (cell,) booleans made beforehand, because `==` on
            symbolic arrays is not elementwise in every backend.
        context: further columns that components asked for.
    """

    schema: Schema
    model_a: Any
    model_b: Any
    outcome: Any
    pair: Any
    sign: Any
    won_a: Any
    tie: Any
    context: Mapping[str, Any]

    @classmethod
    def of(cls, cells: Cells, schema: Schema | None = None) -> CellView:
        """View NumPy cells; `schema` replaces the cells' own where it knows more names."""
        cells = replace(cells, schema=schema or cells.schema)
        outcome = np.asarray(cells.outcome)
        return cls(
            cells.schema,
            np.asarray(cells.model_a),
            np.asarray(cells.model_b),
            outcome,
            np.asarray(cells.pair),
            np.asarray(cells.sign, dtype=float),
            outcome == 0,
            outcome == 2,
            dict(cells.context),
        )

    def with_outcome(self, outcome: int) -> CellView:
        """The same cells with every outcome replaced by this one (NumPy)."""
        filled = np.full(np.shape(self.model_a), outcome)
        return replace(self, outcome=filled, won_a=filled == 0, tie=filled == 2)

    def turned(self) -> CellView:
        """The same cells with the other side chosen; ties stay."""
        won_b = ~(self.won_a | self.tie)
        outcome = self.outcome + (1 - 2 * self.outcome) * (1 - 1 * self.tie)
        return replace(self, outcome=outcome, won_a=won_b)

    def rows(self, index: np.ndarray, **context: np.ndarray) -> CellView:
        """Some of the cells, with columns added (NumPy)."""
        arrays: dict[str, Any] = {
            name: np.asarray(getattr(self, name))[index]
            for name in ("model_a", "model_b", "outcome", "pair", "sign", "won_a", "tie")
        }
        return CellView(self.schema, **arrays, context={**{k: v[index] for k, v in self.context.items()}, **context})

    def __len__(self) -> int:
        return int(np.shape(self.model_a)[0])

    def __getitem__(self, column: str) -> Any:
        if column not in self.context:
            raise EarnestError(
                f"the component looks at the column {column!r} without declaring it: add it to its `context`"
            )
        return self.context[column]


def _is_builtin(cls: type) -> bool:
    return cls.__module__.startswith(__name__.rpartition(".")[0] + ".")


@dataclass(frozen=True)
class Component:
    """Base of all components.

    Settings made by the functions of `settings` are checked when a component is made.

    Class attributes:
        context: names of the further columns of the log that the component looks at (default: those that its settings
            name).
        told: those of them that come about with the votes, and so are not drawn before them by the simulator.
        of_user: those of them that are known of the user, the same in all of a user's comparisons.
        directed: whether it matters which response was shown first. Where no component minds, cells are counted
            without order, which makes them fewer.
    """

    told: ClassVar[tuple[str, ...]] = ()
    of_user: ClassVar[tuple[str, ...]] = ()
    directed: ClassVar[bool] = True
    registry: ClassVar[dict[str, type[Component]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        known = Component.registry.get(cls.__name__)
        # A class defined again (a notebook cell run twice) replaces itself; one's own may not pass for a built-in.
        if known is not None and known.__module__ != cls.__module__ and _is_builtin(known):
            raise EarnestError(f"a component called {cls.__name__!r} is built in: give yours another name")
        Component.registry[cls.__name__] = cls

    def __post_init__(self) -> None:
        checked(self)

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the further columns of the log that the component looks at."""
        return context_of(self)

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        """The component's unknowns, given the names in the log."""
        return ()

    def prepare(self, schema: Schema, cells: CellView, counts: np.ndarray) -> Component:
        """A copy with everything settled that the declaration left to the data (default: itself).

        Args:
            schema: names in the log.
            cells: the distinct cells.
            counts: comparisons in each cell, (cell,).
        """
        return self

    def measure(self, cells: CellView, counts: np.ndarray) -> Component:
        """A copy that knows the scale of the columns that it looks at (default: itself).

        Unlike `prepare` it sees no outcomes, so that the simulator can ask, too.
        """
        return self

    def check(self, cells: Cells) -> None:
        """Raise an `EarnestError` where a column has values that the component cannot use (default: any will do)."""

    def draw_column(self, name: str, rng: np.random.Generator, size: int) -> np.ndarray:
        """A column of `context` as the simulator draws it unless it is given, (size,).

        Default: three categories, equally often, or a standard normal covariate.
        """
        if name == "category":
            return rng.choice(["category_1", "category_2", "category_3"], size=size)
        return rng.standard_normal(size)

    def starts(self, schema: Schema) -> Sequence[Values]:
        """Starting values from which different modes may be reached; each a partial table of parameters."""
        return ({},)

    def maximize(self, schema: Schema, cells: CellView, weights: np.ndarray, prior: bool) -> dict[str, Any] | None:
        """Closed form of the M-step, where there is one: the maximiser of `sum(weights * log_prob)` (+ log prior).

        Must be written in operations that JAX can trace. None (default): found by Newton's method.
        """
        return None

    def canonical(self, values: Values) -> dict[str, np.ndarray]:
        """The same component with its labels in a fixed order (finite mixtures are invariant to relabelling)."""
        return dict(values)

    def objection(self, model: Any) -> str:
        """Why the component cannot stand beside another of a model's ("beside Signed: ..."), or "" (default)."""
        return ""

    @property
    def labelled(self) -> bool:
        """Whether the component has labels whose order `canonical` fixes."""
        return type(self).canonical is not Component.canonical


class _OutcomeComponent(Component):
    def kinds(self, schema: Schema) -> tuple[str, ...]:
        """Names of the kinds of users that the component tells apart (default: none)."""
        return ()

    def log_kinds(self, xp: Namespace, values: Values) -> Any:
        """Log share of each kind in the population, (kind,)."""
        raise NotImplementedError

    def maximize_kinds(self, users: Any, prior: bool) -> dict[str, Any]:
        """Closed form of the parameters that only `log_kinds` looks at, from the expected users of each kind (kind,).

        Must be written in operations that JAX can trace. Default: none; they are found by Newton's method.
        """
        return {}

    def log_prob(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """Log-probability of each cell's outcome, nats, (cell,), or (kind, cell) where kinds are told apart."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, values: Values, cells: CellView) -> np.ndarray:
        """Draw an outcome for every row of `cells` (whose own outcomes are to be ignored), (cell,) of 0, 1, 2.

        Default: by inversion from `log_prob`. The built-ins draw from their generative story instead, so that density
        and simulator check each other.
        """
        return self.sample_by_kind(rng, values, cells, None)

    def sample_by_kind(
        self, rng: np.random.Generator, values: Values, cells: CellView, kind: np.ndarray | None
    ) -> np.ndarray:
        """The same of a component that tells kinds of users apart, given the kind of each row's user, (cell,)."""
        n_outcomes = cells.schema.n_outcomes
        table = np.stack([self.log_prob(NUMPY, values, cells.with_outcome(y)) for y in range(n_outcomes)])
        if kind is not None:
            table = table[:, kind, np.arange(len(kind))]
        probabilities = np.exp(table)
        total = probabilities.sum(0)
        if not np.allclose(total, 1.0, atol=1e-8):
            worst = int(np.argmax(np.abs(total - 1)))
            raise EarnestError(
                f"{type(self).__name__}.log_prob: the probabilities of the {n_outcomes} outcomes sum to "
                f"{total[worst]:.6g} in cell {worst}; they must sum to 1"
            )
        cumulative = np.cumsum(probabilities, axis=0)[:-1]
        return (rng.random(len(cells)) > cumulative).sum(0)


class Preference(_OutcomeComponent):
    """P_n(y): what a user who attends chooses."""

    @property
    def allows_ties(self) -> bool:
        """Whether a tie is a possible outcome."""
        return getattr(self, "ties", None) is not None

    @property
    def crossed(self) -> Crossed | None:
        """Effects shared across users, which `log_prob` looks at by way of `Crossed.log_prob` (default: none).

        Their scale and they themselves are parameters without being among the component's `parameters`.
        """
        return None


class Casual(_OutcomeComponent):
    """C_n(y): what a user who does not attend chooses."""

    def attends(self, schema: Schema) -> tuple[bool, ...]:
        """Which of its kinds of users ever attend (default: all)."""
        return tuple(True for _ in self.kinds(schema))


@dataclass(frozen=True)
class Continuous:
    """The latent attentiveness is a number in (0, 1); nodes are quadrature points on the logit scale."""


@dataclass(frozen=True)
class Finite:
    """The latent attentiveness is one of `size` levels; nodes are their indices."""

    size: int


class Attentiveness(Component):
    """The population from which users' attentiveness eta_u is drawn."""

    directed: ClassVar[bool] = False
    gauss_exact: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    """Whether eta_u is in [-1, 1]: of a negative one the absolute value is how often the user attends, to pick the
    worse response. `log_weights` and `statistics` then have a leading axis: positive, negative."""

    def latents(self, schema: Schema) -> Continuous | Finite:
        """What kind of latent a user has (default: a number)."""
        return Continuous()

    def log_weights(self, xp: Namespace, values: Values, latent: Any) -> Any:
        """Log-density at logit(eta) = latent (`Continuous`, Jacobian included) or log-weight of level `latent`.

        Default: by way of `statistics`.
        """
        if (statistics := self.statistics(xp, latent)) is None:
            raise NotImplementedError
        return self.log_weights_at(xp, values, statistics)

    def attention(self, xp: Namespace, values: Values, latent: Any) -> tuple[Any, Any]:
        """(log eta, log(1 - eta)) at the nodes; the shape of `latent`."""
        return xp.log_sigmoid(latent), xp.log_sigmoid(-latent)

    @property
    def slopes(self) -> tuple[str, ...]:
        """Names of those of its parameters that `offset` looks at, and nothing else (default: none)."""
        return ()

    def offset(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        """By how much what is known of each cell's user moves the logit of their attentiveness, (cell,), or None.

        Of a `Continuous` population; everything else here is of a user whom nothing moves. Looks at columns in
        `of_user` only, so that it is the same in all of a user's cells.
        """
        return None

    def gauss(self, xp: Namespace, values: Values, size: int) -> tuple[Any, Any] | None:
        """Gauss quadrature of a `Continuous` population: nodes eta and log-weights, (size,) each, or None.

        With it the samplers integrate a user's n votes exactly on n // 2 + 1 nodes; without, on a fixed fine grid. A
        rule that moves with the population without being exact for polynomials says so by `gauss_exact = False`, and
        gets as many nodes as accuracy needs.
        """
        return None

    def statistics(self, xp: Namespace, latent: Any) -> tuple[Any, ...] | None:
        """Functions of the latent in which `log_weights` is affine (an exponential family), or None.

        With them the M-step needs only their expectation and not every node of every pattern.
        """
        return None

    def log_weights_at(self, xp: Namespace, values: Values, statistics: tuple[Any, ...]) -> Any:
        """`log_weights` as an affine function of `statistics`."""
        raise NotImplementedError

    def maximize_weights(self, users: Any, prior: bool) -> dict[str, Any] | None:
        """Closed form of the M-step of a `Finite` population whose levels are fixed, from the users at each, (node,).

        Must be written in operations that JAX can trace. None (default): found by Newton's method.
        """
        return None

    def sample(self, rng: np.random.Generator, values: Values, size: int) -> np.ndarray:
        """Draw the attentiveness of `size` users, (user,)."""
        raise NotImplementedError
