"""Every built-in combination of components, with all settings away from their defaults."""

from itertools import product

import numpy as np

import earnest as er
from earnest.comparisons.cells import Cells
from earnest.comparisons.schema import Schema
from earnest.models.component import CellView

TIES = {"none": None, "davidson": er.Davidson(), "rao_kupper": er.RaoKupper()}
PREFERENCES = {
    "known": lambda ties: er.KnownAdvantage(0.7, stronger=("b", "a", "c"), ties=ties),
    "pair": lambda ties: er.PairAdvantage(ties=ties),
    "skill": lambda ties: er.BradleyTerry(ties=ties),
}
CASUAL = {"coin": er.CoinFlip(), "position": er.PositionBias()}
ATTENTIVENESS = {"beta": er.Beta(), "fixed_groups": er.Groups((0.0, 0.4, 1.0)), "free_groups": er.Groups(2)}

ALL = {
    f"{p}-{t}-{c}-{a}": er.BehaviorModel(ATTENTIVENESS[a], PREFERENCES[p](TIES[t]), CASUAL[c])
    for p, t, c, a in product(PREFERENCES, TIES, CASUAL, ATTENTIVENESS)
}
OUTCOMES_ONLY = {name: model for name, model in ALL.items() if name.endswith("-beta")}


def schema(ties: bool) -> Schema:
    """Three models that all met."""
    return Schema(("a", "b", "c"), ((0, 1), (0, 2), (1, 2)), ties)


def every_cell(ties: bool) -> Cells:
    """All orders of all pairs with all outcomes, 12 or 18 cells."""
    rows = [(i, j, y) for i in range(3) for j in range(3) if i != j for y in range(3 if ties else 2)]
    a, b, y = np.array(rows).T
    return Cells(schema(ties), a, b, y)


def view(model: er.BehaviorModel) -> CellView:
    return CellView.of(every_cell(model.preference.allows_ties))


def draw(model: er.BehaviorModel, seed: int) -> dict[str, np.ndarray]:
    """Parameters from the prior."""
    return model.table(schema(model.preference.allows_ties)).sample_prior(np.random.default_rng(seed))
