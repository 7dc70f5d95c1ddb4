"""The few compiled evaluations that all laws share, each over every parameter draw and every input at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray, combine
from pushforward._vectorize import rows_last
from pushforward.bijections.base import AbstractBijection, run_batch


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


@eqx.filter_jit
def journeys(
    params: Any, rest: Any, x: Array, y: Array, conditions: Array | None, keys: PRNGKeyArray | None
) -> dict[str, dict[str, Array]]:
    """There, back, and there again, from `x` and from `y`.

    Each direction is compiled once: in a loop of two rounds `a = inverse(b), b = forward(a)` over the rows of `x` and
    `y` together, where the rows of `x` join after the first inverse.

    Args:
        params: stacked draws of the trainable leaves.
        rest: the other leaves.
        x: `(n, *in_shape)`.
        y: `(m, *out_shape)`.
        conditions: `(n + m, *cond_shape)`, or None.
        keys: `(n + m,)`, or None.
    """
    n = len(x)

    def travel(own: Any) -> dict[str, dict[str, Array]]:
        bijection = combine(own, rest)
        costs = bijection.traits
        if "absent" in (costs.forward, costs.inverse):
            direction = "inverse" if costs.forward == "absent" else "forward"
            rows = slice(None, n) if direction == "forward" else slice(n, None)
            events = x if direction == "forward" else y
            only = [None if a is None else a[rows] for a in (conditions, keys)]
            image, log_det = run_rows(bijection, direction, events, *only)
            return {direction: {"image": image, "log_det": log_det}}
        joined = jnp.concatenate([x, jnp.zeros((len(y), *x.shape[1:]), x.dtype)])
        from_x = (jnp.arange(n + len(y)) < n).reshape((-1,) + (1,) * (x.ndim - 1))

        def around(b: Array, first: Array) -> tuple[Array, tuple]:
            a, inverse_log_det = run_rows(bijection, "inverse", b, conditions, keys)
            a = jnp.where(first & from_x, joined, a).astype(x.dtype)
            b, forward_log_det = run_rows(bijection, "forward", a, conditions, keys)
            return b.astype(y.dtype), (a, inverse_log_det, b, forward_log_det)

        start = jnp.concatenate([jnp.zeros((n, *y.shape[1:]), y.dtype), y])
        _, (a, inverse_log_det, b, forward_log_det) = jax.lax.scan(around, start, jnp.array([True, False]))
        forward = (b[0], forward_log_det[0], a[1], inverse_log_det[1], b[1], forward_log_det[1])
        inverse = (a[0], inverse_log_det[0], b[0], forward_log_det[0], a[1], inverse_log_det[1])
        names = ("image", "log_det", "back", "back_log_det", "again", "again_log_det")
        return {
            "forward": {name: array[:n] for name, array in zip(names, forward, strict=True)},
            "inverse": {name: array[n:] for name, array in zip(names, inverse, strict=True)},
        }

    return over_draws(travel, params)


@eqx.filter_jit
def derivatives(
    params: Any,
    rest: Any,
    direction: str,
    events: Array,
    conditions: Array | None,
    keys: PRNGKeyArray | None,
    other_key: PRNGKeyArray,
) -> dict[str, Array]:
    """Derivatives in one direction, and the values that the methods for one event give.

    Reverse mode: hand-written derivatives (`jax.custom_vjp`) offer no other. One pull-back per output gives the
    Jacobians; one more, of a weighted sum of the outputs plus the log-determinant, the gradient of every leaf.

    Returns:
        `jacobian`, `log_det_gradient`, `condition_jacobian` if conditional; `finite` and `nonzero` by draw, input and
        leaf (`finite` has the input as last leaf); `image`, `log_det`, `value`; `keyed_*` with a key that is not
        needed, `junk_*` with a condition that is not needed.
    """

    # Traced once, however often it is called below.
    @jax.jit
    def there(own: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None) -> tuple[Array, Array]:
        return pair(combine(own, rest), direction)(x, condition, key=key)

    def one(own: Any, x: Array, condition: Array | None, key: PRNGKeyArray | None) -> dict[str, Array]:
        def run(own: Any, x: Array, condition: Array | None) -> tuple[Array, Array]:
            image, log_det = there(own, x, condition, key)
            return image.reshape(-1), log_det

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
            "jacobian": by_x[:size].reshape(size, x.size),
            "log_det_gradient": by_x[size].reshape(x.size),
            "finite": jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in [*gradients, by_x[-1]]]),
            "nonzero": jnp.stack(nonzero) if nonzero else jnp.zeros((0,), bool),
        }
        if condition is not None:
            out["condition_jacobian"] = by_condition[:size].reshape(size, condition.size)
        # The values not from a differentiated pass, which rounds in another order: the laws compare these exactly.
        out["image"], out["log_det"] = there(own, x, condition, key)
        out["value"] = value(combine(own, rest), direction)(x, condition, key=key)
        if condition is None:
            out["junk_image"], out["junk_log_det"] = there(own, x, jnp.ones((3,), x.dtype), key)
        if key is None:
            out["keyed_image"], out["keyed_log_det"] = there(own, x, condition, other_key)
        return out

    def rows(own: Any) -> dict[str, Array]:
        return jax.vmap(lambda x, c, k: one(own, x, c, k))(events, conditions, keys)

    return over_draws(rows, params)
