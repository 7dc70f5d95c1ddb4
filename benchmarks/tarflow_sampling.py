"""Ways of sampling a TarFlow of 64 tokens: a cache against none, and parallel sweeps against the cache, in one run.

    python benchmarks/tarflow_sampling.py [--quick] [--seconds 60] [--seed 0] [--rows 16]

The model is trained on scikit-learn's digits, whose 8 x 8 pixels are 64 tokens. Each way draws the same images, in turn
with the others, and the medians of its CPU seconds and of its time on the clock are printed; on a machine with other
work only the former mean something. Without a cache each step runs the networks on the whole image.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

import pushforward as pf
from pushforward._parts import replaced, rewritten
from pushforward.bijections import Autoregressive, GaussSeidelJacobi, inversion_report, with_inversion
from pushforward.nets import AbstractConditioner

SIZES = {"patch": 1, "width": 64, "depth": 2, "n_heads": 4, "n_blocks": 4}
QUICK = {"patch": 1, "width": 8, "depth": 1, "n_heads": 2, "n_blocks": 2}
N_TURNS = 5


class WithoutCache(AbstractConditioner):
    """A conditioner whose every step is a pass over all inputs."""

    net: AbstractConditioner
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    token_shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, net: AbstractConditioner):
        self.net, self.n_steps, self.n_params = net, net.n_steps, net.n_params
        self.token_shape, self.cond_shape = net.token_shape, net.cond_shape

    def __call__(self, x: Any, condition: Any = None) -> Any:
        return self.net(x, condition)

    def init(self, batch: Any, condition: Any = None) -> Any:
        return jnp.zeros((self.n_steps + 1, *self.token_shape, *batch)), condition

    def step(self, state: Any, i: Any, previous: Any) -> Any:
        inputs = jax.lax.dynamic_update_slice_in_dim(state[0], previous[None].astype(state[0].dtype), i, 0)
        params = self.net(inputs[1:], state[1])
        return jax.lax.dynamic_index_in_dim(params, i, 1, keepdims=False), (inputs, state[1])


def without_cache(flow: pf.Flow) -> pf.Flow:
    """The same flow whose steps keep no keys and values."""

    def change(part: Any) -> Any:
        return replaced(part, conditioner=WithoutCache(part.conditioner)) if isinstance(part, Autoregressive) else part

    return rewritten(flow, change)


def trained(seed: int, seconds: float, sizes: dict[str, int]) -> tuple[pf.Flow, int, float]:
    """A flow of the digits, the number of its steps and its last loss in nats."""
    images = load_digits().images[:, None]
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    flow = pf.images.tarflow(key, shape=(1, 8, 8), **sizes)
    params, rest = pf.trainable(flow)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))

    @jax.jit
    def step(params: Any, state: Any, x: jax.Array) -> tuple[Any, Any, jax.Array]:
        loss, gradient = jax.value_and_grad(lambda p: -jnp.mean(pf.combine(p, rest).log_prob(x)))(params)
        updates, state = optimiser.update(gradient, state)
        return eqx.apply_updates(params, updates), state, loss

    state, n_steps, start, loss = optimiser.init(params), 0, 0.0, jnp.nan
    while n_steps < 2 or time.process_time() - start < seconds:
        rows = images[rng.integers(len(images), size=64)]
        x = (rows + rng.random(rows.shape)) / 8.5 - 1
        params, state, loss = step(params, state, jnp.asarray(x, jnp.float32))
        loss, n_steps = jax.block_until_ready(loss), n_steps + 1
        if n_steps == 1:  # the first step compiles
            start = time.process_time()
    return pf.combine(params, rest), n_steps, float(loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small model, trained for two seconds of CPU")
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of training")
    parser.add_argument("--rows", type=int, default=16, help="images per draw")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    seconds, sizes = (2.0, QUICK) if options.quick else (options.seconds, SIZES)
    flow, n_steps, loss = trained(options.seed, seconds, sizes)
    print(f"TarFlow {sizes}, 64 tokens, seed {options.seed}")
    print(f"Trained {n_steps} steps in {seconds:g} s of CPU, loss {loss:.1f} nats")

    key = jax.random.key(options.seed + 1)
    blocks = (8, 64) if options.quick else (4, 8, 16, 64)
    tolerance = 1e-5
    models = {"with the cache": flow, "without a cache": without_cache(flow)}
    for block in blocks:
        models[f"sweeps over blocks of {block}"] = with_inversion(flow, GaussSeidelJacobi(tolerance, block))

    def drawing(model: pf.Flow) -> Callable[[], jax.Array]:
        return lambda: jax.block_until_ready(model.sample(key, options.rows))

    draws = {name: drawing(model) for name, model in models.items()}
    exact = draws["with the cache"]()
    away = {name: float(jnp.max(jnp.abs(draw() - exact))) for name, draw in draws.items()}
    cpu: dict[str, list[float]] = {name: [] for name in draws}
    clock: dict[str, list[float]] = {name: [] for name in draws}
    for _ in range(1 if options.quick else N_TURNS):
        for name, draw in draws.items():
            began = time.process_time(), time.perf_counter()
            draw()
            cpu[name].append(time.process_time() - began[0])
            clock[name].append(time.perf_counter() - began[1])
    base = statistics.median(cpu["with the cache"])
    print(f"{options.rows} images")
    print(f"{'way':28s} {'CPU s':>8s} {'of cache':>9s} {'clock s':>8s} {'largest difference':>19s}")
    for name in draws:
        spent = statistics.median(cpu[name])
        print(f"{name:28s} {spent:8.3f} {spent / base:9.2f} {statistics.median(clock[name]):8.3f} {away[name]:19.1e}")
    for block in blocks:
        model = models[f"sweeps over blocks of {block}"]
        report = inversion_report(model.bijection, flow.base.sample(key, options.rows))
        print(f"\nSweeps over blocks of {block}, from the latent to the image:\n{report}")
    device = jax.devices()[0].platform
    print(f"\nDevice: {device}." + ("" if device == "gpu" else " On a GPU it was not measured (no GPU at hand)."))


if __name__ == "__main__":
    main()
