"""Autoregressive flows: MAF, IAF, and the builder they share with the neural spline flow."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import AffineMap, Autoregressive, GraphAutoregressive, Invert, RepeatedMap
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.layers import MAX_DIM, MAX_LAYERS, Linear, condition_shape, stack
from pushforward.nets import MADE, GraphMADE


def autoregressive_flow(
    name: str,
    scalar_map: AbstractScalarMap,
    key: PRNGKeyArray,
    *,
    fast: str,
    dim: int,
    condition_dim: int | None,
    n_layers: int,
    width: int,
    depth: int,
    base: AbstractDistribution | None,
    linear: Linear,
    residual: bool,
    activation: str,
    actnorm: bool,
    adjacency: Any = None,
) -> Flow:
    """A stack of autoregressive layers whose parallel direction is `fast`: `"score"` (MAF) or `"sample"` (IAF).

    With an adjacency one layer along the graph, of `n_layers` scalar maps that all see the original parents: a second
    layer's parents would bring their own parents along.
    """
    dim = check_int(name, "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape(name, condition_dim)
    if adjacency is not None:
        if linear is not None:
            fix = "A mixing layer would join what the graph keeps apart: pass linear=None."
            raise ValueError(message(name, "linear=None together with an adjacency", repr(linear), fix))
        if np.shape(adjacency)[:1] != (dim,):
            fix = "One row per coordinate of an event: entry [i, j] says that i may depend on j."
            raise ValueError(message(name, f"an adjacency of {dim} rows", f"shape {np.shape(adjacency)}", fix))
        scalar_map = RepeatedMap(scalar_map, check_int(name, "n_layers", n_layers, 1, MAX_LAYERS))
        n_layers = 1

    def make(layer_key: PRNGKeyArray) -> AbstractBijection:
        options: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "cond_shape": cond_shape,
            "residual": residual,
            "activation": activation,
        }
        if adjacency is not None:
            conditioner = GraphMADE(layer_key, adjacency, scalar_map.n_params, **options)
            layer: AbstractBijection = GraphAutoregressive(conditioner, scalar_map)
        else:
            layer = Autoregressive(MADE(layer_key, dim, scalar_map.n_params, **options), scalar_map)
        return Invert(layer) if fast == "score" else layer

    return stack(name, key, make, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)


def maf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    residual: bool = False,
    activation: str = "relu",
    max_log_scale: float = 5.0,
    actnorm: bool = False,
    adjacency: Any = None,
) -> Flow:
    r"""Masked autoregressive flow: $z_i = x_i\,e^{s_i(x_{<i})} + t_i(x_{<i})$, scored in one pass.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each MADE.
        depth: hidden layers of each MADE (residual blocks if `residual`).
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each MADE: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) -> bijection`.
        residual: ResMADE as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        max_log_scale: bound on $|s|$.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).
        adjacency: a Bayesian network to respect exactly, `(dim, dim)` or `(dim, dim + condition_dim)` of booleans:
            entry `[i, j]` says that coordinate `i` may depend on coordinate `j`, or on entry `j - dim` of the condition
            (which reaches all if it has no columns). Needs `linear=None` and a base with independent coordinates. The
            flow is then one layer, in which each coordinate goes through `n_layers` maps given its parents; composed
            affine maps are affine, so here 1 says as much as 5. See `GraphAutoregressive`.

    Cost:
        scoring parallel, sampling sequential (all steps together about the arithmetic of one pass; with an adjacency
        as many passes as the graph is deep); log-det exact.

    Raises:
        ValueError: a size is out of bounds, a name unknown, an adjacency has a cycle or a mixing layer beside it.

    Source:
        Papamakarios, Pavlakou, Murray, 2017, eq. 3-6, arXiv 1705.07057.
    """
    return autoregressive_flow(
        "maf",
        AffineMap(max_log_scale=max_log_scale),
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
        adjacency=adjacency,
    )


def iaf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    residual: bool = False,
    activation: str = "relu",
    max_log_scale: float = 5.0,
    actnorm: bool = False,
) -> Flow:
    r"""Inverse autoregressive flow: $x_i = z_i\,e^{s_i(z_{<i})} + t_i(z_{<i})$, sampled in one pass.

    MAF without the `Invert`: for variational inference, where the flow scores its own samples. On data its density is
    sequential; `maf` is the one to fit to a table.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of each MADE.
        depth: hidden layers of each MADE (residual blocks if `residual`).
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each MADE: `"reverse"`, `"permutation"`, `"lu"`, None, or `(key, dim) -> bijection`.
        residual: ResMADE as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        max_log_scale: bound on $|s|$.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring sequential, sampling parallel; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Kingma, Salimans, Jozefowicz, Chen, Sutskever, Welling, 2016, eq. 9-10, arXiv 1606.04934.
    """
    return autoregressive_flow(
        "iaf",
        AffineMap(max_log_scale=max_log_scale),
        key,
        fast="sample",
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
