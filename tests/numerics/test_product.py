"""The matrix product with a fast pull-back is a matrix product, under every transformation."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward._types import Array
from pushforward.numerics.product import dense, dense_output, matrix_product

RNG = np.random.default_rng(3)
A, B = jnp.asarray(RNG.standard_normal((3, 4))), jnp.asarray(RNG.standard_normal((4, 5)))


def scalar(product: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda a, b: jnp.sum(jnp.sin(product(a, b)))


@pytest.mark.parametrize("argument", [0, 1])
@pytest.mark.parametrize("derivative", [jax.grad, jax.jacfwd, jax.jacrev, jax.hessian])
def test_derivatives(derivative: Callable, argument: int) -> None:
    got = jax.jit(derivative(scalar(matrix_product), argument))(A, B)
    np.testing.assert_allclose(got, derivative(scalar(jnp.matmul), argument)(A, B), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None), (None, 2), (1, 1)])
def test_batching(axes: tuple[int | None, int | None]) -> None:
    a, b = (m if axis is None else jnp.stack([m, 2 * m, -m], axis) for m, axis in zip((A, B), axes, strict=True))
    got = jax.vmap(jax.hessian(scalar(matrix_product), 1), axes)(a, b)
    np.testing.assert_allclose(got, jax.vmap(jax.hessian(scalar(jnp.matmul), 1), axes)(a, b), rtol=1e-12, atol=1e-14)


def test_shapes_and_types() -> None:
    np.testing.assert_array_equal(matrix_product(A, B[:, 0]), A @ B[:, 0])  # one event
    assert matrix_product(A.astype(jnp.float32), B).dtype == jnp.float64
    assert matrix_product(A, B[:, :0]).shape == (3, 0)
    for layer in (dense, dense_output):
        for x in (B, B[:, 0]):
            np.testing.assert_allclose(layer(jnp.concatenate([A, jnp.ones((3, 1))], 1), x), A @ x + 1, rtol=1e-14)


def test_the_pull_back_multiplies_by_the_transpose_that_was_made_before() -> None:
    """Otherwise XLA folds the transposition into the product, and takes its slow kernel."""
    residuals = jax.tree.leaves(jax.eval_shape(lambda b: jax.vjp(lambda b: matrix_product(A, b), b)[1], B))
    assert (4, 3) in {leaf.shape for leaf in residuals}
