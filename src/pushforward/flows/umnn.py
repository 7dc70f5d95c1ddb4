"""The flow of integrated networks."""

from __future__ import annotations

from pushforward._types import PRNGKeyArray
from pushforward.bijections import IntegralMap
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.autoregressive import autoregressive_flow
from pushforward.flows.layers import Linear
from pushforward.numerics.quadrature import ClenshawCurtis


def umnn(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 3,
    width: int = 64,
    depth: int = 2,
    embedding: int = 8,
    integrand_width: int = 32,
    integrand_depth: int = 2,
    nodes: int = 16,
    bound: float = 5.0,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    residual: bool = False,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""Unconstrained monotonic neural network flow: $z_i = \int_0^{x_i} g(t; h_i(x_{<i}))\,dt + b_i(x_{<i})$.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each MADE.
        depth: hidden layers of each MADE (residual blocks if `residual`).
        embedding: length of $h_i$, what the integrand of a coordinate depends on.
        integrand_width: units per hidden layer of the integrand $g$, a network that all coordinates of a layer share.
        integrand_depth: hidden layers of the integrand.
        nodes: at how many points of $[-b, b]$ it is sampled; the integral is that of an interpolating square.
        bound: $b$, beyond which the maps are straight lines; data should be standardised.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each MADE: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) -> bijection`.
        residual: ResMADE as conditioner.
        activation: of the MADE: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling sequential with a search of a root per step, of a polynomial: both directions run
        each integrand once per node; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Wehenkel, Louppe, 2019, arXiv 1908.05164.
    """

    def integral(map_key: PRNGKeyArray) -> IntegralMap:
        rule = ClenshawCurtis(nodes)
        return IntegralMap(map_key, embedding, integrand_width, integrand_depth, rule=rule, bound=bound)

    return autoregressive_flow(
        "umnn",
        integral,
        key,
        fast="score",
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        base=base,
        linear=linear,
        residual=residual,
        activation=activation,
        actnorm=actnorm,
    )
