"""The few compiled programs that all checks share: they score, decode, draw and differentiate rows in equal chunks.

Most of the time of a check is compilation. Therefore each program is compiled once per precision, and programs that run
on a few rows only are compiled without optimisation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._precision import in_type
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys, in_chunks
from pushforward.bijections.base import AbstractBijection, fold_keys, run_batch
from pushforward.checking.spline_walk import Probe, walk_splines
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.compound import score_member

CHUNK = 512  # rows per call
MANY_ROWS = 20_000  # rows from which on a program is compiled with all of XLA's optimisations
WIDE_CHUNK = 64  # rows per call for events of more than `WIDE_EVENT` elements, whose rows are more work
WIDE_EVENT = 256
GRID_CHUNK = 8192  # rows per call of quadrature, in one or two dimensions
QUICK = {"xla_backend_optimization_level": 0}  # compiles in half the time, and runs at a third of the speed


def quickly(function: Any) -> Any:
    """Compile a function without optimisation."""
    compiler: Any = eqx.filter_jit  # its signature does not say that it passes options on
    return compiler(function, compiler_options=QUICK)


def bijection_of(model: AbstractDistribution) -> AbstractBijection | None:
    """The map from latent to data of a flow, None for another distribution."""
    return model.bijection if isinstance(model, Flow) else None


@dataclass(frozen=True)
class Programs:
    """The programs of a model in one precision, which take and return host arrays of rows `(n, *event)`.

    Args:
        model: Model in that precision, see `in_type`.
        wide: Whether the precision is float64, else float32.
    """

    model: AbstractDistribution
    wide: bool

    @staticmethod
    def of(model: AbstractDistribution, wide: bool) -> Programs:
        """Make the programs of a model, whose own precision may be another."""
        return Programs(in_type(model, np.float64 if wide else np.float32), wide)

    @property
    def chunk(self) -> int:
        """Number of rows per call."""
        return WIDE_CHUNK if int(np.prod(self.model.event_shape)) > WIDE_EVENT else CHUNK

    def score(self, x: np.ndarray, condition: np.ndarray | None, keys: PRNGKeyArray | None = None) -> ScoredRows:
        """Compute log-densities, and for a flow also latents and log-dets from data to latent.

        Args:
            x: Rows `(n, *event_shape)`.
            condition: Conditions `(n, *cond_shape)`, or None.
            keys: Keys `(n,)`, which are needed if and only if the log-density is random.
        """
        program = _score if self.wide else _score_few
        return ScoredRows(*self._chunks(program, (self.model,), (x, condition, keys), self.chunk))

    def log_prob(
        self, x: np.ndarray, condition: np.ndarray | None, keys: PRNGKeyArray | None = None, chunk: int | None = None
    ) -> np.ndarray:
        """Log-densities `(n,)` by the model's own method, in chunks of a size of choice."""
        program = _log_prob_few if chunk == 1 else _log_prob
        return self._chunks(program, (self.model,), (x, condition, keys), chunk or self.chunk)

    def decode(
        self, z: np.ndarray, condition: np.ndarray | None, keys: PRNGKeyArray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The data `(n, *event_shape)` of latents, and the log-dets from latent to data."""
        program = _decode if self.wide else _decode_few
        return self._chunks(program, (bijection_of(self.model),), (z, condition, keys), self.chunk)

    def latents(self, key: PRNGKeyArray, n: int, condition: np.ndarray | None) -> np.ndarray:
        """Draw `n` latents from the base; the condition has as many rows."""
        return self._draw(getattr(self.model, "base"), key, n, condition)  # noqa: B009 - flows alone have one

    def samples(self, key: PRNGKeyArray, n: int, condition: np.ndarray | None) -> np.ndarray:
        """Draw `n` rows from the model; the condition has as many rows."""
        model = self.model
        # This is what `Flow` does, with the program that decodes anyway instead of another one.
        if (
            isinstance(model, Flow)
            and type(model).sample_rows is Flow.sample_rows
            and not model.bijection.traits.needs_key
        ):
            return self.decode(self.latents(key, n, condition), condition)[0]
        return self._draw(model, key, n, condition)

    def derivatives(self, rows: np.ndarray, condition: np.ndarray | None, forward: bool, chunk: int) -> Derivatives:
        """Compute Jacobians and gradients of the log-det of the flow's bijection at rows, by reverse mode."""
        fixed = (bijection_of(self.model), forward)
        return Derivatives(*self._chunks(_derivatives, fixed, (rows, condition), chunk))

    def walk(self, x: np.ndarray, condition: np.ndarray | None, probe: Probe) -> tuple[np.ndarray, np.ndarray]:
        """Map rows to latents, moved on the way as `probe` says; tell also which spline layers they missed `(n, L)`."""
        arguments = (x, condition, probe.layer, probe.coordinate, probe.knot, probe.ulps)
        # Compiling well takes as long as some ten thousand rows.
        program = _walk if len(x) > MANY_ROWS else _walk_few
        return self._chunks(program, (bijection_of(self.model),), arguments, self.chunk)

    def _draw(self, model: AbstractDistribution, key: PRNGKeyArray, n: int, condition: np.ndarray | None) -> np.ndarray:
        numbers = np.arange(n, dtype=np.uint32)
        own = None if model.cond_shape is None else condition
        return self._chunks(_draw, (model, key), (numbers, own), self.chunk)

    def _chunks(self, program: Any, fixed: tuple, rows: tuple, chunk: int) -> Any:
        """Run `program(*fixed, *rows)` on one chunk of rows after the other; all have one size, with rows first."""
        dtype = np.float64 if self.wide else np.float32
        with jax.enable_x64(self.wide):
            return in_chunks(lambda *part: program(*fixed, *part), chunk, *(_host(array, dtype) for array in rows))


@dataclass(frozen=True)
class ScoredRows:
    """Log-densities `(n,)`; for a flow also latents `(n, *in_shape)` and log-dets `(n,)` from data to latent."""

    log_prob: np.ndarray
    latents: np.ndarray
    log_det: np.ndarray


@dataclass(frozen=True)
class Derivatives:
    """Jacobians `(n, D, D)` with the output first, and the gradients `(n, D)` of the log-dets."""

    jacobian: np.ndarray
    gradient: np.ndarray


def _host(array: Any, dtype: Any) -> Any:
    return array.astype(dtype) if isinstance(array, np.ndarray) and array.dtype.kind == "f" else array


def _last(array: Any) -> Any:
    return None if array is None else jnp.moveaxis(array, 0, -1)


def _own(part: Any, condition: Any) -> Any:
    return None if part.cond_shape is None else _last(condition)


def _score_rows(model: AbstractDistribution, x: Array, condition: Any, keys: Any) -> tuple[Array, Array, Array]:
    rows, bijection = _last(x), bijection_of(model)
    if bijection is None or not isinstance(model, Flow):
        log_prob = model.log_prob_rows(rows, _own(model, condition), keys)
        return log_prob, jnp.zeros((len(x), 0), log_prob.dtype), jnp.zeros_like(log_prob)

    def step(member: Any, rows: Array, *arguments: Any) -> tuple[Array, Array, tuple[Array, Array]]:
        z, number, _ = score_member(member, rows, *arguments)
        return z, number, (z, number)

    # One program gives densities and latents.
    log_prob, (_, (z, log_det)) = model.score_with(step, rows, _own(model, condition), keys)
    if type(model).log_prob_rows is not Flow.log_prob_rows:
        log_prob = model.log_prob_rows(rows, _own(model, condition), keys)
    return log_prob, jnp.moveaxis(z, -1, 0), log_det


_score, _score_few = eqx.filter_jit(_score_rows), quickly(_score_rows)


def _log_prob_rows(model: AbstractDistribution, x: Array, condition: Any, keys: Any) -> Array:
    return model.log_prob_rows(_last(x), _own(model, condition), keys if model.needs_key else None)


_log_prob, _log_prob_few = eqx.filter_jit(_log_prob_rows), quickly(_log_prob_rows)


def _decode_rows(bijection: AbstractBijection, z: Array, condition: Any, keys: Any) -> tuple[Array, Array]:
    x, log_det = run_batch(bijection, _last(z), _last(condition), fold_keys(keys, 1), True)
    return jnp.moveaxis(x, -1, 0), log_det


_decode, _decode_few = eqx.filter_jit(_decode_rows), quickly(_decode_rows)


@eqx.filter_jit
def _draw(model: AbstractDistribution, key: PRNGKeyArray, numbers: Array, condition: Any) -> Array:
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)
    return jnp.moveaxis(model.sample_rows(keys, _last(condition)), -1, 0)


def _derivatives_of_rows(
    bijection: AbstractBijection, forward: bool, rows: Array, condition: Any
) -> tuple[Array, Array]:
    """Jacobians and gradients of the log-det, by one pull-back per output for all rows at once and one for the log-det.

    Reverse mode is used, because hand-written derivatives (`jax.custom_vjp`) offer no other.
    """
    n, size = len(rows), int(np.prod(rows.shape[1:]))
    keys = batch_keys(jax.random.key(0), n) if bijection.traits.needs_key else None

    def run(flat: Array) -> tuple[Array, Array]:
        events = flat.reshape((*rows.shape[1:], n))
        out, log_det = run_batch(bijection, events, _last(condition), keys, forward)
        return out.reshape(size, n), log_det

    (_, log_det), pull = jax.vjp(run, _last(rows).reshape(size, n))
    of_image = jnp.concatenate([jnp.eye(size, dtype=log_det.dtype), jnp.zeros((1, size), log_det.dtype)])
    of_log_det = (jnp.arange(size + 1) == size).astype(log_det.dtype)

    def one(weights: tuple[Array, Array]) -> Array:
        return pull((jnp.broadcast_to(weights[0][:, None], (size, n)), jnp.broadcast_to(weights[1], (n,))))[0]

    # A loop instead of a vmap: it compiles faster, and the memory does not grow with the dimension.
    pulled = jax.lax.map(one, (of_image, of_log_det))
    return jnp.transpose(pulled[:size], (2, 0, 1)), pulled[size].T


_derivatives = quickly(_derivatives_of_rows)


def _walk_rows(
    bijection: AbstractBijection,
    x: Array,
    condition: Any,
    layer: Array,
    coordinate: Array,
    knot: Array,
    ulps: Array,
) -> tuple[Array, Array]:
    z, met = walk_splines(bijection, _last(x), _last(condition), probe=Probe(layer, coordinate, knot, ulps))
    missed = jnp.stack([jnp.any((one.values < one.low) | (one.values > one.high), axis=0) for one in met], axis=-1)
    return jnp.moveaxis(z, -1, 0), missed


_walk, _walk_few = eqx.filter_jit(_walk_rows), quickly(_walk_rows)
