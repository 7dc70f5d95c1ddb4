"""Judges a fitted density on plain arrays: what it must beat, and whether its samples are like the data."""

from pushforward.metrics.baselines import Baseline, baselines
from pushforward.metrics.bits import bits_per_dim
from pushforward.metrics.gains import Gain, compare
from pushforward.metrics.marginal import MarginalTest, MarginalTests, marginal_test, marginal_tests
from pushforward.metrics.neighbours import Memorisation, memorisation
from pushforward.metrics.tails import TailExceedances, TailIndex, TailLine, tail_exceedances, tail_index
from pushforward.metrics.two_sample import C2ST, c2st

__all__ = [
    "C2ST",
    "Baseline",
    "Gain",
    "MarginalTest",
    "MarginalTests",
    "Memorisation",
    "TailExceedances",
    "TailIndex",
    "TailLine",
    "baselines",
    "bits_per_dim",
    "c2st",
    "compare",
    "marginal_test",
    "marginal_tests",
    "memorisation",
    "tail_exceedances",
    "tail_index",
]
