"""A mixture fitted to a model's own draws, whose conditional distributions are known: it proposes what is unknown."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.bijections.base import fold_keys

# Numbers of components that are tried; BIC chooses.
SIZES = (1, 2, 4, 8, 16)
# Draws of the model that the mixture is fitted to.
FITTED = 4096
# A component of all draws together, so much wider, has this share: no region is without proposals.
WIDE, WIDE_SHARE = 2.0, 0.05
RIDGE = 1e-9
# Rows by which the states of each component are drawn towards those of all.
SMOOTHING = 10.0
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Surrogate(NamedTuple):
    """The mixture: shares, means and covariances.

    Attributes:
        log_share: `(k,)`.
        mean: `(k, dim)`.
        cov: `(k, dim, dim)`.
        log_states: Log-probabilities `(k, n_states)` of the states that go with the draws, for the rows of a table.
    """

    log_share: np.ndarray
    mean: np.ndarray
    cov: np.ndarray
    log_states: np.ndarray


def fit_surrogate(draws: np.ndarray, seed: int, states: np.ndarray | None = None) -> Surrogate:
    """The mixture of normals that describes draws of a model best, by BIC.

    Args:
        draws: Rows `(n, dim)`.
        seed: Seed of the starting points.
        states: Flags `(n, n_states)` of the states of these rows, if they have any.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    finite = np.isfinite(draws).all(axis=1)
    draws, flags = draws[finite], np.zeros((int(finite.sum()), 0)) if states is None else states[finite]
    centre = np.median(draws, axis=0)
    scale = np.quantile(np.abs(draws - centre), 0.683, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    # A few draws of heavy tails would have components of their own.
    rows = np.clip((draws - centre) / scale, -30, 30)
    best: Any = None
    least, risen = math.inf, 0
    for size in SIZES:
        if size > 1 and size * rows.shape[1] ** 2 > len(rows):
            break
        model = GaussianMixture(size, reg_covar=1e-6, max_iter=60, random_state=seed, init_params="k-means++")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            bic = model.fit(rows).bic(rows)
        risen = risen + 1 if bic >= least else 0
        if bic < least:
            best, least = model, bic
        if risen > 1:
            break
    shares = np.append((1 - WIDE_SHARE) * best.weights_, WIDE_SHARE)
    means = np.concatenate([best.means_, rows.mean(axis=0)[None]])
    wide = WIDE**2 * (np.cov(rows.T).reshape(rows.shape[1], -1) + 1e-6 * np.eye(rows.shape[1]))
    covs = np.concatenate([best.covariances_, wide[None]])
    of_parts = np.concatenate([best.predict_proba(rows), np.ones((len(rows), 1))], axis=1)
    counts = of_parts.T @ flags + SMOOTHING * flags.mean(axis=0)
    log_states = np.log(counts / of_parts.sum(axis=0)[:, None] + 1e-12)
    return Surrogate(np.log(shares), centre + scale * means, covs * scale[:, None] * scale, log_states)


def _t_log_density(t: Array) -> Array:
    """The log-density of Student's t with four degrees of freedom, whose functions are all in closed form."""
    return math.log(3 / 8) - 2.5 * jnp.log1p(t * t / 4)


def _t_cdf(t: Array) -> Array:
    square = t * t
    ratio = jnp.where(jnp.abs(t) > 1e100, jnp.sign(t) * 2.0, t / jnp.sqrt(1 + square / 4))
    return jnp.clip(0.5 + 3 / 8 * ratio * (1 - ratio * ratio / 12), 0.0, 1.0)


def _t_quantile(p: Array) -> Array:
    """The inverse of `_t_cdf`.

    Source: Shaw, 2006, Journal of Computational Finance 9 (4), 37-73.
    """
    p = jnp.clip(p, 1e-15, 1 - 1e-15)
    root = jnp.sqrt(4 * p * (1 - p))
    q = jnp.cos(jnp.arccos(jnp.minimum(root, 1.0)) / 3) / root
    return jnp.sign(p - 0.5) * 2 * jnp.sqrt(jnp.maximum(q - 1, 0.0))


class Asked(NamedTuple):
    """What is known of rows, in an order in which known numbers come first, then ranges, then the rest.

    Attributes:
        low: Lower ends `(dim, n)` in that order.
        high: Upper ends `(dim, n)`.
        n_points: Number of known ones.
        n_ranges: Number of ranges.
    """

    low: Array
    high: Array
    n_points: Array
    n_ranges: Array


def ordered(surrogate: Surrogate, order: Array) -> tuple[Array, Array, Array]:
    """Log-shares, means `(k, dim)` and lower factors `(k, dim, dim)` of the mixture for numbers in this order."""
    mean = jnp.asarray(surrogate.mean)[:, order]
    cov = jnp.asarray(surrogate.cov)[:, order][:, :, order]
    scale = jnp.sqrt(jnp.diagonal(cov, axis1=1, axis2=2))
    one = jnp.eye(cov.shape[-1])
    correlation = cov / (scale[:, :, None] * scale[:, None, :]) + RIDGE * one
    return jnp.asarray(surrogate.log_share), mean, scale[:, :, None] * jnp.linalg.cholesky(correlation)


def propose(
    parts: tuple[Array, Array, Array], keys: Any, asked: Asked, favour: Array | float = 0.0
) -> tuple[Array, Array]:
    """Rows in which what is known holds, and the log-density of what was drawn, `(dim, n)` and `(n,)`.

    A component is chosen by what it says of the known numbers. What is not known is drawn from it, with tails of
    Student's t, one number after the other.

    Args:
        parts: The mixture; see `ordered`.
        keys: Keys `(n,)`.
        asked: What is known.
        favour: What else speaks for each component, `(k, n)` nats.
    """
    log_share, mean, factor = parts
    dim = mean.shape[1]
    share = log_share[:, None] + favour + _walk(mean, factor, asked, None)[1]
    of_choice: Any = fold_keys(keys, 0)
    chosen = jax.vmap(jax.random.categorical)(of_choice, share.T)
    noise = jax.vmap(lambda key: jax.random.uniform(key, (dim,), mean.dtype), out_axes=-1)(fold_keys(keys, 1))

    def one(component: Array, low: Array, high: Array, uniform: Array) -> Array:
        own = Asked(low[:, None], high[:, None], asked.n_points, asked.n_ranges)
        return _walk(mean[component][None], factor[component][None], own, uniform[:, None])[0][:, 0, 0]

    rows = jax.vmap(one, in_axes=(0, -1, -1, -1), out_axes=-1)(chosen, asked.low, asked.high, noise)
    return rows, density(parts, rows, asked, favour)


def density(parts: tuple[Array, Array, Array], rows: Array, asked: Asked, favour: Array | float = 0.0) -> Array:
    """The log-density `(n,)` with which `propose` draws rows `(dim, n)`."""
    log_share, mean, factor = parts
    share = jax.nn.log_softmax(log_share[:, None] + favour + _walk(mean, factor, asked, None)[1], axis=0)
    return jax.nn.logsumexp(share + _scored(mean, factor, rows, asked), axis=0)


def _walk(mean: Array, factor: Array, asked: Asked, uniform: Array | None) -> tuple[Array, Array]:
    """Rows `(dim, k, n)`, and what each component says of what is known: known numbers by density, ranges by mass.

    Without uniform numbers what is not known stands at its conditional mean.
    """
    k, dim = mean.shape
    n = asked.low.shape[-1]

    def step(latents: Array, i: Array) -> tuple[Array, tuple[Array, Array]]:
        scale = factor[:, i, i][:, None]
        centre = mean[:, i][:, None] + jnp.einsum("kd,dkn->kn", factor[:, i], latents)
        low, high = (end[i][None] - centre for end in (asked.low, asked.high))
        point, ranged = i < asked.n_points, i < asked.n_points + asked.n_ranges
        first, last = _t_cdf(low / scale), _t_cdf(high / scale)
        t = jnp.zeros((k, n))
        if uniform is not None:
            t = _t_quantile(first + (last - first) * uniform[i][None])
            t = jnp.where(ranged & ~point, jnp.clip(t, low / scale, high / scale), t)
        t = jnp.where(point, low / scale, t)
        normal = -0.5 * t * t - HALF_LOG_2PI - jnp.log(scale)
        mass = jnp.log(jnp.maximum(last - first, jnp.finfo(t.dtype).tiny))
        said = jnp.where(point, normal, jnp.where(ranged, mass, 0.0))
        return latents.at[i].set(t), (centre + scale * t, said)

    _, (rows, said) = jax.lax.scan(step, jnp.zeros((dim, k, n)), jnp.arange(dim))
    return rows, jnp.sum(said, axis=0)


def _scored(mean: Array, factor: Array, rows: Array, asked: Asked) -> Array:
    """The log-density `(k, n)` of each component for what is not known in rows `(dim, n)`."""
    k, dim = mean.shape

    def step(latents: Array, i: Array) -> tuple[Array, Array]:
        scale = factor[:, i, i][:, None]
        centre = mean[:, i][:, None] + jnp.einsum("kd,dkn->kn", factor[:, i], latents)
        t = (rows[i][None] - centre) / scale
        own = _t_log_density(t) - jnp.log(scale)
        low, high = (_t_cdf((end[i][None] - centre) / scale) for end in (asked.low, asked.high))
        mass = jnp.log(jnp.maximum(high - low, jnp.finfo(t.dtype).tiny))
        point, ranged = i < asked.n_points, i < asked.n_points + asked.n_ranges
        said = jnp.where(point, 0.0, jnp.where(ranged, own - mass, own))
        return latents.at[i].set(t), said

    _, said = jax.lax.scan(step, jnp.zeros((dim, k, rows.shape[-1])), jnp.arange(dim))
    return jnp.sum(said, axis=0)
