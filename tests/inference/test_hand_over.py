"""Filtering and export by a posterior: the same numbers as by its draws, in loops."""

import json

import numpy as np
import pytest

import earnest as er
from earnest.comparisons.errors import EarnestError


@pytest.fixture(scope="module")
def sampled():
    model = er.BehaviorModel()
    truth = model.simulate(25, 12, 3, seed=4, texts=True)
    return truth.log, er.sample(model, truth.log, draws=600, tune=300, chains=2, seed=1, predictive=0)


def left_out(trace, log):
    """{(user, model_a, model_b, winner): leave-one-out weight} by the users' own draws: E[eta / m] / E[1 / m]."""
    posterior = trace.posterior.to_dataset().stack(sample=("chain", "draw"))
    models = list(posterior["model"].to_numpy())
    out = {}
    for vote in log.to_arrow().to_pylist():
        skill = [posterior["skill"].sel(model=vote[side]).to_numpy() for side in ("model_a", "model_b")]
        won_a = vote["winner"] == "model_a"
        p = 1 / (1 + np.exp(-(skill[0] - skill[1]) * (1 if won_a else -1)))
        c = posterior["casual_outcome"].to_numpy()[0 if won_a else 1]
        eta = posterior["attentiveness"].sel(user=vote["user"]).to_numpy()
        m = eta * p + (1 - eta) * c
        out[vote["user"], vote["model_a"], vote["model_b"], vote["winner"]] = (eta / m).mean() / (1 / m).mean()
    assert len(models) == 3
    return out


def test_users_and_labels_have_the_means_of_the_draws(sampled, tmp_path):
    log, trace = sampled
    mean = trace.posterior["attentiveness"].mean(("chain", "draw"))
    threshold = float(np.median(mean))
    kept = er.filter_log(log, trace, threshold=threshold)
    assert set(kept.users) == set(mean["user"].to_numpy()[mean.to_numpy() >= threshold])
    for of in (log, kept):  # what was filtered is still a part of the posterior's log
        path = tmp_path / "preferences.jsonl"
        er.write_preferences(of, path, trace)
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(rows) == len(of)
        expected = left_out(trace, log)
        for row in rows:
            side = "model_a" if (row["user"], row["chosen_model"], row["rejected_model"], "model_a") in expected else ""
            key = (row["user"], row["chosen_model"], row["rejected_model"], "model_a")
            other = (row["user"], row["rejected_model"], row["chosen_model"], "model_b")
            # Both ways of averaging over 200 and 64 draws have errors of Monte Carlo.
            if side and other in expected:
                continue
            assert row["weight"] == pytest.approx(expected[key if side else other], abs=0.06)
            assert row["attentiveness"] == pytest.approx(float(mean.sel(user=row["user"])), abs=0.06)


def test_another_log_is_refused_and_the_remedy_named(sampled):
    log, trace = sampled
    other = er.BehaviorModel().simulate(25, 12, 3, seed=5).log
    with pytest.raises(EarnestError, match="use a fit, which scores users it never saw"):
        er.filter_log(other, trace, threshold=0.5)
    bare = trace.copy()
    del bare["posterior"]["attentiveness"]
    with pytest.raises(EarnestError, match="keep_users"):
        er.filter_log(log, bare, threshold=0.5)


def test_a_contrary_user_weighs_nothing(tmp_path):
    model = er.BehaviorModel(er.Signed(), er.BradleyTerry(), er.CoinFlip())
    truth = model.simulate(40, 40, 3, seed=2, texts=True, parameters={
        "skill": [1.5, 0.0, -1.5], "attentiveness_alpha": 0.9, "attentiveness_beta": 0.4})  # fmt: skip
    fit = er.fit_em(model, truth.log)
    labels = fit.label_table(truth.log)
    worst = fit.attentiveness["user"][fit.attentiveness["mean"].argmin()]
    assert labels.loc[labels["user"] == worst, "weight"].mean() < -0.3
    er.write_preferences(truth.log, tmp_path / "out.jsonl", fit)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert min(row["weight"] for row in rows) == 0.0
    curve = er.thresholds(fit, truth.log)
    assert curve.recommend().threshold > 0
