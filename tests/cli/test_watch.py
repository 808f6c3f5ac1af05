"""`earnest watch`: the same answer as by reading everything at once, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import earnest as er
from earnest.comparisons.count_store import CountStore
from earnest.inference.watching import looks_of

MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
NAMES = ("user", "model_a", "model_b", "winner")


@pytest.fixture(scope="module")
def rows():
    """1,200 votes of 60 users, shuffled, with ids."""
    table = MODEL.simulate(users=60, comparisons_per_user=20, models=3, seed=5).log.to_arrow().to_pylist()
    order = np.random.default_rng(5).permutation(len(table))
    return [{"vote": f"v{k}", **table[place]} for k, place in enumerate(order)]


@pytest.fixture(scope="module")
def whole(rows):
    """The fit of all of them at once."""
    return er.fit_em(MODEL, er.read_comparisons(pd.DataFrame(rows), comparison="vote"))


def _append(path, rows):
    with open(path, "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _counted(store):
    with duckdb.connect(str(store), read_only=True) as connection:
        found = connection.execute(
            'SELECT "user", model_a, model_b, winner, sum(votes) FROM counts GROUP BY ALL'
        ).fetchall()
    return Counter({tuple(row[:4]): int(row[4]) for row in found})


def _oracle(rows):
    return Counter(tuple(row[name] for name in NAMES) for row in rows)


def _close(fit, whole):
    assert abs(fit.objective_trace[-1] / whole.objective_trace[-1] - 1) < 1e-9
    assert list(fit.attentiveness["user"]) == list(whole.attentiveness["user"])
    for name in ("comparisons", "mean", "sd", "lower", "upper"):
        assert np.abs(fit.attentiveness[name] - whole.attentiveness[name]).max() < 1e-6, name


def test_ten_batches_are_one_log(earnest, rows, whole, tmp_path):
    folder, out, fits, store = (tmp_path / name for name in ("votes", "users.parquet", "fit", "votes.duckdb"))
    folder.mkdir()
    words = ["watch", folder, "--once", "--store", store, "--out", out, "--fit", fits, "--comparison", "vote"]
    for k in range(10):
        _append(folder / f"{k % 3}.jsonl", rows[120 * k : 120 * (k + 1)])
        result = earnest(*words)
        assert f"{120 * (k + 1):,} votes, 120 of them new" in result.output
        about = json.loads(pq.read_schema(out).metadata[b"earnest"])
        assert about["votes"] == about["fitted_votes"] == 120 * (k + 1) == pd.read_parquet(out)["comparisons"].sum()
    fit = er.load(fits)
    _close(fit, whole)
    assert fit.iterations < whole.iterations  # it began where the one before had ended
    assert _counted(store) == _oracle(rows)
    for name in ("user", "cell", "count"):
        assert np.array_equal(getattr(fit.counts, name), getattr(whole.counts, name))
    table = pd.read_parquet(out)
    assert np.abs(table["mean"] - whole.attentiveness["mean"]).max() < 1e-6
    before = out.read_bytes()
    assert "0 of them new" in earnest(*words).output  # nothing new: nothing is done
    assert out.read_bytes() == before


def test_frames_and_updates_are_one_log(rows, whole):
    fit = er.fit_em(MODEL, er.read_comparisons(pd.DataFrame(rows[:600]), comparison="vote"))
    fit = fit.update(er.read_comparisons(pd.DataFrame(rows[600:]), comparison="vote"))
    _close(fit, whole)


def test_scoring_without_draws_is_the_same_but_for_the_intervals(rows, whole):
    log = er.read_comparisons(pd.DataFrame(rows[:300]), comparison="vote")
    full, quick = whole.score(log), whole.score(log, draws=0)
    for name in ("user", "comparisons", "mean", "sd"):
        assert full[name].equals(quick[name])
    assert (quick["upper"] - quick["lower"]).mean() < (full["upper"] - full["lower"]).mean()
    with pytest.raises(er.EarnestError, match="draws=-1"):
        whole.score(log, draws=-1)


def test_a_thousand_files_are_one_log(rows, whole, tmp_path):
    folder = tmp_path / "votes"
    folder.mkdir()
    for k in range(1000):
        _append(folder / f"{k}.jsonl", rows[k::1000])
    _close(er.watch(folder, tmp_path / "votes.duckdb", MODEL, comparison="vote", once=True), whole)


def test_what_it_does_is_said(earnest, rows, tmp_path):
    folder = tmp_path / "votes"
    folder.mkdir()
    (folder / "readme.txt").write_text("votes")
    _append(folder / "a.jsonl", [*rows[:50], rows[0], {"user": "no models"}])
    with open(folder / "a.jsonl", "a") as file:
        file.write("torn")
    words = ["watch", folder, "--once", "--store", tmp_path / "v.duckdb", "--out", tmp_path / "users.csv"]
    result = earnest(*words, "--comparison", "vote", "--quarantine", tmp_path / "bad.csv")
    for text in (
        "50 votes, 50 of them new", "1 vote had an id that was counted before", "1 row cannot be used",
        "a.jsonl (4 bytes) waits", "readme.txt: is no JSONL",
    ):  # fmt: skip
        assert text in result.output
    assert all(len(line) <= 79 for line in result.stderr.splitlines() if "note" not in line)
    assert list(pd.read_csv(tmp_path / "bad.csv")["reason"]) == ["column model_a: the first model is missing"]
    assert len(pd.read_csv(tmp_path / "users.csv")) == len({row["user"] for row in rows[:50]})
    assert sorted(os.listdir(folder)) == ["a.jsonl", "readme.txt"]


def test_mistakes_leave_everything_as_it_was(earnest, rows, tmp_path):
    folder, out, store = tmp_path / "votes", tmp_path / "users.parquet", tmp_path / "v.duckdb"
    folder.mkdir()
    (tmp_path / "model.toml").write_text(er.BehaviorModel().to_toml())
    _append(folder / "a.jsonl", rows[:60])
    words = ["watch", folder, "--once", "--store", store, "--out", out]
    earnest(*words)
    before = out.read_bytes(), _counted(store)
    _append(folder / "b.jsonl", rows[60:120])

    def refused(text, *words):
        result = earnest(*words, code=2)
        assert text in result.stderr
        assert "Traceback" not in result.output
        assert (out.read_bytes(), _counted(store)) == before

    refused("begun with another model", *words, "--model", tmp_path / "model.toml")
    refused("begun with winner in the column 'winner'", *words, "--winner", "choice")
    refused("cannot write '/proc/v.duckdb'", *words[:3], "--store", "/proc/v.duckdb", "--out", out)
    refused("is no folder", "watch", folder / "a.jsonl", *words[2:])
    refused(".parquet or .csv", *words[:-1], tmp_path / "users.docx")
    refused("does not exist", *words[:-1], tmp_path / "none" / "users.csv")
    _append(folder / "b.jsonl", [{"user": "no models"}])
    refused("b.jsonl, line 61", *words, "--on-bad-rows", "error")
    (folder / "a.jsonl").write_text("")
    refused("has changed in what was counted already", *words)


def test_an_output_that_cannot_be_written_is_a_message(earnest, rows, tmp_path):
    folder, store = tmp_path / "votes", tmp_path / "v.duckdb"
    folder.mkdir()
    _append(folder / "a.jsonl", rows[:60])
    result = earnest("watch", folder, "--once", "--store", store, "--out", "/proc/users.parquet", code=2)
    assert "cannot write '/proc/users.parquet'" in result.stderr
    earnest("watch", folder, "--once", "--store", store, "--out", tmp_path / "users.parquet")  # nothing counts twice
    assert _counted(store) == _oracle(rows[:60])


def _started(folder, store, out, *more):
    words = ["watch", str(folder), "--store", str(store), "--out", str(out), *map(str, more)]
    return subprocess.Popen(
        [sys.executable, "-m", "earnest.cli", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _wait_for(path, running, seconds=600.0, changed=0):
    until = time.monotonic() + seconds
    while not path.exists() or path.stat().st_mtime_ns <= changed:
        assert running.poll() is None, running.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_votes_are_followed_until_sigterm(rows, whole, tmp_path):
    folder, out, store = tmp_path / "votes", tmp_path / "users.parquet", tmp_path / "v.duckdb"
    folder.mkdir()
    _append(folder / "a.jsonl", rows[:900])
    running = _started(folder, store, out, "--every", 1e6)
    _wait_for(out, running)
    first = pd.read_parquet(out)
    _append(folder / "a.jsonl", rows[900:])
    _wait_for(out, running, changed=out.stat().st_mtime_ns)  # scored at the globals of the first fit
    running.send_signal(signal.SIGTERM)
    said, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    assert "1,200 votes, 1,200 of them new" in said
    assert "Traceback" not in errors
    second = pd.read_parquet(out)
    assert (first["comparisons"].sum(), second["comparisons"].sum()) == (900, 1200)
    assert json.loads(pq.read_schema(out).metadata[b"earnest"])["fitted_votes"] == 900
    assert np.abs(second["mean"] - whole.attentiveness["mean"]).max() < 0.1
    assert _counted(store) == _oracle(rows)


def test_standard_input(rows, whole, tmp_path):
    store, out = tmp_path / "v.duckdb", tmp_path / "users.parquet"
    lines = [json.dumps(row) + "\n" for row in rows]
    for part in (lines[:700], lines[500:]):  # a producer that begins again somewhat earlier
        running = _started("-", store, out, "--comparison", "vote")
        said, errors = running.communicate("".join(part), timeout=600)
        assert running.returncode == 0, errors
    assert "200 votes had an id that was counted before" in said
    assert _counted(store) == _oracle(rows)
    assert np.abs(pd.read_parquet(out)["mean"] - whole.attentiveness["mean"]).max() < 1e-6


def test_votes_on_a_new_model_wait_for_the_next_fit(rows, tmp_path):
    from earnest.inference.refitting import merged, refit, rescore

    with CountStore(tmp_path / "v.duckdb", looks_of(MODEL)) as store:
        folder = tmp_path / "votes"
        folder.mkdir()
        _append(folder / "a.jsonl", rows[:300])
        (tmp_path / "own").mkdir()
        from earnest.comparisons.growing import Folder

        files = Folder(folder)
        store.take(list(files.look(1 << 20)), "votes")
        fit, warmth = refit(MODEL, store.log())
        files.accept(list(files.look(1 << 20)))
        strange = {"vote": "s", "user": rows[0]["user"], "model_a": "new", "model_b": "model_1", "winner": "tie"}
        fresh = {**rows[1], "user": "nobody yet"}
        _append(folder / "b.jsonl", [strange, fresh])
        _, users = store.take([chunk for chunk in files.look(1 << 20) if chunk.progress.name == "b.jsonl"], "votes")
        assert users == sorted([strange["user"], "nobody yet"])
        scored = rescore(fit, store.log(users))
        assert list(scored["user"]) == ["nobody yet"]
        table = merged(fit.attentiveness, scored)
        assert list(table["user"]) == sorted([*fit.attentiveness["user"], "nobody yet"])
        assert table["comparisons"].sum() == 301
        again, _ = refit(MODEL, store.log(), warmth)
        _close(again, er.fit_em(MODEL, store.log()))


LOOP = """
import sys, time
from pathlib import Path
from earnest.comparisons import count_store
from earnest.comparisons.growing import Folder
count_store._LEAST = 200
store = count_store.CountStore(sys.argv[1])
files = Folder(Path(sys.argv[2]), store.progress())
while True:
    chunks = list(files.look(1 << 14))
    if chunks:
        store.take(chunks, sys.argv[2])
        files.accept(chunks)
"""


class _Writer(threading.Thread):
    """Appends votes to three files in pieces that end anywhere, and now and then rotates one of them."""

    def __init__(self, folder, rows, pause):
        super().__init__(daemon=True)
        self.folder, self.rows, self.pause, self.over = folder, rows, pause, threading.Event()
        self.share = 0.0  # of the votes, that may be written by now

    def run(self):
        rng, number, rest = np.random.default_rng(0), 0, [b"", b"", b""]
        for start in range(0, len(self.rows), 20):
            while start >= self.share * len(self.rows) and not self.over.is_set():
                time.sleep(0.01)
            place = int(rng.integers(3))
            path = self.folder / f"{place}.jsonl"
            data = rest[place] + "".join(json.dumps(row) + "\n" for row in self.rows[start : start + 20]).encode()
            cut = int(rng.integers(len(data)))
            with open(path, "ab") as file:
                file.write(data[:cut])
            rest[place] = data[cut:]
            if rng.random() < 0.1:
                with open(path, "ab") as file:
                    file.write(rest[place])
                rest[place] = b""
                number += 1
                os.rename(path, self.folder / f"old{number}.jsonl")
            if self.over.wait(self.pause):
                self.pause = 0
        for place, data in enumerate(rest):
            with open(self.folder / f"{place}.jsonl", "ab") as file:
                file.write(data)


def _kill_many(command, count, tmp_path, rows, longest):
    """Kill a watch again and again while votes are written; then all of them are there, once."""
    folder, store = tmp_path / "votes", tmp_path / "v.duckdb"
    folder.mkdir()
    many = [{**row, "vote": f"{row['vote']}-{k}"} for k in range(4 if count < 10 else 20) for row in rows]
    CountStore(store, looks_of(MODEL)).close()
    writer = _Writer(folder, many, pause=min(20 * count * longest / len(many), 0.05))
    writer.start()
    rng, killed, grown = np.random.default_rng(1), 0, 0
    while killed < count:
        begun = store.stat().st_mtime_ns
        running = subprocess.Popen(command(folder, store), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wal = store.with_name("v.duckdb.wal")
        writer.share = (killed + 1) / count
        until = time.monotonic() + 600
        while running.poll() is None and not wal.exists() and store.stat().st_mtime_ns == begun:
            assert time.monotonic() < until
            time.sleep(0.005)
        time.sleep(rng.uniform(0, longest))
        assert running.poll() is None, running.stderr.read()
        running.kill()
        running.wait()
        running.stderr.close()
        killed += 1
        with CountStore(store) as opened:
            total = opened.totals.votes
            assert total >= grown
            assert sum(opened.progress()[name].offset > 0 for name in opened.progress()) > 0 or not total
            assert len(opened.log()) == total if total else True
            grown = total
    assert grown > 0
    writer.over.set()
    writer.join()
    fit = er.watch(folder, store, once=True)
    assert _counted(store) == _oracle(many)
    assert fit.attentiveness["comparisons"].sum() == len(many)
    assert list(pd.Index(os.listdir(tmp_path)).sort_values()) == ["v.duckdb", "votes"]


def _loop(folder, store):
    return [sys.executable, "-c", LOOP, str(store), str(folder)]


def _cli(folder, store):
    words = [
        "watch",
        str(folder),
        "--store",
        str(store),
        "--out",
        str(store.parent / "votes" / "_users.parquet"),
        "--every",
        "0",
    ]
    return [sys.executable, "-m", "earnest.cli", *words]


def test_four_kills(rows, tmp_path):
    _kill_many(_loop, 4, tmp_path, rows, 0.2)


@pytest.mark.long
@pytest.mark.parametrize(("command", "longest"), [(_loop, 0.5), (_cli, 15.0)], ids=["counting", "with fits"])
def test_fifty_kills(rows, tmp_path, command, longest):
    _kill_many(command, 50, tmp_path, rows, longest)
