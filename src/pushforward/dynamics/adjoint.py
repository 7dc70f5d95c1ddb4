"""Gradients of a solve by the adjoint equation, with the gradients of the weights as a separate integral."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._meshes import scan
from pushforward._types import Array
from pushforward.dynamics.solvers import AbstractSolver, Gradient, OdeSolution
from pushforward.numerics.derivatives import own_derivatives

# Nodes of the integral over time that gives the gradients of the weights. The relative errors against exact gradients
# of the steps (weights of 0.4, and VP and VE paths): 2e-4 to 4e-4 with 16, 1e-5 to 1e-4 with 24, 4e-7 to 3e-5 with 32.
N_NODES = 32
# Weight of the cotangent, scaled to size 1, in the error that sets the steps of the backward solve. Activations with a
# kink (ELU) make its equation jump, and small steps follow the jumps: in 8 dimensions a row took 434 evaluations with 1
# and 84 with 0.01, with gradient errors of 6e-4 and 2e-3. For a smooth network neither changes.
SHARE = 0.01

# From time, event, arrays that all rows share and arrays of the row to the velocity and the integrand along it.
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

    With the gradient `"adjoint"` the backward pass solves $\dot a = -(\partial_x v)^T a - (\partial_x q)^T b$ for each
    row together with the event, where $b$ is the cotangent of $\ell$, and keeps both at Gauss-Legendre nodes. The
    gradient of the weights, $\int ((\partial_\theta v)^T a + (\partial_\theta q)^T b)\,dt$, is a sum over these nodes
    for all rows at once: no row needs its own gradient of every weight, and memory does not grow with the steps.

    Args:
        solver: Method, step control, and kind of gradient.
        moved: Function that gives velocity and integrand.
        x: Rows at `t0`, `(n, *shape)`.
        t0: Time at which the solve begins.
        t1: Time at which the solve ends.
        shared: Pytree of arrays that all rows share.
        own: Pytree of arrays with rows on the first axis.
        integrals: Shape of the integrand; `()` is one number.

    Returns:
        The final events and integrals as `OdeSolution.y`, with rows on the first axis.

    Source: Chen, Rubanova, Bettencourt, Duvenaud, 2018, appendix C, arXiv 1806.07366; Norcliffe, Deisenroth,
        2023, arXiv 2308.10644 (integral at Gauss-Legendre nodes).
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
        # Arguments are a list of arrays, because diffrax's adjoint fails on empty containers.
        leaves, structure = jax.tree.flatten((shared, own))

        def both(t: Array, y: tuple, arguments: list) -> tuple:
            return moved(t, y[0], *jax.tree.unflatten(structure, arguments))

        return solver.solve(both, (x, jnp.zeros(integrals, x.dtype)), t0, t1, leaves, gradient=gradient)

    return jax.vmap(one)(x, own)


def _by_adjoint(
    solver: AbstractSolver, moved: Moved, t0: float, t1: float, integrals: tuple[int, ...]
) -> Callable[[Array, Any, Any], OdeSolution]:
    """The solve as a function of its differentiable arguments; forward mode pushes tangents through the steps."""

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
    """The cotangents of the start, of shared arrays and of the rows' own arrays; None where there is none."""
    (shared, own), rest = eqx.partition(differentiated[1:], eqx.is_inexact_array)
    by_x, by_ell = bars
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    times = t1 + (t0 - t1) * (nodes + 1) / 2  # in the order of the backward solve
    shares = jnp.asarray((t1 - t0) * weights / 2, by_x.dtype)
    # The equation is linear in the cotangents, which are scaled to size 1: the tolerance then means the same for every
    # loss.
    event = tuple(range(1, by_x.ndim))
    size = jnp.sqrt(jnp.mean(by_x**2, axis=event) + jnp.sum(by_ell**2, axis=tuple(range(1, by_ell.ndim))))
    size = jnp.where(size > 0, size, 1)
    # A row whose solve failed is solved back from 0, which is quick, and its gradient is NaN.
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

        # Event and cotangent form one array, so that the steps control the errors of both.
        start = (jnp.stack([x, SHARE * a]),)
        return solver.solve(both, start, t1, t0, leaves, times=times, gradient="checkpointed")

    in_rows = (None, 0)  # axes of the rest: shared by all rows, and one per row
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
    by_shared, by_own = scan(of_weights, zeros, (jnp.asarray(times, by_x.dtype), shares, along))[0]
    return found.y[0][:, 1] * _wide(size / SHARE, by_x), by_shared, by_own


def _wide(numbers: Array, rows: Array) -> Array:
    """One number per row, shaped to broadcast with rows on the first axis."""
    return numbers.reshape(-1, *[1] * (rows.ndim - 1))
