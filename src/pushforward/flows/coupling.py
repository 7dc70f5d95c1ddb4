"""Coupling flows: NICE, RealNVP, and the builder they share with the neural spline flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import AdditiveMap, AffineMap, Coupling, alternating_split, half_split
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.layers import MAX_DIM, Linear, condition_shape, stack
from pushforward.nets import MLP, ResidualMLP, WithFeatures
from pushforward.nets.base import features_of

Split = Literal["half", "alternating"] | Sequence[bool] | np.ndarray


def split_mask(name: str, split: Split, dim: int) -> np.ndarray:
    """The mask of transformed coordinates.

    Raises:
        ValueError: an unknown name, or a mask of another length.
    """
    if isinstance(split, str):
        makers = {"half": half_split, "alternating": alternating_split}
        if split not in makers:
            fix = "Or pass a mask, True where a coordinate is transformed."
            raise ValueError(message(name, "split 'half' or 'alternating'", repr(split), fix))
        return makers[split](dim)
    mask = np.asarray(split)
    if mask.shape != (dim,) or mask.dtype != bool:
        got = f"shape {mask.shape}, dtype {mask.dtype}"
        raise ValueError(message(name, f"a mask of {dim} booleans", got, "True marks a transformed coordinate."))
    return mask


def coupling_flow(
    name: str,
    scalar_map: AbstractScalarMap,
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None,
    n_layers: int,
    width: int,
    depth: int,
    base: AbstractDistribution | None,
    linear: Linear,
    split: Split,
    residual: bool,
    activation: str,
    actnorm: bool,
    features: str = "identity",
) -> Flow:
    """A stack of couplings with the given scalar map; the zoo's functions say what the arguments mean."""
    dim = check_int(name, "dim", dim, 1, MAX_DIM)
    mask = split_mask(name, split, dim)
    if linear is None and not mask.all() and dim > 1:
        raise ValueError(
            f"{name}: expected a linear layer between couplings, got linear=None. Without one the same coordinates "
            f"would pass unchanged through every layer. Use linear='reverse', 'permutation' or 'lu'."
        )
    cond_shape = condition_shape(name, condition_dim)
    n_mapped = int(mask.sum())
    out_shape = (scalar_map.n_params, n_mapped)
    net = ResidualMLP if residual else MLP

    def make(layer_key: PRNGKeyArray) -> AbstractBijection:
        conditioner = net(
            layer_key,
            features_of(features).count * (dim - n_mapped),
            out_shape,
            width=width,
            depth=depth,
            cond_shape=cond_shape,
            activation=activation,
        )
        if features != "identity":
            conditioner = WithFeatures(conditioner, features, out_shape)
        return Coupling(mask, conditioner, scalar_map, cond_shape=cond_shape)

    return stack(name, key, make, dim=dim, n_layers=n_layers, base=base, linear=linear, actnorm=actnorm)


def nice(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    split: Split = "half",
    residual: bool = False,
    activation: str = "relu",
    actnorm: bool = False,
) -> Flow:
    r"""NICE: additive couplings, $y_T = x_T + t(x_P)$; volume-preserving but for the linear layers.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the conditioner.
        depth: hidden layers of the conditioner (residual blocks if `residual`).
        base: distribution of the latent; None is a standard normal. NICE cannot scale, so that on data that are not
            standardised a `DiagonalNormal` is the usual choice.
        linear: mixing layer after each coupling: `"reverse"`, `"permutation"`, `"lu"`, or `(key, dim) -> bijection`.
        split: transformed coordinates: `"half"`, `"alternating"` or a mask of booleans.
        residual: a residual network as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling parallel; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Dinh, Krueger, Bengio, 2014, arXiv 1410.8516.
    """
    return coupling_flow(
        "nice",
        AdditiveMap(),
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        base=base,
        linear=linear,
        split=split,
        residual=residual,
        activation=activation,
        actnorm=actnorm,
    )


def realnvp(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 5,
    width: int = 64,
    depth: int = 2,
    base: AbstractDistribution | None = None,
    linear: Linear = "reverse",
    split: Split = "half",
    residual: bool = False,
    activation: str = "relu",
    max_log_scale: float = 5.0,
    actnorm: bool = False,
) -> Flow:
    r"""RealNVP: affine couplings, $y_T = x_T\,e^{s(x_P)} + t(x_P)$ with a bounded log-scale.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: number of layers; they are scanned, so that compiling does not take longer for more.
        width: units per hidden layer of the conditioner.
        depth: hidden layers of the conditioner (residual blocks if `residual`).
        base: distribution of the latent; None is a standard normal.
        linear: mixing layer after each coupling: `"reverse"`, `"permutation"`, `"lu"`, or `(key, dim) -> bijection`.
        split: transformed coordinates: `"half"`, `"alternating"` or a mask of booleans.
        residual: a residual network as conditioner.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        max_log_scale: bound on $|s|$.
        actnorm: an `ActNorm` after each layer; `pf.bijections.initialise` sets them from data (`pf.fit` does).

    Cost:
        scoring parallel, sampling parallel; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Dinh, Sohl-Dickstein, Bengio, 2017, arXiv 1605.08803.
    """
    return coupling_flow(
        "realnvp",
        AffineMap(max_log_scale=max_log_scale),
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        base=base,
        linear=linear,
        split=split,
        residual=residual,
        activation=activation,
        actnorm=actnorm,
    )
