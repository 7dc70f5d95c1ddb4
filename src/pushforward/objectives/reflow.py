"""Reflow: a flow trained on the pairs that another one makes, whose paths are straighter and need fewer steps."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, check_int, message
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys
from pushforward.bijections import Continuous
from pushforward.distributions import AbstractDistribution, Flow
from pushforward.distributions.base import split_condition
from pushforward.dynamics import AbstractSolver, Adaptive, BridgeField, PredictionField
from pushforward.dynamics.adjoint import solve_rows
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.drawn_times import AbstractTimes, UniformTimes, stratified
from pushforward.objectives.field_view import layer_and_noise, view


class Reflow(AbstractObjective):
    r"""Regression on a teacher, $\mathbb{E}\,|v_\theta(t, t x_1 + (1-t) x_0) - (x_1 - x_0)|^2$, by its pairs.

    The teacher's equation carries noise $x_0$ to $x_1$. Such pairs do not cross as independent ones do, so that the
    trained flow has the same distribution and straighter paths: few steps of a solver are enough
    (`distributions.with_solver`). Start from the teacher itself: `fit(teacher, x, objective=Reflow(teacher))`. Noise is
    drawn and solved anew for each batch; of the rows of data only their number and their conditions are used.

    Args:
        teacher: A trained flow, on the same base, and with the same units after its continuous layer.
        solver: Solver of the teacher's equation; None takes the teacher's own. `FixedSteps("rk4", 8)` is often near
            enough.
        n_times: Number of times at which each pair is used; the solve that makes a pair costs more than its uses.
        times: Law of the times: `UniformTimes()` or `LogitNormalTimes()`.

    Cost: a solve of the teacher per batch, and `n_times` evaluations of the field per row.

    Raises:
        TypeError: Teacher or flow is not a `Continuous` one with nothing else to train, or the flow's field predicts
            no velocity.
        ValueError: Their events or conditions differ.

    Source: Liu, Gong, Liu, 2023, algorithm 1, arXiv 2209.03003.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.TimeMLP(jax.random.key(0), 2, width=8)
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(pf.dynamics.NetworkField(net)))
        >>> reflow = pf.objectives.Reflow(flow, pf.dynamics.FixedSteps("heun", 4))
        >>> reflow(flow, jax.numpy.zeros((4, 2)), None, None, jax.random.key(1)).shape
        ()
    """

    layer: Continuous
    noise: AbstractDistribution
    solver: AbstractSolver
    times: AbstractTimes
    n_times: int = eqx.field(static=True)
    in_nats: ClassVar[bool] = False
    trains: ClassVar = "field"

    def __init__(
        self,
        teacher: AbstractDistribution,
        solver: AbstractSolver | None = None,
        n_times: int = 4,
        times: AbstractTimes | None = None,
    ):
        self.layer, self.noise = layer_and_noise("Reflow", teacher)
        self.solver = self.layer.solver if solver is None else solver
        self.n_times = check_int("Reflow", "n_times", n_times, 1)
        self.times = UniformTimes() if times is None else times

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The squared error of each pair, the mean over its times, `(n,)`."""
        seen = view("Reflow", flow, x, condition, as_key("Reflow", key))
        field = seen.layer.field
        if isinstance(field, BridgeField) or (isinstance(field, PredictionField) and field.predicts != "velocity"):
            fix = "Train a NetworkField, such as pf.flows.rectified_flow; the teacher may be of any kind."
            raise TypeError(message("Reflow", "a field whose network is its velocity", type(field).__name__, fix))
        ours, theirs = ((f.shape, f.cond_shape) for f in (field, self.layer.field))
        if ours != theirs:
            fix = "Build the flow with the teacher's sizes."
            raise ValueError(message("Reflow", f"the teacher's shape and cond_shape, {theirs}", f"{ours}", fix))
        n, dtype = seen.x.shape[-1], seen.x.dtype
        time_key, noise_key = jax.random.split(seen.key)
        start = self.noise.sample_rows(batch_keys(noise_key, n), seen.condition).astype(dtype)
        end = jax.lax.stop_gradient(_carry(self.layer, self.solver, start, seen.condition)[0]).astype(dtype)
        t = self.times(stratified(time_key, self.n_times * n, dtype))
        # Row i stands at places i, n + i, ...: at one time of each stretch.
        start, end, given = jax.tree.map(lambda rows: jnp.tile(rows, self.n_times), (start, end, seen.condition))
        error = field(t, t * end + (1 - t) * start, given) - (end - start)
        each = jnp.sum(error**2, axis=tuple(range(error.ndim - 1)))
        return jnp.mean(each.reshape(self.n_times, n), axis=0) - seen.log_prob


def _carry(layer: Continuous, solver: AbstractSolver, x: Array, condition: Array | None) -> tuple[Array, Array]:
    r"""Where the field carries noise `(*shape, n)`, and $\int |v|^2 dt$ on the way, `(n,)`."""
    field = layer.field
    arrays, static = eqx.partition(field, eqx.is_array)

    def moved(t: Array, x: Array, shared: Any, own: Any) -> tuple[Array, Array]:
        velocity = eqx.combine(shared, static)(t, x, own)
        return velocity, jnp.sum(velocity**2)

    own = None if condition is None else jnp.moveaxis(condition, -1, 0)
    found = solve_rows(solver, moved, jnp.moveaxis(x, -1, 0), field.start, field.end, arrays, own)
    end, energy = found.y
    return jnp.moveaxis(end, 0, -1), energy


@eqx.filter_jit
def _pairs(
    layer: Continuous, noise: AbstractDistribution, solver: AbstractSolver, key: PRNGKeyArray, n: int, condition: Any
) -> tuple[Array, Array, Array]:
    if condition is not None:
        condition = jnp.moveaxis(jnp.broadcast_to(condition, (n, *(layer.cond_shape or ()))), 0, -1)
    start = noise.sample_rows(batch_keys(key, n), condition)
    end, energy = _carry(layer, solver, start, condition)
    return jnp.moveaxis(start, -1, 0), jnp.moveaxis(end, -1, 0), energy


def _of(name: str, flow: Flow, key: Any, n: int, condition: Any, solver: AbstractSolver | None) -> tuple:
    if not isinstance(flow, Flow):
        raise TypeError(message(name, "a Flow", type(flow).__name__, "Of a table's model take .values."))
    layer, noise = layer_and_noise(name, flow)
    condition, _ = split_condition(name, condition, flow.cond_shape)
    solver = layer.solver if solver is None else solver
    return layer, _pairs(layer, noise, solver, as_key(name, key), check_int(name, "n", n, 1), condition)


def reflow_pairs(
    flow: Flow, key: PRNGKeyArray, n: int, condition: Any = None, solver: AbstractSolver | None = None
) -> tuple[Array, Array]:
    r"""Pairs $(x_0, x_1)$ of noise and of where the flow carries it, on which `Reflow` trains.

    Args:
        flow: A flow with one `Continuous` among fixed bijections.
        key: JAX key; row `i` depends on the key and `i` alone.
        n: Number of pairs.
        condition: One condition for all, or `(n, *cond_shape)`.
        solver: Solver of the equation; None takes the layer's own.

    Returns:
        Both ends of the continuous layer, `(n, *shape)` each: what fixed bijections around it do is not in them.
    """
    return _of("reflow_pairs", flow, key, n, condition, solver)[1][:2]


def straightness(
    flow: Flow, key: PRNGKeyArray, n: int, condition: Any = None, solver: AbstractSolver | None = None
) -> float:
    r"""The integral $\mathbb{E}\int_0^1 |x_1 - x_0 - v(t, x_t)|^2\,dt$ along the flow's paths: 0 if they are straight.

    If it is 0, one Euler step samples exactly. It equals $\int |v|^2 dt - |x_1 - x_0|^2$, so that one solve gives both
    terms; a result below the solver's error cannot be told from 0.

    Args:
        flow: A flow with one `Continuous` among fixed bijections.
        key: JAX key.
        n: Number of paths.
        condition: One condition for all, or `(n, *cond_shape)`.
        solver: Solver of the equation; None is `Adaptive()`, whatever the flow's own is: few steps of Euler's method
            look straight always.

    Source: Liu, Gong, Liu, 2023, section 2.2, arXiv 2209.03003.
    """
    solver = Adaptive() if solver is None else solver
    layer, (start, end, energy) = _of("straightness", flow, key, n, condition, solver)
    moved = jnp.sum((end - start) ** 2, axis=tuple(range(1, start.ndim)))
    duration = layer.field.end - layer.field.start
    return float(jnp.mean(duration * energy - moved))
