"""Logs of every trouble, told by a story of their own: not by the package's simulator. Seeds were chosen once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

SKILLS = {"ant": 0.9, "bee": 0.3, "cat": -0.3, "dog": -0.9}


def votes(
    seed: int,
    users: int = 300,
    each: int = 20,
    skills: dict[str, float] = SKILLS,
    eta=None,
    left: float = 0.5,
    tie: float = 0.2,
    signs=None,
    shuffle: bool = True,
) -> pd.DataFrame:
    """One row a vote: who attends takes the better with log-odds of the gap, or a tie; who does not, by side only."""
    rng = np.random.default_rng(seed)
    names, worth = list(skills), np.array(list(skills.values()))
    eta = rng.beta(1.0, 1.0, users) if eta is None else np.full(users, eta)
    signs = np.ones(users) if signs is None else np.asarray(signs)
    rows = []
    for u in range(users):
        for _ in range(each):
            a, b = (
                rng.choice(len(names), 2, replace=False)
                if shuffle
                else sorted(rng.choice(len(names), 2, replace=False))
            )
            attends = rng.random() < eta[u]
            first = 1 / (1 + np.exp(-signs[u] * (worth[a] - worth[b]))) if attends else left
            winner = "tie" if rng.random() < tie else "model_a" if rng.random() < first else "model_b"
            rows.append((f"u{u}", names[a], names[b], winner, attends))
    return pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner", "attends"])


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Without what nobody knows."""
    return frame.drop(columns="attends")


def healthy(seed: int = 1) -> pd.DataFrame:
    return plain(votes(seed, left=0.52))


def one_pair() -> pd.DataFrame:
    return plain(votes(2, skills={"ant": 0.6, "bee": -0.6}))


def no_gap() -> pd.DataFrame:
    return plain(votes(3, skills=dict.fromkeys(SKILLS, 0.0)))


def no_gap_but_items() -> pd.DataFrame:
    """The models are alike, their responses are not, and several users judge the same two."""
    rng = np.random.default_rng(4)
    effect = rng.normal(0, 1.5, 200)
    rows = []
    for u in range(200):
        for item in rng.choice(200, 15, replace=False):
            turned, attends = rng.random() < 0.5, rng.random() < 0.7
            better = 1 / (1 + np.exp(-effect[item])) if attends else 0.5
            first = rng.random() < better
            sides = ("bee", "ant") if turned else ("ant", "bee")
            rows.append((f"u{u}", f"i{item}", *sides, "model_b" if first == turned else "model_a"))
    return pd.DataFrame(rows, columns=["user", "item", "model_a", "model_b", "winner"])


def nobody_attends() -> pd.DataFrame:
    return plain(votes(5, eta=0.0, left=0.6))


def thirty_votes() -> pd.DataFrame:
    return plain(votes(6, users=6, each=5))


def one_vote_a_user() -> pd.DataFrame:
    return plain(votes(7, users=3000, each=1))


def two_islands() -> pd.DataFrame:
    first = plain(votes(8, users=150))
    second = plain(votes(9, users=150, skills={"elk": 0.7, "fox": -0.7}))
    return pd.concat([first, second.assign(user="v" + second["user"])], ignore_index=True)


def left_wins() -> pd.DataFrame:
    return plain(votes(10, left=0.95))


def only_ties() -> pd.DataFrame:
    return healthy(11).assign(winner="tie")


def nearly_only_ties() -> pd.DataFrame:
    return plain(votes(12, tie=0.93, users=600))


def one_user_rules() -> pd.DataFrame:
    rest, bot = plain(votes(13, users=100)), plain(votes(14, users=1, each=3000, eta=0.0, left=0.5))
    return pd.concat([rest, bot.assign(user="bot")], ignore_index=True)


def robots() -> pd.DataFrame:
    """Forty users who always click on the left."""
    frame = healthy(15)
    return frame.assign(winner=np.where(frame["user"].isin([f"u{k}" for k in range(40)]), "model_a", frame["winner"]))


def read_twice() -> pd.DataFrame:
    return pd.concat([healthy(16)] * 2, ignore_index=True)


def copies_with_times() -> pd.DataFrame:
    frame = healthy(17).assign(timestamp=np.arange(6000))
    return pd.concat([frame, frame.head(600)], ignore_index=True)


def ids_twice() -> pd.DataFrame:
    frame = healthy(18).assign(vote_id=np.arange(6000))
    return pd.concat([frame, frame.head(500)], ignore_index=True)


def always_wins() -> pd.DataFrame:
    frame = healthy(19)
    new = frame["model_a"].eq("ant").map({True: "model_a", False: None})
    new = new.where(~frame["model_b"].eq("ant"), "model_b")
    return frame.assign(winner=new.fillna(frame["winner"]))


def opposed_halves() -> pd.DataFrame:
    signs = np.where(np.arange(300) % 2, 1.0, -1.0)
    return plain(votes(20, eta=0.9, signs=signs, skills={"ant": 1.3, "bee": 0.4, "cat": -0.4, "dog": -1.3}))


def contrary_fifth() -> pd.DataFrame:
    signs = np.where(np.arange(300) % 5, 1.0, -1.0)
    return plain(votes(21, eta=0.9, signs=signs, skills={"ant": 1.3, "bee": 0.4, "cat": -0.4, "dog": -1.3}))


def sides_never_swapped() -> pd.DataFrame:
    return plain(votes(22, shuffle=False))


def habits_and_no_shuffling_for_a_user(seed: int = 33) -> pd.DataFrame:
    """Nobody attends; everyone has a side of their own, and a user sees every pair in one order."""
    rng, rows = np.random.default_rng(seed), []
    for u in range(200):
        side, forth = rng.beta(1.5, 1.5), rng.random() < 0.5
        for _ in range(20):
            a, b = sorted(rng.choice(list(SKILLS), 2, replace=False), reverse=not forth)
            rows.append((f"u{u}", a, b, "model_a" if rng.random() < side else "model_b"))
    return pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner"])


def habits(seed: int = 33) -> pd.DataFrame:
    """The same, but shuffled."""
    frame, turn = habits_and_no_shuffling_for_a_user(seed), np.random.default_rng(seed + 1000).random(4000) < 0.5
    a, b = frame["model_a"], frame["model_b"]
    return frame.assign(model_a=a.where(turn, b), model_b=b.where(turn, a))


def all_alike() -> pd.DataFrame:
    return plain(votes(23, eta=0.8, users=600))


def with_dwell_and_time() -> pd.DataFrame:
    frame, rng = votes(24), np.random.default_rng(24)
    seconds = np.exp(rng.normal(np.where(frame["attends"], 3.0, 1.5), 0.6)).round(2)
    return plain(frame.assign(dwell_seconds=seconds, timestamp=pd.date_range("2024-01-01", periods=6000, freq="min")))


def with_categories() -> pd.DataFrame:
    return healthy(25).assign(category=np.random.default_rng(25).choice(["code", "prose"], 6000))


def with_gold(missed: bool = False) -> pd.DataFrame:
    """Every tenth vote is a question whose answer is known; attentive users give it, or nobody does."""
    frame, rng = votes(26, tie=0.0), np.random.default_rng(26)
    asked = np.arange(6000) % 10 == 0
    gold = rng.choice(["model_a", "model_b"], 6000)
    right = frame["attends"] & (not missed)
    winner = np.where(asked & right, gold, np.where(asked, rng.choice(["model_a", "model_b"], 6000), frame["winner"]))
    return plain(frame.assign(winner=winner, gold=np.where(asked, gold, None)))


def gold_missed() -> pd.DataFrame:
    return with_gold(missed=True)


def unusual_names() -> pd.DataFrame:
    names = {"user": "ip_hash", "model_a": "Bot #1", "model_b": "Bot #2", "winner": "picked"}
    frame = healthy(27)
    return frame.assign(lang="en").rename(columns=names)[["lang", "picked", "Bot #2", "Bot #1", "ip_hash"]]


def unusual_words() -> pd.DataFrame:
    said = {"model_a": "Assistant A is better", "model_b": "Assistant B is better", "tie": "about the same"}
    return healthy(28).assign(winner=lambda frame: frame["winner"].map(said))


def numbers_for_words() -> pd.DataFrame:
    return healthy(29).query("winner != 'tie'").assign(winner=lambda f: f["winner"].eq("model_a").astype(int))


def words_of_which_nothing_is_known() -> pd.DataFrame:
    return healthy(30).assign(winner=lambda f: f["winner"].map({"model_a": "ka", "model_b": "po", "tie": "mu"}))


def no_user() -> pd.DataFrame:
    return healthy(31).drop(columns="user")


def some_bad_rows() -> pd.DataFrame:
    frame = healthy(32)
    frame.loc[[5, 70], "winner"] = "???"
    frame.loc[90, "user"] = None
    return frame


# What is wrong with each, notes left out: nothing else may be found.
TROUBLES = {
    healthy: set(),
    one_pair: {"one_pair"},
    no_gap: {"no_signal"},
    no_gap_but_items: {"no_signal", "one_pair"},
    nobody_attends: {"no_signal"},
    thirty_votes: {"too_few"},
    one_vote_a_user: {"one_vote"},
    two_islands: {"islands"},
    left_wins: {"position_bias"},
    only_ties: {"ties_only"},
    nearly_only_ties: {"mostly_ties"},
    one_user_rules: {"dominant"},
    robots: {"one_sided"},
    read_twice: {"duplicates"},
    copies_with_times: {"duplicates"},
    ids_twice: {"duplicates"},
    always_wins: {"separation"},
    opposed_halves: {"contrarians"},
    contrary_fifth: {"contrarians"},
    sides_never_swapped: {"fixed_sides"},
    habits_and_no_shuffling_for_a_user: {"fixed_sides", "one_sided"},  # some never changed sides, which is true
    habits: {"no_signal", "one_sided"},
    all_alike: {"users_alike"},
    with_dwell_and_time: set(),
    with_categories: set(),
    with_gold: set(),
    gold_missed: {"gold_missed"},
    unusual_names: {"guessed"},
    unusual_words: {"guessed"},
    numbers_for_words: {"two_readings"},
    words_of_which_nothing_is_known: {"unknown_words"},
    no_user: {"no_user"},
    some_bad_rows: {"bad_rows"},
}


def write(make, folder: Path) -> Path:
    path = folder / f"{make.__name__}.csv"
    make().to_csv(path, index=False)
    return path
