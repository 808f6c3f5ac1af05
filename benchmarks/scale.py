"""How long do long logs take, and in how much memory; and what do others make of the same votes?

    python benchmarks/scale.py long --folder /tmp/logs      # 100 million votes of a pair and of 4 models; 3 GB of files
    python benchmarks/scale.py growth --folder /tmp/logs    # one pair, 100 thousand to 100 million votes; models
    python benchmarks/scale.py peers --folder /tmp/logs     # 100 thousand votes: Earnest, NumPy, crowd-kit

Every figure is of a process of its own, from the file to a Parquet file of every user's attentiveness, imports left out
(half a second). The physical reference is DuckDB's bare `GROUP BY user, model_a, model_b, winner` of the same file in
the same run. Compiled programs come from the cache: each measure is taken twice, and the second one counts. `spearman`
is the rank correlation with the attentiveness that the users really have, `coverage` how often it lies inside the 90 %
interval. `warm` is a second fit of the same log in the process. crowd-kit is measured where it is installed (pip
install crowd-kit).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from resumable import keep
from scipy.stats import spearmanr
from vote_logs import ALPHA, BETA, CASUAL, TIES, make

LONG = ((100_000_000, 2), (100_000_000, 4))
GROWTH = (*((10**k, 2) for k in (5, 6, 7, 8)), *((1_000_000, models) for models in (4, 8)))
PEERS = ("warm", "earnest", "numpy", "exact", "DawidSkene", "GLAD", "MACE", "NoisyBradleyTerry")


def users_of(frame):
    """Number of each user, from the name."""
    return frame["user"].astype(str).str[5:].astype(int).to_numpy()


def bare(log):
    """DuckDB's own count of the file, and nothing else."""
    import duckdb

    with duckdb.connect() as connection:
        sql = f"SELECT \"user\", model_a, model_b, winner, count(*) FROM '{log.path}' GROUP BY ALL"
        connection.execute(f"CREATE TEMP TABLE counted AS {sql}")


def earnest(log):
    """From the file to the Parquet file of attentiveness; its table."""
    import earnest as er

    model = er.BehaviorModel(er.Beta(), er.BradleyTerry(ties=er.Davidson()), er.PositionBias())
    fit = er.fit_em(model, er.read_comparisons(str(log.path)))
    with tempfile.TemporaryDirectory() as folder:
        fit.attentiveness.to_parquet(Path(folder) / "attentiveness.parquet")
    return fit.attentiveness


def _table(log):
    """Votes of each user (user, ordered pair x outcome), and the users' names."""
    frame = pd.read_parquet(log.path)
    cell = frame["model_a"].astype(str) + "|" + frame["model_b"].astype(str) + "|" + frame["winner"].astype(str)
    return pd.crosstab(frame["user"], cell)


def _posterior_means(table, log_p, log_c, log_weight, eta):
    """Of every user, by Bayes' theorem on a grid."""
    m = np.exp(log_p)[:, None] * eta + np.exp(log_c)[:, None] * (1 - eta)
    joint = table.to_numpy() @ np.log(m) + log_weight
    weights = np.exp(joint - joint.max(1, keepdims=True))
    return weights, (weights @ eta) / weights.sum(1)


def _probabilities(table, log):
    """True log-probabilities of each column attended and not."""
    p, c = [], []
    for column in table.columns:
        left, right, winner = column.split("|")
        strength = np.exp([log.skill[int(left[6:])], log.skill[int(right[6:])]])
        each = np.array([*strength, TIES * np.sqrt(strength.prod())])
        place = ["model_a", "model_b", "tie"].index(winner)
        p.append(each[place] / each.sum())
        c.append(CASUAL[place])
    return np.log(p), np.log(c)


GRID = (np.arange(400) + 0.5) / 400


def exact(log):
    """Each user's posterior mean at the true parameters: nobody can know more."""
    table = _table(log)
    prior = (ALPHA - 1) * np.log(GRID) + (BETA - 1) * np.log1p(-GRID)
    _, mean = _posterior_means(table, *_probabilities(table, log), prior, GRID)
    return pd.DataFrame({"user": table.index, "mean": mean})


def numpy(log):
    """EM as it is written on a blackboard: free probabilities of every ordered pair, free weights on 50 nodes."""
    table = _table(log)
    counts = table.to_numpy()
    pair = pd.factorize(table.columns.str.rsplit("|", n=1).str[0])[0]
    outcome = pd.factorize(table.columns.str.rsplit("|", n=1).str[1])[0]
    total = counts.sum(0)
    p = total / np.bincount(pair, weights=total)[pair]
    p = 0.7 * p + 0.3 * (np.arange(len(p)) % 3 == 0)
    c, eta, weight, before = np.full(len(p), 1 / 3), (np.arange(50) + 0.5) / 50, np.full(50, 1 / 50), -np.inf
    p = np.maximum(p, 1e-6)
    for _ in range(500):
        weights, mean = _posterior_means(table, np.log(p), np.log(c), np.log(weight), eta)
        share = weights / weights.sum(1, keepdims=True)
        attended = p[:, None] * eta / (p[:, None] * eta + c[:, None] * (1 - eta))
        at_node = counts.T @ share
        yes = (at_node * attended).sum(1)
        p = yes / np.bincount(pair, weights=yes)[pair]
        no = total - yes
        c = np.bincount(outcome, weights=no)[outcome] / no.sum()
        weight = np.maximum(share.mean(0), 1e-12)
        if abs(mean.mean() - before) < 1e-7:
            break
        before = mean.mean()
    return pd.DataFrame({"user": table.index, "mean": mean})


def crowd(name):
    """A function that lets crowd-kit's method of this name rate the users."""

    def rate(log):
        import crowdkit.aggregation as methods

        frame = pd.read_parquet(log.path).astype(str)
        method = getattr(methods, name)()
        if name == "NoisyBradleyTerry":
            won = np.where(frame["winner"] == "model_b", frame["model_b"], frame["model_a"])
            told = pd.DataFrame({"worker": frame["user"], "left": frame["model_a"], "right": frame["model_b"],
                                 "label": won})  # fmt: skip
            rating = method.fit(told[frame["winner"] != "tie"].reset_index(drop=True)).skills_
        else:
            told = pd.DataFrame({"worker": frame["user"], "task": frame["model_a"] + "|" + frame["model_b"],
                                 "label": frame["winner"]})  # fmt: skip
            method.fit(told)
            if name == "GLAD":
                rating = method.alphas_
            elif name == "MACE":
                rating = pd.Series(method.spamming_[:, 1], sorted(told["worker"].unique()))
            else:
                errors = method.errors_
                right = {label: errors[label].xs(label, level="label") for label in errors.columns}
                rating = pd.DataFrame(right).mean(axis=1)
        return pd.DataFrame({"user": rating.index, "mean": rating.to_numpy()})

    return rate


DOES = {"bare": bare, "earnest": earnest, "warm": earnest, "numpy": numpy, "exact": exact}
DOES |= {name: crowd(name) for name in PEERS if name not in DOES}


def measured(what, votes, models, folder):
    """Seconds, peak memory and accuracy of one measure, in this process."""
    log = make(folder, votes, models)
    if what in ("earnest", "warm"):
        import earnest  # noqa: F401

        # What starts with the first fit of a process, or with the first of this size.
        DOES[what](make(folder, 20_000, models) if what == "earnest" else log)
    start = time.perf_counter()
    frame = DOES[what](log)
    line = {"what": what, "votes": votes, "models": models, "seconds": round(time.perf_counter() - start, 2),
            "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}  # fmt: skip
    if frame is not None:
        eta = log.eta[users_of(frame)]
        line["spearman"] = round(float(spearmanr(eta, frame["mean"])[0]), 4)
        if "lower" in frame:
            line["coverage"] = round(float(np.mean((eta >= frame["lower"]) & (eta <= frame["upper"]))), 4)
    return line


def apart(what, votes, models, folder):
    """The same in a process of its own; None where a package is missing."""
    words = [sys.executable, "-W", "ignore", __file__, "one", "--what", what, "--votes", str(votes), "--models",
             str(models), "--folder", str(folder)]  # fmt: skip
    cache = {"JAX_COMPILATION_CACHE_DIR": str(Path(folder).resolve() / "compiled")}  # as the command line has one
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**cache, **os.environ})
    if done.returncode:
        return {"what": what, "votes": votes, "models": models, "error": done.stderr.strip().splitlines()[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def run(part, folder, results):
    """All measures of a part, as a table."""
    cases = {"long": LONG, "growth": GROWTH, "peers": ((100_000, 2),)}[part]
    rows = []
    for votes, models in cases:
        make(folder, votes, models)
        for what in PEERS if part == "peers" else ("bare", "earnest"):
            apart(what, min(votes, 10**7), models, folder) if what == "earnest" else None  # fills the cache
            line = {"part": part, **apart(what, votes, models, folder), "load": round(os.getloadavg()[0], 1)}
            rows.append(keep(line, results))
            print(json.dumps(line), flush=True)
    table = pd.DataFrame(rows)
    if part != "peers":
        reference = table[table["what"] == "bare"].set_index(["votes", "models"])["seconds"]
        keys = pd.MultiIndex.from_frame(table[["votes", "models"]])
        table["times_bare"] = (table["seconds"] / reference.reindex(keys).to_numpy()).round(2)
    if part == "growth":
        for what in ("bare", "earnest"):
            pairs = table[(table["what"] == what) & (table["models"] == 2)]
            slope = np.polyfit(np.log(pairs["votes"].astype(float)), np.log(pairs["seconds"]), 1)[0]
            print(f"{what}: seconds grow as votes to the power {slope:.2f}")
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["long", "growth", "peers", "one"])
    parser.add_argument("--folder", type=Path, required=True, help="where the logs are kept")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--what", choices=list(DOES))
    parser.add_argument("--votes", type=int)
    parser.add_argument("--models", type=int)
    options = parser.parse_args()
    if options.part == "one":
        print(json.dumps(measured(options.what, options.votes, options.models, options.folder)))
        return
    print(run(options.part, options.folder, options.results).to_string(index=False))


if __name__ == "__main__":
    main()
