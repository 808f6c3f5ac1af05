"""EM beside a posterior, and the cuts of a posterior: tables against loops over draws, verdicts against known cases."""

import numpy as np
import pytest
import xarray

import earnest as er
from earnest.comparisons.errors import EarnestError

MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
TRUE = {
    "skill": [2.0, 0.0, -2.0],
    "tie_strength": 0.4,
    "casual_outcome": [0.5, 0.3, 0.2],
    "attentiveness_alpha": 1.0,
    "attentiveness_beta": 1.0,
}
SETTINGS = {"latent": "marginal", "draws": 300, "tune": 300, "chains": 2, "predictive": 0}


@pytest.fixture(scope="module")
def log():
    return MODEL.simulate(users=60, comparisons_per_user=30, models=3, seed=2, parameters=TRUE).log


@pytest.fixture(scope="module")
def fit(log):
    return er.fit_em(MODEL, log)


@pytest.fixture(scope="module")
def trace(log, fit):
    return er.sample(MODEL, log, fit=fit, **SETTINGS)


def put(trace, **variables):
    """The posterior with other draws in the place of some."""
    changed = trace.copy(deep=True)
    posterior = changed["posterior"].to_dataset()
    changed["posterior"] = xarray.DataTree(
        posterior.assign({name: (posterior[name].dims, value) for name, value in variables.items()})
    )
    return changed


# ------------------------------------------------------------------------------------------------ agreement


def test_users_are_told_one_by_one(fit, trace):
    table = er.compare(fit, trace).users.set_index("user")
    assert list(np.abs(table["difference"])) == sorted(np.abs(table["difference"]), reverse=True)
    em = fit.attentiveness.set_index("user")
    for user in list(table.index)[::7]:
        draws = np.concatenate([chain.sel(user=user).values for chain in trace.posterior["attentiveness"]])
        row = table.loc[user]
        assert row["em"] == em.loc[user, "mean"]
        assert row["comparisons"] == 30
        assert row["mean"] == pytest.approx(sum(draws) / len(draws), rel=1e-12)
        assert np.mean(draws < row["lower"]) == pytest.approx(0.05, abs=2e-3)
        assert np.mean(draws > row["upper"]) == pytest.approx(0.05, abs=2e-3)
        assert row["difference"] == pytest.approx(row["em"] - row["mean"], abs=1e-15)


def test_parameters_are_told_one_by_one(fit, trace):
    table = er.compare(fit, trace).parameters.set_index("parameter")
    assert list(table.index) == [
        "attentiveness_alpha", "attentiveness_beta", *[f"skill[{m}]" for m in fit.coords["model"]], "tie_strength",
        *[f"casual_outcome[{y}]" for y in ("model_a", "model_b", "tie")],
    ]  # fmt: skip
    draws = trace.posterior["skill"].sel(model=fit.coords["model"][1]).values.ravel()
    row = table.loc[f"skill[{fit.coords['model'][1]}]"]
    low, high = fit.intervals(0.9)["skill"][:, 1]
    assert row["coverage"] == np.mean([low <= draw <= high for draw in draws])
    assert row["z"] == pytest.approx((fit.parameters["skill"][1] - draws.mean()) / draws.std(ddof=1))
    assert row["widening"] == pytest.approx((row["upper"] - row["lower"]) / (high - low))


def test_decisions_are_counted(fit, trace):
    agreement = er.compare(fit, trace)
    users = agreement.users
    for row in agreement.decisions.itertuples():
        ours, theirs = users["em"] >= row.threshold, users["mean"] >= row.threshold
        assert (row.users_em, row.users_posterior) == (ours.sum(), theirs.sum())
        assert row.users_differ == sum(a != b for a, b in zip(ours, theirs, strict=True))
        assert row.labels_differ == 30 * row.users_differ
        assert row.share_differ == pytest.approx(row.users_differ / 60)


def test_a_posterior_like_em_is_found_to_agree(fit, trace):
    """Draws of the globals from EM's own normal approximation, and of users around EM's means."""
    rng = np.random.default_rng(0)
    shape = trace.posterior["tie_strength"].shape
    free = rng.multivariate_normal(fit.centre, fit.spread, size=shape)
    points = [[fit.table.unpack(_numpy(), point) for point in chain] for chain in free]
    values = {name: np.array([[p[name] for p in chain] for chain in points]) for name in fit.parameters}
    eta = np.broadcast_to(fit.attentiveness["mean"].to_numpy(), (*shape, 60))
    assert list(trace.posterior["user"].values) == list(fit.attentiveness["user"])
    agreement = er.compare(fit, put(trace, attentiveness=eta, **values))
    assert (agreement.may_rank, agreement.may_cut, agreement.intervals_hold) == (True, True, True)
    assert agreement.rank_correlation == pytest.approx(1.0)
    assert "may stand in" in agreement.verdict
    assert (np.abs(agreement.parameters["coverage"] - 0.9) < 0.06).all()


def test_a_wider_posterior_is_named(fit, trace):
    alpha = trace.posterior["attentiveness_alpha"].values
    agreement = er.compare(fit, put(trace, attentiveness_alpha=np.exp(4 * np.log(alpha / alpha.mean())) * alpha.mean()))
    assert not agreement.intervals_hold
    row = agreement.parameters.set_index("parameter").loc["attentiveness_alpha"]
    assert row["coverage"] < 0.8
    assert f"attentiveness_alpha (holds {row['coverage']:.0%}" in agreement.verdict
    assert f"too narrow by a factor of {row['widening']:.1f}" in agreement.verdict


def test_another_ranking_is_named(fit, trace):
    eta = trace.posterior["attentiveness"].values[..., ::-1]
    agreement = er.compare(fit, put(trace, attentiveness=eta))
    assert (agreement.may_rank, agreement.may_cut) == (False, False)
    assert "EM ranks users otherwise" in agreement.verdict
    assert "keep different votes" in agreement.verdict


def test_a_summary_serves_where_draws_were_not_kept(log, fit, trace):
    summary = er.sample(MODEL, log, fit=fit, keep_users="summary", **SETTINGS)
    short, full = (er.compare(fit, tree).users.set_index("user").sort_index() for tree in (summary, trace))
    assert (np.abs(short["mean"] - full["mean"]) < 0.05).all()
    with pytest.raises(EarnestError, match="keep_users='draws'"):
        er.thresholds(summary, log)


def test_other_models_logs_and_things_are_refused(log, fit, trace):
    other = MODEL.simulate(users=10, comparisons_per_user=5, models=3, seed=1).log
    with pytest.raises(EarnestError, match="different logs"):
        er.compare(er.fit_em(MODEL, other), trace)
    coin = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.CoinFlip())
    with pytest.raises(EarnestError, match="different models"):
        er.compare(er.fit_em(coin, log), trace)
    with pytest.raises(EarnestError, match="expected a DataTree"):
        er.compare(fit, fit)
    none = trace.copy()
    none["posterior"] = xarray.DataTree(trace["posterior"].to_dataset().drop_vars("attentiveness"))
    with pytest.raises(EarnestError, match="keep_users='none'"):
        er.compare(fit, none)
    with pytest.raises(EarnestError, match="needs the log"):
        er.thresholds(trace)
    with pytest.raises(EarnestError, match="needs the log"):
        er.thresholds(trace, other)


def test_draws_that_are_no_numbers_are_refused(log, fit, trace):
    eta = trace.posterior["attentiveness"].values.copy()
    eta[0, 3, 17] = np.nan
    for judge in (lambda tree: er.compare(fit, tree), lambda tree: er.thresholds(tree, log)):
        with pytest.raises(EarnestError, match=str(trace.posterior["user"].values[17])):
            judge(put(trace, attentiveness=eta))


def test_a_posterior_that_did_not_converge_judges_nothing(fit, trace):
    assert "not to be relied on" not in er.compare(fit, trace).verdict
    apart = trace.posterior["tie_strength"].values + np.array([[0.0], [3.0]])
    judged = er.compare(fit, put(trace, tie_strength=apart))
    assert judged.verdict.startswith("The posterior is itself not to be relied on")
    assert "tie_strength" in judged.verdict
    assert (judged.may_rank, judged.may_cut, judged.intervals_hold) == (False, False, False)


def test_a_user_without_draws_and_a_fit_of_another_log_are_refused(log, trace):
    short = trace.copy()
    short["posterior"] = xarray.DataTree(trace["posterior"].to_dataset().isel(user=slice(0, 59)))
    with pytest.raises(EarnestError, match="no draws of user"):
        er.thresholds(short, log)
    other = MODEL.simulate(users=60, comparisons_per_user=30, models=3, seed=9, parameters=TRUE).log
    with pytest.raises(EarnestError, match="another log"):
        er.thresholds(trace, log).regret(er.fit_em(MODEL, other))


def test_nobody_attends(log, trace):
    advice = er.thresholds(put(trace, attentiveness=np.zeros(trace.posterior["attentiveness"].shape)), log).recommend()
    assert (advice.threshold, advice.effective_labels, advice.gain) == (0.0, 0.0, 0.0)


# ----------------------------------------------------------------------------------------- cuts of a posterior


def test_every_cut_of_a_posterior_is_what_a_loop_over_draws_makes_of_it(log, trace):
    curve = er.thresholds(trace, log)
    eta = trace.posterior["attentiveness"].values.reshape(-1, 60)
    mean = eta.mean(0)
    assert len(curve.table) == 60
    for row in curve.table.iloc[::11].itertuples():
        keep = mean >= row.threshold
        worth = np.array([30 * keep.sum() * np.mean(draw[keep]) ** 2 for draw in eta])
        assert row.users == keep.sum()
        assert row.effective_labels == pytest.approx(worth.mean())
        band = curve.bands[curve.bands["threshold"] == row.threshold].iloc[0]
        assert np.mean(worth < band["effective_labels_lower"]) == pytest.approx(0.05, abs=3e-3)
        assert np.mean(worth > band["effective_labels_upper"]) == pytest.approx(0.05, abs=3e-3)
        shares = np.array([np.mean(draw[keep]) for draw in eta])
        assert np.quantile(shares, [0.05, 0.95]) == pytest.approx([band["precision_lower"], band["precision_upper"]])
    best = [max(curve.table["threshold"], key=lambda t, d=draw: _worth(d, mean, t)) for draw in eta[::50]]
    assert curve.optimum[::50] == pytest.approx(best)
    advice = curve.recommend()
    assert advice.effective_labels == curve.table["effective_labels"].max()
    low, high = advice.interval
    assert low <= np.median(curve.optimum) <= high
    assert np.mean((curve.optimum >= low) & (curve.optimum <= high)) >= 0.9
    assert "Over the posterior the best threshold lies between" in advice.reason


def test_a_label_does_not_vouch_for_itself(log, trace):
    """Vote by vote from the formulas of model.md: Davidson's probabilities, and draws weighted by 1 / Pr(the vote)."""
    curve = er.thresholds(trace, log)
    posterior = trace.posterior.to_dataset().stack(sample=("chain", "draw"))
    rows = log.to_arrow().to_pandas()
    total = 0.0
    for vote in rows.itertuples():
        a, b = (np.exp(posterior["skill"].sel(model=name).values / 2) for name in (vote.model_a, vote.model_b))
        tie = posterior["tie_strength"].values
        strength = {"model_a": a / b, "model_b": b / a, "tie": tie}[vote.winner]
        p = strength / (a / b + b / a + tie)
        c = posterior["casual_outcome"].sel(outcome=vote.winner).values
        eta = posterior["attentiveness"].sel(user=vote.user).values
        weight = 1 / (eta * p + (1 - eta) * c)
        total += (np.sum(weight * eta) / np.sum(weight)) ** 2
    few = len(posterior["sample"]) > 400  # the curve looks at 400 draws
    assert curve.soft_weights_leave_one_out == pytest.approx(total, rel=0.02 if few else 1e-9)
    assert curve.soft_weights_leave_one_out < curve.soft_weights


def test_regret_is_what_the_two_cuts_differ_by(log, fit, trace):
    curve = er.thresholds(trace, log)
    regret = curve.regret(fit)
    eta = trace.posterior["attentiveness"].values.reshape(-1, 60)
    em = fit.attentiveness["mean"].to_numpy()
    cuts = er.thresholds(fit).recommend().threshold, curve.recommend().threshold
    ours = np.array([_worth(draw, em, cuts[0]) for draw in eta])
    theirs = np.array([_worth(draw, eta.mean(0), cuts[1]) for draw in eta])
    assert regret.expected == pytest.approx(np.mean(theirs - ours), abs=1e-9)
    assert regret.expected >= -1e-9  # no cut of the posterior's is expected to be better than its best
    assert regret.share == pytest.approx(np.mean(theirs - ours) / np.mean(theirs))
    assert regret.probability == np.mean(theirs > ours)
    with pytest.raises(EarnestError, match="make it from a posterior"):
        er.thresholds(fit).regret(fit)


def _worth(draw, mean, threshold):
    keep = mean >= threshold
    return 30 * keep.sum() * np.mean(draw[keep]) ** 2


def _numpy():
    from earnest.models.namespace import NUMPY

    return NUMPY


# ------------------------------------------------------------------------------------------------------ figures


def test_the_scatter_shows_every_user_and_the_curve_its_band(log, fit, trace):
    from earnest.diagnostics import plots

    agreement = er.compare(fit, trace)
    axes = plots.em_against_posterior(agreement, intervals=20)
    points = next(line for line in axes.lines if len(line.get_xdata()) == 60)
    assert sorted(points.get_xdata()) == pytest.approx(sorted(fit.attentiveness["mean"]))
    assert len(axes.collections[0].get_segments()) == 20
    curve = er.thresholds(trace, log)
    axes = plots.threshold_curve(curve)
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert "90 % band" in words
    low, high = curve.recommend().interval
    assert f"best threshold over the posterior: {low:.2f} to {high:.2f} (90 %)" in words
    assert axes.get_ylim()[1] > curve.bands["effective_labels_upper"].max()
    assert not any(
        "band" in text.get_text() for text in plots.threshold_curve(er.thresholds(fit)).get_legend().get_texts()
    )
