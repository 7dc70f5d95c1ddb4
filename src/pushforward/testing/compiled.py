"""The two compiled evaluations that all laws share, each over every parameter draw and every input at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, combine
from pushforward._vectorize import rows_last
from pushforward.bijections.base import AbstractBijection, run_batch

# Inputs, conditions or None, keys or None.
Rows = tuple[Array, Array | None, PRNGKeyArray | None]


def pair(bijection: AbstractBijection, direction: str) -> Callable[..., tuple[Array, Array]]:
    """The method that gives value and log-determinant in that direction."""
    return bijection.forward_and_log_det if direction == "forward" else bijection.inverse_and_log_det


def value(bijection: AbstractBijection, direction: str) -> Callable[..., Array]:
    """The method that gives the value alone in that direction."""
    return bijection.forward if direction == "forward" else bijection.inverse


def opposite(direction: str) -> str:
    """The other direction."""
    return "inverse" if direction == "forward" else "forward"


def run_rows(
    bijection: AbstractBijection, direction: str, x: Array, conditions: Array | None, keys: PRNGKeyArray | None
) -> tuple[Array, Array]:
    """Values and log-determinants of rows `(n, *event)`, through the batching that distributions use."""

    def run(x: Array, conditions: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return run_batch(bijection, x, conditions, keys, direction == "forward")

    batches = tuple(() if a is None else (len(x),) for a in (x, conditions, keys))
    return rows_last(run, batches, x, conditions, keys)


def over_draws(function: Callable[[Any], Any], params: Any) -> Any:
    """`function` of each of the stacked parameter draws, which are one if nothing is trainable."""
    if not jax.tree.leaves(params):
        return jax.tree.map(lambda leaf: leaf[None], function(params))
    return jax.vmap(function)(params)


def order(n: int) -> np.ndarray:
    """Another order of the rows."""
    return np.random.default_rng(0).permutation(n)


@eqx.filter_jit
def journeys(
    params: Any, rest: Any, x: Array, y: Array, conditions: Array | None, keys: PRNGKeyArray | None
) -> dict[str, dict[str, Array]]:
    """There, back, and there again, from `x` and from `y`; there in another order, and beside a row of NaN.

    Each direction is compiled once: in a loop of rounds `a = inverse(b), b = forward(a)` over the rows of `x` and `y`
    together, where the rows of `x` join after the inverse.

    Args:
        params: Stacked draws of the trainable leaves.
        rest: The other leaves.
        x: Inputs `(n, *in_shape)`.
        y: Outputs `(m, *out_shape)`.
        conditions: Conditions `(n + m, *cond_shape)`, or None.
        keys: JAX keys `(n + m,)`, or None.

    Returns:
        For each direction: `image` and `log_det`; `back`, `again` and their log-determinants if there is a way back;
        and the image of the rows in another order, put back into the first (`shuffled`), and beside a first row of NaN
        (`beside_nan`).
    """
    n, total = len(x), len(x) + len(y)
    others = order(total)
    first = jnp.zeros((total, *x.shape[1:]), x.dtype).at[:n].set(x)
    last = jnp.zeros((total, *y.shape[1:]), y.dtype).at[n:].set(y)

    def travel(own: Any) -> dict[str, dict[str, Array]]:
        bijection = combine(own, rest)
        costs = bijection.traits
        if "absent" in (costs.forward, costs.inverse):
            direction = "inverse" if costs.forward == "absent" else "forward"
            rows = slice(None, n) if direction == "forward" else slice(n, None)
            return {direction: _one_way(bijection, direction, x if direction == "forward" else y, rows)}

        def around(b: Array, given: tuple) -> tuple[Array, tuple]:
            fresh, start, joining, middle, conditions, keys = given
            b = jnp.where(fresh, start, b)
            a, inverse_log_det = run_rows(bijection, "inverse", b, conditions, keys)
            a = jnp.where(joining.reshape((-1,) + (1,) * (x.ndim - 1)), middle, a).astype(x.dtype)
            b, forward_log_det = run_rows(bijection, "forward", a, conditions, keys)
            return b.astype(y.dtype), (a, inverse_log_det, b, forward_log_det)

        from_x = jnp.arange(total) < n
        given = (
            jnp.array([True, False, True, True]),
            jnp.stack([last, last, last[others], last.at[n].set(jnp.nan)]),
            jnp.stack([from_x, from_x & False, from_x[others], from_x]),
            jnp.stack([first, first, first[others], first.at[0].set(jnp.nan)]),
            None if conditions is None else jnp.stack([conditions, conditions, conditions[others], conditions]),
            None if keys is None else jnp.stack([keys, keys, keys[others], keys]),
        )
        _, (a, inverse_log_det, b, forward_log_det) = jax.lax.scan(around, last, given)
        inverse = [(a[i], inverse_log_det[i]) for i in range(len(a))]
        forward = [(b[i], forward_log_det[i]) for i in range(len(b))]
        home = np.argsort(others)
        names = ("image", "back", "again", "shuffled", "beside_nan")
        ways = {
            "forward": (forward[0], inverse[1], forward[1], [part[home] for part in forward[2]], forward[3]),
            "inverse": (inverse[0], forward[0], inverse[1], [part[home] for part in inverse[2]], inverse[3]),
        }
        rows = {"forward": slice(None, n), "inverse": slice(n, None)}
        return {
            direction: {
                label: part[rows[direction]]
                for name, parts in zip(names, ways[direction], strict=True)
                for label, part in zip((name, "log_det" if name == "image" else f"{name}_log_det"), parts, strict=True)
            }
            for direction in ways
        }

    def _one_way(bijection: AbstractBijection, direction: str, events: Array, rows: slice) -> dict[str, Array]:
        own = [None if a is None else a[rows] for a in (conditions, keys)]
        others = order(len(events))
        spoilt = events.at[0].set(jnp.nan)
        given = [jnp.stack([events, events[others], spoilt])]
        given += [None if a is None else jnp.stack([a, a[others], a]) for a in own]
        image, log_det = jax.lax.map(lambda rows: run_rows(bijection, direction, *rows), tuple(given))
        home = np.argsort(others)
        return {
            "image": image[0],
            "log_det": log_det[0],
            "shuffled": image[1][home],
            "shuffled_log_det": log_det[1][home],
            "beside_nan": image[2],
            "beside_nan_log_det": log_det[2],
        }

    return over_draws(travel, params)


@eqx.filter_jit
def derivatives(
    params: Any, rest: Any, inputs: Mapping[str, Rows], other_key: PRNGKeyArray, forward_mode: bool, separate: bool
) -> dict[str, dict[str, Array]]:
    """Derivatives, and the values that the methods for one event give.

    One pull-back per output gives the Jacobians by reverse mode; one more, of a weighted sum of the outputs plus the
    log-determinant, the gradient of every leaf. With `forward_mode` all of that is differentiated once more by forward
    mode, which gives the Jacobians again and all second derivatives.

    Args:
        params: Stacked draws of the trainable leaves.
        rest: The other leaves.
        inputs: The rows of each direction.
        other_key: A key that is not needed.
        forward_mode: Whether to differentiate by forward mode, too.
        separate: Whether to evaluate also without differentiating.

    Returns:
        For each direction:
        `jacobian`, `log_det_gradient`, `condition_jacobian` if conditional; `finite` and `nonzero` by draw, input and
        leaf (`finite` has the input as last leaf); `image`, `log_det`; with `forward_mode` the same by forward mode as
        `jacobian_forward`, `log_det_gradient_forward`, and `second`, the derivatives of the rows of `jacobian` and of
        `log_det_gradient`; with `separate` the `value` alone, `keyed_*` with a key that is not needed and `junk_*` with
        a condition that is not needed.
    """

    def one(direction: str, own: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None) -> dict[str, Array]:
        @jax.jit  # traced once, however often it is called below
        def there(own: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None) -> tuple[Array, Array]:
            return pair(combine(own, rest), direction)(x, condition, key=key)

        def run(own: Any, x: Array, condition: Array | None) -> tuple[Array, Array]:
            image, log_det = there(own, x, condition, key)
            return image.reshape(-1), log_det

        def pulled(x: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
            (flat, log_det), pull = jax.vjp(run, own, x, condition)
            size = flat.size
            # Rows 0 to size - 1 give the Jacobian, row `size` the gradient of the log-det, and the last that of both
            # together: any weights do, but equal ones could cancel between outputs.
            weights = jnp.stack([jnp.zeros(size), jnp.linspace(0.5, 1.5, size)]).astype(flat.dtype)
            of_image = jnp.concatenate([jnp.eye(size, dtype=flat.dtype), weights])
            of_log_det = (jnp.arange(size + 2) >= size).astype(log_det.dtype)
            by_own, by_x, by_condition = jax.vmap(pull)((of_image, of_log_det))
            gradients = [leaf[-1] for leaf in jax.tree.leaves(by_own)]
            nonzero = [jnp.any((leaf != 0) & jnp.isfinite(leaf)) for leaf in gradients]
            out = {
                "image": flat,
                "log_det": log_det,
                "jacobian": by_x[:size].reshape(size, x.size),
                "log_det_gradient": by_x[size].reshape(x.size),
                "finite": jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in [*gradients, by_x[-1]]]),
                "nonzero": jnp.stack(nonzero) if nonzero else jnp.zeros((0,), bool),
            }
            if condition is not None:
                out["condition_jacobian"] = by_condition[:size].reshape(size, condition.size)
            # Forward mode by itself: of the function, and not of what a pull-back keeps of it.
            flat, log_det = run(own, x, condition) if forward_mode else (flat, log_det)
            return (flat, log_det, by_x[: size + 1].reshape(size + 1, x.size)), out

        if forward_mode:
            (jacobian, gradient, second), out = jax.jacfwd(pulled, has_aux=True)(x)
            out["jacobian_forward"] = jacobian.reshape(-1, x.size)
            out["log_det_gradient_forward"] = gradient.reshape(x.size)
            out["second"] = second.reshape(-1, x.size, x.size)
        else:
            out = pulled(x)[1]
        if separate:
            # The values not from a differentiated pass, which rounds in another order: the laws compare these exactly.
            out["image"], out["log_det"] = there(own, x, condition, key)
            out["value"] = value(combine(own, rest), direction)(x, condition, key=key)
            if condition is None:
                out["junk_image"], out["junk_log_det"] = there(own, x, jnp.ones((3,), x.dtype), key)
            if key is None:
                out["keyed_image"], out["keyed_log_det"] = there(own, x, condition, other_key)
        return out

    leaves = jax.tree.leaves(params)
    n_draws = len(leaves[0]) if leaves else 1
    out = {}
    for direction, given in inputs.items():
        n = len(given[0])
        # Every draw beside every row, in one axis: each further `vmap` would trace every operation once more.
        own = jax.tree.map(lambda leaf, n=n: jnp.repeat(leaf, n, axis=0), params)
        rows = jax.tree.map(lambda a: jnp.concatenate([a] * n_draws), given)
        result = jax.vmap(partial(one, direction))(own, *rows)
        out[direction] = jax.tree.map(lambda leaf, n=n: leaf.reshape(n_draws, n, *leaf.shape[1:]), result)
    return out
