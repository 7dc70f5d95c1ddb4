"""Gaussianization: rotations, and each coordinate made normal by a mixture of normals."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Coupling, Elementwise, GaussianMixtureMap, Invert
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.layers import MAX_DIM, Linear, condition_shape, stack
from pushforward.nets import MLP


def gaussianization(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 8,
    width: int = 64,
    depth: int = 2,
    components: int = 8,
    base: AbstractDistribution | None = None,
    linear: Linear = "rotation",
    activation: str = "relu",
    max_log_scale: float = 5.0,
    actnorm: bool = False,
) -> Flow:
    r"""Gaussianization: from data to latent, $z = \Phi^{-1}(F(R\,x))$, layer after layer.

    $R$ is a trained rotation and $F$ the distribution function of a mixture of normals in each coordinate. With a
    condition the mixtures' parameters are a network of it, and the rotations are not. `pf.bijections.initialise` (which
    `pf.fit` calls) fits each layer's mixtures to the rows that reach it, so that training starts from a density close
    to the data's.

    Args:
        key: for the initial rotations and weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the network of the condition.
        depth: hidden layers of that network.
        components: normals per mixture.
        base: distribution of the latent; None is a standard normal.
        linear: what mixes the coordinates: `"rotation"` (reflections in random directions, trained), `"lu"`,
            `"permutation"`, `"reverse"`, None, or `(key, dim) -> bijection`.
        activation: of the network of the condition: one of relu, elu, gelu, silu, softplus, tanh.
        max_log_scale: bound on the log-scales of the normals.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel; sampling a safeguarded Newton iteration per layer, all dimensions at once; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Chen and Gopinath, 2000, "Gaussianization", NIPS 13; Meng, Song, Song, Ermon, 2020, arXiv 2003.01941.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.gaussianization(jax.random.key(0), dim=2, n_layers=2, components=3)
        >>> flow.log_prob(jax.numpy.zeros((4, 2))).shape
        (4,)
    """
    scalar_map = GaussianMixtureMap(components, max_log_scale=max_log_scale)
    dim = check_int("gaussianization", "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape("gaussianization", condition_dim)
    start = jnp.broadcast_to(scalar_map.spread()[:, None], (scalar_map.n_params, dim))

    def make(layer_key: PRNGKeyArray) -> AbstractBijection:
        if cond_shape is None:
            return Invert(Elementwise(scalar_map, (dim,), start))
        sizes = (scalar_map.n_params, dim)
        net = MLP(layer_key, 0, sizes, width=width, depth=depth, cond_shape=cond_shape, activation=activation)
        biased = net.weights[-1].at[:, -1].set(start.ravel())
        net = eqx.tree_at(lambda net: net.weights[-1], net, biased)
        return Invert(Coupling(np.ones(dim, bool), net, scalar_map, cond_shape=cond_shape))

    return stack("gaussianization", key, make, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)
