"""What do other ways make of the same votes: rules of thumb, crowd-kit, and the model written by hand in Stan?

    python benchmarks/comparison.py filters --logs 20     # rules and ratings, on logs whose truth is known
    python benchmarks/comparison.py stan                  # is `by_hand.stan` the same model? lines, time to sample it

Filters: logs of 500 users with 20 votes each on 4 models, half of attention as Beta(0.6, 0.6), casual users to the
left in 50 % of their votes and to a tie in 15 %. A rating orders users; `ranks` is Spearman's correlation with their
true attentiveness. `own cut` is what is left by the rule's own threshold, `best cut` by the one that knows the truth,
both in effective labels (N m^2, m the true mean attentiveness of the N votes kept) against those of all votes. Weights
leave (sum w m)^2 / sum w^2. As weights, the share s of votes for the stronger model is max(0, 2 s - 1), as it is or
drawn towards the users' mean by its reliability beforehand.
crowd-kit is measured where it is installed (pip install crowd-kit), Stan where PyStan is (pip install pystan, and a C++
compiler).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import earnest as er

HERE = Path(__file__).resolve().parent
MODEL = er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()))
TRUE = {
    "attentiveness_alpha": 0.6,
    "attentiveness_beta": 0.6,
    "skill": np.array([0.9, 0.3, -0.3, -0.9]),
    "tie_strength": 0.4,
    "casual_outcome": np.array([0.5, 0.35, 0.15]),
}


def agreement(votes):
    """Share of a user's votes that are the commonest of their pair."""
    pair = votes["model_a"] + "|" + votes["model_b"]
    common = votes.groupby(pair)["winner"].agg(lambda said: said.value_counts().index[0])
    return (votes["winner"] == pair.map(common)).groupby(votes["user"]).mean()


def one_sided(votes):
    """1 for users who click on both sides, 0 for who always clicks on the same."""
    return (votes.groupby("user")["winner"].nunique() > 1).astype(float)


def by_skill(votes):
    """Share of a user's decided votes for the model that wins more often in the whole log."""
    decided = votes[votes["winner"] != "tie"]
    won = np.where(decided["winner"] == "model_a", decided["model_a"], decided["model_b"])
    lost = np.where(decided["winner"] == "model_a", decided["model_b"], decided["model_a"])
    rate = pd.Series(won).value_counts() / (pd.Series(won).value_counts() + pd.Series(lost).value_counts())
    right = pd.Series(rate[won].to_numpy() > rate[lost].to_numpy(), decided.index)
    return right.groupby(decided["user"]).mean()


def weights_by_skill(votes, shrunk):
    """Weights, user -> max(0, 2 s - 1), of the share s for the stronger model, drawn towards its mean where `shrunk`.

    The reliability is the part of the variance of s over users that is not binomial.
    """
    share, decided = by_skill(votes), votes[votes["winner"] != "tie"].groupby("user").size()
    if shrunk:
        mean, noise = share.mean(), (share * (1 - share) / (decided.reindex(share.index) - 1).clip(lower=1)).mean()
        share = mean + max(0.0, 1 - noise / share.var()) * (share - mean)
    return (2 * share - 1).clip(lower=0)


def weighed(weight, eta):
    """Effective labels by weights of users, all with the same number of votes, over those of all votes alike."""
    weight = weight.reindex(eta.index).fillna(0)
    return (weight @ eta) ** 2 / (weight @ weight) / (len(eta) * eta.mean() ** 2)


def crowdkit(name):
    def rate(votes):
        import crowdkit.aggregation as methods

        told = votes.rename(columns={"user": "worker", "winner": "label"})
        told["task"] = votes["model_a"] + "|" + votes["model_b"]
        method = getattr(methods, name)()
        if name == "NoisyBradleyTerry":
            told["left"], told["right"] = votes["model_a"], votes["model_b"]
            told["label"] = np.where(votes["winner"] == "model_b", votes["model_b"], votes["model_a"])
            return method.fit(told[votes["winner"] != "tie"].reset_index(drop=True)).skills_
        method.fit(told)
        if name == "GLAD":
            return method.alphas_
        if name == "MACE":
            return pd.Series(method.spamming_[:, 1], sorted(told["worker"].unique()))
        errors = method.errors_
        right = {label: errors[label].xs(label, level="label") for label in errors.columns}
        return pd.DataFrame(right).mean(axis=1)

    return rate


# rating, and the threshold that goes with it where the method has one
RULES = {
    "every vote": (lambda votes: pd.Series(1.0, sorted(votes["user"].unique())), 0.0),
    "not always the same side": (one_sided, 0.5),
    "agreement with the commonest vote, half": (agreement, 0.5),
    "agreement with the stronger model, half": (by_skill, 0.5),
    "crowd-kit DawidSkene": (crowdkit("DawidSkene"), None),
    "crowd-kit GLAD": (crowdkit("GLAD"), None),
    "crowd-kit MACE": (crowdkit("MACE"), None),
    "crowd-kit NoisyBradleyTerry": (crowdkit("NoisyBradleyTerry"), None),
}


def worth(eta, kept):
    """Effective labels of the users kept, all with the same number of votes, over those of all."""
    return kept.sum() * eta[kept].mean() ** 2 / (len(eta) * eta.mean() ** 2) if kept.any() else 0.0


def judged(rating, eta, cut):
    rating = rating.reindex(eta.index).fillna(rating.min())
    order = eta[rating.sort_values(ascending=False, kind="stable").index].to_numpy()
    best = (order.cumsum() ** 2 / np.arange(1, len(order) + 1)).max() / (len(eta) * eta.mean() ** 2)
    ranks = np.nan if rating.nunique() == 1 else spearmanr(rating, eta)[0]
    return {"ranks": ranks, "own cut": np.nan if cut is None else worth(eta, rating >= cut), "best cut": best}


def told_by(seed, users=500):
    truth = MODEL.simulate(users=users, comparisons_per_user=20, models=4, seed=seed, parameters=TRUE)
    eta = pd.Series(np.asarray(truth.attentiveness["attentiveness"]), truth.attentiveness["user"])
    return truth.log, truth.log.to_arrow().to_pandas(), eta


def filters(logs, users=500):
    rows = []
    er.fit_em(MODEL, told_by(logs, users)[0])  # compiles
    for seed in range(logs):
        log, votes, eta = told_by(seed, users)
        start = time.perf_counter()
        fit = er.fit_em(MODEL, log)
        best = er.thresholds(fit).recommend()
        seconds = time.perf_counter() - start
        mean = fit.attentiveness.set_index("user")["mean"]
        rows.append({"method": "Earnest", **judged(mean, eta, best.threshold), "seconds": seconds})
        labels = fit.label_table(log)  # each label's weight leaves the label itself out
        times, weight, true = labels["comparisons"], labels["weight"], labels["user"].map(eta)
        soft = (times * weight * true).sum() ** 2 / (times * weight**2).sum() / (len(votes) * eta.mean() ** 2)
        rows.append({"method": "Earnest, weights and no cut", "ranks": np.nan, "own cut": soft})
        for shrunk in (True, False):
            name = f"votes for the stronger model{', shrunk' if shrunk else ''}, as weights"
            rows.append({"method": name, "ranks": np.nan, "own cut": weighed(weights_by_skill(votes, shrunk), eta)})
        rows.append({"method": "attentiveness known", **judged(eta, eta, 0.0), "own cut": np.nan})
        for name, (rate, cut) in RULES.items():
            start = time.perf_counter()
            try:
                rating = rate(votes)
            except ImportError:
                continue
            except ValueError as error:  # crowd-kit's MACE on tasks with many hundred labels: probabilities underflow
                print(f"log {seed}, {name}: {error}")
                continue
            rows.append({"method": name, **judged(rating, eta, cut), "seconds": time.perf_counter() - start})
    table = pd.DataFrame(rows).groupby("method", sort=False).agg(["mean", "sem"])
    table.columns = [f"{name}{' s.e.' if what == 'sem' else ''}" for name, what in table.columns]
    return table.drop(columns=["seconds s.e."]).round(3)


def by_hand(log):
    """The Stan program's data."""
    votes = log.to_arrow().to_pandas()
    users, models = log.users, log.models
    place = {"model_a": 1, "model_b": 2, "tie": 3}
    return {
        "N": len(votes), "U": len(users), "M": len(models),
        "user": votes["user"].map({name: k + 1 for k, name in enumerate(users)}).tolist(),
        "a": votes["model_a"].map({name: k + 1 for k, name in enumerate(models)}).tolist(),
        "b": votes["model_b"].map({name: k + 1 for k, name in enumerate(models)}).tolist(),
        "y": votes["winner"].map(place).tolist(),
    }  # fmt: skip


def density(log, values, logit):
    """Earnest's log density of the explicit form, by NumPyro: globals as they are, attentiveness as log-odds."""
    import jax
    from numpyro.infer.util import log_density

    with jax.enable_x64(True):
        native = er.to_numpyro(MODEL, log, latent="explicit")
        return float(log_density(native, (), {}, {**values, "attentiveness_logit": logit})[0])


def stan(draws):
    """Lines of either, the largest difference of their log densities, and the seconds that sampling takes."""
    import stan as pystan

    truth = MODEL.simulate(users=40, comparisons_per_user=20, models=4, seed=0, parameters=TRUE)
    log, code = truth.log, (HERE / "by_hand.stan").read_text()
    posterior = pystan.build(code, data=by_hand(log), random_seed=1)
    rng, found = np.random.default_rng(0), []
    for _ in range(5):
        skill = rng.normal(size=4)
        values = {
            "attentiveness_alpha": rng.gamma(2.0), "attentiveness_beta": rng.gamma(2.0),
            "skill": skill - skill.mean(), "tie_strength": rng.gamma(2.0), "casual_outcome": rng.dirichlet([2.0] * 3),
        }  # fmt: skip
        eta = rng.beta(0.8, 0.8, len(log.users)).clip(0.01, 0.99)
        theirs = {
            "alpha": values["attentiveness_alpha"], "beta": values["attentiveness_beta"],
            "skill": values["skill"].tolist(), "nu": values["tie_strength"],
            "casual": values["casual_outcome"].tolist(), "eta": eta.tolist(),
        }  # fmt: skip
        free = posterior.unconstrain_pars(theirs) if hasattr(posterior, "unconstrain_pars") else None
        said = posterior.log_prob(list(free), adjust_transform=False) + np.log(eta * (1 - eta)).sum()
        found.append(said - density(log, values, np.log(eta / (1 - eta))))
    lines = len([line for line in code.splitlines() if line.strip() and not line.strip().startswith("//")])
    print(f"by_hand.stan: {lines} lines; log densities differ by a constant, to {np.ptp(found):.1e} nats")
    start = time.perf_counter()
    posterior.sample(num_chains=2, num_samples=draws, num_warmup=draws)
    print(f"2 chains of {draws} draws by Stan: {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    er.sample(MODEL, log, chains=2, draws=draws, tune=draws, latent="explicit")
    print(f"the same by Earnest, explicit: {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    er.sample(MODEL, log, chains=2, draws=draws, tune=draws, latent="marginal")
    print(f"the same by Earnest, marginal: {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    er.fit_em(MODEL, log)
    print(f"EM: {time.perf_counter() - start:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["filters", "stan"])
    parser.add_argument("--logs", type=int, default=20)
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    if options.part == "stan":
        stan(options.draws)
        return
    print(filters(options.logs).to_string(na_rep=""))


if __name__ == "__main__":
    main()
