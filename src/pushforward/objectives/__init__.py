"""What training minimises."""

from pushforward.objectives.base import AbstractObjective, weighted_mean
from pushforward.objectives.flow_matching import FlowMatching
from pushforward.objectives.likelihood import MaximumLikelihood
from pushforward.objectives.times import AbstractTimes, LogitNormalTimes, UniformTimes

__all__ = [
    "AbstractObjective",
    "AbstractTimes",
    "FlowMatching",
    "LogitNormalTimes",
    "MaximumLikelihood",
    "UniformTimes",
    "weighted_mean",
]
