"""Variants of every component, each in one model, with its probabilities written down a second time."""

import numpy as np
from scipy import stats

import earnest as er

MODELS = {
    "logit-normal": er.BehaviorModel(er.LogitNormal()),
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
}


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


def attended(name, values, a, b, row, scale):
    """Probabilities of the outcomes for who attends; `row` holds the columns, `scale` their root mean squares."""
    if name.startswith("reward"):
        column = "margin" if "category" in name else "reward_gap"
        slope = np.atleast_1d(values["reward_slope"])[row["category"] if "category" in name else 0]
        return after_ties(values, np.exp(slope * row[column] / scale[column] + float(values.get("reward_offset", 0.0))))
    difference = values["skill"][a] - values["skill"][b]
    if name.startswith("thurstone"):
        return after_ties(values, stats.norm.cdf(difference) / stats.norm.cdf(-difference))
    if name == "skills by category":
        own = values["skill_deviation"][row["category"]]
        difference += own[a] - own[b]
    if name == "style":
        for slope, column in zip(values["preference_slope"], ("length_difference", "headings"), strict=True):
            difference += slope * row[column] / scale[column]
    return after_ties(values, np.exp(difference))


def casual(name, values, row, scale):
    """Probabilities of the outcomes for who does not."""
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
    if name == "nonparametric":
        return np.linspace(0, 1, 5), np.log(values["attentiveness_weight"])
    at = np.linspace(-8, 8, 16001)
    logit, step = 0.5 * np.sinh(at), 0.5 * np.cosh(at) * (at[1] - at[0])  # far out, for shapes near 0
    if name == "logit-normal":
        density = stats.norm.logpdf(logit, float(values["attentiveness_loc"]), float(values["attentiveness_scale"]))
    else:
        alpha, beta = (float(values[f"attentiveness_{name}"]) for name in ("alpha", "beta"))
        log_eta, log_rest = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
        density = (
            stats.beta.logpdf(0.5, alpha, beta) + (alpha + beta - 2) * np.log(2) + alpha * log_eta + beta * log_rest
        )
    return sigmoid(logit), density + np.log(step)
