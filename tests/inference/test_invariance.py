"""The same votes told another way give the same answer.

The objective must agree to 1e-9 relative, users' attentiveness to 1e-6, and parameters to 1e-5 on their own scale.
Exempt are directions that the data leave flat; they arise only without priors, and the last test here says which.
"""

import numpy as np
import pytest

import earnest as er
from earnest.comparisons import count_cells

PARAMETERS = {
    "attentiveness_alpha": 2.0, "attentiveness_beta": 1.2, "tie_strength": 0.6,
    "skill": [1.3, 0.3, -0.4, -1.2], "casual_outcome": [0.45, 0.25, 0.3],
}  # fmt: skip
COLUMNS = ["user", "model_a", "model_b", "winner"]
MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
OTHER_SIDE = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}


@pytest.fixture(scope="module")
def frame():
    """250 users with 5 to 29 comparisons of 4 models, as a pandas data frame."""
    sizes = np.random.default_rng(5).integers(5, 30, size=250)
    log = MODEL.simulate(250, sizes.tolist(), 4, seed=5, parameters=PARAMETERS).log
    return log.to_arrow().to_pandas()[COLUMNS].astype(str)


@pytest.fixture(scope="module")
def reference(frame):
    return fitted(frame)


def fitted(source, model=MODEL, **options):
    fit = er.fit_em(model, er.read_comparisons(source), **options)
    assert fit.converged
    return fit


def shuffled(frame):
    return frame.sample(frac=1.0, random_state=3).reset_index(drop=True)


def swapped(frame, rows=slice(None)):
    out = frame.copy()
    at = frame.index[rows]
    out.loc[at, "model_a"], out.loc[at, "model_b"] = frame.loc[at, "model_b"], frame.loc[at, "model_a"]
    out.loc[at, "winner"] = frame.loc[at, "winner"].map(OTHER_SIDE)
    return out


def agree(reference, fit, *, names=None, first_and_second=False, models=None):
    """The two fits are one up to names.

    names: {user of `fit`: user of `reference`}; models the same; first_and_second: the sides have changed places.
    """
    assert fit.objective_trace[-1] == pytest.approx(reference.objective_trace[-1], rel=1e-9)
    mine, theirs = (f.attentiveness.set_index("user") for f in (reference, fit))
    if names is not None:
        theirs = theirs.rename(index=names)
    assert sorted(mine.index) == sorted(theirs.index)
    theirs = theirs.loc[mine.index]
    assert (mine["comparisons"] == theirs["comparisons"]).all()
    np.testing.assert_allclose(theirs["mean"], mine["mean"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(theirs["sd"], mine["sd"], rtol=0, atol=1e-6)
    for name, value in fit.parameters.items():
        got = np.asarray(value)
        if name == "casual_outcome" and first_and_second:
            got = got[[1, 0, 2]]
        if name == "skill" and models is not None:
            position = [fit.coords["model"].index(models[m]) for m in reference.coords["model"]]
            got = got[position]
        np.testing.assert_allclose(got, reference.parameters[name], rtol=0, atol=1e-5, err_msg=name)
    assert len(fit.modes) == len(reference.modes)
    for a, b in zip(reference.modes[1:], fit.modes[1:], strict=True):
        # Lesser modes are listed, not polished.
        assert b.objective == pytest.approx(a.objective, abs=0.05)


def test_rows_in_another_order(frame, reference):
    agree(reference, fitted(shuffled(frame)))


def test_left_and_right_changed_places(frame, reference):
    fit = fitted(swapped(frame))
    agree(reference, fit, first_and_second=True)
    first, second, tie = fit.parameters["casual_outcome"]
    assert first < second  # the log favours the left by construction, its mirror image the right
    assert tie == pytest.approx(reference.parameters["casual_outcome"][2], abs=1e-5)


def test_the_order_of_each_vote_is_nothing_to_a_model_that_does_not_look_at_it(frame):
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.RaoKupper()), casual=er.CoinFlip())
    some = np.flatnonzero(np.random.default_rng(8).random(len(frame)) < 0.5)
    a, b = fitted(frame, model), fitted(swapped(frame, some), model)
    agree(a, b)
    counts = [count_cells(er.read_comparisons(f), ties=True, symmetric=True) for f in (frame, swapped(frame, some))]
    assert np.array_equal(counts[0].count, counts[1].count)
    assert np.array_equal(counts[0].cell, counts[1].cell)


def test_users_renamed(frame, reference):
    users = sorted(frame["user"].unique())
    order = np.random.default_rng(9).permutation(len(users))
    new = {user: f"{'zañ' if k % 2 else 'Ω'}{k:05d}" for user, k in zip(users, order, strict=True)}
    fit = fitted(frame.assign(user=frame["user"].map(new)))
    agree(reference, fit, names={name: user for user, name in new.items()})


def test_models_renamed_so_that_their_order_turns_round(frame, reference):
    new = {f"model_{k}": name for k, name in zip((1, 2, 3, 4), ("delta", "gamma", "beta", "alpha"), strict=True)}
    fit = fitted(frame.assign(model_a=frame["model_a"].map(new), model_b=frame["model_b"].map(new)))
    agree(reference, fit, models=new)


def test_one_log_in_two_files_and_in_every_format(frame, reference, tmp_path):
    import polars
    import pyarrow.parquet

    table = polars.from_pandas(frame)
    frame.iloc[:1700].to_csv(tmp_path / "part1.csv", index=False)
    frame.iloc[1700:].to_csv(tmp_path / "part2.csv", index=False)
    frame.to_csv(tmp_path / "whole.csv", index=False)
    frame.to_json(tmp_path / "whole.jsonl", orient="records", lines=True)
    pyarrow.parquet.write_table(table.to_arrow(), tmp_path / "whole.parquet")
    sources = {
        "Polars": table,
        "Arrow": table.to_arrow(),
        "CSV": tmp_path / "whole.csv",
        "JSONL": tmp_path / "whole.jsonl",
        "Parquet": tmp_path / "whole.parquet",
        "two files": [tmp_path / "part2.csv", tmp_path / "part1.csv"],
        "pattern": tmp_path / "part*.csv",
    }
    expected = count_cells(er.read_comparisons(frame), ties=True)
    for name, source in sources.items():
        log = er.read_comparisons(source)
        counts = count_cells(log, ties=True)
        assert np.array_equal(counts.users, expected.users), name
        for part in ("user", "cell", "count"):
            assert np.array_equal(getattr(counts, part), getattr(expected, part)), (name, part)
        assert log.fingerprint() == reference.fingerprint, name
    for name in ("Polars", "two files"):
        # Equal counts are all that the fit sees: two of the seven suffice.
        fit = fitted(sources[name])
        agree(reference, fit)
        assert np.array_equal(fit.free, reference.free), name


def test_two_halves_of_the_users_are_put_together_by_update(frame, reference):
    users = sorted(frame["user"].unique())
    first = frame["user"].isin(users[:125])
    joined = fitted(frame[first]).update(er.read_comparisons(frame[~first]))
    assert joined.converged
    assert joined.objective_trace[-1] == pytest.approx(reference.objective_trace[-1], rel=1e-9)
    mine, theirs = (f.attentiveness.set_index("user")["mean"] for f in (reference, joined))
    np.testing.assert_allclose(theirs.loc[mine.index], mine, rtol=0, atol=1e-6)


def test_seed_and_acceleration_do_not_move_the_estimates(frame, reference):
    agree(reference, fitted(frame, seed=99))
    agree(reference, fitted(frame, accelerate=False, max_iterations=20_000))


def test_what_the_data_leave_flat_is_exempt_and_nothing_else():
    """Two pairs of models that never meet: without priors the level of one pair against the other is arbitrary."""
    model = er.BehaviorModel(casual=er.CoinFlip())
    parameters = {"attentiveness_alpha": 3.0, "attentiveness_beta": 1.0}
    parts = []
    for seed, models in ((1, ("a", "b")), (2, ("c", "d"))):
        log = model.simulate(150, 20, models, seed=seed, parameters={**parameters, "skill": [1.0, -1.0]}).log
        parts.append(log.to_arrow().to_pandas()[COLUMNS].astype(str))
    import pandas as pd

    both = pd.concat(parts, ignore_index=True)
    a = er.fit_em(model, er.read_comparisons(both), objective="ml")
    b = er.fit_em(model, er.read_comparisons(shuffled(swapped(both))), objective="ml")
    assert b.objective_trace[-1] == pytest.approx(a.objective_trace[-1], rel=1e-9)
    np.testing.assert_allclose(b.attentiveness["mean"], a.attentiveness["mean"], rtol=0, atol=1e-5)
    for i, j in ((0, 1), (2, 3)):
        gaps = [fit.parameters["skill"][i] - fit.parameters["skill"][j] for fit in (a, b)]
        assert gaps[0] == pytest.approx(gaps[1], abs=1e-4)
    assert any("flat" in note and "skill" in note for note in a.notes)
    assert np.isnan(a.standard_errors["skill"]).all()
