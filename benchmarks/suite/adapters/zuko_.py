"""zuko: its own flows, two hidden layers of 64.

Spline coupling by its `NICE` with spline maps, whose nets see half the columns; `NSF(passes=2)` masks a full net.
"""

from __future__ import annotations

from functools import partial

import torch
import zuko
from zuko.transforms import MonotonicRQSTransform

from suite.adapters.torch_common import TorchAdapter
from suite.work import BINS, BOUND, DEPTH, SIGMOIDS, WIDTH


def construct(model: str, dim: int, n_layers: int) -> torch.nn.Module:
    common = {"transforms": n_layers, "hidden_features": [WIDTH] * DEPTH}
    if model == "realnvp":
        return zuko.flows.RealNVP(dim, **common)
    if model == "maf":
        return zuko.flows.MAF(dim, **common)
    if model == "nsf_autoregressive":
        return zuko.flows.NSF(dim, bins=BINS, **common)  # its bound is 5
    if model == "nsf_coupling":
        univariate = partial(MonotonicRQSTransform, bound=BOUND)
        return zuko.flows.NICE(dim, univariate=univariate, shapes=[(BINS,), (BINS,), (BINS - 1,)], **common)
    if model == "naf":
        return zuko.flows.NAF(dim, signal=SIGMOIDS, network={"hidden_features": [WIDTH] * DEPTH}, **common)
    if model == "umnn":
        return zuko.flows.UNAF(dim, signal=SIGMOIDS, network={"hidden_features": [WIDTH] * DEPTH}, **common)
    raise ValueError(f"zuko has no {model}")


def make() -> TorchAdapter:
    return TorchAdapter("zuko", construct, lambda flow, x: flow().log_prob(x), lambda flow, n: flow().sample((n,)))
