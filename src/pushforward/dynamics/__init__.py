"""Velocity fields, their divergence, samplers, and the adapter to diffrax, which solves every equation."""

from pushforward.dynamics.bridge_field import BridgeField
from pushforward.dynamics.fields import AbstractField, NetworkField, PredictionField
from pushforward.dynamics.guidance import GuidedNet, MaskedCondition, NullableCondition, guided
from pushforward.dynamics.neural_ode import NeuralODE, Trajectory
from pushforward.dynamics.potential_field import PotentialField
from pushforward.dynamics.sampling import (
    AbstractSampler,
    Ancestral,
    AnnealedLangevin,
    PredictorCorrector,
    ReverseSDE,
    draw,
    langevin,
)
from pushforward.dynamics.solvers import METHODS, AbstractSolver, Adaptive, FixedSteps, OdeSolution

__all__ = [
    "METHODS",
    "AbstractField",
    "AbstractSampler",
    "AbstractSolver",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "BridgeField",
    "FixedSteps",
    "GuidedNet",
    "MaskedCondition",
    "NetworkField",
    "NeuralODE",
    "NullableCondition",
    "OdeSolution",
    "PotentialField",
    "PredictionField",
    "PredictorCorrector",
    "ReverseSDE",
    "Trajectory",
    "draw",
    "guided",
    "langevin",
]
