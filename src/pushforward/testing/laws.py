"""The laws of value: shapes, round trips, log-determinants, conditions, keys. All from one evaluation per direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, combine
from pushforward.bijections.base import AbstractBijection
from pushforward.numerics.mean_error import mean_and_error
from pushforward.testing.compiled import over_draws, pair
from pushforward.testing.trial import LawError, Trial

REACH_FLOOR = 1e-9  # a Jacobian entry below this share of the largest counts as zero
LOST = 1e-2  # a round trip that ends farther away than this, relative to its start, has lost its input to rounding
N_KEYS = 1024  # keys over which an unbiased log-determinant is averaged
N_STANDARD_ERRORS = 4.0


def law_shapes(trial: Trial) -> None:
    """Law 1: shapes and dtypes are as declared, the log-det is a scalar per event, finite inputs give finite outputs.

    Raises:
        LawError: The bijection breaks the law.
    """
    law, bijection = "law_shapes", trial.bijection
    if np.prod(bijection.in_shape, dtype=int) != np.prod(bijection.out_shape, dtype=int):
        raise LawError(
            f"{law}: {trial.title}: in_shape {bijection.in_shape} and out_shape {bijection.out_shape} differ in size."
        )
    for direction in trial.directions:
        shape_in, shape_out = _shapes(bijection, direction)
        x, condition, key = _one_event(trial, direction)
        image, log_det = jax.eval_shape(pair(trial.draw(0), direction), x, condition, key=key)
        for what, got, shape in (("value", image, shape_out), ("log_det", log_det, ())):
            if got.shape != shape or got.dtype != np.dtype(trial.dtype):
                raise LawError(
                    f"{law}: {trial.title}, {direction}: {what} has shape {got.shape} and dtype {got.dtype}, "
                    f"declared are {shape} and {np.dtype(trial.dtype).name}."
                )
        batch = jnp.broadcast_to(x, (2, *shape_in))
        what = f"{direction} of events of shape {batch.shape}"
        _demand_raises(law, trial, what, pair(bijection, direction), batch, condition, key=key)
        side = trial.journeys[direction]
        for what in ("image", "log_det"):
            broken = np.where(np.isfinite(side[what]), 0.0, np.nan)
            trial.demand(law, direction, broken, 0.0, f"for finite inputs, {what}")


def law_round_trip(trial: Trial) -> None:
    r"""Law 2: $g(f(x)) = x$ and $f(g(y)) = y$, both ways round.

    Two figures are checked, because an ill-conditioned map cannot return an input that it never saw: the residual
    $f(x_r) - y$, and $x_r - x$. Each is measured against its scale and the local conditioning: rounding $y$ moves $x_r$
    by $|J^{-1}||y|$, rounding $x_r$ moves $f(x_r)$ by $|J||x_r|$.

    Raises:
        LawError: The bijection breaks the law.
    """
    law = "law_round_trip"
    if len(trial.directions) < 2:
        return
    tol = trial.tolerance.round_trip
    for direction in trial.directions:
        side = _flat(trial, direction)
        x, y, back, jacobian = side["x"], side["image"], side["back"], np.abs(side["jacobian"])
        residual = np.abs(side["again"] - y)
        scale = 1 + np.abs(y) + np.einsum("dnij,dnj->dni", jacobian, np.abs(back))
        trial.demand(law, direction, residual, tol * scale, "the residual |f(x_r) - y| of the round trip")
        inverse = np.abs(_inverse(side["jacobian"]))
        scale = 1 + np.abs(x) + np.einsum("dnij,dnj->dni", inverse, 1 + np.abs(y))
        trial.demand(law, direction, np.abs(back - x), tol * scale, "the error |x_r - x| of the round trip")


def law_log_det(trial: Trial) -> None:
    r"""Law 3: the log-det equals `slogdet` of the autodiff Jacobian, each direction on its own.

    The tolerance grows with what rounding alone may change: $64\,\epsilon$ times $\sum_{ij} |J^{-1}_{ji} J_{ij}|$ for
    the Jacobian's entries, and times the gradient of the log-det for its argument. Random log-determinants are left
    to `law_exactness`.

    Raises:
        LawError: The bijection breaks the law.
    """
    law = "law_log_det"
    if trial.traits.log_det == "unbiased":
        return
    for direction in trial.directions:
        side = _flat(trial, direction)
        expected = _slogdet(side["jacobian"])
        tolerance = trial.tolerance.log_det * np.maximum(1, np.abs(expected)) + _rounding(trial, side)
        tolerance = np.where(np.isfinite(expected), tolerance, 0.0)  # nothing excuses a singular Jacobian
        error = np.abs(side["log_det"] - expected)
        trial.demand(law, direction, error, tolerance, "the log-det minus slogdet of the Jacobian")


def law_log_dets_cancel(trial: Trial) -> None:
    """Law 4: the log-det there and the log-det back cancel.

    A map that flattens its input below the rounding of its output (a slope of 1e-8 in float32) cannot return to it, and
    the way back then belongs to another point. There the law holds if the way back and the same way again cancel.

    Raises:
        LawError: The bijection breaks the law.
    """
    law = "law_log_dets_cancel"
    if len(trial.directions) < 2 or trial.traits.log_det == "unbiased":
        return
    for direction in trial.directions:
        side = _flat(trial, direction)
        error = np.abs(side["log_det"] + side["back_log_det"])
        tolerance = trial.tolerance.log_det * np.maximum(1, np.abs(side["log_det"])) + _rounding(trial, side)
        lost = (np.abs(side["back"] - side["x"]) > LOST * (1 + np.abs(side["x"]))).any(axis=-1)
        error = np.where(lost, np.abs(side["back_log_det"] + side["again_log_det"]), error)
        trial.demand(law, direction, error, tolerance, "log_det(x) + log_det(f(x))")


def law_value_only(trial: Trial) -> None:
    """Law 5: `forward` and `inverse` give the value of the pair, up to the order in which a compiler rounds.

    Raises:
        LawError: The bijection breaks the law.
    """
    for direction in trial.directions:
        side = _as_vectors(_one_by_one(trial, direction))
        error = np.abs(side["value"] - side["image"])
        tolerance = reordering(trial, direction)[0]
        trial.demand("law_value_only", direction, error, tolerance, f"{direction}(x) minus the value of the pair")


def law_condition(trial: Trial) -> None:
    """Law 6: a condition has an effect iff `cond_shape` says so, and reaches every output; inputs reach theirs.

    The non-zero pattern of the Jacobians is judged, over all randomised draws and ordinary inputs. `Trial.reach` and
    `Trial.condition_reach` say what should be reached.

    Raises:
        LawError: The bijection breaks the law.
    """
    law, bijection = "law_condition", trial.bijection
    for direction in trial.directions:
        side = _one_by_one(trial, direction)
        if bijection.cond_shape is None:
            for what in () if trial.few else ("image", "log_det"):
                error = _as_vectors({what: np.abs(side[f"junk_{what}"] - side[what])})[what]
                trial.demand(law, direction, error, 0.0, f"cond_shape is None, yet the effect of a condition on {what}")
        else:
            x, _, key = _one_event(trial, direction)
            what = f"{direction} without its condition"
            _demand_raises(law, trial, what, pair(bijection, direction), x, None, key=key)
            pattern = _pattern(side["condition_jacobian"])
            expected = trial.condition_reach
            expected = np.ones(len(pattern), bool) if expected is None else np.asarray(expected, bool)
            _demand_pattern(law, trial, direction, "the condition", np.asarray(pattern.any(axis=1)), expected)
            if not pattern.any(axis=0).all():
                dead = np.flatnonzero(~pattern.any(axis=0)).tolist()
                raise LawError(f"{law}: {trial.title}, {direction}: entries {dead} of the condition have no effect.")
    if trial.reach is not None and "forward" in trial.directions:
        pattern = _pattern(_one_by_one(trial, "forward")["jacobian"])
        _demand_pattern(law, trial, "forward", "the inputs", pattern, np.asarray(trial.reach, bool))


def law_exactness(trial: Trial) -> None:
    """Law 7: an `exact` log-det ignores the key; an `unbiased` one is right on average; a missing key raises.

    Raises:
        LawError: The bijection breaks the law.
    """
    law, bijection = "law_exactness", trial.bijection
    if trial.traits.log_det == "exact" and trial.traits.needs_key:
        raise LawError(f"{law}: {trial.title}: traits say that the log-det is exact, and that it needs a key.")
    if trial.traits.log_det == "unbiased" and not trial.traits.needs_key:
        raise LawError(f"{law}: {trial.title}: traits say that the log-det is unbiased, yet that it needs no key.")
    for direction in trial.directions:
        side = _one_by_one(trial, direction)
        if trial.traits.needs_key:
            x, condition, _ = _one_event(trial, direction)
            what = f"{direction} without its key"
            _demand_raises(law, trial, what, pair(bijection, direction), x, condition, key=None)
        else:
            for what in ("image", "log_det"):
                error = _as_vectors({what: np.abs(side[f"keyed_{what}"] - side[what])})[what]
                trial.demand(law, direction, error, 0.0, f"needs_key is False, yet the effect of a key on {what}")
        if trial.traits.log_det == "unbiased":
            mean, standard_error = _mean_log_det(trial, direction)
            expected = _slogdet(side["jacobian"][:, : mean.shape[1]])
            tolerance = N_STANDARD_ERRORS * standard_error + trial.tolerance.log_det
            trial.demand(law, direction, np.abs(mean - expected), tolerance, f"the mean log-det over {N_KEYS} keys")


def _mean_log_det(trial: Trial, direction: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of a random log-determinant over keys, at the first few inputs."""
    params, rest = trial.draws
    events = jnp.asarray(trial.events(direction)[:4])
    conditions, _ = trial.own_rows(direction, len(events))

    def sample(own: Any) -> Array:
        bijection = combine(own, rest)

        def one(x: Array, condition: Array | None, key: Any) -> Array:
            return pair(bijection, direction)(x, condition, key=key)[1]

        rows = jax.vmap(one, in_axes=(0, 0, None))
        return jax.vmap(lambda key: rows(events, conditions, key))(jax.random.split(trial.key, N_KEYS))

    draws = np.asarray(jax.jit(lambda p: over_draws(sample, p))(params))
    return mean_and_error(draws, axis=1)


def _one_event(trial: Trial, direction: str) -> tuple[Array, Array | None, PRNGKeyArray | None]:
    """Zeros, or other numbers of the domain, with a condition and a key if they are needed."""
    condition = trial.conditions(1)
    x = jnp.full(_shapes(trial.bijection, direction)[0], trial.origin(direction), trial.dtype)
    return x, None if condition is None else condition[0], trial.key if trial.traits.needs_key else None


def _shapes(bijection: AbstractBijection, direction: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    x_shape, y_shape = tuple(bijection.in_shape), tuple(bijection.out_shape)
    return (x_shape, y_shape) if direction == "forward" else (y_shape, x_shape)


def _flat(trial: Trial, direction: str) -> dict[str, np.ndarray]:
    """The journeys in float64 with events flattened to vectors, the inputs as `x`, and the Jacobians."""
    out = _as_vectors(trial.journeys[direction])
    events = trial.events(direction)
    n = len(events)
    out["x"] = np.broadcast_to(events.astype(np.float64).reshape(n, -1), (len(out["log_det"]), n, events[0].size))
    for name in ("jacobian", "log_det_gradient"):
        out[name] = trial.derivatives(direction)[name][:, :n].astype(np.float64)
    return out


def _as_vectors(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays in float64, with events flattened; log-determinants stay scalars."""
    out = {name: array.astype(np.float64) for name, array in arrays.items()}
    return {name: a if name.endswith("log_det") else a.reshape(*a.shape[:2], -1) for name, a in out.items()}


def _one_by_one(trial: Trial, direction: str) -> dict[str, np.ndarray]:
    """What the methods for one event give, and the Jacobians by the condition, at the ordinary inputs."""
    n = len(trial.events(direction))
    return {name: a[:, :n] for name, a in trial.derivatives(direction).items() if name not in ("finite", "nonzero")}


def reordering(trial: Trial, direction: str) -> tuple[np.ndarray, np.ndarray]:
    """What the same formula, compiled into another program, may differ by: tolerances of the value and the log-det."""
    side = _flat(trial, direction)
    x = np.abs(side["x"])
    value = 1 + np.abs(side["image"]) + np.einsum("dnij,dnj->dni", np.abs(side["jacobian"]), x)
    log_det = 1 + np.abs(side["log_det"]) + (np.abs(side["log_det_gradient"]) * (1 + x)).sum(axis=-1)
    return 64 * trial.tolerance.eps * value, 64 * trial.tolerance.eps * log_det


def _slogdet(jacobian: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.linalg.slogdet(jacobian)[1]


def _inverse(jacobian: np.ndarray) -> np.ndarray:
    """The inverse of each Jacobian; infinite where it is singular, which leaves the judgement to `law_log_det`."""
    out = np.full_like(jacobian, np.inf)
    regular = np.isfinite(_slogdet(jacobian))
    out[regular] = np.linalg.inv(jacobian[regular])
    return out


def _rounding(trial: Trial, side: dict[str, np.ndarray]) -> np.ndarray:
    """How far some roundings may move a log-determinant: of the Jacobian's entries, of the input, of the image.

    Rounding an entry moves it by its share of `slogdet`, rounding the input by the gradient of the log-det (large
    where a spline's slope changes fast), and rounding the image by that gradient times the inverse Jacobian.
    """
    inverse = _inverse(side["jacobian"])
    with np.errstate(all="ignore"):
        condition = np.abs(np.einsum("dnij,dnji->dnij", side["jacobian"], inverse)).sum(axis=(2, 3))
        moved = 1 + np.abs(side["x"]) + np.einsum("dnij,dnj->dni", np.abs(inverse), np.abs(side["image"]))
        condition += (np.abs(side["log_det_gradient"]) * moved).sum(axis=-1)
    return 64 * trial.tolerance.eps * np.nan_to_num(condition, nan=0.0, posinf=0.0)


def _pattern(jacobian: np.ndarray) -> np.ndarray:
    """Which entries are non-zero anywhere in the randomised draws (in the only draw, if nothing is trainable)."""
    entries = np.abs(jacobian[min(1, len(jacobian) - 1) :])
    return (entries > REACH_FLOOR * entries.max()).any(axis=(0, 1))


def _demand_pattern(
    law: str, trial: Trial, direction: str, what: str, pattern: np.ndarray, expected: np.ndarray
) -> None:
    for wrong, verdict in ((expected & ~pattern, "do not reach"), (pattern & ~expected, "leak into")):
        if wrong.any():
            entries = [tuple(int(i) for i in index) for index in np.argwhere(wrong)][:8]
            raise LawError(
                f"{law}: {trial.title}, {direction}: {what} {verdict} {int(wrong.sum())} entries "
                f"(output first): {entries}."
            )


def _demand_raises(law: str, trial: Trial, what: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    try:
        jax.eval_shape(method, *args, **kwargs)
    except ValueError:
        return
    raise LawError(f"{law}: {trial.title}: {what} must raise ValueError, but returned.")
