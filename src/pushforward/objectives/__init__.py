"""What training minimises."""

from pushforward.objectives.base import AbstractObjective, weighted_mean
from pushforward.objectives.bridge import BridgeMatching
from pushforward.objectives.denoising import (
    AbstractWeighting,
    DenoisingScoreMatching,
    LikelihoodWeighting,
    NoiseWeighting,
)
from pushforward.objectives.drawn_times import (
    AbstractTimes,
    ImportanceTimes,
    LevelTimes,
    LogitNormalTimes,
    UniformTimes,
)
from pushforward.objectives.elbo import ELBO, IWAE
from pushforward.objectives.energy import UnnormalisedDensity, is_normalised
from pushforward.objectives.flow_matching import FlowMatching
from pushforward.objectives.image_objective import ImageObjective
from pushforward.objectives.likelihood import MaximumLikelihood
from pushforward.objectives.natural import natural_objective, objective_named, registry
from pushforward.objectives.reflow import Reflow, reflow_pairs, straightness
from pushforward.objectives.regularized import RegularizedLikelihood
from pushforward.objectives.reverse_kl import ReverseKL
from pushforward.objectives.score_matching import ScoreMatching, SlicedScoreMatching

OBJECTIVES = registry()  # the objectives by name, for the estimator and the command line

__all__ = [
    "ELBO",
    "IWAE",
    "OBJECTIVES",
    "AbstractObjective",
    "AbstractTimes",
    "AbstractWeighting",
    "BridgeMatching",
    "DenoisingScoreMatching",
    "FlowMatching",
    "ImageObjective",
    "ImportanceTimes",
    "LevelTimes",
    "LikelihoodWeighting",
    "LogitNormalTimes",
    "MaximumLikelihood",
    "NoiseWeighting",
    "Reflow",
    "RegularizedLikelihood",
    "ReverseKL",
    "ScoreMatching",
    "SlicedScoreMatching",
    "UniformTimes",
    "UnnormalisedDensity",
    "is_normalised",
    "natural_objective",
    "objective_named",
    "reflow_pairs",
    "straightness",
    "weighted_mean",
]
