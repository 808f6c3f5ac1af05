"""The package as installed: its documented examples run, its version is the one declared."""

import doctest
import importlib
import tomllib
from importlib.metadata import version

WINGS = ("comparisons", "models", "inference", "diagnostics")


def _modules(root):
    """Dotted names of every module of the library."""
    wings = [path for wing in WINGS for path in sorted((root / wing).glob("*.py"))]
    for path in [*sorted(root.glob("*.py")), *wings]:
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(("earnest", *(part for part in parts if part != "__init__")))


def test_every_doctest_runs(root):
    failed = {}
    for name in _modules(root):
        result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
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
