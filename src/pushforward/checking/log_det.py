"""Checks exact and random log-determinants against automatic differentiation."""

from __future__ import annotations

import jax
import numpy as np

from pushforward.checking.context import MAX_JACOBIAN_DIM, Context, flat
from pushforward.checking.report import CheckLine, Outcome
from pushforward.checking.round_trip import skipped
from pushforward.numerics.mean_error import mean_and_error

TOLERANCE = 1e-8  # nats, relative to log-dets beyond 1
ROUNDINGS = 64  # number of roundings allowed for in each entry, in the input and in the image
RANDOM_ROWS = 8
RANDOM_KEYS = 256  # draws of the noise for each row
STANDARD_ERRORS = 4.5  # four for one row; for the largest of eight a little more
RANDOM_MAX_DIM = 64


def check_log_det(context: Context) -> CheckLine:
    r"""Compare $\log|\det|$ with `slogdet` of the Jacobian that automatic differentiation gives, in float64.

    The direction that takes one pass is differentiated, and the log-det of the other direction is compared with it: for
    maps that are each other's inverse the two must cancel. Rounding is allowed for: rounding of the Jacobian's entries
    by $64\,\epsilon \sum_{ij} |J^{-1}_{ji} J_{ij}|$, that of argument and image by the gradient of the log-det.
    """
    name = "log-det against autodiff"
    if context.bijection is None:
        return skipped(name, context)
    if context.traits.log_det != "exact":
        return CheckLine(name, None, None, "skipped", "The log-det is random; see the check of its mean.")
    if not context.jacobian_rows:
        why = f"An event has {context.dim} elements, too many for a Jacobian (at most {MAX_JACOBIAN_DIM})."
        return CheckLine(name, None, None, "skipped", why)
    if not context.two_way:
        return skipped(name, context)
    index, trip, derived = context.derived_index, context.data_trip, context.derived
    with np.errstate(all="ignore"):
        expected = np.linalg.slogdet(derived.jacobian)[1]
    own, other = (trip.back, trip.there) if context.derived_forward else (trip.there, trip.back)
    inputs, images = (trip.image, trip.start) if context.derived_forward else (trip.start, trip.image)
    error = np.abs(own[index] - expected)
    cancel = np.abs(own[index] + other[index])
    allowed = TOLERANCE * np.maximum(1, np.abs(expected)) + rounding(
        derived.jacobian, derived.gradient, flat(inputs)[index], flat(images)[index]
    )
    worst = np.maximum(error, cancel)
    lost = ~np.isfinite(worst) | ~np.isfinite(expected)
    figure = float(np.nan if lost.any() else worst.max())
    failed = bool(lost.any() or (worst > np.where(np.isfinite(allowed), allowed, 0)).any())
    condition = np.linalg.cond(derived.jacobian[~lost]).max() if (~lost).any() else np.nan
    way = "from latent to data" if context.derived_forward else "from data to latent"
    text = f"On {len(index)} rows of {context.dim} elements the log-det {way} differs from that of the Jacobian by "
    text += f"{_max(error):.1e} nats at most, and from the log-det of the way back by {_max(cancel):.1e}."
    if lost.any():
        text += f" On {int(lost.sum())} rows the Jacobian is singular or something is not finite."
    elif failed:
        text += " That is more than rounding explains: every log-density is wrong by as much."
    else:
        text += f" Condition numbers reach {condition:.0e}."
    return CheckLine(name, figure, float(allowed.max()), "fail" if failed else "pass", text)


def rounding(jacobian: np.ndarray, gradient: np.ndarray, inputs: np.ndarray, images: np.ndarray) -> np.ndarray:
    """How far rounding may move each log-det `(n,)`.

    Args:
        jacobian: Jacobians `(n, D, D)`.
        gradient: Gradients `(n, D)` of the log-dets.
        inputs: Arguments `(n, D)` of the map.
        images: Values `(n, D)` of the map.
    """
    out = np.zeros(len(jacobian))
    for i, matrix in enumerate(jacobian):
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            continue  # nothing excuses a singular Jacobian
        moved = 1 + np.abs(inputs[i]) + np.abs(inverse) @ np.abs(images[i])
        out[i] = np.abs(matrix * inverse.T).sum() + (np.abs(gradient[i]) * moved).sum()
    return ROUNDINGS * np.finfo(np.float64).eps * np.where(np.isfinite(out), out, 0.0)


def check_random_log_det(context: Context) -> CheckLine:
    """Compare the mean of a random log-det with autodiff, and measure the standard error of one log-density."""
    name = "random log-det"
    if context.bijection is None:
        return skipped(name, context)
    if context.traits.log_det == "exact":
        return CheckLine(name, None, None, "skipped", "The log-det is exact.")
    if context.traits.inverse == "absent":
        return skipped(name, context)
    rows = context.points[:RANDOM_ROWS]
    conditions = None if context.point_conditions is None else context.point_conditions[:RANDOM_ROWS]
    n = len(rows)
    keys = jax.random.split(jax.random.fold_in(context.key, 20), n * RANDOM_KEYS)
    repeated = None if conditions is None else np.repeat(conditions, RANDOM_KEYS, axis=0)
    draws = context.wide.score(np.repeat(rows, RANDOM_KEYS, axis=0), repeated, keys).log_det.reshape(n, -1)
    mean, error = mean_and_error(draws, axis=1)
    noise = float(np.sqrt(RANDOM_KEYS * np.mean(error**2)))
    text = f"Its noise gives one log-density a standard error of {noise:.2g} nats."
    if context.dim > RANDOM_MAX_DIM:
        text += f" Its mean is not checked: an event has more than {RANDOM_MAX_DIM} elements."
        return CheckLine(name, noise, None, "note", text)
    jacobian = context.wide.derivatives(rows, conditions, False, RANDOM_ROWS).jacobian
    expected = np.linalg.slogdet(jacobian)[1]
    bias = np.abs(mean - expected)
    share = bias / (STANDARD_ERRORS * error + TOLERANCE * np.maximum(1, np.abs(expected)))
    wrong = not (share <= 1).all()
    worst = int(np.argmax(np.where(np.isfinite(share), share, np.inf)))
    verdict: Outcome = "pass"
    if wrong:
        verdict = "note" if context.traits.log_det == "biased" else "fail"
    text += f" Averaged over {RANDOM_KEYS} draws it is off by {bias[worst]:.2g} nats +- {error[worst]:.2g}"
    text += " from the log-det of the Jacobian (worst row)."
    if wrong:
        declared = "as it declares" if verdict == "note" else "though it declares itself unbiased"
        text += f" It is biased, {declared}."
    return CheckLine(name, float(bias[worst]), float(STANDARD_ERRORS * error[worst]), verdict, text)


def _max(values: np.ndarray) -> float:
    return float(np.max(values, where=np.isfinite(values), initial=0.0))
