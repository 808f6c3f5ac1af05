"""Bad input: a located message, nothing half-written, nothing lost."""

import contextlib
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from earnest.comparisons import InputError, read_comparisons

_module = runpy.run_path(str(Path(__file__).with_name("bad_files.py")))
CASES, write_case = _module["CASES"], _module["write_case"]
GOOD = {"user": ["ann", "bob"], "model_a": ["x", "y"], "model_b": ["y", "x"], "winner": ["model_a", "tie"]}


def test_there_are_at_least_sixty_cases():
    assert len(CASES) >= 60
    assert len({case[0] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_the_message_says_what_is_wrong_and_where(case, tmp_path):
    path = write_case(tmp_path, case)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as caught:
        read_comparisons(path, **case[3])
    message = str(caught.value)
    assert case[4] in message
    assert path.name in message
    assert len(message) < 1500
    assert "Possible fixes" not in message  # DuckDB's advice would undo the strictness
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_quarantine_writes_whole_files_or_none(case, tmp_path):
    path = write_case(tmp_path, case)
    aside = tmp_path / "aside.jsonl"
    log = None
    with contextlib.suppress(InputError):
        log = read_comparisons(path, **case[3], on_bad_rows="quarantine", quarantine=aside)
    if log is None:
        assert not aside.exists()
    else:
        assert log.quarantined == len(pd.read_json(aside, lines=True)) > 0
        assert len(log) == log.outcome_counts()["model_a"] + log.outcome_counts()["tie"]
    assert not list(tmp_path.glob(".*"))


def test_files_of_different_columns(tmp_path):
    (tmp_path / "a.csv").write_text("user,model_a,model_b,winner\nann,x,y,tie\n")
    (tmp_path / "b.csv").write_text("user,model_a,model_b,result\nann,x,y,tie\n")
    with pytest.raises(InputError, match=r"b\.csv: other columns than .*a\.csv: it lacks 'winner' and has 'result'"):
        read_comparisons(tmp_path / "*.csv")


def test_files_of_different_formats(tmp_path):
    pd.DataFrame(GOOD).to_csv(tmp_path / "a.csv", index=False)
    pd.DataFrame(GOOD).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="different formats"):
        read_comparisons([tmp_path / "a.csv", tmp_path / "a.parquet"])


def test_a_file_named_twice_would_count_double(tmp_path):
    pd.DataFrame(GOOD).to_csv(tmp_path / "a.csv", index=False)
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    for second in (tmp_path / "a.csv", tmp_path / "link.csv"):
        with pytest.raises(InputError, match="named twice"):
            read_comparisons([tmp_path / "a.csv", second])


def test_the_second_file_is_named_with_its_own_row(tmp_path):
    (tmp_path / "a.csv").write_text("user,model_a,model_b,winner\n" + "ann,x,y,tie\n" * 5)
    (tmp_path / "b.csv").write_text("user,model_a,model_b,winner\nann,x,y,tie\nann,x,y,nope\n")
    with pytest.raises(InputError, match=r"b\.csv, data row 2 \(line 3\), column 'winner'"):
        read_comparisons(str(tmp_path / "*.csv"))


@pytest.mark.parametrize(
    "source",
    [None, 3, 2.5, pytest.param(object(), id="object"), {"user": 1}, b"votes.csv", [1, 2], np.zeros((2, 4))],
    ids=repr,
)
def test_what_is_no_table_is_refused(source):
    with pytest.raises(InputError, match="expected a path"):
        read_comparisons(source)


@pytest.mark.parametrize("source", ["", [], "\0.csv"], ids=repr)
def test_paths_that_are_none(source):
    with pytest.raises(InputError):
        read_comparisons(source)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"user": ["ann", 7]}, "column 'user' mixes types"),
        ({"user": ["ann", None]}, "data row 2, column 'user': the user is missing"),
        ({"user": [1.0, float("nan")]}, "data row 2, column 'user': the user is missing"),
        ({"user": [object(), object()]}, "column 'user'"),
        ({"winner": [1, 0]}, "data row 1, column 'winner'"),
        ({"model_b": ["x", "x"]}, "data row 1, column 'model_b': the model is compared with itself"),
    ],
)
def test_pandas_frames(changes, expected):
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in (GOOD | changes).items()})
    with pytest.raises(InputError, match="the pandas data frame") as caught:
        read_comparisons(frame)
    assert expected in str(caught.value)


def test_frames_without_rows_or_with_equal_names():
    with pytest.raises(InputError, match="the log is empty"):
        read_comparisons(pl.DataFrame(GOOD).head(0))
    with pytest.raises(InputError, match="twice|unique"):
        read_comparisons(pd.DataFrame([["a"] * 5], columns=["user", "user", "model_a", "model_b", "winner"]))
    with pytest.raises(InputError, match="twice|unique"):
        read_comparisons(pa.table([["a"]] * 5, names=["user", "user", "model_a", "model_b", "winner"]))
    with pytest.raises(InputError, match=r"no user column|no columns"):
        read_comparisons(pd.DataFrame())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"on_bad_rows": "skip"}, "on_bad_rows='skip'"),
        ({"outcomes": {"x": "first"}}, r"outcomes\['x'\] = 'first'"),
        ({"outcomes": {}}, "outcomes is empty"),
        ({"outcomes": "numbers"}, "outcomes='numbers'"),
        ({"outcomes": {1: "model_a", "1": "model_b"}}, "mapped twice"),
        ({"user": 3}, "user=3: expected the name of a column"),
    ],
)
def test_arguments_are_checked(arguments, expected):
    with pytest.raises(InputError, match=expected):
        read_comparisons(pd.DataFrame(GOOD), **arguments)


def test_a_file_that_changed_is_not_read_on(tmp_path):
    path = tmp_path / "votes.csv"
    pd.DataFrame(GOOD).to_csv(path, index=False)
    log = read_comparisons(path)
    path.write_text("user,model_a,model_b,winner\nann,x,y,tie\n")
    with pytest.raises(InputError, match="has changed since the log was read"):
        log.to_arrow()
    path.unlink()
    with pytest.raises(InputError, match="is gone since the log was read"):
        _ = log.users


def test_odd_names_are_legal_and_survive(tmp_path):
    odd = [
        "=cmd()|'/C calc'!A0",
        "<script>alert('x')</script>",
        '"; DROP TABLE log; --',
        "007",
        "NULL",
        "a,b",
        "tab\tx",
    ]
    odd += ["-1", "line\nbreak", "nan", "\N{RIGHT-TO-LEFT OVERRIDE}abc", "#comment", "@SUM(1)", "é" * 300, "x" * 1000]
    frame = pd.DataFrame({"user": odd, "model_a": "<b>x</b>", "model_b": "=1+1", "winner": "tie"})
    log = read_comparisons(frame)
    assert set(log.users) == set(odd)
    for ending in ("csv", "tsv", "jsonl", "parquet", "csv.gz", "jsonl.zst"):
        path = tmp_path / f"odd.{ending}"
        log.write(path)
        again = read_comparisons(path)
        assert again.to_arrow()["user"].to_pylist() == odd
        assert again.fingerprint() == log.fingerprint()


@pytest.mark.parametrize(
    "name", ["a'b.csv", 'a"b.csv', "a[1].csv", "a*.csv", "a?.csv", "a;b --.csv", "a b.csv", "é{}.csv"]
)
def test_odd_file_names(name, tmp_path):
    path = tmp_path / name
    pd.DataFrame(GOOD).to_csv(path, index=False)
    (tmp_path / "a1.csv").write_text("another file\n")
    log = read_comparisons(path)
    assert len(log) == 2
    log.write(tmp_path / f"out {name}")
    assert len(read_comparisons(tmp_path / f"out {name}")) == 2


def test_odd_column_names(tmp_path):
    odd = ['x"y', "a'b", "select", "row", "__row", "x; DROP TABLE log", "{}", "é", "c0", "filename", "rowid"]
    frame = pd.DataFrame(GOOD | {name: ["p", "q"] for name in odd})
    for ending in ("csv", "jsonl", "parquet"):
        log = read_comparisons(frame)
        log.write(tmp_path / f"odd.{ending}")
        again = read_comparisons(tmp_path / f"odd.{ending}")
        assert again.columns == log.columns
        assert again.to_arrow().to_pydict() == log.to_arrow().to_pydict()
        assert "source_row" in log.columns


def test_a_hive_folder_adds_no_column(tmp_path):
    (tmp_path / "user=eve").mkdir()
    path = tmp_path / "user=eve" / "votes.parquet"
    pd.DataFrame(GOOD).to_parquet(path)
    assert list(read_comparisons(path).users) == ["ann", "bob"]
