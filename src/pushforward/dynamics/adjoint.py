"""Gradients of a solve by the adjoint equation, with those of the weights as an integral of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.dynamics.solvers import AbstractSolver, Gradient, OdeSolution
from pushforward.numerics.derivatives import own_derivatives

# Nodes of the integral over time that gives the gradients of the weights. Against exact gradients of the steps, of a
# network of weights 0.4 and on VP and VE paths, 16 are off by 2e-4 to 4e-4, 24 by 1e-5 to 1e-4, 32 by 4e-7 to 3e-5.
N_NODES = 32
# The cotangent, of size 1, counts as this much of the event in the error that sets the steps back. Networks with a bend
# (ELU) make its equation jump, and steps follow the jumps: of one in 8 dimensions a row took 434 evaluations at 1 and
# 84 at 0.01, and its gradient was off by 6e-4 and 2e-3; of a smooth network neither changes.
SHARE = 0.01

# Velocity and what is integrated along it: time, event, arrays that all rows share, arrays of the row.
Moved = Callable[[Array, Array, Any, Any], tuple[Array, Array]]


def solve_rows(
    solver: AbstractSolver,
    moved: Moved,
    x: Array,
    t0: float,
    t1: float,
    shared: Any,
    own: Any,
    integrals: tuple[int, ...] = (),
) -> OdeSolution:
    r"""Solve $\dot x = v$ and $\dot\ell = q$ for each row, where $q$ is the divergence and whatever else is integrated.

    With the gradient `"adjoint"` the way back solves, for each row, $\dot a = -(\partial_x v)^T a - (\partial_x q)^T b$
    beside the event, where $b$ is the cotangent of $\ell$, and keeps both at the nodes of Gauss and Legendre. The
    gradient of the weights, $\int ((\partial_\theta v)^T a + (\partial_\theta q)^T b)\,dt$, is a sum over these nodes,
    taken of all rows at once: no row carries a gradient of its own of every weight, and memory does not grow with the
    steps.

    Args:
        solver: method, step control, and how to differentiate.
        moved: velocity and integrand.
        x: rows at `t0`, `(n, *shape)`.
        t0: Time at which the solve begins.
        t1: Time at which the solve ends.
        shared: a pytree of arrays.
        own: a pytree of arrays, with rows on the first axis.
        integrals: shape of the integrand; `()` is one number.

    Returns:
        the ends of events and integrals as `OdeSolution.y`, of rows on the first axis.

    Source: Chen, Rubanova, Bettencourt, Duvenaud, 2018, appendix C, arXiv 1806.07366; the integral at Gauss-Legendre
        nodes: Norcliffe, Deisenroth, 2023, arXiv 2308.10644.
    """
    if solver.gradient == "adjoint":
        return _by_adjoint(solver, moved, t0, t1, integrals)(x, shared, own)
    return _rows(solver, moved, x, t0, t1, shared, own, integrals, solver.gradient)


def _rows(
    solver: AbstractSolver,
    moved: Moved,
    x: Array,
    t0: float,
    t1: float,
    shared: Any,
    own: Any,
    integrals: tuple[int, ...],
    gradient: Gradient,
) -> OdeSolution:
    def one(x: Array, own: Any) -> OdeSolution:
        # A list of arrays: diffrax's adjoint stumbles over empty containers.
        leaves, structure = jax.tree.flatten((shared, own))

        def both(t: Array, y: tuple, arguments: list) -> tuple:
            return moved(t, y[0], *jax.tree.unflatten(structure, arguments))

        return solver.solve(both, (x, jnp.zeros(integrals, x.dtype)), t0, t1, leaves, gradient=gradient)

    return jax.vmap(one)(x, own)


def _by_adjoint(
    solver: AbstractSolver, moved: Moved, t0: float, t1: float, integrals: tuple[int, ...]
) -> Callable[[Array, Any, Any], OdeSolution]:
    """The solve as a function of what it is differentiated by. Forward mode pushes tangents through the steps."""

    def value(x: Array, shared: Any, own: Any, gradient: Gradient = "checkpointed") -> OdeSolution:
        return _rows(solver, moved, x, t0, t1, shared, own, integrals, gradient)

    def keep(x: Array, shared: Any, own: Any) -> tuple[OdeSolution, tuple]:
        found: OdeSolution = solve(x, shared, own)  # itself, for derivatives of higher order
        return found, ((x, shared, own), found.y)

    def pull(kept: tuple, bars: OdeSolution) -> tuple:
        differentiated, end = kept
        return _pull_back(differentiated, end, bars.y, solver, moved, t0, t1)

    def push(kept: tuple, tangents: tuple) -> OdeSolution:
        return jax.jvp(functools.partial(value, gradient="direct"), kept[0], tangents)[1]

    solve = own_derivatives(value, keep, pull, push)
    return solve


def _pull_back(
    differentiated: tuple,
    end: tuple[Array, Array],
    bars: tuple[Array, Array],
    solver: AbstractSolver,
    moved: Moved,
    t0: float,
    t1: float,
) -> tuple:
    """The cotangents of the start, of what rows share and of what is their own; None for what has none."""
    (shared, own), rest = eqx.partition(differentiated[1:], eqx.is_inexact_array)
    by_x, by_ell = bars
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    times = t1 + (t0 - t1) * (nodes + 1) / 2  # in the order of the way back
    shares = jnp.asarray((t1 - t0) * weights / 2, by_x.dtype)
    # The equation is linear in the cotangents: brought to size 1, the solver's tolerance means the same for every loss.
    event = tuple(range(1, by_x.ndim))
    size = jnp.sqrt(jnp.mean(by_x**2, axis=event) + jnp.sum(by_ell**2, axis=tuple(range(1, by_ell.ndim))))
    size = jnp.where(size > 0, size, 1)
    # A row whose solve failed starts back from 0, which is quick, and its gradient is NaN.
    failed = jnp.any(jnp.isnan(end[1]), axis=tuple(range(1, by_ell.ndim)))
    start = jnp.where(_wide(failed, by_x), 0, end[0])
    a, b = by_x / _wide(size, by_x), by_ell / _wide(size, by_ell)
    size = jnp.where(failed, jnp.nan, size)

    def parts(t: Array, x: Array, shared: Any, own: Any, rest: Any) -> tuple[Array, Array]:
        return moved(t, x, *eqx.combine((shared, own), rest))

    def back(x: Array, a: Array, b: Array, own: Any, rest: Any) -> OdeSolution:
        leaves, structure = jax.tree.flatten((shared, own, b, rest))

        def both(t: Array, y: tuple, arguments: list) -> tuple:
            shared, own, b, rest = jax.tree.unflatten(structure, arguments)
            x, a = y[0][0], y[0][1] / SHARE
            (velocity, _), pull = jax.vjp(lambda x: parts(t, x, shared, own, rest), x)
            return (jnp.stack([velocity, -SHARE * pull((a, b))[0]]),)

        # One array of both: the steps keep the error of the event and that of its cotangent.
        start = (jnp.stack([x, SHARE * a]),)
        return solver.solve(both, start, t1, t0, leaves, times=times, gradient="checkpointed")

    in_rows = (None, 0)  # what is not differentiated, of all rows and of each
    found = jax.vmap(back, in_axes=(0, 0, 0, 0, in_rows))(start, a, b, own, rest)
    along = jnp.swapaxes(found.along[0], 0, 1)  # (nodes, n, 2, *shape)

    def of_weights(carry: tuple, node: tuple) -> tuple[tuple, None]:
        t, share, y = node

        def rows(shared: Any, own: Any) -> tuple[Array, Array]:
            each = jax.vmap(parts, in_axes=(None, 0, None, 0, in_rows))
            return each(t, y[:, 0], shared, own, rest)

        pull = jax.vjp(rows, shared, own)[1]
        each = pull((share * y[:, 1] * _wide(size / SHARE, by_x), share * b * _wide(size, by_ell)))
        return jax.tree.map(jnp.add, carry, each), None

    zeros = jax.tree.map(jnp.zeros_like, (shared, own))
    by_shared, by_own = jax.lax.scan(of_weights, zeros, (jnp.asarray(times, by_x.dtype), shares, along))[0]
    return found.y[0][:, 1] * _wide(size / SHARE, by_x), by_shared, by_own


def _wide(numbers: Array, rows: Array) -> Array:
    """A number per row, to go with rows on the first axis."""
    return numbers.reshape(-1, *[1] * (rows.ndim - 1))
