"""The one root finder: where an increasing function of one number takes a value, elementwise, with exact gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._meshes import while_loop
from pushforward._types import Array
from pushforward.numerics.bounded import zero_moving_as

# How much wider each bracket is than the one before: few steps to the end of the floats, few bisections within it.
GROWTH = 4.0
# Bisection alone needs as many steps as there are floats between the ends of a bracket, in bits; Newton a handful.
MAX_STEPS = 200
# In units of the last place: how short a step ends the search.
LAST_STEP = 4.0
# Newton's steps shorter than this power of the rounding unit, beside the root or the first bracket, square their error:
# where one of them does not even halve the residual, what is left is the rounding of the function.
SHORT = 2 / 3

Increasing = Callable[[Array], tuple[Array, Array]]


class Root(NamedTuple):
    """What a search found.

    Attributes:
        x: the roots; NaN where there is none.
        residual: `f(x) - y` at the end of the search, before its last Newton step.
        converged: where the bracket holds a root, and the search ended before its steps did.
        steps: how many steps the slowest element took, brackets included.
    """

    x: Array
    residual: Array
    converged: Array
    steps: Array


class _State(NamedTuple):
    low: Array
    high: Array
    x: Array
    value: Array
    slope: Array
    last: Array
    newton: Array
    done: Array
    step: Array


def solve_increasing(function: Increasing, y: Array, guess: Array | float = 0.0, *, width: float = 2.0) -> Root:
    r"""$x$ with $f(x) = y$, for $f$ strictly increasing, elementwise.

    A bracket around the guess grows until it holds the root; then Newton's steps, replaced by bisection wherever they
    leave the bracket or do not halve the step before last. The search of an element ends when its steps are of the
    size of rounding, of the root or of the function. An element that is done rests, so that no element depends on
    another. By the implicit function theorem the root has the gradients $\partial x/\partial y = 1/f'$ and
    $\partial x/\partial\theta = -(\partial f/\partial\theta)/f'$, in every mode of differentiation and of every order,
    where $\theta$ is whatever `function` closes over.

    Args:
        function: gives $f(x)$ and $\log f'(x)$, both of the shape of `x`.
        y: any shape.
        guess: where to look first, broadcast to the shape of `y`.
        width: half the width of the first bracket.

    Returns:
        The roots. A `y` that is not finite, or that `function` takes nowhere, gives NaN and is not `converged`.

    Cost: some six to ten evaluations of `function` for smooth functions, of all elements until the slowest is done.

    Source: the safeguarded Newton method is textbook (Dekker, 1969; Press et al., 2007, section 9.4).

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.numerics.root import solve_increasing
        >>> found = solve_increasing(lambda x: (x + x**3, jnp.log1p(3 * x**2)), jnp.array([2.0, -10.0]))
        >>> found.x.round(4).tolist(), found.converged.all().item()
        ([1.0, -2.0], True)
    """
    y = jnp.asarray(y)
    start = jnp.broadcast_to(jax.lax.stop_gradient(jnp.asarray(guess, y.dtype)), y.shape)
    pure, parameters = jax.closure_convert(function, y)
    return _root(pure, width, y, start, tuple(parameters))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _root(function: Callable, width: float, y: Array, start: Array, parameters: tuple) -> Root:
    # Where JAX linearises a scan it drops the rule below from what it differentiates once more. So the root is written
    # with derivatives that are right to first order without the rule, too: the search is no part of them.
    still_y, start, still = jax.lax.stop_gradient((y, start, parameters))

    def run(x: Array) -> tuple[Array, Array]:
        value, log_slope = function(x, *still)
        return value, jnp.exp(log_slope)

    x, residual, slope, converged, steps = _search(run, still_y, start, width)
    # The search ended within rounding: a longer step would be noise (a flat piece, an overflow).
    tiny = jnp.finfo(y.dtype).tiny
    step = residual / jnp.maximum(slope, tiny)
    far = jnp.abs(step) > LAST_STEP * jnp.finfo(y.dtype).eps * (1 + jnp.abs(x))
    x = jnp.where(converged, jnp.where(far, x, x - step), jnp.nan)
    value, log_slope = function(x, *parameters)
    newton = (value - y) / jax.lax.stop_gradient(jnp.maximum(jnp.exp(log_slope), tiny))
    return Root(x - zero_moving_as(newton), residual, converged, steps)


@_root.defjvp
def _root_jvp(function: Callable, width: float, primals: tuple, tangents: tuple) -> tuple[Root, Root]:
    """The implicit function theorem at the root, which is itself differentiated again for higher orders."""
    found: Root = _root(function, width, *primals)
    parameters, (y_dot, _, parameters_dot) = primals[2], tangents

    def with_slope(parameters: tuple) -> tuple[Array, Array]:
        value, log_slope = function(found.x, *parameters)
        # A slope of 0 must not give 0 / 0.
        return value, jnp.maximum(jnp.exp(log_slope), jnp.finfo(value.dtype).tiny)

    _, value_dot, slope = jax.jvp(with_slope, (parameters,), (parameters_dot,), has_aux=True)
    still = [np.zeros(jnp.shape(a), jax.dtypes.float0) for a in (found.converged, found.steps)]
    return found, Root((y_dot - value_dot) / slope, jnp.zeros_like(found.residual), *still)  # pyright: ignore[reportArgumentType]


def _search(function: Increasing, y: Array, start: Array, width: float) -> tuple[Array, Array, Array, Array, Array]:
    low, high, bracketed, expansions = _bracket(function, y, start, width)
    eps = jnp.finfo(y.dtype).eps
    x = jnp.where((low <= start) & (start <= high), start, _middle(low, high))
    value, slope = function(x)
    state = _State(low, high, x, value - y, slope, high - low, ~bracketed, ~bracketed | (value == y), jnp.asarray(0))

    def go_on(state: _State) -> Array:
        return ~jnp.all(state.done) & (state.step < MAX_STEPS)

    def step(state: _State) -> _State:
        low = jnp.where(state.value < 0, state.x, state.low)
        high = jnp.where(state.value > 0, state.x, state.high)
        newton = state.x - state.value / state.slope
        inside = (low <= newton) & (newton <= high) & (2 * jnp.abs(state.value) <= jnp.abs(state.last * state.slope))
        short = jnp.abs(state.last) <= eps**SHORT * jnp.maximum(jnp.abs(state.x), width)
        rounding = state.newton & short & ~inside
        x = jnp.where(rounding, state.x, jnp.where(inside, newton, _middle(low, high)))
        moved = x - state.x
        value, slope = function(x)
        # Relative to x, but for roots at 0, which bisection would never reach.
        ended = (value == y) | (jnp.abs(moved) <= LAST_STEP * eps * jnp.maximum(jnp.abs(x), eps))
        new = _State(low, high, x, value - y, slope, moved, inside, state.done | ended, state.step + 1)
        kept = jax.tree.map(lambda old, now: jnp.where(state.done, old, now), state, new)
        return kept._replace(done=new.done, step=new.step)

    state = while_loop(go_on, step, state)
    return state.x, state.value, state.slope, bracketed & state.done, expansions + state.step


def _middle(low: Array, high: Array) -> Array:
    return low + 0.5 * (high - low)


def _bracket(function: Increasing, y: Array, start: Array, width: float) -> tuple[Array, Array, Array, Array]:
    """Ends with `f(low) <= y <= f(high)`, where there are such, found outwards from the start."""
    most = math.ceil(math.log(float(np.finfo(y.dtype).max), GROWTH)) + 2
    limit = jnp.finfo(y.dtype).max / 4
    below = function(start)[0] < y
    sign = jnp.where(below, 1.0, -1.0).astype(y.dtype)

    def go_on(carry: tuple) -> Array:
        _, _, _, found, step = carry
        return ~jnp.all(found) & (step < most)

    def expand(carry: tuple) -> tuple:
        near, far, size, found, step = carry
        value = function(far)[0]
        now = jnp.where(below, value >= y, value <= y)
        held = found | now
        further = jnp.clip(far + sign * size * GROWTH, -limit, limit)
        return jnp.where(held, near, far), jnp.where(held, far, further), size * GROWTH, held, step + 1

    # What is not finite has no bracket, and must not keep the others waiting.
    hopeless = ~jnp.isfinite(y)
    size = jnp.asarray(width, y.dtype)
    near, far, _, found, steps = while_loop(go_on, expand, (start, start + sign * size, size, hopeless, jnp.asarray(0)))
    return jnp.minimum(near, far), jnp.maximum(near, far), found & ~hopeless, steps
