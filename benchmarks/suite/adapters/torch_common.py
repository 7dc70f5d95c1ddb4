"""What the three torch libraries share: eager torch, two threads, Adam, the batch."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from suite.work import FIELD_MODELS, FIELD_RATE, LEARNING_RATE, N_THREADS


def load_network(net: torch.nn.Module, layers: list) -> None:
    """Put the weights and biases of `suite.network` into the linear layers of a net, in their order."""
    linear = [module for module in net.modules() if hasattr(module, "weight")]  # zuko has a class of its own
    with torch.no_grad():
        for module, (weight, bias) in zip(linear, layers, strict=True):
            module.weight.copy_(torch.tensor(weight))
            module.bias.copy_(torch.tensor(bias))


class TorchAdapter:
    """An adapter around a few functions of one library.

    Args:
        library: its name in the package index.
        construct: `(model, dim, n_layers) -> module`; `ValueError` where the library has no such model.
        log_prob: `(module, x) -> (n,)`.
        sample: `(module, n) -> (n, dim)`.
        evaluations: `(module, work) -> int`: of a velocity field, how often it is evaluated by `work()`.
    """

    def __init__(
        self,
        library: str,
        construct: Callable[[str, int, int], torch.nn.Module],
        log_prob: Callable[[Any, torch.Tensor], torch.Tensor],
        sample: Callable[[Any, int], torch.Tensor],
        evaluations: Callable[[Any, Callable[[], None]], int] | None = None,
    ):
        torch.set_num_threads(N_THREADS)
        # nflows and normflows would scale the spline's logits down if the net said how wide it is; of no matter here.
        warnings.filterwarnings("ignore", message="Inputs to the softmax")
        self.library, self.construct, self.log_prob, self.draw = library, construct, log_prob, sample
        self.evaluations = evaluations

    def versions(self) -> dict[str, str]:
        names = (self.library, "torch")
        return {"python": platform.python_version()} | {name: version(name) for name in names}

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        torch.manual_seed(seed)
        self.dim = dim
        self.module = self.construct(model, dim, n_layers)
        # The fused Adam is torch's fastest on a CPU.
        rate = FIELD_RATE if model in FIELD_MODELS else LEARNING_RATE
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=rate, fused=True)
        return sum(p.numel() for p in self.module.parameters() if p.requires_grad)

    def load(self, rows: Any) -> None:
        self.x = torch.tensor(rows, dtype=torch.float32)

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = -self.log_prob(self.module, self.x).mean()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def density(self) -> None:
        with torch.no_grad():
            self.log_prob(self.module, self.x).sum().item()

    def solves(self) -> dict[str, Any]:
        """What the solves of a velocity field give and take: log p of the batch, evaluations of density and step."""
        assert self.evaluations
        with torch.no_grad():
            nats = self.log_prob(self.module, self.x).tolist()
        return {
            "log_prob": nats,
            "density": self.evaluations(self.module, self.density),
            "step": self.evaluations(self.module, self.step),
        }

    def prepare_sampling(self, n: int) -> None:
        self.n = n

    def sample(self) -> None:
        with torch.no_grad():
            rows = self.draw(self.module, self.n)
        if rows.shape != (self.n, self.dim):
            raise RuntimeError(f"{self.library}: sample gave {tuple(rows.shape)}, expected {(self.n, self.dim)}")
        rows.sum().item()
