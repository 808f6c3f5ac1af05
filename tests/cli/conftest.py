"""A small log and its fit, made once by the command line itself."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from earnest.cli import main


def run(*words: object) -> Result:
    """Run a verb in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module", autouse=True)
def _whole_lines():
    """Prose is not broken into lines, so that tests find a message as it was written; test_wording.py has the lines."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "10000"
    yield
    os.environ.pop("COLUMNS")
    if before is not None:
        os.environ["COLUMNS"] = before


@pytest.fixture(scope="session")
def earnest():
    """Runs a verb; fails with its output unless the exit code is the expected one."""

    def checked(*words: object, code: int = 0) -> Result:
        result = run(*words)
        assert result.exit_code == code, f"exit code {result.exit_code}\n{result.output}\n{result.exc_info}"
        return result

    return checked


@pytest.fixture(scope="session")
def votes(tmp_path_factory, earnest) -> Path:
    """Votes of 40 users, 12 each, on 3 models, with texts."""
    path = tmp_path_factory.mktemp("votes") / "votes.csv"
    size = ("--users", 40, "--comparisons", 12, "--models", 3, "--seed", 4)
    earnest("simulate", "--out", path, "--texts", *size)
    return path


@pytest.fixture(scope="session")
def fitted(tmp_path_factory, earnest, votes) -> Path:
    """The fit of `votes`."""
    folder = tmp_path_factory.mktemp("fit") / "fit"
    earnest("fit", votes, "--out", folder)
    return folder
