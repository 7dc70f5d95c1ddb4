"""The inverse of x + g(x) for a contraction g, by fixed points with a rigorous error bound and exact gradients."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import ConvergenceError, check_int, message
from pushforward._meshes import while_loop
from pushforward._types import Array, PyTree

# Rounding error of an evaluation of g, in units of the last place: a change below it counts as rounding.
ROUNDING = 64.0
# A contraction takes `steps_needed` steps; a search that takes this many times as many counts as divergent.
PATIENCE = 2
# Weight of the identity in the equations of Anderson mixing, relative to their trace, in square roots of the type's
# precision: nearly parallel differences must not give mixing weights of 1e8.
RIDGE = 1e-2

Function = Callable[[Array, PyTree], Array]


class FixedPointSolution(NamedTuple):
    r"""The result of a fixed-point search, for rows on the last axis.

    Attributes:
        x: Array of shape `(*event, n)`, NaN where the search did not converge.
        bound: Bound on the Euclidean distance of each $x$ from the solution, `(n,)`, rounding included.
        converged: Whether the search of each row converged, `(n,)`.
        steps: Number of evaluations of $g$ until the slowest row was done.
    """

    x: Array
    bound: Array
    converged: Array
    steps: Array

    def checked(self, name: str) -> FixedPointSolution:
        """Return the solution unchanged, or raise; it cannot be called within compiled functions.

        Raises:
            ConvergenceError: a row did not converge.
        """
        bad = ~self.converged
        if bool(jnp.any(bad)):
            worst = float(jnp.max(jnp.where(bad, self.bound, 0)))
            fix = "Check that the function is a contraction, with a Lipschitz constant below the one stated."
            got = f"{int(jnp.sum(bad))} of {bad.size} that did not, with a bound of {worst:.3g}, in {int(self.steps)}"
            raise ConvergenceError(message(name, "every row to converge", f"{got} steps", fix))
        return self


class AbstractFixedPoint(eqx.Module):
    """An iteration that solves $x = y - g(x)$.

    Attributes:
        max_steps: Most evaluations of $g$; None allows what a contraction may need.
        tolerance: Tolerance of the error bound, relative to 1 and the largest coordinate; None is what rounding allows.
    """

    max_steps: eqx.AbstractVar[int | None]
    tolerance: eqx.AbstractVar[float | None]

    @abstractmethod
    def start(self, x: Array) -> Any:
        """The history before the first step, for rows `(D, n)`."""

    @abstractmethod
    def propose(self, history: Any, image: Array, residual: Array, accepted: Array) -> tuple[Array, Any]:
        """The next point to evaluate, and the new history.

        Args:
            history: The history from the step before.
            image: Array of shape `(D, n)`: $T(x) = y - g(x)$ at the best point of each row.
            residual: $T(x) - x$ there.
            accepted: Array of shape `(n,)`: whether that point is new.
        """


class PlainIteration(AbstractFixedPoint):
    r"""The plain fixed-point iteration of Banach, $x_{k+1} = y - g(x_k)$.

    Args:
        max_steps: Most evaluations of $g$; None allows what a contraction may need.
        tolerance: Tolerance of the error bound, relative to 1 and the largest coordinate; None is what rounding allows.

    Source: Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019, algorithm 1, arXiv 1811.00995.
    """

    max_steps: int | None = eqx.field(static=True)
    tolerance: float | None = eqx.field(static=True)

    def __init__(self, max_steps: int | None = None, tolerance: float | None = None):
        self.max_steps, self.tolerance = _settings("PlainIteration", max_steps, tolerance)

    def start(self, x: Array) -> Any:
        return None

    def propose(self, history: Any, image: Array, residual: Array, accepted: Array) -> tuple[Array, Any]:
        return image, None


class Anderson(AbstractFixedPoint):
    r"""Anderson mixing of images, $x = \sum_i \alpha_i T(x_i)$, with $\alpha$ that minimise $|\sum_i \alpha_i r_i|$.

    Here $\sum_i \alpha_i = 1$ and $r_i = T(x_i) - x_i$. A proposal that does not lower the residual is dropped together
    with the history, and Banach's step is taken from the best point, so that the iteration converges wherever
    `PlainIteration` does.

    Args:
        depth: Number $m$ of images that are mixed.
        max_steps: Most evaluations of $g$; None allows what a contraction may need.
        tolerance: Tolerance of the error bound, relative to 1 and the largest coordinate; None is what rounding allows.

    Cost: beside one evaluation, $O(m^2 D + m^3)$ per step and row.

    Source: Walker, Ni, 2011, algorithm AA, doi 10.1137/10078356X.
    """

    depth: int = eqx.field(static=True)
    max_steps: int | None = eqx.field(static=True)
    tolerance: float | None = eqx.field(static=True)

    def __init__(self, depth: int = 4, max_steps: int | None = None, tolerance: float | None = None):
        self.depth = check_int("Anderson", "depth", depth, 1)
        self.max_steps, self.tolerance = _settings("Anderson", max_steps, tolerance)

    def start(self, x: Array) -> Any:
        empty = jnp.zeros((self.depth, *x.shape), x.dtype)
        return empty, empty, jnp.zeros((self.depth, x.shape[-1]), bool)

    def propose(self, history: Any, image: Array, residual: Array, accepted: Array) -> tuple[Array, Any]:
        images, residuals, known = history
        images = jnp.where(accepted, jnp.concatenate([image[None], images[:-1]]), images)
        residuals = jnp.where(accepted, jnp.concatenate([residual[None], residuals[:-1]]), residuals)
        # After a proposal that failed only the best point is known, which comes first.
        fresh = (jnp.arange(self.depth) == 0)[:, None]
        known = jnp.where(accepted, jnp.concatenate([jnp.ones_like(known[:1]), known[:-1]]), fresh & known)
        largest = jnp.max(jnp.abs(residuals), axis=(0, 1), initial=0, where=known[:, None])
        scaled = jnp.where(known[:, None], residuals, 0) / jnp.where(largest > 0, largest, 1)
        gram = jnp.sum(scaled[:, None] * scaled[None], axis=2)
        trace = jnp.sum(jnp.sum(scaled**2, axis=1), axis=0)
        ridge = RIDGE * jnp.finfo(image.dtype).eps ** 0.5 * jnp.where(trace > 0, trace, 1)
        unit = jnp.eye(self.depth, dtype=image.dtype)[..., None]
        weights = _solve(gram + unit * jnp.where(known, ridge, 1)[:, None], known.astype(image.dtype))
        mixed = jnp.sum((weights / jnp.sum(weights, axis=0))[:, None] * images, axis=0)
        sound = accepted & jnp.all(jnp.isfinite(mixed), axis=0)
        return jnp.where(sound, mixed, image), (images, residuals, known)


def _solve(matrix: Array, vector: Array) -> Array:
    """Solve linear equations with positive definite matrices `(m, m, n)`, by elimination over rows on the last axis."""
    size = len(vector)
    rows, right = list(matrix), list(vector)
    for i in range(size):
        for j in range(i + 1, size):
            factor = rows[j][i] / rows[i][i]
            rows[j], right[j] = rows[j] - factor * rows[i], right[j] - factor * right[i]
    out: list[Array] = [right[-1]] * size
    for i in reversed(range(size)):
        known = sum((rows[i][j] * out[j] for j in range(i + 1, size)), jnp.zeros_like(right[i]))
        out[i] = (right[i] - known) / rows[i][i]
    return jnp.stack(out)


def steps_needed(lipschitz: float, precision: float) -> int:
    r"""The number of steps after which the change of a contraction is at most $p$, $\log p / \log L$."""
    return 20 + math.ceil(math.log(precision) / math.log(lipschitz)) if lipschitz > 0 else 20


def solve_contraction(
    function: Function, y: Array, arguments: PyTree, lipschitz: float, solver: AbstractFixedPoint
) -> FixedPointSolution:
    r"""Solve $x + g(x) = y$ for a contraction $g$, for rows on the last axis.

    A row is done when its error, not only its step, is known to be small, by the bound
    $|x_{k+1} - x^*| \le \frac{L}{1 - L} |x_{k+1} - x_k|$ with $x_{k+1} = T(x_k)$. Done rows no longer change, so that
    no row depends on others. A row that is not done in twice the steps that a contraction may need is NaN.

    Derivatives are implicit: $\dot x = (I + J)^{-1} (\dot y - \dot g)$, and in reverse mode
    $\bar y = (I + J^T)^{-1} \bar x$, $\bar\theta = -(\partial g/\partial\theta)^T \bar y$.
    These systems are solved by the iteration $u \leftarrow \bar x - J^T u$, which contracts just as well.
    All modes of differentiation work, of every order.

    Args:
        function: Function `(x, arguments) -> g(x)`, applied row by row; everything that is differentiated is in
            `arguments`.
        y: Array of shape `(*event, n)`.
        arguments: Arguments of `function` that are differentiated.
        lipschitz: Bound on the Lipschitz constant of $g$ in $x$, in [0, 1).
        solver: The iteration, `PlainIteration()` or `Anderson()`.

    Cost: about $\log \epsilon / \log L'$ evaluations of $g$, where $L'$ is the true rate of contraction.

    Raises:
        ValueError: `lipschitz` is not in [0, 1).

    Source: Zeidler, 1986, theorem 1.A (Banach's a-posteriori bound); Bai, Kolter, Koltun, 2019, theorem 1, arXiv
        1909.01377 (gradients).
    """
    if not 0 <= lipschitz < 1:
        fix = "Iteration finds the inverse of a contraction only."
        raise ValueError(message("solve_contraction", "lipschitz in [0, 1)", repr(lipschitz), fix))
    found: Any = _solve_rows(function, float(lipschitz), solver, y, arguments)
    x, bound, converged, steps = found
    return FixedPointSolution(jnp.where(converged, x, jnp.nan), bound, converged, steps)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _solve_rows(
    function: Function, lipschitz: float, solver: AbstractFixedPoint, y: Array, arguments: PyTree
) -> tuple[Array, Array, Array, Array]:
    flat = y.reshape(-1, y.shape[-1])

    def image_of(x: Array) -> Array:
        return flat - function(x.reshape(y.shape), arguments).reshape(flat.shape)

    found = _iterate(image_of, flat, flat, lipschitz, solver)
    return found[0].reshape(y.shape), *found[1:]


@_solve_rows.defjvp
def _solve_jvp(
    function: Function, lipschitz: float, solver: AbstractFixedPoint, primals: tuple, tangents: tuple
) -> tuple[tuple, tuple]:
    """The tangents of the solution by the implicit function theorem, differentiable again for higher orders."""
    (y, arguments), (y_dot, arguments_dot) = primals, tangents
    x, bound, converged, steps = _solve_rows(function, lipschitz, solver, y, arguments)
    _, from_arguments = jax.jvp(lambda arguments: function(x, arguments), (arguments,), (arguments_dot,))
    _, along = jax.linearize(lambda x: function(x, arguments), x)

    def solve(times: Callable[[Array], Array], right: Array) -> Array:
        flat = right.reshape(-1, right.shape[-1])

        def image_of(u: Array) -> Array:
            return flat - (times(u.reshape(x.shape)) - u.reshape(x.shape)).reshape(flat.shape)

        # The equation is scaled by the size of its right-hand side, which may be any.
        scale = jnp.max(jnp.abs(flat), axis=0)
        u, _, converged, _ = _iterate(image_of, flat, flat, lipschitz, PlainIteration(), scale)
        return jnp.where(converged, u, jnp.nan).reshape(x.shape)

    x_dot = jax.lax.custom_linear_solve(lambda u: u + along(u), y_dot - from_arguments, solve, solve)
    still = [np.zeros(jnp.shape(a), jax.dtypes.float0) for a in (converged, steps)]
    return (x, bound, converged, steps), (x_dot, jnp.zeros_like(bound), *still)


class _State(NamedTuple):
    at: Array  # where to evaluate next
    image: Array  # T of the best point, and T minus the point
    residual: Array
    length: Array
    bound: Array
    history: Any
    done: Array
    good: Array
    step: Array


def _iterate(
    image_of: Callable[[Array], Array],
    y: Array,
    start: Array,
    lipschitz: float,
    solver: AbstractFixedPoint,
    unit: Array | float = 1.0,
) -> tuple[Array, Array, Array, Array]:
    """The fixed points of rows `(D, n)`, their bounds, whether each converged, and the steps of the slowest."""
    eps = float(jnp.finfo(y.dtype).eps)
    factor = lipschitz / (1 - lipschitz)
    rounding = ROUNDING * eps / (1 - lipschitz)
    tolerance = rounding if solver.tolerance is None else max(solver.tolerance, rounding)
    most = PATIENCE * steps_needed(lipschitz, eps**2) if solver.max_steps is None else solver.max_steps
    largest = jnp.max(jnp.abs(y), axis=0)

    def go_on(state: _State) -> Array:
        return ~jnp.all(state.done) & (state.step < most)

    def step(state: _State) -> _State:
        image = image_of(state.at)
        residual = image - state.at
        length = jnp.sqrt(jnp.sum(residual**2, axis=0))
        accepted = length <= state.length
        kept = [jnp.where(accepted, new, old) for new, old in ((image, state.image), (residual, state.residual))]
        length = jnp.where(accepted, length, state.length)
        size = unit + largest + jnp.max(jnp.abs(kept[0]), axis=0)
        bound = factor * length + rounding * size
        good = factor * length <= tolerance * size
        at, history = solver.propose(state.history, kept[0], kept[1], accepted)
        new = _State(at, kept[0], kept[1], length, bound, history, good, good, state.step + 1)
        # Rows that are not finite cannot converge, and must not delay the others.
        done = good | ~jnp.isfinite(jnp.sum(image, axis=0))
        merged = jax.tree.map(lambda old, now: jnp.where(state.done, old, now), state, new)
        return merged._replace(done=state.done | done, step=state.step + 1)

    rows = y.shape[-1:]
    state = _State(
        start,
        start,
        jnp.zeros_like(y),
        jnp.full(rows, jnp.inf, y.dtype),
        jnp.full(rows, jnp.inf, y.dtype),
        solver.start(y),
        ~jnp.isfinite(jnp.sum(y, axis=0)),
        jnp.zeros(rows, bool),
        jnp.asarray(0),
    )
    state = while_loop(go_on, step, state)
    return state.image, state.bound, state.good, state.step


def _settings(name: str, max_steps: int | None, tolerance: float | None) -> tuple[int | None, float | None]:
    if max_steps is not None:
        max_steps = check_int(name, "max_steps", max_steps, 1)
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise ValueError(message(name, "tolerance > 0", repr(tolerance), "None is what rounding allows."))
    return max_steps, tolerance
