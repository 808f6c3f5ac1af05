"""Does alignment get better? The controlled experiment: every arm of `registered.toml` on the same votes.

    python benchmarks/alignment/tier_a.py --results tier_a.jsonl                 # all settings, 30 seeds
    python benchmarks/alignment/tier_a.py --results tier_a.jsonl --only gap      # one sweep

One JSON line a world; a run that was stopped goes on where it ended. `findings.py` tells what the lines
say. The votes go through Earnest as a user's would: `read_comparisons`, `fit_em` of the default model, `thresholds`,
`write_preferences`; what the export says of each vote is what DPO gets.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import log_softmax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from alignment.dpo import log_policy, optimum
from alignment.world import REGISTERED, build, settings
from resumable import keep, read

_ORACLE_CUTS = np.linspace(0.0, 0.95, 20)


class Judge:
    """What a policy is worth on the held-out prompts of a world."""

    def __init__(self, world):
        self.world = world
        self.merit = world.held_out @ world.reward
        self.reference = REGISTERED["world"]["reference"] * self.merit
        self.log_base = log_softmax(self.reference, axis=1)
        self.base = np.exp(self.log_base)
        above = self.merit[:, :, None] - self.merit[:, None, :]
        self.wins = (above > 0) + 0.5 * (above == 0)

    def policy(self, parameters):
        return np.exp(self.log_policy(parameters))

    def log_policy(self, parameters):
        return np.asarray(log_policy(parameters, self.world.held_out, self.reference))

    def kl(self, parameters):
        log = self.log_policy(parameters)
        return float((np.exp(log) * (log - self.log_base)).sum(1).mean())

    def reward(self, policy):
        return float((policy * self.merit).sum(1).mean())

    def win(self, policy, other):
        return float(np.einsum("pi,pij,pj->p", policy, self.wins, other).mean())

    def reward_at(self, parameters, wanted):
        """Reward of the policy in the same direction whose KL to the reference is as wanted (bisection)."""
        low, high = 0.0, 1.0
        while self.kl(high * parameters) < wanted and high < 1e6:
            high *= 2
        for _ in range(40):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.kl(middle * parameters) < wanted else (low, middle)
        return self.reward(self.policy(0.5 * (low + high) * parameters))

    def told(self, parameters, of_all):
        """Every registered metric; `of_all` are the parameters of the arm `all`."""
        policy, everyone = self.policy(parameters), self.policy(of_all)
        implied = self.world.held_out @ parameters
        agrees = np.sign(implied[:, 0] - implied[:, 1]) * np.sign(self.merit[:, 0] - self.merit[:, 1])
        return {
            "reward": self.reward(policy), "reward_at_kl": self.reward_at(parameters, self.kl(of_all)),
            "win_reference": self.win(policy, self.base), "win_all": self.win(policy, everyone),
            "kl": self.kl(parameters), "accuracy": float(0.5 + 0.5 * agrees.mean()),
        }  # fmt: skip


def effective(eta, weight):
    """Effective labels of weighted labels whose true attentiveness is `eta`: (sum w eta)^2 / sum w^2."""
    return float((weight @ eta) ** 2 / (weight @ weight)) if weight.any() else 0.0


def best_cut(eta):
    """The registered oracle: the cut of the true attentiveness with the most effective labels."""
    return max(_ORACLE_CUTS, key=lambda cut: effective(eta, (eta >= cut).astype(float)))


def one(sweep, value, setting, seed):
    """All arms in one world."""
    import jax

    import earnest as er

    start = time.perf_counter()
    world = build(setting, seed)
    log = er.read_comparisons(world.votes)
    model = er.BehaviorModel()
    fit = er.fit_em(model, log)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preferences.parquet"
        er.write_preferences(log, path, fit, noise="keep")
        rows = pd.read_parquet(path)
    at = rows["comparison"].astype(int).to_numpy()
    cut = float(er.thresholds(fit).recommend().threshold)
    left = (world.votes["winner"] == "model_a").to_numpy()[at]
    difference = np.where(left[:, None], 1.0, -1.0) * (world.first - world.second)[at]
    assert (rows["chosen"] == [f"{'left' if side else 'right'} {i}" for side, i in zip(left, at, strict=True)]).all()
    eta, n = world.eta[at], len(at)
    whole = np.ones(n)
    mean = rows["attentiveness"].to_numpy()
    recommended = (mean >= cut).astype(float)
    shuffled = np.random.default_rng([seed, 3]).permutation(recommended)
    weight, noise = rows["weight"].to_numpy(), rows["label_noise"].to_numpy()
    attended = np.maximum(weight, REGISTERED["added"]["least"])
    arms = {
        "all": (whole, 0.0, "dpo"), "random": (shuffled, 0.0, "dpo"), "recommended": (recommended, 0.0, "dpo"),
        **{f"cut {t:g}": ((mean >= t).astype(float), 0.0, "dpo") for t in REGISTERED["arms"]["thresholds"]},
        "soft": (weight, 0.0, "dpo"),
        "robust": (whole, np.minimum(noise, 0.49), "robust"),
        "robust_weighted": ((1 - 2 * np.minimum(noise, 0.49)) ** 2, np.minimum(noise, 0.49), "robust"),
        "by_side": (whole, noise, "by_side"), "by_side_weighted": (attended**2, noise, "by_side"),
        "conservative": (whole, rows["label_noise_posterior"].to_numpy(), "conservative"),
        "oracle": ((eta >= best_cut(eta)).astype(float), 0.0, "dpo"),
        "oracle_soft": (np.maximum(eta, 0.0), 0.0, "dpo"),
        "oracle_labels": (whole, 0.0, "dpo"),
    }  # fmt: skip
    if sweep == "main":
        trace = er.sample(
            model, log, latent="marginal", chains=2, draws=500, tune=500, seed=seed, fit=fit, predictive=0
        )
        means = trace.posterior["attentiveness"].mean(("chain", "draw")).to_series()
        kept = means.reindex(world.votes["user"].to_numpy()[at]).to_numpy()
        at_posterior = float(er.thresholds(trace, log).recommend().threshold)
        arms["posterior"] = ((kept >= at_posterior).astype(float), 0.0, "dpo")
        at_random = np.random.default_rng([seed, 4]).random(n)
        arms["random_half"] = ((at_random < 0.5).astype(float), 0.0, "dpo")
        arms["random_tenth"] = ((at_random < 0.1).astype(float), 0.0, "dpo")
    honest = np.where(world.attended_first[at][:, None], 1.0, -1.0) * (world.first - world.second)[at]
    beta, prior = REGISTERED["dpo"]["beta"], REGISTERED["dpo"]["prior"]
    with jax.enable_x64(True):
        ended = {
            name: optimum(honest if name == "oracle_labels" else difference, weight, np.broadcast_to(noise, n) + 0.0,
                          beta, prior, kind=kind, attended=attended)
            for name, (weight, noise, kind) in arms.items()
        }  # fmt: skip
        found = {name: np.asarray(parameters) for name, (parameters, _) in ended.items()}
        judge = Judge(world)
        told = {name: judge.told(parameters, found["all"]) for name, parameters in found.items()}
    true = {
        name: effective(eta, weight)
        for name, (weight, _, kind) in arms.items() if kind == "dpo" and name != "oracle_labels"
    }  # fmt: skip
    return {
        "sweep": sweep, "value": value, "seed": seed, "threshold": cut, "status": fit.status,
        "reference": judge.reward(judge.base), "arms": told, "effective": true,
        "kept": float(recommended.mean()), "advantage": float(_advantage(world)), "made_by": made_by(),
        "slope": {name: float(slope) for name, (_, slope) in ended.items()}, "seconds": time.perf_counter() - start,
    }  # fmt: skip


@cache
def made_by():
    """A hash of what a line depends on here: the registration and the code of the experiment."""
    folder = Path(__file__).parent
    texts = [(folder / name).read_bytes() for name in ("registered.toml", "world.py", "dpo.py", "tier_a.py")]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def earlier(path):
    """The lines of an earlier run, which must be of this registration and code."""
    rows = read(path)
    if any(row["made_by"] != made_by() for row in rows):
        raise SystemExit(f"{path}: has lines of another registered.toml or other code; give another --results")
    return rows


def again(rows, sweep, value, setting, seed):
    """The line of this very world in another sweep, or None: sweeps pass through the main world and one another."""
    same = {place for place, other in settings().items() if other == setting}
    for row in rows:
        if (row["sweep"], row["value"]) in same and row["seed"] == seed:
            kept = {name: told for name, told in row["arms"].items() if name not in _main_only()}
            return {**row, "sweep": sweep, "value": value, "arms": kept}
    return None


def _main_only():
    return (*REGISTERED["arms"]["main_only"], *REGISTERED["added"]["main_only"])


def _advantage(world):
    """Share of votes in which a user who attends takes the stronger generator's response."""
    return np.mean((world.votes["model_a"] == "strong").to_numpy() == world.attended_first)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--only", action="append", help="this sweep (may be given several times)")
    parser.add_argument("--seeds", type=int, default=REGISTERED["seeds"])
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    rows = earlier(options.results)
    done = {(row["sweep"], row["value"], row["seed"]) for row in rows}
    for (sweep, value), setting in settings().items():
        for seed in range(0 if options.only and sweep not in options.only else options.seeds):
            if (sweep, value, seed) not in done:
                row = again(rows, sweep, value, setting, seed) or one(sweep, value, setting, seed)
                rows.append(keep(row, options.results))
                print(f"{sweep} {value} seed {seed}: {row['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()
