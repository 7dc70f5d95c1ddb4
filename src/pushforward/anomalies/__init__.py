"""Finds unusual rows: scores of a fitted density, calibrated p-values, and the detector that joins them."""

from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.calibration import Calibration
from pushforward.anomalies.detector import FlowOutlierDetector
from pushforward.anomalies.scores import DEFAULT, SCORES, NegativeLogDensity, score_named

__all__ = [
    "DEFAULT",
    "SCORES",
    "AbstractScore",
    "Calibration",
    "FittedScore",
    "FlowOutlierDetector",
    "NegativeLogDensity",
    "ScoreParts",
    "score_named",
]
