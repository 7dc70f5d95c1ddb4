"""Probability paths between noise (t = 0) and data (t = 1), and how noise and data are paired."""

from pushforward.paths.base import AbstractPath, convert
from pushforward.paths.brownian_bridge import BridgePath
from pushforward.paths.pairings import AbstractPairing, Independent, OptimalTransport, Sinkhorn
from pushforward.paths.schedules import (
    LinearPath,
    PolynomialPath,
    SubVariancePreservingPath,
    TrigonometricPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)

__all__ = [
    "AbstractPairing",
    "AbstractPath",
    "BridgePath",
    "Independent",
    "LinearPath",
    "OptimalTransport",
    "PolynomialPath",
    "Sinkhorn",
    "SubVariancePreservingPath",
    "TrigonometricPath",
    "VarianceExplodingPath",
    "VariancePreservingPath",
    "convert",
]
