"""Networks: plain functions of an event and a condition, with parameters as arrays."""

from pushforward.nets.base import AbstractConditioner
from pushforward.nets.graph import GraphMADE
from pushforward.nets.masked import MADE, ResMADE
from pushforward.nets.mlp import MLP, ResidualMLP

__all__ = ["MADE", "MLP", "AbstractConditioner", "GraphMADE", "ResMADE", "ResidualMLP"]
