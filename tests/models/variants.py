"""Variants of every component, each in one model, with its probabilities written down a second time."""

import numpy as np
from scipy import stats
from scipy.special import betaln

import earnest as er

MODELS = {
    "logit-normal": er.BehaviorModel(er.LogitNormal()),
    "cohorts": er.BehaviorModel(er.LogitNormal(covariates=("from_web", "days"))),
    "nonparametric": er.BehaviorModel(er.Nonparametric(5)),
    "thurstone": er.BehaviorModel(preference=er.Thurstone()),
    "thurstone with ties": er.BehaviorModel(preference=er.Thurstone(ties=er.Davidson())),
    "reward gap": er.BehaviorModel(preference=er.RewardGap()),
    "reward gap by category": er.BehaviorModel(
        preference=er.RewardGap(gap="margin", ties=er.RaoKupper(), by_category=True, offset=False)
    ),
    "skills by category": er.BehaviorModel(preference=er.BradleyTerry(by_category=True)),
    "style": er.BehaviorModel(
        preference=er.BradleyTerry(ties=er.Davidson(), covariates=("length_difference", "headings"))
    ),
    "length bias": er.BehaviorModel(casual=er.LengthBias()),
    "length bias with ties": er.BehaviorModel(
        preference=er.BradleyTerry(ties=er.Davidson()), casual=er.LengthBias(difference="longer")
    ),
    "position by category": er.BehaviorModel(casual=er.PositionBias(by_category=True)),
    "tastes": er.BehaviorModel(preference=er.TasteGroups(2)),
    "tastes with ties": er.BehaviorModel(preference=er.TasteGroups(2, ties=er.Davidson())),
    "signed": er.BehaviorModel(er.Signed()),
    "partisans": er.BehaviorModel(casual=er.Partisan()),
    "partisans with ties": er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.Partisan()),
    "sample attention": er.BehaviorModel(attention=er.SampleAttention(("dwell_time", "prompt_length"))),
    "signed partisans": er.BehaviorModel(er.Signed(), er.BradleyTerry(ties=er.Davidson()), er.Partisan()),
    "habit": er.BehaviorModel(casual=er.Habit()),
    "habit with ties": er.BehaviorModel(preference=er.BradleyTerry(ties=er.Davidson()), casual=er.Habit()),
    "speedster": er.BehaviorModel(attention=er.Speedster("seconds", centre=1.0, scale=0.5)),
    "drift": er.BehaviorModel(attention=er.Drift()),
    "drifting partisans": er.BehaviorModel(
        er.Signed(), er.BradleyTerry(ties=er.Davidson()), er.Partisan(), attention=er.Drift()
    ),
    "items": er.BehaviorModel(preference=er.ItemEffect()),
    "items with ties": er.BehaviorModel(
        er.LogitNormal(), er.ItemEffect(er.BradleyTerry(ties=er.RaoKupper(), covariates=("longer",))), er.CoinFlip()
    ),
    "everything": er.BehaviorModel(
        er.LogitNormal(),
        preference=er.TasteGroups(2, ties=er.Davidson()),
        casual=er.Partisan(),
        attention=er.SampleAttention(("dwell_time",)),
    ),
}
TASTES, SIGNED = ("tastes", "tastes with ties", "everything"), ("signed", "signed partisans", "drifting partisans")
PARTISANS = ("partisans", "partisans with ties", "signed partisans", "drifting partisans", "everything")
MOVED = {"sample attention": ("attention_slope", ("dwell_time", "prompt_length")),
         "everything": ("attention_slope", ("dwell_time",)),
         "cohorts": ("attentiveness_slope", ("from_web", "days"))}  # fmt: skip


def kinds(name, values):
    """Kinds of users: (share, taste, favourite), None where there is none."""
    tastes = list(enumerate(values["taste_weight"])) if name in TASTES else [(None, 1.0)]
    favourites = [(None, 1.0)]
    if name in PARTISANS:
        share = float(values["partisan_share"])
        favourites = [(None, 1 - share), *((m, share * w) for m, w in enumerate(values["favourite_weight"]))]
    return [(w * v, taste, favourite) for taste, w in tastes for favourite, v in favourites]


def attention(name, eta, values, row, columns):
    """How often users of attentiveness eta (level,) attend to a comparison; `columns` are the log's."""
    if name not in MOVED:
        return np.abs(eta)
    moved = 0.0
    for slope, column in zip(values[MOVED[name][0]], MOVED[name][1], strict=True):
        moved += slope * (row[column] - columns[column].mean()) / columns[column].std(ddof=0)
    size, more = np.abs(eta), np.exp(moved)
    return more * size / (more * size + (1 - size))


def together(name, eta, values, votes):
    """log Pr(votes | eta) of one user, (level,); `votes` are (attention, wanted, careless, row) in the order of time.

    Where the state drifts, forward along the chain; else vote by vote.
    """
    if not name.startswith("drift"):
        return sum(np.log(a * wanted + (1 - a) * careless) for a, wanted, careless, _ in votes)
    casual, attended = values["attention_stay"]
    state = None
    for a, wanted, careless, _ in votes:
        if state is None:
            one, zero = a, 1 - a
        else:
            one = state[0] * (attended + (1 - attended) * a) + state[1] * (1 - casual) * a
            zero = state[0] * (1 - attended) * (1 - a) + state[1] * (casual + (1 - casual) * (1 - a))
        state = (one * wanted, zero * careless)
    return np.log(state[0] + state[1])


def dwell(name, values, row):
    """Densities of what came about with a vote, attended and casual."""
    if name != "speedster":
        return 1.0, 1.0
    at = (np.log(row["seconds"]) - 1.0) / 0.5
    casual, attended = stats.norm.pdf(at, values["dwell_loc"], values["dwell_scale"])
    return attended, casual


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def after_ties(values, odds):
    """Pr(first, second, tie) from the odds among decided outcomes."""
    if "tie_strength" in values:
        weights = np.array([np.sqrt(odds), 1 / np.sqrt(odds), float(values["tie_strength"])])
        return weights / weights.sum()
    if "tie_threshold" in values:
        theta = float(values["tie_threshold"])
        ratio = ((odds - 1) + np.sqrt((odds - 1) ** 2 + 4 * theta**2 * odds)) / (2 * theta)
        first, second = ratio / (ratio + theta), 1 / (1 + theta * ratio)
        return np.array([first, second, 1 - first - second])
    return np.array([odds / (1 + odds), 1 / (1 + odds)])


def attended(name, values, a, b, row, scale, taste=None):
    """Probabilities of the outcomes for who attends; `row` holds the columns, `scale` their root mean squares."""
    if name.startswith("reward"):
        column = "margin" if "category" in name else "reward_gap"
        slope = np.atleast_1d(values["reward_slope"])[row["category"] if "category" in name else 0]
        return after_ties(values, np.exp(slope * row[column] / scale[column] + float(values.get("reward_offset", 0.0))))
    skill = values["skill"] if taste is None else values["skill"][taste]
    difference = skill[a] - skill[b]
    if name.startswith("thurstone"):
        return after_ties(values, stats.norm.cdf(difference) / stats.norm.cdf(-difference))
    if name == "skills by category":
        own = values["skill_deviation"][row["category"]]
        difference += own[a] - own[b]
    if name == "style":
        for slope, column in zip(values["preference_slope"], ("length_difference", "headings"), strict=True):
            difference += slope * row[column] / scale[column]
    if name.startswith("items"):
        difference += values["item_effect"][row["item"]] * (1 if a < b else -1)
    if name == "items with ties":
        ratio = np.exp(difference + values["preference_slope"][0] * row["longer"] / scale["longer"])
        theta = float(values["tie_threshold"])
        first, second = ratio / (ratio + theta), 1 / (1 + theta * ratio)
        return np.array([first, second, 1 - first - second])
    return after_ties(values, np.exp(difference))


def casual(name, values, row, scale, a=None, b=None, favourite=None):
    """Probabilities of the outcomes for who does not."""
    if name == "items with ties":
        return np.full(3, 1 / 3)
    if favourite is not None and favourite in (a, b):
        outcomes = 2 if name == "partisans" else 3
        shares = np.full(outcomes, 0.02 / (outcomes - 1))
        shares[0 if favourite == a else 1] = 0.98
        return shares
    if name.startswith("habit"):
        repeat, shares = float(values["habit_repeat"]), np.array(values["casual_outcome"])
        if row["previous"] is None:
            return shares
        return (1 - repeat) * shares + repeat * np.eye(len(shares))[row["previous"]]
    if name.startswith("length"):
        column = "longer" if "ties" in name else "length_difference"
        first = sigmoid(float(values["length_slope"]) * row[column] / scale[column])
        tie = float(values.get("casual_tie", 0.0))
        shares = np.array([(1 - tie) * first, (1 - tie) * (1 - first), tie])
        return shares if "ties" in name else shares[:2]
    return (
        values["casual_outcome"][row["category"]]
        if "category" in name and "position" in name
        else values["casual_outcome"]
    )


def population(name, values):
    """Levels of attentiveness and the logarithms of their weights, fine enough for an integral."""
    if name in SIGNED:
        alpha, beta = (float(values[f"attentiveness_{shape}"]) for shape in ("alpha", "beta"))
        # Halves of [-1, 1] apart, each with points crowding at its ends.
        at = np.linspace(-8, 8, 16001)
        half, step = 0.5 * np.sinh(at), 0.5 * np.cosh(at) * (at[1] - at[0])
        size, volume = sigmoid(half), -np.logaddexp(0, -half) - np.logaddexp(0, half) + np.log(step)
        more, less = np.log1p(size) - np.log(2), -np.logaddexp(0, half) - np.log(2)
        log_norm = np.log(2) + betaln(alpha, beta)
        positive, negative = (
            (alpha - 1) * up + (beta - 1) * down - log_norm + volume for up, down in ((more, less), (less, more))
        )
        return np.concatenate([-size, size]), np.concatenate([negative, positive])
    if name == "nonparametric":
        return np.linspace(0, 1, 5), np.log(values["attentiveness_weight"])
    at = np.linspace(-8, 8, 16001)
    logit, step = 0.5 * np.sinh(at), 0.5 * np.cosh(at) * (at[1] - at[0])  # far out, for shapes near 0
    if name in ("logit-normal", "cohorts", "everything", "items with ties"):
        density = stats.norm.logpdf(logit, float(values["attentiveness_loc"]), float(values["attentiveness_scale"]))
    else:
        alpha, beta = (float(values[f"attentiveness_{shape}"]) for shape in ("alpha", "beta"))
        log_eta, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
        density = (
            stats.beta.logpdf(0.5, alpha, beta) + (alpha + beta - 2) * np.log(2) + alpha * log_eta + beta * log_rest
        )
    return sigmoid(logit), density + np.log(step)
