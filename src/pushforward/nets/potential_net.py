"""A potential of time and state, whose gradient is a velocity and whose Laplacian has a closed form."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    OUTPUT_SCALE,
    check_sizes,
    hidden_layer,
    join_condition,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.numerics.product import dense, matrix_product

# Most rows of A: the quadratic part follows the few directions along which the data as a whole move.
MAX_RANK = 10


class PotentialNet(eqx.Module):
    r"""A potential $\Phi(t, x; c) = w^T u_M + \frac12 |A [x, t]|^2 + b^T [x, t]$ with a residual network $u_M$.

    $u_0 = \sigma(K_0 [x, t, c] + k_0)$ and $u_l = u_{l-1} + h\,\sigma(a_l)$ with $a_l = K_l u_{l-1} + k_l$, $h = 1/M$
    and $\sigma(a) = \log(2 \cosh a)$, whose derivatives are $\tanh a$ and $1 - \tanh^2 a$.

    With $z_l = \partial \Phi / \partial u_l$, $z_M = w$ and $z_{l-1} = z_l + h\,K_l^T (\sigma'(a_l) \odot z_l)$, the
    gradient is $K_{0,x}^T (\sigma'(a_0) \odot z_0) + \dots$ and the Laplacian

    $$\sum_l h_l \sum_j \sigma''(a_l)_j\,(z_l)_j\,|\partial (a_l)_j / \partial x|^2 + |A_x|_F^2,
    \quad h_0 = 1,\; h_l = h,$$

    where the Jacobians $\partial a_l / \partial x$ follow layer by layer, and that of the first is $K_{0,x}$.

    Args:
        key: JAX key for the initial weights. The gradient starts near 0.
        dim: length of `x`.
        width: Length of $u$.
        depth: Number of layers, $M + 1$, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional. It enters the network
            and not the quadratic part.
        rank: Number of rows of $A$; None takes as many as $[x, t]$ has entries, 10 at most.

    Cost: $O(\text{width}^2)$ per layer for the gradient, as much as two values; the Laplacian adds $O(\text{width})$
        for the first layer and $O(\text{width}^2\,\text{dim})$ for each later one, in one matrix product.

    Shapes:
        time `()` or `(n,)`, `x` of `(dim,)` or `(dim, n)`, condition `(*cond_shape,)` or `(*cond_shape, n)`.

    Raises:
        ValueError: a size is out of bounds, or the condition missing.

    Source: Onken, Wu Fung, Li, Ruthotto, 2021, section 3, arXiv 2006.00104.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.PotentialNet(jax.random.key(0), 2, width=8)
        >>> t, x = jax.numpy.array(0.5), jax.numpy.ones(2)
        >>> net.value(t, x).shape, net.gradient(t, x).shape
        ((), (2,))
    """

    layers: tuple[Array, ...]
    weights: Array
    root: Array
    slope: Array
    dim: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        rank: int | None = None,
    ):
        self.dim, width, depth = check_sizes("PotentialNet", dim=dim, width=width, depth=depth)
        rank = min(MAX_RANK, dim + 1) if rank is None else check_int("PotentialNet", "rank", rank, 1)
        self.cond_shape = cond_shape
        sizes = [dim + 1 + size_of(cond_shape)] + [width] * (depth - 1)
        hidden = [(width, before + 1) for before in sizes]
        *layers, weights, root = uniforms(key, [*hidden, (1, width + 1), (rank, dim + 1)])
        self.layers = tuple(hidden_layer(w, n) for w, n in zip(layers, sizes, strict=True))
        self.weights = output_layer(weights)[0, :-1]
        # The initial A is small but not 0, where its gradient would vanish.
        self.root, self.slope = root * (OUTPUT_SCALE * 3.0 / rank) ** 0.5, jnp.zeros(dim + 1)

    @property
    def _step(self) -> float:
        return 1.0 / max(len(self.layers) - 1, 1)

    def _inputs(self, t: Array, x: Array, condition: Array | None) -> tuple[Array, Array]:
        """The vector of state and time, and the vector of state, time and condition."""
        state = jnp.concatenate([x, jnp.broadcast_to(jnp.asarray(t, x.dtype), (1, *x.shape[1:]))])
        return state, join_condition("PotentialNet", state, condition, self.cond_shape)

    def value(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        r"""The potential $\Phi$, `()` or `(n,)`."""
        state, u = self._inputs(t, x, condition)
        for layer, weight in enumerate(self.layers):
            a = dense(weight, u)
            u = u + self._step * jnp.logaddexp(a, -a) if layer else jnp.logaddexp(a, -a)
        return self.weights @ u + 0.5 * jnp.sum((self.root @ state) ** 2, axis=0) + self.slope @ state

    def gradient(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        r"""The gradient $\nabla_x \Phi$, of the shape of `x`."""
        state, inputs = self._inputs(t, x, condition)
        return self._gradient(state, *self._slopes(inputs))

    def gradient_and_laplacian(
        self, t: Array, x: Array, condition: Array | None, lengths: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        r"""The gradient $\nabla_x \Phi$ and the Laplacian $\Delta_x \Phi$; arguments as in `value`, and `lengths()`."""
        state, inputs = self._inputs(t, x, condition)
        slopes, pulled = self._slopes(inputs)
        squares, constant = (a.astype(x.dtype) for a in lengths)
        laplacian = constant + squares @ ((1 - slopes[0] ** 2) * pulled[0])
        first, width = self.layers[0][:, : self.dim].astype(x.dtype), len(self.weights)
        jacobian = _wide(first, x) * slopes[0][:, None]  # of u_l by x: (width, dim), and rows
        for weight, slope, z in zip(self.layers[1:], slopes[1:], pulled[1:], strict=True):
            moved = matrix_product(weight[:, :-1].astype(x.dtype), jacobian.reshape(width, -1)).reshape(jacobian.shape)
            laplacian = laplacian + self._step * jnp.sum((1 - slope**2) * z * jnp.sum(moved**2, axis=1), axis=0)
            jacobian = jacobian + self._step * slope[:, None] * moved
        return self._gradient(state, slopes, pulled), laplacian

    def lengths(self) -> tuple[Array, Array]:
        """Numbers for the Laplacian that depend on weights alone: squared row lengths of the first layer, and of A."""
        return jnp.sum(self.layers[0][:, : self.dim] ** 2, axis=1), jnp.sum(self.root[:, : self.dim] ** 2)

    def _slopes(self, u: Array) -> tuple[list[Array], list[Array]]:
        r"""The lists of $\sigma'(a_l)$ and of $z_l$, with one entry per layer from first to last."""
        slopes = []
        for layer, weight in enumerate(self.layers):
            a = dense(weight, u)
            slopes.append(jnp.tanh(a))
            if layer < len(self.layers) - 1:
                u = u + self._step * jnp.logaddexp(a, -a) if layer else jnp.logaddexp(a, -a)
        pulled = [_wide(self.weights.astype(u.dtype), u)]
        for weight, slope in zip(self.layers[:0:-1], slopes[:0:-1], strict=True):
            back = matrix_product(weight[:, :-1].astype(u.dtype).T, slope * pulled[0])
            pulled.insert(0, pulled[0] + self._step * back)
        return slopes, pulled

    def _gradient(self, state: Array, slopes: list[Array], pulled: list[Array]) -> Array:
        back = matrix_product(self.layers[0][:, : self.dim].astype(state.dtype).T, slopes[0] * pulled[0])
        quadratic = self.root[:, : self.dim].T @ (self.root @ state)
        return back + quadratic + _wide(self.slope[: self.dim], state)


def _wide(a: Array, x: Array) -> Array:
    """The array with an axis for rows at its end if `x` has one."""
    return a[..., None] if x.ndim == 2 else a
