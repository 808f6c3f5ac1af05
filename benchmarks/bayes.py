"""How fast the posterior comes: two forms, two backends, many users, and whether `latent="auto"` chooses well.

    python benchmarks/bayes.py --part all --json bayes.json --figure bayes.png      # about an hour on two cores
    python benchmarks/bayes.py --part speed | users | choice | real | agreement

An effective draw is one of the slowest global: the smallest bulk effective sample size over all scalar parameters
(ArviZ). Seconds are those of the iterations, warm-up included, compilation not (it is printed beside them; a later run
of the command line finds programs compiled). Ratios compare figures of one run.

speed    1,000 users x 20 votes, 4 models (skills of sd 0.8), ties; both forms in both backends.
users    marginal form, NumPyro. One pair of models without ties: 1,000 and 100,000 users, where patterns hardly grow.
         4 models with ties: 1,000, 10,000 and 100,000 users, where nearly every user is a pattern of their own.
choice   six logs from 20 to 20,000 users, 5 to 500 votes, 2 to 59 models: both forms, and what auto chooses. Judged by
         seconds an effective draw: never more than 1.5 times the better form's. Part `calibrated` (not in `all`) is the
         same on the logs by which the constants of the choice were set.
real     the crowd's votes (EARNEST_SHARED): default model with Davidson's ties, 4 chains x 1,000.
agreement  three logs, four samplers (two forms, two backends): means and sds of all globals and users against those of
         NumPyro's marginal form; at most 6 Monte-Carlo standard errors apart. Part `crowd` (not in `all`) is the third
         log alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 1.5


def skills(n, sd=0.8):
    draw = np.random.default_rng(0).normal(size=n)
    return sd * (draw - draw.mean()) / draw.std(ddof=1)


def simulated(users, votes, models, ties=True, seed=1):
    """The default model and a log of it; attentiveness Beta(1, 1.5), a lean to the left."""
    import earnest as er

    model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson() if ties else None))
    truth = {"skill": skills(models), "attentiveness_alpha": 1.0, "attentiveness_beta": 1.5,
             "casual_outcome": [0.45, 0.30, 0.25] if ties else [0.6, 0.4]}  # fmt: skip
    if ties:
        truth["tie_strength"] = 0.5
    return model, model.simulate(users, votes, models, seed=seed, parameters=truth).log


def real():
    import earnest as er

    path = Path(os.environ.get("EARNEST_SHARED", ROOT.parent / "shared")) / "data" / "llmfao" / "votes.csv"
    if not path.is_file():
        sys.exit("the real log is not here: set EARNEST_SHARED to the folder that holds data/llmfao")
    log = er.read_comparisons(path, user="worker", model_a="left", model_b="right", winner="winner", item="id")
    return er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson())), log


def measure(label, model, log, fit=None, **options):
    """Sample; one line of figures, printed and returned."""
    import earnest as er
    from earnest.diagnostics.convergence import convergence

    start = time.perf_counter()
    tree = er.sample(model, log, fit=fit, predictive=0, **options)
    wall = time.perf_counter() - start
    checked = convergence(tree)
    seconds = json.loads(tree.attrs["seconds"])
    row = {
        "label": label, "backend": tree.attrs["backend"], "form": tree.attrs["form"], "ess": float(
            checked.table["ess_bulk"].min(skipna=False)), "rhat": checked.rhat, "divergences": checked.divergences,
        "compiling": seconds["compiling"], "sampling": seconds["sampling"], "wall": round(wall, 1),
        "steps": float(tree.sample_stats["n_steps"].mean()), "reason": tree.attrs["form_reason"],
        "draws": int(tree.posterior.sizes["chain"] * tree.posterior.sizes["draw"]),
    }  # fmt: skip
    row["ess_per_s"] = row["ess"] / row["sampling"]
    print(f"{label:<34}{row['backend']:<9}{row['form']:<10}{row['ess']:>8.0f}{row['sampling']:>9.1f}{row['ess_per_s']:>9.2f}"
          f"{row['compiling']:>9.1f}{row['wall']:>9.1f}{row['steps']:>7.0f}{row['rhat']:>7.3f}{row['divergences']:>5}",
          flush=True)  # fmt: skip
    return row


def header(title):
    print(f"\n{title}\n{'':<34}{'backend':<9}{'form':<10}{'ESS':>8}{'s':>9}{'ESS/s':>9}{'compile':>9}{'wall':>9}"
          f"{'steps':>7}{'R-hat':>7}{'div':>5}", flush=True)  # fmt: skip


def fitted(model, log):
    import earnest as er

    return er.fit_em(model, log)


def speed(quick):
    header("speed: 1,000 users x 20 votes, 4 models")
    model, log = simulated(1000, 20, 4)
    fit, rows = fitted(model, log), []
    for backend in ("numpyro", "pymc"):
        for latent in ("marginal", "explicit"):
            n = 1000 if latent == "marginal" else (300 if quick else 1000)
            rows.append(
                measure("", model, log, fit, backend=backend, latent=latent, draws=n, tune=n, keep_users="none")
            )
    by = {(row["backend"], row["form"]): row["ess_per_s"] for row in rows}
    reference = by["numpyro", "explicit"]
    for key, value in by.items():
        print(f"{' '.join(key):<20} {value / reference:>8.1f} times NumPyro explicit")
    print(
        f"marginal NumPyro >= 40 x explicit NumPyro: {'yes' if by['numpyro', 'marginal'] >= 40 * reference else 'NO'}"
    )
    return rows


def users(quick):
    header("users: marginal form, NumPyro, 4 chains x (1,000 + 1,000)")
    rows = []
    for models, ties, sizes in ((2, False, (1000, 100_000)), (4, True, (1000, 10_000, 100_000))):
        for n in sizes[: 2 if quick else 3]:
            model, log = simulated(n, 20, models, ties)
            row = measure(f"{models} models, {n:,} users", model, log, latent="marginal", keep_users="none")
            rows.append({**row, "models": models, "users": n, "patterns": len(model.count(log).patterns())})
            print(f"{'':<34}{rows[-1]['patterns']:,} patterns")
    pair = {row["users"]: row for row in rows if row["models"] == 2}
    ratio = pair[100_000]["wall"] / pair[1000]["wall"]
    print(f"one pair, 100,000 against 1,000 users: {ratio:.1f} times as long in all (at most 5), iterations "
          f"{pair[100_000]['sampling'] / pair[1000]['sampling']:.1f} times")  # fmt: skip
    four = [row for row in rows if row["models"] == 4]
    for few, many in pairwise(four):
        print(f"4 models, {many['users']:,} against {few['users']:,} users: {many['sampling'] / few['sampling']:.1f} "
              f"times the seconds, {many['patterns'] / few['patterns']:.1f} times the patterns")  # fmt: skip
    return rows


# Users, votes a user, models, draws and warm-up of the explicit form. Constants of inference/choice.py were set by the
# first list (and by the crowd's votes); the choice is judged by the other.
CALIBRATED = ((20, 500, 2, 1000), (25, 300, 3, 1000), (30, 50, 10, 1000), (40, 120, 15, 1000), (150, 60, 59, 500),
              (200, 50, 59, 500), (600, 30, 6, 500), (1000, 20, 4, 500), (80, 250, 40, 500), (60, 400, 59, 500),
              (20_000, 5, 4, 100))  # fmt: skip
CHOICE = ((30, 500, 2, 1000), (50, 100, 20, 1000), (400, 40, 8, 500), (60, 300, 30, 500), (100, 120, 59, 500),
          (20_000, 5, 3, 50))  # fmt: skip


def choice(quick, logs=CHOICE):
    header("choice: both forms on each log, NumPyro")
    rows, good = [], True
    for n, votes, models, length in logs[: 4 if quick else None]:
        model, log = simulated(n, votes, models)
        fit = fitted(model, log)
        from earnest.inference.choice import choose
        from earnest.inference.compiled import settle, values_at
        from earnest.inference.integration import SAMPLED
        from earnest.inference.starts import plan_starts

        settled = settle(model, log)  # as `sample` does
        tried = plan_starts(settled.table, fit, 4, np.random.default_rng([0, 1])).tried
        answer = choose(settled.statement("marginal", [values_at(settled.table, z) for z in tried], SAMPLED))
        chosen = answer.form
        pair = {}
        for latent in ("marginal", "explicit"):
            size = length if latent == "explicit" else 500
            label = f"{n:,} users x {votes}, {models} models"
            row = measure(label, model, log, fit, latent=latent, draws=size, tune=size, keep_users="none")
            pair[latent] = row
            rows.append({**row, "chosen": chosen})
        cost = {latent: 1 / row["ess_per_s"] for latent, row in pair.items()}
        excess = cost[chosen] / min(cost.values())
        good &= excess <= LIMIT
        print(f"{'':<34}auto chooses {chosen}: {excess:.2f} times the better form's seconds an effective draw "
              f"({'ok' if excess <= LIMIT else 'OUT'}); {answer.reason}")  # fmt: skip
    print(f"auto within {LIMIT} of the better form on every log: {'yes' if good else 'NO'}")
    return rows


def real_log(quick):
    header("real: the crowd's votes, 4 chains x (1,000 + 1,000)")
    model, log = real()
    row = measure("124 users, 59 models", model, log)
    print(f"{row['wall']:.0f} s in all (at most 300), {row['divergences']} divergences, R-hat {row['rhat']:.3f}, "
          f"least ESS {row['ess']:.0f} (at least 400)\n{row['reason']}")  # fmt: skip
    if quick:
        return [row]
    other = measure("the other form", model, log, latent={"marginal": "explicit", "explicit": "marginal"}[row["form"]])
    excess = other["ess_per_s"] / row["ess_per_s"]
    print(f"auto: {max(excess, 1.0):.2f} times the better form's seconds an effective draw (at most {LIMIT})")
    return [row, other]


def agreement(quick, only=""):
    """Posterior means and sds of all globals and users, each sampler against NumPyro's marginal form, in MCSE."""
    import arviz_stats

    import earnest as er

    small = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
    logs = {
        "60 users x 10, 3 models": (small, small.simulate(60, 10, 3, seed=4).log, 1000, 1000),
        "1,000 users x 20, 4 models": (*simulated(1000, 20, 4), 1000, 1000),
        "the crowd's votes": (*real(), 500, 1000),
    }
    rows = []
    for label, (model, log, marginal_draws, explicit_draws) in list(logs.items())[: 1 if quick else 3]:
        if only not in label:
            continue
        header(f"agreement: {label}")
        fit, trees = fitted(model, log), {}
        for backend in ("numpyro", "pymc"):
            for latent in ("marginal", "explicit"):
                n = marginal_draws if latent == "marginal" else explicit_draws
                trees[backend, latent] = er.sample(
                    model, log, fit=fit, backend=backend, latent=latent, draws=n, tune=n, seed=7, keep_users="draws",
                    predictive=0,
                )  # fmt: skip
                print(f"{backend} {latent}: {trees[backend, latent].attrs['seconds']}", flush=True)
        first = trees["numpyro", "marginal"].posterior
        for key, tree in list(trees.items())[1:]:
            worst = {}
            for name in first.data_vars:
                kind = "users" if name == "attentiveness" else "globals"
                for what, method in (("mean", "mean"), ("sd", "sd")):
                    a, b = first[name], tree.posterior[name]
                    error = np.hypot(*(np.asarray(arviz_stats.mcse(x, method=method)) for x in (a, b)))
                    gap = [
                        np.asarray(getattr(x, "mean" if what == "mean" else "std")(("chain", "draw"))) for x in (a, b)
                    ]
                    z = np.abs(gap[0] - gap[1]) / error
                    # np.maximum hands a NaN on, and a NaN is not below 6.
                    worst[f"{kind} {what}"] = float(np.maximum(worst.get(f"{kind} {what}", 0.0), np.max(z)))
            good = all(value < 6 for value in worst.values())
            rows.append({"log": label, "backend": key[0], "form": key[1], **worst})
            said = ", ".join(f"{k} {v:.1f}" for k, v in worst.items())
            print(f"{' '.join(key):<20} largest difference in MCSE: {said}  {'ok' if good else 'OUT'}", flush=True)
    return rows


def draw(out, path):
    """Effective draws a second, both forms and backends; auto's choice on the six logs."""
    os.environ.setdefault("MPLBACKEND", "agg")
    import matplotlib.pyplot as plt

    parts = [name for name in ("speed", "choice") if name in out]
    figure, axes = plt.subplots(1, len(parts), figsize=(5.5 * len(parts), 3.6), squeeze=False)
    for axis, part in zip(axes[0], parts, strict=True):
        rows = out[part]
        labels = [row["label"] or row["backend"] for row in rows][::2]
        place = np.arange(len(labels))
        for k, (form, colour) in enumerate((("marginal", "#0072B2"), ("explicit", "#E69F00"))):
            values = [row["ess_per_s"] for row in rows if row["form"] == form]
            axis.barh(place - 0.2 + 0.4 * k, values, 0.38, color=colour, label=form)
        axis.set_yticks(place, labels)
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_xlabel("effective draws a second (slowest global)")
        axis.set_title({"speed": "1,000 users x 20 votes, 4 models", "choice": "NumPyro, six logs"}[part])
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def calibrated(quick):
    """As `choice`, on the logs by which the constants were set."""
    return choice(quick, CALIBRATED)


def crowd(quick):
    """As `agreement`, on the crowd's votes only."""
    return agreement(False, "crowd")


PARTS = {"speed": speed, "users": users, "choice": choice, "real": real_log, "agreement": agreement,
         "calibrated": calibrated, "crowd": crowd}  # fmt: skip
_PIECES = ("calibrated", "crowd")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all")
    parser.add_argument("--quick", action="store_true", help="leave out what takes longest")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--figure", type=Path, help="draw speed and choice into this file")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    print(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())} on {os.cpu_count()} cores")
    out = {}
    for name in [part for part in PARTS if part not in _PIECES] if options.part == "all" else (options.part,):
        out[name] = PARTS[name](options.quick)
        if options.json:
            options.json.write_text(json.dumps(out, indent=1), encoding="utf-8")
    if options.figure and {"speed", "choice"} & set(out):
        draw(out, options.figure)


if __name__ == "__main__":
    main()
