"""The neural spline flow, coupling and autoregressive."""

from __future__ import annotations

from typing import Any

from pushforward._checks import message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import RationalQuadraticMap
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.autoregressive import autoregressive_flow
from pushforward.flows.coupling import Split, coupling_flow
from pushforward.flows.layers import Linear


def nsf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    autoregressive: bool = False,
    bins: int = 8,
    bound: float = 5.0,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    split: Split | None = None,
    residual: bool = False,
    activation: str = "relu",
    actnorm: bool = False,
    adjacency: Any = None,
) -> Flow:
    r"""Neural spline flow: each coordinate through a rational-quadratic spline on $[-b, b]$, the identity outside.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the conditioner.
        depth: hidden layers of the conditioner (residual blocks if `residual`).
        autoregressive: masked autoregressive layers instead of couplings: better densities, sequential sampling.
        bins: bins per spline.
        bound: $b$; data should be standardised.
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each spline layer: `"reverse"`, `"permutation"`, `"lu"`, or `(key, dim) ->
            bijection`; None only if autoregressive.
        split: for couplings: `"half"` (the default), `"alternating"` or a mask of booleans.
        residual: a residual network as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).
        adjacency: a Bayesian network to respect exactly, `(dim, dim)` or `(dim, dim + condition_dim)` of booleans:
            entry `[i, j]` says that coordinate `i` may depend on coordinate `j`, or on entry `j - dim` of the condition
            (which reaches all if it has no columns). Needs `autoregressive=True`, `linear=None` and a base with
            independent coordinates. The flow is then one layer, in which each coordinate goes through `n_layers`
            splines given its parents; see `GraphAutoregressive`.

    Cost:
        scoring parallel, sampling parallel (sequential if autoregressive; with an adjacency as many passes as the graph
        is deep); log-det exact.

    Raises:
        ValueError: a size is out of bounds, a name unknown, `split` given to an autoregressive flow, or an adjacency
            that has a cycle, a mixing layer beside it, or couplings to go into.

    Source:
        Durkan, Bekasov, Murray, Papamakarios, 2019, arXiv 1906.04032.
    """
    scalar_map = RationalQuadraticMap(bins=bins, bound=bound)
    if autoregressive:
        if split is not None:
            raise ValueError(message("nsf", "no split if autoregressive=True", repr(split), "Leave split out."))
        return autoregressive_flow(
            "nsf",
            scalar_map,
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
    if adjacency is not None:
        fix = "A coupling has an order of its own: pass autoregressive=True."
        raise ValueError(message("nsf", "autoregressive=True together with an adjacency", "False", fix))
    return coupling_flow(
        "nsf",
        scalar_map,
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        base=base,
        linear=linear,
        split="half" if split is None else split,
        residual=residual,
        activation=activation,
        actnorm=actnorm,
    )
