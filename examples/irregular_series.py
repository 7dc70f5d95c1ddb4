"""Learn how a system moves from series that are observed at irregular times, and predict what comes next.

Spirals of a cubic damped oscillator, each observed with noise at times of its own. A neural ODE learns the dynamics
from all observations of all series at once, together with where each series starts; beyond the last it is solved on.

    .venv/bin/python examples/irregular_series.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import pushforward as pf
from pushforward.dynamics import Adaptive, FixedSteps, NeuralODE

N_SERIES, N_TIMES, NOISE = 48, 24, 0.05
LAST, HORIZON = 6.0, 4.0  # observed until LAST at most, predicted for HORIZON more
N_STEPS, LEARNING_RATE = 1200, 1e-2


class Autonomous(eqx.Module):
    """A law that does not change with time: what it learns within the observed times holds beyond them."""

    net: pf.nets.MLP

    def __call__(self, t: Any, y: Any, condition: Any = None) -> Any:
        """The velocity of a state."""
        return self.net(y)


def true_law(t: Any, y: Any, condition: Any = None) -> Any:
    """Of the series: the system turns and loses energy, both the faster the farther out it is."""
    return jnp.array([[-0.1, 2.0], [-2.0, -0.1]]) @ y**3


def series(rng: np.random.Generator) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """True starts at time 0, times `(n, m)`, padded with the last, whether each is one, and observations."""
    angle, radius = rng.uniform(0, 2 * np.pi, N_SERIES), rng.uniform(1.0, 1.6, N_SERIES)
    y0 = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    times = np.sort(rng.uniform(0, LAST, (N_SERIES, N_TIMES)), axis=1)
    lengths = rng.integers(N_TIMES // 2, N_TIMES + 1, N_SERIES)
    seen = np.arange(N_TIMES) < lengths[:, None]
    times = np.where(seen, times, times[np.arange(N_SERIES), lengths - 1][:, None])
    states = NeuralODE(true_law, Adaptive(rtol=1e-7, atol=1e-7)).batch(y0, times, t0=0.0).states
    return y0, times, seen, np.asarray(states) + NOISE * rng.standard_normal(states.shape)


def learn(times: np.ndarray, seen: np.ndarray, observed: np.ndarray) -> tuple[NeuralODE, Any]:
    """The dynamics and the state of each series at its first time, by least squares at all observations."""
    net = Autonomous(pf.nets.MLP(jax.random.key(0), 2, (2,), width=48, depth=2, activation="silu"))
    layer = NeuralODE(net, FixedSteps("rk4", 32))
    params, rest = eqx.partition((layer, jnp.asarray(observed[:, 0])), eqx.is_inexact_array)
    schedule = optax.cosine_decay_schedule(LEARNING_RATE, N_STEPS)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss(params: Any) -> Any:
        layer, starts = eqx.combine(params, rest)
        error = layer.batch(starts, times).states - observed
        return jnp.sum(seen[..., None] * error**2) / jnp.sum(seen) / 2

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any, Any]:
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    state, begin = optimiser.init(params), time.perf_counter()
    for i in range(N_STEPS):
        params, state, value = step(params, state)
        if i % 200 == 0 or i == N_STEPS - 1:
            print(f"step {i:5d}: root mean square error {value**0.5:.4f}, {time.perf_counter() - begin:.0f} s")
    return eqx.combine(params, rest)


def root_mean_square(error: Any) -> float:
    """Over all entries."""
    return float(np.sqrt(np.mean(np.square(error))))


def main(out: str) -> dict[str, float]:
    """Learn, predict, compare with the truth and with what needs no model, and draw three series."""
    y0, times, seen, observed = series(np.random.default_rng(0))
    layer, starts = learn(times, seen, observed)
    layer = NeuralODE(layer.net, Adaptive(rtol=1e-6, atol=1e-6))

    first, last = times[:, :1], times[:, -1:]
    grid = np.linspace(0, 1, 100)
    within, beyond = first + (last - first) * grid, last + HORIZON * grid[1:]
    solved = np.concatenate([within, beyond], axis=1)
    truth = np.asarray(NeuralODE(true_law, Adaptive(rtol=1e-7, atol=1e-7)).batch(y0, solved, t0=0.0).states)
    found = layer.batch(starts, solved)
    predicted = np.asarray(found.states)
    if bool(found.failed.any()):
        print(f"The solve failed for the series {np.flatnonzero(found.failed).tolist()}.")

    rows = zip(within, times, observed, strict=True)
    between = np.array([[np.interp(w, t, o[:, k]) for k in (0, 1)] for w, t, o in rows]).swapaxes(1, 2)
    final = observed[np.arange(N_SERIES), seen.sum(axis=1) - 1][:, None]
    errors = {
        "within the observations, neural ODE": root_mean_square(predicted[:, :100] - truth[:, :100]),
        "within the observations, linear interpolation": root_mean_square(between - truth[:, :100]),
        f"the next {HORIZON:g} units of time, neural ODE": root_mean_square(predicted[:, 100:] - truth[:, 100:]),
        f"the next {HORIZON:g} units of time, last value": root_mean_square(final - truth[:, 100:]),
        f"the next {HORIZON:g} units of time, zero": root_mean_square(truth[:, 100:]),
    }
    print(f"\nRoot mean square distance from the true states, which are observed with noise of {NOISE}:")
    for name, error in errors.items():
        print(f"  {name:50s} {error:.4f}")
    draw(out, times, seen, observed, solved, truth, predicted)
    print(f"\nThe figure is in {out}.")
    return errors


def draw(out: str, times: Any, seen: Any, observed: Any, solved: Any, truth: Any, predicted: Any) -> None:
    """Three series: the first coordinate over time, and the plane."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained")
    for n, (above, below) in enumerate(axes.T):
        own, end = seen[n], times[n, -1]
        above.axvspan(end, end + HORIZON, color="0.93", label="not observed")
        for axis, true, model, points in (
            (above, (solved[n], truth[n, :, 0]), (solved[n], predicted[n, :, 0]), (times[n, own], observed[n, own, 0])),
            (below, truth[n].T, predicted[n].T, observed[n, own].T),
        ):
            axis.plot(*true, color="0.6", linewidth=4, label="truth")
            axis.plot(*model, color="tab:red", linewidth=1.3, label="neural ODE")
            axis.plot(*points, "k.", markersize=6, label="observed")
        above.set(title=f"series {n}", xlabel="time", ylabel="first coordinate")
        below.set(xlabel="first coordinate", ylabel="second coordinate", aspect="equal")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).resolve().parent / "out" / "irregular_series.png"))
