"""Networks: plain functions of an event and a condition, with parameters as arrays."""

from pushforward.nets.base import AbstractConditioner
from pushforward.nets.lipschitz import (
    AbstractContraction,
    LipschitzConv,
    LipschitzConvNet,
    LipschitzMLP,
    converge_spectral,
    lip_swish,
    update_spectral,
)
from pushforward.nets.masked import MADE, ResMADE
from pushforward.nets.mlp import MLP, ResidualMLP

__all__ = [
    "MADE",
    "MLP",
    "AbstractConditioner",
    "AbstractContraction",
    "LipschitzConv",
    "LipschitzConvNet",
    "LipschitzMLP",
    "ResMADE",
    "ResidualMLP",
    "converge_spectral",
    "lip_swish",
    "update_spectral",
]
