"""What the README shows is what happens."""

import re
import subprocess
import sys

import pytest

import earnest as er

from .docs.pages import python


@pytest.mark.parametrize("number", [0, 1, 2, 3], ids=["fit", "watch", "sample", "trust"])
def test_the_python_examples_run_as_they_stand(root, tmp_path, number):
    examples = python("README.md")
    assert len(examples) == 4
    example = examples[number].code
    assert len(example.strip().splitlines()) <= 15
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    model.simulate(users=300, comparisons_per_user=20, models=3, texts=True).log.write(tmp_path / "votes.csv")
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "preferences.jsonl").is_file() == (number == 0)
    assert (tmp_path / "attentiveness.parquet").is_file() == (number == 1)
    assert (tmp_path / "report" / "report.html").is_file() == (number == 3)


def test_every_command_it_names_exists(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z][a-z-]*)", text, re.MULTILINE)) <= targets
    from earnest.cli import main

    assert set(re.findall(r"(?:^    |`)earnest ([a-z]+)", text, re.MULTILINE)) <= set(main.commands)


def test_every_picture_and_file_it_points_to_is_there(root):
    text = (root / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    for link in links:
        assert link.startswith("http") or (root / link).exists(), link
