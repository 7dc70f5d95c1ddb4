"""Orthogonal layers, which turn and reflect but keep volumes, and the QR layer built on one of them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import expm

from pushforward._checks import as_floats, check_int, check_values, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection, AbstractTwoWayBijection, along
from pushforward.bijections.linear import INITIAL_MIX, bias_of, free_triangle, square, triangular, with_parameters
from pushforward.numerics.householder import compact
from pushforward.numerics.product import dense, matrix_product
from pushforward.numerics.triangular import solve_triangular


class AbstractOrthogonal(AbstractTwoWayBijection):
    r"""$y = Q x$ with $Q^\top Q = I$: the inverse is the transpose, and $\log|\det| = 0$."""

    @abstractmethod
    def matrix(self, dtype: Any = None) -> Array:
        """The orthogonal matrix $Q$, of shape `(dim, dim)`.

        Args:
            dtype: Floating type of the arithmetic, None for that of the parameters.
        """


class Householder(AbstractOrthogonal):
    r"""$y = H_1 H_2 \cdots H_k x$, reflections $H_i = I - 2 v_i v_i^\top / |v_i|^2$ with trained $v_i$.

    With `dim` reflections every orthogonal matrix of determinant $(-1)^{\text{dim}}$ is reached. The product is
    computed in compact form: two thin products per batch for few reflections, one full product for many.

    A new layer is near the identity, or near a reflection if $k$ is odd. Only the directions of the vectors matter:
    gradients are at right angles to the vectors, which therefore never shrink in training. A vector of zeros gives NaN.

    Args:
        key: JAX key for the initial vectors.
        dim: length of the vector.
        n_reflections: Number of reflections $k$, None for `dim`.

    Cost: $O(k\,\text{dim})$ per event for $2k < \text{dim}$, else $O(\text{dim}^2)$; log-det exact.

    Raises:
        ValueError: a size is out of bounds.

    Source: Tomczak and Welling, 2016, eq. 6-8, arXiv 1611.09630.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> turn = pf.bijections.Householder(jax.random.key(0), 3)
        >>> round(float(jnp.linalg.norm(turn.forward(jnp.array([3.0, 0.0, 4.0])))), 4)
        5.0
    """

    vectors: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int, n_reflections: int | None = None):
        dim = check_int("Householder", "dim", dim, 1)
        k = check_int("Householder", "n_reflections", dim if n_reflections is None else n_reflections, 1)
        first, other = jax.random.normal(key, (2, k, dim))
        # Two reflections along nearly the same vector give nearly the identity.
        odd = (jnp.arange(k) % 2 == 1)[:, None]
        self.vectors = jnp.where(odd, jnp.roll(first, 1, axis=0) + INITIAL_MIX * other, first)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_vectors(vectors: Any) -> Householder:
        """The product of the reflections along these vectors.

        Args:
            vectors: Array `(n_reflections, dim)`, of whose rows none is 0; the first is applied last.

        Raises:
            ValueError: the array has another shape, or a row is 0 or not finite.
        """
        name, array = "Householder.from_vectors", as_floats(vectors)
        if array.ndim != 2 or not array.size:
            fix = "Pass one row for each reflection."
            raise ValueError(message(name, "vectors of shape (n_reflections, dim)", f"{array.shape}", fix))
        fix = "There is no reflection along a vector of length 0."
        check_values(name, "finite rows that are not 0", lambda v: np.isfinite(v).all() and v.any(axis=1), fix, vectors)
        return with_parameters(Householder(jax.random.key(0), array.shape[1], len(array)), ("vectors",), (array,))

    def matrix(self, dtype: Any = None) -> Array:
        unit, mixed = compact(self.vectors.astype(self.vectors.dtype if dtype is None else dtype))
        return jnp.eye(unit.shape[1], dtype=unit.dtype) - unit.T @ mixed

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        k, dim = self.vectors.shape
        dtype = jnp.result_type(value, self.vectors)
        if 2 * k >= dim:
            return _turn(self.matrix(dtype), value, forward)
        unit, mixed = compact(self.vectors.astype(dtype))
        value = value.astype(dtype)
        right, left = (mixed, unit) if forward else (unit, mixed)
        return value - matrix_product(left.T, matrix_product(right, value)), jnp.zeros(value.shape[-1:], dtype)


class Cayley(AbstractOrthogonal):
    r"""$y = (I + A)^{-1} (I - A)\,x$ with a trained skew-symmetric $A$.

    The layer reaches all rotations without a half turn (eigenvalue $-1$); a permutation before the layer adds the
    others. $I + A$ is never singular, nor badly conditioned unless $A$ is large. A new layer is near the identity.

    Args:
        key: JAX key for the initial weights.
        dim: length of the vector.

    Cost: one $D \times D$ product per event, and one solution of $D$ equations per batch; log-det exact.

    Source: Cayley, 1846, J. reine angew. Math. 32; as a layer of networks Helfrich, Willmott, Ye, 2018, arXiv
    1707.09520.
    """

    weight: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int):
        dim = check_int("Cayley", "dim", dim, 1)
        self.weight = jax.random.uniform(key, (dim, dim), minval=-1.0) * (INITIAL_MIX / dim)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_skew(matrix: Any) -> Cayley:
        """The layer of this skew-symmetric matrix `A`, an array `(dim, dim)`.

        Raises:
            ValueError: the matrix is not square, or not skew-symmetric.
        """
        weight = _weight_of_skew("Cayley.from_skew", matrix)
        return with_parameters(Cayley(jax.random.key(0), len(weight)), ("weight",), (weight,))

    def matrix(self, dtype: Any = None) -> Array:
        skew = _skew(self.weight, dtype)
        one = jnp.eye(len(skew), dtype=skew.dtype)
        return jnp.linalg.solve(one + skew, one - skew)

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        return _turn(self.matrix(jnp.result_type(value, self.weight)), value, forward)


class MatrixExponential(AbstractOrthogonal):
    r"""$y = e^A x$ with a trained skew-symmetric $A$: every rotation is reached.

    A new layer is near the identity.

    Args:
        key: JAX key for the initial weights.
        dim: length of the vector.

    Cost: one $D \times D$ product per event, and some ten of $D \times D \times D$ per batch; log-det exact.

    Source: Lezcano-Casado and Martinez-Rubio, 2019, arXiv 1901.08428.
    """

    weight: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int):
        dim = check_int("MatrixExponential", "dim", dim, 1)
        self.weight = jax.random.uniform(key, (dim, dim), minval=-1.0) * (INITIAL_MIX / dim)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_skew(matrix: Any) -> MatrixExponential:
        """The layer of this skew-symmetric matrix `A`, an array `(dim, dim)`.

        Raises:
            ValueError: the matrix is not square, or not skew-symmetric.
        """
        weight = _weight_of_skew("MatrixExponential.from_skew", matrix)
        return with_parameters(MatrixExponential(jax.random.key(0), len(weight)), ("weight",), (weight,))

    def matrix(self, dtype: Any = None) -> Array:
        return expm(_skew(self.weight, dtype))

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        return _turn(self.matrix(jnp.result_type(value, self.weight)), value, forward)


class QRLinear(AbstractBatchedBijection):
    r"""$y = Q R x + b$ with $Q$ a product of reflections and $R$ upper triangular; $\log|\det| = \sum_i \log R_{ii}$.

    The diagonal of $R$ is positive and bounded, so that the layer cannot become singular. A new layer is near $Q$.

    Args:
        key: JAX key for the initial weights.
        dim: length of the vector.
        n_reflections: Number of reflections. None takes `dim`, with which every matrix whose determinant has the sign
            $(-1)^{\text{dim}}$ is reached.

    Cost: forward one $D \times D$ product per event (and $D^3$ once per batch), inverse one product and one triangular
    solve; log-det exact.

    Source: Hoogeboom, van den Berg, Welling, 2019, arXiv 1901.11137.
    """

    upper: Array
    log_diagonal: Array
    bias: Array
    orthogonal: Householder
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int, n_reflections: int | None = None):
        dim = check_int("QRLinear", "dim", dim, 1)
        upper_key, orthogonal_key = jax.random.split(key)
        self.upper = jax.random.uniform(upper_key, (dim, dim), minval=-1.0) * (INITIAL_MIX / dim)
        self.log_diagonal, self.bias = jnp.zeros(dim), jnp.zeros(dim)
        self.orthogonal = Householder(orthogonal_key, dim, n_reflections)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_factors(vectors: Any, upper: Any, bias: Any = 0.0) -> QRLinear:
        """The layer of these factors; for a matrix that is not factored take `FullLinear.from_matrix`.

        Args:
            vectors: Array `(n_reflections, dim)` of the reflections whose product is Q.
            upper: The matrix R, `(dim, dim)`: upper triangular, with a positive diagonal.
            bias: A number or a vector of length dim.

        Raises:
            ValueError: a matrix is not square or not of its form, a vector is 0, or the sizes differ.
        """
        name, turn = "QRLinear.from_factors", Householder.from_vectors(vectors)
        (dim,) = turn.in_shape
        square(name, "upper", upper, dim)
        layer = QRLinear(jax.random.key(0), dim, len(turn.vectors))
        values = (*free_triangle(name, upper, False), bias_of(name, bias, dim), turn)
        return with_parameters(layer, ("upper", "log_diagonal", "bias", "orthogonal"), values)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(x, self.upper)
        upper, log_det = triangular(self.upper, self.log_diagonal, False, dtype)
        weight = jnp.concatenate([self.orthogonal.matrix(dtype) @ upper, self.bias.astype(dtype)[:, None]], axis=1)
        return dense(weight, x.astype(dtype)), jnp.broadcast_to(log_det, x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(y, self.upper)
        upper, log_det = triangular(self.upper, self.log_diagonal, False, dtype)
        turned, _ = self.orthogonal.inverse_rows((y - along(self.bias)).astype(dtype), None, None)
        return solve_triangular(upper, turned), jnp.broadcast_to(-log_det, y.shape[-1:])


def _skew(weight: Array, dtype: Any) -> Array:
    lower = jnp.tril(weight.astype(weight.dtype if dtype is None else dtype), -1)
    return lower - lower.T


def _weight_of_skew(name: str, matrix: Any) -> Array:
    square(name, "matrix", matrix)
    fix = "Pass (M - M.T) / 2."
    check_values(name, "a finite matrix with A.T = -A", lambda a: np.isfinite(a) & (a == -a.T), fix, matrix)
    return as_floats(matrix)


def _turn(matrix: Array, value: Array, forward: bool) -> tuple[Array, Array]:
    out = matrix_product(matrix if forward else matrix.T, value.astype(matrix.dtype))
    return out, jnp.zeros(value.shape[-1:], matrix.dtype)
