"""Judges a fitted density on plain arrays: what it must beat, and whether its samples are like the data."""

from pushforward.metrics.baselines import Baseline, baselines
from pushforward.metrics.bits import bits_per_dim
from pushforward.metrics.classifiers import LocalC2ST, c2st_accuracy, local_c2st
from pushforward.metrics.conformal import conformal_p_values, covariate_shift_weights, cross_conformal_p_values
from pushforward.metrics.coverage import coverage_curve, density_levels, tarp_levels
from pushforward.metrics.detection import DetectionQuality, detection_quality
from pushforward.metrics.detection_score import DetectionScore, detection_score
from pushforward.metrics.evidence import LogZ, bridge_log_z, importance_log_z
from pushforward.metrics.false_discoveries import (
    FalseDiscoveryBound,
    benjamini_hochberg,
    false_discovery_bound,
    weighted_selection,
)
from pushforward.metrics.gains import Gain, compare
from pushforward.metrics.marginal import MarginalTest, MarginalTests, marginal_test, marginal_tests
from pushforward.metrics.martingale import DriftMartingale, PowerBets, SimpleJumper, SmoothedRanks
from pushforward.metrics.neighbours import Memorisation, Nearness, memorisation, nearness
from pushforward.metrics.ranks import Uniformity, ecdf_band, outside_band, pairs_needed, rank_levels, ranks, uniformity
from pushforward.metrics.similarity import Similarity, similarity
from pushforward.metrics.tails import TailExceedances, TailIndex, TailLine, tail_exceedances, tail_index
from pushforward.metrics.two_sample import C2ST, c2st
from pushforward.metrics.usefulness import Usefulness, usefulness
from pushforward.metrics.weights import effective_sample_size, pareto_k

__all__ = [
    "C2ST",
    "Baseline",
    "DetectionQuality",
    "DetectionScore",
    "DriftMartingale",
    "FalseDiscoveryBound",
    "Gain",
    "LocalC2ST",
    "LogZ",
    "MarginalTest",
    "MarginalTests",
    "Memorisation",
    "Nearness",
    "PowerBets",
    "Similarity",
    "SimpleJumper",
    "SmoothedRanks",
    "TailExceedances",
    "TailIndex",
    "TailLine",
    "Uniformity",
    "Usefulness",
    "baselines",
    "benjamini_hochberg",
    "bits_per_dim",
    "bridge_log_z",
    "c2st",
    "c2st_accuracy",
    "compare",
    "conformal_p_values",
    "covariate_shift_weights",
    "coverage_curve",
    "cross_conformal_p_values",
    "density_levels",
    "detection_quality",
    "detection_score",
    "ecdf_band",
    "effective_sample_size",
    "false_discovery_bound",
    "importance_log_z",
    "local_c2st",
    "marginal_test",
    "marginal_tests",
    "memorisation",
    "nearness",
    "outside_band",
    "pairs_needed",
    "pareto_k",
    "rank_levels",
    "ranks",
    "similarity",
    "tail_exceedances",
    "tail_index",
    "tarp_levels",
    "uniformity",
    "usefulness",
    "weighted_selection",
]
