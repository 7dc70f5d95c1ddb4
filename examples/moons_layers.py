"""Fit a small RealNVP to two moons, and draw how its layers undo them, one after the other.

Writes examples/out/moons_layers.png; takes less than a minute.
"""

from __future__ import annotations

from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np

import pushforward as pf
from pushforward.data import TOYS

OUT = Path(__file__).resolve().parent / "out"


def main() -> None:
    """Fit, draw, write."""
    mpl.use("agg")  # a file is written, and no window opened
    moons = TOYS["moons"].sample(8000, seed=0)
    flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=7, width=32)
    result = pf.fit(flow, moons, key=jax.random.key(1), max_epochs=40, progress=False)
    print(result.verdict)
    half = np.linspace(0, np.pi, 200)
    arc = 2 * np.stack([np.cos(half), np.sin(half)], axis=1)
    upper, lower = (_distance(moons, curve) for curve in (np.array([-1, -0.2]) + arc, np.array([1, 0.8]) - arc))
    figure, _ = pf.plotting.plot_layers(result.flow, moons, classes=np.where(upper < lower, "upper", "lower"))
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "moons_layers.png")
    print(f"Figure: {OUT / 'moons_layers.png'}")


def _distance(points: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """How far each point is from the nearest point of a curve."""
    return np.linalg.norm(points[:, None] - curve, axis=2).min(axis=1)


if __name__ == "__main__":
    main()
