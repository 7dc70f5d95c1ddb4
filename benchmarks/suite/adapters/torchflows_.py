"""torchflows: its architectures with two hidden layers of 64; each adds elementwise affine and normalizing layers."""

from __future__ import annotations

import torch
from torchflows.bijections.finite.autoregressive.architectures import (
    MAF,
    CouplingRQNSF,
    MaskedAutoregressiveRQNSF,
    RealNVP,
)
from torchflows.flows import Flow

from suite.adapters.torch_common import TorchAdapter
from suite.work import BINS, BOUND, DEPTH, WIDTH

SPLINE = {"boundary": BOUND, "n_bins": BINS}


def construct(model: str, dim: int, n_layers: int) -> torch.nn.Module:
    # Its number of layers counts the last one.
    common = {"n_layers": n_layers, "conditioner_kwargs": {"n_hidden": WIDTH, "n_layers": DEPTH + 1}}
    if model == "realnvp":
        layers = RealNVP((dim,), **common)
    elif model == "maf":
        layers = MAF((dim,), **common)
    elif model == "nsf_coupling":
        layers = CouplingRQNSF((dim,), **common, transformer_kwargs=SPLINE)
    elif model == "nsf_autoregressive":
        layers = MaskedAutoregressiveRQNSF((dim,), **common, transformer_kwargs=SPLINE)
    else:
        raise ValueError(f"torchflows has no {model}")
    return Flow(layers)


def make() -> TorchAdapter:
    return TorchAdapter(
        "torchflows", construct, lambda flow, x: flow.log_prob(x), lambda flow, n: flow.sample((n,), no_grad=True)
    )
