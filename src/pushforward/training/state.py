"""The carried state of a fit: everything that one device call hands to the next, so that the host need not look."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PyTree, combine, trainable
from pushforward.distributions import AbstractDistribution

# Codes of `FitState.status`.
RUNNING, CONVERGED, OUT_OF_STEPS, OUT_OF_TIME, DIVERGED = range(5)


class FlatModel(eqx.Module):
    """A model without its trainable numbers, which are one vector.

    Clipping, Adam, the average of the weights and the choice between two states then are a few fused loops over one
    array instead of a few per array, which is what a small step's time would otherwise go to.
    """

    rest: PyTree
    structure: Any = eqx.field(static=True)
    shapes: tuple = eqx.field(static=True)
    dtypes: tuple = eqx.field(static=True)

    @staticmethod
    def split(flow: AbstractDistribution) -> tuple[np.ndarray, FlatModel]:
        """The trainable numbers of `flow` as one host vector, and what is left."""
        params, rest = trainable(flow)
        leaves, structure = jax.tree.flatten(params)
        host = [np.asarray(leaf) for leaf in leaves]
        dtype = np.result_type(*(leaf.dtype for leaf in host)) if host else np.float32
        vector = np.concatenate([leaf.ravel().astype(dtype) for leaf in host]) if host else np.zeros(0, dtype)
        shapes, dtypes = tuple(leaf.shape for leaf in host), tuple(leaf.dtype.name for leaf in host)
        return vector, FlatModel(rest, structure, shapes, dtypes)

    def build(self, vector: Array) -> Any:
        """The flow whose trainable numbers are `vector`."""
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        parts = jax.lax.split(vector, sizes) if sizes else []
        triples = zip(parts, self.shapes, self.dtypes, strict=True)
        leaves = [part.reshape(shape).astype(dtype) for part, shape, dtype in triples]
        return combine(jax.tree.unflatten(self.structure, leaves), self.rest)

    def build_on_host(self, vector: np.ndarray) -> Any:
        """The same outside a compiled function, without compiling anything."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        triples = zip(np.split(vector, ends), self.shapes, self.dtypes, strict=True)
        leaves = [jnp.asarray(part.reshape(shape).astype(dtype)) for part, shape, dtype in triples]
        return combine(jax.tree.unflatten(self.structure, leaves), self.rest)


class Weights(eqx.Module):
    """What a step changes, and what a rewind brings back: the numbers, the optimiser's moments, the average."""

    params: Array
    moments: PyTree
    average: Array


class FitState(eqx.Module):
    """Everything that changes during a fit.

    Attributes:
        now: the weights being trained.
        good: the weights at the last validation that went well, to rewind to.
        best: the averaged weights with the highest held-out log-density so far.
        best_nats: that log-density, `-inf` before the first validation.
        best_error: its standard error.
        best_step: the step it was reached at.
        mark_nats: the best log-density that counted as progress, for the patience.
        mark_step: the step it was reached at.
        step: steps attempted.
        n_updates: steps taken.
        rate_scale: 1, times `REWIND_RATE` for each rewind.
        order: the row order of the current epoch.
        next_validation: the step to validate at; 0 at first, so that the untrained flow is scored too.
        loss_sum: sum of weighted row losses since the last validation.
        weight_sum: sum of weights since the last validation.
        round_steps: steps since the last validation.
        round_skipped: those of them that were skipped.
        n_skipped: steps skipped in all.
        n_rewinds: rewinds in all.
        status: one of the codes above.
    """

    now: Weights
    good: Weights
    best: Array
    best_nats: Array
    best_error: Array
    best_step: Array
    mark_nats: Array
    mark_step: Array
    step: Array
    n_updates: Array
    rate_scale: Array
    order: Array
    next_validation: Array
    loss_sum: Array
    weight_sum: Array
    round_steps: Array
    round_skipped: Array
    n_skipped: Array
    n_rewinds: Array
    status: Array

    @staticmethod
    def start(vector: np.ndarray, moments: PyTree, n_padded: int) -> FitState:
        """The state before the first step, on the host."""
        weights = Weights(vector, moments, vector)
        real, whole = np.float32, np.int32
        return FitState(
            now=weights,
            good=weights,
            best=vector,
            best_nats=real(-np.inf),
            best_error=real(np.nan),
            best_step=whole(0),
            mark_nats=real(-np.inf),
            mark_step=whole(0),
            step=whole(0),
            n_updates=whole(0),
            rate_scale=real(1),
            order=np.arange(n_padded, dtype=whole),
            next_validation=whole(0),
            loss_sum=real(0),
            weight_sum=real(0),
            round_steps=whole(0),
            round_skipped=whole(0),
            n_skipped=whole(0),
            n_rewinds=whole(0),
            status=whole(RUNNING),
        )
