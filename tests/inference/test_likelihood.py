"""All outcomes of 2 users x 3 comparisons, enumerated: probabilities, objective and posteriors by brute force."""

import runpy
from itertools import product
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import special

import earnest as er
from earnest.comparisons.cells import Cells, Counts
from earnest.comparisons.schema import Schema
from earnest.inference.marginal import log_objective, nodes_at
from earnest.inference.users import summarise, workload

_oracles = runpy.run_path(str(Path(__file__).with_name("oracles.py")))

PAIRS = ((0, 1), (0, 2), (1, 2))
# Who was shown what: (first, second) of each user's three comparisons; a pair comes again, also turned around.
SHOWN = {0: ((0, 1), (1, 0), (0, 2)), 1: ((1, 2), (1, 2), (2, 0))}
TIES = {"none": None, "davidson": er.Davidson(), "rao_kupper": er.RaoKupper()}
VALUES = {
    "skill": np.array([0.9, -0.2, -0.7]),
    "advantage": np.array([0.7, 0.35, 0.55]),
    "tie_strength": np.array(0.6),
    "tie_threshold": np.array(1.4),
    "attentiveness_alpha": np.array(1.3),
    "attentiveness_beta": np.array(0.6),
    "attentiveness_level": np.array([0.15, 0.8]),
    "attentiveness_weight": np.array([0.3, 0.7]),
}
COMBINATIONS = {
    "skill-none-position-beta": (er.Beta(), er.BradleyTerry(), er.PositionBias(), None),
    "pair-davidson-coin-beta": (er.Beta(), er.PairAdvantage(ties=er.Davidson()), er.CoinFlip(), None),
    "skill-rao_kupper-position-groups": (
        er.Groups((0.0, 1.0)), er.BradleyTerry(ties=er.RaoKupper()), er.PositionBias(), (0.0, 1.0),
    ),
    "known-none-coin-free": (
        er.Groups(2), er.KnownAdvantage(0.7, stronger=("b", "a", "c")), er.CoinFlip(), (0.15, 0.8),
    ),
}  # fmt: skip


def values_for(model, schema):
    values = {p.name: VALUES.get(p.name) for p in model.table(schema).parameters}
    if "casual_outcome" in values:
        values["casual_outcome"] = np.array([0.5, 0.3, 0.2]) if schema.ties else np.array([0.62, 0.38])
    return values


def brute_force(kind, rule, casual, levels, values):
    """{(user, outcomes): E[eta^k L], k = 0, 1, 2}, summed over which comparisons were attended."""
    n = 2 if rule == "none" else 3
    table = {}
    for user, shown in SHOWN.items():
        p = [_oracles["preference_probabilities"](kind, rule, values, a, b, list(PAIRS), (1, 0, 2)) for a, b in shown]
        c = _oracles["casual_probabilities"](casual, values, n)
        for outcomes in product(range(n), repeat=3):
            moments = np.zeros(3)
            # Which comparisons were attended, one by one: E[eta^k prod eta^z (1 - eta)^(1 - z)] in closed form.
            for z in product((0, 1), repeat=3):
                given = np.prod([p[i][y] if z[i] else c[y] for i, y in enumerate(outcomes)])
                attended = sum(z)
                for k in range(3):
                    if levels is None:
                        a, b = values["attentiveness_alpha"], values["attentiveness_beta"]
                        weight = np.exp(special.betaln(a + attended + k, b + 3 - attended) - special.betaln(a, b))
                    else:
                        eta = np.array(levels)
                        weight = values["attentiveness_weight"] @ (eta ** (attended + k) * (1 - eta) ** (3 - attended))
                    moments[k] += given * weight
            table[user, outcomes] = moments
    return table


@pytest.mark.parametrize("dense", [True, False], ids=["shared_nodes", "own_nodes"])
@pytest.mark.parametrize("name", COMBINATIONS)
def test_two_users_with_three_comparisons_each(name, dense):
    kind, rule, casual, _ = name.split("-")
    *components, levels = COMBINATIONS[name]
    model = er.BehaviorModel(*components)
    schema = Schema(("a", "b", "c"), PAIRS, rule != "none")
    values = values_for(model, schema)
    exact = brute_force(kind, rule, casual, levels, values)
    n = schema.n_outcomes

    # Every outcome vector of either user becomes a user of one big log.
    rows = [(i, j, y) for i in range(3) for j in range(3) if i != j for y in range(n)]
    cells = Cells(schema, *np.array(rows).T)
    everyone = sorted(exact)
    table = np.zeros((len(everyone), len(rows)))
    for i, (user, outcomes) in enumerate(everyone):
        for (a, b), y in zip(SHOWN[user], outcomes, strict=True):
            table[i, rows.index((a, b, y))] += 1
    entry_user, entry_cell = np.nonzero(table)
    names = np.array([f"{i:04d}" for i in range(len(everyone))], dtype=object)
    counts = Counts(names, cells, entry_user, entry_cell, table[entry_user, entry_cell])
    with jax.enable_x64(True):
        work = workload(counts, dense=dense)
        free = model.table(schema).pack(values)
        nodes = nodes_at(model, free, work.problem)
        together = float(log_objective(model, False, free, work.problem, nodes))
        with_prior = float(log_objective(model, True, free, work.problem, nodes))
        summary = summarise(model, free, work)
    mean, sd = summary.mean[work.pattern_of_user], summary.sd[work.pattern_of_user]

    probability = np.array([exact[key][0] for key in everyone])
    for user in SHOWN:
        assert sum(exact[key][0] for key in everyone if key[0] == user) == pytest.approx(1.0, abs=1e-12)
    assert together == pytest.approx(np.log(probability).sum(), rel=1e-12)
    assert with_prior - together == pytest.approx(_oracles["log_prior"](values), rel=1e-10, abs=1e-9)
    np.testing.assert_allclose(mean, [exact[key][1] / exact[key][0] for key in everyone], atol=1e-10)
    variance = [exact[key][2] / exact[key][0] - (exact[key][1] / exact[key][0]) ** 2 for key in everyone]
    np.testing.assert_allclose(sd, np.sqrt(np.maximum(variance, 0)), atol=1e-7)


def test_probabilities_of_all_one_user_logs_sum_to_one():
    """exp(objective) of each of the 27 logs that a user of three comparisons can leave."""
    model = er.BehaviorModel(*COMBINATIONS["pair-davidson-coin-beta"][:3])
    schema = Schema(("a", "b", "c"), PAIRS, True)
    free = model.table(schema).pack(values_for(model, schema))
    rows = [(i, j, y) for i in range(3) for j in range(3) if i != j for y in range(3)]
    cells = Cells(schema, *np.array(rows).T)
    total = 0.0
    with jax.enable_x64(True):
        for outcomes in product(range(3), repeat=3):
            table = np.zeros(len(rows))
            for (a, b), y in zip(SHOWN[0], outcomes, strict=True):
                table[rows.index((a, b, y))] += 1
            cell = np.flatnonzero(table)
            work = workload(Counts(np.array(["u"], dtype=object), cells, 0 * cell, cell, table[cell]))
            total += np.exp(float(log_objective(model, False, free, work.problem, nodes_at(model, free, work.problem))))
    assert total == pytest.approx(1.0, abs=1e-10)
