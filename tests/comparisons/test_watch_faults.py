"""What can go wrong with the files that a watch reads, and with its store: named, and nothing lost or counted twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import earnest as er
from earnest.comparisons import EarnestError, InputError, streams
from earnest.comparisons.count_store import CountStore
from earnest.comparisons.growing import Folder
from earnest.comparisons.streams import Stream
from earnest.inference.watching import looks_of

LOOKED_AT = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
LOOKS = looks_of(LOOKED_AT)
ROWS = [
    {"vote": f"v{k}", "user": f"u{k % 7}", "model_a": "x", "model_b": "y", "winner": ("model_a", "tie")[k % 3 == 0]}
    for k in range(80)
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


@pytest.fixture
def store(tmp_path):
    return tmp_path / "votes.duckdb"


def drain(store, folder, ids=False):
    """Take everything; votes counted, and the folder as it was seen last."""
    with CountStore(store, LOOKS, {"comparison": "vote"} if ids else {}) as counts:
        files = Folder(folder, counts.progress(), ids=ids)
        while chunks := list(files.look(1 << 22)):
            counts.take(chunks, str(folder))
            files.accept(chunks)
        return counted(counts), files


def counted(counts):
    """Asked of the database itself."""
    return counts._connection.sql("SELECT coalesce(sum(votes), 0) FROM counts").fetchall()[0][0]


@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard", "symbolic"])
def test_one_file_under_two_names_counts_once(folder, store, link):
    (folder / "b.jsonl").write_bytes(LINES)
    link(folder / "b.jsonl", folder / "a.jsonl")
    votes, files = drain(store, folder)
    assert votes == 80
    assert set(files.twins) in ({"a.jsonl"}, {"b.jsonl"})
    if link is os.symlink:
        assert files.twins == {"a.jsonl": "b.jsonl"}  # a link may point to another file tomorrow
    with open(folder / "b.jsonl", "ab") as file:
        file.write(LINES[: len(LINES) // 2].rpartition(b"\n")[0] + b"\n")
    more = (folder / "a.jsonl").read_bytes().count(b"\n")
    assert drain(store, folder)[0] == more > 80


def test_a_link_that_was_read_first_stays_the_name(folder, store, tmp_path):
    (tmp_path / "b.jsonl").write_bytes(LINES)
    os.symlink(tmp_path / "b.jsonl", folder / "now.jsonl")
    assert drain(store, folder)[0] == 80
    os.link(tmp_path / "b.jsonl", folder / "b.jsonl")
    votes, files = drain(store, folder)
    assert (votes, files.twins) == (80, {"b.jsonl": "now.jsonl"})


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("grown", [False, True])
def test_a_copy_is_refused_unless_votes_have_ids(folder, store, kind, grown):
    one, two = folder / f"a.{kind}", folder / f"b.{kind}"
    if kind == "jsonl":
        one.write_bytes(LINES)
    else:
        pq.write_table(pa.Table.from_pylist(ROWS * 20), one, compression="none", use_dictionary=False)
    before = drain(store, folder)[0]
    shutil.copy(one, two)
    if grown and kind == "jsonl":
        with open(two, "ab") as file:
            file.write(LINES[:300].rpartition(b"\n")[0] + b"\n")
    with pytest.raises(InputError, match=rf"b\.{kind}: begins with .* of a\.{kind} .* counted .* Remove the copy"):
        drain(store, folder)
    os.unlink(two)
    assert drain(store, folder)[0] == before
    shutil.copy(one, two)
    own = store.with_name("ids.duckdb")
    assert drain(own, folder, ids=True)[0] == 80  # of which nothing is counted twice


def test_a_copy_is_seen_at_the_first_look_too(folder, store):
    for name in "ab":
        (folder / f"{name}.jsonl").write_bytes(LINES)
    with pytest.raises(InputError, match=r"b\.jsonl: begins with"):
        drain(store, folder)
    with CountStore(store) as counts:
        assert counted(counts) == 0


def test_files_that_begin_alike_by_chance_are_no_copies(folder, store):
    for name in "abc":  # the same few votes, without ids
        (folder / f"{name}.jsonl").write_bytes(LINES[:300].rpartition(b"\n")[0] + b"\n")
        (folder / f"{name}.csv").write_text("user,model_a,model_b,winner\nu,x,y,tie\n")
    assert drain(store, folder)[0] == 3 * (LINES[:300].count(b"\n") + 1)


def test_a_damaged_parquet_file_is_named(folder, store):
    (folder / "a.jsonl").write_bytes(LINES)
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "b.parquet")
    data = bytearray((folder / "b.parquet").read_bytes())
    body = slice(4, -8 - int.from_bytes(data[-8:-4], "little"))  # all but what says where columns lie
    data[body] = bytes(byte ^ 0xFF for byte in data[body])
    (folder / "b.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"b\.parquet: the Parquet file is damaged .*write it again"):
        drain(store, folder)
    (folder / "b.parquet").unlink()
    assert drain(store, folder)[0] == 80


def test_a_column_of_a_parquet_file_is_named_with_the_file(folder, store):
    pq.write_table(pa.Table.from_pylist([{**row, "user": {"name": "u"}} for row in ROWS]), folder / "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: the column 'user' is of type STRUCT"):
        drain(store, folder)


def test_a_parquet_file_that_changes_between_look_and_reading_is_not_counted(folder, store):
    path = folder / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    with CountStore(store, LOOKS) as counts:
        files = Folder(folder)
        chunks = list(files.look(1 << 22))
        pq.write_table(pa.Table.from_pylist(ROWS[:50]), path)
        with pytest.raises(InputError, match=r"a\.parquet: was changed while it was read"):
            counts.take(chunks, "votes")
        assert counted(counts) == 0
    assert drain(store, folder)[0] == 50


def test_the_first_row_that_is_no_object_is_named(folder, store):
    (folder / "a.jsonl").write_bytes(b"\n# a log begins\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: no row is an object"):
        drain(store, folder)


def test_a_file_written_anew_with_the_same_last_row_is_seen(folder, store):
    """Some rows are alike, so that the end of what was counted is compared for more than a row."""
    row = json.dumps({"user": "u", "model_a": "x", "model_b": "y", "winner": "tie"}) + "\n"
    other = row.replace('"u"', '"v"')
    path = folder / "a.jsonl"
    path.write_text(row * 10)
    with CountStore(store, LOOKS) as counts:
        files = Folder(folder)
        counts.take(chunks := list(files.look(1 << 20)), "votes")
        files.accept(chunks)
        with open(path, "r+") as file:
            file.write(other * 5 + row * 5 + other)
        with pytest.raises(InputError, match="has changed in what was counted"):
            list(files.look(1 << 20))


def test_a_store_is_opened_once_in_a_process(folder, store):
    (folder / "a.jsonl").write_bytes(LINES)
    os.symlink(store, store.with_name("other.duckdb"))
    with CountStore(store, LOOKS):
        for name in ("votes.duckdb", "other.duckdb"):
            with pytest.raises(EarnestError, match=rf"{name}: the store is in use by this process"):
                CountStore(store.with_name(name), LOOKS)
    assert drain(store, folder)[0] == 80  # it was let go of
    lost = CountStore(store)
    del lost
    CountStore(store).close()


KILLED = """
import os, sys
from pathlib import Path
from earnest.comparisons.count_store import CountStore
from earnest.comparisons.growing import Folder
store = CountStore(sys.argv[1])
store.take(list(Folder(Path(sys.argv[2])).look(1 << 20)), "votes")
os.kill(os.getpid(), 9)
"""


def test_what_a_store_that_is_gone_left_is_not_taken_for_the_new_one_s(folder, store):
    (folder / "a.jsonl").write_bytes(LINES)
    CountStore(store, LOOKS).close()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store), str(folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    wal = store.with_name(f"{store.name}.wal")
    assert wal.stat().st_size > 0
    shutil.copy(store, store.with_name("kept"))
    store.unlink()
    with pytest.raises(EarnestError, match=r"no such store, but .*\.wal.* put that store back, or remove the \.wal"):
        CountStore(store, LOOKS)
    assert not store.exists()
    os.rename(store.with_name("kept"), store)
    assert drain(store, folder)[0] == 80


def older(connection):
    connection.execute("UPDATE meta SET value = '0' WHERE key = 'format'")


def without_model(connection):
    connection.execute("DELETE FROM meta WHERE key = 'looks'")


@pytest.mark.parametrize(
    ("change", "words"),
    [(older, "format 0; .* reads format 1. .* in another store"), (without_model, "damaged .* in another store")],
)
def test_a_store_of_another_version_or_damaged_says_what_to_do(store, change, words):
    CountStore(store, LOOKS).close()
    with duckdb.connect(str(store)) as connection:
        change(connection)
    before = store.read_bytes()
    with pytest.raises(EarnestError, match=rf"votes\.duckdb: .*{words}"):
        CountStore(store, LOOKS)
    assert store.read_bytes() == before


def test_a_line_longer_than_the_budget_is_waited_for(store):
    out, into = os.pipe()
    line = json.dumps({**ROWS[0], "prompt": "p" * 30_000}).encode() + b"\n"
    writer = threading.Thread(target=lambda: (os.write(into, line), os.close(into)))
    writer.start()
    with CountStore(store, LOOKS) as counts:
        stream = Stream(out, counts.progress())
        for _ in range(200):
            if chunks := list(stream.look(1000)):
                counts.take(chunks, "standard input")
                stream.accept(chunks)
            if stream.ended:
                break
        assert counted(counts) == 1
    writer.join()
    os.close(out)


def test_a_line_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(streams, "LONGEST", 10_000)
    out, into = os.pipe()
    stream = Stream(out, {})
    os.write(into, LINES[:300].rpartition(b"\n")[0] + b"\n" + b"x" * 9_000)
    assert len(list(stream.look(1 << 20))) == 1
    os.write(into, b"x" * 2_000)
    with pytest.raises(InputError, match=r"standard input, after line \d+: a line of more than 10,000 bytes"):
        list(stream.look(1 << 20))
    os.close(out)
    os.close(into)


def test_closed_standard_input_is_not_the_store(tmp_path):
    """File 0 is free then, and the database would get it."""
    words = f"{sys.executable} -m earnest.cli watch - --store v.duckdb --out users.csv <&-"
    done = subprocess.run(["sh", "-c", words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard input is closed; give it the votes" in done.stderr
    assert os.listdir(tmp_path) == []


def test_an_output_of_another_store_is_replaced(tmp_path):
    """It is there, and of as many votes: that does not make it this store's."""
    vote = {"model_a": "x", "model_b": "y", "winner": "model_a"}
    out = tmp_path / "users.csv"
    for user in ("ann", "bob"):
        (tmp_path / user).mkdir()
        (tmp_path / user / "a.jsonl").write_text(json.dumps({**vote, "user": user}) + "\n")
        er.watch(tmp_path / user, tmp_path / f"{user}.duckdb", out=tmp_path / f"{user}.csv", once=True)
    for user in ("ann", "bob"):
        er.watch(tmp_path / user, tmp_path / f"{user}.duckdb", out=out, once=True)
        assert list(pd.read_csv(out)["user"]) == [user]
    assert er.watch(tmp_path / "bob", tmp_path / "bob.duckdb", out=out, once=True) is None  # it is current


def seen(folder, store, ids=False):
    """Votes in the store after a watch of the folder."""
    er.watch(folder, store, LOOKED_AT, once=True, **({"comparison": "vote"} if ids else {}))
    with CountStore(store) as counts:
        return counted(counts)


def test_the_same_votes_from_another_folder_are_refused_unless_they_have_ids(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        place.mkdir()
    (here / "a.jsonl").write_bytes(LINES)
    pd.DataFrame(ROWS).to_csv(there / "b.csv", index=False)  # no copy, byte by byte
    store = tmp_path / "plain.duckdb"
    assert seen(here, store) == 80
    with pytest.raises(
        InputError, match=r"there: the store .*plain\.duckdb has the votes of .*here.* store of its own"
    ):
        seen(there, store)
    assert seen(here, store) == 80
    store = tmp_path / "ids.duckdb"
    assert seen(here, store, ids=True) == 80
    assert seen(there, store, ids=True) == 80


def test_a_folder_that_was_moved_goes_on(tmp_path, store):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "a.jsonl").write_bytes(LINES)
    assert seen(tmp_path / "here", store) == 80
    (tmp_path / "here").rename(tmp_path / "there")
    with (tmp_path / "there" / "a.jsonl").open("ab") as file:
        file.write(LINES[: LINES.index(b"\n") + 1])
    assert seen(tmp_path / "there", store) == 81
