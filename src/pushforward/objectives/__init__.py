"""What training minimises."""

from pushforward.objectives.base import AbstractObjective, weighted_mean
from pushforward.objectives.flow_matching import FlowMatching, LogitNormalTimes, UniformTimes
from pushforward.objectives.likelihood import MaximumLikelihood

__all__ = [
    "AbstractObjective",
    "FlowMatching",
    "LogitNormalTimes",
    "MaximumLikelihood",
    "UniformTimes",
    "weighted_mean",
]
