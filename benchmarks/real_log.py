"""The crowd's votes on real responses: how long a fit takes, and whether attentiveness predicts agreement elsewhere.

    python benchmarks/real_log.py                    # both parts, a few minutes
    python benchmarks/real_log.py --part time
    python benchmarks/real_log.py --part split --splits 10 --replicates 99 --json split.json

The log lies beside the checkout (EARNEST_SHARED, default ../shared); it has about 4 votes on each of 2,139 pairs of
responses ("items"), every item always shown in the same order. Model: the default one with Davidson's ties.

Time: a fresh process without and with compiled programs from an earlier one on disk; in each the first fit of the
process and the second. Wall time depends on who else uses the machine, so processor time is printed beside it.

Split (fixed before any result was seen). Items are halved at random. On one half the model is fitted and users are
ranked by posterior mean attentiveness; on the other half, which the ranking has not seen, each user's agreement is
measured: over the user's votes on items with other voters, the mean share of the other voters who chose the same
outcome (first, second, tie). Statistic: mean agreement of the top third of users minus that of the bottom third, each
user counting once; users without a vote in either half are left out. Second statistic, "beyond style": from a user's
agreement is subtracted what it would be on average if the user's own votes in that half were dealt again at random over
the user's own items. It removes what comes from taste for an outcome alone (people who often say "tie" agree with each
other even if nobody reads), and is the harder one.

Interval: 90 % bootstrap over users of the measuring half, the ranking kept. The p-values are one-sided:

users alike      the measuring half's votes permuted between the voters of each item; the ranking is the other half's,
                 so it may stay as it is. Exchangeable if users do not differ at all; keeps how hard each item is.
style only       each user's votes in the measuring half permuted over the user's own items. Exchangeable if users do
                 not compare, however much they differ in what they like to click.
homogeneous      on the same users and items, votes simulated from the model fitted to the whole log with everybody at
                 the same (mean) attentiveness; fitted again and measured again, in full. First split only.

The homogeneous replicates also show why the halves are needed: fitted and measured on the same votes ("circular"),
identical users seem to differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PERMUTATIONS, RESAMPLES = 1999, 1999
COLUMNS = {"user": "worker", "model_a": "left", "model_b": "right", "winner": "winner", "item": "id"}


def votes_file():
    path = Path(os.environ.get("EARNEST_SHARED", ROOT.parent / "shared")) / "data" / "llmfao" / "votes.csv"
    if not path.is_file():
        sys.exit("the real log is not here: set EARNEST_SHARED to the folder that holds data/llmfao")
    return path


def declare():
    import earnest as er

    return er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.PositionBias())


# ---------------------------------------------------------------------------------------------- time


_TIMED = """
import json, sys, time
start = time.perf_counter(), time.process_time()
import earnest as er
model = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.PositionBias())
log = er.read_comparisons(sys.argv[1], user="worker", model_a="left", model_b="right", winner="winner", item="id")
marks = [("import and read", start)]
for name in ("first fit", "second fit"):
    marks.append((name, (time.perf_counter(), time.process_time())))
    fit = er.fit_em(model, log)
marks.append(("end", (time.perf_counter(), time.process_time())))
rows = {a[0]: [b[1][i] - a[1][i] for i in (0, 1)] for a, b in zip(marks, marks[1:])}
casual = [round(float(x), 3) for x in fit.parameters["casual_outcome"]]
modes = [[m.objective, m.rank_correlation, m.attentive_share, m.starts] for m in fit.modes]
print(json.dumps({"times": rows, "status": fit.status, "iterations": fit.iterations, "casual": casual, "modes": modes}))
"""


def timed(path):
    """Times of a fresh process with an empty and with a filled folder of compiled programs."""
    out = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        for name in ("nothing compiled", "compiled earlier"):
            done = subprocess.run(
                [sys.executable, "-c", _TIMED, str(path)], env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            out[name] = json.loads(done.stdout)
    return out


def print_times(result):
    print(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())} on {os.cpu_count()} cores")
    print(f"{'':<40}{'wall s':>8}{'processor s':>13}")
    for process, part in result.items():
        for what, (wall, cpu) in part["times"].items():
            print(f"{process + ', ' + what:<40}{wall:>8.1f}{cpu:>13.1f}")
    last = result["compiled earlier"]
    print(f"{last['status']} after {last['iterations']} iterations; casual outcomes {last['casual']}")
    for objective, correlation, share, starts in last["modes"]:
        print(f"  mode {objective:.1f} nats, rank correlation {correlation:+.2f}, mean attentiveness {share:.2f}, "
              f"{starts} starts")  # fmt: skip


# ---------------------------------------------------------------------------------------------- split


class Votes:
    """Votes as codes: user, item, outcome (0 first, 1 second, 2 tie), in the log's row order."""

    def __init__(self, path):
        import earnest as er

        log = er.read_comparisons(path, **COLUMNS)
        self.frame = log.to_arrow().to_pandas()[["user", "model_a", "model_b", "winner", "item"]].astype(str)
        self.users, self.user = np.unique(self.frame["user"], return_inverse=True)
        self.item = np.unique(self.frame["item"], return_inverse=True)[1]
        self.outcome = self.frame["winner"].map({"model_a": 0, "model_b": 1, "tie": 2}).to_numpy()
        self.n_items = int(self.item.max()) + 1

    def fit(self, rows, outcome=None):
        """The fit of some rows, if wanted with other outcomes."""
        import earnest as er

        frame = self.frame.iloc[rows]
        if outcome is not None:
            frame = frame.assign(winner=np.array(er.comparisons.schema.OUTCOMES)[outcome[rows]])
        return er.fit_em(declare(), er.read_comparisons(frame.reset_index(drop=True)))

    def attentiveness(self, fit):
        """Posterior mean of every user, NaN for those not in the fit."""
        return fit.attentiveness.set_index("user")["mean"].reindex(self.users).to_numpy(dtype=float)


def agreement(user, item, outcome, n_users, n_items):
    """(agreement, agreement beyond style) of each user over these votes; NaN where no vote has another voter."""
    tally = np.bincount(item * 3 + outcome, minlength=3 * n_items).reshape(n_items, 3)
    others = tally.sum(1)[item] - 1
    shared = others > 0
    user, item, outcome, others = user[shared], item[shared], outcome[shared], others[shared]
    own = np.eye(3)[outcome]
    among_others = (tally[item] - own) / others[:, None]  # outcome shares of the other voters, (vote, outcome)
    votes = np.bincount(user, minlength=n_users)

    def mean(values):
        with np.errstate(invalid="ignore"):
            return np.bincount(user, weights=values, minlength=n_users) / np.where(votes > 0, votes, np.nan)

    agreed = mean((among_others * own).sum(1))
    by_style = sum(mean(own[:, y]) * mean(among_others[:, y]) for y in range(3))
    return agreed, agreed - by_style


def contrast(ranking, value):
    """Mean of the top third of users minus mean of the bottom third, by `ranking`."""
    usable = np.flatnonzero(np.isfinite(ranking) & np.isfinite(value))
    order = usable[np.argsort(ranking[usable], kind="stable")]
    third = len(order) // 3
    return float(value[order[-third:]].mean() - value[order[:third]].mean())


def measure(votes, rows, ranking, outcome=None):
    """Both statistics on some rows."""
    outcome = votes.outcome if outcome is None else outcome
    parts = agreement(votes.user[rows], votes.item[rows], outcome[rows], len(votes.users), votes.n_items)
    return [contrast(ranking, part) for part in parts]


def shuffled_within(rng, groups, values):
    """Values permuted at random inside each group."""
    by_group = np.lexsort((np.arange(len(groups)), groups))
    random = np.lexsort((rng.random(len(groups)), groups))
    out = np.empty_like(values)
    out[by_group] = values[random]
    return out


def p_value(observed, null):
    return float((1 + np.sum(np.asarray(null) >= observed)) / (1 + len(null)))


def halves(votes, seed):
    """Rows of the fitting and of the measuring half."""
    chosen = np.random.default_rng(seed).permutation(votes.n_items) < votes.n_items // 2
    fitting = chosen[votes.item]
    return np.flatnonzero(fitting), np.flatnonzero(~fitting)


def one_split(votes, seed, permutations=PERMUTATIONS, resamples=RESAMPLES):
    """Statistics, interval and permutation p-values of one split."""
    fitting, measuring = halves(votes, seed)
    ranking = votes.attentiveness(votes.fit(fitting))
    observed = measure(votes, measuring, ranking)
    rng = np.random.default_rng(1000 + seed)
    user, item, outcome = (column[measuring] for column in (votes.user, votes.item, votes.outcome))
    size = len(votes.users), votes.n_items
    values = agreement(user, item, outcome, *size)
    null = {"users alike": [], "style only": []}
    for _ in range(permutations):
        for name, group in (("users alike", item), ("style only", user)):
            dealt = agreement(user, item, shuffled_within(rng, group, outcome), *size)
            null[name].append([contrast(ranking, part) for part in dealt])
    drawn = []
    for _ in range(resamples):
        sample = rng.integers(len(ranking), size=len(ranking))
        drawn.append([contrast(ranking[sample], part[sample]) for part in values])
    return {
        "seed": seed,
        "statistic": observed,
        "circular": measure(votes, fitting, ranking),
        "interval": np.quantile(drawn, [0.05, 0.95], axis=0).T.tolist(),
        "p": {name: [p_value(observed[k], np.array(draws)[:, k]) for k in (0, 1)] for name, draws in null.items()},
        "null": {n: [np.mean(d, axis=0).tolist(), np.std(d, axis=0).tolist()] for n, d in null.items()},
    }


def homogeneous(votes, seed, replicates, report=print):
    """Statistics of `replicates` simulated logs of identical users, fitted and measured like the real one."""
    from earnest.comparisons.cells import Cells
    from earnest.models import CellView

    whole = votes.fit(np.arange(len(votes.user)))
    share = float(np.average(whole.attentiveness["mean"], weights=whole.attentiveness["comparisons"]))
    position = {name: k for k, name in enumerate(whole.schema.models)}
    first, second = (votes.frame[name].map(position).to_numpy() for name in ("model_a", "model_b"))
    view = CellView.of(Cells(whole.schema, first, second, np.zeros(len(first), dtype=int), {}))
    fitting, measuring = halves(votes, seed)
    out = []
    for k in range(replicates):
        rng = np.random.default_rng([seed, 77, k])
        preferred = whole.model.preference.sample(rng, whole.parameters, view)
        clicked = whole.model.casual.sample(rng, whole.parameters, view)
        outcome = np.where(rng.random(len(first)) < share, preferred, clicked)
        ranking = votes.attentiveness(votes.fit(fitting, outcome))
        out.append([*measure(votes, measuring, ranking, outcome), *measure(votes, fitting, ranking, outcome)])
        if (k + 1) % 10 == 0:
            report(f"  {k + 1} of {replicates} homogeneous logs fitted", file=sys.stderr)
    return share, np.array(out)


def split(path, splits, replicates):
    votes = Votes(path)
    results = [one_split(votes, seed) for seed in range(splits)]
    names = ("agreement", "beyond style")
    print(f"\ntop third minus bottom third of users, {splits} random splits of the items")
    print(f"{'':<16}{'split 0':>8}  {'90 % interval':<18}{'mean':>7}{'least':>7}{'most':>7}"
          f"{'p, users alike':>16}{'p, style only':>15}   (split 0; largest of all)")  # fmt: skip
    for k, name in enumerate(names):
        all_of = np.array([r["statistic"][k] for r in results])
        low, high = results[0]["interval"][k]
        p = [f"{results[0]['p'][n][k]:.4f}; {max(r['p'][n][k] for r in results):.4f}" for n in results[0]["p"]]
        print(f"{name:<16}{all_of[0]:>8.3f}  {low:>6.3f} to {high:<8.3f}{all_of.mean():>7.3f}{all_of.min():>7.3f}"
              f"{all_of.max():>7.3f}{p[0]:>16}{p[1]:>15}")  # fmt: skip
    for name, null in results[0]["null"].items():
        print(f"split 0 under '{name}': agreement {null[0][0]:+.3f} (sd {null[1][0]:.3f}), "
              f"beyond style {null[0][1]:+.3f} (sd {null[1][1]:.3f})")  # fmt: skip
    circular = np.mean([r["circular"] for r in results], axis=0)
    print(f"circular (fitted and measured on the same votes), mean: {circular[0]:.3f}, {circular[1]:.3f}")
    out = {"splits": results}
    if replicates:
        share, null = homogeneous(votes, 0, replicates)
        print(f"\nhomogeneous users (everybody at {share:.2f}), {replicates} logs, split 0")
        for k, name in enumerate(names):
            p = p_value(results[0]["statistic"][k], null[:, k])
            print(f"{name:<16}{null[:, k].mean():>+8.3f} (sd {null[:, k].std():.3f}), p = {p:.4f}; "
                  f"circular {null[:, 2 + k].mean():+.3f} (sd {null[:, 2 + k].std():.3f})")  # fmt: skip
        out["homogeneous"] = {"attentiveness": share, "statistics": null.tolist()}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("time", "split", "all"), default="all")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--replicates", type=int, default=99, help="homogeneous logs")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    path, out, start = votes_file(), {}, time.perf_counter()
    if options.part in ("time", "all"):
        out["time"] = timed(path)
        print_times(out["time"])
    if options.part in ("split", "all"):
        out["split"] = split(path, options.splits, options.replicates)
    print(f"\n{time.perf_counter() - start:.0f} s in all")
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
