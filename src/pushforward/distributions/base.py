"""The contract of distributions: rows on the last axis inside, any leading batch dimensions outside."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, check_key, check_sample_shape, message
from pushforward._meshes import explicit_axes, in_rows
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import batch_keys, common_batch, rows_last, split_batch
from pushforward.distributions.accuracy import Estimate, estimate
from pushforward.distributions.compound import AbstractRows


class AbstractDistribution(AbstractRows):
    r"""A distribution over events of `event_shape`, perhaps given a condition.

    Final subclasses implement three methods on `n` rows, which stand on the **last** axis (`log_prob_rows`,
    `sample_rows`, `sample_and_log_prob_rows`); the public methods here are never overridden. Log-densities are in nats,
    `-inf` outside the support, and NaN only where the input is NaN. `log_prob(x)[i]` depends on `x[i]` alone. Row `i`
    of a sample depends on the key and on `i` alone, so that a longer sample begins with the shorter one.

    A distribution made of others is an `AbstractCompound` too.
    """

    @overload
    def log_prob(
        self, x: Any, condition: Any = None, *, key: PRNGKeyArray | None = None, with_error: Literal[False] = False
    ) -> Array: ...

    @overload
    def log_prob(
        self, x: Any, condition: Any = None, *, key: PRNGKeyArray | None = None, with_error: Literal[True]
    ) -> Estimate: ...

    def log_prob(
        self, x: Any, condition: Any = None, *, key: PRNGKeyArray | None = None, with_error: bool = False
    ) -> Array | Estimate:
        r"""$\log p(x)$, or $\log p(x \mid c)$, in nats.

        Args:
            x: Events `(*batch, *event_shape)`.
            condition: Conditions `(*batch, *cond_shape)`; their batch dimensions broadcast against those of `x`.
            key: JAX key; it is needed iff the log-density is a random estimate, and each row then gets a key of its
                own.
            with_error: Whether to return a `distributions.Estimate` instead: the value, the standard error of random
                probes, the error of solvers, the number of their evaluations, and the rows at which they failed.

        Shapes:
            `(*batch, *event_shape) -> (*batch,)`, in the type that `x` and the distribution's arrays have together:
            with weights in bfloat16, that of `x`

        Raises:
            ValueError: The trailing axes of `x` are not the event, or a needed condition or key is missing.
        """
        name = f"{type(self).__name__}.log_prob"
        x, batch = split_batch(name, "x", x, self.event_shape)
        condition, cond_batch = split_condition(name, condition, self.cond_shape)
        check_key(name, key, self.needs_key)
        needed = as_key(name, key) if self.needs_key and key is not None else None
        both = common_batch(name, batch, cond_batch)
        if with_error:
            return estimate(self, x, condition, needed, (batch, cond_batch))
        key_batch = () if needed is None else both
        return _log_prob_rows(self, x, condition, needed, batches=(batch, cond_batch, key_batch))

    def sample(self, key: PRNGKeyArray, sample_shape: int | Sequence[int] = (), condition: Any = None) -> Array:
        """Draw events.

        Args:
            key: JAX key. The same key gives the same rows; row `i` depends on the key and `i` alone.
            sample_shape: Number of draws, or their shape.
            condition: Conditions `(*batch, *cond_shape)`; each row of them gets `sample_shape` draws.

        Shapes:
            `(*sample_shape, *batch, *event_shape)`, in the type of the distribution's arrays: bfloat16 weights give
            bfloat16 events

        Raises:
            TypeError: The key is not a JAX key.
            ValueError: A needed condition is missing.
        """
        key, condition, batches = self._draws("sample", key, sample_shape, condition)
        return _sample_rows(self, key, condition, batches=batches)

    def sample_and_log_prob(
        self, key: PRNGKeyArray, sample_shape: int | Sequence[int] = (), condition: Any = None
    ) -> tuple[Array, Array]:
        """The draws of `sample` and their log-densities, gathered on the way.

        Args:
            key: JAX key.
            sample_shape: Number of draws, or their shape.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*sample_shape, *batch, *event_shape), (*sample_shape, *batch)`; the events in the type of the
            distribution's arrays, the log-densities in that of the draws before they were rounded to it
        """
        key, condition, batches = self._draws("sample_and_log_prob", key, sample_shape, condition)
        return _sample_and_log_prob_rows(self, key, condition, batches=batches)

    def _draws(self, method: str, key: Any, sample_shape: Any, condition: Any) -> tuple:
        name = f"{type(self).__name__}.{method}"
        condition, cond_batch = split_condition(name, condition, self.cond_shape)
        shape = check_sample_shape(name, sample_shape) + cond_batch
        return as_key(name, key), condition, (shape, cond_batch)


def _row_keys(key: PRNGKeyArray, shape: Shape) -> PRNGKeyArray:
    return batch_keys(key, math.prod(shape)).reshape(shape)


def split_condition(name: str, condition: Any, cond_shape: Shape | None) -> tuple[Array | None, Shape]:
    """The condition as an array and its batch dimensions; None and `()` for an unconditional model.

    Raises:
        ValueError: The condition is missing, superfluous, or of another shape.
    """
    if cond_shape is None:
        if condition is not None:
            fix = "Leave it out, or build the model with condition_dim=."
            raise ValueError(message(name, "no condition (the model is unconditional)", "one", fix))
        return None, ()
    if condition is None:
        fix = "Pass condition=..., one row per event or one for all."
        raise ValueError(message(name, f"a condition of shape (*batch, *{cond_shape})", "none", fix))
    return split_batch(name, "condition", condition, cond_shape)


def _compiled(function: Callable) -> Callable:
    """The function, compiled; a distribution of arrays alone goes to `jax.jit`, which dispatches faster."""
    plain, general = jax.jit(function, static_argnames="batches"), eqx.filter_jit(function)

    @functools.wraps(function)
    def call(distribution: Any, *arguments: Any, batches: tuple) -> Any:
        if explicit_axes():
            return in_rows(functools.partial(function, batches=batches), batches, distribution, *arguments)
        arrays = all(eqx.is_array(leaf) for leaf in jax.tree.leaves(distribution))
        return (plain if arrays else general)(distribution, *arguments, batches=batches)

    return call


# Compiled once per structure and shape; inside a user's own jit they are inlined. The keys of the rows are made inside:
# outside, dispatching that took a millisecond, ten times as long as 512 samples of a planar flow.
@_compiled
def _log_prob_rows(
    distribution: AbstractDistribution, x: Array, condition: Array | None, key: PRNGKeyArray | None, *, batches: tuple
) -> Array:
    keys = None if key is None else _row_keys(key, batches[2])
    return rows_last(distribution.log_prob_rows, batches, x, condition, keys)


@_compiled
def _sample_rows(
    distribution: AbstractDistribution, key: PRNGKeyArray, condition: Array | None, *, batches: tuple
) -> Array:
    return _in_own_type(
        distribution, rows_last(distribution.sample_rows, batches, _row_keys(key, batches[0]), condition)
    )


@_compiled
def _sample_and_log_prob_rows(
    distribution: AbstractDistribution, key: PRNGKeyArray, condition: Array | None, *, batches: tuple
) -> tuple[Array, Array]:
    method = distribution.sample_and_log_prob_rows
    x, log_prob = rows_last(method, batches, _row_keys(key, batches[0]), condition)
    return _in_own_type(distribution, x), log_prob


def _in_own_type(distribution: AbstractDistribution, x: Array) -> Array:
    """Draws in the type of the distribution's arrays; they are left as they are if it has no arrays.

    They are computed in the type of the base's draws, float32 or float64, and rounded once.
    """
    types = {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(distribution, eqx.is_inexact_array))}
    return x.astype(jnp.result_type(*types)) if types else x
