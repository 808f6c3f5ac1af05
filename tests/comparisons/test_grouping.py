"""Counting by kinds of votes, packed into words and as lists, against pandas; fingerprints; a log that changes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

import earnest as er
from earnest.comparisons.counting import count_cells
from earnest.comparisons.grouping import _MOST, _PACKED, count_kinds
from earnest.comparisons.kinds import KINDS, VOTES

WORDS = np.array(["model_a", "model_b", "tie"])


def votes(models, n=3000, seed=0):
    """A log in which one user gave most of the votes, hundreds of them of one kind."""
    rng = np.random.default_rng(seed)
    left = rng.integers(models, size=n)
    right = (left + rng.integers(1, models, size=n)) % models
    user = np.where(rng.random(n) < 0.4, "busy", [f"user {i}" for i in rng.integers(60, size=n)])
    frame = pd.DataFrame({"user": user, "model_a": left, "model_b": right, "winner": WORDS[rng.integers(3, size=n)]})
    frame["model_a"] = frame["model_a"].map("m{:03d}".format)
    frame["model_b"] = frame["model_b"].map("m{:03d}".format)
    alike = pd.DataFrame([{"user": "busy", "model_a": "m000", "model_b": "m001", "winner": "tie"}] * (2 * _MOST + 3))
    return pd.concat([frame, alike], ignore_index=True).sample(frac=1, random_state=seed, ignore_index=True)


def table(counts):
    """{(user, model_a, model_b, winner): votes} of counts."""
    models, cells = np.array(counts.cells.schema.models), counts.cells
    keys = zip(counts.users[counts.user], models[cells.model_a[counts.cell]], models[cells.model_b[counts.cell]],
               WORDS[cells.outcome[counts.cell]], strict=True)  # fmt: skip
    return dict(zip(keys, counts.count.tolist(), strict=True))


@pytest.mark.parametrize("models", [2, 5, 25])
def test_counts_are_those_of_pandas(models):
    frame = votes(models)
    log = er.read_comparisons(frame)
    counts = count_cells(log, ties=True)
    expected = frame.groupby(["user", "model_a", "model_b", "winner"]).size()
    assert table(counts) == {key: float(n) for key, n in expected.items()}
    key = counts.user * len(counts.cells) + counts.cell
    assert np.all(np.diff(key) > 0)
    assert list(counts.users) == sorted(set(frame["user"]))
    kinds = count_kinds(log)
    assert (kinds.matrix is None) == (kinds.kinds > _PACKED) == (models == 25)
    if kinds.matrix is not None:  # the busy user is counted by rows, and is not in the matrix
        assert kinds.matrix[list(kinds.names.to_pylist()).index("busy")].sum() == 0 < kinds.rest[2].sum()


def test_kinds_that_are_one_cell_are_added_up():
    frame = votes(4)
    counts = count_cells(er.read_comparisons(frame), ties=True, symmetric=True)
    swapped = frame["model_a"] > frame["model_b"]
    turned = frame.copy()
    turned.loc[swapped, ["model_a", "model_b"]] = frame.loc[swapped, ["model_b", "model_a"]].to_numpy()
    other = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}
    turned.loc[swapped, "winner"] = frame.loc[swapped, "winner"].map(other)
    expected = turned.groupby(["user", "model_a", "model_b", "winner"]).size()
    assert table(counts) == {key: float(n) for key, n in expected.items()}


def test_words_and_order_do_not_matter_to_the_fingerprint_but_votes_do():
    frame = votes(3)
    here = er.read_comparisons(frame).fingerprint()
    words = {"model_a": "left", "model_b": "B", "tie": "both_bad"}
    said = frame.assign(winner=[words[w] if i % 2 else w for i, w in enumerate(frame["winner"])])
    counted = er.read_comparisons(said.sample(frac=1, random_state=1))
    count_cells(counted, ties=True)  # by the way
    assert counted.fingerprint() == er.read_comparisons(said).fingerprint() == here
    one = frame.copy()
    one.loc[7, "winner"] = "tie" if frame.loc[7, "winner"] != "tie" else "model_a"
    renamed = frame.assign(user=frame["user"].replace("user 7", "user 77"))
    models = frame.replace("m002", "m009")
    exchanged = frame.assign(user=frame["user"].replace({"user 1": "user 2", "user 2": "user 1"}))
    prints = [er.read_comparisons(other).fingerprint() for other in (one, renamed, models, exchanged, frame[:-1])]
    assert len({here, *prints}) == 6


@pytest.mark.parametrize("models", [3, 25])
def test_a_log_that_changes_between_the_passes(models):
    log = er.read_comparisons(votes(models))
    log.votes_by_kind()
    log.execute(f"UPDATE {KINDS} SET {VOTES} = {VOTES} + 1 WHERE kind = 2")
    with pytest.raises(er.InputError, match="has changed while it was counted"):
        count_cells(log, ties=True)


def test_users_whose_names_are_numbers_or_begin_with_a_space():
    frame = votes(2).assign(user=lambda f: f["user"].factorize()[0].astype(float))
    assert set(count_cells(er.read_comparisons(frame), ties=True).users) == {f"{i:.0f}" for i in frame["user"].unique()}
    spaced = votes(2).assign(user=lambda f: " " + f["user"])
    assert list(count_cells(er.read_comparisons(spaced), ties=True).users) == sorted(set(spaced["user"]))
    for blank in ("", "  ", "\u00a0"):
        with pytest.raises(er.InputError, match="the user is missing"):
            er.read_comparisons(spaced.assign(user=[blank, *spaced["user"][1:]]))


def test_names_that_earnest_needs_for_itself_are_refused():
    for name in ("__earnest_name", "__Earnest_n"):
        with pytest.raises(er.InputError, match="is reserved; rename the column"):
            er.read_comparisons(votes(2).assign(**{name: "x"}))


def test_several_threads_count_one_log():
    log = er.read_comparisons(votes(4))
    expected = table(count_cells(er.read_comparisons(votes(4)), ties=True))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: table(count_cells(log, ties=True)), range(8)))
    assert all(one == expected for one in found)
