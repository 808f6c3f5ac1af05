"""Counting and patterns, against loops in Python; invariance under what must not matter."""

from collections import Counter

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earnest.comparisons import InputError, Schema, count_cells, read_comparisons

NAMES = ["user", "model_a", "model_b", "winner", "category", "gap"]
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6)
text = text.filter(lambda value: value.strip() != "")
vote = st.tuples(
    st.sampled_from(["ann", "bob", "cat", "007", "7"]) | text,
    st.permutations(["x", "y", "z", "<b>", "=1"]).map(lambda models: tuple(models[:2])),
    st.sampled_from(["model_a", "model_b", "tie"]),
    st.sampled_from(["code", "chat"]),
    st.sampled_from([-1.5, 0.0, 2.25]),
)
votes = st.lists(vote, min_size=1, max_size=30).map(
    lambda rows: pd.DataFrame([(u, a, b, w, c, g) for u, (a, b), w, c, g in rows], columns=NAMES)
)
quick = settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def table(counts):
    """Counts by names: {(user, model_a, model_b, outcome, context...): comparisons}."""
    cells, schema = counts.cells, counts.cells.schema
    found = {}
    for user, cell, count in zip(counts.user, counts.cell, counts.count, strict=True):
        key = [counts.users[user], schema.models[cells.model_a[cell]], schema.models[cells.model_b[cell]]]
        key.append(("model_a", "model_b", "tie")[cells.outcome[cell]])
        for name, values in cells.context.items():
            key.append(schema.categories[values[cell]] if name == "category" else float(values[cell]))
        assert tuple(key) not in found
        found[tuple(key)] = count
    return found


def same(left, right):
    np.testing.assert_array_equal(left.users, right.users)
    assert left.cells.schema == right.cells.schema
    for name in ("model_a", "model_b", "outcome", "pair", "sign"):
        np.testing.assert_array_equal(getattr(left.cells, name), getattr(right.cells, name))
    for name in ("user", "cell", "count"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@quick
@given(data=votes)
def test_counts_are_those_of_a_loop(data):
    log = read_comparisons(data)
    counts = count_cells(log, ties=True, context=("category", "gap"))
    assert table(counts) == Counter(map(tuple, data[NAMES].to_numpy().tolist()))
    np.testing.assert_array_equal(counts.users, sorted(data["user"].unique()))
    np.testing.assert_array_equal(counts.n_comparisons(), data.groupby("user").size().sort_index(key=list).to_numpy())
    order = np.lexsort((counts.cell, counts.user))
    np.testing.assert_array_equal(order, np.arange(len(order)))
    pairs = {tuple(sorted(pair)) for pair in zip(data["model_a"], data["model_b"], strict=True)}
    schema = counts.cells.schema
    assert {(schema.models[i], schema.models[j]) for i, j in schema.pairs} == pairs
    assert list(schema.models) == sorted({*data["model_a"], *data["model_b"]})


@quick
@given(data=votes)
def test_symmetric_counts_are_oriented(data):
    counts = count_cells(read_comparisons(data), ties=True, symmetric=True)
    expected = Counter()
    turned = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}
    for user, a, b, winner in data[NAMES[:4]].to_numpy():
        expected[(user, a, b, winner) if a < b else (user, b, a, turned[winner])] += 1
    assert table(counts) == expected
    assert np.all(counts.cells.sign == 1)


@quick
@given(data=votes)
def test_patterns_are_the_distinct_rows(data):
    counts = count_cells(read_comparisons(data), ties=True)
    dense = np.zeros((len(counts.users), len(counts.cells)))
    dense[counts.user, counts.cell] = counts.count
    patterns = counts.patterns()
    merged = np.zeros((len(patterns), len(counts.cells)))
    row = np.repeat(np.arange(len(patterns)), np.diff(patterns.indptr))
    merged[row, patterns.cell] = patterns.count
    np.testing.assert_array_equal(merged[patterns.pattern_of_user], dense)
    assert len(np.unique(merged, axis=0)) == len(patterns) == len(np.unique(dense, axis=0))
    np.testing.assert_array_equal(patterns.multiplicity, np.bincount(patterns.pattern_of_user))
    np.testing.assert_array_equal(patterns.size, merged.sum(axis=1))


@quick
@given(data=votes, seed=st.integers(0, 99))
def test_every_kind_of_source_gives_the_same_counts(data, seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    shuffled = data.sample(frac=1.0, random_state=seed)
    log = read_comparisons(data)
    counts = count_cells(log, ties=True)
    half = len(data) // 2
    data[:half].to_parquet(folder / "part-0.parquet")
    shuffled.to_parquet(folder / "shuffled.parquet")
    data[half:].to_parquet(folder / "part-1.parquet")
    for ending in ("csv", "tsv", "jsonl", "csv.gz", "jsonl.zst", "parquet"):
        log.write(folder / f"votes.{ending}")
    sources = [
        pl.DataFrame(data),
        pl.DataFrame(data).lazy(),
        pa.Table.from_pandas(data),
        duckdb.from_df(data),
        shuffled,
    ]
    sources += [folder / f"votes.{ending}" for ending in ("csv", "tsv", "jsonl", "csv.gz", "jsonl.zst", "parquet")]
    sources += [folder / "shuffled.parquet", str(folder / "part-*.parquet")]
    for source in sources:
        other = read_comparisons(source)
        same(count_cells(other, ties=True), counts)
        assert other.fingerprint() == log.fingerprint()


@quick
@given(data=votes)
def test_swapped_sides_and_renamed_users(data):
    counts = count_cells(read_comparisons(data), ties=True, symmetric=True)
    turned = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}
    swapped = data.rename(columns={"model_a": "model_b", "model_b": "model_a"})
    swapped["winner"] = swapped["winner"].map(turned)
    same(count_cells(read_comparisons(swapped), ties=True, symmetric=True), counts)
    names = {user: f"user {i:03}" for i, user in enumerate(sorted(data["user"].unique(), reverse=True))}
    renamed = count_cells(read_comparisons(data.assign(user=data["user"].map(names))), ties=True, symmetric=True)
    assert {(names[user], *rest): n for (user, *rest), n in table(counts).items()} == table(renamed)
    left, right = counts.patterns(), renamed.patterns()
    for name in ("indptr", "cell", "count", "multiplicity", "size"):  # the patterns' order does not see the names
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


SMALL = pd.DataFrame(
    {
        **{"user": ["ann", "bob", "bob"], "model_a": ["x", "y", "z"], "model_b": ["y", "x", "x"]},
        **{"winner": ["model_a", "model_b", "tie"], "category": ["code", "chat", "code"], "gap": ["1", "-2", "0.5"]},
    }
)


def test_ties_must_be_known_to_the_model(tmp_path):
    SMALL.to_csv(tmp_path / "votes.csv", index=False)
    log = read_comparisons(tmp_path / "votes.csv")
    with pytest.raises(InputError, match=r"data row 3 \(line 4\): the outcome is a tie, and 1 .*Davidson"):
        count_cells(log, ties=False)
    decided = count_cells(read_comparisons(SMALL[:2]), ties=False)
    assert decided.cells.schema.outcomes == ("model_a", "model_b")


def test_context_columns_are_checked():
    log = read_comparisons(SMALL)
    np.testing.assert_array_equal(sorted(count_cells(log, ties=True, context=("gap",)).cells["gap"]), [-2.0, 0.5, 1.0])
    with pytest.raises(InputError, match="the model looks at 'length'"):
        count_cells(log, ties=True, context=("length",))
    for wrong in (None, "much", "nan", "inf"):
        bad = read_comparisons(SMALL.assign(gap=["1", wrong, "2"]))
        with pytest.raises(InputError, match="data row 2, column 'gap'"):
            count_cells(bad, ties=True, context=("gap",))
    missing = read_comparisons(SMALL.assign(category=["code", None, "chat"]))
    with pytest.raises(InputError, match="data row 2, column 'category'"):
        count_cells(missing, ties=True, context=("category",))
    with pytest.raises(InputError, match="carry no context column 'category'"):
        _ = count_cells(log, ties=True).cells["category"]


def test_an_earlier_schema_is_kept_to():
    schema = count_cells(read_comparisons(SMALL), ties=True, context=("category",)).cells.schema
    assert schema.coords()["pair"] == ["x vs y", "x vs z"]
    less = count_cells(read_comparisons(SMALL[2:]), ties=True, context=("category",), schema=schema)
    assert less.cells.schema is schema
    np.testing.assert_array_equal(less.cells.pair, [1])
    np.testing.assert_array_equal(less.cells.sign, [-1.0])
    new = read_comparisons(SMALL.assign(model_b=["y", "x", "it's new"]))
    with pytest.raises(InputError, match="data row 3, column 'model_b': the fit does not know the model \"it's new\""):
        count_cells(new, ties=True, schema=schema)
    with pytest.raises(InputError, match="data row 1, column 'category': the fit does not know the category 'maths'"):
        count_cells(read_comparisons(SMALL.assign(category="maths")), ties=True, context=("category",), schema=schema)
    met = count_cells(read_comparisons(SMALL.assign(model_a=["z"] * 3)), ties=True, schema=schema)
    with pytest.raises(InputError, match="'y' and 'z' meet here but never met"):
        _ = met.cells.pair
    with pytest.raises(ValueError, match="ties=False but the schema"):
        count_cells(read_comparisons(SMALL), ties=False, schema=schema)


def test_a_schema_can_be_a_key():
    assert len({Schema(("x", "y"), ((0, 1),), True), Schema(("x", "y"), ((0, 1),), True)}) == 1
