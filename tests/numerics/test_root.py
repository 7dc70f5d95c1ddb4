"""The root finder: roots of every size, their gradients, rows on their own, and no answer where there is none."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward._types import Array
from pushforward.numerics.root import solve_increasing

Y = (0.0, 1e-20, 1.0, -3.0, 100.0, 1e6, -1e30, 1e30)


def cubic(x: Array) -> tuple[Array, Array]:
    return x + x**3 / 3, jnp.log1p(x * x)


def jump(x: Array) -> tuple[Array, Array]:
    """Flat but for a jump so steep that Newton alone would leave for infinity."""
    s = jax.nn.sigmoid(1e4 * (x - 0.3))
    return 1e-3 * x + 5 * s, jnp.log(1e-3 + 5e4 * s * (1 - s))


def line(slope: float) -> Any:
    return lambda x: (slope * x, jnp.full_like(x, np.log(slope)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [cubic, jump, line(1e-6), line(1e6)], ids=["cubic", "jump", "flat", "steep"])
def test_roots_and_their_gradients(function: Any, dtype: type) -> None:
    y = jnp.asarray(Y, dtype)
    found = jax.jit(lambda y: solve_increasing(function, y))(y)
    assert found.x.dtype == dtype
    assert bool(found.converged.all())
    assert int(found.steps) < 120
    value, log_slope = (np.asarray(a, float) for a in function(found.x))
    eps = float(np.finfo(dtype).eps)
    # Rounding x moves the value by the slope times that; next to the jump the slope changes within a few floats.
    allowed = 8 * eps * (1 + np.abs(y) + np.exp(log_slope) * (1 + np.abs(found.x)))
    np.testing.assert_array_less(np.abs(value - np.asarray(y, float)), allowed)
    gradient = jax.vmap(jax.grad(lambda y: solve_increasing(function, y).x))(y)
    np.testing.assert_allclose(gradient, np.exp(-log_slope), rtol=1e-2 if dtype == np.float32 else 1e-9)


def test_parameters_have_the_gradients_of_the_implicit_function() -> None:
    def root(a: Array, y: Array) -> Array:
        return solve_increasing(lambda x: (a * x + jnp.sinh(x), jnp.log(a + jnp.cosh(x))), y).x

    a, y = jnp.array([0.5, 2.0, 1e-3]), jnp.array([3.0, -1.0, 40.0])
    x = root(a, y)
    for mode in (jax.jacfwd, jax.jacrev):
        jacobian = mode(root)(a, y)
        np.testing.assert_allclose(jacobian, np.diag(-x / (a + np.cosh(x))), rtol=1e-12, atol=1e-300)


def test_a_row_depends_on_itself_alone() -> None:
    alone = [solve_increasing(cubic, jnp.array([y])).x[0] for y in (0.3, -7.0)]
    together = solve_increasing(cubic, jnp.array([0.3, 1e30, -7.0, jnp.nan])).x
    np.testing.assert_array_equal([together[0], together[2]], alone)


def test_no_root_is_no_number() -> None:
    bounded = solve_increasing(lambda x: (jnp.tanh(x), jnp.log1p(-(jnp.tanh(x) ** 2))), jnp.array([0.5, 1.5, -1.5]))
    np.testing.assert_array_equal(bounded.converged, [True, False, False])
    np.testing.assert_allclose(bounded.x[0], np.arctanh(0.5))
    assert np.isnan(bounded.x[1:]).all()
    broken = solve_increasing(cubic, jnp.array([jnp.nan, jnp.inf, -jnp.inf]))
    assert np.isnan(broken.x).all()
    assert not broken.converged.any()


def test_second_derivatives_of_roots() -> None:
    """Of x^3 = a y the root is (a y)^(1/3): every mode has its Hessian, also under vmap."""

    def root(a: Array, y: Array) -> Array:
        return jnp.sin(solve_increasing(lambda x: (x**3 / a, jnp.log(3 * x**2 / a)), y, 1.0).x)

    def closed(a: Array, y: Array) -> Array:
        return jnp.sin((a * y) ** (1 / 3))

    a, y = jnp.array([0.5, 2.0]), jnp.array([3.0, 40.0])
    orders = {"forward": jax.jacfwd, "reverse": jax.jacrev}
    wanted = jax.vmap(jax.hessian(closed, (0, 1)))(a, y)
    for first in orders.values():
        for second in orders.values():
            got = jax.jit(jax.vmap(second(first(root, (0, 1)), (0, 1))))(a, y)
            jax.tree.map(lambda g, w: np.testing.assert_allclose(g, w, rtol=1e-10), got, wanted)


def test_the_search_ends_at_the_rounding_of_the_function() -> None:
    """Roots near 0 of a function whose terms are near 3: bisection to the last place of the root took 30 steps."""

    def function(x: Array) -> tuple[Array, Array]:
        return (3 * x + jnp.sin(x + 1) + 3) - 3 - math.sin(1), jnp.log(3 + jnp.cos(x + 1))

    y = jnp.asarray(np.random.default_rng(0).normal(0, 0.05, 5000), jnp.float32)
    found = solve_increasing(function, y)
    assert found.converged.all()
    assert found.steps <= 8
    np.testing.assert_allclose(function(found.x.astype(jnp.float64))[0], y, atol=2e-6)
