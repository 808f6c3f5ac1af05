"""A fit on disk: the same when read back; damage is named; nothing foreign is overwritten."""

import runpy
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import earnest as er

_logs = runpy.run_path(str(Path(__file__).with_name("logs.py")))
log_of, frame_of = _logs["log_of"], _logs["frame_of"]
MODEL = er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())


@pytest.fixture(scope="module")
def fits():
    """Fits of every kind: marginal and label, with and without priors, with awkward names."""
    log = MODEL.simulate(users=40, comparisons_per_user=12, models=3, seed=4).log
    frame = frame_of(log)
    odd = {"user_01": '=1+1,"x"', "user_02": "\u00e9\u4e2d\U0001f600", "user_03": " two\nlines ", "user_04": "007"}
    return {
        "marginal": er.fit_em(MODEL, log),
        "awkward names": er.fit_em(MODEL, log_of(frame.assign(user=frame["user"].replace(odd)))),
        "label": er.fit_em(MODEL, log, method="label", user_prior=(1.5, 1.25), level=0.8),
        "limit": er.fit_em(MODEL, log, method="label", max_iterations=1, seed=7),
    }


def assert_same(ours, theirs, where):
    if isinstance(ours, np.ndarray):
        assert ours.dtype.kind == theirs.dtype.kind, where
        np.testing.assert_array_equal(ours, theirs, err_msg=where)
    elif isinstance(ours, pd.DataFrame):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    elif isinstance(ours, dict):
        assert list(ours) == list(theirs), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, tuple) and ours and not isinstance(ours[0], str | float | int):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}[{i}]")
    elif type(ours).__name__ in ("Counts", "Cells", "Mode"):
        for field in fields(ours):
            assert_same(getattr(ours, field.name), getattr(theirs, field.name), f"{where}.{field.name}")
    else:
        assert ours == theirs or (ours != ours and theirs != theirs), f"{where}: {ours!r} {theirs!r}"


@pytest.mark.parametrize("kind", ["marginal", "awkward names", "label", "limit"])
def test_every_field_survives(fits, kind, tmp_path):
    fit = fits[kind]
    fit.save(tmp_path / "fit")
    again = er.load(tmp_path / "fit")
    for field in fields(fit):
        assert_same(getattr(fit, field.name), getattr(again, field.name), field.name)
    assert_same(fit.parameters, again.parameters, "parameters")
    assert_same(fit.standard_errors, again.standard_errors, "standard_errors")
    assert_same(fit.intervals(0.8), again.intervals(0.8), "intervals")


def test_a_loaded_fit_works_on(fits, tmp_path):
    fit = fits["marginal"]
    fit.save(tmp_path / "fit")
    again = er.load(str(tmp_path / "fit"))
    more = MODEL.simulate(users=5, comparisons_per_user=8, models=3, seed=8).log
    pd.testing.assert_frame_equal(fit.score(more), again.score(more))
    np.testing.assert_array_equal(fit.responsibilities(more), again.responsibilities(more))
    assert er.thresholds(again).recommend() == er.thresholds(fit).recommend()


def test_saving_twice_leaves_one_fit_and_no_litter(fits, tmp_path):
    folder = tmp_path / "fit"
    fits["marginal"].save(folder)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    fits["marginal"].save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    fits["label"].save(folder)
    assert er.load(folder).method == "label"
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".npz", ".toml"]


def arrays(folder):
    return next(iter(folder.glob("arrays-*.npz")))


def truncate(folder):
    arrays(folder).write_bytes(arrays(folder).read_bytes()[:-100])


def flip_a_bit(folder):
    data = bytearray(arrays(folder).read_bytes())
    data[len(data) // 2] ^= 1
    arrays(folder).write_bytes(bytes(data))


def edit(old, new):
    def change(folder):
        path = folder / "fit.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


DAMAGE = {
    "truncated arrays": (truncate, r"arrays-.*\.npz"),
    "one bit": (flip_a_bit, r"arrays-.*\.npz"),
    "no arrays": (lambda folder: arrays(folder).unlink(), r"fit\.toml.*arrays-"),
    "no manifest": (lambda folder: (folder / "fit.toml").unlink(), "no fit here"),
    "manifest cut short": (
        lambda folder: (folder / "fit.toml").write_text((folder / "fit.toml").read_text(encoding="utf-8")[:300] + '"'),
        r"fit\.toml",
    ),
    "manifest not text": (lambda folder: (folder / "fit.toml").write_bytes(b"\xff\xfe\x00"), r"fit\.toml"),
    "manifest empty": (lambda folder: (folder / "fit.toml").write_text(""), r"fit\.toml"),
    "newer format": (edit("format = 1\n", "format = 99\n"), r"fit\.toml.*99"),
    "a key is missing": (edit("status = ", "statuss = "), r"fit\.toml.*status"),
    "a number is a word": (edit("level = 0.9", 'level = "high"'), r"fit\.toml"),
    "models are a number": (edit("models = [", "models = 3\nx = ["), r"fit\.toml"),
    "unknown component": (edit("BradleyTerry", "BradleyTery"), r"fit\.toml.*BradleyTery"),
    "another model": (edit("PositionBias", "CoinFlip"), r"fit\.toml"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_an_error_that_names_the_file(fits, damage, tmp_path):
    folder = tmp_path / "fit"
    fits["marginal"].save(folder)
    harm, message = DAMAGE[damage]
    harm(folder)
    with pytest.raises(er.EarnestError, match=f"(?s){message}"):
        er.load(folder)


def test_nothing_foreign_is_overwritten(fits, tmp_path):
    fit = fits["marginal"]
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("precious")
    with pytest.raises(er.EarnestError, match="thesis.*chapter.tex"):
        fit.save(folder)
    assert [path.name for path in folder.iterdir()] == ["chapter.tex"]
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(er.EarnestError, match="file"):
        fit.save(path)
    assert path.read_text() == "precious"
    fit.save(tmp_path / "new" / "deep")
    shutil.copy(tmp_path / "file", tmp_path / "new" / "deep" / "notes.txt")
    with pytest.raises(er.EarnestError, match="notes.txt"):
        fit.save(tmp_path / "new" / "deep")


def test_arrays_of_somebody_else_survive(fits, tmp_path):
    folder = tmp_path / "fit"
    folder.mkdir()
    (folder / "arrays-of-mine.npz").write_bytes(b"precious")
    with suppress(er.EarnestError):
        fits["marginal"].save(folder)
    assert (folder / "arrays-of-mine.npz").read_bytes() == b"precious"
