"""What is believed: components, parameters, priors, the behavioural model and its simulator."""

from . import priors
from .attentiveness import Beta, Groups
from .behavior import BehaviorModel
from .casual import CoinFlip, PositionBias
from .component import Attentiveness, Casual, CellView, Component, Continuous, Finite, Preference
from .gold import Gold
from .length_bias import LengthBias
from .logit_normal import LogitNormal
from .nonparametric import Nonparametric
from .parameters import Parameter, ParameterTable
from .preference import BradleyTerry, KnownAdvantage, PairAdvantage
from .reward_gap import RewardGap
from .simulate import Truth
from .thurstone import Thurstone
from .ties import Davidson, RaoKupper, TieRule

__all__ = [
    "Attentiveness",
    "BehaviorModel",
    "Beta",
    "BradleyTerry",
    "Casual",
    "CellView",
    "CoinFlip",
    "Component",
    "Continuous",
    "Davidson",
    "Finite",
    "Gold",
    "Groups",
    "KnownAdvantage",
    "LengthBias",
    "LogitNormal",
    "Nonparametric",
    "PairAdvantage",
    "Parameter",
    "ParameterTable",
    "PositionBias",
    "Preference",
    "RaoKupper",
    "RewardGap",
    "Thurstone",
    "TieRule",
    "Truth",
    "priors",
]
