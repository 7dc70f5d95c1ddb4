"""Stacks of layers: what mixes the coordinates between them, what normalises them, and how they are built."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.bijections import (
    ActNorm,
    Cayley,
    Chain,
    Householder,
    Invert,
    LULinear,
    MatrixExponential,
    Permutation,
    QRLinear,
    Reverse,
    Scan,
)
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.flows.build_plan import Plan
from pushforward.flows.options import Linear
from pushforward.flows.spaces import check_mixing


def _lu(key: PRNGKeyArray, dim: int) -> AbstractBijection:
    # It is inverted, so that scoring (what training does) is a matrix product, and sampling the triangular solves.
    return Invert(LULinear(key, dim))


def _rotation(key: PRNGKeyArray, dim: int) -> AbstractBijection:
    """A random rotation: reflections in directions from all over the sphere; the default is near a permutation."""
    start = Householder(key, dim)
    return eqx.tree_at(lambda layer: layer.vectors, start, jax.random.normal(key, start.vectors.shape))


def _shuffled(make: Callable[[PRNGKeyArray, int], AbstractBijection]) -> Callable:
    """The layer after a random permutation: such layers start near the identity, and a new flow is to mix.

    The permutation comes first from the data, and the whole is inverted, so that scoring is a matrix product.
    """

    def shuffled(key: PRNGKeyArray, dim: int) -> AbstractBijection:
        permutation_key, own_key = jax.random.split(key)
        return Invert(Chain([Permutation.random(permutation_key, dim), make(own_key, dim)]))

    return shuffled


LINEAR: dict[str, Callable[[PRNGKeyArray, int], AbstractBijection]] = {
    "rotation": _rotation,
    "reverse": lambda key, dim: Reverse(dim),
    "permutation": Permutation.random,
    "lu": _lu,
    "qr": _shuffled(QRLinear),
    "householder": _shuffled(Householder),
    "cayley": _shuffled(Cayley),
    "exponential": _shuffled(MatrixExponential),
}


def in_turn(key: PRNGKeyArray, mask: np.ndarray) -> Permutation:
    """A random permutation after a coupling, by which every coordinate is transformed in its turn.

    Coordinates that passed wait in a queue. The first of it go to places where the next coupling transforms, and those
    that were transformed take the places that are left, in a random order. Permutations that are drawn without such an
    order leave a coordinate untouched by every coupling, now and then.

    Args:
        key: JAX key.
        mask: Mask of transformed coordinates, of every coupling.
    """
    changed, queue = np.flatnonzero(mask), np.flatnonzero(~mask)
    n = min(len(changed), len(queue))
    places, done = (jax.random.permutation(own, changed) for own in jax.random.split(key))
    targets = jnp.concatenate([places[:n], queue[: len(queue) - n], places[n:], queue[len(queue) - n :]])
    return Permutation(jnp.zeros(len(mask), int).at[targets].set(jnp.concatenate([queue, done])))


def mixing_layer(plan: Plan, mask: np.ndarray | None) -> Callable[[PRNGKeyArray], AbstractBijection] | None:
    """The layer that mixes the coordinates of this flow, as a function of a key, or None.

    Args:
        plan: Plan of the flow.
        mask: Mask of transformed coordinates if the layers are couplings.
    """
    linear: Linear | None = plan.options.linear
    if linear is None:
        return None
    if linear == "permutation" and mask is not None:
        return lambda key: in_turn(key, mask)
    if isinstance(linear, str):
        return lambda key: LINEAR[linear](key, plan.dim)
    return lambda key: check_mixing(plan.name, linear(key, plan.dim), plan.entry.space)


def stack(
    plan: Plan,
    make: Callable[[PRNGKeyArray], AbstractBijection],
    n_layers: int | None = None,
    mask: np.ndarray | None = None,
) -> Flow:
    """Layers `make, linear, actnorm` from latent to data, stacked and scanned, over the base.

    They are built under one `jit`: dozens of small operations, each compiled by itself, would take seconds.

    Args:
        plan: Plan of the flow.
        make: Function from a key to a layer.
        n_layers: Number of layers; None takes that of the options.
        mask: Mask of transformed coordinates if the layers are couplings.
    """
    mix, actnorm = mixing_layer(plan, mask), plan.option("actnorm", False)

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        members = [make(key)]
        if mix is not None:
            # The mixing layer's own key: fold in a number that no constructor reaches by splitting.
            members.append(mix(jax.random.fold_in(key, 0x6C696E)))
        if actnorm:
            members.append(ActNorm(plan.dim))
        return Chain(members) if len(members) > 1 else members[0]

    count = plan.options.n_layers if n_layers is None else n_layers
    return Flow(plan.base, eqx.filter_jit(lambda key: Scan.of(layer, key, n_layers=count))(plan.key))
