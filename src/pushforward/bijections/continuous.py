"""The flow of a velocity field as a bijection: neural ODE flows, FFJORD, flow matching, probability-flow equations."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractSolvedBijection, SolvedRows
from pushforward.dynamics.adjoint import Moved, solve_rows
from pushforward.dynamics.fields import AbstractField, value_and_divergence, value_divergence_and_energies
from pushforward.dynamics.solvers import AbstractSolver, Adaptive, OdeSolution
from pushforward.numerics.trace_estimators import AbstractTrace, ExactTrace, Hutchinson, draw_rows


class Continuous(AbstractSolvedBijection):
    r"""$y = x(1)$ where $\dot x = v(t, x; c)$, $x(0) = x$; $\log|\det| = \int_0^1 \operatorname{tr} \partial_x v\,dt$.

    Noise is at $t = 0$ and data at $t = 1$, so that `forward` samples and `inverse` scores. How the field was trained
    (by likelihood, by flow matching, as a score) makes no difference here.

    Each event is solved with its own steps, whose size depends on the error of the event alone: a density depends
    neither on the batch nor on whether the log-determinant is computed too. Probes of a random trace are drawn once per
    solve, so that the integrand is smooth and the estimate unbiased. A row whose solve fails is NaN, and `report` says
    which rows these are.

    Args:
        field: The velocity field.
        divergence: How the divergence is computed. The default is `ExactTrace()`, which is in closed form for a
            `TimeMLP` of one or two hidden layers and takes one product per dimension otherwise; `Hutchinson(...)` or
            `HutchPlusPlus(...)` suit events of many dimensions.
        solver: The solver, `Adaptive()` by default, or `FixedSteps(...)`.
        scoring: The solver of the model's `evaluation_form`, which `pf.fit` returns and which is saved; None keeps
            `solver`. So training may use another tolerance than scoring.

    Cost: as many evaluations of the field as the solver takes.

    Log-det: exact to the solver's tolerance with an exact trace; unbiased with random probes.

    Source: Chen, Rubanova, Bettencourt, Duvenaud, 2018, theorem 1, arXiv 1806.07366; Grathwohl et al., 2019, arXiv
        1810.01367.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.TimeMLP(jax.random.key(0), 2, width=8)
        >>> flow = pf.bijections.Continuous(pf.dynamics.NetworkField(net))
        >>> x = jax.numpy.array([1.0, -2.0])
        >>> flow.inverse(flow.forward(x)).round(3).tolist()
        [1.0, -2.0]
    """

    field: AbstractField
    divergence: AbstractTrace
    solver: AbstractSolver
    scoring: AbstractSolver | None
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        field: AbstractField,
        divergence: AbstractTrace | None = None,
        solver: AbstractSolver | None = None,
        scoring: AbstractSolver | None = None,
    ):
        if not isinstance(field, AbstractField):
            fix = "Wrap a network in dynamics.NetworkField."
            raise TypeError(message("Continuous", "a velocity field", type(field).__name__, fix))
        self.field, self.solver = field, Adaptive() if solver is None else solver
        self.divergence, self.scoring = ExactTrace() if divergence is None else divergence, scoring
        self.in_shape = self.out_shape = field.shape
        self.cond_shape = field.cond_shape
        random = self.divergence.needs_key
        exactness = "unbiased" if random else "exact" if isinstance(self.divergence, ExactTrace) else "biased"
        self.traits = Traits("iterative", "iterative", exactness, random)

    def report(self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool) -> SolvedRows:
        """Solve rows on the last axis in one direction, and report evaluations and failures.

        Args:
            value: Events, rows on the last axis, `(*shape, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`; None if and only if the layer is unconditional.
            keys: JAX keys, one per row, `(n,)`; None iff the trace is exact.
            forward: from noise to data.
        """
        dtype = jnp.result_type(value, *jax.tree.leaves(eqx.filter(self.field, eqx.is_inexact_array)))
        value = value.astype(dtype)
        exact = isinstance(self.divergence, ExactTrace)
        probes = None if exact else draw_rows(self.divergence, keys, value.shape[-1], self.in_shape, dtype)
        arrays, static = eqx.partition(self.field, eqx.is_array)
        closed = self.field.closed_form() if exact else None

        def moved(t: Array, x: Array, shared: tuple, own: tuple) -> tuple[Array, Array]:
            field = eqx.combine(shared[0], static)
            return value_and_divergence(field, self.divergence, shared[1], own[1], t, x, own[0])

        found = self._solve(moved, value, (arrays, closed), (condition, probes), forward)
        end, log_det = found.y
        return SolvedRows(jnp.moveaxis(end, 0, -1), log_det, found.n_evaluations, found.failed)

    def energies(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray, forward: bool
    ) -> tuple[SolvedRows, Array, Array]:
        r"""The solved rows, the kinetic energy $\int |v|^2 dt$, and $\int |\epsilon^T \partial_x v|^2 dt$, each `(n,)`.

        Args:
            value: Events, rows on the last axis, `(*shape, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`; None if and only if the layer is unconditional.
            keys: JAX keys, one per row, `(n,)`, for the probes of the trace and of the Jacobian's norm.
            forward: from noise to data.

        Source: Finlay, Jacobsen, Nurbekyan, Oberman, 2020, eq. 9-10, arXiv 2002.02798.
        """
        dtype = jnp.result_type(value, *jax.tree.leaves(eqx.filter(self.field, eqx.is_inexact_array)))
        value = value.astype(dtype)
        exact, n = isinstance(self.divergence, ExactTrace), value.shape[-1]
        own = self.divergence if isinstance(self.divergence, Hutchinson) else Hutchinson()
        directions = own.vectors(lambda v: v, draw_rows(own, keys, n, self.in_shape, dtype), rows=True)
        probes = None if exact else draw_rows(self.divergence, keys, n, self.in_shape, dtype)

        def moved(t: Array, x: Array, shared: tuple, own: tuple) -> tuple[Array, Array]:
            field, closed = eqx.combine(shared[0], static), shared[1]
            condition, probes, directions = own
            arguments = (field, self.divergence, closed, probes, directions, t, x, condition)
            return value_divergence_and_energies(*arguments)

        arrays, static = eqx.partition(self.field, eqx.is_array)
        shared = (arrays, self.field.closed_form() if exact else None)
        found = self._solve(moved, value, shared, (condition, probes, directions), forward, (3,))
        end, totals = found.y
        report = SolvedRows(jnp.moveaxis(end, 0, -1), totals[:, 0], found.n_evaluations, found.failed)
        # Both are integrals over the length of time, whichever the direction.
        sign = 1 if forward else -1
        return report, sign * totals[:, 1], sign * totals[:, 2]

    def _solve(
        self, moved: Moved, value: Array, shared: Any, own: Any, forward: bool, integrals: tuple[int, ...] = ()
    ) -> OdeSolution:
        """Solve with `solve_rows`, for rows on the last axis of the value and of the arrays of each row.

        Arrays of half precision are solved in float32: the errors that set the steps lie below the rounding of a half.
        """
        t0, t1 = (self.field.start, self.field.end) if forward else (self.field.end, self.field.start)
        rows, own = jax.tree.map(lambda rows: jnp.moveaxis(rows, -1, 0), (value, own))
        rows, shared, own = jax.tree.map(_at_least_single, (rows, shared, own))
        found = solve_rows(self.solver, moved, rows, t0, t1, shared, own, integrals)
        return found._replace(y=jax.tree.map(lambda y: y.astype(value.dtype), found.y))


def _at_least_single(array: Array) -> Array:
    """The array in float32 if its numbers are of half precision."""
    dtype = jnp.result_type(array)
    half = jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
    return array.astype(jnp.float32) if half else array


# Beyond this many dimensions an exact divergence by products is too expensive for scoring. A product with the Jacobian
# of an image's network takes as long as the network: 64 of them took 5 s of CPU for an 8 x 8 image.
MAX_EXACT_DIM, MAX_EXACT_IMAGE = 64, 16
EVALUATION_PROBES = 16


def evaluation_layer(layer: Continuous) -> Continuous:
    """The layer as it is scored: deterministic, and with its solver for scoring."""
    divergence, solver = layer.divergence, layer.scoring or layer.solver
    if divergence.needs_key:
        most = MAX_EXACT_IMAGE if len(layer.in_shape) == 3 else MAX_EXACT_DIM
        exact = math.prod(layer.in_shape) <= most or layer.field.closed_form() is not None
        divergence = ExactTrace() if exact else Hutchinson(EVALUATION_PROBES, seed=0)
    if divergence is layer.divergence and layer.scoring is None:
        return layer
    return Continuous(layer.field, divergence, solver)
