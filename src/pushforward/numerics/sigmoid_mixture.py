"""Logits of mixtures of sigmoids, and a floor under slopes: the arithmetic of flows made of sigmoids."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from pushforward._types import Array

# Between two steep components far apart a mixture's CDF is flat, e^-1000 and less: no float comes back from there. This
# share of the identity, as much as the least slope of a spline, bounds every slope from below.
MIN_SLOPE = 1e-3


def log_sigmoids(c: Array) -> tuple[Array, Array]:
    r"""$\log \sigma(c)$ and $\log \sigma(-c)$, from one exponential; finite wherever `c` is."""
    rest = jnp.log1p(jnp.exp(-jnp.where(c < 0, -c, c)))
    return jnp.minimum(c, 0) - rest, -jnp.maximum(c, 0) - rest


def log_softmax(logits: Array, axis: int = 0) -> tuple[Array, Array]:
    r"""$\ell - \log \sum e^{\ell}$ and $\log \sum e^{\ell}$, which lacks the axis.

    The maximum goes first, so that equal logits of -1e30 give $-\log K$, where the difference gives noise.
    """
    most = jax.lax.stop_gradient(jnp.max(logits, axis=axis, keepdims=True))
    shifted = logits - most
    log_sum = jnp.log(jnp.sum(jnp.exp(shifted), axis=axis, keepdims=True))
    return shifted - log_sum, jnp.squeeze(most + log_sum, axis)


def logit_of_mixture(
    c: Array, log_rate: Array, log_upper: Array, log_lower: Array, axis: int = 0
) -> tuple[Array, Array]:
    r"""$y = \log \sum_j v_j\,\sigma(c_j) - \log \sum_j w_j\,\sigma(-c_j)$, and $\log y'$ where $c_j' = e^{r_j}$.

    With $v = w$ and $\sum_j w_j = 1$ this is $\operatorname{logit} \sum_j w_j\,\sigma(c_j)$. With the shares $p_j$ and
    $q_j$ of the components in the two sums, $y' = \sum_j c_j' (p_j\,\sigma(-c_j) + q_j\,\sigma(c_j))$: positive terms,
    of which one at least is of the size of its $c_j'$ wherever the components do not lie far apart. So nothing cancels,
    and far out $y$ is linear with the slope of the flattest component.

    Args:
        c: pre-activations, components along `axis`.
        log_rate: $r_j$, the logarithms of their slopes, broadcast against `c`.
        log_upper: $\log v_j$, broadcast against `c`.
        log_lower: $\log w_j$, broadcast against `c`.
        axis: of the components, summed over.
    """
    below, above = log_sigmoids(c)
    log_p, upper = log_softmax(log_upper + below, axis)
    log_q, lower = log_softmax(log_lower + above, axis)
    terms = jnp.logaddexp(log_p + above, log_q + below) + log_rate
    return upper - lower, log_softmax(terms, axis)[1]


def with_slope_floor(x: Array, y: Array, log_slope: Array) -> tuple[Array, Array]:
    r"""$(1 - \epsilon)\,y + \epsilon\,x$ with $\epsilon$ = `MIN_SLOPE`, and the logarithm of its slope."""
    out = (1 - MIN_SLOPE) * y + MIN_SLOPE * x
    return out, jnp.logaddexp(math.log1p(-MIN_SLOPE) + log_slope, math.log(MIN_SLOPE))
