"""Finds unusual rows: scores of a fitted density, calibrated p-values, and the detector that joins them."""

from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.calibration import Calibration
from pushforward.anomalies.detector import FlowOutlierDetector
from pushforward.anomalies.explanation import CellSurprise, Explanation, explain
from pushforward.anomalies.scores import (
    DEFAULT,
    SCORES,
    ColumnTails,
    ConditionalSurprise,
    LargestLatent,
    LatentNorm,
    LikelihoodRatio,
    NegativeLogDensity,
    Neighbours,
    RankEnsemble,
    Typicality,
    score_named,
)
from pushforward.anomalies.smoothing import SmoothedLikelihood

__all__ = [
    "DEFAULT",
    "SCORES",
    "AbstractScore",
    "Calibration",
    "CellSurprise",
    "ColumnTails",
    "ConditionalSurprise",
    "Explanation",
    "FittedScore",
    "FlowOutlierDetector",
    "LargestLatent",
    "LatentNorm",
    "LikelihoodRatio",
    "NegativeLogDensity",
    "Neighbours",
    "RankEnsemble",
    "ScoreParts",
    "SmoothedLikelihood",
    "Typicality",
    "explain",
    "score_named",
]
