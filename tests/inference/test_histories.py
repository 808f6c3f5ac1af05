"""Users with a history: drifting states, habits, dwell times; against sums over every path and integrals in loops."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.errors import EarnestError, InputError
from earnest.diagnostics.calibration_logs import Design, tell
from earnest.diagnostics.calibration_machines import Machine
from earnest.inference import compiled, em, users
from earnest.inference.arrays import float64
from earnest.inference.chain import attends
from earnest.models.choices import in_turn
from earnest.models.namespace import NUMPY

NAMES = {"user": "user", "model_a": "model_a", "model_b": "model_b", "winner": "winner"}
DRIFT = {
    "attention_stay": [0.7, 0.85],
    "attentiveness_alpha": 1.5,
    "attentiveness_beta": 1.0,
    "skill": [1.0, 0.0, -1.0],
}


def read(frame, **more):
    return er.read_comparisons(frame, **NAMES, **more)


def densities(fit, log):
    """P and C of every row of a log, written down again for Bradley-Terry and position bias."""
    frame = log.to_arrow().to_pandas()
    skill = dict(zip(fit.coords["model"], fit.parameters["skill"], strict=True))
    gap = frame["model_a"].map(skill) - frame["model_b"].map(skill)
    won = frame["winner"] == "model_a"
    p = 1 / (1 + np.exp(np.where(won, -gap, gap)))
    return frame, p, np.where(won, *fit.parameters["casual_outcome"])


def every_path(p, c, stay, eta):
    """Pr(states, votes | eta) of all paths of states, (path, level), and the paths, (path, vote)."""
    paths = np.array(list(product((0, 1), repeat=len(p))))
    out = np.ones((len(paths), len(eta)))
    for path, weight in zip(paths, out, strict=True):
        for n, state in enumerate(path):
            fresh = eta if state else 1 - eta
            kept = 0.0 if n == 0 else stay[path[n - 1]]
            same = n > 0 and path[n - 1] == state
            weight *= (kept * same + (1 - kept) * fresh) * (p[n] if state else c[n])
    return out, paths


def population(fit):
    """Levels of attentiveness and their weights, fine enough for an integral."""
    at = np.linspace(-7, 7, 2001)
    logit = 0.5 * np.sinh(at)  # far out, for shapes near 0
    eta, rest = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
    alpha, beta = (float(fit.parameters[f"attentiveness_{name}"]) for name in ("alpha", "beta"))
    weight = eta**alpha * rest**beta * np.cosh(at)
    return eta, weight / weight.sum()


@pytest.fixture(scope="module")
def drifting():
    model = er.BehaviorModel(attention=er.Drift())
    truth = model.simulate(60, [1, 2, 3, 5, 7, 8] * 10, 3, seed=3, parameters=DRIFT)
    return truth, er.fit_em(model, truth.log)


def test_em_climbs_and_users_are_those_of_every_path(drifting):
    truth, fit = drifting
    assert fit.status == "converged"
    assert np.diff(fit.objective_trace).min() > -1e-9 * abs(fit.objective_trace[-1])
    frame, p, c = densities(fit, truth.log)
    eta, weight = population(fit)
    stay, mean = fit.parameters["attention_stay"], fit.attentiveness.set_index("user")
    total = 0.0
    for user in frame["user"].unique()[:18]:
        own = (frame["user"] == user).to_numpy()
        paths, _ = every_path(p[own], c[own], stay, eta)
        posterior = paths.sum(0) * weight
        total += np.log(posterior.sum())
        posterior /= posterior.sum()
        at = (posterior * eta).sum()
        assert mean.loc[user, "mean"] == pytest.approx(at, abs=1e-6)
        assert mean.loc[user, "sd"] == pytest.approx(np.sqrt((posterior * (eta - at) ** 2).sum()), abs=1e-5)


def test_labels_are_those_of_every_path(drifting):
    """Responsibility given all votes; weight given all but the vote itself, whose moment stays."""
    truth, fit = drifting
    frame, p, c = densities(fit, truth.log)
    found = fit.label_table(truth.log).set_index(["user", "timestamp"])
    responsibility = fit.responsibilities(truth.log)
    eta, weight = population(fit)
    stay = fit.parameters["attention_stay"]
    for user in frame["user"].unique()[:18]:
        own = np.flatnonzero(frame["user"] == user)
        one, zero = p[own], c[own]
        for place, row in enumerate(own):
            paths, states = every_path(one, zero, stay, eta)
            mass = (paths * weight).sum(1)
            attended = states[:, place] == 1
            assert responsibility[row] == pytest.approx(mass[attended].sum() / mass.sum(), abs=1e-6)
            others = np.arange(len(own)) != place
            paths, _ = every_path(np.where(others, one, 1.0), np.where(others, zero, 1.0), stay, eta)
            mass = (paths * weight).sum(1)
            left = mass[attended].sum() / mass.sum()
            label = found.loc[(user, frame["timestamp"].iloc[row])]
            assert label["weight"] == pytest.approx(left, abs=1e-6)
            assert label["label_noise"] == pytest.approx((1 - left) * (1 - zero[place]), abs=1e-6)


def test_a_vote_that_was_not_fitted_is_judged_by_its_neighbours(drifting):
    """Of a user whom the fit knows; the vote itself has no say in its weight."""
    truth, fit = drifting
    frame = truth.log.to_arrow().to_pandas()
    user = frame["user"].value_counts().index[0]
    own = frame[frame["user"] == user].iloc[[0]].assign(timestamp=2.5)
    weights = []
    for winner in ("model_a", "model_b"):
        table = fit.label_table(read(own.assign(winner=winner), timestamp="timestamp"))
        weights.append(float(table["weight"].iloc[0]))
    assert weights[0] == pytest.approx(weights[1], abs=1e-12)
    near = fit.label_table(truth.log).set_index(["user", "timestamp"]).loc[user]["weight"]
    assert 0 < weights[0] < 1
    assert near.min() - 0.2 < weights[0] < near.max() + 0.2


def test_given_attentiveness_the_two_passes_are_the_sum_over_paths():
    rng = np.random.default_rng(0)
    size = np.array([5, 1, 7, 3])
    owner = np.repeat(np.arange(4), size)
    p, c, stay, eta = rng.random(16), rng.random(16), np.array([0.3, 0.8]), rng.random(4)
    found, ahead = attends(p, c, eta[owner], stay, list(in_turn(owner)))
    for user in range(4):
        own = np.flatnonzero(owner == user)
        assert ahead[own].prod() == pytest.approx(every_path(p[own], c[own], stay, eta[[user]])[0].sum(), rel=1e-12)
        for place, row in enumerate(own):
            others = np.arange(len(own)) != place
            one, zero = (np.where(others, part[own], 1.0) for part in (p, c))
            paths, states = every_path(one, zero, stay, eta[[user]])
            assert found[row] == pytest.approx(paths[states[:, place] == 1].sum() / paths.sum(), abs=1e-12)


@float64
def test_without_drift_the_likelihood_is_the_plain_one():
    log = er.BehaviorModel(attention=er.Drift()).simulate(9, 7, 3, seed=5, parameters=DRIFT).log
    plain, still = (compiled.settle(er.BehaviorModel(attention=part), log) for part in (None, er.Drift(stay=(0, 0))))
    values = plain.table.sample_prior(np.random.default_rng(1))
    found = [ready.statement("marginal").log_density(NUMPY, values) for ready in (plain, still)]
    assert found[0] == pytest.approx(float(found[1]), rel=1e-12)
    moving = compiled.settle(er.BehaviorModel(attention=er.Drift(stay=(0, 0.3))), log).statement("marginal")
    assert abs(moving.log_density(NUMPY, values) - found[0]) > 1e-3


@pytest.mark.long
def test_without_drift_the_model_is_the_plain_one():
    plain = er.BehaviorModel()
    truth = er.BehaviorModel(attention=er.Drift()).simulate(80, 10, 3, seed=5, parameters=DRIFT)
    still, moving = er.fit_em(plain, truth.log), er.fit_em(er.BehaviorModel(attention=er.Drift(stay=(0, 0))), truth.log)
    assert moving.objective_trace[-1] == pytest.approx(still.objective_trace[-1], abs=1e-7)
    np.testing.assert_allclose(moving.attentiveness["mean"], still.attentiveness["mean"], atol=1e-5)
    np.testing.assert_allclose(moving.responsibilities(truth.log), still.responsibilities(truth.log), atol=1e-5)


@float64
def test_long_histories_agree_with_the_tree():
    """A history of many rows, forward step by step, and as a tree of products: EM and NumPy."""
    model = er.BehaviorModel(er.Groups(2), attention=er.Drift())
    log = model.simulate(12, [300, 1, 2, 90, 33, 32, 31, 64, 8, 7, 150, 16], 3, seed=2).log
    ready = compiled.settle(model, log)
    problem = users.workload(ready.counts).problem
    rng = np.random.default_rng(4)
    for _ in range(2):
        free = ready.table.pack(ready.table.sample_prior(rng))
        exact = ready.statement("marginal").log_density(NUMPY, compiled.values_at(ready.table, free))
        assert em.MarginalEM(ready.model, problem, True).objective(free) == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.long
def test_free_levels_climb_along_the_chain():
    """Only tosses tell of a level, not every vote: the M-step counts them so, else the objective falls."""
    model = er.BehaviorModel(er.Groups(2), attention=er.Drift(stay=(0.6, 0.8)))
    log = model.simulate(60, 12, 3, seed=2, parameters={"attentiveness_level": [0.2, 0.8]}).log
    fit = er.fit_em(model, log)
    assert np.diff(fit.objective_trace).min() > -1e-9 * abs(fit.objective_trace[-1])


def test_the_order_of_rows_is_nothing_and_that_of_times_is_something(drifting):
    truth, fit = drifting
    frame = truth.log.to_arrow().to_pandas()
    mixed = frame.sample(frac=1, random_state=1)
    again = fit.score(read(mixed, timestamp="timestamp"))
    np.testing.assert_allclose(again["mean"], fit.score(truth.log)["mean"], atol=1e-12)
    back = fit.score(read(frame.assign(timestamp=-frame["timestamp"]), timestamp="timestamp"))
    assert np.abs(back["mean"] - again["mean"]).max() > 1e-3  # the two states last differently
    start = pd.Timestamp("2026-01-01 12:00:00")
    dated = frame.assign(timestamp=start + pd.to_timedelta(frame["timestamp"], unit="s"))
    for times in (
        dated,
        dated.assign(timestamp=dated["timestamp"].dt.tz_localize("UTC")),
        dated.astype({"timestamp": str}),
    ):
        np.testing.assert_allclose(fit.score(read(times, timestamp="timestamp"))["mean"], again["mean"], atol=1e-10)


def test_labels_reach_the_file_in_the_order_of_the_log(drifting, tmp_path):
    truth, fit = drifting
    frame = (
        truth.log.to_arrow()
        .to_pandas()
        .sample(frac=1, random_state=2)
        .assign(prompt="p", response_a="a", response_b="b")
    )
    log = read(frame, timestamp="timestamp", prompt="prompt", response_a="response_a", response_b="response_b")
    done = er.write_preferences(log, tmp_path / "kept.parquet", fit)
    assert done.written == len(frame)
    written = pd.read_parquet(tmp_path / "kept.parquet")
    table = fit.label_table(log).set_index(["user", "timestamp"])["weight"]
    wanted = [table.loc[(user, time)] for user, time in zip(written["user"], written["timestamp"], strict=True)]
    np.testing.assert_allclose(written["weight"], wanted, atol=1e-12)
    assert written["user"].tolist() == frame["user"].tolist()


def test_what_the_order_needs_is_asked_for():
    model = er.BehaviorModel(attention=er.Drift())
    frame = model.simulate(6, 4, 3, seed=1).log.to_arrow().to_pandas()
    for with_order in (model, er.BehaviorModel(casual=er.Habit())):
        with pytest.raises(InputError, match="the order of a user's votes.*timestamp="):
            er.fit_em(with_order, read(frame.rename(columns={"timestamp": "when_it_was"})))
        broken = frame.astype({"timestamp": object})
        broken.loc[5, "timestamp"] = "yesterday"
        with pytest.raises(InputError, match=r"row 6, column 'timestamp': .*a number or a date"):
            er.fit_em(with_order, read(broken.astype({"timestamp": str}), timestamp="timestamp"))
    mixed = frame.assign(timestamp=np.where(frame.index == 5, "2024-01-01", frame["timestamp"].astype(str)))
    with pytest.raises(InputError, match="row 6, column 'timestamp': a date, where other rows have a number"):
        er.fit_em(model, read(mixed, timestamp="timestamp"))
    with pytest.raises(InputError, match="previous_choice' of its own"):
        er.fit_em(er.BehaviorModel(casual=er.Habit()), read(frame.assign(previous_choice=3), timestamp="timestamp"))
    with pytest.raises(EarnestError, match="do not fall from one vote of a user to the next"):
        model.simulate(2, 3, 2, columns={"timestamp": [0, 2, 1, 0, 1, 2]})
    with pytest.raises(EarnestError, match="one column cannot be both"):
        er.BehaviorModel(preference=er.BradleyTerry(covariates=("s",)), attention=er.Speedster("s"))
    with pytest.raises(EarnestError, match="beside attention that lasts"):
        er.BehaviorModel(preference=er.ItemEffect(), attention=er.Drift())
    twice = pd.concat([frame, frame.iloc[[3]]])
    with pytest.raises(InputError, match="more than once at the same timestamp.*1 such case"):
        er.fit_em(model, read(twice, timestamp="timestamp"))
    for stay in ((0.5,), (0.5, 1.0), 0.5, ("a", 0.1)):
        with pytest.raises(EarnestError, match="two probabilities below 1"):
            er.Drift(stay=stay)


@pytest.mark.long
def test_models_that_met_only_later_are_scored():
    """What a component checks of new votes asks for no parameter of their pair."""
    frame = er.BehaviorModel().simulate(20, 8, 3, seed=1).log.to_arrow().to_pandas()
    later = frame[["model_a", "model_b"]].isin(["model_1", "model_2"]).all(axis=1)
    fit = er.fit_em(er.BehaviorModel(), read(frame[~later]))
    assert np.isfinite(fit.score(read(frame[later]))["mean"]).all()


def test_an_update_at_the_same_moments_is_refused(drifting):
    """A clock that starts anew with each log: votes of one moment would be taken for one."""
    truth, fit = drifting
    turned = {"model_a": "model_b", "model_b": "model_a"}
    frame = truth.log.to_arrow().to_pandas().assign(winner=lambda f: f["winner"].map(turned))
    with pytest.raises(InputError, match="together with the fit's own votes.*more than once at the same timestamp"):
        fit.update(read(frame, timestamp="timestamp"))


def test_an_update_goes_on_with_the_history(drifting):
    truth, _ = drifting
    frame = truth.log.to_arrow().to_pandas()
    early = frame["timestamp"] < 3
    model = er.BehaviorModel(attention=er.Drift())
    first = er.fit_em(model, read(frame[early], timestamp="timestamp"))
    both = first.update(read(frame[~early], timestamp="timestamp"))
    whole = er.fit_em(model, read(frame, timestamp="timestamp"))
    assert both.objective_trace[-1] == pytest.approx(whole.objective_trace[-1], abs=1e-6)


def test_the_choice_before_is_the_users_own_in_time():
    frame = pd.DataFrame(
        {
            "user": ["u", "v", "u", "u", "v"], "model_a": list("abbab"), "model_b": list("bacca"),
            "winner": ["model_a", "model_b", "tie", "model_b", "model_a"], "timestamp": [3, 1, 1, 2, 0],
        }
    )  # fmt: skip
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.Habit())
    counts = model.count(read(frame, timestamp="timestamp"))
    seen = {
        (counts.users[u], counts.cells.schema.models[counts.cells.model_a[c]], int(counts.cells.outcome[c])): int(
            counts.cells["previous_choice"][c]
        )
        for u, c in zip(counts.user, counts.cell, strict=True)
    }
    assert seen == {("u", "b", 2): 0, ("u", "a", 1): 3, ("u", "a", 0): 2, ("v", "b", 0): 0, ("v", "b", 1): 1}


def test_habits_are_simulated_and_found():
    model = er.BehaviorModel(casual=er.Habit())
    known = {"habit_repeat": 0.7, "skill": [1.0, 0.0, -1.0], "attentiveness_alpha": 1.5, "attentiveness_beta": 1.5}
    truth = model.simulate(400, 20, 3, seed=2, parameters={**known, "casual_outcome": [0.5, 0.5]})
    frame = truth.log.to_arrow().to_pandas()
    same = frame["winner"].eq(frame.groupby("user")["winner"].shift())
    careless = ~truth.attended & (frame.groupby("user").cumcount() > 0).to_numpy()
    assert same[careless].mean() == pytest.approx(0.7 + 0.3 * 0.5, abs=0.03)
    assert same[truth.attended].mean() < 0.6
    fit = er.fit_em(model, truth.log)
    low, high = fit.intervals(0.99)["habit_repeat"]
    assert low < 0.7 < high
    assert len(fit.responsibilities(truth.log)) == 8000


def test_dwell_times_bear_witness():
    """Users of one attentiveness: who attended is told by the time alone, and its laws are found."""
    model = er.BehaviorModel(er.Beta(), casual=er.CoinFlip(), attention=er.Speedster("seconds"))
    known = {
        "dwell_loc": [-1.0, 1.0], "dwell_scale": [0.5, 0.5], "attentiveness_alpha": 3.0, "attentiveness_beta": 3.0,
        "skill": [1.0, 0.0, -1.0],
    }  # fmt: skip
    truth = model.simulate(200, 15, 3, seed=4, parameters=known)
    fit = er.fit_em(model, truth.log)
    assert fit.status == "converged"
    assert np.diff(fit.objective_trace).min() > -1e-9 * abs(fit.objective_trace[-1])
    responsibility = fit.responsibilities(truth.log)
    assert np.mean((responsibility > 0.5) == truth.attended) > 0.95
    # In the log's own units the laws are where they were told.
    component = fit.model.attention
    laws = component.centre + component.scale * fit.parameters["dwell_loc"]
    np.testing.assert_allclose(laws, [-1.0, 1.0], atol=0.08)
    frame = truth.log.to_arrow().to_pandas()
    with pytest.raises(EarnestError, match="times above 0, the log has 0"):
        er.fit_em(model, read(frame.assign(seconds=np.where(np.arange(len(frame)) == 7, 0.0, frame["seconds"]))))
    with pytest.raises(EarnestError, match="of the votes and of 'seconds'"):
        er.compare_models({"votes": er.BehaviorModel(casual=er.CoinFlip()), "times": fit}, truth.log)
    with pytest.raises(EarnestError, match="times above 0, the log has -1"):
        fit.score(read(frame.assign(seconds=-1.0)))
    # Far from both laws it is still the ratio of their densities that counts.
    one = frame[frame["user"] == frame["user"].iloc[0]].reset_index(drop=True)
    for seconds in (1e3, 1e5, 1e30):
        late = one.assign(user="late", seconds=np.where(np.arange(len(one)) == 3, seconds, one["seconds"]))
        label = fit.label_table(read(late)).set_index("seconds").loc[[seconds]].iloc[0]
        assert np.isfinite(label[["responsibility", "weight", "label_noise"]].astype(float)).all()
        if seconds < 1e6:
            assert label["responsibility"] == pytest.approx(1.0, abs=1e-6)
            assert label["weight"] == pytest.approx(1.0, abs=1e-6)
        assert np.isfinite(fit.score(read(late))["mean"]).all()
    # A label's own time is known before its vote: the weight looks at it, and not at the vote.
    entries = fit.label_table(truth.log)
    eta = entries.groupby("user")["weight"].std().mean()
    assert eta > 0.2


@pytest.mark.long
def test_a_partisan_leaves_the_times_of_a_casual_vote():
    model = er.BehaviorModel(casual=er.Partisan(), attention=er.Speedster("seconds", centre=0.0, scale=1.0))
    known = {"dwell_loc": [-1.0, 1.0], "dwell_scale": [0.4, 0.4], "partisan_share": 0.2}
    truth = model.simulate(60, 10, 3, seed=1, parameters=known)
    seconds = truth.log.to_arrow().to_pandas().groupby("user")["seconds"].median()
    told = truth.attentiveness.set_index("user")["kind"]
    assert (np.log(seconds[told != "no favourite"]) < 0).all()
    fit = er.fit_em(model, truth.log)
    kinds = fit.kinds().set_index("user")
    named = kinds.drop(columns="no favourite", errors="ignore").select_dtypes("number").sum(axis=1)
    assert named[told != "no favourite"].mean() > named[told == "no favourite"].mean() + 0.4


def test_replicates_and_checks_know_the_chain(drifting):
    truth, fit = drifting
    checks = er.predictive_check(fit, truth.log, replicates=40)
    assert len(checks.table)
    curve = er.thresholds(fit, truth.log)
    assert np.isfinite(curve.recommend().threshold)


@float64
def test_calibration_reads_the_log_that_was_told():
    """Times and choices before differ from log to log; the machine's density is that of its own log."""
    design = Design(8, 5, 3)
    for model in (
        er.BehaviorModel(casual=er.Habit()),
        er.BehaviorModel(attention=er.Speedster("s", centre=0.0, scale=1.0)),
    ):
        told = tell(model, design, 4)
        machine = Machine(model, design).of(told)
        log = design.log(told.outcome, model, told.told)
        ready = compiled.settle(model, log)
        exact = ready.statement("marginal").log_density(NUMPY, told.values) - ready.table.log_prior(NUMPY, told.values)
        found = machine.log_likelihood({k: v[None] for k, v in told.values.items()}, machine.count(told.outcome))
        assert found[0] == pytest.approx(float(exact), rel=1e-9)
        assert machine.counts(machine.count(told.outcome)).n_comparisons().tolist() == [5.0] * 8


@pytest.mark.parametrize(
    "model",
    [
        er.BehaviorModel(attention=er.Drift()),
        er.BehaviorModel(casual=er.Habit()),
        er.BehaviorModel(attention=er.Speedster("s", centre=0.0, scale=1.0)),
    ],
    ids=["drift", "habit", "speedster"],
)
@pytest.mark.long
def test_calibration_tells_what_comes_about_with_the_votes(model):
    found = er.calibrate(model, replications=20, users=12, comparisons=5, method="em")
    assert len(found.ranks) == 20


@pytest.mark.long
@pytest.mark.parametrize("backend", ["numpyro", "pymc"])
@pytest.mark.parametrize("latent", ["marginal", "explicit"])
def test_samplers_find_what_em_finds(drifting, backend, latent):
    truth, fit = drifting
    tree = er.sample(fit.model, truth.log, backend=backend, latent=latent, chains=2, draws=300, tune=300, seed=1)
    mean = tree.posterior["attention_stay"].mean(("chain", "draw")).to_numpy()
    np.testing.assert_allclose(mean, fit.parameters["attention_stay"], atol=0.25)
    assert tree.posterior_predictive["votes"].shape[-1] == 2
