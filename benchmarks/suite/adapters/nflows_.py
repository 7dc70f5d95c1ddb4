"""nflows: its coupling and autoregressive transforms, plain (not residual) nets of two hidden layers of 64."""

from __future__ import annotations

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.nn.nets import MLP
from nflows.transforms import autoregressive, coupling
from nflows.transforms.base import CompositeTransform
from nflows.transforms.permutations import ReversePermutation

from suite.adapters.torch_common import TorchAdapter
from suite.work import BINS, BOUND, DEPTH, WIDTH

SPLINE = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}
# A MADE of one initial layer and one feed-forward block has two hidden layers.
MADE = {"hidden_features": WIDTH, "num_blocks": DEPTH - 1, "use_residual_blocks": False}


class Net(MLP):
    """nflows calls the net of a coupling with a context, which its MLP does not take."""

    def forward(self, inputs: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(inputs)


def _net(n_in: int, n_out: int) -> Net:
    return Net([n_in], [n_out], [WIDTH] * DEPTH)


def construct(model: str, dim: int, n_layers: int) -> torch.nn.Module:
    layers: list[torch.nn.Module] = []
    for i in range(n_layers):
        mask = (torch.arange(dim) + i) % 2
        if model == "realnvp":
            layers.append(coupling.AffineCouplingTransform(mask, _net))
        elif model == "nsf_coupling":
            layers.append(coupling.PiecewiseRationalQuadraticCouplingTransform(mask, _net, **SPLINE))
        elif model == "maf":
            layers += [ReversePermutation(dim), autoregressive.MaskedAffineAutoregressiveTransform(dim, **MADE)]
        elif model == "nsf_autoregressive":
            spline = autoregressive.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(dim, **MADE, **SPLINE)
            layers += [ReversePermutation(dim), spline]
        else:
            raise ValueError(f"nflows has no {model}")
    return Flow(CompositeTransform(layers), StandardNormal([dim]))


def make() -> TorchAdapter:
    return TorchAdapter("nflows", construct, lambda flow, x: flow.log_prob(x), lambda flow, n: flow.sample(n))
