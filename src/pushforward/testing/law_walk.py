"""The law of composites: what a bijection is made of is reached by everything that looks into a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._parts import parts
from pushforward._types import Array, PRNGKeyArray, Shape, is_array
from pushforward.bijections import ActNorm, Continuous, Coupling, RationalQuadraticMap, Scan, initialise, with_memory
from pushforward.bijections.base import AbstractBijection, AbstractSolvedBijection, SolvedRows, along, run_batch
from pushforward.bijections.visit import Visited, visit_layers
from pushforward.checking.spline_walk import walk_splines
from pushforward.checking.summary import count, summary
from pushforward.distributions import Flow, StandardNormal, with_solver
from pushforward.dynamics import FixedSteps, NetworkField
from pushforward.nets import MLP, TimeMLP
from pushforward.testing.trial import LawError

Probe = Callable[[PRNGKeyArray], AbstractBijection]
Make = Callable[[Probe], AbstractBijection]

N_ROWS = 5
EVALUATIONS = 7  # evaluations that a probe's solve takes for each row
TOO_LARGE = 1e3  # a probe's solve fails for rows of such numbers
STEPS = 2
BINS = 2


class _Solved(AbstractSolvedBijection):
    """A shift that says that it takes `EVALUATIONS` for each row, and that it fails at large ones.

    Its log-determinant is not that of a shift: it is `level` for each row in either direction, so that the sum over a
    composite says how often each row goes through a probe.
    """

    shift: Array
    level: float = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, dim: int, cond_shape: Shape | None, level: float = 0.0):
        self.shift, self.level = jnp.full(dim, 0.25), level
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape = cond_shape

    def report(self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool) -> SolvedRows:
        n = value.shape[-1]
        moved = along(self.shift) + (0 if condition is None else jnp.mean(condition, axis=0))
        failed = jnp.any(jnp.abs(value) > TOO_LARGE / 2, axis=0)
        log_det = jnp.full(n, self.level, value.dtype)
        return SolvedRows(value + moved if forward else value - moved, log_det, jnp.full(n, EVALUATIONS), failed)


def law_walk(make: Make, *, dim: int = 2, cond_dim: int | None = None) -> None:
    """A probe inside a composite is reached by summaries, checks, errors of solves, starts from data and changes.

    Args:
        make: The composite around bijections that it makes with the function it is given, which takes a key and gives
            a bijection of vectors of `dim` numbers with arrays of its own. It may call that under `eqx.filter_vmap`.
        dim: The length of the vectors, 2 or more.
        cond_dim: The length of the condition that these bijections take; None if they are to be unconditional.

    Raises:
        LawError: Something does not reach a probe.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.testing import law_walk
        >>> law_walk(lambda probe: pf.Invert(probe(jax.random.key(0))))
    """
    cond_shape = None if cond_dim is None else (cond_dim,)
    plain, raised = (make(lambda key, level=level: _Solved(dim, cond_shape, level)) for level in (0.0, 1.0))
    x, condition = _rows(plain)
    calls = np.asarray(_log_det(raised, x, condition) - _log_det(plain, x, condition)).round().astype(int)
    name = f"law_walk: {type(plain).__name__}"
    if (calls < 1).any():
        raise LawError(f"{name}: no row goes through what `make` is given. Build the composite with it.")
    _check_solves(name, plain, calls)
    _check_visit(name, plain, x, condition)
    _check_summary(name, plain)
    _check_solver(name, make(lambda key: _continuous(key, dim, cond_shape)), x, condition)
    _check_memory(name, make(lambda key: Scan.of(lambda _: _Solved(dim, cond_shape), key, n_layers=2)), x, condition)
    _check_splines(name, make(lambda key: _spline(key, dim, cond_shape)), x, condition, calls)
    if cond_dim is None:
        _check_start(name, make(lambda key: ActNorm(dim)), x, condition)


def _rows(bijection: AbstractBijection) -> tuple[Array, Array | None]:
    """Rows `(*event, n)` and conditions."""
    own, of_condition = jax.random.split(jax.random.key(0))
    x = 1 + jax.random.normal(own, (*bijection.out_shape, N_ROWS))
    if bijection.cond_shape is None:
        return x, None
    return x, jax.random.normal(of_condition, (*bijection.cond_shape, N_ROWS))


@eqx.filter_jit
def _log_det(bijection: AbstractBijection, x: Array, condition: Array | None) -> Array:
    return run_batch(bijection, x, condition, None, False)[1]


def _flow(bijection: AbstractBijection) -> Flow:
    return Flow(StandardNormal(bijection.in_shape), bijection)


def _demand(holds: bool, name: str, what: str) -> None:
    if not holds:
        fix = "Hold the members in fields, and run each by the `step` that `run_with` is given."
        raise LawError(f"{name}: {what} does not reach what is inside. {fix}")


def _check_solves(name: str, composite: AbstractBijection, calls: np.ndarray) -> None:
    x, condition = _rows(composite)
    x = jnp.moveaxis(x.at[..., 0].set(2 * TOO_LARGE), -1, 0)
    given = None if condition is None else jnp.moveaxis(condition, -1, 0)
    found = _flow(composite).log_prob(x, given, with_error=True)
    _demand(np.array_equal(found.n_evaluations, EVALUATIONS * calls), name, "the count of a solve's evaluations")
    _demand(np.array_equal(found.failed, np.arange(N_ROWS) == 0), name, "the report of a failed solve")


def _check_visit(name: str, composite: AbstractBijection, x: Array, condition: Array | None) -> None:
    def visit(layer: AbstractBijection, rows: Array, condition: Array | None, forward: bool) -> Visited | None:
        if not isinstance(layer, _Solved):
            return None
        image = run_batch(layer, rows, condition, None, forward)
        return eqx.tree_at(lambda layer: layer.shift, layer, layer.shift + 1), *image

    before = eqx.filter_jit(run_batch)(composite, x, condition, None, False)[0]
    new, after, _ = eqx.filter_jit(visit_layers)(composite, x, condition, False, visit)
    _demand(bool(jnp.allclose(before, after)), name, "a visit of layers")
    old, moved = (_probes(model, _Solved) for model in (composite, new))
    _demand(
        bool(old) and all(bool(jnp.all(b.shift == a.shift + 1)) for a, b in zip(old, moved, strict=True)),
        name,
        "a visit of layers",
    )


def _probes(model: Any, kind: type) -> list[Any]:
    return [part for part in parts(model) if isinstance(part, kind)]


def _check_summary(name: str, composite: AbstractBijection) -> None:
    lines = [line for line in summary(_flow(composite)).layers if line.name.startswith("_Solved")]
    _demand(sum(line.trained for line in lines) == count(_probes(composite, _Solved))[0] > 0, name, "a summary")


def _check_solver(name: str, composite: AbstractBijection, x: Array, condition: Array | None) -> None:
    changed = with_solver(composite, FixedSteps("euler", 2 * STEPS))
    before, after = _log_det(composite, x, condition), _log_det(changed, x, condition)
    _demand(bool(jnp.all(before != after)), name, "a change of the solver")


def _check_memory(name: str, composite: AbstractBijection, x: Array, condition: Array | None) -> None:
    changed = with_memory(composite, "reversible")
    scans = _probes(changed, Scan)
    _demand(bool(scans) and all(scan.memory == "reversible" for scan in scans), name, "a change of the memory")
    before, after = (eqx.filter_jit(run_batch)(model, x, condition, None, False)[0] for model in (composite, changed))
    _demand(bool(jnp.allclose(before, after)), name, "a change of the memory")


def _check_splines(
    name: str, composite: AbstractBijection, x: Array, condition: Array | None, calls: np.ndarray
) -> None:
    met = eqx.filter_jit(
        lambda composite, x, condition: [one.values for one in walk_splines(composite, x, condition)[1]]
    )
    values = met(composite, x, condition)
    # The spline of each probe maps one coordinate.
    _demand(sum(len(one) for one in values) == calls[0], name, "the check of splines")


def _check_start(name: str, composite: AbstractBijection, x: Array, condition: Array | None) -> None:
    flow = initialise(_flow(composite), jnp.moveaxis(x, -1, 0), condition)
    moved = eqx.filter(flow.bijection, is_array), eqx.filter(composite, is_array)
    _demand(not eqx.tree_equal(*moved), name, "the start from data")


def _continuous(key: PRNGKeyArray, dim: int, cond_shape: Shape | None) -> Continuous:
    net = TimeMLP(key, dim, width=4, cond_shape=cond_shape)
    net = jax.tree.map(lambda leaf: leaf + 0.3 if eqx.is_inexact_array(leaf) else leaf, net)
    return Continuous(NetworkField(net), solver=FixedSteps("euler", STEPS))


def _spline(key: PRNGKeyArray, dim: int, cond_shape: Shape | None) -> Coupling:
    spline = RationalQuadraticMap(bins=BINS)
    net = MLP(key, dim - 1, (spline.n_params, 1), width=4, depth=1, cond_shape=cond_shape)
    return Coupling(np.arange(dim) == dim - 1, net, spline, cond_shape=cond_shape)
