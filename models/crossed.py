"""Effects that are shared across users: one for each item that several of them judged.

Users and items are crossed, so that neither marginal likelihood factorises. Samplers draw the effects like any other
parameter. EM has a normal q(d_i) of each and expectations over it by quadrature: there a comparison is several cells,
one for each abscissa, each with its share of the comparison's count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..comparisons.schema import Schema
from .component import CellView
from .namespace import Namespace
from .parameters import Parameter, Values
from .priors import HierarchicalNormal

__all__ = ["NODES", "WEIGHTS", "Crossed"]

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
"""Abscissae and weights of the standard normal: E_q of a comparison's log-likelihood to 1e-7 where q's standard
deviation is 1, to 1e-5 at 1.5."""
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True)
class Crossed:
    """Normal effects with mean 0 of what a column names.

    Attributes:
        column: context column that names what has an effect; also the effects' axis.
        effect: name of the effects, a parameter where they are sampled; in EM a context column, log-odds, (cell,).
        scale: their standard deviation.
    """

    column: str
    effect: str
    scale: Parameter

    @property
    def node(self) -> str:
        """Context column of EM: the cell's abscissa, one of `NODES`, (cell,)."""
        return f"{self.effect}_node"

    @property
    def spread(self) -> str:
        """Context column of EM, where it is there: standard deviation of an effect that no vote was fitted to, (cell,).

        It is integrated out of the comparison's probability; 0 for the others.
        """
        return f"{self.effect}_spread"

    def parameters(self, schema: Schema) -> tuple[Parameter, ...]:
        """The scale; also the effects, where the schema has their axis (samplers and the simulator)."""
        if self.column not in schema.coords():
            return (self.scale,)
        return self.scale, Parameter(self.effect, HierarchicalNormal(self.scale.name), (self.column,))

    def log_prob(self, xp: Namespace, values: Values, cells: CellView, given: Callable[[Any], Any]) -> Any:
        """Log-probability of each cell, nats, (cell,), from what it is `given` its effect (cell,)."""
        if self.effect in values:
            return given(values[self.effect][cells[self.column]])
        at = cells[self.effect]
        if self.spread not in cells.context:
            return given(at)
        spread = cells[self.spread]
        each = [given(at + spread * x) + np.log(weight) for x, weight in zip(NODES, WEIGHTS, strict=True)]
        return xp.logsumexp(xp.stack(each), axis=0)
