"""Does `earnest watch` keep up on one core, and what does it cost to score a user?

    python benchmarks/watch.py                       10,000 votes a second for 60 seconds
    python benchmarks/watch.py --rate 20000 --seconds 30 --every 10 --no-ids

One process writes votes to a file; another, held to one core, watches the folder, fits and keeps the table of users.
Printed: how many votes lie between the two as time goes by, counts against the truth, the load of the machine, and how
long scoring takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

NAMES = ("user", "model_a", "model_b", "winner")


def _rows(count, users, models, seed=0):
    """Votes in a random order, as JSON lines, with an id and a prompt of a hundred characters."""
    import earnest as er

    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    table = model.simulate(
        users=users, comparisons_per_user=-(-count // users), models=models, seed=seed
    ).log.to_arrow()
    order = np.random.default_rng(seed).permutation(table.num_rows)[:count]
    columns = [table.column(name).take(order).to_pylist() for name in NAMES]
    rows = list(zip(*columns, strict=True))
    prompt = "what is the answer to " * 5
    head = '{"vote": "%d", "user": "%s", "model_a": "%s", "model_b": "%s", "winner": "%s", "prompt": "%s"}\n'
    return rows, [(head % (k, *row, prompt)).encode() for k, row in enumerate(rows)]


def _child(folder, core, every, ids, told):
    """The watch, on one core; a line a second about how it stands."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    import signal

    from earnest.console import stopping
    from earnest.inference.watching import watch

    last = 0.0
    with stopping() as stop, open(told, "w", buffering=1) as lines:

        def say(status):
            nonlocal last
            if time.time() - last >= 0.5 or stop.is_set():
                last = time.time()
                lines.write(json.dumps([last, status.votes, status.behind, status.fitted, status.fitting]) + "\n")

        columns = {"comparison": "vote"} if ids else {}
        watch(
            folder / "votes", folder / "votes.duckdb", out=folder / "users.parquet", every=every, progress=say,
            stop=stop, **columns,
        )  # fmt: skip
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _feed(path, lines, rate, fed, core):
    """Write `rate` lines a second; `fed` gets (time, lines written)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    start, done = time.time(), 0
    with open(path, "ab", buffering=0) as file:
        while done < len(lines):
            due = min(int((time.time() - start) * rate), len(lines))
            if due > done:
                file.write(b"".join(lines[done:due]))
                done = due
                fed.append((time.time(), done))
            time.sleep(0.01)


def _read(told):
    return [json.loads(line) for line in told.read_text().splitlines() if line.endswith("]")] if told.exists() else []


def _report(fed, heard, rate):
    """Votes that were written and not yet counted, as the watch said it; the most of them after the first fit began."""
    times, written = np.array(fed).T
    start, worst = times[0], 0.0
    print(" second   written   counted      lag  lag (s)  fit of")
    for when, votes, _, fitted, fitting in heard:
        if when < start:
            continue
        there = np.interp(when, times, written)
        lag = max(there - votes, 0.0)
        worst = max(worst, lag)
        busy = " *" if fitting else ""  # something is fitted or scored meanwhile
        print(f"{when - start:7.1f} {there:9,.0f} {votes:9,.0f} {lag:8,.0f} {lag / rate:8.2f}  {fitted:,}{busy}")
    return worst


def keep_up(rate, seconds, users, models, every, ids):
    rows, lines = _rows(rate * seconds, users, models)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "votes").mkdir()
        told = folder / "told.jsonl"
        arguments = ["--child", str(folder), "--every", str(every), *([] if ids else ["--no-ids"])]
        running = subprocess.Popen([sys.executable, __file__, *arguments])
        while not _read(told):  # imports are over
            if running.poll() is not None:
                sys.exit("the watch ended")
            time.sleep(0.1)
        before, fed = os.getloadavg()[0], []
        feeder = threading.Thread(target=_feed, args=(folder / "votes" / "votes.jsonl", lines, rate, fed, 1))
        feeder.start()
        feeder.join()
        ended, last = time.time(), 0.0
        while (state := _read(told)[-1])[1] < len(rows) and time.time() - ended < 120:
            time.sleep(0.05)
        last = state[0]
        running.terminate()
        running.wait()
        heard = _read(told)
        usage = os.times()
        worst = _report(fed, heard, rate)
        right = _counted(folder / "votes.duckdb") == Counter(rows)
        spent = usage.children_user + usage.children_system
        print(
            f"{len(rows):,} votes of {users:,} users, {len(rows) / (fed[-1][0] - fed[0][0]):,.0f} a second, "
            f"{'with ids' if ids else 'without ids'}: counts {'equal the truth' if right else 'ARE WRONG'}; all "
            f"counted {max(last - ended, 0):.1f} s after the last was written; largest lag {worst:,.0f} votes "
            f"({worst / rate:.1f} s); {spent:.0f} s of processor time on one core; load of the machine {before:.1f} "
            f"before, {os.getloadavg()[0]:.1f} after"
        )


def _counted(path):
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            'SELECT "user", model_a, model_b, winner, sum(votes) FROM counts GROUP BY ALL'
        ).fetchall()
    return Counter({tuple(row[:4]): int(row[4]) for row in found})


def score(users=10_000, models=4):
    """Seconds a user: `fit.score` (with intervals that carry the globals' uncertainty), and what a watch does."""
    import earnest as er
    from earnest.comparisons.count_store import CountStore
    from earnest.comparisons.growing import Folder
    from earnest.inference.watching import looks_of

    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    fit = er.fit_em(
        model, model.simulate(users=500, comparisons_per_user=20, models=models, seed=1).log, restarts=False
    )
    for count in (1, 100, 1000, users):
        log = model.simulate(users=count, comparisons_per_user=20, models=models, seed=2).log
        with tempfile.TemporaryDirectory() as place:
            (folder := Path(place) / "votes").mkdir()
            log.write(folder / "a.jsonl")
            with CountStore(Path(place) / "v.duckdb", looks_of(model)) as store:
                files = Folder(folder)
                while chunks := list(files.look(1 << 24)):
                    store.take(chunks, "votes")
                    files.accept(chunks)
                took = {}
                calls = {
                    "fit.score": partial(fit.score, log),
                    "draws=0": partial(fit.score, log, 0),
                    "watch": partial(_scored, fit, store),
                }
                for name, call in calls.items():
                    call()
                    start = time.perf_counter(), time.process_time()
                    call()
                    took[name] = time.perf_counter() - start[0], time.process_time() - start[1]
        said = ", ".join(
            f"{name} {1e3 * t / count:.3f} ms ({1e3 * cpu / count:.3f} of a core)" for name, (t, cpu) in took.items()
        )
        print(f"{count:6,} users of 20 votes each, a user: {said}", flush=True)


def _scored(fit, store):
    from earnest.inference.refitting import rescore

    return rescore(fit, store.log())


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--part", choices=["keep-up", "score", "all"], default="all")
    words.add_argument("--rate", type=int, default=10_000)
    words.add_argument("--seconds", type=int, default=60)
    words.add_argument("--users", type=int, default=30_000)
    words.add_argument("--models", type=int, default=10)
    words.add_argument("--every", type=float, default=20.0)
    words.add_argument("--no-ids", action="store_true")
    words.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.child:
        _child(given.child, 0, given.every, not given.no_ids, given.child / "told.jsonl")
        return
    if given.part != "score":
        keep_up(given.rate, given.seconds, given.users, given.models, given.every, not given.no_ids)
    if given.part != "keep-up":
        score()


if __name__ == "__main__":
    main()
