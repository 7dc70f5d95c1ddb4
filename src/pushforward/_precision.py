"""Changes of the floating type of a model."""

from __future__ import annotations

from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np

Tree = TypeVar("Tree")


def in_type(model: Tree, dtype: Any) -> Tree:
    """The model with its floating numbers in one type, as NumPy arrays, which keep float64 where JAX would not.

    Args:
        model: Any tree.
        dtype: Floating type, such as `np.float64`, `np.float32` or `jnp.bfloat16`.
    """
    return jax.tree.map(lambda leaf: np.asarray(leaf).astype(dtype) if eqx.is_inexact_array(leaf) else leaf, model)


def widened(model: Tree) -> Tree:
    """The model in float64, for computations under `jax.enable_x64(True)`, whatever type it was trained in."""
    return in_type(model, np.float64)
