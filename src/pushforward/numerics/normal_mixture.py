"""Normal quantiles of mixtures of normals, accurate in tails where probabilities underflow."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from pushforward._meshes import fori_loop, scan
from pushforward._types import Array
from pushforward.numerics.sigmoid_mixture import log_softmax

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
# Mills' ratio is erfcx up to here, and beyond it nine terms of its asymptotic series, whose error is below rounding.
SERIES_FROM = {"float32": 8.0, "float64": 20.0}
SERIES_TERMS = 9
# Number of Newton steps from a start within a few per cent of the root; a fourth changes nothing in float64.
NEWTON_STEPS = 4
# For the fit to data: the number of steps, the least scale relative to that of the coordinate, and the number of rows
# that each component has at least, so that none vanishes.
EM_STEPS = 30
LEAST_SCALE = 0.05
LEAST_COUNT = 1.0


def log_mills(a: Array) -> Array:
    r"""The log of Mills' ratio, $\log \frac{1 - \Phi(a)}{\phi(a)}$ for $a \ge 0$, without overflow.

    Args:
        a: Numbers that are not negative, up to the largest float.

    Source: Abramowitz and Stegun, 1964, 26.2.12.
    """
    limit = SERIES_FROM.get(a.dtype.name, min(SERIES_FROM.values()))
    far = a > limit
    near_a, far_a = jnp.where(far, limit, a), jnp.where(far, a, limit)
    near = jnp.log(math.sqrt(math.pi / 2) * jax.scipy.special.erfcx(near_a * math.sqrt(0.5)))
    inverse = 1 / far_a
    t = inverse * inverse
    series = jnp.ones_like(t)
    for k in range(SERIES_TERMS, 0, -1):
        series = 1 - (2 * k - 1) * t * series
    return jnp.where(far, jnp.log(series) - jnp.log(far_a), near)


@jax.custom_jvp
def quantile_below(log_ratio: Array, reference: Array) -> Array:
    r"""The $\delta \ge 0$ with $\log \Phi(\rho - \delta) = \ell - \rho^2/2$, for $\rho \le 0$.

    The right side must not exceed $\log \Phi(\rho)$ by more than rounding.
    Float32 cannot hold the logarithm of a probability of $e^{-10^{60}}$, but it can hold the difference $\ell$ to the
    square of a reference. Newton's steps start where $h\,\delta + \delta^2/2$ equals the difference of the logarithms,
    with $h = \phi(\rho)/\Phi(\rho)$; this is to the right of the root by a few per cent at most.

    Args:
        log_ratio: The difference $\ell$.
        reference: The reference $\rho$, of the same shape. It counts as a constant for differentiation, so that the
            caller's result must not depend on it.
    """
    log_h = -log_mills(-reference)
    h = jnp.exp(log_h)
    gap = jnp.maximum(-LOG_SQRT_2PI - log_h - log_ratio, 0) / h
    delta = 2 * gap / (1 + jnp.sqrt(1 + 2 * gap / h))

    def newton(_: int, delta: Array) -> Array:
        mills = log_mills(delta - reference)
        value = (reference - 0.5 * delta) * delta - LOG_SQRT_2PI + mills
        return jnp.maximum(delta + (value - log_ratio) * jnp.exp(mills), 0)

    # A loop compiles faster than copies of its body, because erfcx is a long program.
    return fori_loop(0, NEWTON_STEPS, newton, delta)


@quantile_below.defjvp
def _quantile_below_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    log_ratio, reference = primals
    delta = quantile_below(log_ratio, reference)
    return delta, -tangents[0] * jnp.exp(log_mills(delta - reference))


def quantile_of_mixture(c: Array, log_rate: Array, log_weight: Array) -> tuple[Array, Array]:
    r"""The quantile $y = \Phi^{-1}\big(\sum_j w_j\,\Phi(c_j)\big)$, and $\log y'$ where $c_j' = e^{r_j}$.

    It is computed on the side of the smaller probability, relative to the square of the component nearest to the
    middle: $y$ is linear far out, and as accurate at 1e30 as at 1. With the shares $p_j$ of the components and the
    hazard $h = \phi/\Phi$, $y' = \sum_j p_j\,c_j'\,h(c_j) / h(y)$, of which only logarithms are taken.

    Args:
        c: Standardised distances, `(n_components, *S)`.
        log_rate: Log-slopes $r_j$, of the same shape.
        log_weight: Normalised log-weights $\log w_j$, of the same shape.
    """
    below = c < 0
    a = jnp.where(below, -c, c)
    mills = log_mills(a)
    log_density = -0.5 * a * a - LOG_SQRT_2PI
    tail = jnp.exp(log_density + mills)
    flip = jax.lax.stop_gradient(jnp.sum(jnp.exp(log_weight) * jnp.where(below, tail, 1 - tail), axis=0) > 0.5)
    # Numbers are mirrored where the probability is above a half; `below`, not the sign of a zero, tells the side of c.
    below = below ^ flip
    log_rest = jnp.log1p(-tail)
    nearest = jnp.max(jnp.where(below, -a, a), axis=0)
    reference = jax.lax.stop_gradient(jnp.minimum(nearest, 0))
    relative = 0.5 * (reference - a) * (reference + a) - LOG_SQRT_2PI + mills
    log_p, log_ratio = log_softmax(log_weight + jnp.where(below, relative, log_rest))
    delta = quantile_below(log_ratio, reference)
    log_hazard = jnp.where(below, -mills, log_density - log_rest)
    log_slope = log_softmax(log_p + log_rate + log_hazard)[1] + log_mills(delta - reference)
    y = reference - delta
    return jnp.where(flip, -y, y), log_slope


def fit_mixtures(rows: Array, n_components: int) -> tuple[Array, Array, Array]:
    """Locations, scales and weights, each `(n_components, d)`, of a mixture of normals for each of `d` coordinates.

    The mixture is the result of some steps of expectation and maximisation from evenly spaced quantiles, with scales of
    at least `LEAST_SCALE` times that of the coordinate. It is a start for training, not a converged fit.

    Args:
        rows: Array of shape `(d, n)`, finite.
        n_components: Number of components of each mixture.
    """
    deviation = jnp.maximum(jnp.std(rows, axis=-1), jnp.finfo(rows.dtype).eps)
    at = (jnp.arange(n_components, dtype=rows.dtype) + 0.5) / n_components
    loc = jnp.quantile(rows, at, axis=-1)
    scale = jnp.broadcast_to(deviation / n_components**0.5, loc.shape)
    weight = jnp.full_like(loc, 1 / n_components)

    def step(mixture: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        loc, scale, weight = (array[..., None] for array in mixture)
        share = jax.nn.softmax(jnp.log(weight) - jnp.log(scale) - 0.5 * ((rows - loc) / scale) ** 2, axis=0)
        count = jnp.sum(share, axis=-1) + LEAST_COUNT
        loc = (jnp.sum(share * rows, axis=-1) + LEAST_COUNT * mixture[0]) / count
        variance = jnp.sum(share * (rows - loc[..., None]) ** 2, axis=-1) / count
        scale = jnp.sqrt(variance + (LEAST_SCALE * deviation) ** 2)
        return (loc, scale, count / jnp.sum(count, axis=0)), None

    return scan(step, (loc, scale, weight), None, length=EM_STEPS)[0]
