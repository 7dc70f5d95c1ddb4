"""Weights and folders on disk: JSON and safetensors, checked before anything is built. No reader here runs code.

`from_zuko` and `from_nflows` read the flows that other libraries trained.
"""

from __future__ import annotations

import importlib
from typing import Any

from pushforward.io.errors import UntrustedModelError

_HOME = {
    "from_nflows": "foreign",
    "from_zuko": "foreign",
    "load_weights": "weights",
    "save_weights": "weights",
}

__all__ = ["UntrustedModelError", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.io.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pushforward.io' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
