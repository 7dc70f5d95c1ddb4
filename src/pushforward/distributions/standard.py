"""Distributions with independent coordinates: normal, uniform, Student-t."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma, gammaln, ndtr, ndtri

from pushforward._checks import as_floats, check_shape, check_values, positive
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.bijections.base import along
from pushforward.distributions.closed_form import AbstractClosedForm
from pushforward.numerics.special import inside, log1p_square
from pushforward.numerics.student_t import log_tail, student_tail, tail_quantile

# The entropy of one standard normal number, in nats.
NORMAL_ENTROPY = 0.5 * (1 + math.log(2 * math.pi))


class StandardNormal(AbstractClosedForm):
    r"""The standard normal, $\log p(x) = -\tfrac12 \sum_i (x_i^2 + \log 2\pi)$.

    Args:
        shape: Event shape.
    """

    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, shape: Shape):
        self.event_shape, self.cond_shape, self.needs_key = check_shape("StandardNormal", shape), None, False

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return -0.5 * over_event(x * x) - 0.5 * math.log(2 * math.pi) * math.prod(self.event_shape)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return normals(keys, self.event_shape)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)

    def mean_rows(self, condition: Array | None) -> Array:
        return jnp.zeros((*self.event_shape, 1))

    def variance_rows(self, condition: Array | None) -> Array:
        return jnp.ones((*self.event_shape, 1))

    def entropy_rows(self, condition: Array | None) -> Array:
        return jnp.full((1,), NORMAL_ENTROPY * math.prod(self.event_shape))

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        return ndtr(x)

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        return ndtri(p)


class DiagonalNormal(AbstractClosedForm):
    r"""Independent normals, $\log p(x) = -\tfrac12 \sum_i (((x_i - m_i)/s_i)^2 + \log 2\pi + 2\log s_i)$, trained.

    Args:
        loc: Means $m$, broadcast to `shape`.
        scale: Standard deviations $s > 0$, broadcast to `shape`.
        shape: Event shape; None takes that of `loc` and `scale` together.

    Raises:
        ValueError: A scale is not positive.
    """

    loc: Array
    log_scale: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, loc: Any = 0.0, scale: Any = 1.0, shape: Shape | None = None):
        check_values("DiagonalNormal", "finite scales > 0", positive, "Give standard deviations.", scale)
        loc, scale = as_floats(loc), as_floats(scale)
        shape = np.broadcast_shapes(loc.shape, scale.shape) if shape is None else shape
        self.event_shape, self.cond_shape, self.needs_key = check_shape("DiagonalNormal", shape), None, False
        self.loc = jnp.broadcast_to(loc, self.event_shape)
        self.log_scale = jnp.broadcast_to(jnp.log(scale), self.event_shape)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return self._log_prob_of((x - along(self.loc)) * along(jnp.exp(-self.log_scale)))

    def _log_prob_of(self, z: Array) -> Array:
        constant = 0.5 * math.log(2 * math.pi) * math.prod(self.event_shape)
        return -0.5 * over_event(z * z) - jnp.sum(self.log_scale) - constant

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        z = normals(keys, self.event_shape)
        return along(self.loc) + along(jnp.exp(self.log_scale)) * z, self._log_prob_of(z)

    def mean_rows(self, condition: Array | None) -> Array:
        return along(self.loc)

    def variance_rows(self, condition: Array | None) -> Array:
        return along(jnp.exp(2 * self.log_scale))

    def entropy_rows(self, condition: Array | None) -> Array:
        return NORMAL_ENTROPY * math.prod(self.event_shape) + jnp.sum(self.log_scale)[None]

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        return ndtr((x - along(self.loc)) * along(jnp.exp(-self.log_scale)))

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        return along(self.loc) + along(jnp.exp(self.log_scale)) * ndtri(p)


class UniformBox(AbstractClosedForm):
    r"""$p(x) = \prod_i 1/(b_i - a_i)$ on the closed box $[a, b]$, and 0 (log-density `-inf`) outside.

    Args:
        low: Lower corner $a$, broadcast to `shape`. Fixed, not trained.
        high: Upper corner $b$, broadcast to `shape`.
        shape: Event shape; None takes that of the corners together.

    Raises:
        ValueError: A side is empty or not finite.
    """

    low: Fixed
    high: Fixed
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, low: Any = 0.0, high: Any = 1.0, shape: Shape | None = None):
        check_values("UniformBox", "finite low < high", lambda a, b: positive(b - a), "Swap them?", low, high)
        low, high = as_floats(low), as_floats(high)
        shape = np.broadcast_shapes(low.shape, high.shape) if shape is None else shape
        self.event_shape, self.cond_shape, self.needs_key = check_shape("UniformBox", shape), None, False
        self.low = Fixed(jnp.broadcast_to(low, self.event_shape))
        self.high = Fixed(jnp.broadcast_to(high, self.event_shape))

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        low, high = along(self.low.value), along(self.high.value)
        event = tuple(range(x.ndim - 1))
        outside = jnp.any((x < low) | (x > high), axis=event) & ~jnp.any(jnp.isnan(x), axis=event)
        # 0 * x keeps a NaN in x a NaN; the clip keeps an infinite x, which is outside, from making one.
        inside = -jnp.sum(jnp.log(high - low)) + 0 * over_event(jnp.clip(x, low, high))
        return jnp.where(outside, -jnp.inf, inside)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        low, high = self.low.value, self.high.value
        return jax.vmap(lambda k: jax.random.uniform(k, self.event_shape, minval=low, maxval=high), out_axes=-1)(keys)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)

    def _width(self) -> Array:
        return along(self.high.value - self.low.value)

    def mean_rows(self, condition: Array | None) -> Array:
        return along(self.low.value) + 0.5 * self._width()

    def variance_rows(self, condition: Array | None) -> Array:
        return self._width() ** 2 / 12

    def entropy_rows(self, condition: Array | None) -> Array:
        return over_event(jnp.log(self._width()))

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        return jnp.clip((x - along(self.low.value)) / self._width(), 0, 1)

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        return jnp.where((p >= 0) & (p <= 1), along(self.low.value) + p * self._width(), jnp.nan)


class StudentT(AbstractClosedForm):
    r"""Independent Student-t coordinates, whose tails fall like $|x|^{-\nu - 1}$ instead of $e^{-x^2/2}$.

    $\log p(x_i) = \log\Gamma(\tfrac{\nu+1}2) - \log\Gamma(\tfrac\nu2) - \tfrac12\log(\nu\pi)
    - \tfrac{\nu+1}2 \log(1 + x_i^2/\nu)$.

    Args:
        df: Degrees of freedom $\nu > 0$, one or one per coordinate; trained along (its log is the parameter).
        shape: Event shape; None takes that of `df`.

    Raises:
        ValueError: A `df` is not positive.

    Source: as a base for heavy tails: Alexanderson and Henter, 2020, arXiv 2006.05259.
    """

    log_df: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, df: Any = 5.0, shape: Shape | None = None):
        check_values("StudentT", "finite df > 0", positive, "The usual value is 5; 1 is Cauchy.", df)
        df = as_floats(df)
        self.event_shape = check_shape("StudentT", df.shape if shape is None else shape)
        self.cond_shape, self.needs_key = None, False
        self.log_df = jnp.broadcast_to(jnp.log(df), self.event_shape)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        log_df = along(self.log_df)
        df = jnp.exp(log_df)
        half = (df + 1) / 2
        constant = gammaln(half) - gammaln(df / 2) - 0.5 * (log_df + math.log(math.pi))
        return over_event(constant - half * log1p_square(x * jnp.exp(-0.5 * log_df)))

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        df = jnp.exp(self.log_df).astype(jnp.result_type(float))
        return jax.vmap(lambda k: jax.random.t(k, df, self.event_shape, dtype=df.dtype), out_axes=-1)(keys)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)

    def _df(self) -> Array:
        return along(jnp.exp(self.log_df))

    def mean_rows(self, condition: Array | None) -> Array:
        return jnp.where(self._df() > 1, 0.0, jnp.nan)

    def variance_rows(self, condition: Array | None) -> Array:
        df = self._df()
        finite = df / jnp.where(df > 2, df - 2, 1)
        return jnp.where(df > 2, finite, jnp.where(df > 1, jnp.inf, jnp.nan))

    def entropy_rows(self, condition: Array | None) -> Array:
        half, df = (self._df() + 1) / 2, self._df()
        constant = gammaln(half) - gammaln(df / 2) - 0.5 * jnp.log(df * math.pi)
        return over_event(half * (digamma(half) - digamma(df / 2)) - constant)

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        # This is not jnp.abs, whose derivative at 0 is 0.
        tail = jnp.exp(log_tail(jnp.where(x < 0, -x, x), student_tail(self._df())))
        return jnp.where(x < 0, tail, 1 - tail)

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        inner = inside(p, 0.0, 1.0)
        size = tail_quantile(jnp.log(jnp.where(inner < 0.5, inner, 1 - inner)), student_tail(self._df()))
        ends = jnp.where(p == 0, -jnp.inf, jnp.where(p == 1, jnp.inf, jnp.nan))
        return jnp.where((p > 0) & (p < 1), jnp.where(inner < 0.5, -size, size), ends)


def normals(keys: PRNGKeyArray, shape: Shape) -> Array:
    """Standard normal numbers `(*shape, n)`, one event per key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape), out_axes=-1)(keys)


def over_event(x: Array) -> Array:
    """The sum over all axes but the last."""
    return jnp.sum(x, axis=tuple(range(x.ndim - 1)))
