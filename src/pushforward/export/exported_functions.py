"""What is exported: the log-density and the sampler of a distribution as plain functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._precision import in_type
from pushforward._types import Array
from pushforward.distributions import AbstractDistribution

# The kind of keys whose two words the exported programs take.
IMPL = "threefry2x32"
Precision = Literal["float64", "float32"]


@dataclass(frozen=True)
class Functions:
    """The two functions of a model, with its numbers in one precision.

    Args:
        distribution: Model whose arrays are NumPy arrays of `dtype`.
        reference: The same model in float64.
        dtype: Floating type in which everything is computed.
        names: Names of the columns of `x`.
        condition_names: Names of the columns of the condition; empty without one.
    """

    distribution: AbstractDistribution
    reference: AbstractDistribution
    dtype: np.dtype
    names: tuple[str, ...]
    condition_names: tuple[str, ...]

    @property
    def needs_key(self) -> bool:
        """Whether the log-density is a random estimate, so that `log_prob` takes a key and row numbers too."""
        return self.distribution.needs_key

    def precision(self) -> Any:
        """The context in which JAX computes in `dtype`."""
        return jax.enable_x64(self.dtype == np.float64)

    def log_prob(self, x: Array, *rest: Array) -> Array:
        """`log_prob(x (n, d)[, condition (n, k)][, key_data (2,), rows (n,)]) -> (n,)`, in nats."""
        condition, rest = self._condition(rest)
        keys = row_keys(*rest) if self.needs_key else None
        return self.distribution.log_prob_rows(x.T, condition, keys)

    def sample(self, key_data: Array, rows: Array, *rest: Array) -> Array:
        """`sample(key_data (2,), rows (n,)[, condition (n, k)]) -> (n, d)`.

        Row `i` of the result is row number `rows[i]` of the sample that belongs to the words of the key: with
        `rows = arange(n)` the result is `distribution.sample(key, n)`.
        """
        return self.distribution.sample_rows(row_keys(key_data, rows), self._condition(rest)[0]).T

    def _condition(self, arguments: tuple[Array, ...]) -> tuple[Array | None, tuple[Array, ...]]:
        return (arguments[0].T, arguments[1:]) if self.condition_names else (None, arguments)

    def arguments(self, n: Any) -> dict[str, dict[str, jax.ShapeDtypeStruct]]:
        """The arguments of the two functions for `n` rows, a number or a symbol, by name and in order."""
        x = {"x": jax.ShapeDtypeStruct((n, len(self.names)), self.dtype)}
        given = {"condition": jax.ShapeDtypeStruct((n, len(self.condition_names)), self.dtype)}
        key = {"key_data": jax.ShapeDtypeStruct((2,), np.uint32), "rows": jax.ShapeDtypeStruct((n,), np.uint32)}
        given = given if self.condition_names else {}
        return {"log_prob": x | given | (key if self.needs_key else {}), "sample": key | given}

    def calls(self) -> dict[str, Callable[..., Array]]:
        """The two functions by name."""
        return {"log_prob": self.log_prob, "sample": self.sample}


def row_keys(key_data: Array, rows: Array) -> Any:
    """The keys of rows, as `AbstractDistribution.sample` derives them."""
    key = jax.random.wrap_key_data(key_data, impl=IMPL)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


def functions_of(
    name: str,
    distribution: Any,
    names: Sequence[str],
    condition_names: Sequence[str],
    precision: Precision,
) -> Functions:
    """The functions to export.

    Raises:
        TypeError: The object is not a distribution.
        ValueError: Events or conditions are not rows of a table, or the names do not fit them.
    """
    if not isinstance(distribution, AbstractDistribution):
        fix = "Pass a Flow or another distribution; a FlowDensity holds one as its flow_."
        raise TypeError(message(name, "a distribution", type(distribution).__name__, fix))
    if precision not in ("float64", "float32"):
        raise ValueError(message(name, "precision 'float64' or 'float32'", repr(precision), "The default is float64."))
    for what, given, shape in (
        ("names", names, distribution.event_shape),
        ("condition_names", condition_names, distribution.cond_shape or (0,)),
    ):
        fits = len(shape) == 1 and len(given) == shape[0] == len(set(given))
        if isinstance(given, str) or not all(isinstance(item, str) for item in given) or not fits:
            fix = "Export takes rows of named columns, one name each."
            raise ValueError(message(name, f"{what}: different names for the shape {shape}", f"{list(given)}", fix))
    if not getattr(jax.config, "jax_threefry_partitionable", True):
        raise ValueError(f"{name}: expected JAX's setting jax_threefry_partitionable to be on, as is the default.")
    dtype = np.dtype(precision)
    own, wide = (in_type(distribution, kind) for kind in (dtype, np.dtype(np.float64)))
    return Functions(own, wide, dtype, tuple(names), tuple(condition_names))


def model_log_prob(functions: Functions, x: np.ndarray, condition: np.ndarray | None, key_data: np.ndarray) -> Any:
    """The model's own log-densities `(n,)` in float64, to compare with."""
    with jax.enable_x64(True):
        key = jax.random.wrap_key_data(jnp.asarray(key_data), impl=IMPL) if functions.needs_key else None
        return np.asarray(functions.reference.log_prob(x, condition, key=key))


def model_sample(functions: Functions, n: int, condition: np.ndarray | None, key_data: np.ndarray) -> np.ndarray:
    """The model's own `n` rows, one for each condition if there are any.

    They are drawn in the precision of the functions, because random numbers of 32 and of 64 bits differ.
    """
    with functions.precision():
        own = None if condition is None else condition.astype(functions.dtype)
        key = jax.random.wrap_key_data(jnp.asarray(key_data), impl=IMPL)
        draws = functions.distribution.sample(key, n if own is None else (), own)
        return np.asarray(draws, np.float64)
