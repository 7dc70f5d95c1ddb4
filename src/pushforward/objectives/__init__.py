"""What training minimises."""

from pushforward.objectives.base import AbstractObjective, weighted_mean
from pushforward.objectives.likelihood import MaximumLikelihood

__all__ = ["AbstractObjective", "MaximumLikelihood", "weighted_mean"]
