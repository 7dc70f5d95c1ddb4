"""The adapter to diffrax: methods by name, step control by the event alone, three ways to differentiate a solve."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array
from pushforward.numerics.derivatives import own_derivatives

Method = Literal["euler", "heun", "rk4", "tsit5", "dopri5", "dopri8", "kvaerno5"]
Gradient = Literal["checkpointed", "adjoint", "direct"]
METHODS: tuple[Method, ...] = get_args(Method)
GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)
FIXED_ALONE = ("euler", "rk4")  # no error estimate, hence no step control
ADAPTIVE_ALONE = ("kvaerno5",)  # its equations are solved to the tolerance of the steps
ORDERS: dict[Method, int] = {"heun": 2, "tsit5": 5, "dopri5": 5, "dopri8": 8, "kvaerno5": 5}
# A step is as long as its error allows; beyond so many a field is stiff or has blown up.
MAX_STEPS = 1000
# The longest step, in units of the tolerance's root. Of the exact field of a normal on a VE path the log-density at the
# mean, which does not move, was off by 0.78 nats at a tolerance of 1e-5, and is by 2e-4 (6e-7 with 1, 2e-3 with 3).
# Other rows take as many evaluations as before, those of an untrained network half as many again.
LONGEST = 2.0
SPARE = 4  # the longest step takes no more than a quarter of the steps there may be
STRICT = 1e-10  # a tolerance well below that of the checks, and above the rounding of float64


@functools.cache
def solvers() -> dict[str, Callable[[], Any]]:
    """Diffrax's solvers by name. Imported here: it takes half a second, which no other model should wait for."""
    import diffrax

    class RK4(diffrax.AbstractERK):
        """The classical method of order 4, which diffrax leaves out; a table of numbers for its stepper."""

        tableau = diffrax.ButcherTableau(
            a_lower=(np.array([0.5]), np.array([0.0, 0.5]), np.array([0.0, 0.0, 1.0])),
            b_sol=np.array([1 / 6, 1 / 3, 1 / 3, 1 / 6]),
            b_error=np.array([0.0, 0.0, 0.0, 0.0]),
            c=np.array([0.5, 0.5, 1.0]),
        )
        interpolation_cls = diffrax.ThirdOrderHermitePolynomialInterpolation.from_k

        def order(self, terms: Any) -> int:
            return 4

    return {
        "euler": diffrax.Euler,
        "heun": diffrax.Heun,
        "rk4": RK4,
        "tsit5": diffrax.Tsit5,
        "dopri5": diffrax.Dopri5,
        "dopri8": diffrax.Dopri8,
        "kvaerno5": diffrax.Kvaerno5,
    }


@functools.cache
def equal_steps() -> Callable[..., Any]:
    """Diffrax's controller of given times, without its test of their order, a callback that no export could hold."""
    import diffrax

    class EqualSteps(diffrax.StepTo):
        """The times are right as they are made."""

        def wrap(self, direction: Any) -> EqualSteps:
            return EqualSteps(ts=self.ts * direction)

        def init(self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any) -> Any:
            return self.ts[1], 2

    return EqualSteps


class OdeSolution(NamedTuple):
    """The end of a solve.

    Attributes:
        y: the state at the end, a tuple of arrays; NaN where the solve failed.
        n_evaluations: Number of evaluations of the field.
        failed: whether the steps ran out or the state blew up.
        along: the states at the times asked for, on a first axis; None if none were.
    """

    y: Any
    n_evaluations: Array
    failed: Array
    along: Any = None


class AbstractSolver(eqx.Module):
    """How an ordinary differential equation is solved, for one event.

    Attributes:
        method: one of `METHODS`.
        gradient: `"adjoint"` (an equation backwards in time, gradients as exact as the solve; the fastest, and the
            least memory), `"checkpointed"` (exact gradients of the steps taken) or `"direct"` (the same gradients by
            differentiation of nested loops of steps, the most memory). The memory of none is that of all steps: the
            gradient of 64 rows under a small network took 0.3, 5.0 and 18.8 MiB with 8 and with 128 steps. All have
            every mode of differentiation.
    """

    method: eqx.AbstractVar[Method]
    gradient: eqx.AbstractVar[Gradient]

    @abstractmethod
    def control(self, t0: Any, t1: Any) -> tuple[Any, Any, int]:
        """Diffrax's controller, the first step, and how many steps there may be."""

    @abstractmethod
    def tighter(self) -> AbstractSolver:
        """The same solver at half the tolerance, or with twice the steps: the change is an estimate of its error."""

    @abstractmethod
    def strict(self) -> AbstractSolver:
        """A solver for float64 that solves the same equation to ten digits: what laws are held against."""

    def solve(
        self,
        field: Callable,
        y0: tuple,
        t0: Any,
        t1: Any,
        arguments: Any,
        *,
        times: Array | np.ndarray | None = None,
        gradient: Gradient | None = None,
    ) -> OdeSolution:
        """Solve `dy/dt = field(t, y, arguments)` from `t0` to `t1`, which may lie before `t0`.

        Args:
            field: of time, a tuple of arrays whose first is the event, and arguments.
            y0: the tuple at `t0`.
            t0: Time at which the solve begins.
            t1: Time at which the solve ends.
            arguments: a pytree; gradients reach its arrays.
            times: where states are kept on the way, in the order of the solve.
            gradient: None is the solver's own. `"adjoint"` is what `solve_rows` makes of a solve; of one alone it is
                `"checkpointed"`.
        """
        if (gradient or self.gradient) == "direct":
            return _solved(self, field, y0, t0, t1, arguments, times, direct=True)
        return _checkpointed(self, field, t0, t1, times)(y0, arguments)


def _solved(
    solver: AbstractSolver, field: Callable, y0: tuple, t0: Any, t1: Any, arguments: Any, times: Any, direct: bool
) -> OdeSolution:
    import diffrax

    dtype = jnp.result_type(*jax.tree.leaves(y0))
    t0, t1 = jnp.asarray(t0, dtype), jnp.asarray(t1, dtype)
    times = None if times is None else jnp.asarray(times, dtype)
    controller, step, max_steps = solver.control(t0, t1)
    method = solvers()[solver.method]()
    found = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        method,
        t0=t0,
        t1=t1,
        dt0=step,
        y0=y0,
        args=arguments,
        stepsize_controller=controller,
        saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(t1=True), diffrax.SubSaveAt(ts=times)])
        if times is not None
        else diffrax.SaveAt(t1=True),
        adjoint=diffrax.DirectAdjoint() if direct else diffrax.RecursiveCheckpointAdjoint(),
        max_steps=max_steps,
        throw=False,
    )
    failed = found.result != diffrax.RESULTS.successful
    ends, along = (found.ys, None) if times is None else found.ys  # pyright: ignore[reportGeneralTypeIssues]
    end = jax.tree.map(lambda leaf: jnp.where(failed, jnp.nan, leaf[-1]), ends)
    per_step = getattr(getattr(method, "tableau", None), "num_stages", 1)
    return OdeSolution(end, found.stats["num_steps"] * per_step, failed, along)


def _checkpointed(
    solver: AbstractSolver, field: Callable, t0: Any, t1: Any, times: Any
) -> Callable[[tuple, Any], OdeSolution]:
    """A solve of start and arguments in every mode: reverse mode by checkpoints."""

    def ends(direct: bool, y0: tuple, arguments: Any) -> tuple:
        found = _solved(solver, field, y0, t0, t1, arguments, times, direct)
        return (found.y, found.along), (found.n_evaluations, found.failed)

    def solve(y0: tuple, arguments: Any) -> OdeSolution:
        (y, along), (n_evaluations, failed) = in_every_mode(ends)(y0, arguments)
        return OdeSolution(y, n_evaluations, failed, along)

    return solve


def in_every_mode(ends: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
    """A solve whose first reverse mode is its own, and all else is that of a solve whose steps are all stored.

    What reverse mode keeps has no derivative of its own: `begin` and `pull_back` hide it from outer ones.

    Args:
        ends: `ends(direct, *arguments)` gives what has derivatives, and counts that have none. With `direct` it can be
            differentiated in every mode, else in reverse mode alone.

    Returns:
        A function of the arguments.
    """
    made: dict[str, Any] = {}  # structure of the pull-back, the same in each trace

    @jax.custom_jvp
    def begin(*arguments: Any) -> tuple[tuple, list]:
        out, back, counts = jax.vjp(functools.partial(ends, False), *arguments, has_aux=True)
        kept, made["back"] = jax.tree.flatten(back)
        return (out, counts), kept

    @begin.defjvp
    def _begin_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        out, kept = begin(*primals)
        return (out, kept), (jax.jvp(solve, primals, tangents)[1], [still(leaf) for leaf in kept])

    @jax.custom_jvp
    def pull_back(start: tuple, kept: list, bars: Any) -> tuple:
        return tuple(made["back"].unflatten(kept)(bars))

    @pull_back.defjvp
    def _pull_back_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
        def direct(start: tuple, bars: Any) -> tuple:
            return tuple(jax.vjp(lambda *start: ends(True, *start)[0], *start)[1](bars))

        start, kept, bars = primals
        return pull_back(start, kept, bars), jax.jvp(direct, (start, bars), (tangents[0], tangents[2]))[1]

    def keep(*arguments: Any) -> tuple[tuple, tuple]:
        out, kept = begin(*arguments)
        return out, (arguments, kept)

    def pull(kept: tuple, bars: tuple) -> tuple:
        return pull_back(*kept, bars[0])

    def push(kept: tuple, tangents: tuple) -> tuple:
        return jax.jvp(functools.partial(ends, True), kept[0], tangents)[1]

    solve = own_derivatives(functools.partial(ends, False), keep, pull, push)
    return solve


def still(leaf: Array) -> Any:
    """The tangent of what does not move."""
    moves = jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    return jnp.zeros_like(leaf) if moves else np.zeros(jnp.shape(leaf), jax.dtypes.float0)


def event_norm(y: Any) -> Array:
    """The root mean square of the event alone: what rides along (log-det, regularisers) sets no step."""
    return root_mean_square(y[0])


def root_mean_square(x: Array) -> Array:
    """The root mean square, with a gradient of 0 at 0."""
    square = jnp.mean(x * x)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _names(name: str, method: str, gradient: str, allowed: tuple[str, ...]) -> None:
    for what, got, names in (("method", method, allowed), ("gradient", gradient, GRADIENTS)):
        if got not in names:
            fix = "Choose one of them."
            raise ValueError(message(name, f"{what} to be one of {', '.join(names)}", repr(got), fix))


class Adaptive(AbstractSolver):
    r"""Steps as long as the tolerance allows, chosen for each event by the error of the event alone.

    A step is accepted if the root mean square of $e_i / (a + r \max |x_i|)$ is at most 1. Neither the batch nor the
    log-determinant takes part, so that a density does not depend on what it is computed beside. An event that hardly
    moves, as at a fixed point of its field, would be gone over in one step, whatever its log-determinant did on the
    way: no step is longer than $2 a^{1/p}$ of the time, with which the error of an integral is of order $a$ for a
    method of order $p$.

    Args:
        method: `"tsit5"`, `"dopri5"`, `"dopri8"`, `"heun"`, or the implicit `"kvaerno5"`.
        rtol: $r$.
        atol: $a$.
        max_steps: beyond these a solve has failed.
        gradient: `"adjoint"`, `"checkpointed"` or `"direct"`.

    Raises:
        ValueError: a name is unknown or a tolerance not positive.

    Source: Kidger, 2021, arXiv 2202.02435 (diffrax); Tsitouras, 2011 (tsit5); Hairer, Norsett, Wanner, 1993 (dopri).
    """

    method: Method = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    gradient: Gradient = eqx.field(static=True)

    def __init__(
        self,
        method: Method = "tsit5",
        rtol: float = 1e-5,
        atol: float = 1e-5,
        max_steps: int = MAX_STEPS,
        gradient: Gradient = "adjoint",
    ):
        allowed = tuple(m for m in METHODS if m not in FIXED_ALONE)
        _names("Adaptive", method, gradient, allowed)
        for what, value in (("rtol", rtol), ("atol", atol)):
            if not value > 0:
                raise ValueError(message("Adaptive", f"{what} > 0", repr(value), "1e-5 is usual in float32."))
        self.method, self.gradient, self.rtol, self.atol = method, gradient, float(rtol), float(atol)
        self.max_steps = check_int("Adaptive", "max_steps", max_steps, 1)

    def control(self, t0: Any, t1: Any) -> tuple[Any, Any, int]:
        import diffrax

        longest = max(LONGEST * self.atol ** (1 / ORDERS[self.method]), SPARE / self.max_steps) * jnp.abs(t1 - t0)
        controller = diffrax.PIDController(rtol=self.rtol, atol=self.atol, norm=event_norm, dtmax=longest)
        return controller, None, self.max_steps

    def tighter(self) -> Adaptive:
        return Adaptive(self.method, self.rtol / 2, self.atol / 2, 2 * self.max_steps, self.gradient)

    def strict(self) -> Adaptive:
        return Adaptive("kvaerno5" if self.method == "kvaerno5" else "dopri8", STRICT, STRICT, 100 * self.max_steps)


class FixedSteps(AbstractSolver):
    """A number of equal steps: every event costs the same, and training is predictable.

    Args:
        method: any but `"kvaerno5"`.
        n_steps: Number of steps.
        gradient: `"adjoint"`, `"checkpointed"` or `"direct"`.

    Raises:
        ValueError: a name is unknown or there are no steps.
    """

    method: Method = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    gradient: Gradient = eqx.field(static=True)

    def __init__(self, method: Method = "rk4", n_steps: int = 16, gradient: Gradient = "checkpointed"):
        _names("FixedSteps", method, gradient, tuple(m for m in METHODS if m not in ADAPTIVE_ALONE))
        self.method, self.gradient = method, gradient
        self.n_steps = check_int("FixedSteps", "n_steps", n_steps, 1)

    def control(self, t0: Any, t1: Any) -> tuple[Any, Any, int]:
        return equal_steps()(ts=jnp.linspace(t0, t1, self.n_steps + 1)), None, self.n_steps

    def tighter(self) -> FixedSteps:
        return FixedSteps(self.method, 2 * self.n_steps, self.gradient)

    def strict(self) -> Adaptive:
        return Adaptive("kvaerno5" if self.method == "kvaerno5" else "dopri8", STRICT, STRICT, 100 * MAX_STEPS)
