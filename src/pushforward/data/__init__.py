"""Toy distributions, and oracles with exact densities. Nothing is imported before it is used."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Toy2D": "toy2d",
    "TOYS": "toy2d",
    "Banana": "oracles",
    "Funnel": "oracles",
    "Gaussian": "oracles",
    "GaussianMixture": "oracles",
    "MultivariateT": "oracles",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pushforward.data' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
