"""A function with a pull-back of its own has every derivative of the plain one, under every transformation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward._types import Array
from pushforward.numerics.derivatives import own_derivatives
from pushforward.numerics.permute import permute
from pushforward.numerics.rational_quadratic_spline import (
    Spline,
    rational_quadratic_forward,
    rational_quadratic_inverse,
)
from pushforward.numerics.splines import bin_sizes, knot, pick, split_rows

RNG = np.random.default_rng(5)
X, P = jnp.asarray(RNG.standard_normal((2, 3))), jnp.asarray(RNG.standard_normal((2, 3)))
COUNT = jnp.array([1, 2])
MODES: dict[str, Callable] = {
    "grad": lambda f: jax.grad(f, (0, 1)),
    "jacfwd": lambda f: jax.jacfwd(f, (0, 1)),
    "hessian": lambda f: jax.hessian(f, (0, 1)),
    "reverse over reverse": lambda f: jax.jacrev(jax.jacrev(f, (0, 1)), (0, 1)),
    "reverse over forward": lambda f: jax.jacrev(jax.jacfwd(f, (0, 1)), (0, 1)),
    "forward over forward": lambda f: jax.jacfwd(jax.jacfwd(f, (0, 1)), (0, 1)),
    "third": lambda f: jax.jacrev(jax.hessian(f)),
    "linearize": lambda f: lambda x, p: jax.linearize(f, x, p)[1](jnp.cos(x), p),
    "gradient of rows": lambda f: jax.grad(lambda x, p: jnp.sum(jax.vmap(f, (1, None))(x, p[:, 0]) ** 2), (0, 1)),
    "rows of Hessians": lambda f: jax.vmap(jax.hessian(f, 1), (None, 1)),
    "scan": lambda f: jax.hessian(
        lambda x, p: jax.lax.scan(lambda c, _: (c * jnp.cos(f(c, p)), None), x, None, length=2)[0][0].sum()
    ),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f), (0, 1)),
}


def plain(x: Array, p: Array, count: Array) -> tuple[Array, Array]:
    return jnp.sin(x) * p[0] ** 2, count * jnp.size(p)


def pull(kept: tuple, bars: tuple[Array, None]) -> tuple:
    (x, p, _), sine = kept
    return jnp.cos(x) * p[0] ** 2 * bars[0], jnp.zeros_like(p).at[0].set(jnp.sum(2 * p[0] * sine * bars[0])), None


OWN = own_derivatives(plain, lambda x, p, n: (plain(x, p, n), ((x, p, n), jnp.sin(x))), pull)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_that_of_the_plain_function(mode: str) -> None:
    def scalar(function: Callable) -> Callable:
        return lambda x, p: jnp.sum(jnp.exp(function(x.ravel()[0], p.ravel(), COUNT)[0]))

    got, wanted = (jax.jit(MODES[mode](scalar(function)))(X, P) for function in (OWN, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), got, wanted)


def test_the_pull_back_is_the_given_one() -> None:
    """A wrong pull-back is a wrong gradient, and leaves forward mode alone."""
    wrong = own_derivatives(jnp.sin, lambda x: (jnp.sin(x), ((x,), None)), lambda kept, bar: (7 * bar,))
    assert jax.grad(wrong)(0.0) == 7
    assert jax.jvp(wrong, (0.0,), (1.0,))[1] == 1
    np.testing.assert_array_equal(jax.grad(lambda x: jax.vmap(wrong)(x).sum())(jnp.zeros(3)), 7)


# On the knots and the ends too, where clipping must not halve a derivative: zeros place knots at 0 and the ends.
PLACES = jnp.array([[-9.0, -2.0, 0.0, 0.3, 2.0, 9.0]])


@pytest.mark.parametrize("at_zero", [True, False])
@pytest.mark.parametrize("spline", [Spline(2, -2, 2), Spline(2, -2, 2, "circular"), Spline(2, -2, 2, "free")])
@pytest.mark.parametrize("function", [rational_quadratic_forward, rational_quadratic_inverse])
def test_splines_push_as_they_pull(function: Callable, spline: Spline, at_zero: bool) -> None:
    shape = (spline.n_params, 1, 6)
    params = jnp.zeros(shape) if at_zero else jnp.asarray(RNG.standard_normal(shape))
    dots = jnp.cos(PLACES), jnp.cos(jnp.arange(params.size, dtype=float)).reshape(params.shape)

    def total(x: Array, p: Array) -> Any:
        return sum(jnp.sum(jnp.sin(out + 0.3)) for out in function(x, p, spline))

    def pulled(x: Array, p: Array) -> Any:
        return jax.jvp(jax.grad(total, (0, 1)), (x, p), dots)

    def pushed(x: Array, p: Array) -> Any:
        return jax.jvp(lambda x, p: jax.jvp(total, (x, p), dots)[1], (x, p), dots)

    for got, bars in zip(jax.jit(pushed)(PLACES, params), jax.jit(pulled)(PLACES, params), strict=True):
        np.testing.assert_allclose(got, sum(jnp.vdot(a, b) for a, b in zip(bars, dots, strict=True)), rtol=1e-10)


ROWS = jnp.asarray(RNG.standard_normal((4, 3)))
INDEX = jnp.array([0, 3, 2])
ORDER = jnp.array([2, 0, 3, 1])


@pytest.mark.parametrize(
    ("own", "same"),
    [
        (lambda a: pick(a, INDEX), lambda a: a[INDEX, jnp.arange(3)]),
        (lambda a: knot(a, INDEX, -1.0), lambda a: jnp.sum(a * (jnp.arange(4)[:, None] < INDEX), 0) - 1),
        (lambda a: bin_sizes(a, 4.0), lambda a: 4 * (1e-3 + (1 - 4e-3) * jax.nn.softmax(a, axis=0))),
        (lambda a: split_rows(a, (1, 3))[1], lambda a: a[1:]),
        (lambda a: permute(a, ORDER, jnp.argsort(ORDER)), lambda a: a[ORDER]),
    ],
    ids=["pick", "knot", "bin_sizes", "split_rows", "permute"],
)
def test_parts_of_splines(own: Callable, same: Callable) -> None:
    def scalar(f: Callable) -> Callable:
        return lambda a: jnp.sum(jnp.sin(f(a)) * f(a))

    np.testing.assert_allclose(jax.jacfwd(own)(ROWS), jax.jacfwd(same)(ROWS), atol=1e-13)
    np.testing.assert_allclose(jax.jacrev(own)(ROWS), jax.jacfwd(same)(ROWS), atol=1e-13)
    np.testing.assert_allclose(jax.hessian(scalar(own))(ROWS), jax.hessian(scalar(same))(ROWS), atol=1e-13)
