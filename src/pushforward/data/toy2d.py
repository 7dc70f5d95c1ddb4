"""The two-dimensional toys of FFJORD, as distributions: seeded draws, exact densities, and their entropy floors.

A flow that reports more held-out nats than `-entropy` on fresh draws has a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import i0e, logsumexp

LOG_2PI = float(np.log(2 * np.pi))
# Midpoints along a curve, under 0.05 noise widths apart: the error, largest at the curve's ends, is below 1e-4 nats.
CURVE_NODES = 2048


@dataclass(frozen=True)
class Toy2D:
    """A planar distribution with known entropy.

    Args:
        name: its name in `TOYS`.
        entropy: the differential entropy in nats; `-entropy` is the best possible mean log-density.
        draw: `(n, generator) -> (n, 2)`.
        density: `(n, 2) -> (n,)` log-densities in nats.

    Source:
        The generators of Grathwohl et al., 2019 (FFJORD), arXiv 1810.01367, redrawn independently per row.

    Example:
        >>> from pushforward.data import TOYS
        >>> TOYS["moons"].sample(5, seed=0).shape
        (5, 2)
    """

    name: str
    entropy: float
    draw: Callable[[int, np.random.Generator], np.ndarray]
    density: Callable[[np.ndarray], np.ndarray]

    @property
    def dim(self) -> int:
        """Always 2."""
        return 2

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """`n` independent rows, `(n, 2)` float64; the same seed gives the same rows."""
        return self.draw(n, np.random.default_rng(seed))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-densities in nats of rows `(n, 2)`, `-inf` outside the support."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != 2:
            raise ValueError(f"Toy2D {self.name!r}: expected rows of shape (n, 2), got {x.shape}. Reshape x.")
        return self.density(x)


# --- mixtures of points, rings and curves, each blurred by an isotropic normal -----------------------------------


def _draw_points(centres: np.ndarray, noise: float) -> Callable[[int, np.random.Generator], np.ndarray]:
    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        return centres[rng.integers(len(centres), size=n)] + noise * rng.standard_normal((n, 2))

    return draw


def _density_points(centres: np.ndarray, noise: float) -> Callable[[np.ndarray], np.ndarray]:
    def density(x: np.ndarray) -> np.ndarray:
        out = np.empty(len(x))
        for start in range(0, len(x), 4096):  # a block of distances at a time: 4096 x nodes float64 is at most 128 MB
            block = x[start : start + 4096]
            squares = ((block[:, None, :] - centres[None]) ** 2).sum(-1)
            out[start : start + 4096] = logsumexp(-0.5 * squares / noise**2, axis=1)
        return out - np.log(len(centres)) - LOG_2PI - 2 * np.log(noise)

    return density


def _draw_rings(radii: np.ndarray, noise: float) -> Callable[[int, np.random.Generator], np.ndarray]:
    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        radius, angle = radii[rng.integers(len(radii), size=n)], rng.uniform(0, 2 * np.pi, n)
        ring = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return ring + noise * rng.standard_normal((n, 2))

    return draw


def _density_rings(radii: np.ndarray, noise: float) -> Callable[[np.ndarray], np.ndarray]:
    # A normal averaged over a circle: exp(-(rho^2 + r^2) / 2 s^2) I0(rho r / s^2) / 2 pi s^2, with I0 scaled by exp.
    def density(x: np.ndarray) -> np.ndarray:
        rho = np.hypot(x[:, 0], x[:, 1])[:, None]
        logs = -0.5 * ((rho - radii) / noise) ** 2 + np.log(i0e(rho * radii / noise**2))
        return logsumexp(logs, axis=1) - np.log(len(radii)) - LOG_2PI - 2 * np.log(noise)

    return density


def _draw_moons(n: int, rng: np.random.Generator) -> np.ndarray:
    centres = _moon_curve(rng.uniform(0, np.pi, n), rng.integers(2, size=n).astype(bool))
    return centres + 0.2 * rng.standard_normal((n, 2))


def _moon_curve(t: np.ndarray, lower: np.ndarray) -> np.ndarray:
    x = np.where(lower, 1 - np.cos(t), np.cos(t))
    y = np.where(lower, 0.5 - np.sin(t), np.sin(t))
    return 2 * np.stack([x, y], axis=-1) + np.array([-1.0, -0.2])


def _draw_swissroll(n: int, rng: np.random.Generator) -> np.ndarray:
    return _roll_curve(rng.uniform(0, 1, n)) + 0.2 * rng.standard_normal((n, 2))


def _roll_curve(u: np.ndarray) -> np.ndarray:
    t = 1.5 * np.pi * (1 + 2 * u)
    return np.stack([t * np.cos(t), t * np.sin(t)], axis=-1) / 5


# --- the chequered square ----------------------------------------------------------------------------------------


def _draw_checkerboard(n: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.uniform(-2, 2, n)
    y = rng.uniform(0, 1, n) - 2 * rng.integers(2, size=n) + np.floor(x) % 2
    return 2 * np.stack([x, y], axis=1)


def _density_checkerboard(x: np.ndarray) -> np.ndarray:
    inside = np.all((x >= -4) & (x < 4), axis=1)
    black = (np.floor(x[:, 0] / 2) + np.floor(x[:, 1] / 2)) % 2 == 0
    return np.where(inside & black, -np.log(32.0), -np.inf)


_MIDDLES = (np.arange(CURVE_NODES) + 0.5) / CURVE_NODES
_EIGHT = 4 / 1.414 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
_MOONS = np.concatenate([_moon_curve(np.pi * _MIDDLES, np.full(CURVE_NODES, side)) for side in (False, True)])
_CIRCLES, _RINGS = np.array([3.0, 1.5]), np.array([3.0, 2.25, 1.5, 0.75])

# Entropies: ln 32 exactly; the others by two-dimensional quadrature of the densities here (tests/data/test_toy2d.py).
TOYS: dict[str, Toy2D] = {
    toy.name: toy
    for toy in (
        Toy2D("8gaussians", 2.831880, _draw_points(_EIGHT, 0.5 / 1.414), _density_points(_EIGHT, 0.5 / 1.414)),
        Toy2D("moons", 2.393879, _draw_moons, _density_points(_MOONS, 0.2)),
        Toy2D("checkerboard", float(np.log(32)), _draw_checkerboard, _density_checkerboard),
        Toy2D("circles", 3.268136, _draw_rings(_CIRCLES, 0.24), _density_rings(_CIRCLES, 0.24)),
        Toy2D("rings", 2.623183, _draw_rings(_RINGS, 0.08), _density_rings(_RINGS, 0.08)),
        Toy2D("swissroll", 2.669645, _draw_swissroll, _density_points(_roll_curve(_MIDDLES), 0.2)),
    )
}
