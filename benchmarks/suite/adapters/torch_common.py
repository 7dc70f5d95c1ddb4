"""What the three torch libraries share: eager torch, two threads, Adam, the batch."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from suite.work import LEARNING_RATE, N_THREADS


class TorchAdapter:
    """An adapter around three functions of one library.

    Args:
        library: its name in the package index.
        construct: `(model, dim, n_layers) -> module`; `ValueError` where the library has no such model.
        log_prob: `(module, x) -> (n,)`.
        sample: `(module, n) -> (n, dim)`.
    """

    def __init__(
        self,
        library: str,
        construct: Callable[[str, int, int], torch.nn.Module],
        log_prob: Callable[[Any, torch.Tensor], torch.Tensor],
        sample: Callable[[Any, int], torch.Tensor],
    ):
        torch.set_num_threads(N_THREADS)
        # nflows and normflows would scale the spline's logits down if the net said how wide it is; of no matter here.
        warnings.filterwarnings("ignore", message="Inputs to the softmax")
        self.library, self.construct, self.log_prob, self.draw = library, construct, log_prob, sample

    def versions(self) -> dict[str, str]:
        names = (self.library, "torch")
        return {"python": platform.python_version()} | {name: version(name) for name in names}

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        torch.manual_seed(seed)
        self.dim = dim
        self.module = self.construct(model, dim, n_layers)
        # The fused Adam is torch's fastest on a CPU.
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=LEARNING_RATE, fused=True)
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

    def prepare_sampling(self, n: int) -> None:
        self.n = n

    def sample(self) -> None:
        with torch.no_grad():
            rows = self.draw(self.module, self.n)
        if rows.shape != (self.n, self.dim):
            raise RuntimeError(f"{self.library}: sample gave {tuple(rows.shape)}, expected {(self.n, self.dim)}")
        rows.sum().item()
