"""The world of `registered.toml`: responses with features, a known reward, two generators, users who compare."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

REGISTERED = tomllib.loads((Path(__file__).parent / "registered.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Setting:
    """One point of a sweep; defaults are the main world's."""

    gap: float = REGISTERED["world"]["gap"]
    users: int = REGISTERED["world"]["users"]
    votes: int = REGISTERED["world"]["votes"]
    population: str = REGISTERED["world"]["population"]
    attentive: float = REGISTERED["populations"]["groups"]["attentive"]

    @property
    def name(self):
        return (
            f"gap {self.gap:g}, {self.users} users x {self.votes}, {self.population}"
            + (f" {self.attentive:g}" if self.population == "groups" else "")
        )  # fmt: skip


@dataclass(frozen=True)
class World:
    """Votes and prompts to be judged on.

    Attributes:
        votes: user, model_a, model_b, winner, comparison (number of the vote as text), prompt and texts, (vote).
        eta: true attentiveness of each vote's user, (vote,).
        first, second: features of the two responses shown, left and right, (vote, feature).
        attended_first: whether a user who attends takes the left one, (vote,).
        reward: weights of the features, (feature,).
        held_out: features of the candidates of new prompts, (prompt, candidate, feature).
    """

    votes: pd.DataFrame
    eta: np.ndarray
    first: np.ndarray
    second: np.ndarray
    attended_first: np.ndarray
    reward: np.ndarray
    held_out: np.ndarray


def settings():
    """Every setting of the sweeps and the main one, each once, {(sweep, value): Setting}."""
    main, sweeps = Setting(), REGISTERED["sweeps"]
    labels = main.users * main.votes
    out = {("main", ""): main}
    out |= {("gap", value): replace(main, gap=value) for value in sweeps["gap"]}
    out |= {("attentive", value): replace(main, population="groups", attentive=value) for value in sweeps["attentive"]}
    out |= {("votes", value): replace(main, votes=value, users=labels // value) for value in sweeps["votes"]}
    out |= {("labels", value): replace(main, users=value // main.votes) for value in sweeps["labels"]}
    out |= {("population", value): replace(main, population=value) for value in sweeps["population"]}
    return out


def softmax_draw(rng, logits):
    """One candidate of each row, (row,)."""
    return np.argmax(logits + rng.gumbel(size=logits.shape), axis=1)


def attentiveness(rng, setting):
    """(eta, contrary) of each user, (user,) each."""
    of = REGISTERED["populations"][setting.population]
    if setting.population == "groups":
        eta = np.where(rng.random(setting.users) < setting.attentive, of["levels"][1], of["levels"][0])
    else:
        eta = rng.beta(of["alpha"], of["beta"], setting.users)
    return eta, rng.random(setting.users) < of.get("share", 0.0)


def build(setting, seed):
    """The world of one seed. Everything but the users' attention is the same in all populations of the same size."""
    fixed = REGISTERED["world"]
    rng = np.random.default_rng([seed, 1])
    reward = rng.normal(size=fixed["features"])
    reward /= np.linalg.norm(reward)
    held_out = rng.normal(size=(fixed["held_out"], fixed["candidates"], fixed["features"]))
    n = setting.users * setting.votes
    candidates = rng.normal(size=(n, fixed["candidates"], fixed["features"]))
    merit = candidates @ reward
    strong, weak = (softmax_draw(rng, (1 + sign * setting.gap / 2) * merit) for sign in (1, -1))
    while (same := strong == weak).any():
        # Two different responses are shown; both are drawn again, or the one drawn first would have the better choice.
        for drawn, sign in ((strong, 1), (weak, -1)):
            drawn[same] = softmax_draw(rng, (1 + sign * setting.gap / 2) * merit[same])
    left = rng.random(n) < 0.5  # the stronger generator's response is on the left
    first, second = np.where(left, strong, weak), np.where(left, weak, strong)
    at = np.arange(n)
    difference = merit[at, first] - merit[at, second]
    takes_first = rng.random(n) < 1 / (1 + np.exp(-fixed["steepness"] * difference))

    people = np.random.default_rng([seed, 2])
    user = np.repeat(np.arange(setting.users), setting.votes)
    eta, contrary = attentiveness(people, setting)
    always_left = people.random(setting.users) < 0.5
    attends, toss = people.random(n) < eta[user], people.random(n) < fixed["side"]
    careless = {
        "sides": always_left[user],
        "length": candidates[at, first, 0] > candidates[at, second, 0],
    }.get(setting.population, toss)
    chosen_first = np.where(attends, takes_first ^ contrary[user], careless)
    names = np.array(["strong", "weak"])
    votes = pd.DataFrame({
        "user": [f"user_{u:05d}" for u in user],
        "model_a": names[np.where(left, 0, 1)], "model_b": names[np.where(left, 1, 0)],
        "winner": np.where(chosen_first, "model_a", "model_b"),
        "comparison": [str(i) for i in range(n)],
        "prompt": [f"prompt {i}" for i in range(n)],
        "response_a": [f"left {i}" for i in range(n)], "response_b": [f"right {i}" for i in range(n)],
    })  # fmt: skip
    return World(
        votes, np.where(contrary, -eta, eta)[user], candidates[at, first], candidates[at, second], takes_first, reward,
        held_out,
    )  # fmt: skip
