"""Images are scored: log-densities in batches that fit into memory, and bits per dimension with their error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._vectorize import batch_keys, in_chunks
from pushforward.distributions import Dequantized
from pushforward.metrics.bits import bits_per_dim
from pushforward.numerics.mean_error import mean_and_error

# Numbers of the images that are scored or drawn at once: 256 images of MNIST.
CHUNK_NUMBERS = 200_000
LARGEST_CHUNK = 512


@dataclass(frozen=True)
class Bits:
    r"""Bits per dimension of images under a model.

    Attributes:
        mean: Mean of $-\log_2 P(x) / D$; lower is better.
        standard_error: Standard error of the mean over the images.
        kind: `"exact"` for a model of levels, `"bound"` for a dequantized density: its true figure is not higher.
        n: Number of images.
        n_draws: Number of draws of the noise for each image; 0 for an exact figure.
    """

    mean: float
    standard_error: float
    kind: Literal["exact", "bound"]
    n: int
    n_draws: int = 0

    def __str__(self) -> str:
        draws = f", {self.n_draws} draws of the noise" if self.n_draws > 1 else ""
        words = "at most " if self.kind == "bound" else ""
        return f"{words}{self.mean:.4f} +- {self.standard_error:.4f} bits per dimension ({self.n:,} images{draws})"


def chunk_of(shape: tuple[int, ...]) -> int:
    """The number of images of this shape that are run at once."""
    return max(1, min(LARGEST_CHUNK, CHUNK_NUMBERS // math.prod(shape)))


def log_probs(model: Any, levels: np.ndarray, condition: np.ndarray | None, key: Any, n_draws: int = 1) -> np.ndarray:
    """The log-probability of each image in nats, `(n,)`, or a bound on it.

    The value of an image depends on its place and on the key, and not on how many are scored at once.

    Args:
        model: Distribution over levels.
        levels: Levels `(n, C, H, W)`.
        condition: Conditions `(n, n_classes)`, or None.
        key: JAX key of the noise.
        n_draws: Number of draws of the noise for each image.
    """
    scored = model.with_draws(n_draws) if isinstance(model, Dequantized) else model
    keys = batch_keys(key, len(levels)) if scored.needs_key else None

    def chunk(rows: Any, given: Any, own: Any) -> Any:
        return _score(scored, jnp.asarray(rows, jnp.result_type(float)), given, own)

    if not len(levels):
        return np.zeros(0)
    return np.asarray(in_chunks(chunk, chunk_of(levels.shape[1:]), levels, condition, keys), np.float64)


@eqx.filter_jit
def _score(model: Any, rows: Any, given: Any, keys: Any) -> Any:
    condition = None if given is None else jnp.moveaxis(jnp.asarray(given, rows.dtype), 0, -1)
    return model.log_prob_rows(jnp.moveaxis(rows, 0, -1), condition, keys)


def bits_of(model: Any, scores: np.ndarray, n_draws: int) -> Bits:
    """Bits per dimension of log-probabilities under a model.

    Args:
        model: Distribution over levels.
        scores: Log-probabilities `(n,)` in nats.
        n_draws: Number of draws of the noise for each image.
    """
    dim = math.prod(model.event_shape)
    mean, error = mean_and_error(scores)
    bound = bool(model.needs_key)
    return Bits(
        bits_per_dim(float(mean), dim),
        float(error) / (dim * math.log(2)),
        "bound" if bound else "exact",
        len(scores),
        n_draws if bound else 0,
    )
