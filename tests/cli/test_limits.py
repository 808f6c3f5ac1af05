"""A full disk, a folder that may not be written, a log that changes while it is read, too little memory.

Each is one message that names the file and says what to do; what was there before is whole, and nothing else is.
"""

import os
import shutil
import subprocess
import tempfile

import pandas as pd
import pytest

import earnest as er
from earnest.comparisons import limits
from earnest.comparisons.sql import connect

VERBS = ("simulate", "fit", "filter", "export", "watch")
NAMES = {"simulate": "s.csv", "fit": "fit", "filter": "kept.parquet", "export": "p.jsonl", "watch": "users.parquet"}


def _command(verb, votes, fitted, out, place):
    if verb == "watch":
        folder = place / "votes"
        folder.mkdir(exist_ok=True)
        shutil.copy(votes, folder / "votes.csv")
        return [verb, folder, "--once", "--store", place / "v.duckdb", "--out", out]
    if verb == "simulate":
        return [verb, "--users", 400, "--out", out]
    more = {"fit": [], "filter": ["--fit", fitted, "--threshold", "0.1"], "export": ["--fit", fitted]}
    return [verb, votes, *more[verb], "--out", out]


def _content(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture
def disk(tmp_path):
    """A disk of its own: a small file system in memory, which only root may mount."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a small disk can be mounted by root only")
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here, as in a container without that privilege")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def _fill(place):
    """Leave not a byte."""
    with open(place / "ballast", "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk(verb, earnest, votes, fitted, disk, tmp_path):
    out = disk / NAMES[verb]
    shutil.copytree(fitted, out) if verb == "fit" else out.write_text("what was there before")
    if verb == "fit":  # of other votes, so that the new files have other names
        earnest("fit", votes, "--on-bad-rows", "error", "--out", out)
        other = tmp_path / "other.csv"
        pd.read_csv(votes).iloc[:-1].to_csv(other, index=False)
    _fill(disk)
    before = _content(disk)
    command = _command(verb, other if verb == "fit" else votes, fitted, out, tmp_path)
    result = earnest(*command, code=2)
    assert "Traceback" not in result.output
    assert f"cannot write '{out}" in result.stderr
    assert "the disk is full; free some room and run this again" in result.stderr
    assert _content(disk) == before
    (disk / "ballast").unlink()
    earnest(*command)
    assert sorted(path.name for path in disk.iterdir()) == [out.name]


def test_a_full_disk_of_a_store(earnest, votes, disk, tmp_path):
    """What was counted before stays so; with room again, the rest is counted."""
    folder, store = tmp_path / "votes", disk / "v.duckdb"
    folder.mkdir()
    shutil.copy(votes, folder / "a.csv")
    words = ["watch", folder, "--once", "--store", store, "--out", tmp_path / "users.csv"]
    earnest(*words)
    frame = pd.read_csv(votes)
    frame.assign(user=[f"new {k} {'n' * 500}" for k in range(len(frame))]).to_csv(folder / "b.csv", index=False)
    before = (tmp_path / "users.csv").read_bytes()
    _fill(disk)
    result = earnest(*words, code=2)
    assert f"{store}: cannot be written (the disk is full; free some room" in result.stderr
    assert (tmp_path / "users.csv").read_bytes() == before
    (disk / "ballast").unlink()
    assert f"{2 * len(frame):,} votes, {len(frame):,} of them new" in earnest(*words).output


@pytest.mark.parametrize("verb", VERBS)
def test_a_disk_that_may_only_be_read(verb, earnest, votes, fitted, disk, tmp_path):
    out = disk / NAMES[verb]
    shutil.copytree(fitted, out) if verb == "fit" else out.write_text("what was there before")
    before = _content(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    result = earnest(*_command(verb, votes, fitted, out, tmp_path), code=2)
    assert "Traceback" not in result.output
    assert str(out) in result.stderr
    assert "Read-only file system" in result.stderr
    assert _content(disk) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_where_a_folder_should_be(verb, earnest, votes, fitted, tmp_path):
    """As an ordinary user or as root, nothing can be written below a file."""
    (tmp_path / "notes").write_text("mine")
    result = earnest(*_command(verb, votes, fitted, tmp_path / "notes" / NAMES[verb], tmp_path), code=2)
    assert "Traceback" not in result.output
    assert f"the folder '{tmp_path / 'notes'}' does not exist" in result.stderr
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize("verb", ["fit", "filter", "export"])
def test_a_log_that_changes_while_it_is_read(verb, earnest, votes, fitted, tmp_path, monkeypatch):
    """A vote is appended during each query: the answer to it may hold the vote or not."""
    mine, out = tmp_path / "votes.csv", tmp_path / "out" / NAMES[verb]
    shutil.copy(votes, mine)
    out.parent.mkdir()
    shutil.copytree(fitted, out) if verb == "fit" else out.write_text("what was there before")
    before = _content(out.parent)
    real = limits.told_apart

    def meanwhile(label):
        with open(mine, "a") as file:
            file.write(mine.read_text().splitlines()[1] + "\n")
        return real(label)

    monkeypatch.setattr("earnest.comparisons.log.told_apart", meanwhile)
    result = earnest(*_command(verb, mine, fitted, out, tmp_path), code=2)
    assert f"{mine}: the file has changed since the log was read; read it again" in result.stderr
    assert _content(out.parent) == before


def _limit():
    with connect() as connection:
        [(text,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    number, unit = text.split()
    return float(number) * 1024 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit)


def test_queries_take_half_of_the_memory_or_what_is_said(monkeypatch, earnest, votes, tmp_path):
    import duckdb

    monkeypatch.delenv("EARNEST_MEMORY_LIMIT", raising=False)
    with duckdb.connect() as connection:  # DuckDB takes 80 % of what the machine, or its container, has
        [(text,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    own = float(text.split()[0]) * 1024 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(text.split()[1])
    assert _limit() == pytest.approx(own / 0.8 * 0.5, rel=0.02)
    monkeypatch.setenv("EARNEST_MEMORY_LIMIT", "96MiB")
    assert _limit() == pytest.approx(96 * 2**20, rel=0.01)
    for wrong in ("lots", "3", "2GiB'; DROP TABLE log; --"):
        monkeypatch.setenv("EARNEST_MEMORY_LIMIT", wrong)
        result = earnest("fit", votes, "--out", tmp_path / "fit", code=2)
        assert "EARNEST_MEMORY_LIMIT=" in result.stderr
        assert "expected a size with a unit, such as 2GiB" in result.stderr
    assert not (tmp_path / "fit").exists()


LARGE = "SELECT count(*) AS n FROM (SELECT DISTINCT md5(r::VARCHAR) AS h FROM range(400000) t(r))"


def test_what_does_not_fit_goes_to_temporary_files(votes, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("EARNEST_MEMORY_LIMIT", "20MiB")
    log = er.read_comparisons(votes)
    assert log.query(LARGE)["n"][0].as_py() == 400_000
    del log
    assert os.listdir(tmp_path) == []


def test_no_room_for_temporary_files_says_what_to_do(votes, disk, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setenv("EARNEST_MEMORY_LIMIT", "20MiB")
    log = er.read_comparisons(votes)
    with pytest.raises(er.EarnestError, match=r"raise EARNEST_MEMORY_LIMIT .*TMPDIR"):
        log.query(LARGE)
    with pytest.raises(er.EarnestError, match=r"raise EARNEST_MEMORY_LIMIT .*TMPDIR"):
        log.execute(f"CREATE TEMP TABLE large AS {LARGE}")


def test_too_little_memory_for_a_query_says_what_to_do(votes, tmp_path, monkeypatch):
    monkeypatch.setenv("EARNEST_MEMORY_LIMIT", "6MiB")
    log = er.read_comparisons(votes)
    with pytest.raises(er.EarnestError, match="needs more memory than it may have .*raise EARNEST_MEMORY_LIMIT"):
        log.query("SELECT list(md5(r::VARCHAR)) AS n FROM range(400000) t(r)")  # one value that cannot be spilled


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes")])
def test_memory_of_arrays_that_runs_out_is_a_message(earnest, votes, tmp_path, monkeypatch, error):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr("earnest.inference.fitting.fit_counts", failing)
    result = earnest("fit", votes, "--out", tmp_path / "fit", code=2)
    assert "earnest: memory ran out (outputs are as they were)" in result.stderr
    assert not (tmp_path / "fit").exists()
