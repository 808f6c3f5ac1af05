"""A few tastes, each with its own skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.schema import Schema
from .component import CellView
from .namespace import NUMPY, Namespace
from .parameters import Parameter, Values
from .preference import WithTies
from .priors import Dirichlet, Prior, ZeroSumNormal
from .settings import prior_of, whole
from .supports import SIMPLEX, ZERO_SUM
from .ties import TieRule

__all__ = ["TasteGroups"]


@dataclass(frozen=True)
class TasteGroups(WithTies):
    """Bradley-Terry with skills of its own for each of a few latent tastes; a user has one of them.

    It tells a minority's taste from carelessness where the data bear it: under one taste for all, who attends to
    another looks like a careless user.

    Args:
        tastes: how many, 2 or more; the largest comes first.
        ties: `Davidson()`, `RaoKupper()` or None.
        prior: prior of each taste's `skill` (taste, model).
        weight_prior: prior of `taste_weight` (taste).

    Raises:
        EarnestError: fewer than two tastes.

    Reference: model.md, section 2.

    Example:
        >>> import earnest as er
        >>> model = er.BehaviorModel(preference=er.TasteGroups(2))
        >>> fit = er.fit_em(model, model.simulate(users=60, comparisons_per_user=15, models=3, seed=1).log)
        >>> fit.parameters["skill"].shape
        (2, 3)
    """

    tastes: int = whole(2, least=2)
    ties: TieRule | None = None
    prior: Prior = prior_of(ZeroSumNormal, ZERO_SUM)
    weight_prior: Prior = prior_of(Dirichlet, SIMPLEX)

    def kinds(self, schema: Schema) -> tuple[str, ...]:
        return tuple(f"taste {k + 1}" for k in range(self.tastes))

    def log_kinds(self, xp: Namespace, values: Values) -> Any:
        return xp.log(values["taste_weight"])

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        named = (("taste", self.kinds(schema)),)
        weight = Parameter("taste_weight", self.weight_prior, ("taste",), named)
        return (Parameter("skill", self.prior, ("taste", "model"), named), weight, *self.rule.parameters(schema))

    def log_ratio(self, xp: Namespace, values: Values, cells: CellView) -> Any:
        return values["skill"][:, cells.model_a] - values["skill"][:, cells.model_b]

    def sample_by_kind(
        self, rng: np.random.Generator, values: Values, cells: CellView, kind: np.ndarray | None
    ) -> np.ndarray:
        ratio = np.asarray(self.log_ratio(NUMPY, values, cells), dtype=float)
        return self.rule.sample(rng, values, ratio[kind, np.arange(len(cells))])

    def maximize_kinds(self, users: Any, prior: bool) -> dict[str, Any]:
        shares = self.weight_prior.estimate(users, prior) if isinstance(self.weight_prior, Dirichlet) else None
        return {} if shares is None else {"taste_weight": shares}

    def starts(self, schema: Schema) -> Sequence[Values]:
        # Tastes part along one model at a time: the first taste is for it, the others, less and less, against it.
        lean = np.linspace(1.0, -1.0, self.tastes)[:, None] * (np.eye(schema.n_models) - 1.0 / schema.n_models)[:, None]
        even = np.full(self.tastes, 1.0 / self.tastes)
        return [{"skill": skill, "taste_weight": even} for skill in lean[: 6 if schema.n_models > 2 else 1]]

    def objection(self, model: Any) -> str:
        other = type(model.attentiveness).__name__
        signed = model.attentiveness.signed
        return f"beside {other}: who turns one taste round is of the opposite one" if signed else ""

    def canonical(self, values: Values) -> dict[str, np.ndarray]:
        order = np.argsort(-np.asarray(values["taste_weight"]), kind="stable")
        return {k: np.asarray(v)[order] if k in ("skill", "taste_weight") else v for k, v in values.items()}
