"""The laws of use: rows, gradients, compilation, saving, honest traits, algebra, densities that integrate to 1."""

from __future__ import annotations

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

from pushforward._types import Array, PRNGKeyArray, trainable
from pushforward._vectorize import vectorize
from pushforward.bijections import Chain, Invert
from pushforward.bijections.base import AbstractBijection
from pushforward.io.weights import load_weights, save_weights
from pushforward.testing.inputs import extreme_events
from pushforward.testing.trial import LawError, Trial, cast, opposite, over_draws, pair

QUADRATURE_TOLERANCE = 1e-3
GRID_POINTS = {1: 40_001, 2: 801}  # per dimension
GRID_REACH = 1e3  # the grid ends here; its points are dense near 0 and spread like sinh
GRID_CHUNK = 65_536


def law_rows(trial: Trial) -> None:
    """Law 8: row i depends on row i alone: not on its neighbours, their order or number, nor on a NaN among them.

    Raises:
        LawError: the bijection breaks it.
    """
    law = "law_rows"
    for direction in trial.directions:
        x = (trial.x if direction == "forward" else trial.y)[0]
        n = len(x)
        whole = _rows(trial, direction, np.arange(n))
        order = np.random.default_rng(0).permutation(n)
        some = order[: n // 2]
        scale = _row_scale(trial, direction)
        for what, index in (("their order", order), ("their number", some)):
            for part, full in zip(_rows(trial, direction, index), whole, strict=True):
                error = np.zeros(full.shape)
                error[index] = np.abs(part - full[index])
                figure = f"the change of row i with {what}"
                trial.demand(law, direction, _by_row(error)[None], scale[None], figure)
        with_nan = _rows(trial, direction, np.arange(n), nan_at=0)
        for part, full in zip(with_nan, whole, strict=True):
            error = _by_row(np.abs(part - full))
            error[0] = 0
            trial.demand(law, direction, error[None], scale[None], "the change of row i with a NaN in row 0")
        if not np.isnan(with_nan[0][0]).any():
            raise LawError(f"{law}: {trial.title}, {direction}: a NaN input gives the finite value {with_nan[0][0]}.")


def law_gradients(trial: Trial) -> None:
    """Law 9: a finite gradient reaches every trainable leaf, also for inputs at 0, the bounds, 1e3, 1e30, denormals.

    Raises:
        LawError: the bijection breaks it.
    """
    law = "law_gradients"
    params, rest = trial.draws
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    reached = np.zeros(len(names), bool)
    for direction in trial.directions:
        shape = trial.bijection.in_shape if direction == "forward" else trial.bijection.out_shape
        special = trial.special_x if direction == "forward" else trial.special_y
        events, labels = extreme_events(jax.random.fold_in(trial.key, 105), shape, trial.dtype, special)
        conditions, keys = trial.conditions(len(events)), trial.keys(len(events))
        finite, nonzero = _gradients(params, rest, direction, jnp.asarray(events), conditions, keys)
        finite = np.asarray(finite)  # (draw, input, leaf), the last leaf being the input itself
        if not finite.all():
            draw, row, leaf = (int(i) for i in np.argwhere(~finite)[0])
            leaf_name = [*names, " (the input)"][leaf]
            raise LawError(
                f"{law}: {trial.title}, {direction}, draw {draw}, input {row} ({labels[row]}): the gradient of "
                f"leaf{leaf_name} is not finite; {int((~finite).any(axis=2).sum())} of {finite[..., 0].size} fail."
            )
        if names:
            reached |= np.asarray(nonzero)[1:].any(axis=(0, 1))
    if not reached.all():
        dead = [name for name, ok in zip(names, reached, strict=True) if not ok]
        raise LawError(f"{law}: {trial.title}: no gradient reaches the trainable leaves {dead}; make them Fixed.")


def law_compiles_once(trial: Trial) -> None:
    """Law 10: a second call traces and compiles nothing, with other parameters, other inputs, and built anew.

    Raises:
        LawError: the bijection breaks it.
    """
    others = {"with other parameters": trial.draw(min(2, trial.n_draws))}
    if trial.rebuild is not None:
        others["built anew"] = _rebuilt(trial)
    for direction in trial.directions:
        n = len((trial.x if direction == "forward" else trial.y)[0])
        _rows(trial, direction, np.arange(n), draw=1)
        arguments = _arguments(trial, direction, np.arange(n)[::-1])
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
        LawError: the bijection breaks it.
    """
    law = "law_save_load"
    before = random.getstate(), np.random.get_state()  # noqa: NPY002
    original = trial.draw(1)
    if trial.rebuild is None:
        params, rest = trainable(original)
        template = eqx.combine(jax.tree.map(jnp.zeros_like, params), rest)
    else:
        template = _rebuilt(trial)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        save_weights(original, path)
        loaded = load_weights(template, path)
    for direction in trial.directions:
        arguments = _arguments(trial, direction, np.arange(len((trial.x if direction == "forward" else trial.y)[0])))
        expected = _map_rows(original, direction, *arguments)
        got = _map_rows(loaded, direction, *arguments)
        for what, a, b in zip(("value", "log_det"), expected, got, strict=True):
            error = _by_row(np.abs(np.asarray(a) - np.asarray(b)))
            trial.demand(law, direction, error[None], 0.0, f"the change of {what} by saving and loading")
    after = random.getstate(), np.random.get_state()  # noqa: NPY002
    if not (before[0] == after[0] and all(np.array_equal(a, b) for a, b in zip(before[1], after[1], strict=True))):
        raise LawError(f"{law}: {trial.title}: the global random state was changed.")


def law_traits(trial: Trial) -> None:
    """Law 12: `traits` is truthful: `absent` raises `NotImplementedError`, all else returns; only `iterative` loops.

    Raises:
        LawError: the bijection breaks it.
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
        LawError: the bijection breaks it.
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
    for direction in trial.directions:
        events = jnp.asarray((trial.x if direction == "forward" else trial.y)[0])
        n = len(events)
        result = _algebra(params, rest, direction, events, trial.conditions(n), trial.keys(n))
        result = {name: [np.asarray(part, np.float64) for part in parts] for name, parts in result.items()}
        loop = ("Chain([b, Invert(b)])", "b, then back")
        for name, reference in (("Invert(b)", "b"), ("Invert(Invert(b))", "b"), ("Chain([b])", "b"), loop):
            if name in result:
                for got, expected in zip(result[name], result[reference], strict=True):
                    trial.demand(law, direction, np.abs(got - expected), 0.0, f"{name} minus {reference}")


def law_integrates(trial: Trial) -> None:
    """Law 14: a standard normal pushed through the bijection has a density that integrates to 1 (D <= 2).

    By the trapezoid rule on a grid over the data, so that a missing Jacobian, an image that is not the whole space,
    and an inverse that is not one-to-one all show.

    Raises:
        LawError: the bijection breaks it.
    """
    size = int(np.prod(trial.bijection.out_shape, dtype=int))
    if size not in GRID_POINTS or "inverse" not in trial.directions or trial.traits.needs_key:
        return
    u = np.linspace(-np.arcsinh(GRID_REACH), np.arcsinh(GRID_REACH), GRID_POINTS[size])
    points, weights = np.sinh(u), np.cosh(u) * (u[1] - u[0])
    grid = np.stack(np.meshgrid(*[points] * size, indexing="ij"), axis=-1).reshape(-1, *trial.bijection.out_shape)
    weight = weights if size == 1 else np.outer(weights, weights).ravel()
    padding = -len(grid) % GRID_CHUNK
    grid = np.concatenate([grid, np.zeros((padding, *trial.bijection.out_shape))])
    weight = np.concatenate([weight, np.zeros(padding)])
    condition = trial.conditions(1)
    condition = None if condition is None else condition[0]
    for index in range(trial.n_draws + 1):
        bijection = trial.draw(index)
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

    def listen(event: str, duration: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            events.append(event.rsplit("/", 1)[1])

    monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        monitoring.unregister_event_duration_listener(listen)


def _rebuilt(trial: Trial) -> AbstractBijection:
    """The bijection constructed with another key."""
    if trial.rebuild is None:
        raise ValueError("Trial.rebuild: expected a constructor, got None.")
    return cast(trial.rebuild(jax.random.fold_in(trial.key, 106)), trial.dtype)


def _arguments(trial: Trial, direction: str, index: np.ndarray, nan_at: int | None = None) -> tuple:
    events = (trial.x if direction == "forward" else trial.y)[0]
    conditions, keys = trial.conditions(len(events)), trial.keys(len(events))
    chosen = events[index].copy()
    if nan_at is not None:
        chosen[nan_at] = np.nan
    return (
        jnp.asarray(chosen),
        None if conditions is None else jnp.asarray(np.asarray(conditions)[index]),
        None if keys is None else keys[index],
    )


def _rows(
    trial: Trial, direction: str, index: np.ndarray, nan_at: int | None = None, draw: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Value and log-det of the chosen rows at one draw, through the batching that distributions use."""
    arguments = _arguments(trial, direction, index, nan_at)
    image, log_det = _map_rows(trial.draw(draw), direction, *arguments)
    return np.asarray(image), np.asarray(log_det)


@eqx.filter_jit
def _map_rows(
    bijection: AbstractBijection, direction: str, x: Array, condition: Array | None, keys: PRNGKeyArray | None
) -> tuple[Array, Array]:
    def row(x: Array, condition: Array | None, key: PRNGKeyArray | None) -> tuple[Array, Array]:
        return pair(bijection, direction)(x, condition, key=key)

    batches = tuple(() if a is None else (len(x),) for a in (x, condition, keys))
    return vectorize(row, batches, x, condition, keys)


def _by_row(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).max(axis=1, initial=0.0) if array.ndim > 1 else array


def _row_scale(trial: Trial, direction: str) -> np.ndarray:
    """What rounding alone may change in a row, at the first noisy draw: another batch size sums in another order."""
    side = trial.evaluation(direction)
    draw = min(1, len(side["log_det"]) - 1)
    x = np.abs((trial.x if direction == "forward" else trial.y)[0]).reshape(len(side["log_det"][draw]), -1)
    amplified = np.einsum("nij,nj->ni", np.abs(side["jacobian"][draw]).astype(float), x.astype(float)).max(axis=1)
    largest = np.abs(side["image"][draw]).reshape(len(x), -1).max(axis=1) + np.abs(side["log_det"][draw])
    return trial.tolerance.round_trip * (1 + largest + amplified)


@eqx.filter_jit
def _gradients(
    params: Any, rest: Any, direction: str, events: Array, conditions: Array | None, keys: PRNGKeyArray | None
) -> tuple[Array, Array]:
    """Per draw, input and leaf (the input last): is the gradient finite; per draw, input, leaf: is it non-zero."""

    def rows(bijection: AbstractBijection) -> tuple[Array, Array]:
        own, others = trainable(bijection)

        def one(x: Array, condition: Array | None, key: PRNGKeyArray | None) -> tuple[Array, Array]:
            def objective(own: Any, x: Array) -> Array:
                image, log_det = pair(eqx.combine(own, others), direction)(x, condition, key=key)
                # Any fixed weights do; equal ones could cancel between outputs.
                return jnp.sum(image.reshape(-1) * jnp.linspace(0.5, 1.5, image.size, dtype=x.dtype)) + log_det

            by_leaf, by_x = jax.grad(objective, argnums=(0, 1))(own, x)
            leaves = jax.tree.leaves(by_leaf)
            finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in [*leaves, by_x]])
            nonzero = [jnp.any((leaf != 0) & jnp.isfinite(leaf)) for leaf in leaves]
            return finite, jnp.stack(nonzero) if nonzero else jnp.zeros((0,), bool)

        return jax.vmap(one)(events, conditions, keys)

    return over_draws(rows, params, rest)


@eqx.filter_jit
def _algebra(
    params: Any, rest: Any, direction: str, events: Array, conditions: Array | None, keys: PRNGKeyArray | None
) -> dict[str, tuple[Array, Array]]:
    def both(bijection: AbstractBijection) -> dict[str, tuple[Array, Array]]:
        def one(x: Array, condition: Array | None, key: PRNGKeyArray | None) -> dict[str, tuple[Array, Array]]:
            image, log_det = pair(bijection, direction)(x, condition, key=key)
            out = {
                "b": (image, log_det),
                "Invert(b)": pair(Invert(bijection), opposite(direction))(x, condition, key=key),
                "Invert(Invert(b))": pair(Invert(Invert(bijection)), direction)(x, condition, key=key),
            }
            if bijection.traits.needs_key:  # a chain gives each member a key of its own
                return out
            out["Chain([b])"] = pair(Chain([bijection]), direction)(x, condition)
            if getattr(bijection.traits, opposite(direction)) != "absent":
                back, back_log_det = pair(bijection, opposite(direction))(image, condition)
                loop = [bijection, Invert(bijection)]
                loop = loop if direction == "forward" else loop[::-1]
                out["b, then back"] = back, log_det + back_log_det
                out["Chain([b, Invert(b)])"] = Chain(loop).forward_and_log_det(x, condition)
            return out

        return jax.vmap(one)(events, conditions, keys)

    return over_draws(both, params, rest)


@eqx.filter_jit
def _normal_density(bijection: AbstractBijection, y: Array, condition: Array | None) -> Array:
    def density(y: Array) -> Array:
        z, log_det = bijection.inverse_and_log_det(y, condition)
        return jnp.exp(log_det - 0.5 * jnp.sum(z * z) - 0.5 * z.size * jnp.log(2 * jnp.pi))

    return vectorize(density, ((len(y),),), y)


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
