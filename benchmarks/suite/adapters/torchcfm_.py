"""torchcfm: its `ConditionalFlowMatcher` and its `MLP`, trained as its tutorials train them."""

from __future__ import annotations

import torch
from torchcfm import ConditionalFlowMatcher
from torchcfm.models import MLP

from suite.adapters.torch_common import TorchAdapter
from suite.work import WIDTH


def construct(model: str, dim: int, n_layers: int) -> torch.nn.Module:
    if model != "flow_matching":
        raise ValueError(f"torchcfm has no {model}")
    return MLP(dim, w=WIDTH, time_varying=True)


class MatchingAdapter(TorchAdapter):
    def step(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        t, where, velocity = MATCHER.sample_location_and_conditional_flow(torch.randn_like(self.x), self.x)
        guess = self.module(torch.cat([where, t[:, None]], dim=-1))
        loss = ((guess - velocity) ** 2).mean()
        loss.backward()
        self.optimizer.step()
        loss.item()


MATCHER = ConditionalFlowMatcher(sigma=0.0)


def _nothing(*_: object) -> torch.Tensor:
    raise ValueError("torchcfm: it is asked for training steps alone")


def make() -> TorchAdapter:
    return MatchingAdapter("torchcfm", construct, _nothing, _nothing)
