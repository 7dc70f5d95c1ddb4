"""pushforward: the zoo's flows, one jitted training step, and whole epochs in one call as `pf.fit` runs them."""

from __future__ import annotations

import platform
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pushforward as pf
from pushforward.bijections import Continuous
from pushforward.dynamics import Adaptive, FixedSteps, NetworkField
from pushforward.numerics.trace_estimators import ExactTrace, Hutchinson
from pushforward.training.state import FlatModel
from suite import network
from suite.work import (
    BATCH,
    BINS,
    BLOCK,
    BOUND,
    DEPTH,
    FIELD_ATOL,
    FIELD_MODELS,
    FIELD_RATE,
    FIELD_RTOL,
    GRID_BINS,
    LEARNING_RATE,
    LIPSCHITZ,
    MATCHING_DEPTH,
    N_FREQUENCIES,
    SIGMOIDS,
    WIDTH,
)

EPOCH_STEPS = 20  # of the table that `fit_step_ms` fits


def construct(model: str, dim: int, n_layers: int, seed: int) -> pf.Flow:
    key, common = jax.random.key(seed), {"dim": dim, "n_layers": n_layers, "width": WIDTH, "depth": DEPTH}
    as_peers: dict[str, Any] = {**common, "linear": "reverse"}  # between their layers they reverse the coordinates
    if model == "realnvp":
        return pf.flows.realnvp(key, **as_peers)
    if model == "maf":
        return pf.flows.maf(key, **as_peers)
    if model == "nsf_grid":
        return pf.flows.nsf(key, **as_peers, autoregressive=True, bins=GRID_BINS, bound=BOUND)
    if model in ("nsf_coupling", "nsf_autoregressive"):
        return pf.flows.nsf(key, **as_peers, autoregressive=model == "nsf_autoregressive", bins=BINS, bound=BOUND)
    if model == "planar":
        return pf.flows.planar(key, dim=dim, n_layers=n_layers, ridge="leaky_relu", linear=None)
    if model == "sylvester":
        return pf.flows.sylvester(key, dim=dim, n_layers=n_layers, linear=None)
    if model == "residual_flow":
        return pf.flows.residual_flow(key, **common, lipschitz=LIPSCHITZ, linear=None)
    if model == "naf":
        return pf.flows.naf(key, **as_peers, components=SIGMOIDS)
    if model == "umnn":
        return pf.flows.umnn(key, **common, embedding=SIGMOIDS, integrand_width=WIDTH, integrand_depth=DEPTH)
    if model == "bnaf":
        return pf.flows.bnaf(key, dim=dim, n_layers=n_layers, width=BLOCK, depth=DEPTH)
    if model in FIELD_MODELS:
        trace = ExactTrace() if model == "cnf" else Hutchinson()
        return velocity_flow(dim, trace, Adaptive("dopri5", rtol=FIELD_RTOL, atol=FIELD_ATOL))
    if model == "flow_matching":
        # torchcfm's MLP: time is one more input, and its activation is ELU but for two factors.
        net = pf.nets.TimeMLP(key, dim, width=WIDTH, depth=MATCHING_DEPTH, n_frequencies=0, activation="elu")
        return pf.Flow(pf.StandardNormal((dim,)), Continuous(NetworkField(net)))
    raise ValueError(f"pushforward has no {model}")


def velocity_flow(dim: int, trace: Any, solver: Any) -> pf.Flow:
    """The flow of `suite.network`; the weights that other libraries' networks have not are 0."""
    net = pf.nets.TimeMLP(
        jax.random.key(0), dim, width=WIDTH, depth=DEPTH, n_frequencies=N_FREQUENCIES, activation="elu"
    )
    (first, bias), *others = network.turned(dim)
    by_time, by_event = first[:, : 2 * N_FREQUENCIES], first[:, 2 * N_FREQUENCIES :]
    weights = tuple(np.column_stack([weight, bias]) for weight, bias in [(by_event, bias), *others])
    shifts = (np.pad(by_time, ((0, 0), (1, 0))), *(np.zeros_like(shift) for shift in net.shifts[1:]))
    net = eqx.tree_at(
        lambda net: (net.weights, net.shifts), net, jax.tree.map(lambda leaf: jnp.asarray(leaf), (weights, shifts))
    )
    return pf.Flow(pf.StandardNormal((dim,)), Continuous(NetworkField(net), trace, solver))


class PushforwardAdapter:
    def versions(self) -> dict[str, str]:
        names = ("pushforward", "jax", "equinox")
        return {"python": platform.python_version()} | {name: version(name) for name in names}

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        self.flow = construct(model, dim, n_layers, seed)
        # As `pf.fit` does it: the trainable numbers are one vector, so that Adam is one loop and not one per array.
        vector, flat = FlatModel.split(self.flow)
        optimizer = optax.adam(FIELD_RATE if model in FIELD_MODELS else LEARNING_RATE)
        matching = model == "flow_matching"
        self.objective = pf.objectives.FlowMatching() if matching else pf.objectives.MaximumLikelihood()
        take = pf.training.make_step(self.objective, optimizer, lambda v, _: flat.build(v))

        # What a step draws does not change its cost; an argument, so that nothing is drawn when it is compiled.
        @partial(jax.jit, donate_argnums=(0, 1))
        def update(vector: jax.Array, state: Any, x: jax.Array, key: jax.Array) -> tuple[jax.Array, Any, Any]:
            return take(vector, None, state, x, key=key)

        self.vector, self._update = jnp.asarray(vector), update
        self.state = optimizer.init(self.vector)
        self.key = jax.random.key(seed)
        jax.block_until_ready((self.vector, self.state))
        return vector.size

    def load(self, rows: Any) -> None:
        self.x = jax.block_until_ready(jnp.asarray(rows, jnp.float32))

    def step(self) -> None:
        self.vector, self.state, info = self._update(self.vector, self.state, self.x, self.key)
        jax.block_until_ready((self.vector, self.state, info))

    def fit_step_ms(self, seconds: float) -> float:
        """ms per step of the same batch and model inside `pf.fit`: a long fit less a short one, by their steps."""
        batch, dim = self.x.shape
        rows = np.random.default_rng(0).standard_normal((EPOCH_STEPS * batch, dim), dtype=np.float32)
        settings = {"key": self.key, "validation": None, "progress": False, "objective": self.objective}
        settings |= {"options": pf.training.Steps(batch_size=batch)}
        start = time.perf_counter()
        self.step()
        longer = 1 + max(3, round(seconds / (EPOCH_STEPS * (time.perf_counter() - start))))
        spent, steps = [], []
        for epochs in (1, 1, longer):  # the first one compiles
            start = time.perf_counter()
            verdict = pf.training.fit(self.flow, rows, max_epochs=epochs, **settings).verdict
            spent.append(time.perf_counter() - start)
            steps.append(verdict.steps)
        return 1e3 * (spent[2] - spent[1]) / (steps[2] - steps[1])

    def density(self) -> None:
        self.flow.log_prob(self.x).block_until_ready()

    def solves(self) -> dict[str, Any]:
        """What the solves of a velocity field give and take, and log p by a strict solve in float64."""
        layer = self.flow.bijection
        assert isinstance(layer, Continuous)
        found = layer.report(self.x.T, None, None, False)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) if eqx.is_array(leaf) else leaf, self.flow)
            strict = pf.distributions.with_solver(wide, layer.solver.strict())
            truth = strict.log_prob(np.asarray(self.x, np.float64)).tolist()
        return {
            "log_prob": self.flow.log_prob(self.x).tolist(),
            "strict": truth,
            "density": float(np.mean(found.n_evaluations)),
            "density_most": int(np.max(found.n_evaluations)),
        }

    def memory(self, gradient: Any, n_steps: int, dim: int) -> int:
        """Bytes that a compiled likelihood and its gradient need beside what goes in and comes out."""
        flow = velocity_flow(dim, ExactTrace(), FixedSteps("rk4", n_steps, gradient=gradient))
        params, rest = pf.trainable(flow)

        def loss(params: Any, x: jax.Array) -> jax.Array:
            return pf.objectives.MaximumLikelihood()(pf.combine(params, rest), x, None, None, None)

        compiled = jax.jit(jax.value_and_grad(loss)).lower(params, jnp.zeros((BATCH, dim))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def prepare_sampling(self, n: int) -> None:
        self.n = n
        self.sample()

    def sample(self) -> None:
        self.flow.sample(self.key, (self.n,)).block_until_ready()

    def peak(self, size: int = 2048, calls: int = 5) -> dict[str, float]:
        """GFLOP/s of one large float32 matrix product, by numpy's BLAS and by JAX: the best of `calls`."""
        a, b = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
        product = jax.jit(jnp.matmul)
        ja, jb = jnp.asarray(a), jnp.asarray(b)
        ways = {"numpy": lambda: a @ b, "jax": lambda: product(ja, jb).block_until_ready()}
        peaks = {}
        for name, way in ways.items():
            way()
            seconds = []
            for _ in range(calls):
                start = time.perf_counter()
                way()
                seconds.append(time.perf_counter() - start)
            peaks[name] = 2 * size**3 / min(seconds) / 1e9
        return peaks


def make() -> PushforwardAdapter:
    return PushforwardAdapter()
