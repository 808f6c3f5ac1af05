"""The simulator tells the generative story; the density is written apart. Their frequencies must agree."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import earnest as er
from earnest.models.component import CellView
from earnest.models.namespace import NUMPY

_built = runpy.run_path(str(Path(__file__).with_name("combinations.py")))
ALL, OUTCOMES_ONLY = _built["ALL"], _built["OUTCOMES_ONLY"]
N = 60_000

# Away from symmetry, so that a swapped sign or order shows.
VALUES = {
    "skill": np.array([0.9, -0.2, -0.7]),
    "advantage": np.array([0.7, 0.35, 0.55]),
    "tie_strength": np.array(0.6),
    "tie_threshold": np.array(1.4),
    "casual_outcome": np.array([0.5, 0.3, 0.2]),
    "attentiveness_alpha": np.array(1.3),
    "attentiveness_beta": np.array(0.6),
    "attentiveness_level": np.array([0.2, 0.9]),
}


def values_for(model):
    values = {}
    for name, shape in _built["draw"](model, 0).items():
        if name == "casual_outcome" and len(shape) == 2:
            values[name] = np.array([0.62, 0.38])
        elif name == "attentiveness_weight":
            values[name] = np.array([0.25, 0.75]) if len(shape) == 2 else np.array([0.2, 0.5, 0.3])
        else:
            values[name] = VALUES[name]
    return values


def p_value(component, drawn_with, tested_with, ties, seed):
    """Chi-square of draws of every order of every pair against the density."""
    cells = CellView.of(_built["every_cell"](ties))
    outcomes = cells.schema.n_outcomes
    orders = np.arange(0, len(cells), outcomes)
    rows = np.repeat(orders, N // 6)
    blank = CellView(
        cells.schema, cells.model_a[rows], cells.model_b[rows], 0 * rows, cells.pair[rows], cells.sign[rows],
        0 * rows == 0, 0 * rows == 1, {},
    )  # fmt: skip
    drawn = component.sample(np.random.default_rng(seed), drawn_with, blank)
    observed = np.zeros((6, outcomes))
    np.add.at(observed, (rows // outcomes, drawn), 1)
    expected = np.exp(component.log_prob(NUMPY, tested_with, cells)).reshape(6, outcomes) * (N // 6)
    statistic = ((observed - expected) ** 2 / expected).sum()
    return stats.chi2.sf(statistic, 6 * (outcomes - 1))


@pytest.mark.parametrize("name", OUTCOMES_ONLY)
def test_outcomes_are_drawn_as_often_as_the_density_says(name):
    model = OUTCOMES_ONLY[name]
    values = values_for(model)
    for component in (model.preference, model.casual):
        assert p_value(component, values, values, model.preference.allows_ties, seed=11) > 1e-4


@pytest.mark.parametrize(
    ("component", "name", "wrong"),
    [
        (er.BradleyTerry(ties=er.Davidson()), "skill", [0.8, -0.1, -0.7]),
        (er.BradleyTerry(ties=er.RaoKupper()), "tie_threshold", 1.5),
        (er.PairAdvantage(ties=er.Davidson()), "tie_strength", 0.66),
        (er.PairAdvantage(), "advantage", [0.3, 0.65, 0.45]),
        (er.PositionBias(), "casual_outcome", [0.35, 0.65]),
    ],
    ids=["skill", "tie_threshold", "tie_strength", "advantage", "casual_outcome"],
)
def test_the_same_check_notices_a_wrong_density(component, name, wrong):
    """Negative control: one parameter off, and the chi-square test fails."""
    ties = bool(getattr(component, "ties", None))
    values = {**VALUES, **({"casual_outcome": np.array([0.62, 0.38])} if name == "casual_outcome" else {})}
    assert p_value(component, values, {**values, name: np.array(wrong)}, ties, seed=12) < 1e-6


def test_a_beta_population_is_a_beta_distribution():
    rng = np.random.default_rng(5)
    for alpha, beta in [(0.4, 0.5), (1.3, 0.6), (40.0, 7.0)]:
        drawn = er.Beta().sample(rng, {"attentiveness_alpha": alpha, "attentiveness_beta": beta}, 20_000)
        assert stats.kstest(drawn, stats.beta(alpha, beta).cdf).pvalue > 1e-3
        assert stats.kstest(drawn, stats.beta(alpha * 1.2, beta).cdf).pvalue < 1e-3  # negative control
        assert drawn.min() >= 0
        assert drawn.max() <= 1


@pytest.mark.parametrize("groups", [er.Groups((0.0, 0.4, 1.0)), er.Groups(2)], ids=["fixed", "free"])
def test_groups_are_drawn_by_their_weights(groups):
    values = {"attentiveness_weight": np.array([0.2, 0.5, 0.3][-groups.size :]), "attentiveness_level": [0.2, 0.9]}
    values["attentiveness_weight"] = values["attentiveness_weight"] / values["attentiveness_weight"].sum()
    levels = np.array([0.2, 0.9] if groups.levels == 2 else groups.levels)
    drawn = groups.sample(np.random.default_rng(6), values, 20_000)
    observed = (drawn[:, None] == levels).sum(0)
    assert observed.sum() == 20_000
    assert stats.chisquare(observed, values["attentiveness_weight"] * 20_000).pvalue > 1e-3


@pytest.mark.parametrize("name", [n for n in ALL if "-davidson-position-" in n])
def test_a_simulated_log_follows_the_mixture(name):
    """Through `simulate`: outcomes of attended votes follow P, those of the others C, and eta is as declared."""
    model, values = ALL[name], values_for(ALL[name])
    truth = model.simulate(users=600, comparisons_per_user=25, models=["a", "b", "c"], seed=3, parameters=values)
    table = truth.log.to_arrow().to_pandas()
    assert len(table) == len(truth.attended) == 15_000
    models = np.array(truth.schema.models)
    a, b = (np.searchsorted(models, table[column].to_numpy().astype(str)) for column in ("model_a", "model_b"))
    assert np.all(a != b)
    outcome = np.searchsorted(["model_a", "model_b", "tie"], table["winner"].to_numpy().astype(str))
    cells = CellView.of(_built["every_cell"](True))
    for attended, component in ((True, model.preference), (False, model.casual)):
        here = truth.attended == attended
        observed = np.zeros((3, 3, 3))
        np.add.at(observed, (a[here], b[here], outcome[here]), 1)
        probability = np.exp(component.log_prob(NUMPY, values, cells))
        expected = observed.sum(2)[cells.model_a, cells.model_b] * probability
        statistic = ((observed[cells.model_a, cells.model_b, cells.outcome] - expected) ** 2 / expected).sum()
        assert stats.chi2.sf(statistic, 12) > 1e-3
    eta = truth.attentiveness.set_index("user")["attentiveness"].loc[table["user"]].to_numpy()
    # Attended votes given eta: a sum of Bernoulli variables.
    z = (truth.attended.sum() - eta.sum()) / np.sqrt((eta * (1 - eta)).sum())
    assert abs(z) < 4


def test_the_simulator_is_told_its_seed_and_refuses_nonsense():
    model = er.BehaviorModel()
    first, again, other = (model.simulate(5, 4, 3, seed=s).log.to_arrow() for s in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    with pytest.raises(er.EarnestError, match="no parameter 'skil'"):
        model.simulate(5, 4, 3, seed=0, parameters={"skil": [0, 0, 0]})
    with pytest.raises(er.EarnestError, match=r"'skill': expected shape \(3,\)"):
        model.simulate(5, 4, 3, seed=0, parameters={"skill": [0, 0]})
    with pytest.raises(er.EarnestError, match="'skill'.*outside its support"):
        model.simulate(5, 4, 3, seed=0, parameters={"skill": [1, 1, 1]})
    with pytest.raises(er.EarnestError, match="at least one user"):
        model.simulate(0, 4, 3, seed=0)
    with pytest.raises(er.EarnestError, match="two different models"):
        model.simulate(5, 4, ["a", "a"], seed=0)
    with pytest.raises(er.EarnestError, match="comparisons_per_user"):
        model.simulate(5, [1, 2], 3, seed=0)


def test_users_may_give_different_numbers_of_votes():
    truth = er.BehaviorModel().simulate(4, [3, 0, 1, 7], 3, seed=0)
    assert truth.log.query('SELECT count(*) AS n FROM log GROUP BY "user" ORDER BY "user"')["n"].to_pylist() == [
        3,
        1,
        7,
    ]
    assert len(truth.attentiveness) == 4
