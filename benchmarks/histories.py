"""Users who stop caring half-way: what is kept of their labels, by the drifting model and by the static one."""

from __future__ import annotations

import numpy as np
import pandas as pd

USERS, VOTES, STOPS = 300, 40, 0.5
BEFORE, AFTER = 0.9, 0.05
SKILL = 0.9 * np.array([1.5, 0.5, -0.5, -1.5])


def told(seed):
    """A log of no model's own: attention is 0.9, and 0.05 in the second half of those who stop; and who attended."""
    rng = np.random.default_rng([700, seed])
    user, time = np.repeat(np.arange(USERS), VOTES), np.tile(np.arange(VOTES), USERS)
    stopped = (rng.random(USERS) < STOPS)[user] & (time >= VOTES // 2)
    attended = rng.random(len(user)) < np.where(stopped, AFTER, BEFORE)
    first = rng.integers(4, size=len(user))
    second = (first + rng.integers(1, 4, size=len(user))) % 4
    wins = 1 / (1 + np.exp(SKILL[second] - SKILL[first]))
    left = rng.random(len(user)) < np.where(attended, wins, 0.55)
    frame = pd.DataFrame({
        "user": np.char.add("u", user.astype(str)), "model_a": first.astype(str), "model_b": second.astype(str),
        "winner": np.where(left, "model_a", "model_b"), "time": time,
    })  # fmt: skip
    return frame, attended


def drift(seed):
    """Precision of as many labels as the drifting model gives a weight of 1/2 and more: attended ones among them."""
    import earnest as er

    frame, attended = told(seed)
    log = er.read_comparisons(
        frame, user="user", model_a="model_a", model_b="model_b", winner="winner", timestamp="time"
    )
    precision, kept = {}, 0
    for name, model in (("drifting", er.BehaviorModel(attention=er.Drift())), ("static", er.BehaviorModel())):
        fit = er.fit_em(model, log)
        keys = ["user", "model_a", "model_b", "winner", *(["timestamp"] if name == "drifting" else [])]
        table = fit.label_table(log).set_index(keys)["weight"]
        weight = table.loc[list(frame.rename(columns={"time": "timestamp"})[keys].itertuples(index=False, name=None))]
        kept = kept or int((weight >= 0.5).sum())
        precision[name] = float(attended[np.argsort(-weight.to_numpy(), kind="stable")[:kept]].mean())
    oracle = float(np.sort(np.where(attended, 1.0, 0.0))[::-1][:kept].mean())
    return {**precision, "kept": kept / len(frame), "attended": float(attended.mean()), "most": oracle}


def judge_drift(rows):
    drifting, static, kept = (np.array([row[name] for row in rows]) for name in ("drifting", "static", "kept"))
    gain = 100 * (drifting - static)
    return [
        (f"of the {kept.mean():.0%} of labels kept {drifting.mean():.1%} were attended, of as many by the static model "
         f"{static.mean():.1%}: +{gain.mean():.1f} points (asked 5), least {gain.min():+.1f}", gain.mean() >= 5),
    ]  # fmt: skip
