"""Logs for the tests of inference, and the step from a log to the oracle's own form."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd

import earnest as er

oracles = runpy.run_path(str(Path(__file__).with_name("oracles.py")))
OUTCOMES = ["model_a", "model_b", "tie"]


def log_of(rows):
    """A log of (user, model_a, model_b, winner) rows."""
    return er.read_comparisons(pd.DataFrame(rows, columns=["user", "model_a", "model_b", "winner"]).astype(str))


def frame_of(log):
    """The log's votes as a data frame, in row order."""
    return log.to_arrow().to_pandas()[["user", "model_a", "model_b", "winner"]].astype(str)


def votes_of(log, **model):
    """The oracle's votes; users and models numbered by name."""
    frame = frame_of(log)
    _, user = np.unique(frame["user"].to_numpy(str), return_inverse=True)
    names = np.unique(frame[["model_a", "model_b"]].to_numpy(str))
    a, b = (np.searchsorted(names, frame[column].to_numpy(str)) for column in ("model_a", "model_b"))
    outcome = np.array([OUTCOMES.index(w) for w in frame["winner"]])
    return oracles["Votes"](np.stack([user, a, b, outcome], axis=1), len(names), **model)
