"""Earnest: who answered in earnest?

Attentiveness of the users who compare two responses of language models, inferred from their votes alone, and the
filtered or weighted preference data that follows from it.

Names are imported on first use, so that reading a log does not wait for JAX.
"""

from __future__ import annotations

import atexit
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparisons import ComparisonLog, EarnestError, InputError, Schema, read_comparisons
    from .comparisons.exports import read_export
    from .diagnostics import plots
    from .diagnostics.agreement import Agreement, compare
    from .diagnostics.calibration import Calibration, calibrate
    from .diagnostics.checks import Checks, predictive_check
    from .diagnostics.doctor import Diagnosis, doctor
    from .diagnostics.identifiability import Identifiability, identifiability
    from .diagnostics.loo import loo
    from .diagnostics.model_choice import Comparison, compare_models
    from .diagnostics.planning import Plan, plan
    from .diagnostics.report import report
    from .diagnostics.sensitivity import Sensitivity, sensitivity
    from .diagnostics.sweep import Sweep, sweep
    from .diagnostics.thresholds import ThresholdCurve, thresholds
    from .inference import Fit, Mode, fit_em, load
    from .inference.hand_over import filter_log, write_preferences
    from .inference.in_numpyro import to_numpyro
    from .inference.in_pymc import to_pymc
    from .inference.sampling import sample
    from .inference.watching import watch
    from .models import (
        Attention,
        Attentiveness,
        BehaviorModel,
        Beta,
        BradleyTerry,
        Casual,
        CellView,
        CoinFlip,
        Continuous,
        Davidson,
        Drift,
        Finite,
        Gold,
        Groups,
        Habit,
        ItemEffect,
        KnownAdvantage,
        LengthBias,
        LogitNormal,
        Nonparametric,
        PairAdvantage,
        Parameter,
        Partisan,
        PositionBias,
        Preference,
        RaoKupper,
        RewardGap,
        SampleAttention,
        Signed,
        Speedster,
        TasteGroups,
        Thurstone,
        Truth,
        priors,
    )  # fmt: skip

_HOME = {
    "comparisons": ("ComparisonLog", "EarnestError", "InputError", "Schema", "read_comparisons"),
    "comparisons.exports": ("read_export",),
    "models": (
        "Attention", "Attentiveness", "BehaviorModel", "Beta", "BradleyTerry", "Casual", "CellView", "CoinFlip",
        "Continuous", "Davidson", "Drift", "Finite", "Gold", "Groups", "Habit", "ItemEffect", "KnownAdvantage",
        "LengthBias", "LogitNormal", "Nonparametric", "PairAdvantage", "Parameter", "Partisan", "PositionBias",
        "Preference", "RaoKupper", "RewardGap", "SampleAttention", "Signed", "Speedster", "TasteGroups", "Thurstone",
        "Truth", "priors",
    ),
    "inference": ("Fit", "Mode", "fit_em", "load"),
    "inference.hand_over": ("filter_log", "write_preferences"),
    "inference.sampling": ("sample",),
    "inference.watching": ("watch",),
    "inference.in_numpyro": ("to_numpyro",),
    "inference.in_pymc": ("to_pymc",),
    "diagnostics.agreement": ("Agreement", "compare"),
    "diagnostics.calibration": ("Calibration", "calibrate"),
    "diagnostics.checks": ("Checks", "predictive_check"),
    "diagnostics.doctor": ("Diagnosis", "doctor"),
    "diagnostics.identifiability": ("Identifiability", "identifiability"),
    "diagnostics.loo": ("loo",),
    "diagnostics.model_choice": ("Comparison", "compare_models"),
    "diagnostics.planning": ("Plan", "plan"),
    "diagnostics.report": ("report",),
    "diagnostics.sensitivity": ("Sensitivity", "sensitivity"),
    "diagnostics.sweep": ("Sweep", "sweep"),
    "diagnostics.thresholds": ("ThresholdCurve", "thresholds"),
    "diagnostics": ("plots",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Agreement", "Attention", "Attentiveness", "BehaviorModel", "Beta", "BradleyTerry", "Calibration", "Casual",
    "CellView", "Checks", "CoinFlip", "Comparison", "ComparisonLog", "Continuous", "Davidson", "Diagnosis", "Drift",
    "EarnestError", "Finite", "Fit", "Gold", "Groups", "Habit", "Identifiability", "InputError", "ItemEffect",
    "KnownAdvantage", "LengthBias", "LogitNormal", "Mode", "Nonparametric", "PairAdvantage", "Parameter",
    "Partisan", "Plan", "PositionBias", "Preference", "RaoKupper", "RewardGap", "SampleAttention", "Schema",
    "Sensitivity", "Signed", "Speedster", "Sweep", "TasteGroups", "ThresholdCurve", "Thurstone", "Truth",
    "calibrate", "compare", "compare_models", "doctor", "filter_log", "fit_em", "identifiability", "load", "loo",
    "plan", "plots", "predictive_check", "priors", "read_comparisons", "read_export", "report", "sample", "sensitivity",
    "sweep", "thresholds", "to_numpyro", "to_pymc", "watch", "write_preferences",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("earnest")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'earnest' has no attribute {name!r}")
    module = import_module(f".{_MODULE_OF[name]}", __name__)
    value = import_module(f".{_MODULE_OF[name]}.plots", __name__) if name == "plots" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


@atexit.register
def _let_go() -> None:
    # JAX's registries outlive the interpreter, and with them the globals of functions registered there; DuckDB then
    # reports its types, reachable from those, as leaked. A module that refers to itself is still there when Python
    # empties the modules at its end, and so is emptied.
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == __name__:
            vars(module)["_self"] = module
