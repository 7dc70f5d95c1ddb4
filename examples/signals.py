"""Learn what piecewise signals look like, and restore one that was blurred and has a gap.

Two priors are fitted to drawn signals: a flow, whose latents are explored by chains, and a flow-matching model, whose
path is guided by twisted particles and by pseudo-inverse guidance. Writes examples/out/signals_*.png; takes a few
minutes. It needs the extra `inference`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import numpy as np

import pushforward as pf
from pushforward.inverse_problems import Blur, GaussianNoise, InTurn, Mask, Solution, solve

OUT = Path(__file__).resolve().parent / "out"
KERNEL, SD = np.array([1.0, 2.0, 3.0, 2.0, 1.0]) / 9.0, 0.05
# The flow is scored and inverted without a solver; the field is trained by regression.
METHODS = (("flow", "hmc"), ("field", "tds"), ("field", "pigdm"))


def signals(n: int, length: int, seed: int) -> np.ndarray:
    """Signals `(n, length)` of two or three steps, with a little noise so that they have a density."""
    rng = np.random.default_rng(seed)
    out = np.empty((n, length))
    for row in out:
        cuts = np.sort(rng.choice(np.arange(2, length - 1), rng.integers(1, 3), replace=False))
        levels = rng.normal(size=len(cuts) + 1)
        row[:] = levels[np.searchsorted(cuts, np.arange(length), side="right")]
    return out + 0.05 * rng.normal(size=out.shape)


def priors(length: int, n: int, **fit: Any) -> dict[str, pf.Flow]:
    """A flow and a flow-matching model of the signals."""
    rows = signals(n, length, 0)
    made = {
        "flow": pf.flows.realnvp(jax.random.key(0), dim=length, n_layers=6, width=64),
        "field": pf.flows.flow_matching(jax.random.key(1), dim=length, width=128),
    }
    return {name: pf.fit(flow, rows, key=jax.random.key(2), **fit).flow for name, flow in made.items()}


def observed(length: int) -> tuple[np.ndarray, np.ndarray, InTurn]:
    """A signal, its blurred observation with a gap and noise, and the operator."""
    truth = signals(1, length, 99)[0]
    seen = np.ones(length, bool)
    seen[length // 3 : length // 2] = False
    operator = InTurn([Blur(KERNEL, (length,), "edge"), Mask(seen)])
    noise = SD * np.random.default_rng(7).normal(size=int(seen.sum()))
    return truth, np.asarray(operator(truth)) + noise, operator


def main(length: int = 24, n: int = 10_000, n_draws: int = 1000, **fit: Any) -> dict[str, Solution]:
    """Fit, restore, print, draw.

    Args:
        length: Length of a signal.
        n: Number of signals to fit to.
        n_draws: Number of draws of each answer.
        fit: Arguments of `pf.fit`.
    """
    mpl.use("agg")  # files are written, and no window opened
    made = priors(length, n, **fit)
    truth, y, operator = observed(length)
    OUT.mkdir(exist_ok=True)
    answers = {}
    for prior, method in METHODS:
        answer = solve(
            made[prior], y, operator, GaussianNoise(SD), method=method, key=jax.random.key(3), n_draws=n_draws
        )
        error = float(np.sqrt(np.mean((answer.mean - truth) ** 2)))
        print(f"{answer.summary()}\nroot mean squared error of the mean: {error:.3f}\n")
        figure: Any = pf.plotting.plot_restoration(answer, truth=truth)[0]
        figure.savefig(OUT / f"signals_{method}.png")
        answers[method] = answer
    return answers


if __name__ == "__main__":
    main()
