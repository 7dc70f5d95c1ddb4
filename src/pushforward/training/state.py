"""The carried state of a fit: everything that one device call hands to the next, so that the host need not look."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PyTree, combine, trainable
from pushforward.distributions import AbstractDistribution
from pushforward.numerics.derivatives import own_derivatives
from pushforward.training.members import SharedRows

# Codes of the status.
RUNNING, CONVERGED, OUT_OF_STEPS, OUT_OF_TIME, DIVERGED = range(5)

T = TypeVar("T", bound=NamedTuple)


class Counters(NamedTuple):
    """Whole numbers of a fit.

    Attributes:
        step: Number of steps attempted.
        validated_at: The step of the last validation.
        best_step: The step of the best validation.
        mark_step: The step of the last validation that renewed the patience.
        n_skipped: Number of steps skipped before the last validation.
        n_left_out: Number of times that a row was left out of a step before the last validation.
        n_unscored: Number of held-out rows without a finite score at the best validation.
        n_rewinds: Number of rewinds.
        status: Code of the status.
    """

    step: Any
    validated_at: Any
    best_step: Any
    mark_step: Any
    n_skipped: Any
    n_left_out: Any
    n_unscored: Any
    n_rewinds: Any
    status: Any


class Scores(NamedTuple):
    """Real numbers of a fit.

    Attributes:
        best_nats: The best held-out score.
        best_error: Standard error of the best score.
        mark_nats: The score that last renewed the patience.
        rate_scale: Factor by which rewinds have multiplied the learning rate.
    """

    best_nats: Any
    best_error: Any
    mark_nats: Any
    rate_scale: Any


class Tally(NamedTuple):
    """Sums over the steps since the last validation.

    Attributes:
        updates: Number of steps taken since the start of the fit.
        skipped: Number of steps skipped.
        left_out: Number of times that a row was left out of a step.
        loss: Sum of the rows' weighted losses.
        weight: Sum of the rows' weights.
    """

    updates: Any
    skipped: Any
    left_out: Any
    loss: Any
    weight: Any


class Packed(eqx.Module, Generic[T]):
    """The fields of a NamedTuple as one array, on the device or on the host.

    Each scalar that a loop carries costs the compiler kernels and copies, and a fit carries a score of them, which took
    as long to compile as a small model's step. So they share an array of each type, and are read and written by name.
    """

    array: Any
    kind: type[T] = eqx.field(static=True)

    @staticmethod
    def of(values: T, dtype: Any) -> Packed[T]:
        """The packed form on the device."""
        return Packed(jnp.stack([jnp.asarray(value).astype(dtype) for value in values]), type(values))

    @staticmethod
    def on_host(values: T, dtype: Any) -> Packed[T]:
        """The packed form on the host."""
        return Packed(np.array(values, dtype), type(values))

    @property
    def named(self) -> T:
        """The fields by name."""
        return self.kind(*self.array)  # pyright: ignore

    def replaced(self, **changes: Any) -> Packed[T]:
        """The same with some fields changed, on the device."""
        return Packed.of(self.named._replace(**changes), self.array.dtype)


class FlatModel(eqx.Module):
    """A model without its trainable numbers, which are one vector.

    Clipping, Adam, the average of the weights and the choice between two states then are a few fused loops over one
    array. A few loops per array would take most of the time of a small step.
    """

    rest: PyTree
    structure: Any = eqx.field(static=True)
    shapes: tuple = eqx.field(static=True)
    dtypes: tuple = eqx.field(static=True)
    of_members: bool = eqx.field(static=True)

    @staticmethod
    def split(flow: AbstractDistribution) -> tuple[np.ndarray, FlatModel]:
        """The trainable numbers of `flow` as one host vector, and what is left."""
        params, rest = trainable(flow)
        leaves, structure = jax.tree.flatten(params)
        host = [np.asarray(leaf) for leaf in leaves]
        dtype = np.result_type(*(leaf.dtype for leaf in host)) if host else np.float32
        vector = np.concatenate([leaf.ravel().astype(dtype) for leaf in host]) if host else np.zeros(0, dtype)
        shapes, dtypes = tuple(leaf.shape for leaf in host), tuple(leaf.dtype.name for leaf in host)
        return vector, FlatModel(rest, structure, shapes, dtypes, isinstance(flow, SharedRows))

    @property
    def size(self) -> int:
        """Number of trainable numbers."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def matrices(self, dtype: Any) -> np.ndarray:
        """1 for the numbers of arrays with two axes or more, that of an ensemble's members aside, and 0 for others."""
        least = 3 if self.of_members else 2
        parts = [np.full(int(np.prod(shape)), len(shape) >= least, dtype) for shape in self.shapes]
        return np.concatenate(parts) if parts else np.zeros(0, dtype)

    def build(self, vector: Array) -> Any:
        """The flow whose trainable numbers are `vector`."""
        sizes = tuple(int(np.prod(shape)) for shape in self.shapes)
        triples = zip(_split(sizes)(vector), self.shapes, self.dtypes, strict=True)
        leaves = [part.reshape(shape).astype(dtype) for part, shape, dtype in triples]
        return combine(jax.tree.unflatten(self.structure, leaves), self.rest)

    def build_on_host(self, vector: np.ndarray) -> Any:
        """The same outside a compiled function, without compiling anything."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        triples = zip(np.split(vector, ends), self.shapes, self.dtypes, strict=True)
        leaves = [jnp.asarray(part.reshape(shape).astype(dtype)) for part, shape, dtype in triples]
        return combine(jax.tree.unflatten(self.structure, leaves), self.rest)


@functools.cache
def _split(sizes: tuple[int, ...]) -> Callable[[Array], Sequence[Array]]:
    """`jax.lax.split` with a pull-back that copies each part to its place.

    Autodiff would concatenate, which XLA fuses with all that uses the gradient into loops that ask for every element
    which part it comes from: a fifth of a training step.
    """

    def value(vector: Array) -> Sequence[Array]:
        return list(jax.lax.split(vector, sizes)) if sizes else []

    def pull(vector: Array, bars: Sequence[Array]) -> tuple[Array]:
        start = 0
        for size, bar in zip(sizes, bars, strict=True):
            vector = jax.lax.dynamic_update_slice(vector, bar, (start,))  # every element of it is overwritten
            start += size
        return (vector,)

    def keep(vector: Array) -> tuple[Sequence[Array], Array]:
        return value(vector), jax.lax.stop_gradient(vector)

    return own_derivatives(value, keep, pull, lambda _, tangents: value(tangents[0]))


class Weights(eqx.Module):
    """What a step changes and a rewind restores: the numbers, the optimiser's moments, the average."""

    params: Any
    moments: PyTree
    average: Any


class FitState(eqx.Module):
    """Everything that changes during a fit.

    Attributes:
        now: The weights being trained.
        good: The weights at the last validation that went well, to rewind to.
        best: The averaged weights with the best held-out score so far.
        order: The row order of the current epoch.
        tally: Sums over the steps since the last validation.
        counters: Whole numbers of the fit.
        scores: Real numbers of the fit.
    """

    now: Weights
    good: Weights
    best: Any
    order: Any
    tally: Packed[Tally]
    counters: Packed[Counters]
    scores: Packed[Scores]

    @staticmethod
    def start(vector: np.ndarray, moments: PyTree, n_padded: int, steps_per_round: int) -> FitState:
        """The state before the first step, on the host; the first validation is due at once."""
        weights = Weights(vector, moments, vector)
        most = np.iinfo(np.int32).max
        counters = Counters(0, -steps_per_round, 0, 0, 0, 0, n_unscored=most, n_rewinds=0, status=RUNNING)
        return FitState(
            weights,
            weights,
            vector,
            np.arange(n_padded, dtype=np.int32),
            Packed.on_host(Tally(0, 0, 0, 0, 0), np.float32),
            Packed.on_host(counters, np.int32),
            Packed.on_host(Scores(-np.inf, np.nan, -np.inf, 1), np.float32),
        )


@dataclass(frozen=True)
class Reached:
    """The progress of a fit as the host knows it; it is replaced as a whole, so that an interrupt finds no half of it.

    Args:
        state: The state after the last call whose report was read; on the device, or on the host.
        step: Number of steps attempted.
        status: Code of the status.
        rows: The rows of the history.
        best_nats: The highest held-out log-density, in the data's units; NaN before the first.
        elapsed: Seconds since the fit began.
    """

    state: FitState
    step: int
    status: int
    rows: tuple[dict[str, Any], ...]
    best_nats: float
    elapsed: float
