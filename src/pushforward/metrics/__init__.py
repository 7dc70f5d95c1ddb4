"""Judges a fitted density on plain arrays: what it must beat, and whether its samples are like the data."""

from pushforward.metrics.baselines import Baseline, baselines
from pushforward.metrics.bits import bits_per_dim
from pushforward.metrics.evidence import LogZ, bridge_log_z, importance_log_z
from pushforward.metrics.gains import Gain, compare
from pushforward.metrics.marginal import MarginalTest, MarginalTests, marginal_test, marginal_tests
from pushforward.metrics.neighbours import Memorisation, memorisation
from pushforward.metrics.tails import TailExceedances, TailIndex, TailLine, tail_exceedances, tail_index
from pushforward.metrics.two_sample import C2ST, c2st
from pushforward.metrics.weights import effective_sample_size, pareto_k

__all__ = [
    "C2ST",
    "Baseline",
    "Gain",
    "LogZ",
    "MarginalTest",
    "MarginalTests",
    "Memorisation",
    "TailExceedances",
    "TailIndex",
    "TailLine",
    "baselines",
    "bits_per_dim",
    "bridge_log_z",
    "c2st",
    "compare",
    "effective_sample_size",
    "importance_log_z",
    "marginal_test",
    "marginal_tests",
    "memorisation",
    "pareto_k",
    "tail_exceedances",
    "tail_index",
]
