"""The crowd's votes on real responses (skipped where the shared folder is not there)."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import earnest as er

_benchmark = runpy.run_path(str(Path(__file__).resolve().parents[2] / "benchmarks" / "real_log.py"))
MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.PositionBias())
COLUMNS = {"user": "worker", "model_a": "left", "model_b": "right", "winner": "winner", "item": "id"}


@pytest.fixture(scope="module")
def log(shared_data):
    return er.read_comparisons(shared_data / "votes.csv", **COLUMNS)


@pytest.fixture(scope="module")
def fit(log):
    return er.fit_em(MODEL, log)


def test_the_fit_ends_in_the_best_mode(fit):
    assert fit.converged
    # Users who do not compare pick left or right and hardly ever say "tie".
    np.testing.assert_allclose(fit.parameters["casual_outcome"], [0.57, 0.41, 0.01], atol=0.02)
    assert fit.objective_trace[-1] == max(mode.objective for mode in fit.modes)
    assert np.all(np.isfinite(fit.attentiveness[["mean", "sd", "lower", "upper"]].to_numpy()))
    assert fit.attentiveness["comparisons"].sum() == 8931


def test_the_lesser_mode_is_listed_with_its_reversed_ranking(fit):
    best, second = fit.modes[:2]
    assert 250 < best.objective - second.objective < 330
    assert second.rank_correlation < -0.5
    assert second.parameters["casual_outcome"].argmax() == 2  # there "casual" means to call everything a tie
    assert any("modes found" in note for note in fit.notes)


def test_the_objective_never_falls(fit):
    trace = fit.objective_trace
    assert np.all(np.diff(trace) >= -1e-9 * np.abs(trace[:-1]))


def test_the_models_everybody_knows_are_in_their_places(fit):
    skill = dict(zip(fit.coords["model"], fit.parameters["skill"], strict=True))
    assert max(skill, key=skill.get).startswith("GPT 4")
    assert abs(sum(skill.values())) < 1e-9


def test_told_another_way_the_log_gives_the_same_answer(log, fit):
    """Rows shuffled, sides changed, users renamed, all at once."""
    frame = log.to_arrow().to_pandas()[["user", "model_a", "model_b", "winner"]].astype(str)
    told = frame.sample(frac=1.0, random_state=4).reset_index(drop=True)
    told = told.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    told["winner"] = told["winner"].map({"model_a": "model_b", "model_b": "model_a", "tie": "tie"})
    told["user"] = "worker " + told["user"].str[::-1]
    other = er.fit_em(MODEL, er.read_comparisons(told))
    assert other.objective_trace[-1] == pytest.approx(fit.objective_trace[-1], rel=1e-9)
    mean = other.attentiveness.set_index("user")["mean"]
    np.testing.assert_allclose(
        mean.loc["worker " + fit.attentiveness["user"].str[::-1]], fit.attentiveness["mean"], rtol=0, atol=1e-6
    )
    mirrored = other.parameters["casual_outcome"][[1, 0, 2]]
    np.testing.assert_allclose(mirrored, fit.parameters["casual_outcome"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(other.parameters["skill"], fit.parameters["skill"], rtol=0, atol=1e-5)


def test_attentive_users_agree_more_on_votes_that_the_ranking_has_not_seen(shared_data):
    """The first split of benchmarks/real_log.py, which says what is measured and what is permuted."""
    votes = _benchmark["Votes"](shared_data / "votes.csv")
    result = _benchmark["one_split"](votes, 0, permutations=199, resamples=199)
    agreement, beyond_style = result["statistic"]
    assert agreement > 0.08
    assert result["interval"][0][0] > 0
    assert result["p"]["users alike"][0] <= 0.01
    assert beyond_style > 0


def test_the_measure_finds_nothing_in_votes_dealt_at_random(shared_data):
    """The negative control: votes permuted between the voters of each item before fitting."""
    votes = _benchmark["Votes"](shared_data / "votes.csv")
    votes.outcome = _benchmark["shuffled_within"](np.random.default_rng(6), votes.item, votes.outcome)
    votes.frame["winner"] = np.array(["model_a", "model_b", "tie"])[votes.outcome]
    result = _benchmark["one_split"](votes, 0, permutations=199, resamples=10)
    mean, sd = (part[0] for part in result["null"]["users alike"])
    assert abs(result["statistic"][0] - mean) < 3.3 * sd
    # Measured on the votes that the ranking came from, identical users seem to differ.
    assert result["circular"][0] > result["statistic"][0]


def test_agreement_by_hand():
    """Three users on two items and an item of one voter, counted on paper."""
    user, item, outcome = (np.array(x) for x in ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 2], [0, 0, 2, 1, 2, 0]))
    agreed, beyond = _benchmark["agreement"](user, item, outcome, 4, 3)
    # User 0: 1/2 on the first item, 0 on the second; user 1 the same; user 2: 0, the lone vote left out.
    np.testing.assert_allclose(agreed, [0.25, 0.25, 0.0, np.nan])
    # By style, user 0 (outcomes 0, 1): 1/2 of the mean share of 0 among others (1/4) + 1/2 of that of 1 (0).
    assert beyond[0] == pytest.approx(0.25 - 0.5 * 0.25)
    assert beyond[2] == 0.0
