"""Whole files or none."""

import os
import subprocess
import sys

import pytest

from earnest.comparisons import EarnestError, atomic_file


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "out.csv.gz"
    with atomic_file(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".csv.gz")
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")

    def interrupted():
        with atomic_file(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_temporaries_of_killed_processes_are_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    stale = tmp_path / f".out.csv.{process.pid}.tmp.abc.csv"
    mine = tmp_path / f".out.csv.{os.getpid()}.tmp.abc.csv"
    other = tmp_path / f".other.csv.{process.pid}.tmp.abc.csv"
    for path in (stale, mine, other):
        path.touch()
    with atomic_file(tmp_path / "out.csv"):
        pass
    assert not stale.exists()
    assert mine.exists()
    assert other.exists()


def test_permissions_and_links_are_kept(tmp_path):
    target, link = tmp_path / "out.csv", tmp_path / "link.csv"
    target.touch(mode=0o640)
    link.symlink_to(target)
    with atomic_file(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    with atomic_file(tmp_path / "fresh.csv"):
        pass
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "fresh.csv").stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("name", ["none/out.csv", ".", "/dev/null"])
def test_places_that_cannot_be_written(name, tmp_path):
    with pytest.raises(EarnestError, match="cannot write"), atomic_file(tmp_path / name):
        pass


def test_long_names(tmp_path):
    with atomic_file(tmp_path / ("é" * 120 + ".parquet")) as temporary:
        temporary.write_text("new")
    assert len(list(tmp_path.iterdir())) == 1
