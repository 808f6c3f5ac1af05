"""A log of one pair of models, told by counts, in which one user has far more votes than all others, against them."""

import pandas as pd

import earnest as er

# No draw of the whole posterior is near the one without the whale.
VOTES = {f"u{i:02d}": (k, 6 - k) for i, k in enumerate([6, 5, 3, 2, 4, 3, 6, 5, 4, 3, 2, 5])} | {"whale": (5, 55)}


def read(frame):
    return er.read_comparisons(frame, user="user", model_a="model_a", model_b="model_b", winner="winner")


def two_models(votes):
    """A log of users who saw a (left) and b and chose a so often: {user: (wins of a, wins of b)}."""
    rows = [
        {"user": user, "model_a": "a", "model_b": "b", "winner": side}
        for user, (wins, losses) in votes.items()
        for side in ["model_a"] * wins + ["model_b"] * losses
    ]
    return read(pd.DataFrame(rows))
