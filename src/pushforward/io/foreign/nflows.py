"""Flows of nflows (RealNVP, MAF, neural spline flows) from their state dicts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_number, message
from pushforward._types import Array, Shape
from pushforward.bijections import (
    AdditiveMap,
    Affine,
    Chain,
    Coupling,
    Elementwise,
    FullLinear,
    Invert,
    Partial,
    Permutation,
    RationalQuadraticMap,
)
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions import Flow, StandardNormal
from pushforward.io.foreign.arrays import Node, check_all_used, read_state_dict
from pushforward.io.foreign.maps import PositiveScaleMap
from pushforward.io.foreign.networks import Activate, AddCondition, Dense, Gate, Network, Operation, Residual, dense
from pushforward.io.foreign.zuko import autoregressive
from pushforward.nets.base import activation_of
from pushforward.numerics.rational_quadratic_spline import MIN_SLOPE

# nflows adds the raw slope to nothing; here a raw slope of 0 is a slope of 1.
SLOPE_OF_ONE = math.log(math.expm1(1 - MIN_SLOPE))
LU_FLOOR, NORM_FLOOR = 1e-3, 1e-5  # the smallest diagonal of LULinear, and the epsilon of BatchNorm
KNOWN = (
    "couplings and autoregressive layers (additive, affine, rational-quadratic splines with linear tails), "
    "permutations, LULinear, BatchNorm, ActNorm and affine transforms"
)


def from_nflows(
    weights: str | os.PathLike | Mapping[str, Any], *, activation: str = "relu", tail_bound: float = 1.0
) -> Flow:
    r"""A flow of nflows with its trained weights: the same densities, to the rounding of the floating type.

    Read are couplings and masked autoregressive layers (additive, affine, or rational-quadratic splines with linear
    tails), with residual or feedforward networks and contexts, and permutations, `LULinear`, `BatchNorm` (as in
    evaluation), `ActNorm` and affine transforms between them, over a `StandardNormal`. The flow can be trained
    further: masks stay, and an `LULinear` becomes a full matrix.

    Args:
        weights: A file `.safetensors` or `.npz` with the state dict, or the state dict as a mapping to arrays.
        activation: Activation function of the networks, by name; that of nflows is `"relu"` unless it was chosen.
        tail_bound: The half-width `tail_bound` of the splines, which a state dict does not hold; nflows' default is 1.

    Cost: one pass for a density. Sampling an autoregressive flow takes one pass per column and layer, as in nflows;
        train `pf.flows.maf` or `pf.flows.nsf` for sampling at the cost of one pass.

    Raises:
        ValueError: A part of the flow is of a kind that cannot be mapped; the error names it.
        UntrustedModelError: The file is damaged, or holds Python objects.

    Source: Durkan, Bekasov, Murray, Papamakarios, nflows 0.14, https://github.com/bayesiains/nflows.
    """
    activation_of(activation)
    tail_bound = check_number("from_nflows", "tail_bound", tail_bound, 0, open_low=True)
    root = read_state_dict(weights)
    if "_transform" not in root or ("_distribution" in root and root["_distribution"].names != {"_log_z"}):
        fix = "Save flow.state_dict() of a flow over a StandardNormal; conditional bases and embeddings are not read."
        got = f"parts {', '.join(sorted(root.names))[:80]}"
        raise ValueError(message("from_nflows", "the state dict of nflows.flows.Flow", got, fix))
    if "_distribution" in root:
        root["_distribution"].take("_log_z", 0)
    layers = _layers(root["_transform"], activation, tail_bound)
    check_all_used("from_nflows", root)
    chain = Chain(layers)
    return Flow(StandardNormal(chain.in_shape), Invert(chain))


def _layers(part: Node, activation: str, tail_bound: float) -> list[AbstractBijection]:
    """The bijections of a transform, from data to latent."""
    if "_transforms" in part:
        numbered = list(part["_transforms"].numbered())
        if [n for n, _ in numbered] != list(range(len(numbered))):
            fix = "A transform without arrays, such as a sigmoid, cannot be told from the state dict."
            got = f"{[n for n, _ in numbered]}"
            raise ValueError(message(f"from_nflows: {part.path}", "transforms numbered without gaps", got, fix))
        return [layer for _, member in numbered for layer in _layers(member, activation, tail_bound)]
    if "autoregressive_net" in part:
        return _autoregressive(part, activation, tail_bound)
    if "transform_net" in part:
        return _coupling(part, activation, tail_bound)
    if "_transform" in part:
        return [Invert(Chain(_layers(part["_transform"], activation, tail_bound)))]
    if "_permutation" in part:
        return [Permutation(part.take("_permutation", 1))]
    if {"lower_entries", "upper_entries", "unconstrained_upper_diag"} <= part.names:
        return [_lu(part)]
    if "running_mean" in part:
        scale = jax.nn.softplus(part.take("unconstrained_weight", 1)) + NORM_FLOOR
        scale = scale / jnp.sqrt(part.take("running_var", 1) + NORM_FLOOR)
        return [Affine(part.take("bias", 1) - part.take("running_mean", 1) * scale, scale)]
    if {"log_scale", "shift"} <= part.names:
        if "initialized" in part:
            part.take("initialized", 0)
        return [Affine(part.take("shift", 1), jnp.exp(part.take("log_scale", 1)))]
    got = f"one with {', '.join(sorted(part.names))[:80]}"
    fix = f"Read are {KNOWN}."
    raise ValueError(message(f"from_nflows: {part.path}", "a transform that is known", got, fix))


def _lu(part: Node) -> FullLinear:
    """$W x + b$ with $W = L U$, whose triangles are listed row by row."""
    diagonal = jax.nn.softplus(part.take("unconstrained_upper_diag", 1)) + LU_FLOOR
    dim = len(diagonal)
    lower = jnp.eye(dim).at[np.tril_indices(dim, -1)].set(part.take("lower_entries", 1))
    upper = jnp.diag(diagonal).at[np.triu_indices(dim, 1)].set(part.take("upper_entries", 1))
    start = FullLinear(jax.random.key(0), dim)
    return eqx.tree_at(lambda layer: (layer.weight, layer.bias), start, (lower @ upper, part.take("bias", 1)))


def _spline_shift(bins: int) -> Array:
    """What is taken from the parameters of a spline, `(3 bins - 1,)`, because its slopes are counted from 1 here."""
    return jnp.concatenate([jnp.zeros(2 * bins), jnp.full(bins - 1, SLOPE_OF_ONE)])


def _bins(part: Node, count: int) -> int:
    """The number of bins of a spline with so many parameters a column.

    Raises:
        ValueError: No spline with linear tails has so many.
    """
    if count % 3 != 2:
        expected = "1 parameter a column (shift), 2 (affine) or 3 K - 1 (rational-quadratic spline with linear tails)"
        fix = "Splines without tails and other kinds of splines are not read."
        raise ValueError(message(f"from_nflows: {part.path}", expected, f"{count}", fix))
    return (count + 1) // 3


def _autoregressive(part: Node, activation: str, tail_bound: float) -> list[AbstractBijection]:
    net = part["autoregressive_net"]
    first = _masked(net["initial_layer"])
    dim, operations = first.weight.shape[1], [first]
    cond_shape: Shape | None = None
    if "context_layer" in net:
        own = dense(net["context_layer"])
        operations.append(AddCondition(own, True))  # pyright: ignore[reportArgumentType]
        cond_shape = own.weight.shape[1:]
    blocks = [block for _, block in net["blocks"].numbered()] if "blocks" in net else []
    residual = any("linear_layers" in block for block in blocks)
    if not residual:
        operations.append(Activate())  # pyright: ignore[reportArgumentType]
    for block in blocks:
        if "linear_layers" in block:
            inner: list[Operation] = [Activate(), _masked(block["linear_layers"]["0"])]
            if "context_layer" in block:
                inner.append(AddCondition(dense(block["context_layer"]), False))
            operations.append(Residual((*inner, Activate(), _masked(block["linear_layers"]["1"]))))  # pyright: ignore[reportArgumentType]
        else:
            operations += [_masked(block["linear"]), Activate()]  # pyright: ignore[reportOperatorIssue]
    last = _masked(net["final_layer"])
    count = last.weight.shape[0] // dim
    scalar_map: AbstractScalarMap
    if count == 2:
        scalar_map = PositiveScaleMap("softplus", "scale, shift")
    else:
        bins = _bins(part, count)
        scalar_map = RationalQuadraticMap(bins, tail_bound)
        last = Dense(last.weight, last.bias - jnp.tile(_spline_shift(bins), dim), last.mask)
    made = Network((*operations, last), activation, cond_shape, False, (count, dim))
    return autoregressive("from_nflows", part, made, scalar_map, dim)


def _masked(node: Node) -> Dense:
    """A masked layer, whose degrees say what its mask says."""
    if "degrees" in node:
        node.take("degrees", 1)
    return dense(node)


def _coupling(part: Node, activation: str, tail_bound: float) -> list[AbstractBijection]:
    passing = np.asarray(part.take("identity_features", 1)).astype(int)
    mapped = np.asarray(part.take("transform_features", 1)).astype(int)
    net, split = part["transform_net"], np.isin(np.arange(len(passing) + len(mapped)), mapped)
    if "initial_layer" not in net or "final_layer" not in net:
        fix = "Networks of your own cannot be told from their names: build the flow with pf.Coupling."
        got = f"one with {', '.join(sorted(net.names))[:80]}"
        raise ValueError(message(f"from_nflows: {net.path}", "a ResidualNet of nflows", got, fix))
    first = dense(net["initial_layer"])
    n_condition = first.weight.shape[1] - len(passing)
    cond_shape: Shape | None = (n_condition,) if n_condition else None
    operations: list[Operation] = [first]
    for _, block in net["blocks"].numbered() if "blocks" in net else ():
        layers = block["linear_layers"]
        inner: list[Operation] = [Activate(), dense(layers["0"]), Activate(), dense(layers["1"])]
        if "context_layer" in block:
            inner.append(Gate(dense(block["context_layer"])))
        operations.append(Residual(tuple(inner)))
    count = net["final_layer"].take("bias", 1).shape[0] // len(mapped)
    rows, shift, scalar_map = _coupled(part, count, first.weight.shape[0], tail_bound)
    last = dense(net["final_layer"], None if rows is None else jnp.tile(rows, len(mapped)))
    if shift is not None:
        last = Dense(last.weight, last.bias - jnp.tile(shift, len(mapped)), last.mask)
    shape = (scalar_map.n_params, len(mapped))
    network = Network((*operations, last), activation, cond_shape, True, shape, by_feature=count > 2)
    layer: list[AbstractBijection] = [Coupling(split, network, scalar_map, cond_shape=cond_shape)]
    if "unconditional_transform" in part:
        layer.append(Partial(_spline(part["unconditional_transform"], tail_bound), passing.tolist(), dim=len(split)))
    return layer


def _coupled(
    part: Node, count: int, width: int, tail_bound: float
) -> tuple[Array | None, Array | None, AbstractScalarMap]:
    """The factors and shifts of the parameters of one column, and its scalar map."""
    if count == 1:
        return None, None, AdditiveMap()
    if count == 2:
        return None, None, PositiveScaleMap("sigmoid", "shift, scale")
    bins = _bins(part, count)
    # nflows divides widths and heights by the square root of the network's width.
    factors = jnp.concatenate([jnp.full(2 * bins, width**-0.5), jnp.ones(bins - 1)])
    return factors, _spline_shift(bins), RationalQuadraticMap(bins, tail_bound)


def _spline(part: Node, tail_bound: float) -> Elementwise:
    """The splines of columns that no network sets."""
    names = ("unnormalized_widths", "unnormalized_heights", "unnormalized_derivatives")
    params = jnp.concatenate([part.take(name, 2) for name in names], axis=1)
    bins = _bins(part, params.shape[1])
    spline = RationalQuadraticMap(bins, tail_bound)
    return Elementwise(spline, params.shape[:1], (params - _spline_shift(bins)).T)
