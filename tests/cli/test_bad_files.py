"""Every malformed log, through every verb that reads one: a located message, exit code 2, nothing half-written."""

import runpy
from pathlib import Path

import pytest

from earnest.wording import in_shell

_MODULE = runpy.run_path(str(Path(__file__).parents[1] / "comparisons" / "bad_files.py"))
CASES, write_case = _MODULE["CASES"], _MODULE["write_case"]


def _options(arguments):
    """Arguments of `read_comparisons` as words of the command line."""
    for name, value in arguments.items():
        if name == "outcomes":
            for word, meaning in value.items():
                yield from ("--outcome", f"{word}={meaning}")
        else:
            yield from (f"--{name.replace('_', '-')}", value)


def _snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("verb", ["fit", "filter", "export"])
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_malformed_log(case, verb, earnest, request, tmp_path):
    bad = tmp_path / "bad"
    bad.mkdir()
    path = write_case(bad, case)
    out = tmp_path / {"fit": "fit", "filter": "kept.csv", "export": "preferences.jsonl"}[verb]
    if verb != "fit":
        out.write_text("what was there before")
    more = () if verb == "fit" else ("--fit", request.getfixturevalue("fitted"))
    more += ("--threshold", "0.5") if verb == "filter" else ()
    before = _snapshot(tmp_path)
    result = earnest(verb, path, *_options(case[3]), *more, "--out", out, code=2)
    message = result.stderr.strip()
    assert message.startswith("earnest: ")
    assert in_shell(case[4]) in message
    assert "Traceback" not in result.output
    assert _snapshot(tmp_path) == before
