"""Infer the parameters of three simulators, whose observations are a set, a series and an image.

Each has an embedding, a small network from one observation to a vector, which is trained along with the posterior. The
posterior is then judged by simulations that it has not seen, and asked about one observation.

    .venv/bin/python examples/simulator.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

import pushforward as pf

FEATURES, SIDE, LENGTH, MEMBERS = 8, 12, 32, 20


class DeepSet(eqx.Module):
    """The mean of a network over the members of a set: their order does not matter."""

    inner: eqx.nn.MLP

    def __init__(self, key: Any):
        self.inner = eqx.nn.MLP(1, FEATURES, 32, 2, key=key)

    def __call__(self, x: Any) -> Any:
        return jnp.mean(jax.vmap(self.inner)(x), axis=0)


class Series(eqx.Module):
    """Two convolutions along time, averaged over it."""

    first: eqx.nn.Conv1d
    second: eqx.nn.Conv1d

    def __init__(self, key: Any):
        one, two = jax.random.split(key)
        self.first, self.second = eqx.nn.Conv1d(1, 16, 3, key=one), eqx.nn.Conv1d(16, FEATURES, 3, key=two)

    def __call__(self, x: Any) -> Any:
        return jnp.mean(jax.nn.silu(self.second(jax.nn.silu(self.first(x[None])))), axis=-1)


class Image(eqx.Module):
    """Two convolutions with stride 2, and a linear layer."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    last: eqx.nn.Linear

    def __init__(self, key: Any):
        one, two, three = jax.random.split(key, 3)
        self.first, self.second = (eqx.nn.Conv2d(n, 8, 3, 2, 1, key=k) for n, k in ((1, one), (8, two)))
        self.last = eqx.nn.Linear(8 * (SIDE // 4) ** 2, FEATURES, key=three)

    def __call__(self, x: Any) -> Any:
        return self.last(jax.nn.silu(self.second(jax.nn.silu(self.first(x[None])))).reshape(-1))


def draws_of_a_normal(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sets of draws of a normal distribution."""
    return (theta[:, :1] + theta[:, 1:] * rng.normal(size=(len(theta), MEMBERS)))[..., None]


def autoregression(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Series whose next number remembers the last one."""
    x, now = [], np.zeros(len(theta))
    for noise in rng.normal(size=(LENGTH, len(theta))):
        now = theta[:, 0] * now + theta[:, 1] * noise
        x.append(now)
    return np.stack(x, axis=1)


def blob(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noisy images of a blob."""
    grid = np.linspace(-1, 1, SIDE)
    across, down = (np.exp(-(((grid - theta[:, [i]]) / 0.3) ** 2)) for i in (0, 1))
    return across[:, :, None] * down[:, None, :] + 0.2 * rng.normal(size=(len(theta), SIDE, SIDE))


TASKS: dict[str, tuple[dict[str, Any], Callable[..., np.ndarray], Callable[[Any], Any]]] = {
    "set": ({"mean": stats.norm(0, 1), "spread": (0.2, 2)}, draws_of_a_normal, DeepSet),
    "series": ({"memory": (-0.9, 0.9), "noise": (0.2, 2)}, autoregression, Series),
    "image": ({"left": (-0.8, 0.8), "up": (-0.8, 0.8)}, blob, Image),
}


def main(n: int = 4000, n_members: int = 2, max_epochs: int | None = 60) -> dict[str, pf.inference.Calibration]:
    """Fit and judge the three posteriors.

    Args:
        n: Number of simulations; a quarter as many are held out.
        n_members: Members of each ensemble.
        max_epochs: Passes over the simulations at most.
    """
    reports = {}
    for name, (prior, simulate, embedding) in TASKS.items():
        rng = np.random.default_rng(0)
        options = {"flow_options": {"n_layers": 2, "width": 48, "bins": 8}, "max_epochs": max_epochs}
        npe = pf.NPE(prior, embedding=embedding(jax.random.key(1)), n_members=n_members, **options)
        theta = npe.prior_.sample(n + n // 4, rng)
        x = simulate(theta, rng)
        npe.fit(theta[:n], x[:n])
        draws = npe.sample(1000, x=x[-1])
        shown = zip(npe.prior_.names, theta[-1], draws.mean(axis=0), draws.std(axis=0), strict=True)
        print(f"{name}:", "; ".join(f"{what} {true:.2f}, inferred {m:.2f} +- {s:.2f}" for what, true, m, s in shown))
        reports[name] = pf.calibrate(npe, theta[n:], x[n:], key=jax.random.key(2), n_draws=50)
        print(reports[name])
    return reports


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
