"""The inverse of an autoregression by iterations over blocks of steps in parallel, with exact gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._meshes import scan, while_loop
from pushforward._types import Array, is_array
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_of_rows
from pushforward.nets.base import AbstractConditioner


class SolvedSteps(NamedTuple):
    """The inverse of rows on the last axis, with what it took.

    Attributes:
        x: Events, rows on the last axis, `(*event, n)`.
        log_det: Log-determinants of the inverse at `x`, `(n,)`, in nats.
        residual: Largest $|x - f(x)|$ of each row, `(n,)`, where $f$ inverts every step given all of `x`.
        sweeps: Number of sweeps that each block of steps took in each row, `(n_blocks, n)`.
        checks: Number of passes over all steps in which the residual of each row was measured, `(n,)`.
    """

    x: Array
    log_det: Array
    residual: Array
    sweeps: Array
    checks: Array


class GaussSeidelJacobi(eqx.Module):
    r"""Solve $x_i = m^{-1}(y_i; \theta_i(x_{<i}))$ by sweeps $x \leftarrow f(x)$ over a block of steps at once.

    Blocks come one after the other (Gauss-Seidel), and the steps within a block in parallel (Jacobi), from $x = y$.
    A block is done when no number of a row changes by more than the tolerance, relative to 1 and the row's largest
    number; done rows rest, so that no row depends on others. After $k$ sweeps the first $k$ steps of a block are
    exact: a block takes at most as many sweeps as it is long, and gives then what step after step gives.

    At last a pass over all steps measures the residual $|x - f(x)|$ of what is returned, and passes go on, as many as
    there are steps at most, until it is within the tolerance too: the changes of the last sweeps do not say so, because
    a block that is done hands its rest on to those after it. `inversion_report` returns the residual. The
    log-determinant belongs to the $x$ that is returned. Derivatives are implicit, of every order and mode: the linear
    equations are triangular, and the same iteration solves them.

    Args:
        tolerance: Largest change of a sweep at which a block is done, and largest residual, above 0. It is never less
            than 64 units in the last place, 7.6e-6 in float32 and 1.4e-14 in float64.
        block: Number of steps in a block.

    Cost: from one to `block` sweeps for each block, and one pass or more. A sweep of a conditioner with a cache, such
        as `CausalTransformer`, costs its steps alone; of another one, such as `MADE`, a pass.

    Raises:
        ValueError: The tolerance or the block is out of bounds.

    Source: Song, Meng, Liao, Ermon, 2021, arXiv 2002.03629; Liu, Qin, 2025, arXiv 2505.12849 (TarFlow).

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> net = pf.MADE(jax.random.key(0), 6, 2, width=8)
        >>> layer = pf.Autoregressive(net, pf.AffineMap(), pf.bijections.GaussSeidelJacobi(block=3))
        >>> y = layer.forward(jnp.arange(6.0))
        >>> layer.inverse(y).round(3).tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    tolerance: float = eqx.field(static=True)
    block: int = eqx.field(static=True)

    def __init__(self, tolerance: float = 1e-6, block: int = 16):
        if not 0 < tolerance < float("inf"):
            raise ValueError(message("GaussSeidelJacobi", "tolerance > 0", repr(tolerance), "The usual one is 1e-6."))
        self.tolerance, self.block = float(tolerance), check_int("GaussSeidelJacobi", "block", block, 1)

    def solve(
        self, conditioner: AbstractConditioner, scalar_map: AbstractScalarMap, y: Array, condition: Array | None
    ) -> SolvedSteps:
        """The inverse of rows.

        Args:
            conditioner: Network that gives the parameters.
            scalar_map: The map of each number.
            y: Images, rows on the last axis, `(*event, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`, or None.
        """
        arrays, static = eqx.partition((conditioner, scalar_map, condition), is_array)
        inexact = [leaf.dtype for leaf in jax.tree.leaves(arrays) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        dtype = jnp.result_type(y, *inexact)
        arrays, y = in_dtype(arrays, dtype), y.astype(dtype)
        x, residual, sweeps, checks = _solve(lambda arrays: eqx.combine(arrays, static), self, y, arrays)
        net, mapped, given = eqx.combine(arrays, static)
        log_slopes = mapped.forward_and_log_det(x, net(x, given))[1]
        return SolvedSteps(x, -jnp.sum(log_slopes, axis=tuple(range(y.ndim - 1))), residual, sweeps, checks)


def in_dtype(tree: Any, dtype: Any) -> Any:
    """The tree with every inexact array in a type, because a loop must end with the types it started with."""
    return jax.tree.map(lambda a: jnp.asarray(a, dtype) if jnp.issubdtype(a.dtype, jnp.inexact) else a, tree)


# Rounding error of a sweep, in units of the last place, below which no tolerance is asked for.
ROUNDING = 64.0
Parts = tuple[AbstractConditioner, AbstractScalarMap, Array | None]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _solve(
    combined: Callable[[Any], Parts], settings: GaussSeidelJacobi, y: Array, arrays: Any
) -> tuple[Array, Array, Array, Array]:
    """The solution `(n_steps, *token_shape, n)`, and residual, sweeps and checks as in `SolvedSteps`."""
    conditioner, scalar_map, condition = combined(arrays)
    tolerance = max(settings.tolerance, ROUNDING * float(jnp.finfo(y.dtype).eps))
    rows = y.shape[-1:]
    n_steps, axes = y.shape[0], tuple(range(y.ndim - 1))
    size = min(settings.block, n_steps)
    starts = jnp.minimum(jnp.arange(-(-n_steps // size)) * size, n_steps - size)

    def largest(values: Array) -> Array:
        return jnp.max(jnp.abs(values), axis=axes)

    def one_block(carry: tuple[Any, Array], start: Array) -> tuple[tuple[Any, Array], Array]:
        state, x = carry
        target = jax.lax.dynamic_slice_in_dim(y, start, size)
        guess = jax.lax.dynamic_slice_in_dim(x, start, size)
        before = jax.lax.dynamic_slice_in_dim(x, jnp.maximum(start - 1, 0), 1)

        def go_on(loop: tuple) -> Array:
            return (loop[0] < size) & ~jnp.all(loop[4])

        def sweep(loop: tuple) -> tuple:
            step, state, at, image, done, count = loop
            # The point of a done row stays, so that the caches that it leaves do not depend on the other rows.
            at = jnp.where(done, at, image)
            params, state = conditioner.step_block(state, start, jnp.concatenate([before, at[:-1]]))
            image = inverse_of_rows(scalar_map, target, params)[0].astype(x.dtype)
            change = largest(image - at)
            good = change <= tolerance * jnp.maximum(largest(image), 1)
            return step + 1, state, at, image, done | good | ~jnp.isfinite(change), count + ~done

        loop = (jnp.asarray(0), state, guess, guess, jnp.zeros(rows, bool), jnp.zeros(rows, int))
        _, state, _, found, _, count = while_loop(go_on, sweep, loop)
        return (state, jax.lax.dynamic_update_slice_in_dim(x, found, start, 0)), count

    state = in_dtype(conditioner.init_block(y.shape[-1:], condition), y.dtype)
    (_, x), sweeps = scan(one_block, (state, y), starts)

    def not_done(loop: tuple) -> Array:
        return (loop[0] < n_steps) & ~jnp.all(loop[3])

    def check(loop: tuple) -> tuple:
        step, at, image, done, _, count = loop
        at = jnp.where(done, at, image)
        image = inverse_of_rows(scalar_map, y, conditioner(at, condition))[0].astype(x.dtype)
        residual = largest(image - at)
        good = residual <= tolerance * jnp.maximum(largest(at), 1)
        return step + 1, at, image, done | good | ~jnp.isfinite(residual), residual, count + ~done

    loop = (jnp.asarray(0), x, x, jnp.zeros(rows, bool), jnp.zeros(rows, x.dtype), jnp.zeros(rows, int))
    _, x, _, _, residual, checks = while_loop(not_done, check, loop)
    return x, residual, sweeps, checks


@_solve.defjvp
def _solve_jvp(
    combined: Callable[[Any], Parts], settings: GaussSeidelJacobi, primals: tuple, tangents: tuple
) -> tuple[tuple, tuple]:
    """The tangents of the solution by the implicit function theorem, differentiable again for higher orders."""
    (y, arrays), (y_dot, arrays_dot) = primals, tangents
    found = _solve(combined, settings, y, arrays)
    x, residual, sweeps, checks = found

    def image(x: Array, arrays: Any) -> tuple[Array, Array]:
        conditioner, scalar_map, condition = combined(arrays)
        return scalar_map.forward_and_log_det(x, conditioner(x, condition))

    _, (from_arrays, _) = jax.jvp(lambda arrays: image(x, arrays), (arrays,), (arrays_dot,))
    _, along, log_slopes = jax.linearize(lambda x: image(x, arrays), x, has_aux=True)
    inverse_slopes = jax.lax.stop_gradient(jnp.exp(-log_slopes))

    def solve(times: Callable[[Array], Array], right: Array) -> Array:
        """Solve triangular equations by as many sweeps as there are steps, or fewer where nothing changes."""

        def go_on(loop: tuple[Array, Array, Array]) -> Array:
            return (loop[0] < y.shape[0]) & loop[2]

        def sweep(loop: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            step, u, _ = loop
            new = u + inverse_slopes * (right - times(u))
            return step + 1, new, jnp.any(new != u)

        start = (jnp.asarray(0), inverse_slopes * right, jnp.asarray(True))
        return while_loop(go_on, sweep, start)[1]

    x_dot = jax.lax.custom_linear_solve(along, y_dot - from_arrays, solve, solve)
    still = [np.zeros(a.shape, jax.dtypes.float0) for a in (sweeps, checks)]
    return found, (x_dot, jnp.zeros_like(residual), *still)
