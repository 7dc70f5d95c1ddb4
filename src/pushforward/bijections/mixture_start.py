"""Initial values, set from data, of layers that map each coordinate by a mixture of normals."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.coupling import Coupling
from pushforward.bijections.elementwise import Elementwise
from pushforward.bijections.scalar_maps import GaussianMixtureMap
from pushforward.nets import MLP
from pushforward.numerics.normal_mixture import fit_mixtures


def is_mixture_layer(node: Any) -> bool:
    """Whether a layer maps every coordinate by a mixture of normals that depends on nothing but the condition."""
    if not isinstance(node, Elementwise | Coupling) or not isinstance(node.scalar_map, GaussianMixtureMap):
        return False
    if isinstance(node, Coupling):
        return all(node.split) and isinstance(node.conditioner, MLP)
    return len(node.in_shape) == 1


def fitted_to(layer: AbstractBijection, rows: Array) -> AbstractBijection:
    """The layer with its mixtures fitted to rows `(dim, n)`, which it then maps to nearly normal ones.

    Where the mixtures come from a network of the condition, its bias is set: at the start all conditions have the
    mixture that was fitted to all rows.

    Args:
        layer: A layer for which `is_mixture_layer` holds.
        rows: The inputs of the layer.
    """
    if isinstance(layer, Elementwise) and isinstance(layer.scalar_map, GaussianMixtureMap):
        params = _params(layer.scalar_map, rows).astype(layer.params.dtype)
        return eqx.tree_at(lambda layer: layer.params, layer, params)
    if isinstance(layer, Coupling) and isinstance(layer.scalar_map, GaussianMixtureMap):
        params = _params(layer.scalar_map, rows)
        return eqx.tree_at(
            lambda layer: layer.conditioner.weights[-1],
            layer,
            replace_fn=lambda weight: jnp.asarray(weight).at[:, -1].set(params.ravel().astype(weight.dtype)),
        )
    fix = "Only these can be fitted before training."
    raise TypeError(message("fitted_to", "a layer of mixtures of normals", type(layer).__name__, fix))


def _params(scalar_map: GaussianMixtureMap, rows: Array) -> Array:
    return scalar_map.params_of(*fit_mixtures(rows, scalar_map.components))
