"""Laws of one number of an image over its levels 0 to K - 1, given parameters that a network computes."""

from __future__ import annotations

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int
from pushforward._module import Module
from pushforward._types import Array

# Largest number of levels: that of 16 bits.
MOST_LEVELS = 65536
# The least logarithm of a logistic's scale, where the levels span [-1, 1]: far below one level even at 16 bits.
MIN_LOG_SCALE = -14.0
# The largest one: 500 times the whole range, where the inner masses are equal to 1e-6; beyond it they would round to 0.
MAX_LOG_SCALE = 7.0
# The logarithm of the scale with which a new law starts: about a fifth of the range.
START_LOG_SCALE = -1.5


class AbstractLevels(Module):
    """A law over levels. It has no weights: all its parameters come from a network.

    Attributes:
        n_levels: Number of levels.
        n_params: Number of parameters.
    """

    n_levels: eqx.AbstractVar[int]
    n_params: eqx.AbstractVar[int]

    @abstractmethod
    def log_mass(self, params: Array, x: Array) -> Array:
        """The log-masses `shape` of levels `x`, `shape`, under parameters `(n_params, *shape)`, in nats."""

    @abstractmethod
    def log_masses(self, params: Array) -> Array:
        """The log-masses `(n_levels, *shape)` of all levels under parameters `(n_params, *shape)`, in nats."""


def only_levels(log_mass: Array, x: Array, n_levels: int) -> Array:
    """The log-mass where `x` is a level, `-inf` where it is another number, and NaN where it is none."""
    level = (x == jnp.round(x)) & (x >= 0) & (x < n_levels)
    return jnp.where(jnp.isnan(x), jnp.nan, jnp.where(level, log_mass, -jnp.inf))


class CategoricalLevels(AbstractLevels):
    r"""Any law over levels: a softmax of `n_levels` logits, or for two levels the sigmoid of one (Bernoulli).

    Args:
        n_levels: Number of levels, 2 or more.
    """

    n_levels: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)

    def __init__(self, n_levels: int):
        self.n_levels = check_int("CategoricalLevels", "n_levels", n_levels, 2, MOST_LEVELS)
        self.n_params = 1 if self.n_levels == 2 else self.n_levels

    def log_mass(self, params: Array, x: Array) -> Array:
        if self.n_levels == 2:
            return jax.nn.log_sigmoid(jnp.where(x > 0.5, params[0], -params[0]))
        place = jnp.clip(jnp.nan_to_num(x), 0, self.n_levels - 1).astype(jnp.int32)[None]
        return jnp.take_along_axis(params, place, axis=0)[0] - jax.nn.logsumexp(params, axis=0)

    def log_masses(self, params: Array) -> Array:
        if self.n_levels == 2:
            return jax.nn.log_sigmoid(jnp.stack([-params[0], params[0]]))
        return jax.nn.log_softmax(params, axis=0)


class LogisticLevels(AbstractLevels):
    r"""A mixture of logistic distributions integrated over unit cells, $\sum_m \pi_m [F_m(k + 1/2) - F_m(k - 1/2)]$.

    The lowest cell reaches to $-\infty$ and the highest to $\infty$, so that the masses sum to 1. A cell's mass is
    computed as $\sigma(a)\,\sigma(-b)\,(1 - e^{b - a})$ with its ends $a > b$, which holds in float32 at any distance.

    This is the map of a one-layer autoregressive flow (a mixture's distribution function), discretised exactly.

    Args:
        n_levels: Number of levels, 2 or more.
        n_mixtures: Number of logistic distributions.

    Source: Salimans, Karpathy, Chen, Kingma, 2017, section 2.1, arXiv 1701.05517.
    """

    n_levels: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)

    def __init__(self, n_levels: int, n_mixtures: int = 5):
        self.n_levels = check_int("LogisticLevels", "n_levels", n_levels, 2, MOST_LEVELS)
        self.n_params = 3 * check_int("LogisticLevels", "n_mixtures", n_mixtures, 1, 1000)

    def _parts(self, params: Array) -> tuple[Array, Array, Array]:
        """Log-weights, means and inverse scales `(n_mixtures, *shape)`, where the levels span [-1, 1]."""
        weights, means, log_scales = jnp.split(params, 3)
        n = weights.shape[0]
        # The components start spread over the levels: equal ones would stay equal.
        spread = np.linspace(-1, 1, 2 * n + 1)[1::2].reshape(-1, *(1,) * (params.ndim - 1))
        log_scales = jnp.clip(log_scales + START_LOG_SCALE, MIN_LOG_SCALE, MAX_LOG_SCALE)
        return jax.nn.log_softmax(weights, axis=0), means + jnp.asarray(spread, params.dtype), jnp.exp(-log_scales)

    def _log_cells(self, parts: tuple[Array, Array, Array], x: Array) -> Array:
        """The log-masses of levels that broadcast against `(n_mixtures, *shape)`, summed over the mixture."""
        log_weights, means, rate = parts
        half = 1.0 / (self.n_levels - 1)  # half the distance of two levels
        centre = (2 * x / (self.n_levels - 1) - 1 - means) * rate
        below_upper = jax.nn.log_sigmoid(centre + half * rate)
        above_lower = jax.nn.log_sigmoid(half * rate - centre)
        inner = below_upper + above_lower + jnp.log(-jnp.expm1(-2 * half * rate))
        cells = jnp.where(x < 0.5, below_upper, jnp.where(x > self.n_levels - 1.5, above_lower, inner))
        return jax.nn.logsumexp(log_weights + cells, axis=-log_weights.ndim)

    def log_mass(self, params: Array, x: Array) -> Array:
        return self._log_cells(self._parts(params), x)

    def log_masses(self, params: Array) -> Array:
        levels = jnp.arange(self.n_levels, dtype=params.dtype).reshape(-1, *(1,) * params.ndim)
        return self._log_cells(self._parts(params), levels)
