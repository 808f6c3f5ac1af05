"""A mistake is one message and exit code 2: never a traceback, never something half-written."""

import os
import signal
import subprocess
import sys
import time

import pytest


def _refused(result, *words):
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


def test_a_missing_file_is_named(earnest, tmp_path):
    result = earnest("fit", tmp_path / "nothing.csv", "--out", tmp_path / "fit", code=2)
    _refused(result, "nothing.csv")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_column_is_named(earnest, votes, tmp_path):
    _refused(earnest("fit", votes, "--user", "usr", "--out", tmp_path / "fit", code=2), "'usr'", "'user'")


def test_a_missing_folder_for_the_output_is_said_before_the_work(earnest, votes, fitted, tmp_path):
    out = tmp_path / "none" / "out.parquet"
    _refused(earnest("fit", votes, "--out", out, code=2), "does not exist")
    _refused(earnest("filter", votes, "--fit", fitted, "--threshold", 0.5, "--out", out, code=2), "does not exist")
    _refused(earnest("export", votes, "--fit", fitted, "--out", out, code=2), "does not exist")
    _refused(earnest("demo", "--out", out, code=2), "does not exist")


def test_an_ending_without_a_format_is_refused(earnest, votes, fitted, tmp_path):
    for verb in (("filter", votes, "--fit", fitted, "--threshold", 0.5), ("export", votes, "--fit", fitted)):
        _refused(earnest(*verb, "--out", tmp_path / "out.docx", code=2), ".parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_fit_is_refused(earnest, votes, tmp_path):
    _refused(earnest("threshold", tmp_path, code=2), str(tmp_path))
    _refused(earnest("threshold", tmp_path / "none", code=2), "none")


@pytest.mark.parametrize("level", ["1.5", "-0.1", "nan", "high"])
def test_a_threshold_is_a_share(earnest, votes, fitted, tmp_path, level):
    arguments = ("filter", votes, "--fit", fitted, f"--threshold={level}", "--out", tmp_path / "kept.csv")
    _refused(earnest(*arguments, code=2), "from 0 to 1")


def test_a_model_file_that_is_none_is_refused(earnest, votes, tmp_path):
    for content in (b"\xff\xfe", b"preference = ", b"[preference]\ncomponent = 'BradlyTerry'\n"):
        (tmp_path / "model.toml").write_bytes(content)
        _refused(earnest("fit", votes, "--model", tmp_path / "model.toml", "--out", tmp_path / "fit", code=2))
    _refused(earnest("fit", votes, "--model", tmp_path / "no.toml", "--out", tmp_path / "fit", code=2), "no.toml")
    assert not (tmp_path / "fit").exists()


def test_an_outcome_word_needs_a_meaning(earnest, votes, tmp_path):
    for text in ("left", "left=first", "=tie"):
        _refused(earnest("fit", votes, "--outcome", text, "--out", tmp_path / "fit", code=2), "WORD=model_a")


def test_a_failure_leaves_the_old_output(earnest, votes, fitted, tmp_path):
    out = tmp_path / "kept.csv"
    out.write_text("old")
    earnest("filter", tmp_path / "none.csv", "--fit", fitted, "--threshold", 0.5, "--out", out, code=2)
    assert out.read_text() == "old"


def test_a_full_disk_is_a_message(votes, fitted):
    # /dev/full is a device: refused by name, and never replaced by a file
    arguments = ["export", str(votes), "--fit", str(fitted), "--out", "/dev/full"]
    done = subprocess.run(
        [sys.executable, "-m", "earnest.cli", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_traceback(fitted):
    command = f"{sys.executable} -m earnest.cli threshold {fitted} --csv | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("threshold,")
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_exit_130(votes, tmp_path):
    command = [sys.executable, "-m", "earnest.cli", "fit", str(votes), "--out", str(tmp_path / "fit")]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in running.stdout:
        if line.startswith("model:"):  # reading is done, fitting has begun
            break
    time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert os.listdir(tmp_path) == []
