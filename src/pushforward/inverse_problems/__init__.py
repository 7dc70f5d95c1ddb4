"""Events behind an observation: what a fitted density says of a signal that was masked, blurred or counted."""

from pushforward.inverse_problems.bias import Bias
from pushforward.inverse_problems.methods import DPS, HMC, MALA, MAP, TDS, Exact, Importance, PiGDM
from pushforward.inverse_problems.noise import AbstractNoise, GaussianNoise, Noiseless, PoissonNoise
from pushforward.inverse_problems.operators import AbstractOperator, Blur, Downsample, Function, InTurn, Mask, Matrix
from pushforward.inverse_problems.problem import Problem
from pushforward.inverse_problems.solution import Consistency, Solution
from pushforward.inverse_problems.solve import solve

__all__ = [
    "DPS",
    "HMC",
    "MALA",
    "MAP",
    "TDS",
    "AbstractNoise",
    "AbstractOperator",
    "Bias",
    "Blur",
    "Consistency",
    "Downsample",
    "Exact",
    "Function",
    "GaussianNoise",
    "Importance",
    "InTurn",
    "Mask",
    "Matrix",
    "Noiseless",
    "PiGDM",
    "PoissonNoise",
    "Problem",
    "Solution",
    "solve",
]
