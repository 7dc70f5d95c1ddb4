"""The highest point of a posterior's density."""

from __future__ import annotations

from typing import Protocol

import numpy as np

DRAWS, STARTS = 1000, 3
STEP = 1e-3  # of central differences, in standard deviations of the posterior


class AbstractPosterior(Protocol):
    """What can be drawn from and scored, given an observation."""

    def sample(self, n: int, *, x: np.ndarray) -> np.ndarray:
        """Draws `(n, dim)`."""
        ...

    def log_prob(self, theta: np.ndarray, *, x: np.ndarray) -> np.ndarray:
        """Log-densities `(n,)` of parameters `(n, dim)`."""
        ...


def highest(posterior: AbstractPosterior, x: np.ndarray) -> np.ndarray:
    """The parameters `(dim,)` of highest density: the best of some draws, improved by L-BFGS-B between the draws' ends.

    Args:
        posterior: The posterior.
        x: One observation.
    """
    from scipy.optimize import minimize

    draws = posterior.sample(DRAWS, x=x)
    nats = posterior.log_prob(draws, x=x)
    low, high = draws.min(axis=0), draws.max(axis=0)
    spread = draws.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    low, high = low / scale, high / scale
    steps = STEP * np.concatenate([np.eye(len(scale)), -np.eye(len(scale))])

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        around = np.clip(np.concatenate([z[None], z + steps]), low, high)
        found = posterior.log_prob(around * scale, x=x)
        up, down = np.split(found[1:], 2)
        gap = np.diagonal(around[1 : 1 + len(z)] - around[1 + len(z) :])
        return -float(found[0]), -np.nan_to_num((up - down) / np.where(gap > 0, gap, 1.0))

    best, highest_nats = draws[int(np.argmax(nats))], float(nats.max())
    for start in draws[np.argsort(nats)[::-1][:STARTS]]:
        bounds = list(zip(low, high, strict=True))
        found = minimize(value_and_gradient, start / scale, jac=True, method="L-BFGS-B", bounds=bounds)
        if np.isfinite(found.fun) and -found.fun > highest_nats:
            best, highest_nats = found.x * scale, -float(found.fun)
    return best
