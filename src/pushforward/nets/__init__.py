"""Networks: plain functions of an event and a condition, with parameters as arrays."""

from pushforward.nets.base import AbstractConditioner, WithFeatures
from pushforward.nets.graph_made import GraphMADE
from pushforward.nets.lipschitz import AbstractContraction, LipschitzMLP, lip_swish
from pushforward.nets.lipschitz_conv import LipschitzConv, LipschitzConvNet, converge_spectral, update_spectral
from pushforward.nets.masked import MADE
from pushforward.nets.mlp import MLP
from pushforward.nets.per_event import PerEvent
from pushforward.nets.potential_net import PotentialNet
from pushforward.nets.time_mlp import TimeMLP
from pushforward.nets.time_residual import TimeResidualMLP

__all__ = [
    "MADE",
    "MLP",
    "AbstractConditioner",
    "AbstractContraction",
    "GraphMADE",
    "LipschitzConv",
    "LipschitzConvNet",
    "LipschitzMLP",
    "PerEvent",
    "PotentialNet",
    "TimeMLP",
    "TimeResidualMLP",
    "WithFeatures",
    "converge_spectral",
    "lip_swish",
    "update_spectral",
]
