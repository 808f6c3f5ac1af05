"""Help with examples that run, tables that fit a terminal of 80 columns, completion by the shell."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

import earnest as er
from earnest.cli import main
from earnest.console import table
from earnest.examples import EXAMPLES

SHORT = {"sample": ("--chains", "2", "--draws", "40", "--tune", "40")}  # what is to be seen needs no long chains


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the examples are run, one after the other."""
    return tmp_path_factory.mktemp("examples")


def _wide(output: str) -> list[str]:
    """Lines of tables that are too long; prose is wrapped by the terminal."""
    return [line for line in output.splitlines() if len(line) > 80 and re.search(r"\S {2,}\S", line)]


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_help_fits_and_has_examples(monkeypatch, earnest, verb):
    monkeypatch.setenv("COLUMNS", "80")
    said = earnest(verb, "--help").output
    assert "Example" in said
    assert all(len(line) <= 80 for line in said.splitlines())


def test_the_first_help_begins_with_doctor_and_cuts_no_sentence(monkeypatch, earnest):
    monkeypatch.setenv("COLUMNS", "80")
    said = earnest("--help").output
    verbs = said.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert verbs[0].split()[0] == "doctor"
    assert not any(line.endswith("...") for line in verbs)
    examples = said.split("Examples:\n")[1].splitlines()
    assert [shlex.split(line)[1] for line in examples] == ["doctor", "fit", "threshold", "export"]
    assert all(len(line) <= 80 for line in said.splitlines())


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_examples_run_as_they_stand_and_their_tables_fit(monkeypatch, earnest, place, verb):
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "80")
    if verb == "watch":  # the first example goes on for ever
        os.makedirs("votes", exist_ok=True)
        er.read_comparisons("votes.csv").write("votes/monday.jsonl")
    if verb == "import":
        talk = {
            f"conversation_{side}": [{"role": "user", "content": "?"}, {"role": "assistant", "content": side}]
            for side in "ab"
        }
        made = [
            {
                "question_id": f"q{i}",
                "model_a": "x",
                "model_b": "y",
                "judge": f"u{i % 4}",
                "winner": "tie",
                "anony": True,
                **talk,
            }
            for i in range(20)
        ]
        (place / "battles.json").write_text(json.dumps(made))
    for example in EXAMPLES[verb]:
        assert all(len(line) <= 78 for line in example.split("\n"))
        words = shlex.split(example.replace("\\\n", " "))
        assert words[:2] == ["earnest", verb]
        if verb == "watch" and "--once" not in words:
            words.append("--once")
        if verb == "simulate":
            words += ["--users", "60", "--comparisons", "12"]
        said = earnest(*words[1:], *SHORT.get(verb, ()))
        if "--json" not in words and "--csv" not in words:
            assert _wide(said.output) == []


def test_long_names_do_not_widen_the_tables(earnest, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    names = [f"a-provider/a-very-long-name-of-a-model-of-{k}0-billion-parameters-instruct-v{k}" for k in range(3)]
    log = model.simulate(users=40, comparisons_per_user=10, models=names, seed=3).log
    frame = log.to_arrow().to_pandas()
    frame["user"] = "somebody.with.a.long.name@an-institution.example:" + frame["user"]
    frame.to_csv("votes.csv", index=False)
    outputs = [earnest("doctor", "votes.csv").output, earnest("fit", "votes.csv", "--out", "fit").output]
    said = earnest("sample", "votes.csv", "--out", "posterior.nc", *SHORT["sample"]).output
    outputs += [said, earnest("compare", "fit", "posterior.nc").output, earnest("threshold", "fit").output]
    assert [line for output in outputs for line in _wide(output)] == []
    assert "skill a-provid" in outputs[1]
    assert "v2" in outputs[1]  # the end, by which the three are told apart


def test_a_table_is_narrowed_only_where_it_must_be():
    assert table(["name", "a header of words"], [["x", "1"]]) == "name  a header of words\nx                     1"
    wide = table(["name", "one header", "another header"], [["x" * 70, "1", "2"]])
    assert max(map(len, wide.splitlines())) == 80
    assert [line.split() for line in wide.splitlines()[:2]] == [["one", "another"], ["name", "header", "header"]]
    assert "…" in wide
    assert table(["name", "n"], []) == "name  n"


def _completed(words: str, position: int) -> str:
    environment = {**os.environ, "_EARNEST_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    command = [sys.executable, "-c", "from earnest.cli import main; main(prog_name='earnest')"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_the_shell_completes_verbs_options_and_files(root):
    assert "plain,doctor" in _completed("earnest do", 1)
    assert {"plain,--user", "plain,--model", "plain,--out"} <= set(_completed("earnest fit --", 2).split())
    assert _completed("earnest fit vo", 2) == "file,vo\n"
    assert _completed("earnest threshold fi", 2) == "file,fi\n"
    assert _completed("earnest fit votes.csv --model mo", 4) == "file,mo\n"
    assert _completed("earnest fit votes.csv --model su", 4) == "plain,suggested\nfile,su\n"
    assert _completed("earnest filter votes.csv --threshold re", 4) == "plain,recommended\n"
    assert "plain,share>=0.5" in _completed("earnest threshold fit --criterion ", 4)
    assert "plain,label" in _completed("earnest fit votes.csv --method ", 4)
    assert "_EARNEST_COMPLETE=bash_source earnest" in (root / "README.md").read_text()


def test_every_option_that_takes_a_file_completes_files():
    for verb, command in main.commands.items():
        for parameter in command.params:
            if re.match(r"(FILE|FOLDER|MODEL)", getattr(parameter, "metavar", None) or ""):
                assert parameter.type.name == "path", (verb, parameter.name)


def test_bash_takes_the_line_of_the_readme(root, tmp_path):
    [line] = re.findall(r'`(eval "\$\(_EARNEST_COMPLETE=bash_source earnest\)")`', (root / "README.md").read_text())
    (tmp_path / "earnest").write_text(f"#!{sys.executable}\nfrom earnest.cli import main\nmain(prog_name='earnest')\n")
    (tmp_path / "earnest").chmod(0o755)
    script = f"{line}\ncomplete -p earnest"
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert "earnest" in done.stdout
    assert done.returncode == 0, done.stderr
