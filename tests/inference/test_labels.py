"""Per-label quantities: responsibilities, leave-one-out weights, flip rates; each by brute force."""

import runpy
from pathlib import Path

import numpy as np
import pytest

import earnest as er

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
log_of, frame_of, votes_of, oracles = (_logs[name] for name in ("log_of", "frame_of", "votes_of", "oracles"))

KEY = ["user", "model_a", "model_b", "winner"]
CASES = {
    "skill-davidson-position": er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias()),
    "skill-none-coin": er.BehaviorModel(er.Beta(), er.BradleyTerry(), er.CoinFlip()),
}


@pytest.fixture(scope="module")
def fitted():
    """{case: (log, fit, oracle)}; 40 users, 12 votes each, 3 models."""
    out = {}
    for name, model in CASES.items():
        kind, rule, casual = name.split("-")
        log = model.simulate(
            users=40, comparisons_per_user=12, models=3, seed=4, parameters={"skill": [0.9, -0.2, -0.7]}
        ).log
        out[name] = (log, er.fit_em(model, log), votes_of(log, kind=kind, rule=rule, casual=casual))
    return out


def row_by_row(fit, log):
    """The label table, joined to the log's rows in their order."""
    table = fit.label_table(log)
    assert not table.duplicated(KEY).any()
    return frame_of(log).merge(table, on=KEY, how="left", validate="many_to_one")


@pytest.mark.parametrize("name", CASES)
def test_responsibilities_by_brute_force(fitted, name):
    """E[eta P / (eta P + (1 - eta) C)] under the user's posterior, in the log's row order; the identity of the mean."""
    log, fit, votes = fitted[name]
    _, log_weight, eta = votes.user_log_likelihoods(fit.parameters)
    p, c = votes.probabilities(fit.parameters)
    user = votes.rows[:, 0]
    attended = eta * p[:, None]
    expected = (np.exp(log_weight)[user] * attended / (attended + (1 - eta) * c[:, None])).sum(1)
    ours = fit.responsibilities(log)
    assert ours.shape == (480,)
    np.testing.assert_allclose(ours, expected, atol=1e-7)
    np.testing.assert_allclose(row_by_row(fit, log)["responsibility"], expected, atol=1e-7)
    alpha, beta = (float(fit.parameters[f"attentiveness_{x}"]) for x in ("alpha", "beta"))
    identity = (alpha + np.bincount(user, weights=ours)) / (alpha + beta + 12)
    np.testing.assert_allclose(fit.attentiveness["mean"], identity, atol=1e-7)


@pytest.mark.parametrize("name", CASES)
def test_a_weight_is_the_attentiveness_without_that_label(fitted, name):
    """Each vote of some users taken out, and the user scored again by the oracle and by the fit itself."""
    log, fit, votes = fitted[name]
    weight = row_by_row(fit, log)["weight"].to_numpy()
    frame = frame_of(log)
    rows = np.flatnonzero(np.isin(votes.rows[:, 0], [0, 7, 23]))
    assert len(rows) == 36
    whole = votes.rows
    for row in rows:
        votes.rows = np.delete(whole, row, axis=0)
        mean, _ = votes.means(fit.parameters)
        assert weight[row] == pytest.approx(mean[whole[row, 0]], abs=1e-7)
    votes.rows = whole
    # And by the public door: the log without the vote, scored.
    for row in rows[:3]:
        scored = fit.score(log_of(frame.drop(index=row))).set_index("user")["mean"]
        assert weight[row] == pytest.approx(scored[frame["user"][row]], abs=1e-7)


def test_the_unconditional_weight_would_be_too_kind(fitted):
    """A label vouches for itself: where it agrees with the better model, m_u is above m_(u,-n), else below."""
    log, fit, votes = fitted["skill-none-coin"]
    table = row_by_row(fit, log)
    p, _ = votes.probabilities(fit.parameters)
    assert np.all((table["attentiveness"] > table["weight"]) == (p > 0.5))


@pytest.mark.parametrize("name", CASES)
def test_flip_rates_are_the_written_formulas(fitted, name):
    log, fit, votes = fitted[name]
    table = row_by_row(fit, log)
    tie = (table["winner"] == "tie").to_numpy()
    first = (table["winner"] == "model_a").to_numpy()
    for column in ("label_noise", "label_noise_posterior"):
        np.testing.assert_array_equal(np.isnan(table[column]), tie)
    casual = fit.parameters.get("casual_outcome", np.full(2, 0.5))
    other = np.where(first, casual[1], casual[0]) / (casual[0] + casual[1])
    expected = (1 - table["weight"]) * other
    np.testing.assert_allclose(table["label_noise"][~tie], expected[~tie], atol=1e-12)
    # Under every tie rule here the odds among decided outcomes are those of Bradley and Terry.
    skill = fit.parameters["skill"]
    difference = skill[votes.rows[:, 1]] - skill[votes.rows[:, 2]]
    chosen = 1 / (1 + np.exp(-np.where(first, difference, -difference)))
    expected = (1 - table["responsibility"]) * (1 - chosen)
    np.testing.assert_allclose(table["label_noise_posterior"][~tie], expected[~tie], atol=1e-10)
    assert np.all(table["label_noise"][~tie].between(0, 1))


def test_under_a_coin_flip_the_flip_rate_does_not_look_at_the_vote(fitted):
    """Turn one vote around: its label_noise stays, its label_noise_posterior does not."""
    log, fit, _ = fitted["skill-none-coin"]
    frame = frame_of(log)
    turned = frame.copy()
    turned.loc[5, "winner"] = {"model_a": "model_b", "model_b": "model_a"}[frame.loc[5, "winner"]]
    # Under new names the users are judged by these votes alone.
    before, after = (f.assign(user="x" + f["user"]) for f in (frame, turned))
    tables = [fit.label_table(log_of(f)).set_index(KEY) for f in (before, after)]
    one, two = (t.loc[tuple(f.loc[5, KEY])] for t, f in zip(tables, (before, after), strict=True))
    assert one["label_noise"] == pytest.approx(two["label_noise"], abs=1e-10)
    assert abs(one["label_noise_posterior"] - two["label_noise_posterior"]) > 1e-3


def test_both_orders_of_an_undirected_comparison_are_one(fitted):
    """A model that does not look at the order gives a vote and its mirror image the same quantities."""
    log, fit, _ = fitted["skill-none-coin"]
    frame = frame_of(log)
    mirrored = frame.rename(columns={"model_a": "model_b", "model_b": "model_a"})[KEY]
    mirrored["winner"] = mirrored["winner"].map({"model_a": "model_b", "model_b": "model_a", "tie": "tie"})
    np.testing.assert_allclose(fit.responsibilities(log_of(mirrored)), fit.responsibilities(log), atol=1e-12)
    table = fit.label_table(log)
    assert len(table) == 2 * (table["model_a"] < table["model_b"]).sum()
    half = table[table["model_a"] < table["model_b"]]
    assert half["comparisons"].sum() == len(log)


def test_rows_keep_their_order(fitted):
    log, fit, _ = fitted["skill-davidson-position"]
    frame = frame_of(log)
    order = np.random.default_rng(1).permutation(len(frame))
    shuffled = log_of(frame.iloc[order].reset_index(drop=True))
    np.testing.assert_allclose(fit.responsibilities(shuffled), fit.responsibilities(log)[order], atol=1e-12)


def test_users_whom_the_fit_does_not_know(fitted):
    """They are judged by their votes in this log; known users by the votes of the fit."""
    log, fit, _ = fitted["skill-davidson-position"]
    frame = frame_of(log)
    twin = frame[frame["user"] == "user_01"].assign(user="stranger")
    table = fit.label_table(log_of(twin)).set_index(KEY[1:])
    own = fit.label_table(log)
    own = own[own["user"] == "user_01"].set_index(KEY[1:])
    for column in ("attentiveness", "weight", "responsibility", "label_noise", "label_noise_posterior"):
        np.testing.assert_allclose(table[column], own[column].loc[table.index], atol=1e-9)
    part = fit.label_table(log_of(frame[frame["user"] == "user_01"].iloc[:4])).set_index(KEY[1:])
    np.testing.assert_allclose(part["weight"], own["weight"].loc[part.index], atol=1e-9)
    # A vote of a known user that the fit has not seen is not taken out of a posterior that does not contain it.
    winner = {"model_a": "model_b", "model_b": "tie", "tie": "model_a"}
    seen = set(map(tuple, frame[KEY].to_numpy()))
    fresh = next((u, a, b, winner[w]) for u, a, b, w in frame[KEY].to_numpy() if (u, a, b, winner[w]) not in seen)
    row = fit.label_table(log_of([fresh])).iloc[0]
    assert row["weight"] == pytest.approx(row["attentiveness"], abs=1e-12)
    mean = fit.attentiveness.set_index("user")["mean"][fresh[0]]
    assert row["attentiveness"] == pytest.approx(mean, abs=1e-7)


def test_a_model_that_the_fit_does_not_know_is_refused(fitted):
    _, fit, _ = fitted["skill-davidson-position"]
    for call in (fit.score, fit.label_table, fit.responsibilities):
        with pytest.raises(er.InputError, match="'model_9'"):
            call(log_of([("u", "model_1", "model_9", "tie")]))


@pytest.mark.parametrize("name", CASES)
def test_leave_one_out_information_adds_up(fitted, name):
    log, fit, _ = fitted[name]
    weight = row_by_row(fit, log)["weight"]
    assert fit.leave_one_out_information() == pytest.approx((weight**2).sum(), rel=1e-9)
    assert fit.leave_one_out_information(log) == pytest.approx((weight**2).sum(), rel=1e-9)


@pytest.mark.parametrize("user_prior", [(1.0, 1.0), (1.5, 1.2)])
def test_label_em_without_a_label_by_direct_search(user_prior):
    """The user's best attentiveness without the vote, searched for; responsibilities at the user's own."""
    model = er.BehaviorModel(er.Beta(), er.KnownAdvantage(0.7, stronger=("model_1", "model_2")), er.CoinFlip())
    log = model.simulate(users=60, comparisons_per_user=15, models=2, seed=2).log
    fit = er.fit_em(model, log, method="label", user_prior=user_prior)
    table = row_by_row(fit, log)
    votes = votes_of(log, kind="known", rule="none", casual="coin", order=(0, 1), mu=0.7)
    p, c = votes.probabilities({})
    eta = fit.attentiveness["mean"].to_numpy()[votes.rows[:, 0]]
    np.testing.assert_allclose(table["attentiveness"], eta, atol=1e-6)
    np.testing.assert_allclose(table["responsibility"], eta * p / (eta * p + (1 - eta) * c), atol=1e-6)
    whole = votes.rows
    for row in range(0, len(whole), 47):
        votes.rows = np.delete(whole, row, axis=0)
        expected = votes.best_label_attentiveness({}, user_prior)[whole[row, 0]]
        assert table["weight"][row] == pytest.approx(expected, abs=2e-5)
