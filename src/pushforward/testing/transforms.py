"""The law of transforms: every differentiation of JAX works on a bijection, and all give the same derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.testing.compiled import pair
from pushforward.testing.inputs import N_FEW
from pushforward.testing.trial import LawError, Trial

# A difference quotient's own error, relative to the derivatives: of its step's square, and of rounding over its step.
QUOTIENT = 1e-4
QUOTIENT_OF_ITERATIONS = 1e-2  # where the values themselves are right to some tolerance only
FIX = " Write derivatives by jax.custom_jvp, or as a primitive with a transpose rule, instead of jax.custom_vjp."


def law_transforms(trial: Trial) -> None:
    """Law 15: `jit`, `vmap`, `grad`, `jvp`, `jacfwd`, `jacrev`, `hessian`, `linearize` work and agree with each other.

    They are tried on both directions, value and log-determinant, of which `encode`, `decode` and `log_prob` of a flow
    are made. Forward mode must give the derivatives of reverse mode. Both must give, in float64, the differences
    between values at neighbouring inputs, and the second derivatives, by forward mode over reverse mode, those between
    first derivatives. The derivatives of a random log-determinant, which may be other estimates, are not judged.

    Raises:
        LawError: The bijection breaks the law.
    """
    law, trial = "law_transforms", trial.core
    for direction in trial.directions:
        _traced(law, trial, direction, "linearize", lambda run: lambda x: jax.linearize(run, x)[1](x))
    if trial.no_forward_mode is not None:
        for direction in trial.directions:  # perhaps it fails without reverse mode, too, which is the simpler fault
            _traced(law, trial, direction, "jacfwd", jax.jacfwd)
        error = trial.no_forward_mode
        raise LawError(f"{law}: {trial.title}: jax.jacfwd over jax.jacrev fails: {_first_line(error)}{FIX}") from error
    for direction in trial.directions:
        side = _double(trial, direction)
        names = ["jacobian"] + (["log_det_gradient"] if trial.traits.log_det != "unbiased" else [])
        for name in names:
            reverse, forward = side[name], side[f"{name}_forward"]
            axes = tuple(range(2, reverse.ndim))
            scale = 1 + np.abs(reverse).max(axis=axes, keepdims=True, initial=0.0)
            tolerance = trial.tolerance.round_trip * scale
            figure = f"{name.replace('_', ' ')} by forward mode minus that by reverse mode"
            trial.demand(law, direction, np.abs(forward - reverse), tolerance, figure)
        if np.dtype(trial.dtype) == np.float64:
            _differences(law, trial, direction, side)


def _differences(law: str, trial: Trial, direction: str, side: dict[str, np.ndarray]) -> None:
    """Values and first derivatives at neighbouring inputs differ by what the derivatives say."""
    centre = np.arange(N_FEW) * 3
    events = trial.events(direction).astype(np.float64)
    moved = (events[centre + 1] - events[centre + 2]).reshape(N_FEW, -1)
    share = QUOTIENT if trial.step < QUOTIENT else QUOTIENT_OF_ITERATIONS
    exact = trial.traits.log_det != "unbiased"
    size = side["jacobian"].shape[2]
    values = [side["image"], side["log_det"][..., None]] if exact else [side["image"]]
    slopes = [side["jacobian"], side["log_det_gradient"][:, :, None]] if exact else [side["jacobian"]]
    second = side["second"] if exact else side["second"][:, :, :size]
    pairs = (
        ("values", np.concatenate(values, axis=2), np.concatenate(slopes, axis=2)),
        ("first derivatives", np.concatenate(slopes, axis=2), second),
    )
    for what, primal, derivative in pairs:
        got = primal[:, centre + 1] - primal[:, centre + 2]
        expected = np.einsum("dn...j,nj->dn...", derivative[:, centre], moved)
        terms = np.einsum("dn...j,nj->dn...", np.abs(derivative[:, centre]), np.abs(moved))
        rounding = trial.tolerance.round_trip * (1 + np.abs(primal[:, centre]))
        error, tolerance = np.zeros(primal.shape), np.ones(primal.shape)
        error[:, centre] = np.abs(got - expected)
        # A difference of neighbours is small in every entry if it is small in the largest.
        tolerance[:, centre] = share * terms.max(axis=tuple(range(2, terms.ndim)), keepdims=True) + rounding
        trial.demand(law, direction, error, tolerance, f"the difference of {what} minus what derivatives say")


def _traced(law: str, trial: Trial, direction: str, name: str, transform: Callable[[Any], Any]) -> None:
    """A transformation can be traced; what it computes is forward mode's, judged above."""
    condition, key = trial.own_rows(direction, 1)
    x = jnp.asarray(trial.events(direction)[0])
    bijection = trial.draw(0)

    def run(x: Array) -> Any:
        method = pair(bijection, direction)
        return method(x, None if condition is None else condition[0], key=None if key is None else key[0])

    try:
        jax.eval_shape(transform(run), x)
    except Exception as error:
        raise LawError(f"{law}: {trial.title}, {direction}: jax.{name} fails: {_first_line(error)}{FIX}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _double(trial: Trial, direction: str) -> dict[str, np.ndarray]:
    return {name: np.asarray(a, np.float64) for name, a in trial.derivatives(direction).items()}
