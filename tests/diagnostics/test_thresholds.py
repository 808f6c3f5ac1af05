"""The threshold curve: against a loop, against known answers, against the truth of simulated logs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earnest as er
from earnest.comparisons import filter_log
from earnest.comparisons.errors import EarnestError, InputError
from earnest.diagnostics.thresholds import thresholds


class Known:
    """A fit that consists of what the curve asks for."""

    status = "converged"

    def __init__(self, mean, comparisons):
        mean, comparisons = np.asarray(mean, dtype=float), np.asarray(comparisons, dtype=int)
        users = [f"u{i:06d}" for i in range(len(mean))]
        self.attentiveness = pd.DataFrame({"user": users, "comparisons": comparisons, "mean": mean})

    def leave_one_out_information(self, log=None):
        return 0.0


def cut(mean, n, threshold):
    """(users, labels, precision, effective labels) of the users at or above the threshold, one user at a time."""
    users = labels = 0
    signal = 0.0
    for m_u, n_u in zip(mean, n, strict=True):
        if m_u >= threshold:
            users, labels, signal = users + 1, labels + n_u, signal + m_u * n_u
    precision = signal / labels if labels else 0.0
    return users, labels, precision, labels * precision**2


means = st.one_of(
    st.floats(0.0, 1.0, allow_subnormal=False),
    st.sampled_from([0.0, 1.0, 0.5, np.nextafter(0.5, 1), np.nextafter(np.nextafter(0.5, 1), 1), 1 / 3]),
)
populations = st.lists(st.tuples(means, st.integers(0, 40)), min_size=1, max_size=25).filter(
    lambda rows: sum(n for _, n in rows) > 0
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(populations)
def test_every_row_is_the_cut_that_a_loop_makes(rows):
    mean, n = (np.array(column) for column in zip(*rows, strict=True))
    curve = thresholds(Known(mean, n))
    assert len(curve.table) == len(set(mean.tolist()))
    assert curve.labels == n.sum()
    assert curve.users == len(n)
    for row in curve.table.itertuples():
        users, labels, precision, effective = cut(mean, n, row.lowest_kept)
        assert (row.users, row.labels) == (users, labels)
        assert row.share == pytest.approx(labels / n.sum(), abs=1e-12)
        assert row.precision == pytest.approx(precision, abs=1e-12)
        assert row.effective_labels == pytest.approx(effective, rel=1e-9, abs=1e-9)
        # The threshold that the row gives makes the row's cut.
        assert cut(mean, n, row.threshold)[0] == users
    assert curve.unfiltered == pytest.approx(cut(mean, n, 0.0)[3], rel=1e-9, abs=1e-9)
    assert curve.soft_weights == pytest.approx((n * mean**2).sum(), rel=1e-9, abs=1e-12)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(populations)
def test_the_recommendation_is_the_best_cut_and_soft_weights_are_never_worse(rows):
    mean, n = (np.array(column) for column in zip(*rows, strict=True))
    curve = thresholds(Known(mean, n))
    best = max(cut(mean, n, t)[3] for t in mean)
    advice = curve.recommend()
    assert advice.effective_labels == pytest.approx(best, rel=1e-9, abs=1e-12)
    users, labels, precision, _ = cut(mean, n, advice.threshold)
    assert (advice.users, advice.labels) == (users, labels)
    assert advice.precision == pytest.approx(precision, abs=1e-12)
    assert curve.soft_weights >= best * (1 - 1e-12)
    assert best >= curve.unfiltered * (1 - 1e-12)
    if curve.unfiltered > 1e-12:
        assert advice.gain == pytest.approx(best / curve.unfiltered - 1, abs=1e-9)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(populations, means)
def test_at_makes_the_cut_that_the_filter_makes(rows, threshold):
    mean, n = (np.array(column) for column in zip(*rows, strict=True))
    curve = thresholds(Known(mean, n))
    for t in (threshold, *mean.tolist()):
        users, labels, precision, effective = cut(mean, n, t)
        if users == 0:
            with pytest.raises(EarnestError, match="keeps nobody"):
                curve.at(t)
            continue
        row = curve.at(t)
        assert (row["users"], row["labels"]) == (users, labels)
        assert row["precision"] == pytest.approx(precision, abs=1e-12)
        assert row["effective_labels"] == pytest.approx(effective, rel=1e-9, abs=1e-9)


def test_attentiveness_that_is_uniform_and_known():
    # N mbar^2 at a cut t is (1 - t) ((1 + t) / 2)^2, largest at t = 1/3 where it is 8/27; all kept: 1/4; soft: 1/3.
    n_users = 30_000
    curve = thresholds(Known((np.arange(n_users) + 0.5) / n_users, np.ones(n_users)))
    advice = curve.recommend()
    assert advice.threshold == pytest.approx(1 / 3, abs=2e-3)
    assert advice.effective_labels / n_users == pytest.approx(8 / 27, abs=1e-7)
    assert curve.unfiltered / n_users == pytest.approx(1 / 4, abs=1e-7)
    assert curve.soft_weights / n_users == pytest.approx(1 / 3, abs=1e-7)
    assert advice.gain == pytest.approx(32 / 27 - 1, abs=1e-6)
    assert advice.precision == pytest.approx(2 / 3, abs=1e-3)


def test_alike_users_are_all_kept_and_the_reason_says_so():
    advice = thresholds(Known([0.6, 0.6, 0.6], [10, 20, 30])).recommend()
    assert (advice.threshold, advice.users, advice.gain) == (0.0, 3, 0.0)
    assert advice.reason.startswith("Keep everybody")


def test_the_reason_of_a_cut_states_its_numbers():
    advice = thresholds(Known([0.05, 0.1, 0.9, 0.95], [100, 100, 100, 100])).recommend()
    assert (advice.users, advice.labels) == (2, 200)
    assert 0.1 < advice.threshold <= 0.9
    for shown in ("2 of 4 users", f"at least {advice.threshold:.3f}", "50% of the labels", "92%", "171", "+71.1%"):
        assert shown in advice.reason, advice.reason
    assert advice.reason.count("\n") == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(EarnestError, match="between 0 and 1"):
        thresholds(Known([0.2, 0.7], [3, 4])).at(threshold)


@pytest.mark.parametrize("criterion", ["f2", "precision", "recall>=0.5", "precision>=1.5", "share>=half", "utility"])
def test_an_unknown_criterion_is_refused_and_what_is_expected_named(criterion):
    with pytest.raises(EarnestError, match=r"criterion='.*(expected|needs)"):
        thresholds(Known([0.2, 0.7], [3, 4])).recommend(criterion)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(populations, st.floats(0.0, 1.0))
def test_other_criteria_choose_what_a_loop_over_all_cuts_chooses(rows, wanted):
    mean, n = (np.array(column) for column in zip(*rows, strict=True))
    curve = thresholds(Known(mean, n))
    cuts = [cut(mean, n, t) for t in sorted(set(mean.tolist()))]
    attended = cuts[0][1] * cuts[0][2]
    f1 = [2 * labels * precision / (labels + attended) for _, labels, precision, _ in cuts]
    got = curve.recommend("f1")
    assert 2 * got.labels * got.precision / (got.labels + attended) == pytest.approx(max(f1), rel=1e-9, abs=1e-12)
    share = curve.recommend(f"share>={wanted!r}")
    assert share.labels / n.sum() >= wanted - 1e-9
    assert share.labels == min(labels for _, labels, _, _ in cuts if labels / n.sum() >= wanted - 1e-12)
    reach = [labels for _, labels, precision, _ in cuts if labels and precision >= wanted - 1e-12]
    if reach:
        assert curve.recommend(f"precision>={wanted!r}").labels == max(reach)
    elif wanted > 1e-9:
        with pytest.raises(EarnestError, match="no cut reaches it; the highest precision"):
            curve.recommend(f"precision>={wanted!r}")
    cost = curve.recommend("utility", utility=lambda table: table["labels"] * (table["precision"] - 0.4))
    best = max(labels * (precision - 0.4) for _, labels, precision, _ in cuts)
    assert cost.labels * (cost.precision - 0.4) == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_a_utility_of_the_wrong_shape_or_without_a_value_is_refused():
    curve = thresholds(Known([0.2, 0.7], [3, 4]))
    for wrong in (lambda table: 1.0, lambda table: [np.nan, 1.0]):
        with pytest.raises(EarnestError, match="utility: expected one number for each of the 2 cuts"):
            curve.recommend("utility", utility=wrong)


def test_level_ground_is_where_the_curve_is_flat():
    mean = np.array([0.05, 0.1, 0.5, 0.51, 0.52, 0.9])
    n = np.array([100, 100, 1000, 1, 1000, 1000])
    curve = thresholds(Known(mean, n))
    best = curve.recommend()
    low, high = best.flat
    top = max(cut(mean, n, t)[3] for t in mean)
    assert low <= best.threshold <= high
    for t in np.linspace(low, high, 25):
        assert cut(mean, n, t)[3] >= 0.99 * top
    outside = [curve.table["lowest_kept"][curve.table["lowest_kept"] < low].max() - 1e-9, high + 1e-9]
    assert all(cut(mean, n, t)[3] < 0.99 * top for t in outside if 0 <= t <= mean.max())
    assert curve.recommend("share>=0.5").flat == (curve.recommend("share>=0.5").threshold,) * 2


def test_no_comparisons_and_attentiveness_without_a_value_are_refused():
    with pytest.raises(InputError, match="no comparisons"):
        thresholds(Known([0.2, 0.7], [0, 0]))
    with pytest.raises(EarnestError, match="u000001.*not finite.*converged"):
        thresholds(Known([0.2, np.nan], [3, 4]))


def test_a_threshold_that_keeps_nobody_names_the_best_user():
    with pytest.raises(EarnestError, match=r"keeps nobody.*0\.700"):
        thresholds(Known([0.2, 0.7], [3, 4])).at(0.71)


# ---------------------------------------------------------------------------------------------- with real fits


PAIR = er.BehaviorModel(preference=er.KnownAdvantage(0.7, stronger=("strong", "weak")), casual=er.CoinFlip())
POPULATION = {"attentiveness_alpha": 0.6, "attentiveness_beta": 0.6}


@pytest.fixture(scope="module")
def pair_log():
    """8,000 users of Beta(0.6, 0.6), 20 comparisons each, the stronger model wins with 0.7."""
    return PAIR.simulate(8000, 20, ("strong", "weak"), seed=11, parameters=POPULATION)


@pytest.fixture(scope="module")
def pair_fit(pair_log):
    return er.fit_em(PAIR, pair_log.log)


def test_a_label_does_not_vouch_for_itself(pair_log, pair_fit):
    """Weights that contain their own label seem to find a stronger signal than there is; leave-one-out ones do not.

    The signal is the weighted mean of +1 (the stronger model won) and -1. Its true size is 0.4 times the weighted mean
    attentiveness: 0.226 (0.4 E[m^2] / E[m]); m_u-weighted it looks like 0.291, leave-one-out weighted like 0.225.
    """
    fit, log = pair_fit, pair_log.log
    table = fit.label_table(log)
    query = """SELECT attentiveness, weight, CASE WHEN log.winner = 'model_a' THEN log.model_a ELSE log.model_b END AS w
        FROM log JOIN t ON log."user" = t."user" AND log.model_a = t.model_a AND log.model_b = t.model_b
        AND log.winner = t.winner"""
    rows = log.query(query, t=table).to_pandas()
    assert len(rows) == len(log)
    sign = np.where(rows["w"] == "strong", 1.0, -1.0)
    m, left_out = rows["attentiveness"].to_numpy(), rows["weight"].to_numpy()
    true = fit.attentiveness.merge(pair_log.attentiveness, on="user")
    truth = 0.4 * np.average(true["attentiveness"], weights=true["mean"])
    # 160,000 labels: a weighted mean of signs has a standard error of about 0.003.
    assert np.average(sign, weights=m) == pytest.approx(0.291, abs=0.01)
    assert truth == pytest.approx(0.226, abs=0.008)
    assert np.average(sign, weights=left_out) == pytest.approx(0.225, abs=0.01)
    assert np.average(sign, weights=left_out) == pytest.approx(truth, abs=0.01)
    # The curve's figure for leave-one-out weights is the sum of their squares over labels.
    curve = thresholds(fit, log)
    assert curve.soft_weights_leave_one_out == pytest.approx((left_out**2).sum(), rel=1e-9)
    assert thresholds(fit).soft_weights_leave_one_out == pytest.approx((left_out**2).sum(), rel=1e-9)
    assert curve.soft_weights_leave_one_out < curve.soft_weights


def test_expected_figures_are_true_of_the_simulated_users(pair_log, pair_fit):
    """What the curve expects (precision, effective labels, soft weights) against the users' true attentiveness."""
    curve = thresholds(pair_fit)
    frame = pair_fit.attentiveness.merge(pair_log.attentiveness, on="user")
    eta, m, n = (frame[name].to_numpy(dtype=float) for name in ("attentiveness", "mean", "comparisons"))
    for t in (0.0, 0.2, 0.35, 0.5, 0.65):
        row, keep = curve.at(t), m >= t
        # The mean of some thousand users' attentiveness, whose sd is about a third; 4 standard errors.
        assert row["precision"] == pytest.approx(eta[keep].mean(), abs=4 / 3 / np.sqrt(keep.sum()))
    assert curve.soft_weights == pytest.approx((n * m * eta).sum(), rel=0.03)


def test_the_filter_keeps_what_the_curve_says(pair_log, pair_fit):
    curve = thresholds(pair_fit, pair_log.log)
    advice = curve.recommend()
    for row in (advice, *curve.table.iloc[[0, len(curve.table) // 2, -1]].itertuples()):
        kept = filter_log(pair_log.log, pair_fit, row.threshold)
        assert (len(kept.users), len(kept)) == (row.users, row.labels)
    mean = pair_fit.attentiveness["mean"].to_numpy()
    tie = float(np.sort(mean)[5000])  # exactly at a user's mean: that user stays
    row, kept = curve.at(tie), filter_log(pair_log.log, pair_fit, tie)
    assert (len(kept.users), len(kept)) == (row["users"], row["labels"])
    assert row["users"] == (mean >= tie).sum()


def test_users_whom_the_fit_does_not_know_are_scored(pair_fit):
    later = PAIR.simulate(50, 30, ("strong", "weak"), seed=12, parameters=POPULATION)
    table = later.log.to_arrow().to_pandas()[["user", "model_a", "model_b", "winner"]]
    new = er.read_comparisons(table.assign(user="new_" + table["user"]))
    curve = thresholds(pair_fit, new)
    scored = pair_fit.score(new)
    assert (curve.users, curve.labels) == (50, 1500)
    expected = cut(scored["mean"].to_numpy(), scored["comparisons"].to_numpy(), 0.3)
    assert tuple(curve.at(0.3)[["users", "labels"]]) == expected[:2]


LOGS = {
    "one pair": (PAIR, ("strong", "weak"), 1500, 20, POPULATION),
    "ties": (
        er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())),
        4, 600, 25,
        {
            "attentiveness_alpha": 0.7, "attentiveness_beta": 0.9, "tie_strength": 0.5,
            "skill": [1.2, 0.4, -0.4, -1.2], "casual_outcome": [0.4, 0.35, 0.25],
        },
    ),
    "two kinds of users": (
        er.BehaviorModel(attentiveness=er.Groups(), casual=er.CoinFlip()),
        3, 500, 15,
        {"attentiveness_weight": [0.45, 0.55], "skill": [1.0, 0.0, -1.0]},
    ),
    "nearly all attentive": (
        er.BehaviorModel(casual=er.CoinFlip()),
        3, 500, 20,
        {"attentiveness_alpha": 8.0, "attentiveness_beta": 1.0, "skill": [1.0, 0.0, -1.0]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_the_recommended_cut_is_nearly_the_best_cut_of_its_ranking(name):
    """In true effective labels, N times the squared mean of the true attentiveness, which the fit never sees."""
    model, models, users, comparisons, parameters = LOGS[name]
    truth = model.simulate(users, comparisons, models, seed=21, parameters=parameters)
    fit = er.fit_em(model, truth.log)
    frame = fit.attentiveness.merge(truth.attentiveness, on="user").sort_values("mean", ascending=False)
    n, eta = frame["comparisons"].to_numpy(dtype=float), frame["attentiveness"].to_numpy()
    true = np.cumsum(n * eta) ** 2 / np.cumsum(n)
    advice = thresholds(fit).recommend()
    got = true[advice.users - 1]
    assert got >= 0.95 * true.max()
    assert got >= 0.99 * true[-1]  # and not worse than no filter


# ---------------------------------------------------------------------------------------------- by probability


def _above(fit, wins, votes, tau):
    """Pr(eta > tau) of a user with so many votes for the known stronger model, by numerical integration."""
    from scipy import integrate, stats

    population = stats.beta(*(float(fit.parameters[f"attentiveness_{name}"]) for name in ("alpha", "beta"))).pdf

    def density(t):
        p = 0.75 * t + 0.5 * (1 - t)
        return population(t) * p**wins * (1 - p) ** (votes - wins)

    return integrate.quad(density, tau, 1)[0] / integrate.quad(density, 0, 1)[0]


@pytest.fixture(scope="module")
def known():
    model = er.BehaviorModel(er.Beta(), er.KnownAdvantage(0.75, stronger=("model_1", "model_2")), er.CoinFlip())
    parameters = {"attentiveness_alpha": 1.2, "attentiveness_beta": 1.1}
    truth = model.simulate(150, 30, 2, seed=8, parameters=parameters)
    return truth, er.fit_em(model, truth.log)


def test_the_probability_of_more_than_a_level(known):
    truth, fit = known
    frame = truth.log.to_arrow().to_pandas()
    won = np.where(frame["winner"] == "model_a", frame["model_a"], frame["model_b"]) == "model_1"
    wins = pd.Series(won).groupby(frame["user"]).sum()
    for tau in (0.3, 0.7):
        told = fit.probability_above(tau).set_index("user")["probability"]
        wanted = pd.Series({user: _above(fit, n, 30, tau) for user, n in wins.items()})
        np.testing.assert_allclose(told[wanted.index], wanted, atol=1e-4)
    new = er.read_comparisons(frame.assign(user="new_" + frame["user"]))
    again = fit.probability_above(0.7, new)
    np.testing.assert_allclose(again["probability"], told.reindex(again["user"].str[4:]), atol=1e-12)


def test_the_probability_of_a_kind(known):
    """Of finitely many levels it is a sum; at the ends of the scale it is 1 and 0."""
    truth, fit = known
    groups = er.fit_em(er.BehaviorModel(er.Groups(), fit.model.preference, fit.model.casual), truth.log)
    for level in (0.0, 0.4, 0.999):
        told = groups.probability_above(level)
        np.testing.assert_allclose(told["probability"], told["mean"], atol=1e-12)
    assert (groups.probability_above(1.0)["probability"] == 0).all()
    np.testing.assert_allclose(fit.probability_above(0.0)["probability"], 1.0)
    np.testing.assert_allclose(fit.probability_above(1.0)["probability"], 0.0, atol=1e-9)
    for wrong in (float("nan"), 2.0, "x"):
        with pytest.raises(EarnestError, match="expected an attentiveness between 0 and 1"):
            fit.probability_above(wrong)


def test_the_criterion_keeps_as_many_as_are_sure(known):
    _, fit = known
    told = fit.probability_above(0.4)
    advice = thresholds(fit).recommend("probability(0.4)>=0.8")
    kept = told["mean"] >= advice.threshold
    assert kept.sum() == advice.users
    assert (told["probability"][kept] >= 0.8).all()
    # One more user would not be sure.
    dropped = told[~kept].sort_values("mean")
    assert dropped["probability"].iloc[-1] < 0.8
    with pytest.raises(EarnestError, match=r"no cut reaches it; the most attentive users are above 0.99"):
        thresholds(fit).recommend("probability(0.99)>=0.99")
    for wrong in ("probability>=0.9", "probability(x)>=0.9", "probability(0.5)>=2"):
        with pytest.raises(EarnestError, match="probability"):
            thresholds(fit).recommend(wrong)
    label = er.fit_em(fit.model, known[0].log, method="label")
    with pytest.raises(EarnestError, match="label EM gives no probabilities"):
        thresholds(label).recommend("probability(0.4)>=0.8")


# ---------------------------------------------------------------------------------------------- bands of a fit


def test_a_fit_draws_bands_of_its_own(known):
    truth, fit = known
    curve = thresholds(fit, draws=300)
    drawn = curve.drawn
    # Users given the globals, averaged over these, are nearly the users at the estimate.
    mean = fit.attentiveness.set_index("user")["mean"].reindex(drawn.users)
    np.testing.assert_allclose(drawn.mean, mean, atol=0.12)
    assert np.sqrt(np.mean((drawn.mean - mean) ** 2)) < 0.03
    eta = truth.attentiveness.set_index("user")["attentiveness"].reindex(drawn.users).to_numpy()
    row = curve.bands.iloc[0]
    assert row["precision_lower"] < eta.mean() < row["precision_upper"]
    assert np.quantile(curve.optimum, 0.05) < curve.recommend().threshold < np.quantile(curve.optimum, 0.95)
    np.testing.assert_allclose(thresholds(fit, draws=300).bands, curve.bands)  # the same seed
    plain = thresholds(fit)
    assert plain.bands is None
    assert curve.recommend().effective_labels == pytest.approx(plain.recommend().effective_labels, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"draws": 1}, "draws=1"),
        ({"draws": -3}, "draws=-3"),
        ({"draws": 2.5}, "draws=2.5"),
        ({"draws": 5000}, "2 to 2,000"),
    ],
)
def test_draws_are_checked(known, settings, words):
    with pytest.raises(EarnestError, match=words):
        thresholds(known[1], **settings)


def test_bands_are_of_the_fitted_log_and_of_a_population(known):
    truth, fit = known
    fixed = er.BehaviorModel(er.Groups((0.5,)), fit.model.preference, fit.model.casual)
    with pytest.raises(EarnestError, match="no unknown parameter to draw"):
        thresholds(er.fit_em(fixed, truth.log), draws=10)
    with pytest.raises(EarnestError, match="the fit's own log only"):
        thresholds(fit, truth.log, draws=10)
    with pytest.raises(EarnestError, match="label EM has no normal approximation"):
        thresholds(er.fit_em(fit.model, truth.log, method="label"), draws=10)
