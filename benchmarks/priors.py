"""What the default priors believe before any vote: how often a user sides with the stronger model.

    python benchmarks/priors.py

Parameters, a user and two models are drawn from the priors of a declaration; the share is the probability that this
user picks the stronger one, among decided outcomes, whichever side it is shown on.
"""

from __future__ import annotations

import numpy as np

N, LEVELS = 20_000, (0.05, 0.25, 0.5, 0.75, 0.95)


def shares(model, n=N, seed=0):
    """Shares of choosing the stronger of the first two models, and mean attentiveness, one of each a prior draw."""
    from earnest.comparisons.cells import Cells
    from earnest.comparisons.schema import Schema
    from earnest.models import CellView
    from earnest.models.namespace import NUMPY

    ties = model.preference.allows_ties
    schema = Schema(("a", "b", "c", "d"), ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)), ties)
    # a against b and b against a, each won by either.
    view = CellView.of(
        Cells(schema, np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]), np.array([0, 1, 0, 1]), {}), schema
    )
    table, rng = model.table(schema), np.random.default_rng(seed)
    out, level = np.empty(n), np.empty(n)
    for i in range(n):
        values = table.sample_prior(rng)
        eta = level[i] = float(model.attentiveness.sample(rng, values, 1)[0])
        p, c = (np.exp(part) for part in model.log_prob(NUMPY, values, view))
        m = eta * p + (1 - eta) * c
        first = m[0] / (m[0] + m[1]) / 2 + m[3] / (m[2] + m[3]) / 2  # the share of a, over both orders
        stronger = p[0] / (p[0] + p[1]) >= 0.5
        out[i] = first if stronger else 1 - first
    return out, level


def main():
    import earnest as er

    ties = er.Davidson()
    models = {
        "default": er.BehaviorModel(),
        "default with Davidson's ties": er.BehaviorModel(preference=er.BradleyTerry(ties=ties)),
        "coin flip": er.BehaviorModel(casual=er.CoinFlip()),
        "PairAdvantage": er.BehaviorModel(preference=er.PairAdvantage()),
        "Groups(2)": er.BehaviorModel(attentiveness=er.Groups(2)),
    }
    print("share of votes for the stronger of two models, one user drawn from the priors: quantiles")
    print(f"{'':<32}" + "".join(f"{level:>8.0%}" for level in LEVELS) + "    below 1/2   mean attentiveness 5 to 95 %")
    for name, model in models.items():
        share, level = shares(model)
        low, high = np.quantile(level, [0.05, 0.95])
        print(f"{name:<32}" + "".join(f"{q:>8.2f}" for q in np.quantile(share, LEVELS))
              + f"{np.mean(share < 0.5 - 1e-9):>13.1%}   {level.mean():.2f}, {low:.2f} to {high:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
