"""Fits of a log on Spark against those of the same log here."""

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.spark import SparkLog

from .conftest import votes_frame

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

DAVIDSON = er.BradleyTerry(ties=er.Davidson())
MODEL = er.BehaviorModel(preference=DAVIDSON, casual=er.PositionBias())
QUANTITIES = ["attentiveness", "responsibility", "weight", "label_noise", "label_noise_posterior"]


def here_and_there(model, frame, on_spark, **options):
    log = er.read_comparisons(on_spark(frame))
    assert isinstance(log, SparkLog)
    return er.fit_em(model, er.read_comparisons(frame), **options), er.fit_em(model, log, **options), log


@pytest.fixture(scope="module")
def both(frame, on_spark):
    return here_and_there(MODEL, frame, on_spark)


def same_fit(here, there):
    assert there.status == here.status == "converged"
    assert there.objective_trace[-1] == pytest.approx(here.objective_trace[-1], rel=1e-9)
    for name, value in here.parameters.items():
        np.testing.assert_allclose(there.parameters[name], value, atol=1e-6)
    for ours, theirs in zip(here.modes, there.modes, strict=True):
        assert theirs.starts == ours.starts
        assert theirs.attentive_share == pytest.approx(ours.attentive_share, abs=1e-6)
        assert theirs.rank_correlation == pytest.approx(ours.rank_correlation, abs=1e-6)


def same_users(here, joined):
    found = joined.toArrow().to_pandas().sort_values("user").reset_index(drop=True)
    assert list(found.columns) == ["user", "comparisons", "mean", "sd", "lower", "upper"]
    ours = here.attentiveness
    assert list(found["user"]) == list(ours["user"])
    np.testing.assert_array_equal(found["comparisons"], ours["comparisons"])
    for name in ("mean", "sd", "lower", "upper"):
        np.testing.assert_allclose(found[name], ours[name], atol=1e-6, equal_nan=True)


def test_the_same_fit_and_the_same_attentiveness_of_every_user(both):
    here, there, log = both
    same_fit(here, there)
    assert there.fingerprint == log.fingerprint()
    patterns = there.attentiveness
    assert list(patterns.columns[:3]) == ["pattern", "users", "comparisons"]
    assert patterns["users"].sum() == len(here.attentiveness) > len(patterns)
    same_users(here, log.attentiveness(there))


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (er.BehaviorModel(preference=DAVIDSON, casual=er.CoinFlip()), {}),
        (er.BehaviorModel(er.Groups(), er.BradleyTerry(by_category=True, category_scale=0.5, ties=er.Davidson())), {}),
        (er.BehaviorModel(preference=DAVIDSON), {"method": "label"}),
    ],
    ids=["in either order", "by category", "label EM"],
)
def test_other_models(model, options, frame, on_spark):
    here, there, log = here_and_there(model, frame, on_spark, **options)
    same_fit(here, there)
    same_users(here, log.attentiveness(there))
    same_labels(here, log.with_weights(there), frame)


def same_labels(here, joined, frame):
    found = joined.toArrow().to_pandas()
    assert list(found.columns) == [*frame.columns, *QUANTITIES]
    assert len(found) == len(frame)
    keys = ["user", "model_a", "model_b", "winner", *here.context]
    table = here.label_table(er.read_comparisons(frame))[[*keys, *QUANTITIES]]
    expected = frame.merge(table, on=keys, how="left")
    columns = [*frame.columns]
    ours, theirs = (part.sort_values(columns).reset_index(drop=True) for part in (expected, found))
    pd.testing.assert_frame_equal(theirs[columns], ours[columns], check_dtype=False)
    np.testing.assert_allclose(theirs[QUANTITIES], ours[QUANTITIES], atol=1e-6, equal_nan=True)


def test_every_vote_has_its_weight(both, frame):
    here, there, log = both
    same_labels(here, log.with_weights(there), frame)


def test_thresholds_are_those_of_the_users(both):
    here, there, _ = both
    ours, theirs = er.thresholds(here), er.thresholds(there)
    pd.testing.assert_frame_equal(theirs.table, ours.table, atol=1e-6)
    assert (theirs.users, theirs.labels) == (ours.users, ours.labels)
    assert theirs.soft_weights_leave_one_out == pytest.approx(ours.soft_weights_leave_one_out, rel=1e-6)
    for criterion in ("effective_labels", "precision>=0.6", "share>=0.5", "probability(0.3)>=0.6"):
        assert theirs.recommend(criterion).users == ours.recommend(criterion).users


def test_another_log_is_judged_by_its_own_votes(both, on_spark):
    here, there, _ = both
    other = votes_frame(60, seed=9).query("model_a != 'cat' and model_b != 'cat'")
    expected = here.score(er.read_comparisons(other))
    log = er.read_comparisons(on_spark(other))
    found = log.attentiveness(there).toArrow().to_pandas().sort_values("user").reset_index(drop=True)
    assert list(found["user"]) == list(expected["user"])
    np.testing.assert_allclose(found[["mean", "sd"]], expected[["mean", "sd"]], atol=1e-6)
    # The fit of a cluster scores what is here, too.
    again = there.attentiveness_for(er.read_comparisons(other))
    np.testing.assert_allclose(again[["mean", "sd"]], expected[["mean", "sd"]], atol=1e-6)


def test_a_fit_is_saved_and_scores_when_loaded(both, tmp_path):
    here, there, log = both
    there.save(tmp_path / "fit")
    loaded = er.load(tmp_path / "fit")
    pd.testing.assert_frame_equal(loaded.attentiveness, there.attentiveness)
    np.testing.assert_array_equal(loaded.counts.multiplicity, there.counts.multiplicity)
    same_users(here, log.attentiveness(loaded))


def test_the_joined_frame_is_written_by_spark(both, tmp_path):
    here, there, log = both
    log.attentiveness(there).write.parquet(str(tmp_path / "users"))
    assert len(pd.read_parquet(tmp_path / "users")) == len(here.attentiveness)


def test_one_shuffle_of_the_votes(both):
    _, there, log = both
    plan = log.attentiveness(there)._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange hashpartitioning") == 1


def test_what_needs_users_or_rows_says_that_it_does(both, on_spark, frame, tmp_path):
    _, there, log = both
    refused = {
        "users": lambda: log.users,
        "rows": log.to_arrow,
        "write": lambda: log.write(tmp_path / "votes.csv"),
        "sample": lambda: er.sample(MODEL, log),
        "labels": lambda: there.label_table(log),
        "responsibilities": lambda: there.responsibilities(log),
        "filter": lambda: er.filter_log(log, there, threshold=0.5),
        "export": lambda: er.write_preferences(log, tmp_path / "pairs.jsonl", there),
        "update": lambda: there.update(er.read_comparisons(frame)),
        "bands": lambda: er.thresholds(there, draws=20),
        "report": lambda: er.report(tmp_path / "report", there),
        "identifiability": lambda: er.identifiability(there),
        "check": lambda: er.predictive_check(there, log),
        "choice": lambda: er.compare_models({"one": MODEL, "two": there}, log),
        "plot": lambda: er.plots.attentiveness(there),
        "plot of users": lambda: er.plots.user_intervals(there),
        "gold users": lambda: er.fit_em(er.BehaviorModel(preference=DAVIDSON, gold=er.Gold(users=("a",))), log),
        "no fit": lambda: log.attentiveness(MODEL),
        "own name": lambda: er.read_comparisons(on_spark(frame.assign(weight="1"))).with_weights(there),
    }
    for name, call in refused.items():
        with pytest.raises(er.EarnestError) as error:
            call()
        assert any(word in str(error.value) for word in ("Spark", "cluster", "expected a fit")), (name, error.value)


def test_what_the_order_of_votes_needs_is_refused(on_spark, frame):
    timed = frame.assign(timestamp=np.arange(len(frame)), item=frame.model_a + frame.model_b)
    log = er.read_comparisons(on_spark(timed))
    for model in (
        er.BehaviorModel(preference=DAVIDSON, attention=er.Drift()),
        er.BehaviorModel(preference=DAVIDSON, casual=er.Habit()),
        er.BehaviorModel(preference=er.ItemEffect(DAVIDSON)),
    ):
        with pytest.raises(er.EarnestError, match="not supported on Spark"):
            er.fit_em(model, log)
