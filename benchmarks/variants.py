"""Every variant of a component: how long it is, and whether its parameters are recovered.

    python benchmarks/variants.py --seeds 20 --results variants.jsonl
    python benchmarks/variants.py --calibrate 100 --results variants.jsonl      # simulation-based calibration

One JSON line a log; a run that was stopped goes on where it ended. Without --results nothing is written.

Logs of 400 users x 15 votes on 3 models; the attentiveness is Beta(1.5, 1) where the variant does not replace it, all
other parameters are drawn from their priors, anew for each log, skills at half their size: where one model wins nearly
always, normal intervals are too narrow (at full size those of skills held the truth in 67 to 82 %). Judged, by
variant: intervals of each parameter's entries together hold the truth in 75 % or more (of 20 logs at 90 %, fewer
happen once in 90 times), those of all parameters in 82 to 97 %, every fit ends `converged` or `boundary`, and no step
of EM goes down. Entries on their boundary have no interval; how many is told. Lines are those of the component's class
without docstrings and blanks.
"""

from __future__ import annotations

import argparse
import inspect
import io
import os
import runpy
import time
import tokenize
from pathlib import Path

import numpy as np
from resumable import keep, read

ROOT = Path(__file__).resolve().parents[1]
USERS, VOTES, MODELS = 400, 15, 3
FEWER = {"items": {"users": 24, "comparisons": 6}}  # of a calibration: 36 items


def declare():
    """The variants of the tests, and two that other tests go through."""
    import earnest as er

    own = {"groups": er.BehaviorModel(er.Groups(2)), "groups of known levels": er.BehaviorModel(er.Groups((0.1, 0.9)))}
    return own | runpy.run_path(str(ROOT / "tests" / "models" / "variants.py"))["MODELS"]


def component_of(model):
    """The class of the variant's component, the one that differs from the default model's."""
    from earnest import BehaviorModel

    usual = BehaviorModel().roles
    changed = [
        (type(part) is type(usual.get(role)), type(part))
        for role, part in model.roles.items()
        if part != usual.get(role)
    ]
    return min(changed, key=lambda change: change[0])[1]  # another class before other settings


def lines_of(model):
    """Lines of the variant's component, without docstrings and blanks."""
    source = inspect.getsource(component_of(model))
    kept, before = set(), None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        blank = token.type in (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
        starts = before is None or before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.NL)
        if not blank and not (token.type == tokenize.STRING and starts) and token.type != tokenize.ENDMARKER:
            kept.update(range(token.start[0], token.end[0] + 1))
        before = token.type
    return len(kept)


def one(name, model, seed):
    """A log, its fit, and which intervals hold the truth."""
    import jax

    import earnest as er

    jax.clear_caches()
    known = {"attentiveness_alpha": 1.5, "attentiveness_beta": 1.0} if type(model.attentiveness) is er.Beta else {}
    drawn = model.simulate(USERS, VOTES, MODELS, seed=1000 + seed, parameters=known).parameters
    if "skill" in drawn:
        known = {**known, "skill": 0.5 * drawn["skill"]}
    truth = model.simulate(USERS, VOTES, MODELS, seed=1000 + seed, parameters=known)
    start = time.perf_counter()
    fit = er.fit_em(model, truth.log)
    seconds = time.perf_counter() - start
    covered = {}
    for parameter, (low, high) in fit.intervals(0.9).items():
        at = np.ravel(model.canonical(truth.parameters)[parameter])
        known_ends = np.isfinite(np.ravel(low)) & np.isfinite(np.ravel(high))
        covered[parameter] = np.where(known_ends, (np.ravel(low) <= at) & (at <= np.ravel(high)), np.nan).tolist()
    trace = fit.objective_trace
    down = float((np.diff(trace) / (1 + np.abs(trace[1:]))).min(initial=0.0))
    return {"variant": name, "seed": seed, "status": fit.status, "covered": covered, "down": down, "seconds": seconds}


def told(name, model, rows):
    by_parameter = {
        parameter: np.array([row["covered"][parameter] for row in rows], dtype=float)
        for parameter in rows[0]["covered"]
    }
    shares = {parameter: float(np.nanmean(value)) if np.isfinite(value).any() else np.nan
              for parameter, value in by_parameter.items()}  # fmt: skip
    whole = float(np.nanmean(np.concatenate([value.ravel() for value in by_parameter.values()])))
    ended = all(row["status"] in ("converged", "boundary") for row in rows)
    missing = float(np.mean(~np.isfinite(np.concatenate([value.ravel() for value in by_parameter.values()]))))
    climbs = min(row["down"] for row in rows) > -1e-9
    good = 0.82 <= whole <= 0.97 and not min(shares.values()) < 0.75 and ended and climbs
    listed = ", ".join(f"{parameter} {share:.2f}" for parameter, share in shares.items())
    print(f"{name:<24} {lines_of(model):>3} lines, {len(rows)} logs: {whole:.3f} {'ok' if good else 'OUT'} ({listed}"
          f"{f'; {missing:.0%} without interval' if missing else ''}); "
          f"{np.median([row['seconds'] for row in rows]):.1f} s a fit", flush=True)  # fmt: skip


def calibrated(name, model, replications, path):
    """Simulation-based calibration by NUTS in NumPyro; the joint log-likelihood is ranked as well as parameters."""
    import jax

    import earnest as er

    jax.clear_caches()
    start = time.perf_counter()
    # As many users and votes as `calibrate` takes by default, unless these show too many items; parameters from their
    # priors.
    found = er.calibrate(model, replications=replications, **FEWER.get(name, {}))
    nearest = found.table["excursion"].max()
    told = {"good": found.good, "worst": float(nearest), "verdict": found.verdict}
    return keep(
        {"calibrated": name, "replications": replications, **told, "seconds": time.perf_counter() - start}, path
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--variant", action="append", help="only this one (may be given several times)")
    parser.add_argument("--calibrate", type=int, default=0, metavar="N", help="SBC of N replications instead")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    models = declare()
    for name in (options.variant or models) if options.calibrate else ():
        done = [row for row in read(options.results) if row.get("calibrated") == name]
        row = done[-1] if done else calibrated(name, models[name], options.calibrate, options.results)
        print(f"{name:<24} {'ok ' if row['good'] else 'OUT'} worst excursion {row['worst']:.2f} of its band, "
              f"{row['replications']} replications, {row['seconds']:.0f} s", flush=True)  # fmt: skip
    for name in () if options.calibrate else options.variant or models:
        rows = [row for row in read(options.results) if row.get("variant") == name]
        for seed in range(len(rows), options.seeds):
            rows.append(keep(one(name, models[name], seed), options.results))
        told(name, models[name], rows)


if __name__ == "__main__":
    main()
