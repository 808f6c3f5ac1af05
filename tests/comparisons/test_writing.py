"""Writing a log: the rows in the order of the source, in one pass where a scan keeps it."""

import json
from contextlib import contextmanager

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from earnest.comparisons import read_comparisons, write
from earnest.comparisons.log import ComparisonLog

N = 300_000  # more than a batch, and than a row group


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    sides = rng.permuted(np.tile(["x", "y", "z"], (N, 1)), axis=1)
    return pd.DataFrame(
        {"user": rng.integers(5000, size=N).astype(str), "model_a": sides[:, 0], "model_b": sides[:, 1],
         "winner": rng.choice(["model_a", "model_b", "tie"], N), "when": rng.random(N)}
    )  # fmt: skip


@pytest.fixture(scope="module")
def some(frame, tmp_path_factory):
    """A log of half of the users, as a filter leaves it, and its rows."""
    path = tmp_path_factory.mktemp("log") / "votes.parquet"
    frame.to_parquet(path)
    users = sorted(set(frame["user"]))[::2]
    log = ComparisonLog(read_comparisons(path).recipe, kept=pa.table({"name": users}))
    return log, frame[frame["user"].isin(users)].reset_index(drop=True)


def sorts(monkeypatch):
    """The statements of COPY that were given to the log itself."""
    given = []
    execute = ComparisonLog.execute
    monkeypatch.setattr(ComparisonLog, "execute", lambda log, sql, **t: (given.append(sql), execute(log, sql, **t))[1])
    return given


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "csv.gz"])
def test_rows_keep_their_order_without_being_sorted(some, tmp_path, monkeypatch, ending):
    log, rows = some
    given = sorts(monkeypatch)
    log.write(tmp_path / f"out.{ending}")
    read = {"parquet": "read_parquet", "jsonl": "read_json"}.get(ending, "read_csv")
    types = {"csv": ", all_varchar = true", "csv.gz": ", all_varchar = true"}.get(ending, "")
    found = duckdb.sql(f"FROM {read}('{tmp_path / f'out.{ending}'}'{types})").df()
    for name in ("user", "model_a", "model_b", "winner"):
        assert found[name].astype(str).tolist() == rows[name].tolist()
    assert np.array_equal(found["when"].astype(float), rows["when"])
    assert not any("ORDER BY" in sql for sql in given)


def test_rows_that_come_in_disorder_are_sorted(some, tmp_path, monkeypatch):
    log, rows = some
    batches = ComparisonLog.batches

    @contextmanager
    def disordered(self, sql):
        with batches(self, sql) as reader:
            pieces = list(reader)
        pieces[0], pieces[1] = pieces[1], pieces[0]
        yield pa.RecordBatchReader.from_batches(pieces[0].schema, pieces)

    given = sorts(monkeypatch)
    monkeypatch.setattr(ComparisonLog, "batches", disordered)
    log.write(tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert np.array_equal(found["when"], rows["when"])
    assert any("ORDER BY" in sql for sql in given)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_what_fails_on_the_way_leaves_the_earlier_file(some, tmp_path, monkeypatch):
    log, _ = some
    (tmp_path / "out.parquet").write_bytes(b"before")

    @contextmanager
    def broken(self, sql):
        def failing():
            raise OSError("gone")
            yield

        yield pa.RecordBatchReader.from_batches(
            pa.schema([("row", pa.int64()), *((name, pa.string()) for name in self.columns)]), failing()
        )

    monkeypatch.setattr(ComparisonLog, "batches", broken)
    with pytest.raises(Exception, match="gone"):
        log.write(tmp_path / "out.parquet")
    assert (tmp_path / "out.parquet").read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_objects_stay_objects(tmp_path):
    rows = [
        {"user": f"u{k}", "model_a": "x", "model_b": "y", "winner": "tie", "more": {"k": k, "list": [1, {"a": None}]}}
        for k in range(50)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    read_comparisons(tmp_path / "log.jsonl").write(tmp_path / "out.jsonl")
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["more"] for row in written] == [row["more"] for row in rows]


def test_plain_types_come_through_arrow_as_they_are():
    """What is written as it comes has the very types that sorting would have written."""
    values = {"VARCHAR": "'a'", "BOOLEAN": "true", "BIGINT": "1", "INTEGER": "1", "DOUBLE": "0.5",
              "DATE": "'2024-05-06'", "TIMESTAMP": "'2024-05-06 07:08:09.123456'"}  # fmt: skip
    assert set(values) == write._PLAIN
    listed = ", ".join(f"CAST({value} AS {kind}) AS {kind.lower()}" for kind, value in values.items())
    with duckdb.connect() as connection:
        connection.register("passing", connection.sql(f"SELECT {listed}").to_arrow_table())
        found = connection.sql("SELECT column_type FROM (DESCRIBE FROM passing)").fetchall()
        assert [kind for (kind,) in found] == list(values)
        assert connection.sql(f"FROM passing EXCEPT (SELECT {listed})").fetchall() == []
