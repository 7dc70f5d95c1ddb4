"""The Sylvester layer: points move within a subspace, by a network with one hidden unit for each of its dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_int, check_values, message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.linear import INITIAL_MIX, bias_of, square
from pushforward.bijections.orthogonal import AbstractOrthogonal
from pushforward.nets.amortised import Amortised, rows_product
from pushforward.numerics.householder import leading_columns, random_basis, reflect
from pushforward.numerics.product import matrix_product
from pushforward.numerics.ridge import Slope, above_minus_one, free_of, ridge_of


class Sylvester(AbstractBatchedBijection):
    r"""$y = x + Q R\,h(\tilde R Q^\top x + b)$, $Q$ with `rank` orthonormal columns, $R, \tilde R$ upper triangular.

    By Sylvester's identity $\log|\det| = \sum_i \log(1 + R_{ii} \tilde R_{ii} h'(t_i))$, $t = \tilde R Q^\top x + b$;
    it is invertible if each $R_{ii} \tilde R_{ii} > -1$, which the parametrisation ensures
    (`numerics.ridge.above_minus_one`). The inverse solves for the coordinates of $Q^\top x$ one after the other, from
    the last: each is one scalar equation, exact, with exact gradients. A planar layer is one of rank 1.

    Args:
        key: JAX key for the initial parameters.
        dim: length of the vector.
        rank: Number of dimensions of the subspace and of hidden units, up to `dim`.
        basis: An orthogonal layer whose first `rank` columns are $Q$, such as `Cayley(key, dim)`, shared by all
            conditions. None takes a product of reflections, whose vectors are parameters like the others.
        n_reflections: Number of reflections in that product, None for `rank`, which reaches every subspace.
        ridge: The function $h$, `"tanh"` or `"leaky_relu"`.
        cond_shape: Shape of the condition; all parameters but `basis` are then amortised, $\theta_0 + g(c)$.
        net: The network $g$, from the flattened condition `(size, n)` to `(n_params, n)`, where `n_params` is
            `rank * (rank + 2)` plus `n_reflections * dim` without a `basis`; None builds an `MLP`.

    Cost: $O(\text{rank} \cdot \text{dim})$ per event; the inverse `rank` scalar equations in sequence; log-det exact.

    Raises:
        ValueError: a size is out of bounds, `ridge` unknown, or the basis or network does not fit.

    Source: van den Berg, Hasenclever, Tomczak, Welling, 2018, section 3, arXiv 1803.05649.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> keys = jax.random.split(jax.random.key(0))
        >>> layer = pf.bijections.Sylvester(keys[0], 5, 2, basis=pf.bijections.Cayley(keys[1], 5))
        >>> x = jnp.arange(5.0)
        >>> bool(jnp.allclose(layer.inverse(layer.forward(x)), x, atol=1e-5))
        True
    """

    params: Amortised
    basis: AbstractOrthogonal | None
    rank: int = eqx.field(static=True)
    ridge: str = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        dim: int,
        rank: int,
        *,
        basis: AbstractOrthogonal | None = None,
        n_reflections: int | None = None,
        ridge: str = "tanh",
        cond_shape: Shape | None = None,
        net: Callable[[Array], Array] | None = None,
    ):
        dim = check_int("Sylvester", "dim", dim, 1)
        self.rank = check_int("Sylvester", "rank", rank, 1, dim)
        if basis is not None and (basis.in_shape != (dim,) or n_reflections is not None):
            fix = f"Build it with dim={dim}, and leave n_reflections out."
            raise ValueError(message("Sylvester", f"a basis of shape ({dim},) alone", f"{basis.in_shape}", fix))
        self.basis = basis
        keys = jax.random.split(key, 3)
        packed = INITIAL_MIX * jax.random.uniform(keys[0], (rank, rank + 1), minval=-1.0)
        # The diagonal of the second triangle is 1 at the start, where each hidden unit sees its own coordinate.
        packed = packed + jnp.eye(rank, rank + 1)
        parts = [packed.ravel(), jnp.zeros(rank)]
        if basis is None:
            k = check_int("Sylvester", "n_reflections", rank if n_reflections is None else n_reflections, 1)
            parts.append(random_basis(keys[1], k, dim).ravel())
        start = jnp.concatenate(parts)
        self.params = Amortised(keys[2], start, cond_shape=cond_shape, net=net, name="Sylvester")
        self.in_shape = self.out_shape = (dim,)
        self.ridge, self.cond_shape = ridge, self.params.cond_shape
        cost = ridge_of("Sylvester", ridge).cost
        self.traits = Traits(inverse="sequential" if cost == "parallel" else cost)

    @staticmethod
    def from_matrices(
        basis: AbstractOrthogonal, first: Any, second: Any, bias: Any = 0.0, *, ridge: str = "tanh"
    ) -> Sylvester:
        r"""The layer $y = x + Q R\,h(\tilde R Q^\top x + b)$ of these matrices.

        Args:
            basis: An orthogonal layer, such as `Householder.from_vectors(vectors)`, whose first `rank` columns are Q.
            first: The matrix $R$, `(rank, rank)`, upper triangular.
            second: The matrix $\tilde R$, the same, with $R_{ii} \tilde R_{ii} > -1$.
            bias: The vector $b$ of length `rank`, or a number.
            ridge: The function $h$, `"tanh"` or `"leaky_relu"`.

        Raises:
            ValueError: the map is not invertible, or a matrix is not square or not upper triangular.
        """
        name, (dim,) = "Sylvester.from_matrices", basis.in_shape
        rank = len(square(name, "first", first))
        square(name, "second", second, rank)
        fix = "With smaller products of the diagonals the map folds the space."
        expected = "two upper triangular matrices whose diagonals have products above -1"
        check_values(name, expected, _upper_and_increasing, fix, first, second)
        r, r_tilde = as_floats(first), as_floats(second)
        shrink = above_minus_one(free_of(jnp.diagonal(r) * jnp.diagonal(r_tilde))).shrink
        # As they are packed: the first is above the diagonal of `(rank, rank + 1)`, the second below it, transposed.
        packed = jnp.pad(jnp.triu(r, 1) + jnp.diag(jnp.diagonal(r) / shrink), ((0, 0), (1, 0)))
        packed = packed + jnp.pad(jnp.triu(r_tilde).T, ((0, 0), (0, 1)))
        start = jnp.concatenate([packed.ravel(), bias_of(name, bias, rank)])
        layer = Sylvester(jax.random.key(0), dim, rank, basis=basis, ridge=ridge)
        return eqx.tree_at(lambda s: s.params.start, layer, start)

    def _parts(self, params: Array) -> tuple[Array, Array, Array, Slope]:
        """R, R~ and b, of shapes `(rank, rank, n)` and `(rank, n)`, and the products of the diagonals."""
        m = self.rank
        # One array holds both triangles: the first is its part above the diagonal, the second the rest, transposed.
        packed = params[: m * (m + 1)].reshape(m, m + 1, -1)
        above = jnp.triu(jnp.ones((m, m), bool))[..., None]
        first = jnp.where(above, packed[:, 1:], 0)
        second = jnp.where(above, jnp.swapaxes(packed[:, :m], 0, 1), 0)
        one = jnp.eye(m, dtype=bool)[..., None]
        slope = above_minus_one(_diagonal(first) * _diagonal(second))
        first = jnp.where(one, first * slope.shrink[None], first)
        return first, second, params[m * (m + 1) : m * (m + 2)], slope

    def _basis(self, params: Array) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
        """Multiplication by the transpose of Q, and by Q."""
        m, dim = self.rank, self.in_shape[0]
        vectors = params[m * (m + 2) :].reshape(-1, dim, params.shape[-1])
        if self.basis is None and params.shape[-1] != 1:

            def spread(h: Array) -> Array:
                return reflect(vectors, jnp.concatenate([h, jnp.zeros((dim - m, h.shape[-1]), h.dtype)]))

            return lambda x: reflect(vectors, x, transpose=True)[:m], spread
        q = leading_columns(vectors[..., 0], m) if self.basis is None else self.basis.matrix(params.dtype)[:, :m]
        return lambda x: matrix_product(q.T, x), lambda h: matrix_product(q, h)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        x = x.astype(jnp.result_type(x, self.params.start))
        params = self.params(condition, x.dtype)
        first, second, b, slope = self._parts(params)
        onto, spread = self._basis(params)
        ridge = ridge_of("Sylvester", self.ridge)
        t = rows_product(second, onto(x)) + b
        y = x + spread(rows_product(first, ridge.value(t)))
        return y, jnp.sum(ridge.log_slope(t, slope), axis=0)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y = y.astype(jnp.result_type(y, self.params.start))
        params = self.params(condition, y.dtype)
        first, second, b, slope = self._parts(params)
        onto, spread = self._basis(params)
        ridge = ridge_of("Sylvester", self.ridge)
        shape = (self.rank, y.shape[-1])

        def step(carry: tuple[Array, Array, Array], inputs: tuple) -> tuple[tuple[Array, Array, Array], None]:
            s, h, log_det = carry
            i, moved, own_first, own_second, own_b, own_slope = inputs
            # The rows of R and R~ use only what is known: the coordinates from i on are still 0 in s and h.
            target = moved - rows_product(own_first[None], h)[0]
            offset = rows_product(own_second[None], s)[0] + own_b
            t = ridge.solve(_entry(own_second, i) * target + offset, own_slope)
            here = (jnp.arange(self.rank) == i)[:, None]
            value = ridge.value(t)
            s = jnp.where(here, target - _entry(own_first, i) * value, s)
            return (s, jnp.where(here, value, h), log_det - ridge.log_slope(t, own_slope)), None

        start = (jnp.zeros(shape, y.dtype), jnp.zeros(shape, y.dtype), jnp.zeros(y.shape[-1:], y.dtype))
        inputs = (jnp.arange(self.rank), onto(y), first, second, b, slope)
        (_, h, log_det), _ = scan(step, start, inputs, reverse=True)
        return y - spread(rows_product(first, h)), log_det


def _upper_and_increasing(first: np.ndarray, second: np.ndarray) -> Any:
    upper = not (np.tril(first, -1).any() or np.tril(second, -1).any())
    products = np.diag(first) * np.diag(second)
    return upper and np.isfinite(first).all() and np.isfinite(second).all() and np.all(products > -1)


def _diagonal(matrix: Array) -> Array:
    return jnp.moveaxis(jnp.diagonal(matrix), -1, 0)


def _entry(row: Array, i: Array) -> Array:
    return jax.lax.dynamic_index_in_dim(row, i, 0, keepdims=False)
