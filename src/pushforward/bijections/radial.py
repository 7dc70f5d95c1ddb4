"""The radial layer: points move towards a centre or away from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_int, check_values, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.nets.amortised import Amortised
from pushforward.numerics.bounded import soft_clamp, soft_clamp_inverse
from pushforward.numerics.ridge import Slope, above_minus_one, free_of

# Bound on the log of the radius within which points move, which neither vanishes nor overflows.
MAX_LOG_RADIUS = 10.0
# Standard deviation of the free strength in a new layer, which is near the identity, yet all parameters have gradients.
INITIAL_STRENGTH = 0.1


class Radial(AbstractBatchedBijection):
    r"""$y = x + \frac{\beta}{\alpha + r} (x - x_0)$ with $r = |x - x_0|$, $\alpha > 0$ and $\beta > -\alpha$.

    $\log|\det| = (D - 1) \log(1 + \beta h) + \log(1 + \beta\alpha h^2)$ with $h = 1 / (\alpha + r)$. With
    $\beta = m \alpha$ the constraint is $m > -1$ (`numerics.ridge.above_minus_one`). In units of $\alpha$ the radius
    $\rho$ becomes $\rho\,(1 + m / (1 + \rho))$. This is a quadratic equation, so that the inverse has a closed form
    too.

    Args:
        key: JAX key for the initial parameters.
        dim: length of the vector.
        cond_shape: Shape of the condition; the centre, $\alpha$ and $\beta$ are then amortised, $\theta_0 + g(c)$.
        net: The network $g$, from the flattened condition `(size, n)` to `(dim + 2, n)`; None builds an `MLP`.

    Cost: $O(\text{dim})$ in both directions; log-det exact.

    Raises:
        ValueError: a size is out of bounds, or the network does not fit.

    Source: Rezende and Mohamed, 2015, eq. 14 and appendix A.2, arXiv 1505.05770.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> layer = pf.bijections.Radial(jax.random.key(0), 2)
        >>> x = jnp.array([0.5, -1.0])
        >>> bool(jnp.allclose(layer.inverse(layer.forward(x)), x, atol=1e-6))
        True
    """

    params: Amortised
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        cond_shape: Shape | None = None,
        net: Callable[[Array], Array] | None = None,
    ):
        dim = check_int("Radial", "dim", dim, 1)
        keys = jax.random.split(key, 3)
        centre = jax.random.normal(keys[0], (dim,))
        strength = INITIAL_STRENGTH * jax.random.normal(keys[1], (1,))
        # The radius grows with the dimension like the distance of a normal point from the origin.
        start = jnp.concatenate([centre, jnp.full(1, 0.5 * jnp.log(dim)), strength])
        self.params = Amortised(keys[2], start, cond_shape=cond_shape, net=net, name="Radial")
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = self.params.cond_shape, Traits()

    @staticmethod
    def from_numbers(centre: Any, alpha: Any, beta: Any) -> Radial:
        r"""The layer $y = x + \frac{\beta}{\alpha + r} (x - x_0)$ of these numbers.

        Args:
            centre: The vector $x_0$.
            alpha: The number $\alpha > 0$, between $e^{-10}$ and $e^{10}$.
            beta: The number $\beta > -\alpha$.

        Raises:
            ValueError: the map is not invertible, or a shape is another one.
        """
        name, (centre_, alpha_, beta_) = "Radial.from_numbers", map(as_floats, (centre, alpha, beta))
        if centre_.ndim != 1 or alpha_.shape or beta_.shape or not centre_.size:
            got, fix = f"{centre_.shape}, {alpha_.shape}, {beta_.shape}", "Pass a vector and two numbers."
            raise ValueError(message(name, "centre of (dim,), alpha of () and beta of ()", got, fix))
        low, high = np.exp([-MAX_LOG_RADIUS, MAX_LOG_RADIUS])
        fix = "With a smaller beta the map folds the space."
        expected = f"alpha between {low:.1e} and {high:.1e}, and a finite beta > -alpha"
        check_values(name, expected, lambda a, b: low < a < high and -a < b < np.inf, fix, alpha, beta)
        free = soft_clamp_inverse(jnp.log(alpha_), MAX_LOG_RADIUS), free_of(beta_ / alpha_)
        layer = Radial(jax.random.key(0), len(centre_))
        return eqx.tree_at(lambda r: r.params.start, layer, jnp.concatenate([centre_, jnp.stack(free)]))

    def _parts(self, value: Array, condition: Array | None) -> tuple[Array, Array, Array, Slope]:
        """The centre, the value's offset from it, its distance in units of alpha, and m."""
        value = value.astype(jnp.result_type(value, self.params.start))
        params = self.params(condition, value.dtype)
        centre, log_radius, strength = params[:-2], params[-2], params[-1]
        offset = value - centre
        return (
            centre,
            offset,
            _norm(offset) * jnp.exp(-soft_clamp(log_radius, MAX_LOG_RADIUS)),
            above_minus_one(strength),
        )

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        centre, offset, rho, slope = self._parts(x, condition)
        return centre + offset * _stretch(rho, slope), self._log_det(rho, slope)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        centre, offset, moved, slope = self._parts(y, condition)
        rho = _radius_before(moved, slope)
        return centre + offset / _stretch(rho, slope), -self._log_det(rho, slope)

    def _log_det(self, rho: Array, slope: Slope) -> Array:
        near, rest = _shares(rho)
        square = _held(near * near, rest * (1 + near), slope)
        return (self.in_shape[0] - 1) * jnp.log(_stretch(rho, slope)) + jnp.log(square)


def _held(share: Array, rest: Array, slope: Slope) -> Array:
    r"""$1 + m\,s$ for a share $s$ and its complement $1 - s$: for negative $m$ a sum of positive numbers."""
    return jnp.where(slope.value < 0, slope.excess - slope.value * rest, 1 + jnp.abs(slope.value) * share)


def _stretch(rho: Array, slope: Slope) -> Array:
    r"""$1 + m / (1 + \rho)$, by which the radius grows."""
    return _held(*_shares(rho), slope)


def _shares(rho: Array) -> tuple[Array, Array]:
    r"""$1 / (1 + \rho)$ and $\rho / (1 + \rho)$, both with all digits, and gradients that do not overflow at 1e30."""
    near = 1 / (1 + rho)
    inside = jnp.minimum(rho, 1)
    return near, jnp.where(rho < 1, inside / (1 + inside), 1 - near)


def _radius_before(moved: Array, slope: Slope) -> Array:
    r"""The positive root of $\rho^2 + (1 + m - \rho_y) \rho - \rho_y = 0$, without cancellation or overflow."""
    half = moved - slope.excess
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.abs(half), 1))
    root = scale * jnp.sqrt((half / scale) ** 2 + 4 * (moved / scale) / scale)
    positive = half >= 0
    # Each branch is computed only where it is safe: the sum in the other one may be 0.
    return jnp.where(positive, (half + root) / 2, 2 * moved / (root + jnp.where(positive, 1, -half)))


def _norm(offset: Array) -> Array:
    """The lengths `(n,)` of offsets as large or small as floats can be; the gradient at 0 is 0."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(offset), axis=0))
    away = largest > 0
    scale = jnp.where(away, largest, 1)
    squares = jnp.sum((offset / scale) ** 2, axis=0)
    return jnp.where(away, scale * jnp.sqrt(jnp.where(away, squares, 1)), 0)
