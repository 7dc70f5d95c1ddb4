"""Checks of shapes, keys and types, and the common wording of their messages: object, expected, got, fix."""

from __future__ import annotations

import importlib
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pushforward._types import Array, PRNGKeyArray, Shape


class ConvergenceError(RuntimeError):
    """A solver or a fit did not reach its tolerance; the message gives the residual and the iterations."""


class OptionError(ValueError):
    """An option of a flow is invalid, which is a mistake in the call and not in the data."""


def message(name: str, expected: str, got: str, fix: str) -> str:
    """The text of an error: the object, what it expected, what it got, and the usual fix."""
    return f"{name}: expected {expected}, got {got}. {fix}"


class MissingPackageError(ImportError):
    """A package of an extra that is not installed; the message says which, and how to install it."""


def package_of(name: str, package: str, extra: str) -> Any:
    """A package that only some uses need, imported.

    Args:
        name: Name of the object that needs it.
        package: Name by which it is imported.
        extra: The extra of pushforward that installs it.

    Raises:
        MissingPackageError: It is not installed; this is an `ImportError`.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        fix = f"Install it: pip install 'pushforward[{extra}]'."
        raise MissingPackageError(message(name, f"the package {package}", "none", fix), name=package) from error


def is_traced(values: Any) -> bool:
    """Whether any of these numbers is being traced by `jit`, `grad` or `vmap`, so that its value is not known."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def as_floats(values: Any) -> Array:
    """Numbers, traced or not, as an array of JAX's default floating type."""
    return jnp.asarray(values, jnp.result_type(float))


def check_values(name: str, expected: str, holds: Callable[..., Any], fix: str, *values: Any) -> None:
    """Raise if numbers do not satisfy a condition; traced numbers, whose values are not known, are not checked.

    Args:
        name: Name of the object that takes the numbers.
        expected: The condition in words.
        holds: Function of the values as NumPy arrays that tells whether the condition holds, for all or for each.
        fix: The usual fix, in words.
        values: Numbers, arrays or nested lists, as many as `holds` takes.

    Raises:
        ValueError: the condition does not hold.
    """
    if is_traced(values):
        return
    seen = [np.asarray(value, float) for value in values]
    if not np.all(holds(*seen)):
        raise ValueError(message(name, expected, " and ".join(map(_few, seen)), fix))


def _few(values: np.ndarray) -> str:
    shown = np.array2string(values.ravel()[:8], separator=", ") if values.ndim else f"{values}"
    return shown + (" and more" if values.size > 8 else "")


def positive(values: np.ndarray) -> np.ndarray:
    """Whether numbers are finite and above 0, which `check_values` requires of scales, weights and the like."""
    return np.isfinite(values) & (values > 0)


def _floating(x: Array) -> Array:
    """The array as floating numbers; integers are converted."""
    return x if jnp.issubdtype(x.dtype, jnp.inexact) else x.astype(jnp.result_type(float))


def check_event(name: str, x: Any, shape: Shape, what: str = "x") -> Array:
    """One event as a floating array of the given shape.

    Raises:
        ValueError: the event has another shape.
    """
    x = jnp.asarray(x)
    if x.shape != shape:
        fix = "A bijection takes one event; map over a batch with jax.vmap, or call the distribution, which does it."
        raise ValueError(message(name, f"{what} of shape {shape}", f"shape {x.shape}", fix))
    return _floating(x)


def check_shape(name: str, shape: Any) -> Shape:
    """An event shape as a tuple of integers.

    Raises:
        TypeError: `shape` is an integer.
    """
    if isinstance(shape, int):
        raise TypeError(message(name, "a tuple as shape", f"the integer {shape}", f"Write shape=({shape},)."))
    return tuple(int(n) for n in shape)


def check_sample_shape(name: str, sample_shape: Any) -> Shape:
    """A number of draws, or a shape of draws, as a tuple of integers.

    Raises:
        TypeError: `sample_shape` is not made of integers, or is being traced.
        ValueError: an integer is negative.
    """
    fix = "Under jax.jit make it static: jax.jit(flow.sample, static_argnums=1)." if is_traced(sample_shape) else ""
    try:
        sizes = tuple(operator.index(n) for n in np.atleast_1d(np.asarray(sample_shape, object)))
    except TypeError as error:
        expected = "sample_shape an integer or a tuple of integers"
        got = f"{type(sample_shape).__name__} {sample_shape!r}"
        raise TypeError(message(name, expected, got, fix or "Write sample_shape=(3,).")) from error
    if any(n < 0 for n in sizes):
        raise ValueError(message(name, "sample_shape >= 0", f"{sizes}", "Choose how many events are drawn."))
    return sizes


def check_condition(name: str, condition: Any, cond_shape: Shape | None) -> Array | None:
    """One condition as a floating array, None for an unconditional bijection.

    Raises:
        ValueError: the condition is missing or does not fit `cond_shape`.
    """
    if cond_shape is None:
        return None
    if condition is None:
        fix = "Pass condition=..., one per event (or one for all)."
        raise ValueError(message(name, f"a condition of shape {cond_shape}", "none", fix))
    condition = jnp.asarray(condition)
    if condition.shape != cond_shape:
        fix = "The trailing axes of the condition must be cond_shape; leading axes are batch axes."
        raise ValueError(message(name, f"a condition of shape {cond_shape}", f"shape {condition.shape}", fix))
    return _floating(condition)


def check_key(name: str, key: PRNGKeyArray | None, needed: bool) -> None:
    """Raise if a random log-determinant is computed without a key.

    Raises:
        ValueError: the key is missing.
    """
    if needed and key is None:
        fix = "Its log-determinant is random: pass key=jax.random.key(seed)."
        raise ValueError(message(name, "a key", "none", fix))


def as_key(name: str, key: Any) -> PRNGKeyArray:
    """A typed JAX key from a key, typed or raw.

    Raises:
        TypeError: `key` is something else, such as an integer seed.
    """
    if isinstance(key, jax.Array):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
            return key
        if key.dtype == jnp.uint32 and key.shape == (2,):
            return jax.random.wrap_key_data(key)
    got = f"{type(key).__name__} {key!r}" if not isinstance(key, jax.Array) else f"an array {key.shape} {key.dtype}"
    raise TypeError(message(name, "one JAX key", got, "Make one with jax.random.key(0)."))


def check_int(name: str, what: str, value: Any, low: int, high: int | None = None) -> int:
    """Check that a value is an integer within bounds, and return it.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is out of bounds.
    """
    bounds = f"{what} an integer >= {low}" + ("" if high is None else f" and <= {high}")
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(message(name, bounds, f"{type(value).__name__} {value!r}", f"Pass {what}={low} or more."))
    value = value.__index__()
    if value < low or (high is not None and value > high):
        raise ValueError(message(name, bounds, repr(value), f"Choose {what} within these bounds."))
    return value


def check_number(name: str, what: str, value: Any, low: float, high: float = math.inf, open_low: bool = False) -> float:
    """Check that a value is a number in `[low, high)`, or in `(low, high)` with `open_low`, and return it.

    Raises:
        TypeError: `value` is not a number.
        ValueError: `value` is out of bounds.
    """
    bounds = f"{what} {'>' if open_low else '>='} {low:g}" + ("" if high == math.inf else f" and < {high:g}")
    if isinstance(value, bool | str) or np.ndim(value) != 0:
        raise TypeError(message(name, bounds, repr(value), "Pass a number."))
    result = float(value)
    if not low <= result <= high or (open_low and result == low) or (high != math.inf and result == high):
        raise ValueError(message(name, bounds, repr(value), f"Choose {what} within these bounds."))
    return result
