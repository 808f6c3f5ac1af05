"""Killed at any moment, a verb leaves the whole old output or the whole new one, and the next run cleans up.

The moments are random with a fixed seed. A third lies anywhere in a run, a third in its last fifth, and a third falls
when a temporary file has just appeared, when a piece would be easiest to see.
"""

import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import earnest as er

VERBS = ("fit", "filter", "export")
NAMES = {"fit": "fit", "filter": "kept.parquet", "export": "preferences.jsonl"}


def _content(path):
    """What an output says, as a hash; of a fit, what loading it gives: the manifest and the arrays that it names."""
    if path.is_dir():
        fit = er.load(path)
        return hashlib.sha256((path / "fit.toml").read_bytes() + fit.attentiveness.to_csv().encode()).hexdigest()
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _command(verb, votes, fit, out):
    more = {
        "fit": [],
        "filter": ["--fit", str(fit), "--threshold", "0.4"],
        "export": ["--fit", str(fit)],
    }
    return [sys.executable, "-m", "earnest.cli", verb, str(votes), *more[verb], "--out", str(out)]


def _names(folder):
    """Every path under a folder; what vanishes while looking is left out."""
    return {os.path.join(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files)}


def _run_and_kill(command, folder, moment):
    """Start a verb and kill it at `moment`: seconds, or a delay in seconds after a new name appears in the folder.

    Returns:
        Whether it was killed, not finished before.
    """
    kind, seconds = moment
    before = _names(folder)
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if kind == "sight":
        while running.poll() is None and _names(folder) <= before:
            time.sleep(0.0005)
    try:
        running.wait(seconds)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGKILL)
        running.wait()
    return running.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def scene(tmp_path_factory, earnest, votes, fitted):
    """Of a verb: an old output (of other votes), the new one, and how long an uninterrupted run takes."""
    folder = tmp_path_factory.mktemp("scene")
    other = folder / "other.csv"
    earnest("simulate", "--out", other, "--texts", "--users", 25, "--comparisons", 9, "--models", 3, "--seed", 9)
    earnest("fit", other, "--out", folder / "other_fit")

    @functools.cache
    def of(verb):
        old, new = folder / f"old_{NAMES[verb]}", folder / f"new_{NAMES[verb]}"
        old_fit = folder / "other_fit"
        subprocess.run(_command(verb, other, old_fit, old), check=True, capture_output=True)
        subprocess.run(_command(verb, votes, fitted, new), check=True, capture_output=True)  # compiles
        started = time.perf_counter()
        subprocess.run(_command(verb, votes, fitted, new), check=True, capture_output=True)
        assert _content(old) != _content(new)
        return old, new, time.perf_counter() - started

    return of


def _moments(duration, rng):
    """Endless moments: when something new is seen, late in the run, anywhere in it, and so on in turn."""
    while True:
        yield "sight", rng.uniform(0, 0.01)
        yield "time", rng.uniform(0.8, 1.0) * duration
        yield "time", rng.uniform(0, 1) * duration


def _kill_many(scene, verb, count, seed, votes, fitted, tmp_path):
    old, new, duration = scene(verb)
    out = tmp_path / NAMES[verb]
    complete = {_content(old), _content(new)}
    command = _command(verb, votes, fitted, out)
    killed = 0
    for tried, moment in enumerate(_moments(duration, np.random.default_rng(seed)), start=1):
        if out.is_dir():
            shutil.rmtree(out)
        copy = shutil.copytree if old.is_dir() else shutil.copy
        copy(old, out)
        killed += _run_and_kill(command, tmp_path, moment)
        assert out.exists(), f"{verb} killed at {moment}: the output is gone"
        assert _content(out) in complete, f"{verb} killed at {moment}: the output is a piece"
        assert tried <= 5 * count, f"{verb} ends before it can be killed: {killed} of {count}"
        if killed == count:
            break
    subprocess.run(command, check=True, capture_output=True)
    assert _content(out) == _content(new)
    assert os.listdir(tmp_path) == [out.name], "what killed runs left was not cleaned up"
    if out.is_dir():
        assert sorted(os.listdir(out)) == sorted(os.listdir(new)), "what killed runs left was not cleaned up"


@pytest.mark.parametrize("verb", [pytest.param(v, marks=pytest.mark.long if v == "fit" else ()) for v in VERBS])
def test_two_kills(scene, verb, votes, fitted, tmp_path):
    _kill_many(scene, verb, 2, 0, votes, fitted, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(("verb", "count"), [("fit", 18), ("filter", 16), ("export", 16)])
def test_fifty_kills(scene, verb, count, votes, fitted, tmp_path):
    _kill_many(scene, verb, count, 1, votes, fitted, tmp_path)
