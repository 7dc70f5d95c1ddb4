"""normflows, plain nets of two hidden layers of 64, each layer in the direction in which `log_prob` is one pass.

Its `MaskedAffineAutoregressive` maps latent to data in one pass, so that as it stands `log_prob` costs D passes; put
in `Reverse` it is a MAF. The spline transforms go the same way without normflows' own wrappers, and get it too.
"""

from __future__ import annotations

import normflows as nf
import torch
from normflows.flows.neural_spline.autoregressive import MaskedPiecewiseRationalQuadraticAutoregressive
from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

from suite.adapters.torch_common import TorchAdapter
from suite.work import BINS, BOUND, DEPTH, LIPSCHITZ, WIDTH

MADE = {"hidden_features": WIDTH, "num_blocks": DEPTH - 1, "use_residual_blocks": False}
SPLINE = {"num_bins": BINS, "tails": "linear", "tail_bound": BOUND}


class Net(nf.nets.MLP):
    """normflows calls the net of a spline coupling with a context, which its MLP does not take."""

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x)


def _net(n_in: int, n_out: int) -> Net:
    return Net([n_in, *[WIDTH] * DEPTH, n_out])


class Flat(nf.flows.Flow):
    """The log-det of a spline transform as the `(n,)` that normflows' own wrapper classes make of it."""

    def __init__(self, transform: torch.nn.Module):
        super().__init__()
        self.transform = transform

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, log_det = self.transform(z)
        return z, log_det.view(-1)

    def inverse(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z, log_det = self.transform.inverse(z)
        return z, log_det.view(-1)


def construct(model: str, dim: int, n_layers: int) -> torch.nn.Module:
    flows: list[torch.nn.Module] = []
    for i in range(n_layers):
        if model == "realnvp":
            n_in = (dim + 1) // 2
            flows += [nf.flows.AffineCouplingBlock(_net(n_in, 2 * (dim - n_in))), nf.flows.Permute(dim, mode="swap")]
        elif model == "nsf_coupling":
            mask = (torch.arange(dim) + i) % 2
            flows.append(nf.flows.Reverse(Flat(PiecewiseRationalQuadraticCoupling(mask, _net, **SPLINE))))
        elif model == "maf":
            layer = nf.flows.MaskedAffineAutoregressive(dim, **MADE)
            flows += [nf.flows.Reverse(layer), Flip(dim)]
        elif model == "nsf_autoregressive":
            layer = MaskedPiecewiseRationalQuadraticAutoregressive(dim, **MADE, **SPLINE)
            flows += [nf.flows.Reverse(Flat(layer)), Flip(dim)]
        elif model == "planar":
            flows.append(nf.flows.Reverse(nf.flows.Planar((dim,), act="leaky_relu")))
        elif model == "residual_flow":
            net = nf.nets.LipschitzMLP([dim, *[WIDTH] * DEPTH, dim], lipschitz_const=LIPSCHITZ)
            flows.append(nf.flows.Residual(net, n_dist="poisson"))
        else:
            raise ValueError(f"normflows has no {model}")
    return nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), flows)


class Flip(nf.flows.Flow):
    """Reversal of the order (normflows' `Permute` shuffles or swaps halves)."""

    def __init__(self, dim: int):
        super().__init__()

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return z.flip(1), z.new_zeros(len(z))

    inverse = forward


def make() -> TorchAdapter:
    return TorchAdapter("normflows", construct, lambda flow, x: flow.log_prob(x), lambda flow, n: flow.sample(n)[0])
