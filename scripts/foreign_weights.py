"""Writes the weights and densities of other libraries that the tests compare with.

Run it once in an environment of its own (`pip install torch==2.13.0 zuko nflows safetensors`); the tests need none of
these packages.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import zuko
from nflows import transforms as nt
from nflows.distributions import StandardNormal
from nflows.flows import Flow, MaskedAutoregressiveFlow, SimpleRealNVP
from nflows.nn.nets import ResidualNet
from safetensors.torch import save_file

HERE = Path(__file__).parents[1] / "tests/io/foreign/weights"
DIM, CONTEXT, ROWS = 3, 2, 16


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and their conditions."""
    generator = torch.Generator().manual_seed(1)
    x = 2 * torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64)
    return x, torch.randn(ROWS, CONTEXT, generator=generator, dtype=torch.float64)


def shaken(flow: torch.nn.Module) -> torch.nn.Module:
    """Weights as after training: every parameter moved by a normal number."""
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
        for name, buffer in flow.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand_like(buffer))
    return flow.double().eval()


def resnet(context: int | None):
    """The residual network of a coupling, as a function of its sizes."""
    return lambda n_in, n_out: ResidualNet(n_in, n_out, hidden_features=8, context_features=context, num_blocks=2)


def spline_coupling(context: int | None) -> Flow:
    """Spline couplings with LU layers and permutations between them."""
    layers = []
    for n in range(2):
        mask = torch.tensor([1, -1, 1]) if n % 2 else torch.tensor([-1, 1, -1])
        layers += [
            nt.RandomPermutation(DIM),
            nt.LULinear(DIM, identity_init=False),
            nt.PiecewiseRationalQuadraticCouplingTransform(
                mask, resnet(context), num_bins=4, tails="linear", tail_bound=3.0, apply_unconditional_transform=n == 1
            ),
        ]
    return Flow(nt.CompositeTransform(layers), StandardNormal([DIM]))


def spline_autoregressive() -> Flow:
    """Autoregressive layers, one of splines and one affine, which is inverted."""
    layers = [
        nt.ActNorm(DIM),
        nt.MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
            DIM, 8, context_features=CONTEXT, num_bins=4, tails="linear", tail_bound=3.0
        ),
        nt.ReversePermutation(DIM),
        nt.InverseTransform(nt.MaskedAffineAutoregressiveTransform(DIM, 8, context_features=CONTEXT)),
    ]
    return Flow(nt.CompositeTransform(layers), StandardNormal([DIM]))


ZUKO = {
    "zuko_maf": lambda: zuko.flows.MAF(DIM, CONTEXT, transforms=2, hidden_features=(8, 8)),
    "zuko_maf_residual": lambda: zuko.flows.MAF(DIM, 0, transforms=2, hidden_features=(8, 8), residual=True),
    "zuko_nsf": lambda: zuko.flows.NSF(DIM, 0, bins=4, transforms=2, hidden_features=(8, 8), randperm=True),
    "zuko_nsf_coupling": lambda: zuko.flows.NSF(DIM, CONTEXT, bins=4, transforms=2, hidden_features=(8,), passes=2),
    "zuko_realnvp": lambda: zuko.flows.RealNVP(DIM, CONTEXT, transforms=2, hidden_features=(8, 8)),
}
NFLOWS = {
    "nflows_maf": lambda: MaskedAutoregressiveFlow(DIM, 8, 2, 2, batch_norm_between_layers=True),
    "nflows_maf_feedforward": lambda: MaskedAutoregressiveFlow(DIM, 8, 2, 1, use_residual_blocks=False),
    "nflows_realnvp": lambda: SimpleRealNVP(DIM, 8, 2, 2),
    "nflows_nsf_coupling": lambda: spline_coupling(CONTEXT),
    "nflows_nsf": spline_autoregressive,
}


def main() -> None:
    """Write one file of weights for each flow, and the densities of all."""
    HERE.mkdir(exist_ok=True)
    x, context = rows()
    expected = {"x": x.numpy(), "context": context.numpy()}
    for name, make in {**ZUKO, **NFLOWS}.items():
        torch.manual_seed(0)
        flow = shaken(make())
        with torch.no_grad():
            if name.startswith("zuko"):
                own = flow(context) if "residual" not in name and name != "zuko_nsf" else flow()
                log_prob = own.log_prob(x)
            else:
                log_prob = flow.log_prob(x, context if name.startswith("nflows_nsf") else None)
        expected[name] = log_prob.numpy()
        state = {key: value.clone().contiguous() for key, value in flow.state_dict().items()}
        save_file(state, HERE / f"{name}.safetensors")
    np.savez(HERE / "expected.npz", **expected)


if __name__ == "__main__":
    main()
