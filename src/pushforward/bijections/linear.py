"""Linear layers: permutations, triangular, LU, and full matrices. A diagonal layer is `Affine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_int, check_values, is_traced, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.numerics.bounded import soft_clamp, soft_clamp_inverse
from pushforward.numerics.permute import permute
from pushforward.numerics.product import dense
from pushforward.numerics.triangular import solve_lu, solve_triangular

# Bound on the log of each diagonal element of a triangular factor, which stays invertible whatever the optimiser does.
MAX_LOG_DIAGONAL = 10.0
# Size of the off-diagonal elements at the start, relative to 1 / dim.
INITIAL_MIX = 0.1
# Up to so many coordinates the off-diagonal elements of an LU layer are the numbers that are trained; beyond, these
# count `(EASY / dim)^(1/2)` each. Adam moves every number by the same step, and so a row's sum by `dim` of them, and
# the inverse of a triangular factor, by which samples are drawn, grows like the exponential of that sum. On 2449 rows
# of 166 heavy-tailed columns, 55 % of the samples lay beyond ten times the data after 8 steps and none does now; the
# held-out nats rose from -298 to -275, after 96 steps from -102 to -95, and after 288 from -90.5 to -90.2.
EASY = 16


class Reverse(AbstractBatchedBijection):
    """The coordinates in reverse order; the log-determinant is 0.

    Args:
        dim: length of the vector, or shape of an event whose first axis is reversed, such as that of tokens.
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, dim: int | Shape):
        sizes = (dim,) if isinstance(dim, int) else tuple(dim)
        self.in_shape = self.out_shape = tuple(check_int("Reverse", "dim", size, 1) for size in sizes)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return x[::-1], jnp.zeros(x.shape[-1:], x.dtype)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return y[::-1], jnp.zeros(y.shape[-1:], y.dtype)


class Permutation(AbstractBatchedBijection):
    """A fixed permutation, `y[i] = x[indices[i]]`; the log-determinant is 0.

    Args:
        indices: A permutation of `0 .. dim - 1`; `Permutation.random(key, dim)` draws one.

    Raises:
        ValueError: `indices` is not a permutation.
    """

    indices: Array
    inverse_indices: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, indices: Sequence[int] | np.ndarray | Array):
        # Under jit the values are not known; there they are drawn, and right.
        if not isinstance(indices, jax.core.Tracer):
            values = np.asarray(indices)
            if values.ndim != 1 or not np.array_equal(np.sort(values), np.arange(len(values))) or not len(values):
                fix = "Each index from 0 to dim - 1 occurs once."
                raise ValueError(message("Permutation", "a permutation of 0..dim-1", f"{values.tolist()[:12]}", fix))
        self.indices = jnp.asarray(indices, jnp.int32)
        self.inverse_indices = jnp.argsort(self.indices).astype(jnp.int32)
        self.in_shape = self.out_shape = self.indices.shape

    @staticmethod
    def random(key: PRNGKeyArray, dim: int) -> Permutation:
        """Draw a permutation uniformly."""
        return Permutation(jax.random.permutation(key, check_int("Permutation", "dim", dim, 1)))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return permute(x, self.indices, self.inverse_indices), jnp.zeros(x.shape[-1:], x.dtype)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return permute(y, self.inverse_indices, self.indices), jnp.zeros(y.shape[-1:], y.dtype)


def _reach(dim: int) -> float:
    """How much a trained number counts in an off-diagonal element of an LU layer."""
    return min(1.0, (EASY / dim) ** 0.5)


class LULinear(AbstractBatchedBijection):
    r"""$y = L U P x + b$ with a random permutation $P$, unit lower $L$, upper $U$; $\log|\det| = \sum_i \log U_{ii}$.

    The diagonal of $U$ is $e^{d}$ with $d$ bounded, so that the layer cannot become singular. Beyond 16 coordinates the
    other elements are the trained numbers times $(16 / D)^{1/2}$, so that steps of Adam on all of them at once leave
    the inverse tame.

    Args:
        key: JAX key for the permutation and the initial weights, near the permutation alone.
        dim: length of the vector.

    Cost: forward one $D \times D$ product per event (and $D^3$ once per batch), inverse two triangular solves.

    Source: Oliva et al., 2018, section 3.1.1, arXiv 1801.09819; Kingma and Dhariwal, 2018, eq. 10, arXiv 1807.03039.
    """

    lower: Array
    upper: Array
    log_diagonal: Array
    bias: Array
    permutation: Permutation
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int):
        dim = check_int("LULinear", "dim", dim, 1)
        draw_key, permutation_key = jax.random.split(key)
        start = INITIAL_MIX / (dim * _reach(dim))
        self.lower, self.upper = jax.random.uniform(draw_key, (2, dim, dim), minval=-1.0) * start
        self.log_diagonal, self.bias = jnp.zeros(dim), jnp.zeros(dim)
        self.permutation = Permutation.random(permutation_key, dim)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_factors(lower: Any, upper: Any, permutation: Any = None, bias: Any = 0.0) -> LULinear:
        """The layer of these factors; for a matrix that is not factored take `FullLinear.from_matrix`.

        Args:
            lower: The matrix L, `(dim, dim)`: lower triangular, with ones on the diagonal.
            upper: The matrix U, `(dim, dim)`: upper triangular, with a positive diagonal.
            permutation: The indices of P, `(P x)[i] = x[permutation[i]]`; None for the order as it is.
            bias: A number or a vector of length dim.

        Raises:
            ValueError: a matrix is not square or not of its form, or the sizes differ.
        """
        name = "LULinear.from_factors"
        dim = len(square(name, "upper", upper))
        square(name, "lower", lower, dim)
        fix = "Beside the triangle it holds zeros."
        check_values(name, "lower triangular with ones on the diagonal", _unit_lower, fix, lower)
        layer = LULinear(jax.random.key(0), dim)
        beside, log_diagonal = free_triangle(name, upper, False)
        where = Permutation(np.arange(dim) if permutation is None else permutation)
        if where.in_shape != (dim,):
            fix = "Pass one index for each coordinate."
            raise ValueError(message(name, f"{dim} indices of the permutation", f"{where.in_shape[0]}", fix))
        values = (as_floats(lower) / _reach(dim), beside / _reach(dim), log_diagonal, bias_of(name, bias, dim), where)
        return with_parameters(layer, ("lower", "upper", "log_diagonal", "bias", "permutation"), values)

    def _factors(self, dtype: Any) -> tuple[Array, Array, Array]:
        one = jnp.eye(*self.lower.shape, dtype=dtype)
        reach = _reach(self.in_shape[0])
        upper, log_det = triangular(reach * self.upper, self.log_diagonal, False, dtype)
        return jnp.tril(reach * self.lower.astype(dtype), -1) + one, upper, log_det

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(x, self.lower)
        lower, upper, log_det = self._factors(dtype)
        # The columns of the matrix are permuted instead of the coordinates of the batch, which are more numbers.
        columns = permute((lower @ upper).T, self.permutation.inverse_indices, self.permutation.indices)
        weight = jnp.concatenate([columns, self.bias.astype(dtype)[None]]).T
        return dense(weight, x.astype(dtype)), jnp.broadcast_to(log_det, x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(y, self.lower)
        lower, upper, log_det = self._factors(dtype)
        centred = (y - along(self.bias)).astype(dtype)
        z = solve_lu(lower, upper, centred)
        x = permute(z, self.permutation.inverse_indices, self.permutation.indices)
        return x, jnp.broadcast_to(-log_det, y.shape[-1:])


class TriangularLinear(AbstractBatchedBijection):
    r"""$y = T x + b$ with $T$ lower or upper triangular and a positive diagonal; $\log|\det| = \sum_i \log T_{ii}$.

    The diagonal is $e^{d}$ with $d$ bounded, so that the layer cannot become singular. A new layer is near the
    identity.

    Args:
        key: JAX key for the initial weights.
        dim: length of the vector.
        lower: Whether each output depends on the inputs up to its own, or on those from its own on.

    Cost: $O(D^2)$ per event in both directions, a product and a triangular solve; log-det exact.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> layer = pf.bijections.TriangularLinear(jax.random.key(0), 3)
        >>> jax.jacobian(layer.forward)(jnp.zeros(3))[0].round(2).tolist()
        [1.0, 0.0, 0.0]
    """

    weight: Array
    log_diagonal: Array
    bias: Array
    lower: bool = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int, *, lower: bool = True):
        dim = check_int("TriangularLinear", "dim", dim, 1)
        self.weight = jax.random.uniform(key, (dim, dim), minval=-1.0) * (INITIAL_MIX / dim)
        self.log_diagonal, self.bias = jnp.zeros(dim), jnp.zeros(dim)
        self.lower = bool(lower)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_matrix(matrix: Any, bias: Any = 0.0, *, lower: bool = True) -> TriangularLinear:
        """The layer `matrix @ x + bias`.

        Args:
            matrix: Array `(dim, dim)`, triangular with a positive diagonal, such as a Cholesky factor.
            bias: A number or a vector of length dim.
            lower: Whether the matrix is lower triangular, or upper triangular.

        Raises:
            ValueError: the matrix is not square or not of its form, or the sizes differ.
        """
        name = "TriangularLinear.from_matrix"
        dim = len(square(name, "matrix", matrix))
        layer = TriangularLinear(jax.random.key(0), dim, lower=lower)
        values = (*free_triangle(name, matrix, lower), bias_of(name, bias, dim))
        return with_parameters(layer, ("weight", "log_diagonal", "bias"), values)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(x, self.weight)
        weight, log_det = triangular(self.weight, self.log_diagonal, self.lower, dtype)
        weight = jnp.concatenate([weight, self.bias.astype(dtype)[:, None]], axis=1)
        return dense(weight, x.astype(dtype)), jnp.broadcast_to(log_det, x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(y, self.weight)
        weight, log_det = triangular(self.weight, self.log_diagonal, self.lower, dtype)
        x = solve_triangular(weight, (y - along(self.bias)).astype(dtype), lower=self.lower)
        return x, jnp.broadcast_to(-log_det, y.shape[-1:])


class FullLinear(AbstractBatchedBijection):
    r"""$y = W x + b$ with any matrix $W$; $\log|\det W|$ by an LU decomposition (`slogdet`).

    Nothing keeps $W$ from becoming singular, which `LULinear` and `QRLinear` cannot. A large condition number
    `numpy.linalg.cond(layer.weight)` announces it (above 1e4 in float32 half of the digits are lost, above 1e7 all).
    For a singular $W$ the log-determinant is minus infinity and the inverse and the loss are not finite.

    Args:
        key: JAX key for the initial weights, near the identity.
        dim: length of the vector.

    Cost: one $D \times D$ product per event forward, a solve inverse, and $D^3$ once per batch in both; log-det exact.

    Source: Kingma and Dhariwal, 2018, section 3.2, arXiv 1807.03039.
    """

    weight: Array
    bias: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int):
        dim = check_int("FullLinear", "dim", dim, 1)
        self.weight = jnp.eye(dim) + jax.random.uniform(key, (dim, dim), minval=-1.0) * (INITIAL_MIX / dim)
        self.bias = jnp.zeros(dim)
        self.in_shape = self.out_shape = (dim,)

    @staticmethod
    def from_matrix(matrix: Any, bias: Any = 0.0) -> FullLinear:
        """The layer `matrix @ x + bias`.

        Args:
            matrix: Array `(dim, dim)`, not singular.
            bias: A number or a vector of length dim.

        Raises:
            ValueError: the matrix is not square, singular or not finite, or the sizes differ.

        Example:
            >>> import jax.numpy as jnp, pushforward as pf
            >>> layer = pf.bijections.FullLinear.from_matrix([[0.0, 2.0], [1.0, 0.0]], bias=[1.0, 0.0])
            >>> layer.forward(jnp.array([3.0, 4.0])).tolist()
            [9.0, 3.0]
        """
        name = "FullLinear.from_matrix"
        dim = len(square(name, "matrix", matrix))
        fix = "The rows of a matrix that can be inverted do not depend on each other."
        check_values(name, "a finite matrix that is not singular", _invertible, fix, matrix)
        layer = FullLinear(jax.random.key(0), dim)
        return with_parameters(layer, ("weight", "bias"), (as_floats(matrix), bias_of(name, bias, dim)))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(x, self.weight)
        weight = jnp.concatenate([self.weight, self.bias[:, None]], axis=1).astype(dtype)
        log_det = jnp.linalg.slogdet(weight[:, :-1])[1]
        return dense(weight, x.astype(dtype)), jnp.broadcast_to(log_det, x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(y, self.weight)
        weight = self.weight.astype(dtype)
        x = jnp.linalg.solve(weight, (y - along(self.bias)).astype(dtype))
        return x, jnp.broadcast_to(-jnp.linalg.slogdet(weight)[1], y.shape[-1:])


def square(name: str, what: str, matrix: Any, dim: int | None = None) -> Any:
    """The matrix as an array, which has to be square, and of size `dim` unless that is None."""
    array = matrix if is_traced(matrix) and hasattr(matrix, "shape") else jnp.asarray(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not len(array) or dim not in (None, len(array)):
        expected = f"{what} of shape " + ("(dim, dim)" if dim is None else f"({dim}, {dim})")
        raise ValueError(message(name, expected, f"{array.shape}", "Pass a square matrix with one row per coordinate."))
    return array


def bias_of(name: str, bias: Any, dim: int) -> Array:
    """A bias that is given, as a vector of length `dim`."""
    array = as_floats(bias)
    if array.shape not in ((), (dim,)):
        raise ValueError(message(name, f"a bias of shape ({dim},)", f"{array.shape}", "Pass a number or a vector."))
    return jnp.broadcast_to(array, (dim,))


def free_triangle(name: str, matrix: Any, lower: bool) -> tuple[Array, Array]:
    """The unconstrained parameters for which `triangular` gives this matrix."""
    low, high = np.exp([-MAX_LOG_DIAGONAL, MAX_LOG_DIAGONAL])

    def holds(m: np.ndarray) -> Any:
        diagonal = np.diag(m)
        beside = np.triu(m, 1) if lower else np.tril(m, -1)
        return np.all(np.isfinite(m)) and not beside.any() and np.all((diagonal > low) & (diagonal < high))

    kind = f"{'lower' if lower else 'upper'} triangular with a diagonal between {low:.1e} and {high:.1e}"
    check_values(name, kind, holds, "Any other matrix is taken by FullLinear.from_matrix.", matrix)
    # NumPy computes the logarithm of known numbers, which is then right to float64.
    xp = jnp if is_traced(matrix) else np
    log_diagonal = xp.log(xp.diagonal(xp.asarray(matrix, None if xp is jnp else float)))
    return as_floats(matrix), as_floats(soft_clamp_inverse(as_floats(log_diagonal), MAX_LOG_DIAGONAL))


def with_parameters(layer: Any, names: tuple[str, ...], values: tuple) -> Any:
    """The layer with these values in its fields of these names."""
    return eqx.tree_at(lambda b: [getattr(b, name) for name in names], layer, list(values))


def _unit_lower(matrix: np.ndarray) -> Any:
    return np.all(np.isfinite(matrix)) and not np.triu(matrix, 1).any() and np.all(np.diag(matrix) == 1)


def _invertible(matrix: np.ndarray) -> Any:
    return np.all(np.isfinite(matrix)) and np.isfinite(np.linalg.slogdet(matrix)[1])


def triangular(weight: Array, log_diagonal: Array, lower: bool, dtype: Any) -> tuple[Array, Array]:
    """A triangular matrix with a bounded positive diagonal, and its log-determinant.

    Args:
        weight: Array of shape `(dim, dim)`, of which the triangle beside the diagonal is used.
        log_diagonal: Array of shape `(dim,)`, unconstrained.
        lower: Whether the lower triangle is used, or the upper one.
        dtype: Floating type of the arithmetic.
    """
    log_diagonal = soft_clamp(log_diagonal.astype(dtype), MAX_LOG_DIAGONAL)
    beside = jnp.tril(weight.astype(dtype), -1) if lower else jnp.triu(weight.astype(dtype), 1)
    return beside + jnp.diag(jnp.exp(log_diagonal)), jnp.sum(log_diagonal)
