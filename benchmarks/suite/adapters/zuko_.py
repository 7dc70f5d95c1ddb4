"""zuko: its own flows, two hidden layers of 64.

Spline coupling by its `NICE` with spline maps, whose nets see half the columns; `NSF(passes=2)` masks a full net.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import zuko
from zuko.transforms import MonotonicRQSTransform

from suite import network
from suite.adapters.torch_common import TorchAdapter, load_network
from suite.work import BINS, BOUND, DEPTH, FIELD_ATOL, FIELD_RTOL, N_FREQUENCIES, SIGMOIDS, WIDTH


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
    if model in ("cnf", "cnf_hutchinson"):
        tolerances = {"rtol": FIELD_RTOL, "atol": FIELD_ATOL}
        common = {"freqs": N_FREQUENCIES, "hidden_features": [WIDTH] * DEPTH}
        flow = zuko.flows.CNF(dim, exact=model == "cnf", **tolerances, **common)
        load_network(flow.transform.ode, network.layers(dim))
        return flow
    raise ValueError(f"zuko has no {model}")


def evaluations(flow: Any, work: Any) -> int:
    """How often the field of a CNF is evaluated, for the whole batch, while `work` is done."""
    transform, count = flow.transform, 0
    f = transform.f

    def counted(t: torch.Tensor, x: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        nonlocal count
        count += 1
        return f(t, x, c)

    transform.f = counted
    work()
    del transform.f
    return count


def make() -> TorchAdapter:
    return TorchAdapter(
        "zuko", construct, lambda flow, x: flow().log_prob(x), lambda flow, n: flow().sample((n,)), evaluations
    )
