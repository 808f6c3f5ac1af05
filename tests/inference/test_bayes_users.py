"""Users given the globals: attentiveness drawn by inversion, mean, sd and likelihood, against the exact mixture."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import earnest as er
from earnest.comparisons.cells import Cells, Counts
from earnest.comparisons.schema import Schema
from earnest.inference.users_given import users_given

_oracles = runpy.run_path(str(Path(__file__).with_name("oracles.py")))

SCHEMA = Schema(("a", "b", "c"), ((0, 1), (0, 2), (1, 2)), True)
ROWS = [(a, b, y) for a in range(3) for b in range(3) if a != b for y in range(3)]
MODEL = er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())
DRAWS = 23  # more than one call of the compiled program, and not a multiple of it


def drawn_values(rng):
    """Globals at every draw; shapes of the population from very certain to two heaps at the ends."""
    skill = rng.normal(0, 1.2, (DRAWS, 3))
    return {
        "attentiveness_alpha": np.exp(rng.uniform(np.log(0.2), np.log(20), DRAWS)),
        "attentiveness_beta": np.exp(rng.uniform(np.log(0.2), np.log(20), DRAWS)),
        "skill": skill - skill.mean(1, keepdims=True),
        "tie_strength": rng.lognormal(0, 0.5, DRAWS),
        "casual_outcome": rng.dirichlet([3, 3, 3], DRAWS),
    }


def cell_probabilities(values, draw):
    """(P, C) of every row, by the oracle."""
    at = {name: value[draw] for name, value in values.items()}
    p = [_oracles["preference_probabilities"]("skill", "davidson", at, a, b, SCHEMA.pairs)[y] for a, b, y in ROWS]
    return np.array(p), at["casual_outcome"][[y for _, _, y in ROWS]]


def counts_of(table):
    """Counts of users, (user, row)."""
    a, b, y = np.array(ROWS).T
    user, cell = np.nonzero(table)
    names = np.array([f"u{i}" for i in range(len(table))], dtype=object)
    return Counts(names, Cells(SCHEMA, a, b, y), user, cell, table[user, cell].astype(float))


def users(rng, sizes):
    """Attentive, casual and mixed users with these numbers of votes."""
    out = np.zeros((len(sizes), len(ROWS)), dtype=int)
    for i, n in enumerate(sizes):
        out[i] = rng.multinomial(n, rng.dirichlet(np.full(len(ROWS), (0.1, 1.0, 10.0)[i % 3])))
    return out


def answers(table, model, values, uniforms):
    pieces = list(users_given(model, counts_of(table), values, lambda first, n: uniforms[first : first + n]))
    assert [piece.first for piece in pieces] == [0, 20]
    return {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("attentiveness", "mean", "sd", "log_likelihood")
    }


# Up to 40 votes: shared nodes. A heavy user beside them: nodes that follow each user.
TABLES = {"light": [0, 1, 2, 3, 5, 8, 13, 20, 30, 40, 40, 40], "with a heavy user": [0, 1, 7, 40, 400]}


def compare(found, exact, uniforms, draw, user, error=1e-5):
    x, u = found["attentiveness"][draw, user], uniforms[draw, user]
    # The last number before 1 stands for an interval: the level lies between the ends of its own rounding.
    assert exact.cdf(np.nextafter(x, 0)) - error < u < exact.cdf(min(np.nextafter(x, 1), 1.0)) + error
    assert found["mean"][draw, user] == pytest.approx(exact.mean, abs=1e-6)
    assert found["sd"][draw, user] == pytest.approx(exact.sd, rel=1e-4)
    assert found["log_likelihood"][draw, user] == pytest.approx(exact.log_marginal, abs=1e-5)


@pytest.mark.parametrize("sizes", list(TABLES))
def test_users_are_the_exact_mixture(sizes):
    """|F(x) - u| < 1e-5 at every draw of the globals, from the far tails to the middle."""
    rng = np.random.default_rng(5)
    table, values = users(rng, TABLES[sizes]), drawn_values(rng)
    uniforms = rng.random((DRAWS, len(table)))
    uniforms[0], uniforms[1], uniforms[22] = 1e-4, 1 - 1e-4, 0.5
    found = answers(table, MODEL, values, uniforms)
    assert all(value.shape == (DRAWS, len(table)) for value in found.values())
    for draw in range(DRAWS):
        p, c = cell_probabilities(values, draw)
        shape = values["attentiveness_alpha"][draw], values["attentiveness_beta"][draw]
        for user, row in enumerate(table):
            compare(found, _oracles["ExactUser"](p, c, row, *shape), uniforms, draw, user)
    # Negative control: the same users at the next draw's globals.
    p, c = cell_probabilities(values, 1)
    with pytest.raises(AssertionError):
        compare(found, _oracles["ExactUser"](p, c, table[3], *shape), uniforms, 0, 3)


def test_groups_are_drawn_by_their_weights():
    """A finite population: the level at which the sum of the posterior weights passes u."""
    rng = np.random.default_rng(6)
    levels = np.array([0.0, 0.35, 1.0])
    model = er.BehaviorModel(er.Groups(tuple(levels)), MODEL.preference, MODEL.casual)
    table, values = users(rng, TABLES["with a heavy user"]), drawn_values(rng)
    del values["attentiveness_alpha"], values["attentiveness_beta"]
    values["attentiveness_weight"] = rng.dirichlet([2, 2, 2], DRAWS)
    uniforms = rng.random((DRAWS, len(table)))
    found = answers(table, model, values, uniforms)
    for draw in range(DRAWS):
        p, c = cell_probabilities(values, draw)
        log_m = np.log(np.outer(p, levels) + np.outer(c, 1 - levels))
        joint = np.log(values["attentiveness_weight"][draw]) + table @ log_m
        weight = np.exp(joint - joint.max(1, keepdims=True))
        log_lik = joint.max(1) + np.log(weight.sum(1))
        weight /= weight.sum(1, keepdims=True)
        reached = np.cumsum(weight, axis=1)
        # A level must not hang on the last digit of a sum.
        assert np.abs(reached - uniforms[draw][:, None]).min() > 1e-12
        np.testing.assert_array_equal(
            found["attentiveness"][draw], levels[np.argmax(reached >= uniforms[draw][:, None], axis=1)]
        )
        np.testing.assert_allclose(found["mean"][draw], weight @ levels, atol=1e-12)
        np.testing.assert_allclose(found["sd"][draw] ** 2, weight @ levels**2 - (weight @ levels) ** 2, atol=1e-12)
        np.testing.assert_allclose(found["log_likelihood"][draw], log_lik, atol=1e-9)
