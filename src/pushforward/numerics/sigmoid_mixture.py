"""Logits of mixtures of sigmoids, and a lower bound on slopes, for flows made of sigmoids."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from pushforward._types import Array

# Between two steep components far apart a mixture's CDF has slopes of e^-1000 and less, and no inverse in floats. This
# share of the identity, equal to the least slope of a spline, bounds every slope from below.
MIN_SLOPE = 1e-3


def log_sigmoids(c: Array) -> tuple[Array, Array]:
    r"""The pair $\log \sigma(c)$ and $\log \sigma(-c)$ from one exponential, finite wherever `c` is."""
    rest = jnp.log1p(jnp.exp(-jnp.where(c < 0, -c, c)))
    return jnp.minimum(c, 0) - rest, -jnp.maximum(c, 0) - rest


def log_softmax(logits: Array, axis: int = 0) -> tuple[Array, Array]:
    r"""The log-softmax $\ell - \log \sum e^{\ell}$, and $\log \sum e^{\ell}$ without the axis.

    The maximum is subtracted first, so that equal logits of -1e30 give $-\log K$, where the difference gives noise.
    """
    most = jax.lax.stop_gradient(jnp.max(logits, axis=axis, keepdims=True))
    shifted = logits - most
    log_sum = jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))
    return shifted - log_sum, jnp.squeeze(most + log_sum, axis)


def logit_of_mixture(
    c: Array, log_rate: Array, log_upper: Array, log_lower: Array, axis: int = 0
) -> tuple[Array, Array]:
    r"""The map $y = \log \sum_j v_j\,\sigma(c_j) - \log \sum_j w_j\,\sigma(-c_j)$, and $\log y'$ for $c_j' = e^{r_j}$.

    With $v = w$ and $\sum_j w_j = 1$ this is $\operatorname{logit} \sum_j w_j\,\sigma(c_j)$. With the shares $p_j$ and
    $q_j$ of the components in the two sums, $y' = \sum_j c_j' (p_j\,\sigma(-c_j) + q_j\,\sigma(c_j))$: positive terms,
    of which one at least is of the size of its $c_j'$ wherever the components do not lie far apart. So nothing cancels,
    and far out $y$ is linear with the slope of the flattest component.

    Args:
        c: Pre-activations, with components along `axis`.
        log_rate: Log-slopes $r_j$ of the pre-activations, broadcast against `c`.
        log_upper: Log-weights $\log v_j$, broadcast against `c`.
        log_lower: Log-weights $\log w_j$, broadcast against `c`.
        axis: Axis of the components, which is summed over.
    """
    below, above = log_sigmoids(c)
    log_p, upper = log_softmax(log_upper + below, axis)
    log_q, lower = log_softmax(log_lower + above, axis)
    terms = jnp.logaddexp(log_p + above, log_q + below) + log_rate
    return upper - lower, log_softmax(terms, axis)[1]


def with_slope_floor(x: Array, y: Array, log_slope: Array) -> tuple[Array, Array]:
    r"""The mixture $(1 - \epsilon)\,y + \epsilon\,x$ with $\epsilon$ = `MIN_SLOPE`, and the log of its slope."""
    out = (1 - MIN_SLOPE) * y + MIN_SLOPE * x
    return out, jnp.logaddexp(math.log1p(-MIN_SLOPE) + log_slope, math.log(MIN_SLOPE))
