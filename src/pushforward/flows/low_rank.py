"""Low-rank residual flows: planar, radial and Sylvester, fast to score or fast to sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import jax

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections import Cayley, Invert, Planar, Radial, Sylvester
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.layers import MAX_DIM, Linear, condition_shape, stack
from pushforward.nets import MLP

Fast = Literal["score", "sample"]
# Rank of a Sylvester layer if none is given: beyond, more layers do more than more hidden units in each.
DEFAULT_RANK = 8


def low_rank_flow(
    name: str,
    key: PRNGKeyArray,
    make: Callable[[PRNGKeyArray, Callable[[Array], Array] | None], AbstractBijection],
    n_params: int,
    *,
    dim: int,
    condition_dim: int | None,
    n_layers: int,
    width: int,
    depth: int,
    fast: Fast,
    base: AbstractDistribution | None,
    linear: Linear,
    activation: str,
    actnorm: bool,
) -> Flow:
    """A stack of low-rank layers whose closed form is the direction `fast`, amortised if there is a condition.

    `make` takes a key and the network of the parameters (None without a condition), which has `n_params` outputs, and
    gives a layer; the zoo's functions say what the other arguments mean.
    """
    if fast not in ("score", "sample"):
        fix = "'score' to fit data, 'sample' for variational inference."
        raise ValueError(message(name, "fast to be 'score' or 'sample'", repr(fast), fix))
    cond_shape = condition_shape(name, condition_dim)

    def layer(layer_key: PRNGKeyArray) -> AbstractBijection:
        net_key, layer_key = jax.random.split(layer_key)
        net = None
        if cond_shape is not None:
            net = MLP(net_key, cond_shape[0], (n_params,), width=width, depth=depth, activation=activation)
        made = make(layer_key, net)
        return Invert(made) if fast == "score" else made

    return stack(name, key, layer, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)


def planar(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 16,
    width: int = 64,
    depth: int = 2,
    ridge: Literal["tanh", "leaky_relu"] = "tanh",
    fast: Fast = "score",
    base: AbstractDistribution | None = None,
    linear: Linear = None,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""Planar flow: layers $x + \hat u\,h(w \cdot x + b)$, each bending space along one direction.

    One hidden unit per layer: it takes dozens of layers, and few dimensions. The closed form runs in the direction
    `fast`; the other solves a scalar equation per layer, exactly, and is in closed form too for the leaky rectifier.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow; all parameters are then amortised, from
            a network of the condition per layer.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the networks of the condition.
        depth: hidden layers of the networks of the condition.
        ridge: $h$, `"tanh"` or `"leaky_relu"`.
        fast: `"score"` to fit data by maximum likelihood, `"sample"` for variational inference.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each layer: `"reverse"`, `"permutation"`, `"lu"`, `"qr"`, `"householder"`,
            `"cayley"`, `"exponential"`, None, or `(key, dim) -> bijection`. A planar layer mixes all columns by itself.
        activation: of the networks of the condition: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling iterative (`fast="sample"`: the other way round); both parallel for
        `ridge="leaky_relu"`; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Rezende and Mohamed, 2015, section 4.1, arXiv 1505.05770.
    """
    dim = check_int("planar", "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape("planar", condition_dim)
    return low_rank_flow(
        "planar",
        key,
        lambda layer_key, net: Planar(layer_key, dim, ridge=ridge, cond_shape=cond_shape, net=net),
        2 * dim + 1,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        fast=fast,
        base=base,
        linear=linear,
        activation=activation,
        actnorm=actnorm,
    )


def radial(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 16,
    width: int = 64,
    depth: int = 2,
    fast: Fast = "score",
    base: AbstractDistribution | None = None,
    linear: Linear = None,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""Radial flow: layers $x + \beta\,(x - x_0) / (\alpha + |x - x_0|)$, each drawing points to a centre or away.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow; all parameters are then amortised, from
            a network of the condition per layer.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the networks of the condition.
        depth: hidden layers of the networks of the condition.
        fast: which direction adds the shift, `"score"` or `"sample"`; the other takes a square root more.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each layer: `"reverse"`, `"permutation"`, `"lu"`, `"qr"`, `"householder"`,
            `"cayley"`, `"exponential"`, None, or `(key, dim) -> bijection`.
        activation: of the networks of the condition: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling parallel; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Rezende and Mohamed, 2015, section 4.1, arXiv 1505.05770.
    """
    dim = check_int("radial", "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape("radial", condition_dim)
    return low_rank_flow(
        "radial",
        key,
        lambda layer_key, net: Radial(layer_key, dim, cond_shape=cond_shape, net=net),
        dim + 2,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        fast=fast,
        base=base,
        linear=linear,
        activation=activation,
        actnorm=actnorm,
    )


def sylvester(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 8,
    rank: int | None = None,
    width: int = 64,
    depth: int = 2,
    basis: Literal["householder", "cayley"] = "householder",
    ridge: Literal["tanh", "leaky_relu"] = "tanh",
    fast: Fast = "score",
    base: AbstractDistribution | None = None,
    linear: Linear = None,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""Sylvester flow: layers $x + Q R\,h(\tilde R Q^\top x + b)$ of `rank` hidden units each.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow; the parameters are then amortised, from
            a network of the condition per layer.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        rank: hidden units per layer, up to `dim`; None is the smaller of 8 and `dim`.
        width: units per hidden layer of the networks of the condition.
        depth: hidden layers of the networks of the condition.
        basis: how the columns of $Q$ are kept orthonormal: `"householder"`, by `rank` reflections, amortised with the
            rest, or `"cayley"`, one basis for all conditions.
        ridge: $h$, `"tanh"` or `"leaky_relu"`.
        fast: `"score"` to fit data by maximum likelihood, `"sample"` for variational inference.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each layer: `"reverse"`, `"permutation"`, `"lu"`, `"qr"`, `"householder"`,
            `"cayley"`, `"exponential"`, None, or `(key, dim) -> bijection`.
        activation: of the networks of the condition: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling iterative, one scalar equation per hidden unit (`fast="sample"`: the other way
        round; sequential for `ridge="leaky_relu"`); log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        van den Berg, Hasenclever, Tomczak, Welling, 2018, arXiv 1803.05649.
    """
    dim = check_int("sylvester", "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape("sylvester", condition_dim)
    m = min(DEFAULT_RANK, dim) if rank is None else check_int("sylvester", "rank", rank, 1, dim)
    if basis not in ("householder", "cayley"):
        fix = "Or assemble layers of your own with pf.bijections.Sylvester(basis=...)."
        raise ValueError(message("sylvester", "basis to be 'householder' or 'cayley'", repr(basis), fix))

    def make(layer_key: PRNGKeyArray, net: Callable[[Array], Array] | None) -> AbstractBijection:
        basis_key, own_key = jax.random.split(layer_key)
        shared = Cayley(basis_key, dim) if basis == "cayley" else None
        return Sylvester(own_key, dim, m, basis=shared, ridge=ridge, cond_shape=cond_shape, net=net)

    return low_rank_flow(
        "sylvester",
        key,
        make,
        m * (m + 2) + (m * dim if basis == "householder" else 0),
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        fast=fast,
        base=base,
        linear=linear,
        activation=activation,
        actnorm=actnorm,
    )
