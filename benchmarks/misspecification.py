"""Which wrong model is harmless? Logs told by each of nine variants, read by each of them.

    python benchmarks/misspecification.py --logs 3 --results misspecification.jsonl
    python benchmarks/misspecification.py --logs 3 --results misspecification.jsonl --docs docs   # table and figure

One JSON line a log and model that told it; a run that was stopped goes on where it ended (`--only NAME` does the logs
of one variant, so that several machines can share the work: put their files together). Logs of 300 users x 30 votes on
4 models whose skills lie 0.8 apart; what makes a variant differ from the default is given below, everything else that
it does not share is drawn from its prior.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
from resumable import keep, read

USERS, VOTES, MODELS = 300, 30, 4
SKILL = (0.8 * np.array([1.5, 0.5, -0.5, -1.5])).tolist()
SHARED = {"skill": SKILL, "casual_outcome": [0.55, 0.45], "attentiveness_alpha": 1.2, "attentiveness_beta": 0.8}
DIFFERENT = {
    "default": {},
    "two groups": {"attentiveness_weight": [0.35, 0.65]},
    "coin flip": {},
    "signed": {"attentiveness_alpha": 4.0, "attentiveness_beta": 1.5},
    "tastes": {"skill": [SKILL, SKILL[::-1]], "taste_weight": [0.8, 0.2]},
    "partisans": {"partisan_share": 0.1, "favourite_weight": [0.1, 0.1, 0.1, 0.7]},
    "habit": {"habit_repeat": 0.6},
    "drift": {"attention_stay": [0.8, 0.8]},
    "sample attention": {"attention_slope": [1.0]},
}
_NOTE = (
    "Loss is the share of effective labels that the wrong model's best cut gives away against the right model's, by "
    "the true attentiveness; below 0 the wrong model's happened to do better. Effective labels count an attended vote "
    "whatever taste it follows. ± is the standard error over {logs} logs each: differences of one or two per cent are "
    "noise. [The variants](variants.md) say what may be concluded."
)


def declare():
    import earnest as er

    return {
        "default": er.BehaviorModel(),
        "two groups": er.BehaviorModel(er.Groups((0.05, 0.95))),
        "coin flip": er.BehaviorModel(casual=er.CoinFlip()),
        "signed": er.BehaviorModel(er.Signed()),
        "tastes": er.BehaviorModel(preference=er.TasteGroups(2)),
        "partisans": er.BehaviorModel(casual=er.Partisan()),
        "habit": er.BehaviorModel(casual=er.Habit()),
        "drift": er.BehaviorModel(attention=er.Drift()),
        "sample attention": er.BehaviorModel(attention=er.SampleAttention(("dwell_time",))),
    }


def one(models, name, number):
    """The runs of one log that one variant told."""
    import jax

    import earnest as er

    jax.clear_caches()
    table = models[name].table(models[name].simulate(2, 2, MODELS, columns=None).schema)
    known = {k: v for k, v in {**SHARED, **DIFFERENT[name]}.items() if k in {p.name for p in table.parameters}}
    start = time.perf_counter()
    found = er.sweep(
        models, parameters={name: known}, users=USERS, comparisons=VOTES, n_models=MODELS, logs=1, seed=100 + number,
        true=[name],
    )  # fmt: skip
    runs = found.runs.assign(log=number).to_dict("records")
    return {"true": name, "number": number, "runs": runs, "seconds": time.perf_counter() - start}


def written(found, folder):
    """Table and figure of the documentation."""
    from earnest import plots

    folder.mkdir(parents=True, exist_ok=True)
    axes = plots.misspecification(found)
    for drawn in plots.save_figure(axes.figure, folder / "misspecification"):
        if drawn.suffix == ".svg":
            drawn.unlink()  # the page shows the PNG
    names = ("told by", "fitted", "bias of mean attentiveness", "rank correlation", "loss of effective labels", "worst")
    rows = [f"| {' | '.join(names)} |", "|---|---|---:|---:|---:|---:|"]
    for row in found.table.itertuples():
        error = f" ± {row.loss_error:.1%}" if np.isfinite(row.loss_error) else ""
        rows.append(
            f"| {row.true} | {row.fitted} | {row.bias:+.3f} | {row.rank_correlation:.3f} | {row.loss:.1%}{error} | "
            f"{row.loss_worst:.1%} |"
        )
    fewest = int(found.table["logs"].min())
    logs = ("no", "one", "two", "three")[fewest] if fewest < 4 else str(fewest)
    (folder / "misspecification.md").write_text(
        "# Which wrong model is harmless?\n\nMade by `python benchmarks/misspecification.py --logs "
        f"{found.table['logs'].min()} --results misspecification.jsonl --docs docs`; its docstring says what the "
        "logs are.\n\n![Effective labels lost by each wrong model](misspecification.png)\n\n"
        f"{found.verdict}\n\n{_NOTE.format(logs=logs)}\n\n" + "\n".join(rows) + "\n",
        encoding="utf-8",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=3)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--only", choices=list(DIFFERENT))
    parser.add_argument("--docs", type=Path, help="folder for table and figure")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from earnest.diagnostics.sweep import Sweep

    models, lines = declare(), read(options.results)
    done = {(line["true"], line["number"]) for line in lines}
    for number in range(options.logs):
        for name in [options.only] if options.only else models:
            if (name, number) not in done:
                lines.append(keep(one(models, name, number), options.results))
    order = {name: place for place, name in enumerate(models)}
    runs = pd.DataFrame([run for line in sorted(lines, key=lambda line: order[line["true"]]) for run in line["runs"]])
    found = Sweep.of(runs)
    with pd.option_context("display.max_rows", None, "display.width", 160):
        print(found.table.round(3).to_string(index=False))
    print(found.verdict)
    if options.docs:
        written(found, options.docs)


if __name__ == "__main__":
    main()
