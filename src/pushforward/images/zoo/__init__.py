"""The zoo of images: functions that assemble the image models of the literature.

Each is declared by an entry in a module `*_entries.py`, which is imported here. Importing this package loads no JAX, so
that the command line can show its help without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushforward.images.zoo.baseline_entries import gaussian
from pushforward.images.zoo.coupling_entries import flowpp, glow, nice, realnvp
from pushforward.images.zoo.discrete_entries import any_order, diagonal_bilstm, made, pixelcnn, pixelcnnpp, row_lstm
from pushforward.images.zoo.field_entries import ffjord, flow_matching, score_sde
from pushforward.images.zoo.registry import IMAGE_ENTRIES, ImageEntry
from pushforward.images.zoo.residual_entries import iresnet, residual_flow
from pushforward.images.zoo.transformer_entries import jet, tarflow

# The closed registry: a model folder names its model by one of these, and nothing else is ever looked up.
IMAGE_ZOO: dict[str, Callable[..., Any]] = {name: globals()[name] for name in IMAGE_ENTRIES}

__all__ = [
    "IMAGE_ENTRIES",
    "IMAGE_ZOO",
    "ImageEntry",
    "any_order",
    "diagonal_bilstm",
    "ffjord",
    "flow_matching",
    "flowpp",
    "gaussian",
    "glow",
    "iresnet",
    "jet",
    "made",
    "nice",
    "pixelcnn",
    "pixelcnnpp",
    "realnvp",
    "residual_flow",
    "row_lstm",
    "score_sde",
    "tarflow",
]
