"""What is believed: components, parameters, priors, the behavioural model and its simulator."""

from . import priors
from .attention import Attention, SampleAttention
from .attentiveness import Beta, Groups
from .behavior import BehaviorModel
from .casual import CoinFlip, PositionBias
from .component import Attentiveness, Casual, CellView, Component, Continuous, Finite, Preference
from .drift import Drift
from .gold import Gold
from .habit import Habit
from .item_effect import ItemEffect
from .length_bias import LengthBias
from .logit_normal import LogitNormal
from .nonparametric import Nonparametric
from .parameters import Parameter, ParameterTable
from .partisan import Partisan
from .preference import BradleyTerry, KnownAdvantage, PairAdvantage
from .reward_gap import RewardGap
from .signed import Signed
from .simulate import Truth
from .speedster import Speedster
from .taste_groups import TasteGroups
from .thurstone import Thurstone
from .ties import Davidson, RaoKupper, TieRule

__all__ = [
    "Attention",
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
    "Drift",
    "Finite",
    "Gold",
    "Groups",
    "Habit",
    "ItemEffect",
    "KnownAdvantage",
    "LengthBias",
    "LogitNormal",
    "Nonparametric",
    "PairAdvantage",
    "Parameter",
    "ParameterTable",
    "Partisan",
    "PositionBias",
    "Preference",
    "RaoKupper",
    "RewardGap",
    "SampleAttention",
    "Signed",
    "Speedster",
    "TasteGroups",
    "Thurstone",
    "TieRule",
    "Truth",
    "priors",
]
