"""Probabilities of outcomes: they sum to one, mean what their names say, and match the formulas of the papers."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import earnest as er
from earnest.models.component import CellView
from earnest.models.namespace import NUMPY

_built = runpy.run_path(str(Path(__file__).with_name("combinations.py")))
_oracles = runpy.run_path(str(Path(__file__).parents[1] / "inference" / "oracles.py"))
MODELS = _built["OUTCOMES_ONLY"]
PAIRS = [(0, 1), (0, 2), (1, 2)]


def table(component, values, ties):
    """Probability of every outcome for every order of every pair, (order, outcome)."""
    cells = _built["every_cell"](ties)
    log_prob = np.asarray(component.log_prob(NUMPY, values, CellView.of(cells)))
    return np.exp(log_prob).reshape(6, -1), cells


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_outcomes_sum_to_one_and_match_the_oracle(name, seed):
    kind, rule, casual, _ = name.split("-")
    model, values = MODELS[name], _built["draw"](MODELS[name], seed)
    preference, cells = table(model.preference, values, model.preference.allows_ties)
    careless, _ = table(model.casual, values, model.preference.allows_ties)
    np.testing.assert_allclose(preference.sum(1), 1.0, atol=1e-12)
    np.testing.assert_allclose(careless.sum(1), 1.0, atol=1e-12)
    for row, (a, b) in enumerate(
        zip(cells.model_a[:: preference.shape[1]], cells.model_b[:: preference.shape[1]], strict=True)
    ):
        expected = _oracles["preference_probabilities"](kind, rule, values, a, b, PAIRS, order=(1, 0, 2), mu=0.7)
        np.testing.assert_allclose(preference[row], expected, rtol=1e-10, atol=1e-14)
        expected = _oracles["casual_probabilities"](casual, values, preference.shape[1])
        np.testing.assert_allclose(careless[row], expected, rtol=1e-12)


@pytest.mark.parametrize("rule", [None, er.Davidson(), er.RaoKupper()], ids=["none", "davidson", "rao_kupper"])
@pytest.mark.parametrize("strength", [1e-3, 0.2, 5.0, 200.0])
def test_an_advantage_keeps_its_meaning_under_every_tie_rule(rule, strength):
    """Pr(first-named wins | decided) is `advantage`, in both orders of presentation; likewise a known mu."""
    values = {
        "advantage": np.array([0.02, 0.6, 0.999]),
        "tie_strength": np.array(strength),
        "tie_threshold": np.array(1 + strength),
    }
    cells = CellView.of(_built["every_cell"](rule is not None))
    outcomes = 3 if rule else 2
    probability = np.exp(er.PairAdvantage(ties=rule).log_prob(NUMPY, values, cells)).reshape(6, outcomes)
    share = probability[:, 0] / (probability[:, 0] + probability[:, 1])
    # orders (0,1), (0,2), (1,0), (1,2), (2,0), (2,1)
    np.testing.assert_allclose(share, [0.02, 0.6, 0.98, 0.999, 0.4, 0.001], rtol=1e-9)
    known = er.KnownAdvantage(0.8, stronger=("c", "b"), ties=rule)
    probability = np.exp(known.log_prob(NUMPY, values, cells)).reshape(6, outcomes)
    share = probability[:, 0] / (probability[:, 0] + probability[:, 1])
    np.testing.assert_allclose(share, [0.2, 0.2, 0.8, 0.2, 0.8, 0.8], rtol=1e-9)


@pytest.mark.parametrize("theta", [1 + 1e-12, 1.5, 30.0])
@pytest.mark.parametrize("log_odds", [-30.0, -1.0, 0.0, 2.0, 30.0])
def test_rao_kupper_is_the_textbook_formula(theta, log_odds):
    """s = [(o - 1) + sqrt((o - 1)^2 + 4 theta^2 o)] / (2 theta), in extended precision (it cancels in float64)."""
    from mpmath import mp, mpf

    with mp.workdps(60):
        o, t = mp.exp(mpf(log_odds)), mpf(theta)
        s = ((o - 1) + mp.sqrt((o - 1) ** 2 + 4 * t**2 * o)) / (2 * t)
        expected = float(mp.log(s))
        wins = [mp.log(s / (s + t)), mp.log(1 / (1 + t * s)), mp.log((t**2 - 1) * s / ((s + t) * (1 + t * s)))]
    values = {"tie_threshold": np.array(theta)}
    assert float(er.RaoKupper().from_decided(NUMPY, values, np.array(log_odds))) == pytest.approx(expected, abs=1e-11)
    cells = CellView.of(_built["every_cell"](True))
    ours = er.RaoKupper().log_prob(NUMPY, values, np.full(18, expected), cells)
    np.testing.assert_allclose(ours[:3], [float(w) for w in wins], rtol=1e-11, atol=1e-11)


def test_without_ties_every_rule_is_bradley_terry():
    """tie_strength -> 0 and tie_threshold -> 1 leave a plain Bradley-Terry model."""
    values = {
        "skill": np.array([0.5, -1.0, 0.5]),
        "tie_strength": np.array(1e-14),
        "tie_threshold": np.array(1 + 1e-14),
    }
    cells = CellView.of(_built["every_cell"](True))
    plain = CellView.of(_built["every_cell"](False))
    expected = np.exp(er.BradleyTerry().log_prob(NUMPY, values, plain)).reshape(6, 2)
    for rule in (er.Davidson(), er.RaoKupper()):
        ours = np.exp(er.BradleyTerry(ties=rule).log_prob(NUMPY, values, cells)).reshape(6, 3)
        np.testing.assert_allclose(ours[:, :2], expected, atol=1e-12)
        assert ours[:, 2].max() < 1e-12


def test_a_known_advantage_asks_who_is_stronger():
    log = er.KnownAdvantage(0.7).log_prob
    with pytest.raises(er.EarnestError, match="does not say which of 'b' and 'c'"):
        er.KnownAdvantage(0.7, stronger=("a",)).log_prob(NUMPY, {}, CellView.of(_built["every_cell"](False)))
    with pytest.raises(er.EarnestError, match="no model of the log"):
        er.KnownAdvantage(0.7, stronger=("x", "y")).log_prob(NUMPY, {}, CellView.of(_built["every_cell"](False)))
    assert np.isfinite(log(NUMPY, {}, CellView.of(_built["every_cell"](False)))).all()
