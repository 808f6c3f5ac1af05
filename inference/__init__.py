"""What is learned: marginal likelihood, EM, scoring."""

from .fitting import fit_em
from .results import Fit, Mode
from .store import load

__all__ = ["Fit", "Mode", "fit_em", "load"]
