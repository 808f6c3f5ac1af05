"""One log, however it comes: a file, a thousand, a data frame, ten updates, a store of counts that grows ten times."""

from collections import Counter

import jax
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import earnest as er
from earnest.comparisons.count_store import CountStore
from earnest.inference.refitting import Warmth, refit
from earnest.inference.watching import looks_of

MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
NAMES = ("user", "model_a", "model_b", "winner")


@pytest.fixture(scope="module")
def rows():
    """20,000 votes of 1,000 users, so shuffled that every batch has votes of nearly every user."""
    table = MODEL.simulate(users=1000, comparisons_per_user=20, models=4, seed=3).log.to_arrow().select(NAMES)
    return table.take(np.random.default_rng(3).permutation(table.num_rows))


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory):
    """The fit of one CSV file, written without the library."""
    path = tmp_path_factory.mktemp("whole") / "votes.csv"
    rows.to_pandas().to_csv(path, index=False)
    fit = er.fit_em(MODEL, er.read_comparisons(path))
    assert fit.converged
    return fit


def same(fit, whole):
    """Counts are identical, the objective to 1e-9 of it, attentiveness to 1e-6."""
    assert fit.converged
    _same_counts(fit.counts, whole.counts)
    assert fit.objective_trace[-1] == pytest.approx(whole.objective_trace[-1], rel=1e-9, abs=0)
    ours, theirs = fit.attentiveness, whole.attentiveness
    assert list(ours["user"]) == list(theirs["user"])
    assert list(ours["comparisons"]) == list(theirs["comparisons"])
    for name in ("mean", "sd", "lower", "upper"):
        assert np.abs(ours[name] - theirs[name]).max() < 1e-6, name


def _same_counts(ours, theirs):
    assert list(ours.users) == list(theirs.users)
    assert ours.cells.schema == theirs.cells.schema
    for name in ("user", "cell", "count"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name)), name
    for name in ("model_a", "model_b", "outcome"):
        assert np.array_equal(getattr(ours.cells, name), getattr(theirs.cells, name)), name


def test_the_counts_are_those_of_the_votes(rows, whole):
    counts, cells = whole.counts, whole.counts.cells
    outcomes = ("model_a", "model_b", "tie")
    ours = Counter()
    for user, cell, count in zip(counts.user, counts.cell, counts.count, strict=True):
        a, b = (cells.schema.models[int(side[cell])] for side in (cells.model_a, cells.model_b))
        ours[str(counts.users[user]), a, b, outcomes[int(cells.outcome[cell])]] += int(count)
    assert ours == Counter(tuple(row[name] for name in NAMES) for row in rows.to_pylist())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_thousand_files(rows, whole, kind, tmp_path):
    for k in range(1000):
        part = rows.slice(20 * k, 20)
        if kind == "csv":
            (tmp_path / f"{k}.csv").write_text(part.to_pandas().to_csv(index=False))
        else:
            pq.write_table(part, tmp_path / f"{k}.parquet")
    log = er.read_comparisons(tmp_path / f"*.{kind}")
    same(er.fit_em(MODEL, log), whole)


@pytest.mark.parametrize(
    "frame", [pa.Table.to_pandas, pl.from_arrow, lambda table: table], ids=["pandas", "polars", "arrow"]
)
def test_a_data_frame(rows, whole, frame):
    same(er.fit_em(MODEL, er.read_comparisons(frame(rows))), whole)


def test_ten_updates(rows, whole):
    fit = er.fit_em(MODEL, er.read_comparisons(rows.slice(0, 2000)))
    for k in range(1, 10):
        fit = fit.update(er.read_comparisons(rows.slice(2000 * k, 2000)))
    same(fit, whole)


def test_a_store_that_grows_ten_times(rows, whole, tmp_path):
    from earnest.comparisons.growing import Folder

    folder, warmth = tmp_path / "votes", None
    folder.mkdir()
    for k in range(10):
        part = rows.slice(2000 * k, 2000).to_pandas()
        part.to_csv(folder / "votes.csv", index=False, header=k == 0, mode="a")
        with CountStore(tmp_path / "votes.duckdb", looks_of(MODEL)) as store:  # opened anew each time
            files = Folder(folder, store.progress())
            while chunks := list(files.look(1 << 16)):
                store.take(chunks, "votes")
                files.accept(chunks)
            fit, warmth = refit(MODEL, store.log(), warmth)
            warmth = Warmth.from_json(warmth.to_json())
    same(fit, whole)


def test_intervals_are_about_the_mode_wherever_em_came_from(whole):
    """Of the density on the free scale: it falls in every direction from `centre`, by what `spread` says."""
    from earnest.inference.em import MarginalEM
    from earnest.inference.users import workload
    from earnest.models.namespace import NUMPY

    em = MarginalEM(whole.model, workload(whole.counts, whole.schema).problem, prior=True)
    with jax.enable_x64(True):

        def density(z):
            return em.objective(z) + float(whole.table.log_jacobian(NUMPY, z))

        top = density(whole.centre)
        variances, vectors = np.linalg.eigh(whole.spread)
        for variance, vector in zip(variances, vectors.T, strict=True):
            step = 0.05 * np.sqrt(variance) * vector  # a twentieth of a standard deviation
            falls = [top - density(whole.centre + sign * step) for sign in (1, -1)]
            assert np.allclose(falls, 0.05**2 / 2, rtol=0.1), falls
