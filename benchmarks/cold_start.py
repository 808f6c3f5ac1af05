"""How long does a verb take to start, and what does the cache of compiled programs spare?

    python benchmarks/cold_start.py

`earnest --help`, then `earnest fit` of 10,000 votes with an empty cache and twice with what that one left. Wall time,
processor time, and the load of the machine beside them: other work on it makes the first longer, and not the second.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def _timed(words, **environment):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_") or name == "JAX_PLATFORMS"}
    subprocess.run(
        [sys.executable, "-m", "earnest.cli", *map(str, words)], env={**kept, **environment}, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _say(what, took):
    wall, cpu = took
    print(f"{what:40} {wall:6.2f} s, {cpu:6.2f} s of processor time; load {os.getloadavg()[0]:.1f}", flush=True)


def main():
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for _ in range(3):
            _say("earnest --help", _timed(["--help"]))
        size = ["--users", 500, "--comparisons", 20, "--models", 4, "--seed", 1]
        _timed(["simulate", "--out", folder / "votes.csv", *size])
        for what in ("with an empty cache", "again", "and again"):
            words = ["fit", folder / "votes.csv", "--out", folder / "fit"]
            _say(f"earnest fit of 10,000 votes, {what}", _timed(words, XDG_CACHE_HOME=str(folder / "cache")))
        kept = list((folder / "cache").rglob("*-cache"))
        print(f"{len(kept)} programs in the cache, {sum(path.stat().st_size for path in kept):,} bytes")


if __name__ == "__main__":
    main()
