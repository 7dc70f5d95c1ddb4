"""zuko with its loss under `torch.compile`: not how it comes, but how a user in need of speed may run it."""

from __future__ import annotations

import torch

from suite.adapters import zuko_
from suite.adapters.torch_common import TorchAdapter


class CompiledAdapter(TorchAdapter):
    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        n_params = super().build(model, dim, n_layers, seed)
        module = self.module
        self.loss = torch.compile(lambda x: -module().log_prob(x).mean())
        return n_params

    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.x)
        loss.backward()
        self.optimizer.step()
        loss.item()


def make() -> TorchAdapter:
    plain = zuko_.make()
    return CompiledAdapter("zuko", plain.construct, plain.log_prob, plain.draw)
