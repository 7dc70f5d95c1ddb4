r"""The increasing map $t \mapsto t + c\,h(t)$ of planar and Sylvester layers, and its inverse.

A layer $y = x + u\,h(w \cdot x + b)$ moves points along `u` alone. With $t = w \cdot x + b$ and $c = u \cdot w$ its
nonlinear part is this map of one number, whose slope is the determinant. It increases if $c > -1$, as $h' \le 1$.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, Cost
from pushforward.numerics.root import solve_increasing

# Slope of the leaky rectifier below 0: small enough for a bend, large enough that its reciprocal is harmless.
LEAK = 0.1


class Slope(NamedTuple):
    """A number $c$ kept above -1.

    Attributes:
        shrink: The factor from the free number to the constrained one, in (0, 1].
        value: The number $c > -1$.
        excess: The number $1 + c$, with all its digits where `c` is near -1.
    """

    shrink: Array
    value: Array
    excess: Array


def above_minus_one(free: Array) -> Slope:
    r"""The number $c = a / (1 + \log(1 + e^{-a}))$, smooth and increasing from -1 to infinity, with $c(0) = 0$.

    The constraint of Rezende and Mohamed, $c = -1 + \log(1 + e^a)$, adds a multiple of $w / |w|^2$ to `u`, which is
    singular at $w = 0$. The constraint used here multiplies `u` by the factor $c / a$. As
    $\log(1 + e^{-a}) + a = \log(1 + e^a)$, also $1 + c$ is a quotient without cancellation.
    """
    shrink = 1 / (1 + jax.nn.softplus(-free))
    return Slope(shrink, free * shrink, (1 + jax.nn.softplus(free)) * shrink)


def free_of(value: Array) -> Array:
    """The number that `above_minus_one` takes to `value`, which is above -1."""

    def function(free: Array) -> tuple[Array, Array]:
        shrink = 1 / (1 + jax.nn.softplus(-free))
        return free * shrink, jnp.log(shrink + free * shrink**2 * jax.nn.sigmoid(-free))

    return solve_increasing(function, value, value).x


class Ridge(NamedTuple):
    r"""A function $h$ with $0 < h' <= 1$, and the functions of it that a layer needs.

    Attributes:
        value: The function $h(t)$.
        log_slope: The function $\log(1 + c h'(t))$ of `t` and a `Slope`.
        solve: The function of `y` and a `Slope` that gives the `t` with $t + c h(t) = y$.
        cost: Cost of `solve`, as in `Traits`.
    """

    value: Callable[[Array], Array]
    log_slope: Callable[[Array, Slope], Array]
    solve: Callable[[Array, Slope], Array]
    cost: Cost


def _tanh_log_slope(t: Array, slope: Slope) -> Array:
    # This is 1 - tanh^2 without cancellation; for c < 0 the sum has positive terms only.
    decay = jnp.exp(-2 * jnp.abs(t))
    derivative = 4 * decay / (1 + decay) ** 2
    square = jnp.tanh(t) ** 2
    return jnp.log(
        jnp.where(slope.value < 0, slope.excess - slope.value * square, 1 + jnp.abs(slope.value) * derivative)
    )


def _tanh_solve(y: Array, slope: Slope) -> Array:
    def function(t: Array) -> tuple[Array, Array]:
        return t + slope.value * jnp.tanh(t), _tanh_log_slope(t, slope)

    return solve_increasing(function, y, y - slope.value * jnp.tanh(y)).x


def _leaky(t: Array) -> Array:
    return jnp.where(t < 0, LEAK * t, t)


def _leaky_log_slope(t: Array, slope: Slope) -> Array:
    return jnp.log(jnp.where(t < 0, (1 - LEAK) + LEAK * slope.excess, slope.excess))


def _leaky_solve(y: Array, slope: Slope) -> Array:
    return y / jnp.where(y < 0, (1 - LEAK) + LEAK * slope.excess, slope.excess)


RIDGES: dict[str, Ridge] = {
    "tanh": Ridge(jnp.tanh, _tanh_log_slope, _tanh_solve, "iterative"),
    "leaky_relu": Ridge(_leaky, _leaky_log_slope, _leaky_solve, "parallel"),
}


def ridge_of(name: str, kind: str) -> Ridge:
    """The function of that name.

    Args:
        name: Name of the caller, for error messages.
        kind: `"tanh"` or `"leaky_relu"`.

    Raises:
        ValueError: the name is unknown.
    """
    if kind not in RIDGES:
        raise ValueError(message(name, f"ridge to be one of {', '.join(RIDGES)}", repr(kind), "Choose one of them."))
    return RIDGES[kind]
