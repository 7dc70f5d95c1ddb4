"""Finds unusual rows: scores of a fitted density, calibrated p-values, and the detector that joins them."""

from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.calibration import Calibration
from pushforward.anomalies.detector import FlowOutlierDetector
from pushforward.anomalies.explanation import CellSurprise, Explanation, explain
from pushforward.anomalies.scores import (
    DEFAULT,
    SCORES,
    ColumnTails,
    LargestLatent,
    LatentNorm,
    NegativeLogDensity,
    Neighbours,
    RankEnsemble,
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
    "Explanation",
    "FittedScore",
    "FlowOutlierDetector",
    "LargestLatent",
    "LatentNorm",
    "NegativeLogDensity",
    "Neighbours",
    "RankEnsemble",
    "ScoreParts",
    "SmoothedLikelihood",
    "explain",
    "score_named",
]
