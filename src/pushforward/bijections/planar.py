"""The planar layer: points move along one direction, by a function of their position along another."""

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
from pushforward.numerics.ridge import Slope, above_minus_one, free_of, ridge_of

# Length of u in a new layer, which is near the identity, yet w has a gradient.
INITIAL_LENGTH = 0.1


class Planar(AbstractBatchedBijection):
    r"""$y = x + \hat u\,h(w \cdot x + b)$ with $\log|\det| = \log(1 + \hat u \cdot w\;h'(w \cdot x + b))$.

    It is invertible if and only if $\hat u \cdot w > -1$, for $h = \tanh$ as for the leaky rectifier, whose slope is at
    most 1. So $\hat u$ is a trained `u` times a factor that holds $\hat u \cdot w$ there
    (`numerics.ridge.above_minus_one`). The inverse solves one scalar equation along `w`,
    $t + \hat u \cdot w\,h(t) = w \cdot y + b$, and then $x = y - \hat u\,h(t)$: exact, with exact gradients, so that
    planar flows also score data. For the leaky rectifier it is in closed form.

    Args:
        key: JAX key for the initial parameters.
        dim: length of the vector.
        ridge: The function $h$, `"tanh"` or `"leaky_relu"`.
        cond_shape: Shape of the condition; all of `u`, `w`, `b` are then amortised, $\theta_0 + g(c)$.
        net: The network $g$, from the flattened condition `(size, n)` to `(2 dim + 1, n)`; None builds an `MLP`.

    Cost: $O(\text{dim})$; the inverse some six to ten evaluations of `tanh` more; log-det exact.

    Raises:
        ValueError: a size is out of bounds, `ridge` unknown, or the network does not fit.

    Source: Rezende and Mohamed, 2015, eq. 10-13 and appendix A.1, arXiv 1505.05770.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> layer = pf.bijections.Planar(jax.random.key(0), 2)
        >>> x = jnp.array([0.5, -1.0])
        >>> bool(jnp.allclose(layer.inverse(layer.forward(x)), x, atol=1e-6))
        True
    """

    params: Amortised
    ridge: str = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        ridge: str = "tanh",
        cond_shape: Shape | None = None,
        net: Callable[[Array], Array] | None = None,
    ):
        dim = check_int("Planar", "dim", dim, 1)
        start_key, net_key = jax.random.split(key)
        u, w = jax.random.normal(start_key, (2, dim)) * dim**-0.5
        start = jnp.concatenate([INITIAL_LENGTH * u, w, jnp.zeros(1)])
        self.params = Amortised(net_key, start, cond_shape=cond_shape, net=net, name="Planar")
        self.in_shape = self.out_shape = (dim,)
        self.ridge, self.cond_shape = ridge, self.params.cond_shape
        self.traits = Traits(inverse=ridge_of("Planar", ridge).cost)

    @staticmethod
    def from_numbers(u: Any, w: Any, b: Any, *, ridge: str = "tanh") -> Planar:
        r"""The layer $y = x + u\,h(w \cdot x + b)$ of these numbers.

        Args:
            u: The vector of the direction in which points move, for which $u \cdot w > -1$.
            w: The vector of the direction along which the move is measured.
            b: The offset, a number.
            ridge: The function $h$, `"tanh"` or `"leaky_relu"`.

        Raises:
            ValueError: the map is not invertible, or the shapes differ.

        Example:
            >>> import jax.numpy as jnp, pushforward as pf
            >>> layer = pf.bijections.Planar.from_numbers([1.0, 0.0], [0.0, 2.0], 0.0, ridge="leaky_relu")
            >>> layer.forward(jnp.array([5.0, 3.0])).tolist()
            [11.0, 3.0]
        """
        name, (u_, w_, b_) = "Planar.from_numbers", map(as_floats, (u, w, b))
        if u_.ndim != 1 or u_.shape != w_.shape or b_.shape or not u_.size:
            fix = "Pass two vectors and a number."
            raise ValueError(message(name, "u and w of (dim,) and b of ()", f"{u_.shape}, {w_.shape}, {b_.shape}", fix))
        fix = "Then the map folds the space: make u shorter."
        check_values(name, "u and w with u . w > -1, all finite", lambda u, w: -1 < u @ w < np.inf, fix, u, w)
        shrink = above_minus_one(free_of(jnp.sum(u_ * w_))).shrink
        start = jnp.concatenate([u_ / shrink, w_, b_[None]])
        layer = Planar(jax.random.key(0), len(u_), ridge=ridge)
        return eqx.tree_at(lambda p: p.params.start, layer, start)

    def _parts(self, value: Array, condition: Array | None) -> tuple[Array, Array, Array, Slope]:
        r"""$\hat u$, $w \cdot$ value + b, the value, and $\hat u \cdot w$."""
        value = value.astype(jnp.result_type(value, self.params.start))
        params = self.params(condition, value.dtype)
        dim = self.in_shape[0]
        u, w, b = params[:dim], params[dim : 2 * dim], params[2 * dim]
        slope = above_minus_one(jnp.sum(u * w, axis=0))
        return slope.shrink * u, jnp.sum(w * value, axis=0) + b, value, slope

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        u, t, x, slope = self._parts(x, condition)
        ridge = ridge_of("Planar", self.ridge)
        return x + u * ridge.value(t), ridge.log_slope(t, slope)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        u, moved, y, slope = self._parts(y, condition)
        ridge = ridge_of("Planar", self.ridge)
        t = ridge.solve(moved, slope)
        return y - u * ridge.value(t), -ridge.log_slope(t, slope)
