"""Which wrong model is harmless? Logs told by one model, read by another.

Every model tells some logs and every model is fitted to each. A wrong one may be off in two ways: its attentiveness is
biased, or its cut keeps the wrong users and labels are worth less. Truth is known here, so both are counted and not
estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..comparisons.context import NAMED, PREVIOUS, TIMESTAMP
from ..comparisons.errors import EarnestError, check_whole
from ..comparisons.log import ComparisonLog
from ..comparisons.read import read_comparisons
from ..inference.fitting import fit_em
from ..inference.ranks import rank_correlation
from ..inference.results import Fit
from ..models.behavior import BehaviorModel
from ..models.simulate import Truth, draw_columns
from .thresholds import recommended_threshold
from .words import listed

__all__ = ["Sweep", "sweep"]

HARMLESS, HARMFUL = 0.02, 0.05
"""Shares of the effective labels whose loss is called harmless, and harmful."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Sweep:
    """What wrong models do.

    Attributes:
        table: one row a pair: true, fitted, logs, bias (of users' mean attentiveness), rmse, rank_correlation (of
            users' attentiveness with the true one, Spearman), loss (share of effective labels that the fitted model's
            cut loses against the true model's own; negative where it does better), loss_worst, each the mean over logs
            but for the worst; loss_error (standard error of the mean; NaN of one log).
        runs: the same of every log.
        verdict: in words.
    """

    table: pd.DataFrame
    verdict: str
    runs: pd.DataFrame = field(repr=False)

    def __repr__(self) -> str:
        return f"<Sweep: {self.verdict}>"

    @classmethod
    def of(cls, runs: pd.DataFrame) -> Sweep:
        """What some logs say, `runs` of several sweeps put together."""
        table = _table(runs)
        return cls(table, _verdict(table), runs)


def sweep(
    models: Mapping[str, BehaviorModel],
    *,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    users: int = 300,
    comparisons: int = 20,
    n_models: int = 4,
    logs: int = 5,
    seed: int = 0,
    true: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Sweep:
    """Fit every model to logs that every model told.

    Args:
        models: name -> declaration; all with ties, or all without.
        parameters: name -> {parameter: true value}; what is not given is drawn from the prior, anew for each log.
        users, comparisons, n_models: size of a log: users, votes of each, models compared.
        logs: told by each model.
        seed: of all randomness.
        true: names of the models that tell logs (default: all).
        progress: called with (what, done, total).

    Returns:
        a `Sweep`.

    Raises:
        EarnestError: fewer than two models, some with ties and some without, an unknown name, a size below its least.

    Reference: effective labels, by which a wrong model's cut is judged: model.md, section 8.

    Example:
        >>> import earnest as er
        >>> two = {"beta": er.BehaviorModel(), "groups": er.BehaviorModel(er.Groups((0.0, 1.0)))}
        >>> found = er.sweep(two, users=40, comparisons=10, n_models=3, logs=1)
        >>> found.table["fitted"].tolist()
        ['beta', 'groups', 'beta', 'groups']
    """
    tellers = list(models) if true is None else list(true)
    _check(
        models,
        [*(parameters or {}), *tellers],
        dict(users=users, comparisons=comparisons, n_models=n_models, logs=logs),
    )
    rows: list[dict[str, Any]] = []
    total = len(tellers) * len(models) * logs
    for number in range(logs):
        own = seed + 1000 * number
        for teller in tellers:
            given = (parameters or {}).get(teller)
            truth = models[teller].simulate(users, comparisons, n_models, own, given)
            log = _with_columns(truth.log, models, own)
            fits: dict[str, Fit] = {}
            for name, model in models.items():
                if progress is not None:
                    progress(f"{name} on a log of {teller}", len(rows) + len(fits), total)
                fits[name] = fit_em(model, log)
            rows += _told(teller, number, truth, log, fits)
    return Sweep.of(pd.DataFrame(rows))


def _check(models: Any, named: Sequence[str], sizes: Mapping[str, Any]) -> None:
    if not isinstance(models, Mapping) or len(models) < 2:
        raise EarnestError("sweep: expected at least two models, {name: model}")
    for name, model in models.items():
        if not isinstance(model, BehaviorModel):
            raise EarnestError(f"models[{name!r}]: expected a BehaviorModel, got {model!r}")
    if unknown := sorted(set(named) - set(models)):
        raise EarnestError(f"parameters, true: there is no model {unknown[0]!r}; models are {', '.join(models)}")
    ties = {model.preference.allows_ties for model in models.values()}
    if len(ties) > 1:
        raise EarnestError("sweep: some of the models know ties and some do not; give all a rule for ties, or none")
    for name, least in {"users": 2, "comparisons": 1, "n_models": 2, "logs": 1}.items():
        check_whole(name, sizes[name], least)


def _with_columns(log: ComparisonLog, models: Mapping[str, BehaviorModel], seed: int) -> ComparisonLog:
    """The log with every column that any of the models looks at; each sees the same."""
    frame = log.to_arrow().to_pandas()
    turn = frame.groupby("user").cumcount().to_numpy()
    for model in models.values():
        drawn = draw_columns(model, len(frame), seed, turn=turn).columns
        # What comes about with the votes of one model bears no witness to those of another.
        rng = np.random.default_rng([seed, 10])
        aside = {name: c.draw_column(name, rng, len(frame)) for c in model.components for name in c.told}
        wanted = {name: value for name, value in (drawn | aside).items() if name not in (*frame, PREVIOUS)}
        if "item" in wanted:  # each is one pair of models
            pair = np.sort(frame[["model_a", "model_b"]].to_numpy(str), axis=1)
            wanted["item"] = np.array([f"{i}, {a}, {b}" for i, (a, b) in zip(wanted["item"], pair, strict=True)])
        frame = frame.assign(**wanted)
    if list(frame) == log.columns:
        return log
    named: dict[str, Any] = {name: name for name in (*NAMED, TIMESTAMP) if name in frame}
    return read_comparisons(frame, user="user", model_a="model_a", model_b="model_b", winner="winner", **named)


def _told(true: str, number: int, truth: Truth, log: ComparisonLog, fits: Mapping[str, Fit]) -> list[dict[str, Any]]:
    """What each fit makes of one log."""
    of = fits[true].attentiveness["user"]
    eta = truth.attentiveness.set_index("user")["attentiveness"].loc[of].to_numpy()
    labels = fits[true].attentiveness["comparisons"].to_numpy(dtype=float)
    worth = {name: _worth(fit, log, labels, eta) for name, fit in fits.items()}
    rows = []
    for name, fit in fits.items():
        mean = fit.attentiveness["mean"].to_numpy()
        rows.append(
            {
                "true": true, "fitted": name, "log": number, "bias": float((mean - eta).mean()),
                "rmse": float(np.sqrt(np.mean((mean - eta) ** 2))), "rank_correlation": rank_correlation(mean, eta),
                "effective_labels": worth[name],
                "loss": 1.0 - worth[name] / worth[true] if worth[true] > 0 else float("nan"),
                "status": fit.status,
            }
        )  # fmt: skip
    return rows


def _worth(fit: Fit, log: ComparisonLog, labels: np.ndarray, eta: np.ndarray) -> float:
    """True effective labels of the cut that a fit recommends."""
    kept = fit.attentiveness["mean"].to_numpy() >= recommended_threshold(fit, log)
    return float(max(labels[kept] @ eta[kept], 0.0) ** 2 / labels[kept].sum())


def _table(runs: pd.DataFrame) -> pd.DataFrame:
    by = runs.groupby(["true", "fitted"], sort=False)
    mean = by[["bias", "rmse", "rank_correlation", "loss"]].mean()
    out = mean.assign(
        logs=by.size(), loss_worst=by["loss"].max(), loss_error=by["loss"].std(ddof=1) / np.sqrt(by.size())
    )
    columns = ["logs", "bias", "rmse", "rank_correlation", "loss", "loss_error", "loss_worst"]
    return out[columns].reset_index()


def _verdict(table: pd.DataFrame) -> str:
    wrong = table[table["true"] != table["fitted"]]
    harmful = wrong[wrong["loss"] >= HARMFUL]
    harmless = [name for name, of in wrong.groupby("fitted", sort=False) if (of["loss"] < HARMLESS).all()]
    said = []
    if harmless:
        said.append(
            f"Harmless wherever it is wrong (under {HARMLESS:.0%} of the effective labels): {listed(harmless)}."
        )
    for true, of in harmful.sort_values("loss", ascending=False).groupby("true", sort=False):
        low, high = of["loss"].min(), of["loss"].max()
        loss = f"{low:.0%} to {high:.0%}" if f"{low:.0%}" != f"{high:.0%}" else f"{high:.0%}"
        every = len(of) > 1 and len(of) == int((wrong["true"] == true).sum())
        said.append(f"On logs of {true} {'every wrong model' if every else listed(list(of['fitted']))} "
                    f"{'loses' if every or len(of) == 1 else 'lose'} {loss} of the effective labels.")  # fmt: skip
    if not len(harmful):
        said.append(f"No wrong model loses {HARMFUL:.0%} or more.")
    return " ".join(said)
