"""The demonstration: a simulated log walked from votes to preference data, and held against what is true of it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from .comparisons import atomic_file
from .console import say, say_notes, working
from .wording import wrapped

if TYPE_CHECKING:
    from .diagnostics.thresholds import Recommendation, ThresholdCurve
    from .inference import Fit
    from .models import BehaviorModel, Truth

# A crowd with many who hardly look and many who always do, and casual users who click left.
TRUTH = {
    "attentiveness_alpha": 0.6,
    "attentiveness_beta": 0.5,
    "skill": (-1.8, -0.6, 0.6, 1.8),
    "tie_strength": 0.5,
    "casual_outcome": (0.5, 0.3, 0.2),
}


def write_truth(made: Truth, path: str | os.PathLike[str]) -> None:
    """Write what is true of a simulated log as JSON: {"parameters": {name: value}, "attentiveness": {user: value}}."""
    users = made.attentiveness
    answer = {
        "parameters": {name: np.asarray(value).tolist() for name, value in made.parameters.items()},
        "attentiveness": dict(zip(users["user"], map(float, users["attentiveness"]), strict=True)),
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


def _model() -> BehaviorModel:
    from .models import BehaviorModel, Beta, BradleyTerry, Davidson, PositionBias

    return BehaviorModel(Beta(), BradleyTerry(ties=Davidson()), PositionBias())


def run(out: str | os.PathLike[str], users: int = 1000, comparisons: int = 20, seed: int = 0) -> None:
    """Simulate, fit, recommend, filter, export and draw into a folder; print where everything is and how true it is.

    Args:
        out: folder, made if it is missing; files of an earlier demonstration in it are replaced.
        users: number of simulated users.
        comparisons: comparisons a user gives.
        seed: of the simulation and the fit.
    """
    from .comparisons.export import write_preferences
    from .comparisons.filtering import filter_log
    from .diagnostics.thresholds import thresholds
    from .inference import fit_em

    folder = Path(out)
    folder.mkdir(exist_ok=True)
    model = _model()
    with working("simulating"):
        made = model.simulate(users, comparisons, models=4, seed=seed, parameters=TRUTH, texts=True)
        made.log.write(folder / "votes.csv")
        write_truth(made, folder / "truth.json")
    click.echo(f"simulated {len(made.log):,} votes of {users:,} users on 4 models -> {folder / 'votes.csv'}")
    with working("fitting") as progress:
        fit = fit_em(model, made.log, seed=seed, progress=lambda stage, iteration, _: progress(stage, iteration))
        fit.save(folder / "fit")
    click.echo(f"fitted: {fit.status} after {fit.iterations} iterations -> {folder / 'fit'}")
    say_notes([note for note in fit.notes if note not in made.log.notes])
    with working("weighing thresholds"):
        curve = thresholds(fit)
        best = curve.recommend()
    say(f"recommended threshold {best.threshold:.3f}: {best.reason}")
    with working("filtering and exporting"):
        kept = filter_log(made.log, fit, threshold=best.threshold)
        kept.write(folder / "kept.parquet")
        summary = write_preferences(kept, folder / "preferences.jsonl", fit)
    click.echo(f"kept {len(kept):,} votes of {len(kept.users):,} users -> {folder / 'kept.parquet'}")
    click.echo(
        f"exported {summary.written:,} preferences ({summary.ties:,} ties left out) -> {folder / 'preferences.jsonl'}"
    )
    with working("drawing"):
        for path in draw(fit, curve, folder):
            click.echo(f"drew {path.with_suffix('.png')} and {path.with_suffix('.svg').name}")
    click.echo("")
    click.echo("Against the truth, which a simulation knows:")
    for line in against_truth(fit, made, best):
        click.echo(wrapped(line, "  ", "    "))
    click.echo("")
    click.echo("The same by hand, as with a log of your own:")
    for command in _commands(folder):
        click.echo(f"  {command}")


def draw(fit: Fit, curve: ThresholdCurve, folder: Path) -> list[Path]:
    """Write the four figures, PNG and SVG each.

    Returns:
        The paths of the PNGs.
    """
    from .diagnostics import plots

    figures: dict[str, Any] = {
        "attentiveness": plots.attentiveness(fit),
        "skills": plots.parameter_intervals(fit, "skill", label="skill: log-odds scale, sums to zero"),
        "thresholds": plots.threshold_curve(curve),
        "em_trace": plots.em_trace(fit)[0],
    }
    return [plots.save_figure(axes.figure, folder / name)[0] for name, axes in figures.items()]


def against_truth(fit: Fit, made: Truth, best: Recommendation) -> list[str]:
    """How far the answers are from what is true, in sentences."""
    from scipy.stats import spearmanr

    both = fit.attentiveness.merge(made.attentiveness, on="user", validate="one_to_one")
    eta, mean, votes = (both[name].to_numpy(float) for name in ("attentiveness", "mean", "comparisons"))
    covered = float(((both["lower"] <= eta) & (eta <= both["upper"])).mean())
    intervals = fit.intervals(0.9)
    hits = [
        np.ravel((low <= made.parameters[name]) & (made.parameters[name] <= high))
        for name, (low, high) in intervals.items()
    ]
    inside, total = int(np.concatenate(hits).sum()), sum(map(len, hits))

    def worth(cut: float, by: np.ndarray) -> float:
        keep = by >= cut
        return float((votes[keep] @ eta[keep]) ** 2 / max(votes[keep].sum(), 1.0))

    hindsight = max(worth(float(cut), eta) for cut in np.linspace(0, 0.9, 91))
    keep = mean >= best.threshold
    kept_share = float(votes[keep] @ eta[keep] / votes[keep].sum())
    claimed = float(votes[keep] @ mean[keep] / votes[keep].sum())
    everyone = float(votes @ eta / votes.sum())
    return [
        f"users are ranked with a Spearman correlation of {spearmanr(eta, mean).statistic:.2f} to their true "
        f"attentiveness, from {votes.mean():.0f} votes a user",
        f"{covered:.0%} of the users' and {inside} of the {total} parameters' 90% intervals hold the truth",
        f"attentiveness of the kept users: {kept_share:.1%} in truth, {claimed:.1%} by the fit; of all: {everyone:.1%}",
        f"the kept labels are worth {worth(best.threshold, mean):,.0f} effective labels in truth "
        f"({best.effective_labels:,.0f} by the fit); all labels {worth(0.0, eta):,.0f}; "
        f"a cut with the true attentiveness known {hindsight:,.0f}",
    ]


def _commands(folder: Path) -> list[str]:
    fit, called = folder / "fit", sys.argv[0]
    # without an activated environment the program is not on the PATH: name it as it was called
    earnest = called if shutil.which("earnest") is None and Path(called).name == "earnest" else "earnest"
    return [
        f"{earnest} fit {folder / 'votes.csv'} --out {fit}",
        f"{earnest} threshold {fit}",
        f"{earnest} filter {folder / 'votes.csv'} --fit {fit} --threshold recommended --out {folder / 'kept.parquet'}",
        f"{earnest} export {folder / 'kept.parquet'} --fit {fit} --out {folder / 'preferences.jsonl'}",
    ]
