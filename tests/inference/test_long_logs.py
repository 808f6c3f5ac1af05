"""Long logs: globals from a sample of users, users in blocks, intervals where the globals are certain."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.inference import posteriors as blocks
from earnest.inference import sampled_users as samples
from earnest.inference.maximize import _by_conjugate_gradients
from earnest.inference.nodes import wanted
from earnest.inference.posteriors import Globals, patterns_of, posteriors
from earnest.inference.sampled_users import first_sample
from earnest.inference.users import carried_intervals, summarise, workload

MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.PositionBias())
LEVELS = (0.05, 0.95)


@pytest.fixture(scope="module")
def truth():
    return MODEL.simulate(users=1500, comparisons_per_user=12, models=3, seed=4)


@pytest.fixture(scope="module")
def fit(truth):
    return er.fit_em(MODEL, truth.log, restarts=False)


def with_busy_users(counts):
    """The same with every fiftieth user's votes 240 times: some three thousand."""
    return replace(counts, count=np.where(counts.user % 50 == 0, 240.0, 1.0) * counts.count)


def test_blocks_say_what_one_piece_says(fit, monkeypatch):
    counts = with_busy_users(fit.counts)
    at = Globals(fit.model, fit.free, fit.centre, fit.spread, fit.seed)
    with jax.enable_x64(True):
        monkeypatch.setattr(blocks, "_MANY", 10**9)  # intervals with draws in both
        whole = posteriors(at, counts, fit.schema, LEVELS, 4, patterns_of(counts))
        monkeypatch.setattr(blocks, "_BLOCK", 256)
        monkeypatch.setattr(blocks, "_LOOKED_AT", 200)
        pieces = posteriors(at, counts, fit.schema, LEVELS, 4, patterns_of(counts))
        calls, placed = [], blocks.nodes_at
        monkeypatch.setattr(blocks, "nodes_at", lambda *args: calls.append(1) or placed(*args))
        alone = posteriors(at, counts, fit.schema, LEVELS, 0, patterns_of(counts))
    for one, other, atol in zip(whole, pieces, (2e-6, 2e-6, 1e-4), strict=True):  # ends of intervals are interpolated
        np.testing.assert_allclose(one, other, atol=atol)
    np.testing.assert_allclose(alone[0], whole[0], atol=2e-6)
    assert len(calls) == 2  # blocks share the nodes of the first; busy users have finer ones


def test_nodes_that_do_not_reach_far_enough_are_placed_anew(fit):
    """Those of the block before are no good here: that is seen, and they are not used."""
    at = Globals(fit.model, fit.free, fit.centre, fit.spread, fit.seed)
    with jax.enable_x64(True):
        work = workload(fit.counts)
        right = blocks.nodes_at(at.model, at.free, work.problem)
        short = replace(right, latent=right.latent / 8, log_dx=right.log_dx - np.log(8))
        wrong = summarise(at.model, at.free, work, LEVELS, short)
        found, rule = blocks._summary(at, work, LEVELS, blocks._Rule(short, np.inf))
        expected = summarise(at.model, at.free, work, LEVELS)
    assert wrong.edge > 1e-3
    assert rule.nodes is not short
    np.testing.assert_array_equal(found.mean, expected.mean)
    assert np.max(np.abs(wrong.mean - expected.mean)) > 1e-4


def test_intervals_are_the_posterior_s_own_where_globals_are_certain(fit):
    """Draws that all say the same must leave the quantiles alone."""
    with jax.enable_x64(True):
        work = workload(fit.counts)
        own = summarise(fit.model, fit.free, work, LEVELS).quantiles
        carried = carried_intervals(fit.model, fit.free, np.zeros_like(fit.spread), work, LEVELS, 32, 0)
        wider = carried_intervals(fit.model, fit.free, 4 * fit.spread, work, LEVELS, 32, 0)
    np.testing.assert_allclose(carried, own, atol=2e-3)
    assert np.mean(wider[:, 1] - wider[:, 0]) > np.mean(own[:, 1] - own[:, 0]) + 0.005  # and where they are not


def test_a_sample_of_all_users_is_the_fit_of_all(truth, fit):
    again = er.fit_em(MODEL, truth.log, restarts=False, globals_from=10**6)
    np.testing.assert_allclose(again.objective_trace[-1], fit.objective_trace[-1], rtol=1e-12)
    np.testing.assert_allclose(again.attentiveness["mean"], fit.attentiveness["mean"], atol=1e-9)


def test_everybody_is_judged_by_all_their_votes(truth, fit):
    some = er.fit_em(MODEL, truth.log, restarts=False, globals_from=500)
    assert any("random sample of 500 of 1,500 users" in note for note in some.notes)
    assert list(some.attentiveness["user"]) == list(fit.attentiveness["user"])
    assert np.all(some.standard_errors["skill"] > 1.3 * fit.standard_errors["skill"])  # a third of the users
    at = er.fit_em(MODEL, truth.log, restarts=False, globals_from="all")
    off = some.attentiveness["mean"] - at.attentiveness["mean"]
    assert 1e-4 < np.sqrt(np.mean(off**2)) < 0.1
    np.testing.assert_allclose(some.score(truth.log)["mean"], some.attentiveness["mean"], atol=1e-9)


def test_the_sample_grows_until_the_error_is_small(truth, monkeypatch):
    monkeypatch.setattr(samples, "_MANY", 100)
    monkeypatch.setattr(samples, "_FIRST", 128)
    sizes = []
    taken = samples._taken
    monkeypatch.setattr(samples, "_taken", lambda c, n, s, asked: sizes.append(n) or taken(c, n, s, asked))
    monkeypatch.setattr(samples, "ERROR", 0.015)
    monkeypatch.setattr("earnest.inference.fitting.ERROR", 0.015)
    grown = er.fit_em(MODEL, truth.log)
    assert len(sizes) > 1
    assert sizes == sorted(sizes)
    exact = er.fit_em(MODEL, truth.log, globals_from="all")
    off = np.sqrt(np.mean((grown.attentiveness["mean"] - exact.attentiveness["mean"]) ** 2))
    assert off < 3 * 0.015


def test_busy_users_give_a_part_of_their_votes(fit):
    counts = with_busy_users(fit.counts)
    sample = first_sample(counts, 10**6, 1499, seed=0)
    thin = sample.counts
    counts = counts.of_users(np.searchsorted(counts.users.astype(str), thin.users.astype(str)))
    n = counts.n_comparisons()
    assert sample.share < 0.6  # of the votes
    np.testing.assert_array_equal(thin.n_comparisons(), np.minimum(n, 128))
    dense = [np.zeros((len(c.users), len(c.cells))) for c in (counts, thin)]
    for matrix, c in zip(dense, (counts, thin), strict=True):
        matrix[c.user, c.cell] = c.count
    assert np.all(dense[1] <= dense[0])
    busy = n > 128
    share = dense[1][busy].sum() / dense[0][busy].sum()
    expected, found = share * dense[0][busy].sum(0), dense[1][busy].sum(0)
    assert np.max(np.abs(found - expected) / np.sqrt(expected + 1)) < 4  # at random: each kind in its proportion


@pytest.mark.parametrize("wrong", ["some", 0, 2.5, True])
def test_where_globals_come_from_must_be_said_properly(truth, wrong):
    with pytest.raises(er.EarnestError, match="globals_from"):
        er.fit_em(MODEL, truth.log, globals_from=wrong)


def test_users_who_are_known_as_patterns_are_drawn_as_users_are(fit):
    """Each as likely as any other, whatever their number a pattern."""
    patterns = fit.counts.patterns()
    users = np.arange(1, len(patterns) + 1)[::-1] % 7 + 1
    counts = replace(fit.counts.of_users(np.sort(np.unique(patterns.pattern_of_user, return_index=True)[1])),
                     multiplicity=users.astype(float))  # fmt: skip
    sample = first_sample(counts, 10**6, 2000, seed=3)
    assert sample.size == 2000
    assert sample.total == users.sum()
    drawn = np.zeros(len(users))
    drawn[np.searchsorted(counts.users.astype(str), sample.counts.users.astype(str))] = sample.counts.multiplicity
    assert np.all(drawn <= users)
    share = 2000 / users.sum()
    for n in range(1, 8):  # users of patterns of n
        of = users == n
        expected, sd = share * n * of.sum(), np.sqrt(share * (1 - share) * n * of.sum())
        assert abs(drawn[of].sum() - expected) < 4 * sd
    assert first_sample(counts, 10**6, 10**6, seed=3) is None


def test_more_globals_than_curvature_is_measured_of(truth, fit, monkeypatch):
    monkeypatch.setattr("earnest.inference.fitting._MOST_GLOBALS", 3)
    monkeypatch.setattr(samples, "_MANY", 100)
    monkeypatch.setattr(samples, "_FIRST", 128)
    monkeypatch.setattr(samples, "_BLIND", 512)
    bare = er.fit_em(MODEL, truth.log, restarts=False, globals_from="all")
    assert any("too many to measure" in note for note in bare.notes)
    assert all(np.all(np.isnan(error)) for error in bare.standard_errors.values())
    np.testing.assert_allclose(bare.attentiveness["mean"], fit.attentiveness["mean"], atol=1e-4)
    assert np.all(np.isfinite(bare.attentiveness[["lower", "upper"]]))
    some = er.fit_em(MODEL, truth.log, restarts=False)
    assert any("sample of 512 of 1,500" in note and "not known" in note for note in some.notes)


def test_label_em_takes_all_users(truth):
    with pytest.raises(er.EarnestError, match="label EM takes all users"):
        er.fit_em(MODEL, truth.log, method="label", globals_from=100)


def test_hundreds_of_parameters_take_no_matrix_and_come_to_the_same(monkeypatch):
    """Steps by conjugate gradients instead of Newton's, and no Newton steps at the end that would hide it."""
    truth = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())).simulate(
        users=300, comparisons_per_user=40, models=14, seed=4
    )
    usual = er.fit_em(MODEL, truth.log)
    monkeypatch.setattr("earnest.inference.maximize._HUNDREDS", 10)
    monkeypatch.setattr("earnest.inference.fitting._MOST_GLOBALS", 10)
    jax.clear_caches()
    other = er.fit_em(MODEL, truth.log)
    jax.clear_caches()
    assert other.converged
    assert np.min(np.diff(other.objective_trace)) > -1e-6
    np.testing.assert_allclose(other.attentiveness["mean"], usual.attentiveness["mean"], atol=2e-3)
    np.testing.assert_allclose(other.parameters["skill"], usual.parameters["skill"], atol=5e-3)


def test_a_step_by_conjugate_gradients_goes_up():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        root = rng.normal(size=(60, 60))
        bend, goal = root @ root.T / 60 + np.eye(60), 0.1 * rng.normal(size=60)

        def bowl(z):
            return -0.5 * (z - goal) @ bend @ (z - goal)

        def saddle(z):
            return jnp.sum(z[:30] ** 2) - jnp.sum((z[30:] - 1) ** 2)

        reached = _by_conjugate_gradients(bowl, jnp.zeros(60))
        np.testing.assert_allclose(reached, goal, atol=0.05)
        start = jnp.full(60, 0.1)
        assert float(saddle(_by_conjugate_gradients(saddle, start))) > float(saddle(start))
        at_rest = _by_conjugate_gradients(bowl, jnp.asarray(goal))
        np.testing.assert_array_equal(at_rest, goal)  # no slope: no step, and no NaN


def test_a_sample_keeps_its_votes_and_none_of_the_other_cells():
    truth = MODEL.simulate(users=400, comparisons_per_user=5, models=30, seed=2)
    counts = MODEL.count(truth.log)
    some = counts.of_users(np.arange(0, 400, 20))
    few = some.of_cells_there()
    assert len(few.cells) < len(some.cells) / 4

    def votes(of):
        cells = of.cells
        return [
            (of.users[u], cells.model_a[c], cells.model_b[c], cells.outcome[c], n)
            for u, c, n in zip(of.user, of.cell, of.count, strict=True)
        ]

    assert votes(few) == votes(some)


@pytest.mark.parametrize(
    ("coarseness", "size"), [(0.0, 128), (1.0, 128), (1.01, 192), (2.0, 320), (1e9, 2048), (np.nan, 128)]
)
def test_as_many_shared_nodes_as_it_takes(coarseness, size):
    assert wanted(128, coarseness) == size


def test_labels_in_blocks_are_the_same_labels(truth, fit, monkeypatch):
    whole = fit.label_table(truth.log)
    monkeypatch.setattr("earnest.inference.labels._BLOCK", 400)
    blocks = list(fit.label_blocks(truth.log))
    assert len(blocks) == 4
    assert not set(blocks[0]["user"]) & set(blocks[1]["user"])
    parts = pd.concat(blocks, ignore_index=True)
    pd.testing.assert_frame_equal(parts, whole, rtol=1e-9)
    # Another log of the same users takes the way by a join.
    frame = truth.log.to_arrow().to_pandas()
    other = er.read_comparisons(pd.concat([frame, frame.iloc[:1]]))
    keys = ["user", "model_a", "model_b", "winner"]
    both = fit.label_table(other).merge(whole, on=keys, suffixes=("", "_whole"))
    assert len(both) == len(whole)
    np.testing.assert_allclose(both["weight"], both["weight_whole"], rtol=1e-9)


def test_effective_labels_of_a_long_log_are_those_of_a_part_of_it(monkeypatch):
    busy = MODEL.simulate(users=3000, comparisons_per_user=30, models=4, seed=6)
    fit = er.fit_em(MODEL, busy.log, restarts=False)
    exact = fit.leave_one_out_information()
    assert fit.leave_one_out_information(busy.log) == exact
    monkeypatch.setattr("earnest.inference.labels.few_alike", lambda counts: True)
    monkeypatch.setattr("earnest.inference.labels._MANY", 1000)
    part = fit.leave_one_out_information()
    assert part != exact
    assert part == pytest.approx(exact, rel=0.06)
