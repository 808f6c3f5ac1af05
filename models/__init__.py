"""What is believed: components, parameters, priors, the behavioural model and its simulator."""

from . import priors
from .attention import Attention, SampleAttention
from .attentiveness import Beta, Groups
from .behavior import BehaviorModel
from .casual import CoinFlip, PositionBias
from .component import Attentiveness, Casual, CellView, Component, Continuous, Finite, Preference
from .gold import Gold
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
    "Finite",
    "Gold",
    "Groups",
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
    "TasteGroups",
    "Thurstone",
    "TieRule",
    "Truth",
    "priors",
]
