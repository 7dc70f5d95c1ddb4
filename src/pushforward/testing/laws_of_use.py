"""The laws of use: rows, gradients, compilation, saving, honest traits, algebra, densities that integrate to 1."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import monitoring

from pushforward._types import Array, PRNGKeyArray, combine, trainable
from pushforward._vectorize import rows_last
from pushforward.bijections import Chain, Invert
from pushforward.bijections.base import AbstractBijection, run_batch
from pushforward.io.weights import load_weights, save_weights
from pushforward.testing.compiled import opposite, over_draws, pair, run_rows
from pushforward.testing.inputs import into_domain
from pushforward.testing.laws import reordering
from pushforward.testing.trial import LawError, Trial, randomise

QUADRATURE_TOLERANCE = 1e-3
NORMAL_SHARE = 0.99  # the law applies if this share of the normal lies in the domain
GRID_POINTS = {1: 20_001, 2: 601}  # points in each dimension
GRID_REACH = 30.0  # the grid ends here; its points are dense near 0 and spread like sinh
GRID_CHUNK = 32_768
GRID_SCALE = 0.05  # largest noise on the parameters: the grid must resolve the density


def law_rows(trial: Trial) -> None:
    """Law 8: row i depends on row i alone: not on the order of its neighbours, nor on a NaN among them.

    It does not depend on their number either: a batch gives what the methods for one event give.

    Raises:
        LawError: The bijection breaks the law.
    """
    law = "law_rows"
    for direction in trial.directions:
        whole = trial.journeys[direction]
        scale = _row_scale(trial, direction)
        for what in ("", "_log_det"):
            full = whole["image" if not what else "log_det"]
            error = _by_row(whole[f"shuffled{what}"], full)
            trial.demand(law, direction, error, scale, "the change of row i with the order of the rows")
            error = _by_row(whole[f"beside_nan{what}"], full)
            error[:, 0] = 0
            trial.demand(law, direction, error, scale, "the change of row i with a NaN in row 0")
        spoilt = whole["beside_nan"][:, 0]
        if not all(np.isnan(row).any() for row in spoilt):
            raise LawError(f"{law}: {trial.title}, {direction}: a NaN input gives the finite value {spoilt[0]}.")
        n = len(trial.events(direction))
        for what in ("image", "log_det"):
            error = _by_row(trial.derivatives(direction)[what][:, :n], whole[what])
            trial.demand(law, direction, error, scale, f"{what} of a batch minus that of one event")


def law_gradients(trial: Trial) -> None:
    """Law 9: a finite gradient reaches every trainable leaf, also for inputs at 0, the bounds, 1e3, 1e30, denormals.

    Raises:
        LawError: The bijection breaks the law.
    """
    law = "law_gradients"
    params, _ = trial.draws
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    # An array without elements has nothing to be reached.
    reached = np.array([leaf.size == 0 for _, leaf in leaves], bool)
    for direction in trial.directions:
        side = trial.derivatives(direction)
        finite = side["finite"]  # (draw, input, leaf), the last leaf being the input itself
        if not finite.all():
            draw, row, leaf = (int(i) for i in np.argwhere(~finite)[0])
            raise LawError(
                f"{law}: {trial.title}, {direction}, draw {draw}, input {row} ({trial.extremes(direction)[1][row]}): "
                f"the gradient of {[*names, 'the input'][leaf]} is not finite; "
                f"{int((~finite).any(axis=2).sum())} of {finite[..., 0].size} fail."
            )
        reached |= side["nonzero"][min(1, len(finite) - 1) :].any(axis=(0, 1))
    dead = {name for name, ok in zip(names, reached, strict=True) if not ok}
    if dead != set(trial.unreached):
        raise LawError(
            f"{law}: {trial.title}: no gradient reaches the trainable leaves {sorted(dead)}, "
            f"expected of {sorted(trial.unreached)}. Make arrays that are not trained Fixed."
        )


def law_compiles_once(trial: Trial) -> None:
    """Law 10: a second call traces and compiles nothing, with other parameters, other inputs, and built anew.

    Raises:
        LawError: The bijection breaks the law.
    """
    others = {"with other parameters": trial.draw(min(2, trial.n_draws))}
    if trial.rebuilt is not None:
        others["built anew"] = trial.rebuilt
    for direction in trial.directions:
        arguments = _arguments(trial, direction)
        jax.block_until_ready(_map_rows(trial.draw(min(1, trial.n_draws)), direction, *arguments))
        for what, bijection in others.items():
            with compilations() as events:
                jax.block_until_ready(_map_rows(bijection, direction, *arguments))
            if events:
                raise LawError(
                    f"law_compiles_once: {trial.title}, {direction}: the second call, {what}, compiled: {events}."
                )


def law_save_load(trial: Trial) -> None:
    """Law 11: saved and loaded, a bijection computes the same; nothing touches the global random state.

    The template that the weights are loaded into is built with another key if `Trial.rebuild` is given, else has
    zeros for parameters.

    Raises:
        LawError: The bijection breaks the law.
    """
    law = "law_save_load"
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    original = trial.draw(1)
    params, rest = trainable(original)
    template = trial.rebuilt or combine(jax.tree.map(jnp.zeros_like, params), rest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(original, path)
        loaded = load_weights(template, path)
    for direction in trial.directions:
        arguments = _arguments(trial, direction)
        expected = _map_rows(original, direction, *arguments)
        got = _map_rows(loaded, direction, *arguments)
        for what, a, b in zip(("value", "log_det"), expected, got, strict=True):
            error = _by_row(np.asarray(a)[None], np.asarray(b)[None])
            trial.demand(law, direction, error, 0.0, f"the change of {what} by saving and loading")
    after = random.getstate(), np.random.get_state()  # noqa: NPY002
    if not (before[0] == after[0] and all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))):
        raise LawError(f"{law}: {trial.title}: the global random state was changed.")


def law_traits(trial: Trial) -> None:
    """Law 12: `traits` is truthful: `absent` raises `NotImplementedError`, all else returns; only `iterative` loops.

    Raises:
        LawError: The bijection breaks the law.
    """
    law, bijection = "law_traits", trial.bijection
    if bijection.traits != bijection.traits or hash(bijection.traits) != hash(bijection.traits):
        raise LawError(f"{law}: {trial.title}: traits are not a stable value.")
    condition = trial.conditions(1)
    condition = None if condition is None else condition[0]
    key = trial.key if trial.traits.needs_key else None
    for direction in ("forward", "inverse"):
        shape = bijection.in_shape if direction == "forward" else bijection.out_shape
        x = jnp.zeros(shape, trial.dtype)
        cost = getattr(trial.traits, direction)
        try:
            jaxpr = jax.make_jaxpr(pair(bijection, direction))(x, condition, key=key)
        except NotImplementedError as error:
            if cost == "absent":
                continue
            raise LawError(f"{law}: {trial.title}: traits.{direction} is {cost!r}, but it raises: {error}") from error
        if cost == "absent":
            raise LawError(f"{law}: {trial.title}: traits.{direction} is 'absent', but it returns.")
        if cost != "iterative" and _has_while(jaxpr.jaxpr):
            raise LawError(f"{law}: {trial.title}: traits.{direction} is {cost!r}, but it runs a while loop.")


def law_algebra(trial: Trial) -> None:
    """Law 13: `Invert(Invert(b))`, `Invert(b)`, `Chain([b])` and `Chain([b, Invert(b)])` behave as algebra says.

    Raises:
        LawError: The bijection breaks the law.
    """
    law, bijection = "law_algebra", trial.bijection
    once, twice, alone = Invert(bijection), Invert(Invert(bijection)), Chain([bijection])
    facts = [
        ("Invert(b).traits", once.traits, bijection.traits.swapped()),
        ("Invert(b).in_shape", once.in_shape, bijection.out_shape),
        ("Invert(b).out_shape", once.out_shape, bijection.in_shape),
    ]
    for name, other in (("Invert(Invert(b))", twice), ("Chain([b])", alone)):
        for attribute in ("in_shape", "out_shape", "cond_shape", "traits"):
            facts.append((f"{name}.{attribute}", getattr(other, attribute), getattr(bijection, attribute)))
    for what, got, expected in facts:
        if got != expected:
            raise LawError(f"{law}: {trial.title}: {what} is {got}, expected {expected}.")
    params, rest = trial.draws
    for direction in trial.directions[:1]:  # the other direction is this one of `Invert(b)`
        events = jnp.asarray(trial.events(direction))
        result = _algebra(params, rest, direction, events, *trial.own_rows(direction, len(events)))
        result = {name: [np.asarray(part, np.float64) for part in parts] for name, parts in result.items()}
        same: tuple[Any, Any] = reordering(trial, direction)
        back = trial.tolerance.round_trip
        pairs: list[tuple[str, str, tuple[Any, Any]]] = [
            (name, "b", same) for name in ("Invert(b)", "Invert(Invert(b))", "Chain([b])")
        ]
        pairs.append(("Chain([b, Invert(b)])", "b, then back", (back, back)))
        for name, reference, tolerances in pairs:
            if name in result:
                for what in (0, 1):  # the value, with its event flattened, and the log-det
                    got, expected, tolerance = result[name][what], result[reference][what], tolerances[what]
                    error = np.abs(got - expected) / (1 if reference == "b" else 1 + np.abs(expected))
                    error = error if what else error.reshape(*error.shape[:2], -1)
                    trial.demand(law, direction, error, tolerance, f"{name} minus {reference}")


def law_integrates(trial: Trial) -> None:
    """Law 14: a standard normal pushed through the bijection has a density that integrates to 1 (D <= 2).

    The integral is a trapezoid rule on a grid over the data, so that a missing Jacobian, an image that is not the whole
    space (or `domain_y`), and an inverse that is not one-to-one all show. The law is left out where a
    normal does not lie in `domain_x`.

    Raises:
        LawError: The bijection breaks the law.
    """
    size = int(np.prod(trial.bijection.out_shape, dtype=int))
    if size not in GRID_POINTS or "inverse" not in trial.directions or trial.traits.needs_key:
        return
    low, high = trial.domain_x or (-math.inf, math.inf)
    if math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2)) < 2 * NORMAL_SHARE:
        return
    u = np.linspace(-np.arcsinh(GRID_REACH), np.arcsinh(GRID_REACH), GRID_POINTS[size])
    points = into_domain(np.sinh(u), trial.domain_y)
    weights = np.gradient(points)  # weights of the trapezoid rule, also where the points are moved into a domain
    grid = np.stack(np.meshgrid(*[points] * size, indexing="ij"), axis=-1).reshape(-1, *trial.bijection.out_shape)
    weight = weights if size == 1 else np.outer(weights, weights).ravel()
    padding = -len(grid) % GRID_CHUNK
    grid = np.concatenate([grid, np.full((padding, *trial.bijection.out_shape), trial.origin("inverse"))])
    weight = np.concatenate([weight, np.zeros(padding)])
    condition = trial.conditions(1)
    condition = None if condition is None else condition[0]
    for index in range(3):
        bijection = trial.draw(0)
        if index:
            bijection = randomise(bijection, jax.random.fold_in(trial.key, 200 + index), min(trial.scale, GRID_SCALE))
        total = 0.0
        for start in range(0, len(grid), GRID_CHUNK):
            chunk = jnp.asarray(grid[start : start + GRID_CHUNK], trial.dtype)
            total += float(
                np.asarray(_normal_density(bijection, chunk, condition)) @ weight[start : start + GRID_CHUNK]
            )
        if not abs(total - 1) <= QUADRATURE_TOLERANCE:
            raise LawError(
                f"law_integrates: {trial.title}, draw {index}: the density integrates to {total:.6f}, "
                f"tolerance {QUADRATURE_TOLERANCE}."
            )


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collects the names of JAX's tracing and compilation events while it is open."""
    events: list[str] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            events.append(event.rsplit("/", 1)[1])

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        monitoring.unregister_event_duration_listener(listen)


def _arguments(trial: Trial, direction: str) -> tuple:
    events = trial.events(direction)
    return (jnp.asarray(events), *trial.own_rows(direction, len(events)))


_map_rows = eqx.filter_jit(run_rows)


def _by_row(array: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The largest difference in each row, `(draw, row)`; NaN if there is one."""
    error = np.abs(np.asarray(array, np.float64).reshape(*other.shape[:2], -1) - other.reshape(*other.shape[:2], -1))
    return error.max(axis=2, initial=0.0)


def _row_scale(trial: Trial, direction: str) -> np.ndarray:
    """What rounding alone may change in a row: another batch size sums in another order."""
    events = trial.events(direction)
    n = len(events)
    side = {name: array[:, :n] for name, array in trial.derivatives(direction).items()}
    x = np.abs(events).astype(float).reshape(n, -1)
    amplified = np.einsum("dnij,nj->dni", np.abs(side["jacobian"]).astype(float), x).max(axis=2, initial=0.0)
    amplified += (np.abs(side["log_det_gradient"]) * (1 + x)).sum(axis=2)
    image = np.abs(side["image"]).reshape(*side["log_det"].shape, -1).max(axis=2, initial=0.0)
    return trial.tolerance.round_trip * (1 + image + np.abs(side["log_det"]) + amplified)


@eqx.filter_jit
def _algebra(
    params: Any, rest: Any, direction: str, events: Array, conditions: Array | None, keys: PRNGKeyArray | None
) -> dict[str, tuple[Array, Array]]:
    def both(own: Any) -> dict[str, tuple[Array, Array]]:
        bijection = combine(own, rest)
        other, rows = opposite(direction), (conditions, keys)
        out = {
            "b": run_rows(bijection, direction, events, *rows),
            "Invert(b)": run_rows(Invert(bijection), other, events, *rows),
            "Invert(Invert(b))": run_rows(Invert(Invert(bijection)), direction, events, *rows),
        }
        if bijection.traits.needs_key:  # a chain gives each member a key of its own
            return out
        out["Chain([b])"] = run_rows(Chain([bijection]), direction, events, *rows)
        if getattr(bijection.traits, other) != "absent":

            def loop(x: Array, c: Array | None, k: PRNGKeyArray | None) -> tuple[Array, Array]:
                image, there = run_batch(bijection, x, c, k, direction == "forward")
                back, and_back = run_batch(bijection, image, c, k, direction != "forward")
                return back, there + and_back

            members = [bijection, Invert(bijection)]
            chain = Chain(members if direction == "forward" else members[::-1])
            batches = tuple(() if a is None else (len(events),) for a in (events, *rows))
            out["b, then back"] = rows_last(loop, batches, events, *rows)
            out["Chain([b, Invert(b)])"] = run_rows(chain, "forward", events, *rows)
        return out

    return over_draws(both, params)


@eqx.filter_jit
def _normal_density(bijection: AbstractBijection, y: Array, condition: Array | None) -> Array:
    conditions = None if condition is None else jnp.broadcast_to(condition, (len(y), *condition.shape))
    z, log_det = run_rows(bijection, "inverse", y, conditions, None)
    z = z.reshape(len(y), -1)
    return jnp.exp(log_det - 0.5 * jnp.sum(z * z, axis=1) - 0.5 * z.shape[1] * jnp.log(2 * jnp.pi))


def _has_while(jaxpr: Any) -> bool:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "while":
            return True
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, tuple | list) else (parameter,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns") and _has_while(inner):
                    return True
    return False
