"""Programs that JAX compiled for a verb are kept for the next process, where they may be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earnest.console import keep_compiled_programs

# What JAX compiled anew, and what it took from the cache, told by JAX itself when the process ends.
COUNTED = """
import atexit, sys
from earnest.cli import main
from earnest.console import keep_compiled_programs
keep_compiled_programs()
import jax
seen = {}
jax.monitoring.register_event_listener(lambda name, **_: seen.update({name: seen.get(name, 0) + 1}))
atexit.register(lambda: print("EVENTS", seen.get("/jax/compilation_cache/cache_hits", 0), seen.get("/jax/compilation_cache/cache_misses", 0)))
main()
"""


def _environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return {**kept, "JAX_PLATFORMS": "cpu", **more}


def _fit(votes, out, **environment):
    """Hits and misses of the cache in `earnest fit`, and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", COUNTED, "fit", str(votes), "--method", "label", "--out", str(out)],
        env=_environment(**environment), capture_output=True, text=True, check=True,
    )  # fmt: skip
    hits, misses = done.stdout.split("EVENTS")[1].split()
    return int(hits), int(misses), done.stderr


def test_a_second_process_takes_compiled_programs_from_the_cache(votes, tmp_path):
    folder = tmp_path / "cache" / "earnest" / "jax"
    hits, misses, _ = _fit(votes, tmp_path / "one", XDG_CACHE_HOME=str(tmp_path / "cache"))
    first = sorted(path.name for path in folder.glob("*-cache"))
    assert first
    assert misses >= len(first)
    hits, misses, _ = _fit(votes, tmp_path / "two", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert hits >= len(first)
    assert misses == 0
    assert sorted(path.name for path in folder.glob("*-cache")) == first
    for name in ("one", "two"):
        assert (tmp_path / name / "fit.toml").is_file()


@pytest.fixture
def without_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("JAX_")]:
        monkeypatch.delenv(name)


def test_a_place_that_cannot_be_had_is_left_alone(without_settings, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as on a disk that may only be read
    keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("name", "value"), [("JAX_COMPILATION_CACHE_DIR", "elsewhere"), ("JAX_ENABLE_COMPILATION_CACHE", "false")]
)
def test_a_setting_of_the_user_stands(without_settings, monkeypatch, tmp_path, name, value):
    """The second one turns it off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(name, value)
    keep_compiled_programs()
    assert {key: text for key, text in os.environ.items() if key.startswith("JAX_")} == {name: value}
    assert os.listdir(tmp_path) == []
