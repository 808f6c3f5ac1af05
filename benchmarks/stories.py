"""What each variant is for: the fault that it mends, what it mends of it, and what the default model makes of it.

    python benchmarks/stories.py --part all --seeds 20 --results stories.jsonl

Parts: attention, categories, adversaries, rigging, taste, style, items, drift. One JSON line a simulated log; a run
that was stopped goes on where it ended. Judged by part, as printed. Truth is known here and looked at by nothing but
the judgement.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import histories
import numpy as np
import pandas as pd
from resumable import keep, read
from scipy.stats import rankdata, spearmanr

NAMES = {"user": "user", "model_a": "model_a", "model_b": "model_b", "winner": "winner"}


def auc(score, label):
    """Probability that a labelled one scores higher than another."""
    rank, n = rankdata(score), int(np.sum(label))
    return float((rank[label].sum() - n * (n + 1) / 2) / (n * (len(label) - n)))


def worth(keep_, labels, eta):
    """Effective labels of keeping some users, by their true attentiveness."""
    total = labels[keep_].sum()
    return float((labels[keep_] @ eta[keep_]) ** 2 / max(total, 1))


def best_worth(mean, labels, eta):
    """Of the best cut of a ranking."""
    order = np.argsort(-mean)
    kept = np.cumsum(labels[order])
    return float((np.cumsum((labels * eta)[order]) ** 2 / kept).max())


def spaced(models, step):
    return step * (np.arange(models)[::-1] - (models - 1) / 2)


def held_out(fit, log):
    """Log-likelihood of users whom the fit never saw, by user, nats."""
    import jax

    from earnest.inference.em import MarginalEM
    from earnest.inference.users import workload

    with jax.enable_x64(True):
        problem = workload(fit.model.count(log, fit.schema), fit.schema).problem
        return MarginalEM(fit.model, problem, False).objective(fit.free) / len(log.users)


def attention(seed):
    """Dwell time tells which votes were attended: user-level against sample-level attentiveness."""
    import earnest as er

    own = er.BehaviorModel(attention=er.SampleAttention(("dwell_time",)))
    parameters = {"attentiveness_alpha": 1.5, "attentiveness_beta": 1.0, "skill": spaced(4, 0.7),
                  "casual_outcome": [0.55, 0.45], "attention_slope": [1.0]}  # fmt: skip
    train, test = (own.simulate(400, 25, 4, seed=[100, 900][k] + seed, parameters=parameters) for k in (0, 1))
    fits = {"sample": er.fit_em(own, train.log), "user": er.fit_em(er.BehaviorModel(), train.log)}
    score = {name: held_out(fit, test.log) for name, fit in fits.items()}
    area = {name: auc(fit.responsibilities(train.log), train.attended) for name, fit in fits.items()}
    (low,), (high,) = fits["sample"].intervals(0.9)["attention_slope"]
    return {"log_score_gain": score["sample"] - score["user"], "auc_gain": area["sample"] - area["user"],
            "auc": area["sample"], "covers": bool(low <= 1.0 <= high)}  # fmt: skip


def judge_attention(rows):
    gains = sum(row["log_score_gain"] > 0 and row["auc_gain"] > 0 for row in rows)
    return [
        (f"held-out log score and responsibility AUC both gain in {gains} of {len(rows)} logs (asked 19 of 20)",
         gains >= 0.95 * len(rows)),
        (f"the slope's 90 % interval covers in {np.mean([r['covers'] for r in rows]):.0%}",
         np.mean([r["covers"] for r in rows]) >= 0.75),
        (f"mean gain {np.mean([r['log_score_gain'] for r in rows]):.3f} nats a user, AUC "
         f"{np.mean([r['auc'] - r['auc_gain'] for r in rows]):.3f} to {np.mean([r['auc'] for r in rows]):.3f}", True),
    ]  # fmt: skip


def categories(seed):
    """Six categories, one of them with the skills reversed."""
    import earnest as er

    own = er.BehaviorModel(preference=er.BradleyTerry(by_category=True))
    skill = spaced(4, 0.7)
    deviation = np.zeros((6, 4))
    deviation[5] = -2 * skill
    names = np.array([f"category_{k}" for k in range(1, 7)])
    truth = own.simulate(
        600, 20, 4, seed=200 + seed, columns={"category": lambda rng, n: rng.choice(names, n)},
        parameters={"attentiveness_alpha": 0.8, "attentiveness_beta": 0.8, "skill": skill,
                    "skill_deviation": deviation, "casual_outcome": [0.5, 0.5]},
    )  # fmt: skip
    eta = truth.attentiveness["attentiveness"].to_numpy()
    labels = np.full(600, 20.0)
    pooled, plain = er.fit_em(own, truth.log), er.fit_em(er.BehaviorModel(), truth.log)
    oracle = replace(pooled, free=pooled.table.pack(truth.parameters)).score(truth.log)
    means = {
        "oracle": oracle["mean"],
        **{n: f.attentiveness["mean"] for n, f in (("pooled", pooled), ("plain", plain))},
    }
    best = {name: best_worth(mean.to_numpy(), labels, eta) for name, mean in means.items()}
    return {name: best[name] / best["oracle"] for name in ("pooled", "plain")}


def judge_categories(rows):
    pooled, plain = (np.array([row[name] for row in rows]) for name in ("pooled", "plain"))
    return [
        (f"skills by category keep {pooled.mean():.1%} of the oracle's effective labels, least {pooled.min():.1%} "
         "(asked 97 %)", pooled.mean() >= 0.97),
        (f"one set of skills keeps {plain.mean():.1%}, worse in {np.sum(plain < pooled)} of {len(rows)}",
         np.mean(plain < pooled) > 0.9),
    ]  # fmt: skip


def adversaries(seed):
    """Ten in a hundred users attend to four votes in five, to pick the worse."""
    import earnest as er

    class Mixed(er.Attentiveness):
        signed = True

        def sample(self, rng, values, size):
            return np.where(np.arange(size) % 10 == 0, -0.8, rng.beta(1.5, 1.0, size))

    # For simulation only: it has no density.
    told = er.BehaviorModel(Mixed(), er.BradleyTerry(), er.CoinFlip())
    truth = told.simulate(500, 40, 4, seed=300 + seed, parameters={"skill": spaced(4, 0.7)})
    against = truth.attentiveness["attentiveness"].to_numpy() < 0
    signed = er.fit_em(er.BehaviorModel(er.Signed()), truth.log)
    beta = er.fit_em(er.BehaviorModel(), truth.log)
    probability = signed.kinds()["contrary"].to_numpy()
    flagged = probability > 0.5
    low = beta.attentiveness["mean"].to_numpy()
    lowest = low <= np.quantile(low[~against], 0.05)  # the cut that flags as many of the others
    return {"found": float(flagged[against].mean()), "false": float(flagged[~against].mean()),
            "beta_found": float(lowest[against].mean()),
            "found_at_5": float((probability > np.quantile(probability[~against], 0.95))[against].mean())}  # fmt: skip


def judge_adversaries(rows):
    found, false, five, beta = (np.mean([row[name] for row in rows])
                                for name in ("found", "false", "found_at_5", "beta_found"))  # fmt: skip
    return [
        (f"Signed flags {found:.1%} of adversaries and {false:.1%} of the others where contrary is the likelier sign "
         "(asked 90 % and at most 5 %)", found >= 0.9 and false <= 0.05),
        (f"at 5 % of the others: Signed {five:.1%}, the lowest means under Beta, which calls none contrary, {beta:.1%}",
         True),
    ]  # fmt: skip


RIGGED, NAMED = (0.01, 0.05, 0.20), 0.9  # a user is named where a favourite is so probable


def rigging(seed):
    """Partisans of the weakest model vote for it and only where it is shown, 25 votes each."""
    import earnest as er

    share = RIGGED[seed % len(RIGGED)]
    rng = np.random.default_rng([400, seed])
    truth = er.BehaviorModel().simulate(
        1000, 20, 6, seed=400 + seed,
        parameters={"attentiveness_alpha": 2.0, "attentiveness_beta": 1.0, "skill": spaced(6, 0.4),
                    "casual_outcome": [0.55, 0.45]},
    )  # fmt: skip
    honest = truth.log.to_arrow().to_pandas()
    models = sorted(set(honest["model_a"]))
    target, others = models[-1], np.array(models[:-1])
    n = round(share / (1 - share) * len(honest) / 25)
    left = rng.random(25 * n) < 0.5
    other = rng.choice(others, 25 * n)
    rigged = pd.DataFrame({
        "user": np.repeat([f"partisan_{k}" for k in range(n)], 25), "model_a": np.where(left, target, other),
        "model_b": np.where(left, other, target), "winner": np.where(left, "model_a", "model_b"),
    })  # fmt: skip
    log = er.read_comparisons(pd.concat([honest, rigged], ignore_index=True), **NAMES)
    clean, default = (er.fit_em(er.BehaviorModel(), given) for given in (truth.log, log))
    partisan = er.fit_em(er.BehaviorModel(casual=er.Partisan()), log)
    kinds = partisan.kinds().set_index("user")
    named = kinds[f"for {target}"] > NAMED
    favourite = 1 - kinds["no favourite"]
    is_partisan = kinds.index.str.startswith("partisan_")

    def order(fit):
        return list(np.argsort(-fit.parameters["skill"]))

    where = len(models) - 1
    return {"share": share, "restored": order(partisan) == order(clean), "found": float(named[is_partisan].mean()),
            "false": float((favourite > NAMED)[~is_partisan].mean()),
            "false_half": float((favourite > 0.5)[~is_partisan].mean()),
            "default_rank": order(default).index(where) + 1,
            "default_kept": bool(order(default) == order(clean)),
            "default_shift": float(default.parameters["skill"][where] - clean.parameters["skill"][where]),
            "shift": float(partisan.parameters["skill"][where] - clean.parameters["skill"][where])}  # fmt: skip


def judge_rigging(rows):
    out = []
    for share in RIGGED:
        of = [row for row in rows if row["share"] == share]
        if of:
            mean = {name: np.mean([row[name] for row in of]) for name in of[0]}
            out.append((
                f"{share:.0%} rigged: order restored in {mean['restored']:.0%} (default {mean['default_kept']:.0%}, "
                f"target's skill off by {mean['shift']:+.2f} against {mean['default_shift']:+.2f}, ranked "
                f"{mean['default_rank']:.1f} of 6), {mean['found']:.1%} of partisans named, {mean['false']:.2%} false "
                f"alarms (asked 90 % and 1 %; {mean['false_half']:.2%} where a favourite is the likelier)",
                mean["restored"] == 1 and mean["found"] >= 0.9 and mean["false"] <= 0.01,
            ))  # fmt: skip
    return out


def taste(seed):
    """Four of five users share a taste, the others an opposite one on half of the models; three in ten do not care."""
    import earnest as er

    skill = np.array([1.5, 0.9, 0.3, -0.3, -0.9, -1.5])
    other = skill * np.array([-1, 1, -1, 1, 1, -1])
    own = er.BehaviorModel(er.Groups((0.0, 0.9)), er.TasteGroups(2))
    truth = own.simulate(
        500, 40, 6, seed=500 + seed,
        parameters={"skill": np.stack([skill, other - other.mean()]), "taste_weight": [0.8, 0.2],
                    "attentiveness_weight": [0.3, 0.7], "casual_outcome": [0.5, 0.5]},
    )  # fmt: skip
    minority = (truth.attentiveness["kind"] == "taste 2") & (truth.attentiveness["attentiveness"] > 0.5)
    out = {}
    for name, model in (("tastes", er.BehaviorModel(preference=er.TasteGroups(2))), ("default", er.BehaviorModel())):
        fit = er.fit_em(model, truth.log)
        cut = er.thresholds(fit, truth.log).recommend().threshold
        kept = fit.attentiveness["mean"].to_numpy() >= cut
        out[name] = float(kept[minority].mean())
        out[f"{name}_careless"] = float(kept[truth.attentiveness["attentiveness"] == 0].mean())
    return out


def judge_taste(rows):
    mean = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    return [
        (f"TasteGroups(2) keeps {mean['tastes']:.1%} of the attentive minority (asked 90 %) and "
         f"{mean['tastes_careless']:.1%} of those who do not care", mean["tastes"] >= 0.9),
        (f"the default model keeps {mean['default']:.1%} and {mean['default_careless']:.1%}", mean["default"] < 0.5),
    ]  # fmt: skip


def style(seed):
    """Better models write longer, and longer wins."""
    import earnest as er

    own = er.BehaviorModel(preference=er.BradleyTerry(covariates=("length_difference",)))
    skill = spaced(5, 0.5)
    settings = {"users": 600, "comparisons_per_user": 25, "models": 5, "seed": 600 + seed}
    parameters = {"attentiveness_alpha": 2.0, "attentiveness_beta": 1.0, "skill": skill,
                  "casual_outcome": [0.5, 0.5], "preference_slope": [0.5]}  # fmt: skip
    shown = own.simulate(**settings, parameters=parameters).log.to_arrow().to_pandas()
    rng = np.random.default_rng([600, seed])
    first, second = (shown[f"model_{side}"].str[-1].astype(int).to_numpy() - 1 for side in "ab")
    length = 200 * (skill[first] - skill[second]) + 150 * rng.standard_normal(len(shown))
    truth = own.simulate(**settings, parameters=parameters, columns={"length_difference": length})
    told, plain = er.fit_em(own, truth.log), er.fit_em(er.BehaviorModel(), truth.log)
    low, high = told.intervals(0.9)["preference_slope"]
    lows, highs = told.intervals(0.9)["skill"]
    spread = {name: float(fit.parameters["skill"][0] - fit.parameters["skill"][-1] - (skill[0] - skill[-1]))
              for name, fit in (("told", told), ("plain", plain))}  # fmt: skip
    return {"covers": bool(low[0] <= 0.5 <= high[0]), "skills": float(np.mean((lows <= skill) & (skill <= highs))),
            "bias": spread["told"], "plain_bias": spread["plain"]}  # fmt: skip


def judge_style(rows):
    mean = {name: np.mean([row[name] for row in rows]) for name in rows[0]}
    return [
        (f"the slope's 90 % interval covers in {mean['covers']:.0%}, those of skills in {mean['skills']:.0%}",
         mean["covers"] >= 0.75 and mean["skills"] >= 0.75),
        (f"best less worst skill (true 2.0) is off by {mean['bias']:+.2f}, without the covariate by "
         f"{mean['plain_bias']:+.2f}", abs(mean["bias"]) < abs(mean["plain_bias"])),
    ]  # fmt: skip


ITEM_SCALES = (1e-6, 0.5, 1.5)


def items(seed):
    """Four users judge each pair of responses, whose merits differ from their models' (or, at the least scale, not)."""
    import earnest as er

    own, scale = er.BehaviorModel(preference=er.ItemEffect()), ITEM_SCALES[seed % len(ITEM_SCALES)]
    truth = own.simulate(
        100, 20, 4, seed=700 + seed,
        parameters={"attentiveness_alpha": 1.2, "attentiveness_beta": 0.8, "skill": spaced(4, 0.7),
                    "casual_outcome": [0.5, 0.5], "item_scale": scale},
    )  # fmt: skip
    eta = truth.attentiveness["attentiveness"].to_numpy()
    with_, without = er.fit_em(own, truth.log), er.fit_em(er.BehaviorModel(), truth.log)
    trace = er.sample(own, truth.log, latent="marginal", chains=2, draws=400, tune=400, fit=with_, predictive=0)
    drawn = trace.posterior["item_scale"].to_numpy().ravel()
    means = {"em": with_.attentiveness["mean"], "plain": without.attentiveness["mean"],
             "mcmc": trace.posterior["attentiveness"].mean(("chain", "draw")).to_numpy()}  # fmt: skip
    steps = np.diff(with_.objective_trace) / (1 + np.abs(with_.objective_trace[1:]))
    return {"scale": scale, "em_scale": float(with_.parameters["item_scale"]),
            "boundary": str(with_.parameter_status["item_scale"]) == "boundary",
            "mcmc_scale": float(drawn.mean()), "mcmc_low": float(np.quantile(drawn, 0.05)),
            "mcmc_high": float(np.quantile(drawn, 0.95)), "steepest_fall": float(steps.min(initial=0.0)),
            "status": with_.status, **{f"rank_{name}": float(spearmanr(mean, eta)[0]) for name, mean in means.items()},
            **{f"mean_{name}": float(np.mean(mean) - eta.mean()) for name, mean in means.items()}}  # fmt: skip


def judge_items(rows):
    out = [(f"the bound never fell by more than 1e-9 of itself in {len(rows)} runs (worst "
            f"{min(row['steepest_fall'] for row in rows):.1e})",
            min(row["steepest_fall"] for row in rows) > -1e-9)]  # fmt: skip
    for scale in ITEM_SCALES:
        of = [row for row in rows if row["scale"] == scale]
        if not of:
            continue
        lost = {name: max(row["rank_plain"] - row[f"rank_{name}"] for row in of) for name in ("em", "mcmc")}
        mean = {name: np.mean([row[name] for row in of]) for name in of[0] if name != "status"}
        covers = np.mean([row["mcmc_low"] <= max(scale, 0.25) and scale <= row["mcmc_high"] for row in of])
        what = "reaches below 0.25" if scale < 0.25 else "covers"
        out += [
            (f"scale {scale:g}: MCMC's 90 % interval {what} in {covers:.0%} of {len(of)} logs (mean "
             f"{mean['mcmc_scale']:.2f}); EM, which gives none: {mean['em_scale']:.2f}, on its boundary in "
             f"{mean['boundary']:.0%}", covers >= 0.75),
            (f"scale {scale:g}: users' ranking {mean['rank_em']:.3f} (EM), {mean['rank_mcmc']:.3f} (MCMC), without "
             f"effects {mean['rank_plain']:.3f}; most lost in a log {lost['em']:+.3f} (EM), {lost['mcmc']:+.3f} (MCMC)",
             lost["em"] <= 0.01),
            (f"scale {scale:g}: mean attentiveness off by {mean['mean_em']:+.3f} (EM), {mean['mean_mcmc']:+.3f} "
             f"(MCMC), {mean['mean_plain']:+.3f} (without effects)", True),
        ]  # fmt: skip
    return out


PARTS = {
    part.__name__: part for part in (attention, categories, adversaries, rigging, taste, style, items, histories.drift)
}
JUDGES = {name: {**globals(), **vars(histories)}[f"judge_{name}"] for name in PARTS}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", *PARTS], default="all")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--results", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    for name in PARTS if options.part == "all" else [options.part]:
        rows = [row for row in read(options.results) if row["part"] == name]
        for seed in range(len(rows), options.seeds):
            jax.clear_caches()
            rows.append(keep({"part": name, "seed": seed, **PARTS[name](seed)}, options.results))
        told = [{k: v for k, v in row.items() if k not in ("part", "seed")} for row in rows]
        for words, good in JUDGES[name](told):
            print(f"{name:<12} {'ok ' if good else 'OUT'} {words}", flush=True)


if __name__ == "__main__":
    main()
