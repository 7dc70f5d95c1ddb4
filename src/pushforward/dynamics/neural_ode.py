"""A neural ODE as a layer: the states of an equation at any times, for series that are observed irregularly."""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from pushforward._checks import message
from pushforward._types import Array
from pushforward.dynamics.fields import AbstractField
from pushforward.dynamics.solvers import AbstractSolver, Adaptive, in_every_mode, root_mean_square, solvers

Bounds = tuple[float, float]
# Equal steps of a segment end where it ends: rounding and the remainder may each take one more.
SPARE_STEPS = 2


class Trajectory(NamedTuple):
    """The states of a solve, or of one per row.

    Attributes:
        states: `(n_times, *shape)`, rows before; NaN from the first time on that the solve did not reach.
        n_evaluations: Number of evaluations of the network.
        failed: whether a state is missing: the steps ran out, the state blew up, or times given under a transformation
            were out of order.
    """

    states: Array
    n_evaluations: Array
    failed: Array


class NeuralODE(eqx.Module):
    r"""$y(t_1), \dots, y(t_m)$ where $\dot y = f(t, y; c)$ and $y(t_0)$ is given.

    One solve passes all times, which ascend or descend and may repeat, so that series of different lengths are padded
    with their last time. What stands between two steps is interpolated, as well as a method of order 4 solves: the more
    exact steps of `"dopri8"` and `"kvaerno5"` lose there what they gain.

    A loss may take the states at any of the times. With `gradient="adjoint"` its gradients come from an equation that
    is solved backwards from time to time, and whose error is kept like that of the state; times then have none.

    Args:
        net: called as `net(t, y, condition)`: any module or function whose result has the state's shape. A velocity
            field is taken too, at times within its `start` and `end`.
        solver: `Adaptive()` by default. The steps of a `FixedSteps` divide the time from first to last.

    Cost: as many evaluations of the network as the solver takes, however many times there are.

    Raises:
        TypeError: `net` is not callable.
        ValueError: times are out of order or out of a field's bounds, or shapes do not fit.

    Source: Chen, Rubanova, Bettencourt, Duvenaud, 2018, sections 2 and 5, arXiv 1806.07366.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> decay = pf.dynamics.NeuralODE(lambda t, y, condition: -y)
        >>> decay(jnp.ones(1), jnp.array([0.0, 0.1, 1.0]))[:, 0].round(3).tolist()
        [1.0, 0.905, 0.368]
    """

    net: Any
    solver: AbstractSolver

    def __init__(self, net: Any, solver: AbstractSolver | None = None):
        if not callable(net):
            fix = "Pass a module or function of time, state and condition."
            raise TypeError(message("NeuralODE", "a network", type(net).__name__, fix))
        self.net, self.solver = net, Adaptive() if solver is None else solver

    def __call__(self, y0: Any, times: Any, condition: Any = None, *, t0: Any = None) -> Array:
        """The states of one event at some times, `(n_times, *shape)`; arguments as for `report`."""
        return self.report(y0, times, condition, t0=t0).states

    def report(self, y0: Any, times: Any, condition: Any = None, *, t0: Any = None) -> Trajectory:
        """The states of one event, with evaluations and whether the solve failed.

        Args:
            y0: the state at `t0`, of any shape.
            times: `(n_times,)`, ascending or descending.
            condition: handed to the network.
            t0: when the state is `y0`, not between the times; None: at the first of them.
        """
        _check_shape("times", np.shape(times), 1)
        _check_times(times, t0, self._bounds)
        dtype = jnp.result_type(float, y0, *jax.tree.leaves(eqx.filter(self.net, eqx.is_inexact_array)))
        y, times = jnp.asarray(y0, dtype), jnp.asarray(times, dtype)
        condition = None if condition is None else jnp.asarray(condition)
        self._check_output(y, condition)
        if t0 is None:
            return self._solve(y, times, condition)
        found = self._solve(y, jnp.concatenate([jnp.asarray(t0, dtype)[None], times]), condition)
        return found._replace(states=found.states[1:])

    def batch(self, y0: Any, times: Any, condition: Any = None, *, t0: Any = None) -> Trajectory:
        """The states of rows, each solved with steps of its own: `(n, n_times, *shape)`.

        Args:
            y0: `(n, *shape)`.
            times: `(n_times,)` for all, or `(n, n_times)`; shorter series repeat their last time.
            condition: `(n, *cond_shape)`; None iff unconditional.
            t0: `()` for all, or `(n,)`; None: the first time of each row.
        """
        y0 = jnp.asarray(y0)
        _check_shape("y0", y0.shape)
        given = {"times": (times, 1), "condition": (condition, None), "t0": (t0, 0)}
        axes = {name: _axis(name, value, shared, len(y0)) for name, (value, shared) in given.items()}
        _check_times(times, t0, self._bounds)
        condition = None if condition is None else jnp.asarray(condition)
        return jax.vmap(
            lambda y0, times, condition, t0: self.report(y0, times, condition, t0=t0),
            in_axes=(0, axes["times"], axes["condition"], axes["t0"]),
        )(y0, jnp.asarray(times), condition, None if t0 is None else jnp.asarray(t0))

    @property
    def _bounds(self) -> Bounds:
        if not isinstance(self.net, AbstractField):
            return -np.inf, np.inf
        return min(self.net.start, self.net.end), max(self.net.start, self.net.end)

    def _check_output(self, y: Array, condition: Array | None) -> None:
        out = jax.eval_shape(lambda y, condition: self.net(jnp.zeros((), y.dtype), y, condition), y, condition)
        if jnp.shape(out) != y.shape:
            fix = "The network gives the time derivative of the state; rows go to `batch`, or through jax.vmap."
            expected = f"the network's output of the state's shape {y.shape}"
            raise ValueError(message("NeuralODE", expected, f"shape {jnp.shape(out)}", fix))

    def _solve(self, y: Array, times: Array, condition: Array | None) -> Trajectory:
        """States at all of `times`, from `y` at the first."""
        import diffrax

        known, (low, high) = _in_order(jnp, times, self._bounds), self._bounds
        times = jnp.where(known, times, 0.0 if np.isinf(low) else low)
        first, last = times[0], times[-1]
        # Over no time at all steps would have no length. Such a series is solved a little farther, and not looked at.
        least = jnp.finfo(times.dtype).eps ** 0.5 * jnp.maximum(1, jnp.abs(first))
        descends = (last < first) | ((last == first) & (first + least > high))
        end = jnp.where(jnp.abs(last - first) > least, last, first + jnp.where(descends, -least, least))

        method = solvers()[self.solver.method]()
        arrays, static = eqx.partition(self.net, eqx.is_array)
        # A list of arrays: diffrax's adjoint stumbles over empty containers.
        leaves, structure = jax.tree.flatten((arrays, condition))

        def moved(t: Any, y: Any, leaves: Any) -> tuple:
            arrays, condition = jax.tree.unflatten(structure, leaves)
            return (eqx.combine(arrays, static)(t, y[0], condition),)

        # What a function closes over is differentiated too.
        pure, closed = jax.closure_convert(moved, first, (y,), leaves)

        def field(t: Any, y: Any, arguments: list) -> tuple:
            return pure(t, y, arguments[: len(leaves)], *arguments[len(leaves) :])

        def ends(
            direct: bool, y: Array, first: Array, end: Array, times: Array, arguments: list
        ) -> tuple[Array, Array]:
            if self.solver.gradient == "adjoint":
                first, end, times = jax.lax.stop_gradient((first, end, times))
            controller, step, max_steps = self.solver.control(first, end)
            span = jnp.abs(end - first)
            own = diffrax.DirectAdjoint() if direct else _adjoint(self.solver, method, controller, span, max_steps)
            found: Any = diffrax.diffeqsolve(
                diffrax.ODETerm(field),
                method,
                t0=first,
                t1=end,
                dt0=step,
                y0=(y,),
                args=arguments,
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=controller,
                adjoint=own,
                max_steps=max_steps,
                throw=False,
            )
            return found.ys[0], found.stats["num_steps"]

        direct = self.solver.gradient == "direct"
        solve = functools.partial(ends, True) if direct else in_every_mode(ends)
        kept, n_steps = solve(y, first, end, times, [*leaves, *closed])
        wide = (-1, *[1] * y.ndim)
        # Where diffrax did not come it leaves infinity; the start is known though no step succeeds.
        states = jnp.where((times == first).reshape(wide), y, kept)
        finite = jnp.all(jnp.isfinite(states), axis=tuple(range(1, states.ndim)))
        reached = jnp.cumprod(finite & known) == 1
        per_step = getattr(getattr(method, "tableau", None), "num_stages", 1)
        states = jnp.where(reached.reshape(wide), states, jnp.nan)
        return Trajectory(states, n_steps * per_step, ~jnp.all(reached))


def _adjoint(solver: AbstractSolver, method: Any, controller: Any, span: Array, max_steps: int) -> Any:
    """How diffrax differentiates a solve that is looked at on its way."""
    import diffrax

    if solver.gradient == "checkpointed":
        return diffrax.RecursiveCheckpointAdjoint()
    if isinstance(controller, diffrax.PIDController):
        back = diffrax.PIDController(rtol=controller.rtol, atol=controller.atol, norm=_state_and_cotangent)
        return diffrax.BacksolveAdjoint(solver=method, stepsize_controller=back)
    # The way back goes from time to time, which are no nodes of the grid: steps of the same length, and what is left.
    # Diffrax runs it in a time in which the way there ascends.
    return diffrax.BacksolveAdjoint(
        solver=method,
        stepsize_controller=_equal_steps(),
        dt0=-span / max_steps,
        max_steps=max_steps + SPARE_STEPS,
    )


@functools.cache
def _equal_steps() -> Any:
    """Steps of the length `dt0`, in any number of segments."""
    import diffrax

    class EqualSteps(diffrax.AbstractStepSizeController):
        """What `diffrax.ConstantStepSize` is in one segment.

        That (0.7.2) takes the end of the first segment into the others: gradients at several times come out wrong.
        """

        def wrap(self, direction: Any) -> Any:
            return self

        def init(self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any) -> Any:
            return t0 + dt0, dt0

        def adapt_step_size(
            self, t0: Any, t1: Any, y0: Any, y1_candidate: Any, args: Any, y_error: Any, error_order: Any, step: Any
        ) -> Any:
            return True, t1, t1 + step, False, step, diffrax.RESULTS.successful

    return EqualSteps()


def _state_and_cotangent(y: Any) -> Array:
    """The norm of the way back, where the gradients of the weights ride along."""
    (state,), (cotangent,) = y[0], y[1]
    return jnp.maximum(root_mean_square(state), root_mean_square(cotangent))


def _in_order(xp: ModuleType, times: Any, bounds: Bounds) -> Any:
    """Whether times on the last axis are finite, within bounds, and ascend or descend."""
    gaps = times[..., 1:] - times[..., :-1]
    ordered = xp.all(gaps >= 0, axis=-1) | xp.all(gaps <= 0, axis=-1)
    return ordered & xp.all(xp.isfinite(times) & (times >= bounds[0]) & (times <= bounds[1]), axis=-1)


def _check_times(times: Any, t0: Any, bounds: Bounds) -> None:
    """Raise for times that are out of order; under a transformation they are not known, and the solve fails."""
    if any(isinstance(a, Tracer) for a in (times, t0)):
        return
    rows, of_rows = np.atleast_2d(np.asarray(times, float)), np.ndim(times) == 2
    if t0 is not None:
        starts, of_rows = np.reshape(np.asarray(t0, float), (-1, 1)), of_rows or np.ndim(t0) == 1
        n = max(len(starts), len(rows))
        rows = np.concatenate([np.broadcast_to(a, (n, a.shape[1])) for a in (starts, rows)], axis=1)
    wrong = np.flatnonzero(~_in_order(np, rows, bounds))
    if not len(wrong):
        return
    row = rows[wrong[0]]
    where = f" in row {wrong[0]}" if of_rows else ""
    what = "times" if t0 is None else "t0 and then times"
    if _in_order(np, row, (-np.inf, np.inf)):
        expected = f"{what} within {bounds[0]} and {bounds[1]}, where the field is defined"
        fix = "Pass the network itself: it has no bounds."
    else:
        expected = f"{what} that are finite and ascend or descend"
        fix = "Sort them; to pad a series repeat its last time; solve from t0 to each side on its own."
    raise ValueError(message("NeuralODE", expected, f"{np.array2string(row, threshold=8)}{where}", fix))


def _check_shape(name: str, shape: tuple[int, ...], n_axes: int | None = None) -> None:
    """Raise for an array without entries, or with another number of axes."""
    if not shape or 0 in shape or (n_axes is not None and len(shape) != n_axes):
        axes = "one axis" if n_axes == 1 else "one or more axes"
        expected = f"{name} of {axes}, with entries"
        fix = "`report` takes one event and `batch` rows of them."
        raise ValueError(message("NeuralODE", expected, f"shape {shape}", fix))


def _axis(name: str, value: Any, shared: int | None, n: int) -> int | None:
    """The axis of rows, 0, or None for what all rows share: an array of `shared` axes."""
    shape = np.shape(value)
    if value is None or len(shape) == shared:
        return None
    if not shape or shape[0] != n or (shared is not None and len(shape) != shared + 1):
        fix = "All that goes in has one row per event on its first axis."
        raise ValueError(message("NeuralODE", f"{name} with {n} rows, as y0 has", f"shape {shape}", fix))
    return 0
