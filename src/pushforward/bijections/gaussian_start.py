"""A fixed affine layer, set from a batch, that makes the shrunken Gaussian of its rows of a standard normal."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.numerics.triangular import solve_lu

# A coordinate whose variance in the batch is smaller counts as one of variance 1.
MIN_VARIANCE = 1e-12
# The least share by which correlations are shrunk: float32 tells nothing apart below 1e-7.
MIN_SHRINKAGE = 1e-5


class GaussianStart(AbstractBatchedBijection):
    r"""A fixed affine map, $y = m + B c + D A x$, which is the identity until `gaussian_of` sets it from a batch.

    Set from rows of $y$ and $c$, it takes a standard normal $x$ to the Gaussian of $y$ given $c$ whose joint
    correlations are those of the batch, shrunken towards none by the amount that suits their number. $D$ are standard
    deviations of columns and $A$ is symmetric. A flow whose other layers are the identity then is this density: the
    wide member of an ensemble of a table's models, which are not to be worse than it.

    Args:
        dim: Length of the vector.
        condition_dim: Length of the condition; None for a layer without one.

    Cost: $O(D^2)$ per event in both directions, two products or two triangular solves; log-det exact.

    Source:
        The share by which correlations are shrunken: Chen, Wiesel, Eldar, Hero, 2010, "Shrinkage algorithms for MMSE
        covariance estimation", eq. 23, arXiv 0907.4698.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.bijections.gaussian_start import GaussianStart, gaussian_of
        >>> batch = jax.random.normal(jax.random.key(0), (500, 2)) @ jax.numpy.array([[1.0, 1.0], [0.0, 0.5]])
        >>> layer = gaussian_of(GaussianStart(2), batch.T, None)
        >>> samples = pf.Flow(pf.StandardNormal((2,)), layer).sample(jax.random.key(1), 500)
        >>> bool(jax.numpy.corrcoef(samples.T)[0, 1] > 0.8)
        True
    """

    factor: Fixed
    scale: Fixed
    slope: Fixed | None
    loc: Fixed
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, dim: int, condition_dim: int | None = None):
        dim = check_int("GaussianStart", "dim", dim, 1)
        self.factor, self.scale, self.loc = Fixed(jnp.eye(dim)), Fixed(jnp.ones(dim)), Fixed(jnp.zeros(dim))
        self.slope = None if condition_dim is None else Fixed(jnp.zeros((dim, condition_dim)))
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape = None if condition_dim is None else (condition_dim,)

    def _log_det(self, rows: Array) -> Array:
        factor, scale = self.factor.value, self.scale.value
        return jnp.broadcast_to(2 * jnp.sum(jnp.log(jnp.diagonal(factor))) + jnp.sum(jnp.log(scale)), rows.shape[-1:])

    def _centre(self, condition: Array | None) -> Array:
        loc = along(self.loc.value)
        if self.slope is None or condition is None:
            return loc
        return loc + self.slope.value @ condition.astype(self.slope.value.dtype)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        factor, scale = self.factor.value, along(self.scale.value)
        return factor @ (factor.T @ x) * scale + self._centre(condition), self._log_det(x)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        factor, scale = self.factor.value, along(self.scale.value)
        return solve_lu(factor, factor.T, (y - self._centre(condition)) / scale), -self._log_det(y)


def gaussian_of(layer: GaussianStart, rows: Array, condition: Array | None) -> GaussianStart:
    """The layer set so that it takes a standard normal to the shrunken Gaussian of rows given their conditions.

    Args:
        layer: The layer to set.
        rows: Array of shape `(d, n)`, on the data's side of the layer.
        condition: Array of shape `(k, n)`, or None.
    """
    d, n = rows.shape
    both = rows if condition is None else jnp.concatenate([condition.astype(rows.dtype), rows])
    mean = jnp.mean(both, axis=-1)
    variance = jnp.mean((both - along(mean)) ** 2, axis=-1)
    scale = jnp.sqrt(jnp.where(variance > MIN_VARIANCE, variance, 1.0))
    standard = (both - along(mean)) / along(scale)
    correlation = shrunken(standard @ standard.T / n, n)
    k = len(both) - d
    slope = jnp.zeros((d, k), rows.dtype)
    residual = correlation[k:, k:]
    if k:
        slope = jnp.linalg.solve(correlation[:k, :k], correlation[:k, k:]).T
        residual = residual - slope @ correlation[:k, k:]
    values, vectors = jnp.linalg.eigh((residual + residual.T) / 2)
    width = jnp.sqrt(jnp.maximum(values, MIN_SHRINKAGE))
    factor = jnp.linalg.cholesky((vectors * width) @ vectors.T)
    slope = slope * scale[k:, None] / scale[None, :k]
    loc = mean[k:] - slope @ mean[:k]
    layer = eqx.tree_at(lambda b: (b.factor.value, b.scale.value, b.loc.value), layer, (factor, scale[k:], loc))
    return layer if layer.slope is None else eqx.tree_at(lambda b: b.slope.value, layer, slope)


def shrunken(correlation: Array, n: int) -> Array:
    r"""Correlations of $n$ rows, shrunken: $(1 - \rho) R + \rho I$, with ones on the diagonal.

    $\rho$ is the oracle-approximating share of Chen and others for a normal distribution, $\min(1, ((1 - 2/p)
    \mathrm{tr} R^2 + p^2) / ((n + 1 - 2/p)(\mathrm{tr} R^2 - p)))$, which falls as $1/n$.

    Args:
        correlation: Array of shape `(p, p)`.
        n: Number of rows.
    """
    p = len(correlation)
    squares = jnp.sum(correlation**2)
    excess = jnp.maximum(squares - p, 1e-9)
    share = ((1 - 2 / p) * squares + p**2) / ((n + 1 - 2 / p) * excess)
    share = jnp.clip(share, MIN_SHRINKAGE, 1.0)
    return jnp.where(jnp.eye(p, dtype=bool), 1.0, (1 - share) * correlation)
