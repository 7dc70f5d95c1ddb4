"""The error of a log-density: that of random probes, and that of solvers of differential equations."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import ConvergenceError, message
from pushforward._meshes import explicit_axes, in_rows
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import batch_keys, rows_last
from pushforward.bijections.base import AbstractBijection, AbstractComposite, AbstractSolvedBijection, needed, run_batch
from pushforward.distributions.compound import AbstractCompound, AbstractRows, needed_to_score
from pushforward.distributions.replacements import with_solver
from pushforward.numerics.mean_error import mean_and_error

N_DRAWS = 8  # keys that are drawn where the log-density is random; their mean is reported


class Estimate(NamedTuple):
    """Log-densities and how far they may be off, each of the batch's shape.

    Attributes:
        log_prob: Log-density in nats; where it is random, the mean over several keys. NaN where a solve failed.
        probe_error: Standard error of that mean; 0 where nothing is random.
        solver_error: Change of the log-density when solvers of differential equations work at half their tolerance, or
            with twice their fixed steps; 0 without any.
        n_evaluations: Number of evaluations of velocity fields and inverted contractions, per row and draw.
        failed: Whether a solve of the row ran out of steps or blew up.
    """

    log_prob: np.ndarray
    probe_error: np.ndarray
    solver_error: np.ndarray
    n_evaluations: np.ndarray
    failed: np.ndarray

    def require(self) -> np.ndarray:
        """The log-densities, if every solve reached its end.

        Raises:
            ConvergenceError: A solve did not reach its end; the message names the rows.
        """
        rows = np.flatnonzero(np.ravel(self.failed))
        if len(rows):
            most = int(np.max(self.n_evaluations))
            got = f"{len(rows)} failed, the first {rows[:5].tolist()}, after {most} evaluations"
            fix = (
                "The steps ran out or the state blew up: look for outliers among these rows, allow more steps "
                "(Adaptive(max_steps=...)), loosen the tolerance, or take an implicit method (kvaerno5)."
            )
            raise ConvergenceError(message("log_prob", "every row to be solved", got, fix))
        return self.log_prob


class Tally(NamedTuple):
    """Evaluations and failures of the solves of rows, each `(n,)`."""

    n_evaluations: Array
    failed: Array


def estimate(
    model: AbstractRows,
    x: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    batches: tuple[Shape, Shape],
) -> Estimate:
    """The result of `log_prob(..., with_error=True)`.

    Args:
        model: Any distribution.
        x: Events `(*batch, *event_shape)`.
        condition: Conditions `(*batch, *cond_shape)`, or None.
        key: JAX key; it is needed iff the log-density is random.
        batches: Batch dimensions of `x` and of the condition.

    Cost: two log-densities per draw, the second at half the tolerance; one draw, or `N_DRAWS` of a random one.
    """
    keys = [None] if key is None else list(jax.random.split(key, N_DRAWS))
    tight = with_solver(model, lambda solver: solver.tighter())
    drawn = [_scored(model, tight, x, condition, own, batches=batches) for own in keys]
    values, changes, counts, failed = (
        np.stack([np.asarray(part) for part in parts]) for parts in zip(*drawn, strict=True)
    )
    mean, error = mean_and_error(values)
    error = np.zeros_like(mean) if key is None else error
    # Both use the same probes, so that the difference is the solver's.
    return Estimate(mean, error, np.abs(changes.mean(axis=0)), counts.mean(axis=0), np.asarray(failed.any(axis=0)))


@eqx.filter_jit
def _scored(
    model: AbstractRows,
    tight: AbstractRows,
    x: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    *,
    batches: tuple,
) -> tuple[Array, Array, Array, Array]:
    if explicit_axes():
        own = functools.partial(_scored_rows, batches=batches)
        return in_rows(lambda model, *rest: own(model, rest[-1], *rest[:-1]), batches, model, x, condition, key, tight)
    return _scored_rows(model, tight, x, condition, key, batches)


def _scored_rows(
    model: AbstractRows,
    tight: AbstractRows,
    x: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    batches: tuple,
) -> tuple[Array, Array, Array, Array]:
    shape = np.broadcast_shapes(*batches)
    keys = None if key is None else batch_keys(key, math.prod(shape)).reshape(shape)

    def run(x: Array, condition: Array | None, keys: PRNGKeyArray | None = None) -> tuple:
        _, value, tally = _tallied(model, x, condition, keys, False)
        return value, value - _tallied(tight, x, condition, keys, False)[1], tally.n_evaluations, tally.failed

    arguments = (x, condition) if keys is None else (x, condition, keys)
    return rows_last(run, batches if keys is None else (*batches, shape), *arguments)


def _tallied(
    part: Any, rows: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array, Tally]:
    """The step that counts: values, log-determinants or log-densities, and the solves of each row, however nested."""
    n = rows.shape[-1]
    if isinstance(part, AbstractBijection):
        condition, keys = needed(part, condition, keys)
        if isinstance(part, AbstractSolvedBijection):
            found = part.report(rows, condition, keys, forward)
            return found.value, found.log_det, Tally(found.n_evaluations, found.failed)
        if isinstance(part, AbstractComposite):
            rows, log_det, tallies = part.run_with(_tallied, rows, condition, keys, forward)
            return rows, log_det, _sum(tallies, n)
        return *run_batch(part, rows, condition, keys, forward), _sum((), n)
    condition, keys = needed_to_score(part, condition, keys)
    if isinstance(part, AbstractCompound):
        log_prob, tallies = part.score_with(_tallied, rows, condition, keys)
        return rows, log_prob, _sum(tallies, n)
    return rows, part.log_prob_rows(rows, condition, keys), _sum((), n)


def _sum(tallies: tuple[Tally, ...], n: int) -> Tally:
    """The solves of `n` rows in all members, and in all layers and pixels of one."""
    total = Tally(jnp.zeros(n, int), jnp.zeros(n, bool))
    for tally in tallies:
        count, failed = (part.reshape(-1, n) for part in tally)
        total = Tally(total.n_evaluations + count.sum(axis=0), total.failed | failed.any(axis=0))
    return total
