"""Do the intervals cover? Simulate, fit, and count how often the truth lies inside.

    python benchmarks/recovery.py --seeds 400 --workers 2 --results recovery.jsonl

One JSON line a seed; a run that was stopped goes on where it ended. Without --results nothing is written.

Every design has 1,000 users with 20 comparisons each, 4 models whose skills have a standard deviation of 0.8, and ties
(Davidson). What was fixed before any result was seen:

position  the default casual component, `PositionBias`, all true values fixed: alpha = 1, beta = 1.5,
          tie_strength = 0.5, casual outcomes 0.45, 0.30, 0.25; skills drawn once (seed 0), centred and scaled to
          sd 0.8. The main design.
coin      the same with `CoinFlip`: fewer unknowns, but ties then tell less of who attends.
drawn     true values drawn anew for each seed: skills Normal(0, 0.8) and centred, all others from the model's own
          priors. Some of these logs say next to nothing (hardly anybody attentive, skills all alike), so this is
          where a normal approximation must fail first. Coverage averaged over the prior is what a Bayesian interval
          promises.

Where the data say little of the level of attentiveness (`coin`, parts of `drawn`: only the ranking of users is well
known, the standard error of log beta is above about 0.5) the posterior of alpha, beta and the skills' scale is a curved
ridge whose mode is not where its mass is. Importance sampling of the exact posterior showed it on 17 logs of `coin`:
posterior means of alpha, beta and skills were within 0.3 standard errors of the truth on average, the mode 0.8 away.
No normal approximation covers there; full Bayes is for such logs.

Judged: 90 % intervals of each skill, alpha and beta (log scale; coverage does not depend on it), 3 binomial standard
errors with one trial a seed; users' 90 % intervals, 88 to 92 % on average over users and seeds. Reported beside it:
tie_strength, casual outcomes; bias and spread of z = (centre - truth) / standard error on the free scale, where 0 and
1 are right; users' coverage without the globals' uncertainty and by level of true attentiveness (an empirical-Bayes
interval promises the average over users only, not each level).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from math import sqrt
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from resumable import keep, read

LEVEL, USERS, COMPARISONS, MODELS = 0.9, 1000, 20, 4
DESIGNS = ("position", "coin", "drawn")
JUDGED = ("skill", "attentiveness_alpha", "attentiveness_beta")


def fixed_skills():
    """Drawn once with sd 0.8."""
    draw = np.random.default_rng(0).normal(size=MODELS)
    return 0.8 * (draw - draw.mean()) / draw.std(ddof=1)


def declare(design):
    """The model and the true values that the design fixes."""
    import earnest as er

    casual = er.CoinFlip() if design == "coin" else er.PositionBias()
    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=casual)
    if design == "drawn":
        return model, {}
    truth = {"attentiveness_alpha": 1.0, "attentiveness_beta": 1.5, "tie_strength": 0.5, "skill": fixed_skills()}
    if design == "position":
        truth["casual_outcome"] = np.array([0.45, 0.30, 0.25])
    return model, truth


def one_seed(design, seed):
    """Simulate and fit; everything that the table needs, as JSON can hold it."""
    import earnest as er

    model, truth = declare(design)
    if design == "drawn":
        skills = np.random.default_rng(10_000 + seed).normal(0, 0.8, MODELS)
        truth = {"skill": skills - skills.mean()}
    log = model.simulate(USERS, COMPARISONS, MODELS, seed=seed, parameters=truth)
    start = time.perf_counter(), time.process_time()
    fit = er.fit_em(model, log.log, level=LEVEL)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    intervals = fit.intervals(LEVEL)
    free_truth = fit.table.pack(log.parameters)
    out = {
        "design": design, "seed": seed, "status": fit.status, "modes": len(fit.modes),
        "iterations": fit.iterations, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
        "truth": {k: np.ravel(v).tolist() for k, v in log.parameters.items()},
        "estimate": {k: np.ravel(v).tolist() for k, v in fit.parameters.items()},
        "covered": {}, "z": {}, "free_sd": {},
    }  # fmt: skip
    for name, (low, high) in intervals.items():
        true = log.parameters[name]
        # An interval that could not be given covers nothing.
        out["covered"][name] = np.ravel((low <= true) & (true <= high)).tolist()
        where = fit.table.slices[name]
        sd = np.sqrt(np.diag(fit.covariance)[where])
        out["free_sd"][name] = sd.tolist()
        out["z"][name] = ((fit.centre[where] - free_truth[where]) / sd).tolist()
    error = fit.centre - free_truth
    usable = bool(np.all(np.isfinite(fit.covariance)))
    out["distance"] = float(error @ np.linalg.solve(fit.covariance, error)) if usable else None
    out["unknowns"] = int(fit.free.size)
    out.update(_users(fit, log))
    return out


def _users(fit, log):
    frame = fit.attentiveness.merge(log.attentiveness, on="user", validate="one_to_one")
    eta = frame["attentiveness"].to_numpy()
    inside = (frame["lower"] <= eta) & (eta <= frame["upper"])
    fifth = np.minimum((eta * 5).astype(int), 4)
    return {
        "users": float(inside.mean()),
        "users_below": float((eta < frame["lower"]).mean()),
        "users_plug_in": _plug_in(fit, eta),
        "users_by_fifth": [[int(inside[fifth == k].sum()), int((fifth == k).sum())] for k in range(5)],
        "width": float((frame["upper"] - frame["lower"]).mean()),
        "correlation": float(np.corrcoef(frame["mean"], eta)[0, 1]),
    }


def _plug_in(fit, eta):
    """Coverage of intervals that take the globals as known."""
    import jax

    from earnest.inference.scoring import estimate

    with jax.enable_x64(True):
        frame = estimate(fit, fit.counts, by_pair=False, draws=0)
    return float(((frame["lower"] <= eta) & (eta <= frame["upper"])).mean())


def verdict(lines):
    """Rows of (quantity, coverage, lower limit, upper limit, judged or not, note) for one design."""
    n = len(lines)
    slack = 3 * sqrt(LEVEL * (1 - LEVEL) / n)
    rows = []
    for name in lines[0]["covered"]:
        covered = np.array([line["covered"][name] for line in lines], dtype=float)
        z = np.array([line["z"][name] for line in lines], dtype=float)
        note = f"z: mean {np.nanmean(z):+.2f}, sd {np.nanstd(z):.2f}" if z.size else ""
        judged = name in JUDGED
        for i in range(covered.shape[1]):
            label = name if covered.shape[1] == 1 else f"{name}[{i}]"
            rows.append((label, covered[:, i].mean(), LEVEL - slack, LEVEL + slack, judged, note if i == 0 else ""))
        if covered.shape[1] > 1:
            rows.append((f"{name}, all", covered.mean(), LEVEL - slack, LEVEL + slack, judged, ""))
    users = np.array([line["users"] for line in lines])
    note = f"between seeds sd {users.std():.3f}; plug-in {np.mean([line['users_plug_in'] for line in lines]):.3f}"
    rows.append(("users", users.mean(), 0.88, 0.92, True, note))
    return rows


def report(design, lines, out=sys.stdout):
    """Print the table; True if everything that is judged lies within its limits."""
    say = lambda *parts: print(*parts, file=out)  # noqa: E731  # a short name for a long loop of prints
    statuses = {s: sum(line["status"] == s for line in lines) for s in sorted({line["status"] for line in lines})}
    say(f"\n{design}: {len(lines)} seeds, {USERS} users x {COMPARISONS}, {MODELS} models; status {statuses}")
    say(f"{'90 % interval of':<24}{'covers':>8}   {'limits':<16}{'':<6}")
    good = True
    for label, share, low, high, judged, note in verdict(lines):
        inside = low <= share <= high
        good &= inside or not judged
        mark = ("ok" if inside else "OUT") if judged else ("" if inside else "(out)")
        say(f"{label:<24}{share:>8.3f}   {low:.3f} to {high:.3f}  {mark:<6}{note}")
    fifths = np.array([line["users_by_fifth"] for line in lines]).sum(0)
    by_level = ", ".join(f"{hits / max(total, 1):.2f}" for hits, total in fifths)
    say(f"users' coverage by fifth of true attentiveness: {by_level}")
    distance = np.array([line["distance"] for line in lines if line["distance"] is not None])
    size = lines[0]["unknowns"]
    say(f"squared distance of the truth in standard errors: mean {distance.mean():.2f}, expected {size}")
    wall, cpu = (np.array([line[k] for line in lines]) for k in ("wall_s", "cpu_s"))
    say(f"a fit: median {np.median(wall):.1f} s, {np.median(cpu):.1f} s of processor time")
    return good


def run(design, seeds, workers=1, path=None):
    """Results of seeds 0 .. seeds - 1, those of an earlier run taken from the file."""
    done = {line["seed"]: line for line in read(path) if line["design"] == design and line["seed"] < seeds}
    missing = [seed for seed in range(seeds) if seed not in done]
    if workers <= 1:
        for seed in missing:
            done[seed] = keep(one_seed(design, seed), path)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(one_seed, design, seed) for seed in missing]):
                line = keep(future.result(), path)
                done[line["seed"]] = line
    return [done[seed] for seed in sorted(done)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=400)
    parser.add_argument("--design", choices=(*DESIGNS, "all"), default="all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--results", type=Path, help="JSON lines, one a seed; continued if it exists")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    designs = DESIGNS if options.design == "all" else (options.design,)
    good = [report(d, run(d, options.seeds, options.workers, options.results)) for d in designs]
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
