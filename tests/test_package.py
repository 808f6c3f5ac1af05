"""The package as installed: its documented examples run, its version is the one declared."""

import doctest
import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import version

import earnest

WINGS = ("comparisons", "models", "inference", "diagnostics")


def _modules(root):
    """Dotted names of every module of the library."""
    wings = [path for wing in WINGS for path in sorted((root / wing).glob("*.py"))]
    for path in [*sorted(root.glob("*.py")), *wings]:
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(("earnest", *(part for part in parts if part != "__init__")))


def test_every_doctest_runs(root):
    failed, names = {}, {"er": earnest, **{name: getattr(earnest, name) for name in earnest.__all__}}
    for name in _modules(root):
        result = doctest.testmod(
            importlib.import_module(name), extraglobs=names, optionflags=doctest.NORMALIZE_WHITESPACE
        )
        if result.failed:
            failed[name] = result.failed
    assert not failed


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
