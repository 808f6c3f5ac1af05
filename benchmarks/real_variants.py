"""Every variant that applies to the crowd's votes on real responses: which predicts users that it has not seen?

    python benchmarks/real_variants.py --folds 5 --results real_variants.jsonl

The log lies beside the checkout (EARNEST_SHARED, default ../shared); prompts are the categories, the length of a
response is its number of characters. Users are dealt into folds; a variant is fitted without a fold (from its estimates
on the whole log, which settle the mode) and its log-likelihood of each left-out user's votes is taken, attentiveness
integrated out, parameters at their estimates. The table holds each variant's sum over users against the default's, with
the standard error of the difference over users; the users' mean attentiveness; the rank correlation of users with the
default; seconds for the whole log. Effects of items are known as distributions, over which the log-likelihood of a
left-out user's votes is averaged: a lower bound of that variant's score. One JSON line a variant; a run that was
stopped goes on where it ended.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from resumable import keep, read
from scipy.stats import spearmanr

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = {"user": "worker", "model_a": "left", "model_b": "right", "winner": "winner", "item": "id",
           "category": "prompt"}  # fmt: skip


def votes():
    folder = Path(os.environ.get("EARNEST_SHARED", ROOT.parent / "shared")) / "data" / "llmfao"
    if not (folder / "votes.csv").is_file():
        sys.exit("the real log is not here: set EARNEST_SHARED to the folder that holds data/llmfao")
    frame = pd.read_csv(folder / "votes.csv", dtype={"worker": str})
    results = pd.read_json(folder / "results.jsonl", lines=True)
    length = results.assign(n=results["result"].str.len()).groupby(["model", "prompt"])["n"].first()
    first, second = (
        length.reindex(pd.MultiIndex.from_arrays([frame[f"model_{side}"], frame["prompt"]])).to_numpy() for side in "xy"
    )
    # `left` is what was shown on the left: which of the two that is, the names say.
    names = pd.read_json(folder / "models.jsonl", lines=True).set_index("id")["name"]
    turned = (frame["left"] != names.reindex(frame["model_x"]).to_numpy()).to_numpy()
    frame["length_difference"] = np.where(turned, second - first, first - second).astype(float)
    missing = int(frame["length_difference"].isna().sum())
    if missing:
        print(f"{missing} votes on responses without a text are left out")
    return frame[frame["length_difference"].notna()].assign(prompt=lambda f: f["prompt"].astype(str))


def declare():
    import earnest as er

    ties = er.Davidson()
    plain = er.BradleyTerry(ties=ties)
    return {
        "default": er.BehaviorModel(preference=plain),
        "Groups((0, 1))": er.BehaviorModel(er.Groups((0.0, 1.0)), plain),
        "Groups(3)": er.BehaviorModel(er.Groups(3), plain),
        "LogitNormal": er.BehaviorModel(er.LogitNormal(), plain),
        "Nonparametric(11)": er.BehaviorModel(er.Nonparametric(11), plain),
        "Signed": er.BehaviorModel(er.Signed(), plain),
        "RaoKupper": er.BehaviorModel(preference=er.BradleyTerry(ties=er.RaoKupper())),
        "Thurstone": er.BehaviorModel(preference=er.Thurstone(ties=ties)),
        "style (length)": er.BehaviorModel(preference=er.BradleyTerry(ties=ties, covariates=("length_difference",))),
        "CoinFlip": er.BehaviorModel(preference=plain, casual=er.CoinFlip()),
        "LengthBias": er.BehaviorModel(preference=plain, casual=er.LengthBias()),
        "PositionBias by prompt": er.BehaviorModel(preference=plain, casual=er.PositionBias(by_category=True)),
        "TasteGroups(2)": er.BehaviorModel(preference=er.TasteGroups(2, ties=ties)),
        "ItemEffect": er.BehaviorModel(preference=er.ItemEffect(plain)),
    }


def by_user(fit, log):
    """Log-likelihood of every user of a log, nats, {user: value}."""
    import jax

    from earnest.diagnostics.users_apart import _log_marginals
    from earnest.inference.arrays import JNP
    from earnest.inference.marginal import chances_of
    from earnest.inference.merge import usable_schema
    from earnest.inference.scoring import count_for
    from earnest.inference.users import workload

    with jax.enable_x64(True):
        counts, _ = count_for(fit, log)
        work = workload(counts, usable_schema(fit.schema, counts, False))
        values = fit.table.unpack(JNP, jax.numpy.asarray(fit.free))
        chances = chances_of(fit.model, values, work.problem.cells)
        found = work.layout.patterns(_log_marginals(fit.model, values, work.problem, chances))
        return dict(zip(work.counts.users, found[work.pattern_of_user].tolist(), strict=True))


def one(name, model, frame, folds):
    import jax

    import earnest as er

    jax.clear_caches()
    start = time.perf_counter()
    log = er.read_comparisons(frame, **COLUMNS)
    whole = er.fit_em(model, log)
    seconds = time.perf_counter() - start
    users = sorted(frame["worker"].unique())
    fold = dict(zip(np.random.default_rng(0).permutation(users), np.arange(len(users)) % folds, strict=True))
    score = {}
    for k in range(folds):
        out = frame["worker"].map(fold) == k
        known = {parameter.name: whole.parameters[parameter.name] for parameter in whole.table.parameters}
        fit = er.fit_em(model, er.read_comparisons(frame[~out], **COLUMNS), start=known)
        score |= by_user(fit, er.read_comparisons(frame[out], **COLUMNS))
    mean = dict(zip(whole.attentiveness["user"], whole.attentiveness["mean"].tolist(), strict=True))
    return {"variant": name, "seconds": seconds, "status": whole.status, "modes": len(whole.modes), "score": score,
            "mean": mean, "unknowns": int(whole.free.size)}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--variant", action="append", help="only this one and the default (may be given several times)")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    frame = votes()
    rows = {row["variant"]: row for row in read(options.results)}
    print(f"{'variant':<24} {'unknowns':>8} {'score':>9} {'to default':>10} {'s.e.':>6} {'mean m':>7} {'ranks':>6} "
          f"{'seconds':>8}")  # fmt: skip
    for name, model in declare().items():
        if options.variant and name not in ("default", *options.variant):
            continue
        if name not in rows:
            rows[name] = keep(one(name, model, frame, options.folds), options.results)
        row, default = rows[name], rows["default"]
        users = sorted(row["score"])
        gain = np.array([row["score"][user] - default["score"][user] for user in users])
        means = [[r["mean"][user] for user in users] for r in (row, default)]
        print(f"{name:<24} {row['unknowns']:>8} {sum(row['score'].values()):>9.1f} {gain.sum():>+10.1f} "
              f"{np.sqrt(len(gain)) * gain.std(ddof=1):>6.1f} {np.mean(means[0]):>7.2f} "
              f"{spearmanr(*means).statistic:>+6.2f} {row['seconds']:>8.0f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
