"""Logs told by one model and read by another."""

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.errors import EarnestError
from earnest.diagnostics import check_plots
from earnest.diagnostics import sweep as module

BETA = er.BehaviorModel(casual=er.CoinFlip())
SKILL = {"skill": [1.2, 0.0, -1.2], "attentiveness_alpha": 0.6, "attentiveness_beta": 0.6}


@pytest.fixture(scope="module")
def found():
    models = {"coin": BETA, "position": er.BehaviorModel()}
    parameters = {"coin": SKILL, "position": {**SKILL, "casual_outcome": [0.9, 0.1]}}
    return er.sweep(models, parameters=parameters, users=80, comparisons=20, n_models=3, logs=2)


def test_the_table_counts_what_the_fits_say(found):
    """One pair told again, in loops."""
    model = er.BehaviorModel()
    truth = model.simulate(80, 20, 3, 1000, {**SKILL, "casual_outcome": [0.9, 0.1]})  # the second log
    fits = {"coin": er.fit_em(BETA, truth.log), "position": er.fit_em(model, truth.log)}
    eta = dict(zip(truth.attentiveness["user"], truth.attentiveness["attentiveness"], strict=True))
    worth = {}
    for name, fit in fits.items():
        cut = er.thresholds(fit, truth.log).recommend().threshold
        kept = [user for user, mean in zip(fit.attentiveness["user"], fit.attentiveness["mean"], strict=True)
                if mean >= cut]  # fmt: skip
        worth[name] = (20 * sum(eta[user] for user in kept)) ** 2 / (20 * len(kept))
        bias = np.mean([m - eta[u] for u, m in zip(fit.attentiveness["user"], fit.attentiveness["mean"], strict=True)])
        row = found.runs.query(f"true == 'position' and fitted == '{name}' and log == 1").iloc[0]
        assert row["bias"] == pytest.approx(bias, abs=1e-6)
        assert row["effective_labels"] == pytest.approx(worth[name], rel=1e-6)
    assert row["loss"] == 0.0
    row = found.runs.query("true == 'position' and fitted == 'coin' and log == 1").iloc[0]
    assert row["loss"] == pytest.approx(1 - worth["coin"] / worth["position"], abs=1e-6)


def test_a_strong_habit_is_taken_for_care_only_by_who_does_not_know_of_it(found):
    table = found.table.set_index(["true", "fitted"])
    assert list(table["logs"]) == [2] * 4
    assert abs(table.loc[("coin", "position"), "loss"]) < 0.05
    assert table.loc[("position", "coin"), "rmse"] > 1.1 * table.loc[("position", "position"), "rmse"]


def test_the_verdict_names_who_is_harmless():
    def verdict(losses):
        pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")]
        table = pd.DataFrame(
            [{"true": t, "fitted": f, "loss": loss} for (t, f), loss in zip(pairs, losses, strict=True)]
        )
        return module._verdict(table)

    assert verdict([0.01, 0.3, 0.03, 0.0, 0.0, -0.02]) == (
        "Harmless wherever it is wrong (under 2% of the effective labels): b. On logs of b a loses 30% of the effective "
        "labels."
    )
    assert verdict([0.01, 0.3, 0.0, 0.0, 0.2, 0.1]) == (
        "On logs of b every wrong model loses 20% to 30% of the effective labels. On logs of c b loses 10% of the "
        "effective labels."
    )
    assert verdict([0.03] * 6) == "No wrong model loses 5% or more."


def test_every_model_sees_the_columns_that_it_looks_at():
    models = {"plain": er.BehaviorModel(), "length": er.BehaviorModel(casual=er.LengthBias()),
              "category": er.BehaviorModel(casual=er.PositionBias(by_category=True))}  # fmt: skip
    logs = [module._with_columns(model.simulate(10, 3, 3, 5).log, models, 5) for model in models.values()]
    frames = [log.to_arrow().to_pandas() for log in logs]
    for frame in frames:
        assert {"length_difference", "category"} <= set(frame)
        np.testing.assert_array_equal(frame["length_difference"], frames[0]["length_difference"])
        assert list(frame["category"]) == list(frames[0]["category"])


def test_figure(found):
    axes = check_plots.misspecification(found)
    assert [text.get_text() for text in axes.texts].count("true") == 2
    axes.figure.canvas.draw()


def test_what_is_no_sweep_is_refused():
    ties = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    for call, words in {
        lambda: er.sweep({"a": BETA}): "at least two models",
        lambda: er.sweep({"a": BETA, "b": 3}): r"models\['b'\]: expected a BehaviorModel",
        lambda: er.sweep({"a": BETA, "b": ties}): "a rule for ties, or none",
        lambda: er.sweep({"a": BETA, "b": er.BehaviorModel()}, logs=0): "logs=0: expected a whole number, 1 or more",
        lambda: er.sweep({"a": BETA, "b": BETA}, parameters={"c": {}}): "there is no model 'c'",
    }.items():
        with pytest.raises(EarnestError, match=words):
            call()
