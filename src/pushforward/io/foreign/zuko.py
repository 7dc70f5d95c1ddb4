"""Flows of zuko (MAF, NSF, NICE, RealNVP) from their state dicts."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_number, message
from pushforward._types import Shape
from pushforward.bijections import AdditiveMap, AffineMap, Autoregressive, Chain, Coupling, Invert, Permutation
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions import DiagonalNormal, Flow
from pushforward.io.foreign.arrays import Node, check_all_used, read_state_dict
from pushforward.io.foreign.maps import BoundedLogitSplineMap
from pushforward.io.foreign.networks import Activate, Network, Operation, Residual, WholePasses, dense
from pushforward.nets.base import activation_of
from pushforward.nets.graph_made import graph_levels

KNOWN = "MAF, NSF, NICE and RealNVP"


def from_zuko(
    weights: str | os.PathLike | Mapping[str, Any],
    *,
    activation: str = "relu",
    slope: float = 1e-3,
    bound: float = 5.0,
) -> Flow:
    r"""A flow of zuko with its trained weights: the same densities, to the rounding of the floating type.

    Masked autoregressive flows (`MAF`, `NSF`) and couplings (`NICE`, `RealNVP`) are read, with contexts, masks, orders
    and residual blocks. The structure follows from the names and shapes of the arrays; what a state dict does not hold
    is asked for. The flow can be trained further: masks stay.

    Args:
        weights: A file `.safetensors` or `.npz` with the state dict, or the state dict as a mapping to arrays.
        activation: Activation function of the networks, by name; zuko's default is `"relu"`.
        slope: The option `slope` of the transformations; zuko's default is 1e-3.
        bound: The half-width of the interval on which splines bend; zuko's `NSF` has 5.

    Cost: one pass for a density. Sampling an autoregressive flow takes one pass per column and layer, as in zuko; train
        `pf.flows.maf` or `pf.flows.nsf` for sampling at the cost of one pass.

    Raises:
        ValueError: A part of the flow is of a kind that cannot be mapped; the error names it.
        UntrustedModelError: The file is damaged, or holds Python objects.

    Source: Rozet et al., zuko 1.6, https://github.com/probabilists/zuko.
    """
    activation_of(activation)
    slope = check_number("from_zuko", "slope", slope, 0, 1, open_low=True)
    bound = check_number("from_zuko", "bound", bound, 0, open_low=True)
    root = read_state_dict(weights)
    if "transform" not in root or "base" not in root or {"loc", "scale"} - root["base"].names:
        expected = f"the state dict of a flow with a normal base ({KNOWN})"
        fix = "Save flow.state_dict() of the whole flow. Other bases, such as the box of NCSF, are not read."
        raise ValueError(message("from_zuko", expected, f"parts {', '.join(sorted(root.names))[:80]}", fix))
    loc, scale = root["base"].take("loc", 1), root["base"].take("scale", 1)
    dim, transform = len(loc), root["transform"]
    parts = list(transform["transforms"].numbered()) if "transforms" in transform else [(0, transform)]
    if [n for n, _ in parts] != list(range(len(parts))):
        fix = "A transformation without arrays cannot be told from the state dict."
        raise ValueError(message("from_zuko", "transformations numbered without gaps", f"{[n for n, _ in parts]}", fix))
    layers: list[AbstractBijection] = []
    for _, part in parts:
        layers += _layers(part, dim, activation, slope, bound)
    check_all_used("from_zuko", root)
    return Flow(DiagonalNormal(loc, scale), Invert(Chain(layers)))


def _layers(part: Node, dim: int, activation: str, slope: float, bound: float) -> list[AbstractBijection]:
    """The bijections of one transformation, from data to latent."""
    if "hyper" not in part:
        fix = f"The flows that are read are {KNOWN}, for two columns or more."
        got = f"a part with {', '.join(sorted(part.names))[:80]}"
        raise ValueError(message(f"from_zuko: {part.path}", "a transformation with a network 'hyper'", got, fix))
    operations, n_in, n_out = _operations(part["hyper"])
    if "mask" in part:
        known = np.asarray(part.take("mask", 1)) > 0
        n_features, n_inputs = int((~known).sum()), int(known.sum())
    else:
        known, n_features, n_inputs = None, dim, dim
    scalar_map = _map_of(part, n_out, n_features, slope, bound)
    cond_shape: Shape | None = (n_in - n_inputs,) if n_in > n_inputs else None
    net = Network(operations, activation, cond_shape, True, (scalar_map.n_params, n_features))
    if known is not None:
        return [Coupling(~known, net, scalar_map, cond_shape=cond_shape)]
    if "order" in part:
        part.take("order", 1)  # the masks say the same
    return autoregressive("from_zuko", part, net, scalar_map, dim)


def _operations(hyper: Node) -> tuple[tuple[Operation, ...], int, int]:
    """The operations of a network, the length of its input and of its output.

    Plain networks have numbers for their activations; residual ones have blocks, and nothing between them.
    """
    parts = list(hyper.numbered())
    residual = any("weight" not in part for _, part in parts)
    operations: list[Operation] = []
    for place, (n, part) in enumerate(parts):
        if "weight" in part:
            operations.append(dense(part))
            if not residual and place < len(parts) - 1:
                if parts[place + 1][0] != n + 2:
                    fix = "Networks with normalisation between their layers are not read."
                    got = f"parts {[m for m, _ in parts]}"
                    raise ValueError(message(f"from_zuko: {hyper.path}", "layers and activations in turn", got, fix))
                operations.append(Activate())
        else:
            operations.append(Residual((dense(part["0"]), Activate(), dense(part["2"]))))
    first, last = operations[0], operations[-1]
    return tuple(operations), first.weight.shape[1], last.weight.shape[0]  # pyright: ignore[reportAttributeAccessIssue]


def _map_of(part: Node, n_out: int, n_features: int, slope: float, bound: float) -> AbstractScalarMap:
    """The scalar map, from the number of parameters that each feature has."""
    count, rest = divmod(n_out, n_features)
    if rest == 0 and count == 1:
        return AdditiveMap()
    if rest == 0 and count == 2:
        return AffineMap(max_log_scale=-math.log(slope))
    if rest == 0 and count % 3 == 2:
        return BoundedLogitSplineMap((count + 1) // 3, bound, slope)
    expected = "1 parameter a column (shift), 2 (affine) or 3 K - 1 (rational-quadratic spline of K bins)"
    fix = f"Other maps are not read: the flows that are read are {KNOWN}."
    raise ValueError(message(f"from_zuko: {part.path}", expected, f"{n_out} for {n_features}", fix))


def autoregressive(
    name: str, part: Node, net: Network, scalar_map: AbstractScalarMap, dim: int
) -> list[AbstractBijection]:
    """An autoregressive layer whose order follows from the masks of its network.

    Raises:
        ValueError: The network is not autoregressive in any order.
    """
    levels = graph_levels(net.reach(dim))
    if (levels < 0).any():
        fix = "Its masks let a column depend on itself, so that its density is not what the model was trained for."
        raise ValueError(message(f"{name}: {part.path}", "an autoregressive network", "one with a cycle", fix))
    order = np.argsort(levels, kind="stable").tolist()
    layer = Autoregressive(WholePasses(net, order), scalar_map)
    if order == list(range(dim)):
        return [layer]
    there = Permutation(jnp.asarray(order))
    return [there, layer, Invert(there)]
