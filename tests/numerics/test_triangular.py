"""Triangular systems by products: residuals, every mode of differentiation, and no LAPACK where it is slow."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.linalg
import numpy as np
import pytest

from pushforward.numerics.triangular import LARGE, inverse_of, solve_lu, solve_triangular


def systems(n: int) -> tuple[jax.Array, jax.Array]:
    """A lower triangular matrix with diagonals from 1/10 to 10, and right sides."""
    rng = np.random.default_rng(n)
    below = np.tril(rng.normal(size=(n, n)), -1) * min(1.0, (16 / n) ** 0.5)
    return jnp.asarray(below + np.diag(10 ** rng.uniform(-1, 1, n))), jnp.asarray(rng.normal(size=(n, 5)))


@pytest.mark.parametrize("n", [1, 2, 12, 100, LARGE + 4])
def test_the_residual_is_that_of_substitution(n: int) -> None:
    matrix, b = systems(n)
    for system, lower in ((matrix, True), (matrix.T, False)):
        x = solve_triangular(system, b, lower=lower)
        residual = jnp.abs(system @ x - b) / (jnp.abs(system) @ jnp.abs(x) + jnp.abs(b))
        assert jnp.max(residual) < 4 * n * np.finfo(float).eps
        np.testing.assert_allclose(solve_triangular(system, b[:, 0], lower=lower), x[:, 0], rtol=1e-9)


@pytest.mark.parametrize("n", [3, 70])
def test_a_product_of_two_is_solved_at_once(n: int) -> None:
    (lower, b), (other, _) = systems(n), systems(n + 1)
    upper = other[:n, :n].T
    x = solve_lu(lower, upper, b)
    assert jnp.max(jnp.abs(lower @ (upper @ x) - b)) < 1e-13 * jnp.max(jnp.abs(lower) @ (jnp.abs(upper) @ jnp.abs(x)))


def test_every_mode_of_differentiation() -> None:
    matrix, b = systems(4)

    def mine(matrix: jax.Array, b: jax.Array) -> jax.Array:
        return solve_triangular(jnp.tril(matrix), b, lower=True)

    def theirs(matrix: jax.Array, b: jax.Array) -> jax.Array:
        return jax.scipy.linalg.solve_triangular(jnp.tril(matrix), b, lower=True)

    for mode in (jax.jacfwd, jax.jacrev, lambda f, arguments: jax.jacfwd(jax.jacrev(f, arguments), arguments)):
        for own, other in zip(mode(mine, (0, 1))(matrix, b), mode(theirs, (0, 1))(matrix, b), strict=True):
            jax.tree.map(lambda a, c: np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-10), own, other)
    many = jnp.stack([matrix, 2 * matrix])
    np.testing.assert_allclose(jax.vmap(mine, (0, None))(many, b), jax.vmap(theirs, (0, None))(many, b), rtol=1e-11)


def test_inverses_of_many_matrices_at_once() -> None:
    matrix = jnp.tril(0.1 * systems(150)[0], -1) + jnp.eye(150)  # well conditioned, unlike those above
    many = jnp.stack([matrix, 2 * matrix])
    inverses = inverse_of(many)
    assert jnp.max(jnp.abs(jnp.triu(inverses, 1))) == 0
    assert jnp.max(jnp.abs(inverses @ many - jnp.eye(150))) < 1e-12


def test_no_call_of_lapack_for_few_unknowns() -> None:
    matrix, b = systems(12)
    text = jax.jit(lambda m, b: solve_triangular(m, b, lower=True)).lower(matrix, b).as_text()
    assert "trsm" not in text
    large, right = systems(LARGE + 4)
    assert "trsm" in jax.jit(lambda m, b: solve_triangular(m, b, lower=True)).lower(large, right).as_text()
