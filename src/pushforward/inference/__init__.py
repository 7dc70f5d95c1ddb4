"""Flows for inference: unnormalised densities, posteriors of simulators, and conditions after training.

The names are imported on first use. blackjax and ArviZ come with the extra `inference`, and are imported where they are
used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME: dict[str, str] = {
    "AbstractDensity": "densities",
    "Bootstrapped": "alpha_divergence",
    "Calibration": "calibration",
    "CalibrationTest": "calibration",
    "Chains": "metropolis",
    "Conditional": "conditioning",
    "ConditionalDraws": "weighted",
    "ConditioningError": "known",
    "DensityError": "ladder",
    "Importance": "weighting",
    "IndependentPrior": "priors",
    "Inference": "result",
    "JointPosterior": "joint",
    "LatentGradient": "latent_space",
    "Marginal": "marginals",
    "MarginalScores": "marginals",
    "NLE": "likelihood",
    "NPE": "posterior",
    "PulledBack": "latent_space",
    "Report": "weighted",
    "SimulationWarning": "simulations",
    "Target": "target",
    "TruncatedProposal": "proposals",
    "WholePrior": "priors",
    "annealed_bootstrap": "alpha_divergence",
    "calibrate": "calibration",
    "condition_on": "conditioning",
    "importance": "weighting",
    "independent_metropolis": "metropolis",
    "infer": "run",
    "inverse_and_gradient": "latent_space",
    "marginal": "marginals",
    "prior_from": "priors",
    "pull_back": "latent_space",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.inference.{_HOME[name]}"), name)
    raise AttributeError(
        f"module 'pushforward.inference' has no attribute {name!r}; it has {', '.join(sorted(__all__))}"
    )
