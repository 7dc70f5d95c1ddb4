"""Layers of given matrices and vectors compute what the formula of those numbers says, traced or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward import bijections as bj

RNG = np.random.default_rng(3)
M, V, X = RNG.normal(size=(3, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=3)
U, U2 = (np.triu(RNG.normal(size=(3, 3)), 1) + np.diag([0.3, 20.0, 1.5]) for _ in range(2))
L = np.tril(M, -1) + np.eye(3)
SKEW, BIAS, ORDER = M - M.T, np.array([0.5, -2.0, 3.0]), np.array([2, 0, 1])
Q = np.linalg.multi_dot([np.eye(3) - 2 * np.outer(v, v) / (v @ v) for v in V])
W, DOWN = np.array([1.0, -2.0, 0.5]), np.array([-0.5, 0.2, -0.1])

# The layer of numbers scaled by `s`, and the same map written out.
MAKE: dict[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "full": (lambda s: bj.FullLinear.from_matrix(s * M, BIAS), lambda s, x: s * M @ x + BIAS),
    "lower": (lambda s: bj.TriangularLinear.from_matrix(s * U.T, BIAS), lambda s, x: s * U.T @ x + BIAS),
    "upper": (lambda s: bj.TriangularLinear.from_matrix(s * U, lower=False), lambda s, x: s * U @ x),
    "lu": (lambda s: bj.LULinear.from_factors(L, s * U, ORDER, BIAS), lambda s, x: L @ (s * U @ x[ORDER]) + BIAS),
    "qr": (lambda s: bj.QRLinear.from_factors(V, s * U, BIAS), lambda s, x: Q @ (s * U @ x) + BIAS),
    "householder": (lambda s: bj.Householder.from_vectors(s * V), lambda s, x: Q @ x),
    "cayley": (
        lambda s: bj.Cayley.from_skew(s * SKEW),
        lambda s, x: jnp.linalg.solve(jnp.eye(3) + s * SKEW, x - s * SKEW @ x),
    ),
    "exponential": (
        lambda s: bj.MatrixExponential.from_skew(s * SKEW),
        lambda s, x: jax.scipy.linalg.expm(s * SKEW) @ x,
    ),
    "planar": (
        lambda s: bj.Planar.from_numbers(s * DOWN, W, 0.7),
        lambda s, x: x + s * DOWN * jnp.tanh(jnp.dot(W, x) + 0.7),
    ),
    "planar up": (
        lambda s: bj.Planar.from_numbers(40 * s * W, W, -0.7, ridge="leaky_relu"),
        lambda s, x: x + 40 * s * W * jax.nn.leaky_relu(jnp.dot(W, x) - 0.7, 0.1),
    ),
    "radial": (
        lambda s: bj.Radial.from_numbers(BIAS, 2.0 * s, -1.9 * s),
        lambda s, x: x - 1.9 * s * (x - BIAS) / (2.0 * s + jnp.linalg.norm(x - BIAS)),
    ),
    "sylvester": (
        lambda s: bj.Sylvester.from_matrices(
            bj.Householder.from_vectors(V), -s * U2[:2, :2] / 401, U[:2, :2], BIAS[:2]
        ),
        lambda s, x: x - s * Q[:, :2] @ (U2[:2, :2] / 401) @ jnp.tanh(U[:2, :2] @ Q[:, :2].T @ x + BIAS[:2]),
    ),
}


@pytest.mark.parametrize("name", MAKE)
def test_the_layer_is_the_map_of_its_numbers(name: str) -> None:
    build, formula = MAKE[name]
    y, log_det = build(1.0).forward_and_log_det(X)
    np.testing.assert_allclose(y, formula(1.0, X), rtol=1e-12, atol=1e-12)
    jacobian = jax.jacobian(lambda x: formula(1.0, x))(jnp.asarray(X))
    np.testing.assert_allclose(log_det, jnp.linalg.slogdet(jacobian)[1], rtol=1e-11, atol=1e-12)
    # The constructor under a trace, and the gradient through it.
    value, slope = jax.jit(jax.jvp, static_argnums=0)(lambda s: build(s).forward(X), (1.0,), (1.0,))
    expected, expected_slope = jax.jvp(lambda s: jnp.asarray(formula(s, jnp.asarray(X))), (1.0,), (1.0,))
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: bj.FullLinear.from_matrix(np.ones((2, 2))), "not singular"),
        (lambda: bj.FullLinear.from_matrix(np.ones((2, 3))), r"shape \(dim, dim\), got \(2, 3\)"),
        (lambda: bj.FullLinear.from_matrix(M, np.ones(2)), r"bias of shape \(3,\)"),
        (lambda: bj.TriangularLinear.from_matrix(M), "FullLinear"),
        (lambda: bj.TriangularLinear.from_matrix(-L), "a diagonal between"),
        (lambda: bj.LULinear.from_factors(U, U), "ones on the diagonal"),
        (lambda: bj.LULinear.from_factors(L, U, [1, 0]), "3 indices"),
        (lambda: bj.Householder.from_vectors([[1.0, 0.0], [0.0, 0.0]]), "not 0"),
        (lambda: bj.Cayley.from_skew(M), r"\(M - M.T\) / 2"),
        (lambda: bj.Planar.from_numbers(-W, W, 0.0), "make u shorter"),
        (lambda: bj.Planar.from_numbers(W, W[:2], 0.0), "two vectors"),
        (lambda: bj.Radial.from_numbers(W, 1.0, -1.0), "beta > -alpha"),
        (lambda: bj.Sylvester.from_matrices(bj.Householder.from_vectors(V), -U, U), "above -1"),
    ],
)
def test_numbers_of_no_layer_are_named(build: Callable[[], pf.AbstractBijection], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()
