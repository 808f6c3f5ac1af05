"""The package as installed: its documented examples run, its version is the one declared."""

import doctest
import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import earnest

WINGS = ("comparisons", "comparisons.exports", "models", "inference", "diagnostics")


def _modules(root):
    """Dotted names of every module of the library."""
    wings = [path for wing in WINGS for path in sorted((root / wing.replace(".", "/")).glob("*.py"))]
    for path in [*sorted(root.glob("*.py")), *wings]:
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(("earnest", *(part for part in parts if part != "__init__")))


ROOT = Path(__file__).resolve().parents[1]
# `weighted_dpo` is imported where TRL is: in the environment of `make test-alignment`.
MODULES = [name for name in _modules(ROOT) if name != "earnest.weighted_dpo"]


def _fits(name):
    """Whether a module's example fits a model, for ten seconds and more; two such examples are run each time."""
    source = (ROOT / name.removeprefix("earnest.").replace(".", "/")).with_suffix(".py")
    fits = source.is_file() and re.search(r">>> .*fit_em\(", source.read_text())
    return bool(fits) and not name.endswith((".signed", ".checks"))


@pytest.mark.parametrize("name", [pytest.param(m, marks=pytest.mark.long) if _fits(m) else m for m in MODULES])
def test_every_example_runs_as_it_stands(name):
    names = {"er": earnest, **{name: getattr(earnest, name) for name in earnest.__all__}}
    module = importlib.import_module(name)
    assert not doctest.testmod(module, extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE).failed


def test_the_installed_version_is_the_declared_one(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert version("earnest") == declared["version"]


def test_every_wing_is_packaged(root):
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(declared) == {"earnest", *(f"earnest.{wing}" for wing in WINGS)}
    assert (root / "py.typed").is_file()


def test_a_program_that_used_earnest_ends_in_silence():
    program = "import earnest as er; log = er.BehaviorModel().simulate(5, 4, 2).log; er.fit_em(er.BehaviorModel(), log)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
