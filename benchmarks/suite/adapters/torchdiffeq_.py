"""torchdiffeq: a continuous flow on its `odeint_adjoint`, with log p as one more state, as in its example of a CNF.

The library has solvers and no flows. What the example takes by a loop over the dimensions, the diagonal of the
Jacobian, is one batched call here, which is faster. Its adjoint solves the weights' gradients as states of an equation;
the norm that leaves them out of the step control (`"seminorm"`) is the faster of its two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torchdiffeq import odeint, odeint_adjoint

from suite import network
from suite.adapters.torch_common import TorchAdapter, load_network
from suite.work import DEPTH, FIELD_ATOL, FIELD_RTOL, N_FREQUENCIES, WIDTH


class Field(torch.nn.Module):
    """Velocity and divergence of rows."""

    def __init__(self, dim: int, exact: bool):
        super().__init__()
        sizes = [2 * N_FREQUENCIES + dim, *[WIDTH] * DEPTH]
        hidden = [part for a, b in pairwise(sizes) for part in (torch.nn.Linear(a, b), torch.nn.ELU())]
        self.net = torch.nn.Sequential(*hidden, torch.nn.Linear(WIDTH, dim))
        load_network(self.net, network.layers(dim))
        self.register_buffer("frequencies", math.pi * torch.arange(1, N_FREQUENCIES + 1))
        self.exact, self.dim, self.count = exact, dim, 0
        self.probe: torch.Tensor | None = None

    def velocity(self, t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        angles = self.frequencies * t
        time = torch.cat([angles.cos(), angles.sin()]).expand(len(x), -1)
        return self.net(torch.cat([time, x], dim=1))

    def forward(self, t: torch.Tensor, state: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        self.count += 1
        differentiated = torch.is_grad_enabled()
        with torch.enable_grad():
            x = state[0].requires_grad_(True)
            velocity = self.velocity(t, x)
            if self.exact:
                units = torch.eye(self.dim)[:, None].expand(-1, len(x), -1)
                rows = torch.autograd.grad(velocity, x, units, create_graph=differentiated, is_grads_batched=True)[0]
                divergence = torch.einsum("ini->n", rows)
            else:
                (product,) = torch.autograd.grad(velocity, x, self.probe, create_graph=differentiated)
                divergence = (product * self.probe).sum(dim=1)
        return velocity, divergence


def construct(model: str, dim: int, n_layers: int) -> torch.nn.Module:
    if model not in ("cnf", "cnf_hutchinson"):
        raise ValueError(f"torchdiffeq has no {model}")
    return Field(dim, model == "cnf")


def log_prob(field: Any, x: torch.Tensor, solve: Callable = odeint_adjoint, **options: Any) -> torch.Tensor:
    """log p of rows under the flow from data at time 0 to a standard normal at time 1."""
    if not field.exact:  # signs, once per solve
        field.probe = torch.randint(0, 2, x.shape).to(x) * 2 - 1
    if not options:
        options = {"rtol": FIELD_RTOL, "atol": FIELD_ATOL, "method": "dopri5", "adjoint_options": {"norm": "seminorm"}}
    start = (x, torch.zeros(len(x)))
    z, change = (ends[-1] for ends in solve(field, start, torch.tensor([0.0, 1.0]), **options))
    return -0.5 * (z**2).sum(dim=1) - 0.5 * field.dim * math.log(2 * math.pi) + change


def peak_memory(gradient: str, n_steps: int, dim: int, rows: Any) -> int:
    """Bytes by which the process grows at its peak in a training step of `n_steps` of RK4; for a fresh process."""
    import resource

    solve = odeint_adjoint if gradient == "adjoint" else odeint
    field, x = Field(dim, True), torch.tensor(rows)
    used = []
    for n in (2, n_steps):  # what the first step of all takes is not counted
        options = {"step_size": 1 / n}
        adjoint = {"adjoint_options": options} if gradient == "adjoint" else {}
        (-log_prob(field, x, solve, method="rk4", options=options, **adjoint).mean()).backward()
        used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    return used[1] - used[0]


def evaluations(field: Any, work: Callable[[], None]) -> int:
    before = field.count
    work()
    return field.count - before


def _no_sample(field: Any, n: int) -> torch.Tensor:
    raise ValueError("torchdiffeq: it is asked for densities alone")


def make() -> TorchAdapter:
    return TorchAdapter("torchdiffeq", construct, log_prob, _no_sample, evaluations)
