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
        good: no divergence, every R-hat known and at most 1.01, and no chain that strayed from the best mode.
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
    spread = table["sd"].to_numpy(dtype=float)
    varies = ~(spread == 0)  # what is not a number must not pass for a constant
    rhat = float(np.max(table["rhat"].to_numpy()[varies])) if varies.any() else float("nan")
    ess = float(np.min(table[["ess_bulk", "ess_tail"]].to_numpy()[varies])) if varies.any() else float("nan")
    divergences = int(np.asarray(tree.sample_stats["diverging"]).sum())
    left_out = int(tree.attrs.get("chains_left_out", 0))
    # Chains that started at the best mode and did not stay with the others have not converged.
    strayed = left_out if tree.attrs.get("init") == "modes" else 0
    good = divergences == 0 and rhat <= RHAT and not strayed
    verdict = _verdict(table[varies], rhat, ess, divergences, int(tree.posterior.sizes["chain"]))
    if left_out:
        verdict += f" {left_out} of the chains ended far below the others and are left out (see the notes)."
    return Convergence(table, rhat, ess, divergences, bool(good), verdict)


def _verdict(table: pd.DataFrame, rhat: float, ess: float, divergences: int, chains: int) -> str:
    said = []
    if np.isnan(rhat):
        one = "One chain only: R-hat cannot say whether it converged."
        said.append(one if chains < 2 else "R-hat is not a number: some parameter did not move or is not finite.")
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
