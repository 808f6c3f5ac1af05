"""Did the chains converge, in a table and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Convergence", "convergence"]

RHAT, ESS = 1.01, 400.0
"""R-hat above the first, or fewer effective draws than the second, and the draws should not be relied on (Vehtari,
Gelman, Simpson, Carpenter and Buerkner 2021, Bayesian Analysis 16)."""


@dataclass(frozen=True)
class Convergence:
    """What the chains' own statistics say.

    Attributes:
        table: one row a scalar parameter: parameter, mean, sd, lower, upper (90 % interval), ess_bulk, ess_tail, rhat.
        rhat: largest, over the globals that vary; NaN with one chain.
        ess: smallest of bulk and tail effective draws.
        divergences: after warm-up.
        good: no divergence and no R-hat above 1.01.
        verdict: a few sentences.
    """

    table: pd.DataFrame
    rhat: float
    ess: float
    divergences: int
    good: bool
    verdict: str


def convergence(tree: Any) -> Convergence:
    """Judge the globals of a posterior.

    Args:
        tree: what `earnest.sample` returned.
    """
    from arviz_stats import summary

    names = [str(name) for name, array in tree.posterior.data_vars.items() if "user" not in array.dims]
    columns = {"mean": "mean", "sd": "sd", "eti90_lb": "lower", "eti90_ub": "upper", "ess_bulk": "ess_bulk",
               "ess_tail": "ess_tail", "r_hat": "rhat"}  # fmt: skip
    if names:
        with np.errstate(all="ignore"):  # one chain has no R-hat
            frame = summary(tree, var_names=names, ci_prob=0.9, ci_kind="eti", round_to="none")
        table = frame[list(columns)].rename(columns=columns).astype(float)
        table.insert(0, "parameter", [str(label) for label in frame.index])
        table = table.reset_index(drop=True)
    else:
        table = pd.DataFrame({name: [] for name in ("parameter", *columns.values())})
    varies = table["sd"].to_numpy(dtype=float) > 0
    rhat = float(table["rhat"][varies].max()) if varies.any() else float("nan")
    ess = float(table[["ess_bulk", "ess_tail"]][varies].min().min()) if varies.any() else float("nan")
    divergences = int(np.asarray(tree.sample_stats["diverging"]).sum())
    good = divergences == 0 and not rhat > RHAT
    return Convergence(table, rhat, ess, divergences, good, _verdict(table[varies], rhat, ess, divergences))


def _verdict(table: pd.DataFrame, rhat: float, ess: float, divergences: int) -> str:
    said = []
    if np.isnan(rhat):
        said.append("Nothing was sampled." if table.empty else "One chain only: R-hat cannot say whether it converged.")
    elif rhat > RHAT:
        worst = table.loc[table["rhat"].idxmax(), "parameter"]
        said.append(f"The chains disagree: R-hat is {rhat:.3f} for {worst} (1.01 at most). Sample longer (more tune).")
    else:
        said.append(f"The chains agree: the largest R-hat is {rhat:.3f}.")
    if divergences:
        said.append(
            f"{divergences} iterations diverged: parts of the posterior may be missing. Raise target_accept, or use "
            "the marginal form."
        )
    else:
        said.append("No iteration diverged.")
    if ess < ESS:
        worst = table.loc[table[["ess_bulk", "ess_tail"]].min(axis=1).idxmin(), "parameter"]
        said.append(f"Only {ess:,.0f} effective draws of {worst}: more draws are needed for its intervals (400).")
    elif not np.isnan(ess):
        said.append(f"At least {ess:,.0f} effective draws of every parameter.")
    return " ".join(said)
