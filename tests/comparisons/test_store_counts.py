"""Votes added to a store of counts bit by bit: the same counts as by reading everything at once, each vote once."""

import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import earnest as er
from earnest.comparisons import EarnestError, InputError, adding, count_store, read_comparisons, store_file
from earnest.comparisons.count_store import CountStore
from earnest.comparisons.growing import Folder
from earnest.comparisons.streams import Stream
from earnest.inference.watching import looks_of

MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
LOOKS = looks_of(MODEL)
NAMES = ("user", "model_a", "model_b", "winner")


def _votes(n, seed=0, users=40):
    """Rows of texts, made without the library."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        a, b = rng.choice(["x", "y", 'z,"'], 2, replace=False)
        winner = ["model_a", "model_b", "tie"][rng.integers(3)]
        rows.append(
            {"vote": f"v{k}", "user": f"u{rng.integers(users)}", "model_a": str(a), "model_b": str(b), "winner": winner}
        )
    return rows


def _line(row):
    return json.dumps(row) + "\n"


def _csv(rows, header=True):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _append(path, text):
    with open(path, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def _drain(store, folder, strict=False, budget=1 << 22):
    """Take everything that is there; the folder as it is then."""
    files = Folder(folder, store.progress())
    while chunks := list(files.look(budget)):
        store.take(chunks, str(folder), strict)
        files.accept(chunks)
    return files


def _oracle(rows, names=NAMES):
    return Counter(tuple(row[name] for name in names) for row in rows)


def _counted(store, names=NAMES):
    keys = ", ".join(f'"{name}"' for name in names)
    rows = store.log().query(f"SELECT {keys}, count(*) AS n FROM log GROUP BY ALL").to_pylist()
    return Counter({tuple(row[name] for name in names): row["n"] for row in rows})


def _same(one, other):
    assert list(one.users) == list(other.users)
    assert one.cells.schema == other.cells.schema
    for name in ("user", "cell", "count"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in ("model_a", "model_b", "outcome"):
        assert np.array_equal(getattr(one.cells, name), getattr(other.cells, name))
    for name in one.cells.context:
        assert np.array_equal(one.cells[name], other.cells[name])


@pytest.fixture
def begin(tmp_path):
    """Opens or begins the store."""
    return lambda looks=LOOKS, **options: CountStore(tmp_path / "votes.duckdb", looks, **options)


def test_ten_batches_count_as_one(folder, begin, monkeypatch):
    monkeypatch.setattr(count_store, "_LEAST", 50)  # sums up now and then
    rows = _votes(1000)
    for k in range(10):
        part = rows[100 * k : 100 * (k + 1)]
        _append(folder / "a.jsonl", "".join(map(_line, part[:40])))
        _append(folder / "b.csv", _csv(part[40:80], header=k == 0))
        pq.write_table(pa.Table.from_pylist(part[80:]), folder / f"c{k}.parquet")
        with begin() as store:  # another process each time
            _drain(store, folder)
            assert store.totals.votes == 100 * (k + 1)
    with begin() as store:
        assert _counted(store) == _oracle(rows)
        once = read_comparisons(pa.Table.from_pylist(rows), comparison="vote")
        _same(MODEL.count(store.log()), MODEL.count(once))
        kept = replace(store.log(), kept=pa.table({"name": ["u1", "u2"]}))  # as `filter_log` does
        few = store.log(["u1", "u2", "nobody"])
        _same(MODEL.count(kept), MODEL.count(few))
        assert len(kept) == len(few)
        assert list(few.users) == ["u1", "u2"]
        assert len(few) == sum(row["user"] in ("u1", "u2") for row in rows)
    assert len(os.listdir(folder)) == 12


def test_a_thousand_files_count_as_one(folder, begin):
    rows = _votes(2000)
    for k in range(1000):
        part = rows[2 * k : 2 * k + 2]
        (folder / f"{k}.{'csv' if k % 2 else 'jsonl'}").write_text(_csv(part) if k % 2 else "".join(map(_line, part)))
    with begin() as store:
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)
        _same(MODEL.count(store.log()), MODEL.count(read_comparisons(pa.Table.from_pylist(rows), comparison="vote")))
        assert len(store.progress()) == 1000


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_any_cut_of_a_growing_file(folder, begin, kind):
    rows = [*_votes(4), {**_votes(1)[0], "vote": 'a\nquoted "break"'}, *_votes(3, seed=1)]
    data = (_csv(rows) if kind == "csv" else "".join(map(_line, rows))).encode()
    path = folder / f"a.{kind}"
    with begin() as store:
        for start in range(0, len(data), 7):
            _append(path, data[start : start + 7])
            files = _drain(store, folder)
        assert not files.waiting
        assert not store.totals.quarantined
        assert _counted(store) == _oracle(rows)
        assert store.progress()[path.name].offset == len(data)


def test_a_torn_line_waits_for_its_rest(folder, begin):
    rows = _votes(3)
    _append(folder / "a.jsonl", _line(rows[0]) + _line(rows[1])[:20])
    _append(folder / "b.csv", "user,model_a,mod")
    (folder / "c.parquet").write_bytes(b"PAR1 not yet whole")
    with begin() as store:
        files = _drain(store, folder)
        assert files.waiting == {"a.jsonl": 20, "b.csv": 16, "c.parquet": 18}
        assert store.totals.votes == 1
        _append(folder / "a.jsonl", _line(rows[1])[20:])
        (folder / "c.parquet").unlink()
        pq.write_table(pa.Table.from_pylist(rows[2:]), folder / "c.parquet")
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)


CHANGES = {
    "shorter": lambda path, data: path.write_bytes(data[:-30]),
    "edited": lambda path, data: path.write_bytes(data.replace(b"u1", b"u3", 1)),
    "rewritten and longer": lambda path, data: path.write_bytes(data[::-1] + data),
}


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_file_that_changed_is_named(folder, begin, kind, change, restart):
    rows = _votes(40)
    path = folder / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, compression="none")
    else:
        path.write_text(_csv(rows) if kind == "csv" else "".join(map(_line, rows)))
    with begin() as store:
        files = _drain(store, folder)
        CHANGES[change](path, path.read_bytes())
        os.utime(path, ns=(1, 1))
        with pytest.raises(InputError, match=rf"a\.{kind}: has changed .* another store"):
            list((Folder(folder, store.progress()) if restart else files).look(1 << 20))
        assert _counted(store) == _oracle(rows)


def test_a_file_may_be_touched_copied_over_itself_moved_and_removed(folder, begin):
    rows = _votes(6)
    path = folder / "a.jsonl"
    _append(path, "".join(map(_line, rows[:2])))
    with begin() as store:
        _drain(store, folder)
        os.utime(path, ns=(1, 1))
        _drain(store, folder)
        (folder / ".copy").write_bytes(path.read_bytes())
        os.replace(folder / ".copy", path)  # another inode
        _append(path, _line(rows[2]))
        _drain(store, folder)
        os.rename(path, folder / "a.1.jsonl")  # as log rotation does
        _append(folder / "a.1.jsonl", _line(rows[3]))
        _append(path, _line(rows[4]))
    with begin() as store:
        _drain(store, folder)
        os.rename(folder / "a.1.jsonl", folder / "a.2.jsonl")
        os.rename(path, folder / "a.1.jsonl")
        _append(path, _line(rows[5]))
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)
        assert set(store.progress()) == {"a.jsonl", "a.1.jsonl", "a.2.jsonl"}
        for name in os.listdir(folder):
            (folder / name).unlink()
        _drain(store, folder)
        assert store.totals.votes == 6


def test_a_vote_that_is_sent_twice_counts_once(folder, begin):
    rows = _votes(20)
    options = {"columns": {"comparison": "vote"}}
    _append(folder / "a.jsonl", "".join(map(_line, [*rows[:10], rows[3], rows[3]])))
    with begin(**options) as store:
        _drain(store, folder)
    _append(folder / "b.csv", _csv([rows[0], *rows[10:], rows[19]]))
    with begin(**options) as store:
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)
        assert (store.totals.votes, store.totals.repeated, store.totals.quarantined) == (20, 4, 0)
        _append(folder / "a.jsonl", _line({**rows[0], "vote": None}))
        _drain(store, folder)
        assert store.totals.quarantined == 1


def test_an_id_is_not_guessed_but_said(folder, begin):
    _append(folder / "a.jsonl", _line({"vote_id": "a", **_votes(1)[0]}))
    with begin() as store:
        _drain(store, folder)
        assert "comparison" not in store.reading.columns
        assert "'vote_id' may be the votes' id" in store.reading.notes[0]


BAD = [
    {"user": ""}, {"user": "  "}, {"model_a": ""}, {"winner": ""}, {"winner": "left-ish"}, {"winner": "z"},
    {"model_b": "same", "model_a": "same"}, {"user": "n\0ul"}, {"user": "u" * 1001},
]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_bad_rows_are_set_aside_for_the_same_reasons_as_in_reading(folder, begin, tmp_path, kind):
    good = _votes(12)
    rows = []
    for k, row in enumerate(good):
        rows += [row, {**row, **BAD[k]}] if k < len(BAD) and not (kind == "csv" and "\0" in str(BAD[k])) else [row]
    path = folder / f"a.{kind}"
    path.write_text(_csv(rows) if kind == "csv" else "".join(map(_line, rows)))
    log = read_comparisons(path, comparison="vote", on_bad_rows="quarantine", quarantine=tmp_path / "read.csv")
    expected = _rows(log.quarantine_file)
    expected = [row for row in expected if row["quarantine_reason"] != "the comparison id occurs before"]
    with begin() as store:
        _drain(store, folder)
        assert store.write_quarantine(tmp_path / "own.csv") == store.totals.quarantined
        assert _counted(store) == _oracle(good)
    own = _rows(tmp_path / "own.csv")
    assert [row["reason"] for row in own] == [row["quarantine_reason"] for row in expected]
    assert [int(row["line"]) - (kind == "csv") for row in own] == [int(row["quarantine_row"]) for row in expected]


def test_rows_that_cannot_be_taken_apart_are_set_aside(folder, begin):
    rows = _votes(3)
    garbage = [
        b"no json\n",
        b"[1, 2]\n",
        b'{"user": "caf\xe9"}\n',
        b'{"user": ["a"], "model_a": 1}\n',
        b'{"user": 1e300}\n',
    ]
    _append(folder / "a.jsonl", b"".join([_line(rows[0]).encode(), *garbage, b"\n \n", _line(rows[1]).encode()]))
    _append(folder / "b.csv", _csv(rows[2:]).encode() + b'a,b\nv,"u"x,x,y,tie\nv,u\xe9,x,y,tie\n')
    with begin() as store:
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)
        found = store._connection.execute("SELECT file, line, reason FROM quarantine ORDER BY ALL").fetchall()
    words = [
        "not JSON",
        "not a JSON object",
        "not UTF-8",
        "a list or object",
        "too large",
        "2 columns, expected 5",
        "quote",
        "not UTF-8",
    ]
    places = [*(("a.jsonl", line) for line in range(2, 7)), *(("b.csv", line) for line in range(3, 6))]
    assert [(file, line) for file, line, _ in found] == places
    assert all(word in reason for word, (_, _, reason) in zip(words, found, strict=True))


def test_a_bad_row_may_stop(folder, begin):
    _append(folder / "a.jsonl", _line(_votes(1)[0]))
    with begin() as store:
        _drain(store, folder, strict=True)
        _append(folder / "a.jsonl", _line(_votes(1, seed=2)[0]) + "no json\n")
        with pytest.raises(InputError, match=r"a\.jsonl, line 3: not JSON"):
            _drain(store, folder, strict=True)
        assert store.totals.votes == 1


def test_json_values_are_the_texts_that_reading_makes(folder, begin):
    ids = [7, 7.0, "7", "007", 2**63, True, 1.5, "é", "a b"]
    rows = [{"user": user, "model_a": 1, "model_b": 2.0, "winner": "left"} for user in ids]
    for k, row in enumerate(rows):  # a file each: reading makes one type of a whole column
        (folder / f"{k}.jsonl").write_text(_line(row))
    expected = Counter(
        tuple(read_comparisons(folder / f"{k}.jsonl").to_arrow().to_pylist()[0][name] for name in NAMES)
        for k in range(len(ids))
    )
    with begin() as store:
        _drain(store, folder)
        assert _counted(store) == expected


HABIT = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.Habit())
DRIFT = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), attention=er.Drift())
ITEMS = er.BehaviorModel(preference=er.ItemEffect(er.BradleyTerry(ties=er.Davidson())))
DWELL = er.BehaviorModel(
    preference=er.BradleyTerry(ties=er.Davidson(), by_category=True, category_scale=0.5),
    attention=er.SampleAttention(["dwell"]), gold=er.Gold(),
)  # fmt: skip


@pytest.mark.parametrize("model", [HABIT, DRIFT, DWELL, ITEMS], ids=["habit", "drift", "covariates", "items"])
def test_what_a_model_looks_at_is_kept(folder, begin, model):
    rng = np.random.default_rng(3)
    rows = [
        {
            **row, "timestamp": k // 2 + 0.5, "dwell": float(rng.integers(1, 4)),
            "category": ["code", "prose"][rng.integers(2)], "item": f"i{k % 30}", "gold": [None, "model_a", "tie"][rng.integers(3)],
        }
        for k, row in enumerate(_votes(200, users=20))
    ]  # fmt: skip
    _append(folder / "a.jsonl", "".join(map(_line, rows[:90])))
    with begin(looks_of(model)) as store:
        _drain(store, folder)
        pq.write_table(pa.Table.from_pylist(rows[90:]), folder / "b.parquet")
        _drain(store, folder)
        left = {row[2] for row in store._connection.execute("SELECT * FROM quarantine").fetchall()}
        kept = [row for row in rows]
        if model is DRIFT:  # a user cannot judge the same models twice in a moment
            seen = set()
            kept = [
                row for row in rows
                if (key := (row["user"], row["model_a"], row["model_b"], row["timestamp"])) not in seen and not seen.add(key)
            ]  # fmt: skip
            assert store.totals.quarantined == len(rows) - len(kept)
            assert all("this moment" in reason for reason in left)
        assert store.totals.votes == len(kept)
        _same(model.count(store.log()), model.count(read_comparisons(pa.Table.from_pylist(kept), comparison="vote")))


def test_rows_that_the_model_cannot_use_are_set_aside(folder, begin):
    rows = _votes(6)
    extra = {"timestamp": 1, "category": "code", "dwell": 1.0}
    wrong = [{"category": None}, {"dwell": "long"}, {"dwell": None}, {"winner": "tie"}]
    model = er.BehaviorModel(
        preference=er.BradleyTerry(by_category=True, category_scale=0.5), attention=er.SampleAttention(["dwell"])
    )
    decided = [{**row, "winner": "model_a"} for row in rows]
    _append(
        folder / "a.jsonl",
        "".join(_line({**row, **extra, **bad}) for row, bad in zip(decided, [*wrong, {}, {}], strict=True)),
    )
    with begin(looks_of(model)) as store:
        _drain(store, folder)
        assert (store.totals.votes, store.totals.quarantined) == (2, 4)
        model.count(store.log())


def test_right_answers_may_come_later_and_in_some_files_only(folder, begin):
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), gold=er.Gold())
    rows = [{**row, "gold": "model_a"} for row in _votes(9)]
    for row in rows[:3]:
        del row["gold"]
    with begin(looks_of(model)) as store:
        _append(folder / "a.csv", _csv(rows[:3]))
        _drain(store, folder)
        _append(folder / "b.csv", _csv(rows[3:5]))
        _append(folder / "c.jsonl", "".join(map(_line, rows[5:7])))
        pq.write_table(pa.Table.from_pylist(rows[7:]), folder / "d.parquet")
        pq.write_table(pa.Table.from_pylist(_votes(1)), folder / "e.parquet")
        _drain(store, folder)
        assert store.totals.votes == 10
        counts = model.count(store.log())
    assert counts.count[counts.cells["gold"][counts.cell] == 1].sum() == 6
    assert counts.count[counts.cells["gold"][counts.cell] == 0].sum() == 4


def test_two_that_begin_a_store_at_once_share_it(begin, tmp_path, monkeypatch):
    real = store_file._make

    def late(path, looks):
        real(path, looks)
        real(path, looks)  # as if the other process had come first

    monkeypatch.setattr(store_file, "_make", late)
    with begin() as store:
        assert store.looks == LOOKS
    assert os.listdir(tmp_path) == ["votes.duckdb"]


def test_numbers_and_dates_are_not_mixed(folder, begin):
    rows = [{**row, "timestamp": time} for row, time in zip(_votes(4), [3, "2026-01-01", "soon", 4], strict=True)]
    _append(folder / "a.jsonl", _line(rows[0]))
    with begin(looks_of(HABIT)) as store:
        _drain(store, folder)
    _append(folder / "a.jsonl", "".join(map(_line, rows[1:])))
    with begin(looks_of(HABIT)) as store:
        _drain(store, folder)
        assert (store.totals.votes, store.totals.quarantined) == (2, 2)
        HABIT.count(store.log())


@pytest.mark.parametrize("model", [HABIT, DWELL], ids=["time", "covariates"])
def test_a_column_that_the_model_looks_at_must_be_there(folder, begin, model):
    _append(folder / "a.jsonl", _line(_votes(1)[0]))
    with begin(looks_of(model)) as store:
        with pytest.raises(InputError, match="the model looks at"):
            _drain(store, folder)
        assert store.totals.votes == 0


def test_a_store_remembers_what_it_was_begun_with(folder, begin, tmp_path):
    rows = [
        {"worker": row["user"], "l": row["model_a"], "r": row["model_b"], "won": {"tie": "0"}.get(row["winner"], "1")}
        for row in _votes(5)
    ]
    options = {
        "columns": {"user": "worker", "model_a": "l", "model_b": "r", "winner": "won"},
        "outcomes": {"1": "model_a", "0": "tie"},
    }
    _append(folder / "a.jsonl", _line(rows[0]))
    with begin(**options) as store:
        _drain(store, folder)
    _append(folder / "a.jsonl", "".join(map(_line, rows[1:])))
    with begin(None) as store:
        assert store.looks == LOOKS
        _drain(store, folder)
        assert store.totals.votes == 5
        assert store.log().mapping == options["columns"]
        assert store.log().outcomes == options["outcomes"]
    for looks, more, words in (
        (looks_of(HABIT), {}, "begun with another model"),
        (LOOKS, {"columns": {"user": "judge"}}, "'worker', not 'judge'"),
        (LOOKS, {"columns": {"comparison": "vote"}}, "comparison in the column None, not 'vote'"),
        (LOOKS, {"outcomes": "words"}, "outcomes="),
    ):
        with pytest.raises(EarnestError, match=words):
            begin(looks, **more)
    with begin() as store:
        _append(folder / "b.csv", "a,b\n1,2\n")
        with pytest.raises(InputError, match=r"b\.csv: it has no column 'worker'"):
            _drain(store, folder)
        assert store.totals.votes == 5


def test_what_is_no_store_is_refused(tmp_path):
    text, other = tmp_path / "a.duckdb", tmp_path / "b.duckdb"
    text.write_text("user,model_a\n" * 1000)
    with duckdb.connect(str(other)) as connection:
        connection.execute("CREATE TABLE mine (a INTEGER)")
    for path, words in (
        (text, "cannot be opened as a store"), (other, "no store of counts"), (tmp_path / "none" / "c.duckdb", "does not exist"),
        ("/proc/votes.duckdb", "cannot write"),
    ):  # fmt: skip
        with pytest.raises(EarnestError, match=words):
            CountStore(path, LOOKS)
    with pytest.raises(EarnestError, match="no such store yet"):
        CountStore(tmp_path / "new.duckdb")
    with duckdb.connect(str(other)) as connection:
        assert connection.sql("SELECT table_name FROM duckdb_tables()").fetchall() == [("mine",)]


def test_a_store_is_one_process_s_at_a_time(begin, tmp_path):
    program = f"from earnest.comparisons.count_store import CountStore; CountStore({str(tmp_path / 'votes.duckdb')!r})"
    with begin():
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "in use by another process" in done.stderr


@pytest.mark.parametrize("where", ["insert", "advance", "sum_up"])
def test_a_batch_is_counted_whole_or_not_at_all(folder, begin, monkeypatch, where):
    monkeypatch.setattr(count_store, "_LEAST", 10)
    rows = _votes(200, users=5)
    _append(folder / "a.jsonl", "".join(map(_line, rows[:20])))
    with begin(columns={"comparison": "vote"}) as store:
        _drain(store, folder)
        _append(folder / "a.jsonl", "".join(map(_line, rows[20:])))
        real = getattr(adding, where)

        def failing(*arguments):
            real(*arguments)
            raise duckdb.IOException("IO Error: no space left on device")

        monkeypatch.setattr(count_store, where, failing)
        with pytest.raises(EarnestError, match=r"cannot be written .*the disk is full.* is whole"):
            _drain(store, folder)
    monkeypatch.setattr(count_store, where, real)
    with begin() as store:
        assert store.totals.votes == (200 if where == "sum_up" else 20)  # votes were counted before they were summed up
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)
        assert store.totals.repeated == 0


FULL = """
import resource, sys
from earnest.comparisons.count_store import CountStore
from earnest.comparisons.growing import Folder
store, folder = CountStore(sys.argv[1]), sys.argv[2]
from pathlib import Path
files = Folder(Path(folder), store.progress())
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
while chunks := list(files.look(1 << 14)):
    store.take(chunks, folder)
    files.accept(chunks)
"""


def test_a_full_disk_leaves_what_was_counted(folder, begin, tmp_path):
    rows = _votes(4000)
    with begin(columns={"comparison": "vote"}) as store:
        _append(folder / "a.jsonl", "".join(map(_line, rows[:100])))
        _drain(store, folder)
    _append(folder / "a.jsonl", "".join(map(_line, rows[100:])))
    arguments = [str(tmp_path / "votes.duckdb"), str(folder), "60000"]
    done = subprocess.run([sys.executable, "-c", FULL, *arguments], capture_output=True, text=True, check=False)
    assert "cannot be written" in done.stderr
    with begin() as store:
        assert 100 <= store.totals.votes < 4000
        assert sum(_counted(store).values()) == store.totals.votes
        _drain(store, folder)
        assert _counted(store) == _oracle(rows)
        assert store.totals.repeated == 0


def test_a_stream(begin):
    rows = _votes(6)
    out, into = os.pipe()
    with begin(columns={"comparison": "vote"}) as store:
        stream = Stream(out, store.progress())
        data = "".join(map(_line, rows)).rstrip("\n").encode()
        os.write(into, data[:150])
        chunks = list(stream.look(1 << 20))
        store.take(chunks, "standard input")
        stream.accept(chunks)
        assert stream.waiting
        os.write(into, data[150:])
        os.close(into)
        while not stream.ended:
            chunks = list(stream.look(1 << 20))
            store.take(chunks, "standard input")
            stream.accept(chunks)
        assert _counted(store) == _oracle(rows)
    os.close(out)
