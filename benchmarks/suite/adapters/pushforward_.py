"""pushforward: the zoo's flows, one jitted training step, and whole epochs in one call as `pf.fit` runs them."""

from __future__ import annotations

import platform
import time
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import pushforward as pf
from pushforward.training.state import FlatModel
from suite.work import BATCH, BINS, BLOCK, BOUND, DEPTH, LEARNING_RATE, LIPSCHITZ, SIGMOIDS, WIDTH

EPOCH_STEPS = 20  # of the table that `fit_step_ms` fits


def construct(model: str, dim: int, n_layers: int, seed: int) -> pf.Flow:
    key, common = jax.random.key(seed), {"dim": dim, "n_layers": n_layers, "width": WIDTH, "depth": DEPTH}
    if model == "realnvp":
        return pf.flows.realnvp(key, **common)
    if model == "maf":
        return pf.flows.maf(key, **common)
    if model in ("nsf_coupling", "nsf_autoregressive"):
        return pf.flows.nsf(key, **common, autoregressive=model == "nsf_autoregressive", bins=BINS, bound=BOUND)
    if model == "planar":
        return pf.flows.planar(key, dim=dim, n_layers=n_layers, ridge="leaky_relu")
    if model == "sylvester":
        return pf.flows.sylvester(key, dim=dim, n_layers=n_layers)
    if model == "residual_flow":
        return pf.flows.residual_flow(key, **common, lipschitz=LIPSCHITZ, linear=None)
    if model == "naf":
        return pf.flows.naf(key, **common, components=SIGMOIDS)
    if model == "umnn":
        return pf.flows.umnn(key, **common, embedding=SIGMOIDS, integrand_width=WIDTH, integrand_depth=DEPTH)
    if model == "bnaf":
        return pf.flows.bnaf(key, dim=dim, n_layers=n_layers, width=BLOCK, depth=DEPTH)
    raise ValueError(f"pushforward has no {model}")


class PushforwardAdapter:
    def versions(self) -> dict[str, str]:
        names = ("pushforward", "jax", "equinox")
        return {"python": platform.python_version()} | {name: version(name) for name in names}

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        self.flow = construct(model, dim, n_layers, seed)
        # As `pf.fit` does it: the trainable numbers are one vector, so that Adam is one loop and not one per array.
        vector, flat = FlatModel.split(self.flow)
        optimizer = optax.adam(LEARNING_RATE)
        take = pf.training.make_step(pf.objectives.MaximumLikelihood(), optimizer, lambda v, _: flat.build(v))

        # Of the models here only a residual flow draws anything, whose cost does not depend on the key.
        step_key = jax.random.key(seed)

        @partial(jax.jit, donate_argnums=(0, 1))
        def update(vector: jax.Array, state: Any, x: jax.Array) -> tuple[jax.Array, Any, Any]:
            return take(vector, None, state, x, key=step_key)

        self.vector, self._update = jnp.asarray(vector), update
        self.state = optimizer.init(self.vector)
        self.key = jax.random.key(seed)
        jax.block_until_ready((self.vector, self.state))
        return vector.size

    def load(self, rows: Any) -> None:
        self.x = jax.block_until_ready(jnp.asarray(rows, jnp.float32))

    def step(self) -> None:
        self.vector, self.state, info = self._update(self.vector, self.state, self.x)
        jax.block_until_ready((self.vector, self.state, info))

    def fit_step_ms(self, seconds: float) -> float:
        """ms per step of the same batch and model inside `pf.fit`: a long fit less a short one, by their steps."""
        rows = np.random.default_rng(0).standard_normal((EPOCH_STEPS * BATCH, self.x.shape[1]), dtype=np.float32)
        settings = {"key": self.key, "validation": None, "batch_size": BATCH, "progress": False}
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
