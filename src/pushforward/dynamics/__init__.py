"""Dynamics: velocity fields, their divergence, and the adapter to diffrax, which solves every equation."""

from pushforward.dynamics.fields import AbstractField, NetworkField, PredictionField
from pushforward.dynamics.solvers import METHODS, AbstractSolver, Adaptive, FixedSteps, Solution

__all__ = [
    "METHODS",
    "AbstractField",
    "AbstractSolver",
    "Adaptive",
    "FixedSteps",
    "NetworkField",
    "PredictionField",
    "Solution",
]
