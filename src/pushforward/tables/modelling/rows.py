"""Scoring and drawing rows in float64, in chunks of few sizes, so that little recompiles and no row sees another."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._programs import program
from pushforward._vectorize import in_chunks, rows_last
from pushforward.distributions import AbstractDistribution
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.table import TableDistribution
from pushforward.numerics.mean_error import mean_and_error

# Rows per call: the smallest size that holds all rows, or else calls of the last. A single row then costs little, and
# many rows fill the processor's caches but no more. A row's numbers depend on the size by rounding alone.
SIZES = (1, 64, 512, 4096)
# Draws that a lower bound is averaged over. The same for every row, and in every run.
N_DRAWS = 16
DRAWS_SEED = 0


class Scores(NamedTuple):
    """Log-probabilities of rows in nats, each `(n,)`.

    Attributes:
        log_prob: the sum of the two parts.
        mass: log-probability of the states.
        density: log-density of the values given the states.
        error: standard error of `density`, where it is averaged over draws; else 0.
    """

    log_prob: np.ndarray
    mass: np.ndarray
    density: np.ndarray
    error: np.ndarray


def score_rows(
    model: TableDistribution | Ensemble, x: np.ndarray, condition: np.ndarray | None, n_draws: int = N_DRAWS
) -> Scores:
    r"""The log-probabilities of rows, computed in float64 whatever the model was trained in.

    Where the density is a lower bound, it is $\log \frac1K \sum_k p(v, u_k)/q(u_k)$ over $K$ draws, which comes closer
    to the log-probability as $K$ grows. The draws are the same for every row, so that a row's score is its own.

    Args:
        model: in the data's units.
        x: `(n, dim)`.
        condition: `(n, k)` or None.
        n_draws: $K$.

    Source: Burda, Grosse, Salakhutdinov, 2016, eq. 8, arXiv 1509.00519.
    """
    score = program(_score, model, n_draws=n_draws if model.needs_key else 0)
    mass, density, error = in_chunks(score, SIZES, np.asarray(x, np.float64), condition)
    return Scores(mass + density, mass, density, error)


def _score(model: TableDistribution | Ensemble, x: Any, condition: Any, *, n_draws: int) -> tuple[Any, Any, Any]:
    rows, conditions = x.T, None if condition is None else condition.T
    if not n_draws:
        mass, density = model.parts(rows, conditions, None)
        return mass, density, jnp.zeros_like(mass)

    def draw(i: Any) -> tuple[Any, Any]:
        key = jax.random.fold_in(jax.random.key(DRAWS_SEED), i)
        parts = model.parts(rows, conditions, jnp.broadcast_to(key, x.shape[:1]))
        return parts.mass, parts.density

    masses, densities = jax.lax.map(draw, jnp.arange(n_draws))
    density = jax.nn.logsumexp(densities, axis=0) - np.log(n_draws)
    finite = jnp.isfinite(density)
    # The standard error of the mean of p over the draws, relative to it: that of its logarithm.
    ratio = jnp.exp(densities - jnp.where(finite, density, 0.0))
    _, error = mean_and_error(ratio)
    return masses[0], density, jnp.where(finite & (n_draws > 1), error, 0.0)


class Standard(NamedTuple):
    """What the flow of a table's values sees, in float64.

    Attributes:
        values: standard numbers `(n, n_values)`.
        condition: `(n, k)` or None.
        there: `(n, n_values)`: which values are there; the others are filled.
    """

    values: np.ndarray
    condition: np.ndarray | None
    there: np.ndarray


def standard_rows(
    model: TableDistribution, x: np.ndarray, condition: np.ndarray | None, *, drawn: bool = True
) -> Standard:
    """The values of rows in standard units, with their conditions.

    Args:
        model: in the data's units.
        x: `(n, dim)`.
        condition: `(n, k)` or None.
        drawn: draw what is rounded or absent, anew for each row; else take the middle of the step, and 0.
    """
    standard = program(_standard, model, drawn=drawn and model.needs_key)
    numbers = np.arange(len(x), dtype=np.uint32)
    return in_chunks(standard, SIZES, np.asarray(x, np.float64), condition, numbers)


def _standard(model: TableDistribution, x: Any, condition: Any, number: Any, *, drawn: bool) -> Standard:
    keys = None
    if drawn:
        keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(jax.random.key(DRAWS_SEED), number)
    seen = model.standard(x.T, None if condition is None else condition.T, keys)
    own = None if seen.condition is None else seen.condition.T
    there = jnp.broadcast_to(seen.there, seen.values.shape).T
    return Standard(seen.values.T, own, there)  # pyright: ignore[reportArgumentType] - arrays of JAX, still


def latent_rows(model: TableDistribution, x: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """The latents of the values `(n, n_values)` in float64; what is rounded or absent is drawn, anew for each row."""
    standard = standard_rows(model, x, condition)
    encode = program(_encode, model.values)
    return in_chunks(encode, SIZES, standard.values, standard.condition)


def _encode(flow: Any, values: Any, condition: Any) -> Any:
    return flow.encode(values, condition)


def sample_rows(model: AbstractDistribution, seed: np.ndarray, n: int, condition: np.ndarray | None) -> np.ndarray:
    """Draw rows in float64: `n` `(n, d)`, or `n` for each condition `(m * n, d)`, those of the first condition first.

    Draw `j` for condition `i` depends on the seed, `i` and `j` alone.

    Args:
        model: in the data's units.
        seed: two words.
        n: draws, for each condition if there are any.
        condition: `(m, k)` or None.
    """
    m = 1 if condition is None else len(condition)
    which, draw = (part.astype(np.uint32) for part in np.divmod(np.arange(m * n), n))
    drawn = program(_draw, model)
    own = None if condition is None else condition[which]
    return in_chunks(lambda which, draw, own: drawn(seed, which, draw, own), SIZES, which, draw, own)


def _draw(model: AbstractDistribution, seed: Any, which: Any, draw: Any, condition: Any) -> Any:
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    keys = jax.vmap(lambda i, j: jax.random.fold_in(jax.random.fold_in(key, i), j))(which, draw)
    return rows_last(model.sample_rows, (which.shape, () if condition is None else which.shape), keys, condition)
