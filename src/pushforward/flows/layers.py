"""What the zoo's constructors share: the mixing layer, the base, the activation normalisation, the stack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray, Shape
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
from pushforward.distributions import Flow, StandardNormal
from pushforward.distributions.base import AbstractDistribution

LinearName = Literal["reverse", "permutation", "lu", "qr", "householder", "rotation", "cayley", "exponential"]
Linear = LinearName | Callable[[PRNGKeyArray, int], AbstractBijection] | None

# Bounds on sizes: a typing error must not allocate a terabyte.
MAX_DIM = 100_000
MAX_LAYERS = 10_000


def _lu(key: PRNGKeyArray, dim: int) -> AbstractBijection:
    # Inverted, so that scoring (the training direction) is a matrix product and sampling does the triangular solves.
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


def linear_layer(name: str, linear: Linear) -> Callable[[PRNGKeyArray, int], AbstractBijection] | None:
    """The constructor of the mixing layer.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name, a callable, nor None.
    """
    if linear is None or callable(linear):
        return linear
    if not isinstance(linear, str):
        fix = "A callable takes (key, dim) and returns a bijection."
        got = type(linear).__name__
        raise TypeError(message(name, "linear as a name, a callable or None", got, fix))
    if linear not in LINEAR:
        fix = "Or pass a callable (key, dim) -> bijection."
        raise ValueError(message(name, f"linear to be one of {', '.join(LINEAR)}", repr(linear), fix))
    return LINEAR[linear]


def condition_shape(name: str, condition_dim: int | None) -> Shape | None:
    """`(condition_dim,)`, or None."""
    return None if condition_dim is None else (check_int(name, "condition_dim", condition_dim, 1, MAX_DIM),)


def stack(
    name: str,
    key: PRNGKeyArray,
    make: Callable[[PRNGKeyArray], AbstractBijection],
    *,
    dim: int,
    n_layers: int,
    base: AbstractDistribution | None,
    linear: Linear,
    actnorm: bool,
) -> Flow:
    """`n_layers` layers `make, linear, actnorm` from latent to data, stacked and scanned, over `base`.

    Built under one `jit`: dozens of small operations, each compiled by itself, would take seconds.
    """
    n_layers = check_int(name, "n_layers", n_layers, 1, MAX_LAYERS)
    mix = linear_layer(name, linear)
    if base is None:
        base = StandardNormal((dim,))
    elif not isinstance(base, AbstractDistribution) or base.event_shape != (dim,):
        got = str(base.event_shape) if isinstance(base, AbstractDistribution) else type(base).__name__
        raise ValueError(message(name, f"a base distribution over events of shape ({dim},)", got, "Build it so."))

    def layer(layer_key: PRNGKeyArray) -> AbstractBijection:
        members = [make(layer_key)]
        if mix is not None:
            # Fold in a number that no constructor reaches by splitting, for a key of the mixing layer's own.
            members.append(mix(jax.random.fold_in(layer_key, 0x6C696E), dim))
        if actnorm:
            members.append(ActNorm(dim))
        return Chain(members) if len(members) > 1 else members[0]

    bijection = eqx.filter_jit(lambda k: Scan.of(layer, k, n_layers=n_layers))(as_key(name, key))
    return Flow(base, bijection)
