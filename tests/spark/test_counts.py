"""Counts made on Spark against those made here, and against pandas."""

import numpy as np
import pytest

import earnest as er

from .conftest import votes_frame

pytestmark = [
    pytest.mark.spark,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

DAVIDSON = er.BradleyTerry(ties=er.Davidson())
MODELS = {
    "by position": er.BehaviorModel(preference=DAVIDSON, casual=er.PositionBias()),
    "in either order": er.BehaviorModel(preference=DAVIDSON, casual=er.CoinFlip()),
    "by category": er.BehaviorModel(preference=er.BradleyTerry(by_category=True, ties=er.Davidson())),
    "a covariate": er.BehaviorModel(preference=DAVIDSON, attention=er.SampleAttention(covariates=("gap",))),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_cells_and_patterns_as_here(name, frame, on_spark):
    model = MODELS[name]
    here, there = model.count(er.read_comparisons(frame)), model.count(er.read_comparisons(on_spark(frame)))
    assert there.cells.schema == here.cells.schema
    for column in ("model_a", "model_b", "outcome"):
        np.testing.assert_array_equal(getattr(there.cells, column), getattr(here.cells, column))
    assert there.cells.context.keys() == here.cells.context.keys()
    for column, values in here.cells.context.items():
        np.testing.assert_array_equal(there.cells[column], values)
        assert there.cells[column].dtype == values.dtype
    np.testing.assert_array_equal(there.totals(), here.totals())
    assert there.multiplicity.sum() == len(here.users) > len(there.users)
    ours, theirs = here.patterns(), there.patterns()
    for part in ("indptr", "cell", "count", "multiplicity", "size"):
        np.testing.assert_array_equal(getattr(theirs, part), getattr(ours, part))


def test_pandas_finds_the_same_patterns(frame, on_spark):
    counts = MODELS["by position"].count(er.read_comparisons(on_spark(frame)))
    each = frame.groupby("user").apply(
        lambda votes: tuple(sorted(votes[["model_a", "model_b", "winner"]].itertuples(index=False, name=None)))
    )
    expected = each.value_counts().to_dict()
    models, cells = counts.cells.schema.models, counts.cells
    found = {}
    for pattern in range(len(counts.users)):
        votes = []
        for entry in np.flatnonzero(counts.user == pattern):
            c = counts.cell[entry]
            vote = (models[cells.model_a[c]], models[cells.model_b[c]], ["model_a", "model_b", "tie"][cells.outcome[c]])
            votes += [vote] * int(counts.count[entry])
        found[tuple(sorted(votes))] = int(counts.multiplicity[pattern])
    assert found == expected


def test_neither_partitions_nor_order_matter_and_a_changed_vote_does(frame, on_spark):
    model = MODELS["by position"]
    shuffled = frame.sample(frac=1, random_state=1)
    logs = [er.read_comparisons(on_spark(f, partitions=n)) for f, n in ((frame, 1), (frame, 7), (shuffled, 3))]
    first, *others = [model.count(log) for log in logs]
    for counts in others:
        assert list(counts.users) == list(first.users)
        np.testing.assert_array_equal(counts.multiplicity, first.multiplicity)
    assert len({log.fingerprint() for log in logs}) == 1
    changed = frame.copy()
    changed.loc[3, "winner"] = {"model_a": "model_b", "model_b": "tie", "tie": "model_a"}[frame.winner[3]]
    moved = frame.copy()  # the same votes, of another user
    moved.loc[3, "user"] = "user 0099"
    twice = frame.iloc[[*range(len(frame)), 3]]
    prints = {er.read_comparisons(on_spark(f)).fingerprint() for f in (changed, moved, twice)}
    assert len(prints | {logs[0].fingerprint()}) == 4


def test_what_words_mean_is_read_as_here(frame, on_spark):
    other = frame.assign(winner=frame.winner.map({"model_a": " LEFT", "model_b": "right", "tie": "tie (bothbad)"}))
    names = frame.assign(
        winner=np.where(frame.winner == "model_a", frame.model_a, np.where(frame.winner == "tie", "Tie", frame.model_b))
    )
    codes = frame.assign(winner=frame.winner.map({"model_a": 1.0, "model_b": 0.0, "tie": 0.5}))
    expected = er.read_comparisons(on_spark(frame))
    mapped = er.read_comparisons(on_spark(codes), outcomes={1: "model_a", 0: "model_b", 0.5: "tie"})
    for log in (er.read_comparisons(on_spark(other)), er.read_comparisons(on_spark(names)), mapped):
        assert log.outcome_counts() == expected.outcome_counts() == er.read_comparisons(frame).outcome_counts()
        assert log.fingerprint() == expected.fingerprint()
    assert len(expected) == len(frame)
    assert list(expected.models) == ["ant", "bee", "cat"]


@pytest.mark.parametrize("kind", ["bigint", "double", "decimal(12,2)"])
def test_users_who_are_numbers_have_the_names_that_they_have_here(kind, on_spark):
    from decimal import Decimal

    frame = votes_frame(40, seed=5)
    number = frame.user.str[5:].astype(int)
    columns = "model_a string, model_b string, winner string, category string, gap double"
    make = {"bigint": int, "double": float, "decimal(12,2)": lambda n: Decimal(int(n))}[kind]
    numbered = frame.assign(user=[make(n) for n in number])
    log = er.read_comparisons(on_spark(numbered, f"user {kind}, {columns}"))
    local = er.read_comparisons(frame.assign(user=number))
    text = er.read_comparisons(on_spark(frame.assign(user=number.astype(str))))
    assert log.fingerprint() == text.fingerprint()
    fit = er.fit_em(er.BehaviorModel(preference=DAVIDSON), log, restarts=False, max_iterations=3)
    assert {row["user"] for row in log.attentiveness(fit).collect()} == set(local.users)
