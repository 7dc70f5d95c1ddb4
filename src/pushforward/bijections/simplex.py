"""The bijection from all vectors onto the simplex."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.elementwise.column_units import LEAST


class StickBreaking(AbstractBatchedBijection):
    r"""The stick-breaking map from $\mathbb R^K$ onto the open simplex $\{y : y_k > 0,\ \sum_k y_k < 1\}$.

    $$y_k = z_k \prod_{j<k} (1 - z_j), \qquad z_k = \sigma(x_k - \log(K + 1 - k)), \qquad
      \log|\det| = \sum_{k=1}^{K+1} \log y_k$$

    Each step breaks off a part of the stick that is left. Events are the **first K of K + 1 shares**, and densities are
    with respect to Lebesgue measure in them, as for the Dirichlet distribution; the last share is $1 - \sum_k y_k$.
    Zeros become equal shares. Nothing is trained.

    Shares stay above 0 and their sum below 1 in every floating type. The inverse treats a point on the boundary as one
    just inside; for a point outside, which has density 0, its log-determinant is `-inf`.

    Args:
        dim: Length $K$ of an event, one less than the number of shares.

    Cost: one cumulative sum in both directions; log-det exact. A last share below the rounding error of 1 is not
    determined by the first ones.

    Source: Stan Development Team, Stan Reference Manual, "Unit simplex", the centred form.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.StickBreaking(3).forward(jnp.zeros(3)).tolist()
        [0.25, 0.25, 0.25]
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, dim: int):
        self.in_shape = self.out_shape = (check_int("StickBreaking", "dim", dim, 1),)

    def _centre(self, x: Array) -> Array:
        # The parts to break off that make all shares equal at x = 0.
        return jnp.asarray(np.log(np.arange(self.in_shape[0], 0, -1.0))[:, None], x.dtype)

    def _margin(self, x: Array) -> float:
        """How far rounding may move a sum of the shares."""
        return (self.in_shape[0] + 1) * float(jnp.finfo(x.dtype).eps)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        part = x - self._centre(x)
        left = jnp.cumsum(jax.nn.log_sigmoid(-part), axis=0)
        before = jnp.concatenate([jnp.zeros_like(x[:1]), left[:-1]])
        log_y = jax.nn.log_sigmoid(part) + before
        y = jnp.maximum(jnp.exp(log_y), LEAST)
        # This applies only where rounding would leave nothing of the last share.
        y = y * jnp.minimum(1, (1 - self._margin(x)) / jnp.sum(y, axis=0))
        return y, jnp.sum(log_y, axis=0) + left[-1]

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        share = jnp.maximum(y, LEAST)
        left = jnp.maximum(1 - jnp.cumsum(share, axis=0), float(jnp.finfo(y.dtype).epsneg))
        log_share, log_left = jnp.log(share), jnp.log(left)
        log_det = -jnp.sum(log_share, axis=0) - log_left[-1]
        outside = jnp.any(y < 0, axis=0) | (jnp.sum(y, axis=0) > 1 + self._margin(y))
        return log_share - log_left + self._centre(y), jnp.where(outside, -jnp.inf, log_det)
