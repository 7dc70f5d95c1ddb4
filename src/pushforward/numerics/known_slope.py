"""Functions of one number whose derivative has a formula of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from pushforward._types import Array

Function = Callable[[Array, Any], Array]


def known_slope(value: Function, slope: Function) -> Function:
    r"""The function `value` with $\partial/\partial x$ given by `slope`, and all other derivatives by JAX.

    This suits an antiderivative, whose derivative is exactly the integrand. The derivative of a long sum equals the
    integrand only up to rounding, may be negative where the integrand is positive, and costs more.

    Args:
        value: Function `(x, params) -> y`, elementwise in `x`.
        slope: Function `(x, params) -> dy/dx`, which must be the derivative of `value`.

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
