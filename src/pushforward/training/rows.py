"""Rows of the user become rows on the device: checked, preprocessed in float64, split, weighted, filled up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._precision import widened
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import pad_rows
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import AbstractDistribution
from pushforward.training.batches import batch_places, bucket

# A share of a large table is enough to validate on: its standard error falls below any difference that matters.
MAX_HELD_OUT = 20_000
SCORE_CHUNK = 1024  # rows scored at once in validation


class Rows(eqx.Module):
    """Rows on the device, filled up to a shared shape: all of them, or a block of a stream in the order of an epoch.

    Attributes:
        x: Events `(n_padded, *event_shape)`.
        condition: Conditions `(n_padded, *cond_shape)`, or None.
        weights: Weights `(n_padded,)` with mean 1 over the real rows, 0 on the filling.
        log_det: Part `(n_padded,)` that the preprocessing adds to each row's log-density, less its mean; or None.
        n: Number of real rows of an epoch.
        first: Place in the epoch's order of the first row of a block; None where all rows are there.
    """

    x: Any
    condition: Any
    weights: Any
    log_det: Any
    n: Any
    first: Any = None

    def batch(self, order: Array, position: Any, n_steps: Any, size: int) -> tuple[Array, Array]:
        """The places among these rows of those of batch `position` of an epoch, and which of them count.

        Args:
            order: The epoch's order of all rows `(n_padded,)`; the rows of a block are in order already.
            position: Number of the batch, which must lie in the block.
            n_steps: Number of batches in the epoch.
            size: Number of rows, at least `ceil(n / n_steps)`.
        """
        places, counts = batch_places(position, self.n, n_steps, size)
        if self.first is None:
            return order[places], counts
        # What fills a batch up need not be in the block.
        return jnp.clip(places - self.first, 0, self.x.shape[0] - 1), counts


@dataclass(frozen=True)
class Table:
    """Rows on the host, in the latent side's units of the preprocessing, all of them real."""

    x: np.ndarray
    condition: np.ndarray | None
    weights: np.ndarray
    log_det: np.ndarray | None

    @property
    def offset(self) -> float:
        """The mean of what the preprocessing adds to the log-density."""
        return 0.0 if self.log_det is None else float(np.average(self.log_det, weights=self.weights))

    def take(self, rows: np.ndarray) -> Table:
        """Some of the rows."""
        condition = None if self.condition is None else self.condition[rows]
        log_det = None if self.log_det is None else self.log_det[rows]
        return Table(self.x[rows], condition, self.weights[rows], log_det)

    def on_device(self, dtype: Any, n_padded: int) -> Rows:
        """The rows as the compiled loop takes them."""
        n = len(self.x)
        log_det = None if self.log_det is None else self.log_det - self.offset
        rows = self.block(dtype, n_padded, n, n / self.weights.sum(), None)
        return dataclasses.replace(rows, log_det=None if log_det is None else put(log_det, dtype, n_padded))

    def block(self, dtype: Any, n_padded: int, n: int, scale: float, first: int | None) -> Rows:
        """The same without what preprocessing adds to the log-density, as some of the rows of an epoch.

        Args:
            dtype: Type of the numbers.
            n_padded: Number of rows on the device.
            n: Number of rows of the epoch.
            scale: Factor that gives the weights of all rows of the epoch the mean 1.
            first: Place in the epoch's order of the first row; None for all rows.
        """
        weights = np.zeros(n_padded, dtype)
        weights[: len(self.x)] = self.weights * scale
        condition = None if self.condition is None else put(self.condition, dtype, n_padded)
        place = None if first is None else np.int32(first)
        return Rows(put(self.x, dtype, n_padded), condition, jax.device_put(weights), None, np.int32(n), place)


def put(array: np.ndarray, dtype: Any, n_padded: int) -> Any:
    """Rows on the device, filled up."""
    return jax.device_put(pad_rows(np.asarray(array, dtype), n_padded))


def read(
    flow: AbstractDistribution,
    x: Any,
    condition: Any,
    weights: Any,
    preprocess: AbstractBijection | None,
    name: str = "fit",
    keep_all: bool = False,
) -> Table:
    """Check the rows, leave out those of weight 0, and take them through the inverse of `preprocess` in float64.

    Args:
        flow: The model, whose event shapes the rows must have.
        x: Rows `(n, *event_shape)`.
        condition: Conditions `(n, *cond_shape)`, or None.
        weights: Weights `(n,)`, or None.
        preprocess: Bijection from the flow's events to the data, or None.
        name: Name of the caller, for error messages.
        keep_all: Whether rows of weight 0 stay, as in a block of a stream, whose rows are counted.

    Raises:
        ValueError: A shape does not fit, a number is missing or infinite, or a weight is negative.
        TypeError: An array is not numeric.
    """
    event_shape = flow.event_shape if preprocess is None else preprocess.out_shape
    if preprocess is not None and preprocess.in_shape != flow.event_shape:
        fix = "preprocess maps the flow's events to the data: build it with the flow's event shape."
        raise ValueError(message(name, f"preprocess.in_shape {flow.event_shape}", f"{preprocess.in_shape}", fix))
    rows = numbers(name, "x", x, event_shape)
    if len(rows) == 0:
        raise ValueError(message(name, "at least one row", "none", "Pass x of shape (n, *event_shape)."))
    if flow.cond_shape is not None or condition is not None:
        condition = conditions(name, flow, condition)
        if len(condition) != len(rows):
            fix = "Pass one row of condition for each row of x."
            raise ValueError(message(name, f"{len(rows)} rows of condition", f"{len(condition)}", fix))
    share = np.ones(len(rows)) if weights is None else row_weights(name, weights, len(rows), keep_all)
    kept = share > 0
    if not (keep_all or kept.all()):
        rows, share = rows[kept], share[kept]
        condition = None if condition is None else condition[kept]
    log_det = None
    if preprocess is not None:
        rows, log_det = latent_rows(preprocess, rows)
        if not (np.isfinite(rows).all() and np.isfinite(log_det).all()):
            bad = np.flatnonzero(~(np.isfinite(rows.reshape(len(rows), -1)).all(axis=1) & np.isfinite(log_det)))
            fix = (
                f"Rows {bad[:5].tolist()} lie outside the range of {type(preprocess).__name__}; change it or drop them."
            )
            raise ValueError(message(name, "finite preprocessed rows", f"{len(bad)} non-finite ones", fix))
    return Table(rows, condition, share, log_det)


def conditions(name: str, flow: AbstractDistribution, condition: Any) -> np.ndarray:
    """The conditions of a conditional flow as finite floating rows `(n, *cond_shape)`."""
    if flow.cond_shape is None:
        fix = "Leave condition out, or build the flow with condition_dim=."
        raise ValueError(message(name, "no condition (the flow is unconditional)", "one", fix))
    if condition is None:
        fix = "Pass condition=, one row for each row of x."
        raise ValueError(message(name, f"a condition of shape (n, *{flow.cond_shape})", "none", fix))
    return numbers(name, "condition", condition, flow.cond_shape)


def numbers(name: str, what: str, value: Any, event_shape: tuple[int, ...]) -> np.ndarray:
    """`value` as finite floating rows `(n, *event_shape)`."""
    array = np.asarray(value)
    if array.dtype == object or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise TypeError(
            message(name, f"{what} to be numeric", f"dtype {array.dtype}", "Convert the columns to numbers.")
        )
    if np.iscomplexobj(array):
        raise TypeError(
            message(name, f"{what} to be real", "complex numbers", "Pass real and imaginary parts as columns.")
        )
    if array.ndim != 1 + len(event_shape) or array.shape[1:] != tuple(event_shape):
        fix = "Rows come first, then the event; reshape it, or build the flow for these events."
        expected = f"{what} of shape (n, {', '.join(map(str, event_shape))})"
        raise ValueError(message(name, expected, f"shape {array.shape}", fix))
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float64)
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1))
        fix = f"Drop or fill those rows; the first are {bad[:5].tolist()}."
        raise ValueError(message(name, f"finite numbers in {what}", f"NaN or infinity in {len(bad)} rows", fix))
    return array


def row_weights(name: str, weights: Any, n: int, may_vanish: bool = False) -> np.ndarray:
    """`weights` as `(n,)` float64, not negative, and not all zero unless they may be."""
    array = np.asarray(weights, np.float64)
    if array.shape != (n,):
        raise ValueError(message(name, f"weights of shape ({n},)", f"shape {array.shape}", "Pass one weight per row."))
    if not np.isfinite(array).all() or (array < 0).any() or not (may_vanish or (array > 0).any()):
        fix = "Weights count rows: give rows that should not count a weight of 0."
        raise ValueError(message(name, "finite weights >= 0, one of them > 0", "others", fix))
    return array


def latent_rows(preprocess: AbstractBijection, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows through `preprocess.inverse`, and its log-determinants, in float64 whatever the flow's type."""
    n, n_padded = len(rows), bucket(len(rows))
    with jax.enable_x64(True):
        z, log_det = _inverse(widened(preprocess), pad_rows(rows.astype(np.float64), n_padded))
        return np.asarray(z)[:n], np.asarray(log_det)[:n]


@eqx.filter_jit
def _inverse(preprocess: AbstractBijection, rows: Any) -> Any:
    return jax.vmap(preprocess.inverse_and_log_det)(rows)


def split(
    table: Table,
    validation: Any,
    key: PRNGKeyArray,
    read_held_out: Callable[[Any, Any], Table],
    conditional: bool,
) -> tuple[Table, Table | None]:
    """Training rows and held-out rows.

    Args:
        table: All rows.
        validation: Choice of the held-out rows: None or 0 for no held-out rows; a fraction of the rows (drawn with
            `key`, at most `MAX_HELD_OUT`); or the held-out rows themselves: an array, or `(x, condition)` for a
            conditional flow.
        key: JAX key that decides which rows are held out.
        read_held_out: Function that reads held-out rows that the user gives.
        conditional: Whether rows come with a condition.

    Raises:
        ValueError: The fraction lies outside [0, 1), or the pair lacks a part.
    """
    if validation is None:
        return table, None
    if isinstance(validation, (bool, str)):
        fix = "Pass a fraction such as 0.1, None, or the held-out rows."
        raise TypeError(message("fit", "validation as a number or rows", repr(validation), fix))
    if not isinstance(validation, (tuple, list)) and np.ndim(validation) == 0:
        fraction = float(validation)
        if not 0 <= fraction < 1:
            fix = "Pass a fraction such as 0.1, None, or the held-out rows."
            raise ValueError(message("fit", "validation in [0, 1)", repr(validation), fix))
        held_out = held_out_rows(len(table.x), fraction, key)
        if len(held_out) == 0:
            return table, None
        return table.take(np.delete(np.arange(len(table.x)), held_out)), table.take(held_out)
    if conditional:
        if not (isinstance(validation, tuple) and len(validation) == 2):
            fix = "Pass validation=(x, condition)."
            got = type(validation).__name__
            raise ValueError(message("fit", "held-out rows and their conditions as a pair", got, fix))
        return table, read_held_out(*validation)
    return table, read_held_out(validation, None)


def held_out_rows(n: int, fraction: float, key: PRNGKeyArray, most: int = MAX_HELD_OUT) -> np.ndarray:
    """The places, ascending, of the rows that a fit of `n` rows with this key holds out; none if all would be.

    Args:
        n: Number of rows.
        fraction: Share of the rows to hold out, in [0, 1).
        key: JAX key of the fit.
        most: Largest number of rows to hold out.
    """
    n_held_out = min(max(round(fraction * n), 1), most) if fraction > 0 else 0
    if n_held_out >= n:
        return np.zeros(0, np.int64)
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return np.sort(np.random.default_rng(seed).permutation(n)[:n_held_out])
