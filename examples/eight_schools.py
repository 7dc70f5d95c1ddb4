"""Infer the eight schools, and draw the posterior, the way up the ladder, and the weights.

Writes examples/out/eight_schools_*.png; takes a minute or two. It needs the extra `inference`.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
from jax.scipy.stats import norm

import pushforward as pf
from pushforward.bijections import HalfLine, Real

OUT = Path(__file__).resolve().parent / "out"
EFFECTS = jnp.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = jnp.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def log_density(p: dict[str, jax.Array]) -> jax.Array:
    """The joint density of data and parameters, the schools' effects as `mu + tau * z`."""
    prior = norm.logpdf(p["mu"], 0, 5) - jnp.log1p((p["tau"] / 5) ** 2) + jnp.sum(norm.logpdf(p["z"]))
    return jnp.sum(norm.logpdf(EFFECTS, p["mu"] + p["tau"] * p["z"], ERRORS)) + prior


def main() -> None:
    """Infer, print, draw."""
    mpl.use("agg")  # files are written, and no window opened
    target = pf.Target(log_density, {"mu": Real(), "tau": HalfLine(), "z": Real(8)})
    answer = pf.infer(target, key=jax.random.key(0))
    print(answer.summary())
    OUT.mkdir(exist_ok=True)
    for name in ("corner", "ladder", "weights"):
        figure, _ = getattr(pf.plotting, f"plot_{name}")(answer)
        figure.savefig(OUT / f"eight_schools_{name}.png")


if __name__ == "__main__":
    main()
