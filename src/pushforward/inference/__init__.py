"""Flows for inference: unnormalised densities, posteriors of simulators, and conditions after training.

The names are imported on first use. blackjax and ArviZ come with the extra `inference`, and are imported where they are
used.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME: dict[str, str] = {
    "AbstractDensity": "densities",
    "Chains": "metropolis",
    "Conditional": "conditioning",
    "ConditionalDraws": "weighted",
    "ConditioningError": "known",
    "DensityError": "ladder",
    "Importance": "weighting",
    "Inference": "result",
    "LatentGradient": "latent_space",
    "Marginal": "marginals",
    "MarginalScores": "marginals",
    "PulledBack": "latent_space",
    "Report": "weighted",
    "Target": "target",
    "condition_on": "conditioning",
    "importance": "weighting",
    "infer": "run",
    "independent_metropolis": "metropolis",
    "inverse_and_gradient": "latent_space",
    "marginal": "marginals",
    "pull_back": "latent_space",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.inference.{_HOME[name]}"), name)
    raise AttributeError(
        f"module 'pushforward.inference' has no attribute {name!r}; it has {', '.join(sorted(__all__))}"
    )
