"""Does `compare_models` find the model that the votes came from?

    python benchmarks/model_choice.py --logs 10 --results model_choice.jsonl
    python benchmarks/model_choice.py --against-sampling 3 --results sampling.jsonl

One JSON line a log; a run that was stopped goes on where it ended. Without --results nothing is written.

Five variants, fixed before any result was seen; each differs from the first in one component:

davidson  Beta, BradleyTerry with Davidson's ties, PositionBias: the first.
rao       ties by RaoKupper.
coin      casual users flip a coin.
groups    users are casual or attentive, nothing between: Groups((0, 1)).
pairs     PairAdvantage: a probability for each pair of models, with no skills behind.

Every log has 300 users with 20 votes each on 4 models; skills are normal, centred and scaled to a standard deviation of
1.2, a pair's advantage is uniform between 0.1 and 0.9, anew for each log; alpha = beta = 1, groups 0.4 and 0.6,
tie_strength 0.5, tie_threshold 1.6, casual outcomes 0.45, 0.30, 0.25.
Judged: the variant that the votes came from is the best of the five, or within 2 standard errors of the best, in at
least 90 % of the logs. Reported beside it: how often it is the best, and how far the others are behind: where the votes
cannot tell two variants apart, neither can this.

Against sampling: the first logs of `davidson`, each variant by the fast road (EM, importance sampling) and by
`sample` with ArviZ's own loo; the largest difference of an ELPD difference, in standard errors of it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from resumable import keep, read

USERS, VOTES, MODELS, WITHIN = 300, 20, 4, 2.0
VARIANTS = ("davidson", "rao", "coin", "groups", "pairs")


def declare():
    """The five variants."""
    import earnest as er

    ties = er.Davidson()
    return {
        "davidson": er.BehaviorModel(preference=er.BradleyTerry(ties=ties)),
        "rao": er.BehaviorModel(preference=er.BradleyTerry(ties=er.RaoKupper())),
        "coin": er.BehaviorModel(preference=er.BradleyTerry(ties=ties), casual=er.CoinFlip()),
        "groups": er.BehaviorModel(er.Groups((0.0, 1.0)), er.BradleyTerry(ties=ties)),
        "pairs": er.BehaviorModel(preference=er.PairAdvantage(ties=ties)),
    }


def simulate(variant, seed):
    """A log from one variant."""
    rng = np.random.default_rng([seed, VARIANTS.index(variant)])
    skill = rng.normal(size=MODELS)
    known = {
        "skill": 1.2 * (skill - skill.mean()) / skill.std(ddof=1),
        "advantage": rng.uniform(0.1, 0.9, MODELS * (MODELS - 1) // 2),
        "attentiveness_alpha": 1.0, "attentiveness_beta": 1.0, "attentiveness_weight": [0.4, 0.6],
        "tie_strength": 0.5, "tie_threshold": 1.6, "casual_outcome": [0.45, 0.30, 0.25],
    }  # fmt: skip
    model = declare()[variant]
    truth = model.simulate(users=2, comparisons_per_user=1, models=MODELS, seed=0)
    parameters = {name: known[name] for name in truth.parameters}
    return model.simulate(USERS, VOTES, MODELS, seed=1000 * VARIANTS.index(variant) + seed, parameters=parameters).log


def one_log(variant, seed):
    """All five compared on one log."""
    import earnest as er
    from earnest.diagnostics.model_choice import compare_models

    log = simulate(variant, seed)
    clock = time.perf_counter()
    found = compare_models(declare(), log, seed=seed)
    return {
        "variant": variant, "seed": seed, "seconds": round(time.perf_counter() - clock, 1), "version": er.__version__,
        "table": found.table.to_dict("list"), "verdict": found.verdict,
    }  # fmt: skip


def against_sampling(seed):
    """Both roads on one log of `davidson`."""
    import arviz_stats

    import earnest as er
    from earnest.diagnostics.model_choice import compare_models

    log, models = simulate("davidson", seed), declare()
    fast = compare_models(models, log, seed=seed).table.set_index("model")
    pointwise = {}
    for name, model in models.items():
        trace = er.sample(model, log, draws=1000, tune=1000, chains=4, seed=seed, keep_users="none", predictive=0)
        pointwise[name] = arviz_stats.loo(trace, pointwise=True).elpd_i.to_numpy()
    best = fast.index[0]
    rows = {}
    for name in models:
        slow = pointwise[name] - pointwise[best]
        rows[name] = {
            "elpd_fast": float(fast.loc[name, "elpd"]), "elpd_sampled": float(pointwise[name].sum()),
            "diff_fast": float(fast.loc[name, "elpd_diff"]), "diff_sampled": float(slow.sum()),
            "dse": float(np.sqrt(len(slow) * slow.var())),
        }  # fmt: skip
    return {"seed": seed, "against": rows}


def report(lines):
    """The figures, as text."""
    judged = [line for line in lines if "table" in line]
    hits, best = 0, 0
    for variant in VARIANTS if judged else ():
        mine = [line for line in judged if line["variant"] == variant]
        near = []
        for line in mine:
            at = line["table"]["model"].index(variant)
            difference, error = line["table"]["elpd_diff"][at], line["table"]["dse"][at]
            near.append(-difference <= WITHIN * error)
            best += at == 0
        hits += sum(near)
        behind = {
            other: np.median([line["table"]["elpd_diff"][line["table"]["model"].index(other)] for line in mine])
            for other in VARIANTS
            if mine
        }
        told = ", ".join(f"{other} {value:.1f}" for other, value in behind.items())
        print(f"{variant:9s} {sum(near)} of {len(mine)} within {WITHIN:g} se; median nats to the best: {told}")
    if judged:
        how = [way for line in judged for way in line["table"]["how"]]
        print(
            f"the true variant within {WITHIN:g} standard errors of the best in {hits} of {len(judged)} logs "
            f"({hits / len(judged):.0%}; wanted 90 %); the best itself in {best}"
        )
        print(
            f"fast road in {how.count('importance sampling')} of {len(how)} fits; users with bad k: "
            f"{sum(sum(line['table']['k_bad']) for line in judged)}; "
            f"median {np.median([line['seconds'] for line in judged]):.0f} s a log"
        )
    for line in lines:
        for name, row in line.get("against", {}).items():
            gap = row["diff_fast"] - row["diff_sampled"]
            share = f"{abs(gap) / row['dse']:.3f} of its standard error" if row["dse"] > 0 else "the best"
            print(
                f"log {line['seed']} {name:9s} elpd {row['elpd_fast']:.2f} fast, {row['elpd_sampled']:.2f} sampled; "
                f"difference off by {gap:+.3f} nats, {share}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=0, help="logs of each variant")
    parser.add_argument("--against-sampling", type=int, default=0, help="logs on which both roads are gone")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="only logs of these")
    parser.add_argument("--results", type=Path, help="JSON lines, to go on where a run was stopped")
    given = parser.parse_args()
    lines = read(given.results)
    done = {(line.get("variant", "sampling"), line["seed"]) for line in lines}
    for seed in range(given.logs):
        for variant in given.variants:
            if (variant, seed) not in done:
                lines.append(keep(one_log(variant, seed), given.results))
    for seed in range(given.against_sampling):
        if ("sampling", seed) not in done:
            lines.append(keep(against_sampling(seed), given.results))
    report(lines)


if __name__ == "__main__":
    main()
