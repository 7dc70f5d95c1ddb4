"""Elementwise maps: trained affine maps, standardisation, and any scalar map with trained parameters."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_values, message, positive
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection, AbstractTwoWayBijection, along
from pushforward.bijections.elementwise.fixed import as_numbers, parameters
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_of_rows


class Affine(AbstractBatchedBijection):
    r"""The trained map $y = a\,x + b$ elementwise, with $\log|\det| = \sum_i \log|a_i|$.

    Training does not change the sign of a scale.

    Args:
        loc: The shift $b$, broadcast to `shape`.
        scale: The scale $a$, finite and not 0, broadcast to `shape`.
        shape: Event shape; None takes the shape to which `loc` and `scale` broadcast.

    Raises:
        ValueError: a scale is 0 or not finite, or the shapes do not broadcast.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> y, log_det = pf.Affine(loc=1.0, scale=-2.0, shape=(2,)).forward_and_log_det(jnp.ones(2))
        >>> y.tolist(), round(float(log_det), 4)
        ([-1.0, -1.0], 1.3863)
    """

    loc: Array
    log_scale: Array
    negative: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, loc: Any = 0.0, scale: Any = 1.0, shape: Shape | None = None):
        fix = "A column that never varies has no density: leave it out."
        expected = "scales that are finite and not 0"
        check_values("Affine", expected, lambda s: np.isfinite(s) & (s != 0), fix, scale)
        shape, (loc, scale) = parameters("Affine", shape, loc, scale)
        # NumPy computes the logarithm of known numbers, which is then right to float64.
        xp = np if isinstance(scale.value, np.ndarray) else jnp
        self.loc, self.log_scale = as_floats(loc.value), as_floats(xp.log(xp.abs(scale.value)))
        self.negative = jnp.asarray(scale.value < 0)
        self.in_shape = self.out_shape = shape

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        scale = jnp.where(self.negative, -1, 1) * jnp.exp(self.log_scale)
        log_det = jnp.sum(self.log_scale)
        return x * along(scale) + along(self.loc), jnp.broadcast_to(log_det, x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        scale = jnp.where(self.negative, -1, 1) * jnp.exp(-self.log_scale)
        log_det = -jnp.sum(self.log_scale)
        return (y - along(self.loc)) * along(scale), jnp.broadcast_to(log_det, y.shape[-1:])


class Standardize(AbstractBatchedBijection):
    r"""The fixed map from standardised numbers to the data's units, $y = s\,x + m$.

    The numbers $m$ and $s$ are kept in double precision, so that large offsets (such as a date in seconds) lose nothing
    under `jax.enable_x64`.

    Args:
        loc: Vector of the shifts $m$.
        scale: Vector of the scales $s > 0$, of the same length.

    Raises:
        ValueError: a scale is not finite and positive, or the shapes differ.
    """

    loc: Fixed
    scale: Fixed
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, loc: Any, scale: Any):
        loc, scale = as_numbers(loc), as_numbers(scale)
        if loc.shape != scale.shape:
            got = f"shapes {loc.shape} and {scale.shape}"
            raise ValueError(message("Standardize", "loc and scale of the same shape", got, "One of each per column."))
        fix = "A column that never varies has no density: leave it out."
        check_values(
            "Standardize", "finite loc and scale > 0", lambda m, s: np.isfinite(m) & positive(s), fix, loc, scale
        )
        self.in_shape, (self.loc, self.scale) = parameters("Standardize", None, loc, scale)
        self.out_shape = self.in_shape

    @staticmethod
    def fit(x: Any, weights: Any = None) -> Standardize:
        """The map whose inverse gives the rows of `x` mean 0 and variance 1, weighted if `weights` are given.

        Args:
            x: Array of shape `(n, d)`, finite.
            weights: Array of shape `(n,)`, not negative.

        Raises:
            ValueError: a column never varies.
        """
        x = np.asarray(x, np.float64)
        loc = np.average(x, axis=0, weights=weights)
        return Standardize(loc, np.sqrt(np.average((x - loc) ** 2, axis=0, weights=weights)))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        loc, scale = jnp.asarray(self.loc.value), jnp.asarray(self.scale.value)
        return x * along(scale) + along(loc), jnp.broadcast_to(jnp.sum(jnp.log(scale)), x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        loc, scale = jnp.asarray(self.loc.value), jnp.asarray(self.scale.value)
        return (y - along(loc)) / along(scale), jnp.broadcast_to(-jnp.sum(jnp.log(scale)), y.shape[-1:])


class Elementwise(AbstractTwoWayBijection):
    r"""Any scalar map as a bijection, $y_i = m(x_i; \theta_i)$ with trained parameters $\theta_i$.

    Args:
        scalar_map: The map of each coordinate.
        shape: Event shape.
        params: Unconstrained parameters `(scalar_map.n_params, *shape)`; None takes zeros, with which most maps are the
            identity.

    Cost: the cost of the map; the log-det is exact if that of the map is.

    Raises:
        ValueError: the parameters have another shape.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> spline = pf.bijections.Elementwise(pf.RationalQuadraticMap(bins=4), (2,))
        >>> spline.forward(jnp.array([0.5, 9.0])).tolist()
        [0.5, 9.0]
    """

    params: Array
    scalar_map: AbstractScalarMap
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, scalar_map: AbstractScalarMap, shape: Shape, params: Any = None):
        expected = (scalar_map.n_params, *shape)
        self.params = jnp.zeros(expected) if params is None else jnp.asarray(params)
        if self.params.shape != expected:
            fix = "Pass one vector of unconstrained parameters per coordinate."
            raise ValueError(message("Elementwise", f"params of shape {expected}", f"{self.params.shape}", fix))
        self.scalar_map = scalar_map
        self.in_shape = self.out_shape = tuple(shape)
        self.traits = scalar_map.traits

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        params = jnp.broadcast_to(along(self.params), (self.params.shape[0], *value.shape))
        if forward:
            out, log_slope = self.scalar_map.forward_and_log_det(value, params)
        else:
            out, log_slope = inverse_of_rows(self.scalar_map, value, params)
        return out, jnp.sum(log_slope, axis=tuple(range(log_slope.ndim - 1)))
