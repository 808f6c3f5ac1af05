"""Every variant against everything that a component must go through: one row a variant, one column a proof.

    python benchmarks/matrix.py --results variants.jsonl
    python benchmarks/matrix.py --results variants.jsonl --docs docs    # the same as a table

What the file lacks is measured first (hours; a run that was stopped goes on where it ended): recovery on 20 logs and
simulation-based calibration of 60 replications by NUTS as in `variants.py`, and the density of EM, NumPyro and PyMC
against NumPy's at two points. `--only` prints what is there, `--variant NAME` does these alone (several machines can
share the work: put their files together).

A row a component, and one for each setting that changes its parameters; combinations of several, and with ties, go
through the same in `tests/inference/test_variants.py`. Columns:

lines        of the component's class, without docstrings and blanks
recovery     share of parameters' 90 % intervals that hold the truth
calibration  largest excursion of a rank's ECDF, in units of its simultaneous band; the joint log-likelihood is ranked
engines      largest relative difference of the four densities
climbs       largest relative fall of EM's objective over all its steps
TOML, example: the declaration comes back from its text; its docstring has an example that is run
"""

from __future__ import annotations

import argparse
import os
import runpy
from pathlib import Path

import numpy as np
from resumable import keep, read
from variants import ROOT, calibrated, component_of, declare, lines_of, one

SEEDS, REPLICATIONS = 20, 60
_ITEMS = (
    "With items EM climbs a lower bound, whose intervals of skills and of the items' effects are too narrow, and that "
    "of the effects' scale it does not give; sampled, the scale's interval holds (docs/variants.md). Calibration is "
    "that of the sampled posterior."
)
_RECOVERY = (
    "Recovery: the Monte-Carlo error of a share is 0.02 to 0.03 (20 logs with 6 to 12 intervals each, taken for "
    "independent; 0.012 to 0.016 with items and with skills by category), and more where the intervals of a log stand "
    "and fall together. Shares of 0.81 to 0.83 (groups, reward gap, habit) lie below 0.90 by more than that: the "
    "intervals are EM's, from its normal approximation, and too narrow there on logs of this size (400 users with 15 "
    "votes each). Where the intervals matter, sample: the posterior is what the column of calibration is about."
)
COMBINED = (" with ties", "signed partisans", "drifting partisans", "everything")


def engines(model):
    """Largest relative difference between the log-densities of EM, NumPyro and PyMC and that of NumPy."""
    import jax
    import pytensor
    import pytensor.tensor as pt

    from earnest.inference.compiled import settle, values_at
    from earnest.models.namespace import NUMPY

    parity = runpy.run_path(str(ROOT / "tests" / "inference" / "test_bayes_parity.py"))
    ready = settle(model, model.simulate(9, [1, 2, 3, 5, 8, 13, 4, 2, 6], 3, seed=7).log)
    statement, rng = ready.statement("marginal"), np.random.default_rng(1)
    points = [ready.table.pack(ready.table.sample_prior(rng)) for _ in range(2)]
    free = pt.vector("free", shape=(ready.table.size,), dtype="float64")
    in_pymc = pytensor.function([free], parity["symbolic"](statement, free, False)[:1])
    with jax.enable_x64(True):
        plain = np.array([float(statement.log_density(NUMPY, values_at(ready.table, at))) for at in points])
        found = [np.ravel(parity["em"](ready, points, False)[0]),
                 np.ravel(parity["in_numpyro"](statement, points, False)[0]),
                 np.ravel([in_pymc(at)[0] for at in points])]  # fmt: skip
    return float(max(np.abs(value / plain - 1).max() for value in found))


def measured(name, model, lines, path, only):
    """Rows of recovery, of calibration and of engines."""
    recovery = [row for row in lines if row.get("variant") == name]
    calibration = [row for row in lines if row.get("calibrated") == name and row["replications"] >= REPLICATIONS]
    agreement = [row for row in lines if row.get("engines") == name]
    if not only:
        for seed in range(len(recovery), SEEDS):
            recovery.append(keep(one(name, model, seed), path))
        if not calibration:
            calibration.append(calibrated(name, model, REPLICATIONS, path))
        if not agreement:
            agreement.append(keep({"engines": name, "worst": engines(model)}, path))
    return recovery, calibration, agreement


def row_of(name, model, recovery, calibration, agreement):
    """The cells of one variant."""
    from earnest import BehaviorModel

    covered = [value for row in recovery for values in row["covered"].values() for value in np.ravel(values)]
    known = np.array([np.nan if value is None else value for value in covered], dtype=float)
    back = BehaviorModel.from_toml(model.to_toml()) == model
    return [
        name,
        str(lines_of(model)),
        f"{np.nanmean(known):.3f} ({len(recovery)} logs)" if len(known) else "-",
        f"{calibration[-1]['worst']:.2f} of its band" if calibration else "-",
        f"{agreement[-1]['worst']:.0e}" if agreement else "-",
        f"{abs(min(0.0, *(row['down'] for row in recovery))):.0e}" if recovery else "-",
        "yes" if back else "NO",
        "yes" if ">>>" in (component_of(model).__doc__ or "") else "NO",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--only", action="store_true", help="measure nothing, print what is there")
    parser.add_argument("--variant", action="append", help="only this row (may be given several times)")
    parser.add_argument("--docs", type=Path, help="folder for the table")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    head = ["variant", "lines", "recovery", "calibration", "engines", "climbs", "TOML", "example"]
    rows, lines = [], read(options.results)
    models = {name: model for name, model in declare().items() if not name.endswith(COMBINED)}
    models = {name: models[name] for name in options.variant or models}
    for name, model in models.items():
        rows.append(row_of(name, model, *measured(name, model, lines, options.results, options.only)))
        print(" | ".join(rows[-1]), flush=True)
    own = {component_of(model): lines_of(model) for model in models.values()}
    told = f"lines of {len(own)} components: median {np.median(list(own.values())):.0f}, most {max(own.values())}"
    print(told)
    if options.docs:
        options.docs.mkdir(parents=True, exist_ok=True)
        table = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
        columns = (__doc__ or "").partition("Columns:\n\n")[2].strip()
        command = "python benchmarks/matrix.py --results variants.jsonl --docs docs"
        text = ["# What every variant goes through", "", f"Made by `{command}`.", "", "```", columns, "```", "", *table,
                "", told + ".", "", _RECOVERY, "", _ITEMS]  # fmt: skip
        (options.docs / "matrix.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
