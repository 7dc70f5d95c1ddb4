"""Functions of one number whose derivative has a formula of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from pushforward._types import Array

Function = Callable[[Array, Any], Array]


def known_slope(value: Function, slope: Function) -> Function:
    r"""`value` with $\partial/\partial x$ given by `slope`, and all other derivatives by JAX.

    For an antiderivative: the integrand is its derivative exactly, and positive where that is visible, while the
    derivative of a long sum is it up to rounding alone, and may be negative. It is cheaper, too.

    Args:
        value: `(x, params) -> y`, elementwise in `x`.
        slope: `(x, params) -> dy/dx`; must be the derivative of `value`, which the tests of its users prove.

    Returns:
        The function, differentiable in both modes, of any order.
    """

    @jax.custom_jvp
    def function(x: Array, params: Any) -> Array:
        return value(x, params)

    @function.defjvp
    def push_forward(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        (x, params), (x_dot, params_dot) = primals, tangents
        y, by_params = jax.jvp(lambda p: value(x, p), (params,), (params_dot,))
        return y, slope(x, params) * x_dot + by_params

    return function
