"""Flows of polynomials: sums of squares, and Bernstein's form."""

from __future__ import annotations

from pushforward._types import PRNGKeyArray
from pushforward.bijections import BernsteinMap, SumOfSquaresMap
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.autoregressive import autoregressive_flow
from pushforward.flows.layers import Linear


def sos(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    degree: int = 4,
    components: int = 3,
    bound: float = 5.0,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    residual: bool = False,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""Sum-of-squares polynomial flow: $z_i = \int_0^{x_i} \sum_k p_k(t; x_{<i})^2\,dt + c_i(x_{<i})$.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each MADE.
        depth: hidden layers of each MADE (residual blocks if `residual`).
        degree: of the polynomials $p_k$; a map has twice that and one.
        components: how many squares are summed.
        bound: beyond which the maps are straight lines; data should be standardised.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each MADE: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) -> bijection`.
        residual: ResMADE as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling sequential with a search of a root per step; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Jaini, Selby, Yu, 2019, arXiv 1905.02325.
    """
    return autoregressive_flow(
        "sos",
        SumOfSquaresMap(degree=degree, components=components, bound=bound),
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


def bernstein(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    degree: int = 16,
    bound: float = 5.0,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    residual: bool = False,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""Bernstein polynomial flow: each coordinate through a polynomial with increasing Bernstein coefficients.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each MADE.
        depth: hidden layers of each MADE (residual blocks if `residual`).
        degree: of the polynomials.
        bound: beyond which the maps are straight lines; data should be standardised.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each MADE: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) -> bijection`.
        residual: ResMADE as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling sequential with a search of a root per step; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Ramasinghe, Fernando, Khan, Barnes, 2021, arXiv 2102.03509.
    """
    return autoregressive_flow(
        "bernstein",
        BernsteinMap(degree=degree, bound=bound),
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
