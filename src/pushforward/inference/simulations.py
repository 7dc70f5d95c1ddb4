"""Pairs of parameters and simulations as a model takes them: checked, with those that failed set aside."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import expit

from pushforward._checks import message
from pushforward._types import Shape
from pushforward.inference.priors import AbstractPrior

Failed = Literal["drop", "model", "error"]
LEAST_PAIRS = 20
# Newton's steps of the logistic regression, and the weight that keeps its coefficients finite where classes separate.
NEWTON_STEPS, RIDGE = 50, 1.0
# Beyond so many parameters the regression leaves out products of two.
MOST_WITH_PRODUCTS = 20


class SimulationWarning(UserWarning):
    """Simulations failed, and were left out."""


@dataclass(frozen=True)
class Simulations:
    """Pairs that can be learned from.

    Args:
        theta: Parameters `(n, dim)`, float64.
        x: Observations `(n, *x_shape)`, float64, all finite.
        n_failed: Number of pairs that were set aside, because a simulation was NaN or infinite.
        failed_theta: Parameters of these, `(n_failed, dim)`.
    """

    theta: np.ndarray
    x: np.ndarray
    n_failed: int
    failed_theta: np.ndarray

    @property
    def x_shape(self) -> Shape:
        """The shape of one observation."""
        return self.x.shape[1:]


def check_failed(name: str, failed: Any) -> Failed:
    """The policy on simulations that failed.

    Raises:
        ValueError: It is another word.
    """
    if failed not in get_args(Failed):
        fix = "'drop' leaves them out, 'model' also learns where they happen."
        raise ValueError(message(name, "failed 'drop', 'model' or 'error'", repr(failed), fix))
    return failed


def parameters_of(name: str, theta: Any, prior: AbstractPrior) -> np.ndarray:
    """Parameters as rows in float64; columns of a table are chosen by the names of the prior.

    Raises:
        ValueError: Their number is another than the prior's.
    """
    rows = _array(theta, prior.names)
    rows = rows[:, None] if rows.ndim == 1 and prior.dim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != prior.dim:
        fix = "One row per simulation, one column per parameter of the prior."
        raise ValueError(message(name, f"theta of shape (n, {prior.dim})", f"shape {rows.shape}", fix))
    return rows


def simulations_of(name: str, theta: Any, x: Any, prior: AbstractPrior, failed: Failed) -> Simulations:
    """Pairs of parameters and simulations, checked.

    Args:
        name: Name of the object that is told of errors.
        theta: Parameters `(n, dim)`.
        x: Simulations `(n, *x_shape)`; numbers `(n,)` are one column.
        prior: The prior, in whose support all parameters must lie.
        failed: What happens to pairs with NaN or infinity in `x`.

    Raises:
        ValueError: Shapes do not fit, parameters are not finite or outside the prior, too few pairs are left, or a
            simulation failed and the policy is `"error"`.
    """
    rows, seen = parameters_of(name, theta, prior), _array(x, None)
    seen = seen[:, None] if seen.ndim == 1 else seen
    if len(seen) != len(rows):
        got = f"{len(rows)} rows of theta and {len(seen)} of x"
        raise ValueError(message(name, "one simulation for each row of theta", got, "Pass pairs."))
    if not np.isfinite(rows).all():
        raise ValueError(message(name, "finite parameters", "NaN or infinity in theta", "Leave these rows out."))
    outside = ~prior.inside(rows)
    if outside.any():
        got = f"{int(outside.sum())} of {len(rows)} rows outside, such as row {int(np.flatnonzero(outside)[0])}"
        fix = "Pass the prior from which theta was drawn."
        raise ValueError(message(name, "theta within the support of the prior", got, fix))
    lost = ~np.isfinite(seen.reshape(len(seen), -1)).all(axis=1)
    n_failed = int(lost.sum())
    if n_failed and failed == "error":
        fix = "Pass failed='drop' to leave them out, or failed='model' to learn where they happen too."
        raise ValueError(message(name, "finite simulations", f"NaN or infinity in {n_failed} of {len(seen)}", fix))
    if len(rows) - n_failed < LEAST_PAIRS:
        got = f"{len(rows) - n_failed}" + (f", for {n_failed} failed" if n_failed else "")
        raise ValueError(message(name, f"at least {LEAST_PAIRS} simulations that are finite", got, "Simulate more."))
    if n_failed and failed == "drop":
        text = f"{name}: {n_failed} of {len(rows)} simulations are NaN or infinite, and were left out."
        warnings.warn(text, SimulationWarning, stacklevel=3)
    return Simulations(rows[~lost], seen[~lost], n_failed, rows[lost])


def observations_of(name: str, x: Any, x_shape: Shape) -> tuple[np.ndarray, bool]:
    """Observations `(n_obs, *x_shape)`, and whether there are many (else it is one, without the axis).

    Raises:
        ValueError: The shape is another, or a number is not finite.
    """
    seen = _array(x, None)
    if seen.ndim == 0 and x_shape == (1,):
        seen = seen[None]
    many = seen.ndim == len(x_shape) + 1
    if seen.shape[1 if many else 0 :] != x_shape:
        expected = f"one observation of shape {x_shape}, or many of shape (n_obs, {', '.join(map(str, x_shape))})"
        raise ValueError(message(name, expected, f"shape {seen.shape}", "Pass x as it was in fit."))
    if not np.isfinite(seen).all():
        fix = "A posterior given a part of x is what JointPosterior is for."
        raise ValueError(message(name, "a finite observation", "NaN or infinity", fix))
    return (seen if many else seen[None]), many


def _array(values: Any, names: tuple[str, ...] | None) -> np.ndarray:
    columns = getattr(values, "columns", None)
    if names is not None and columns is not None and set(names) <= set(columns):
        return np.stack([np.asarray(values[name], np.float64) for name in names], axis=1)
    return np.asarray(values, np.float64)


@dataclass(frozen=True)
class FailureModel:
    r"""The probability that a simulation fails, $\sigma(b^\top \phi(w))$, with squares and products of two.

    Args:
        coefficients: The numbers $b$.
    """

    coefficients: np.ndarray

    @staticmethod
    def of(good: np.ndarray, bad: np.ndarray) -> FailureModel:
        """The regression of coordinates of good and failed simulations, by penalised Newton steps."""
        features = FailureModel.features(np.concatenate([good, bad]), np)
        failed = np.arange(len(features)) >= len(good)
        b = np.zeros(features.shape[1])
        penalty = RIDGE * np.eye(len(b))
        penalty[0, 0] = 0.01 * RIDGE  # the rate of failures is free
        for _ in range(NEWTON_STEPS):
            p = expit(features @ b)
            slope = features.T @ (failed - p) - penalty @ b
            step = np.linalg.solve((features.T * (p * (1 - p))) @ features + penalty, slope)
            b = b + np.clip(step, -2, 2)
            if np.abs(step).max() < 1e-8:
                break
        return FailureModel(b)

    @staticmethod
    def from_json(stored: Any, dim: int) -> FailureModel | None:
        """The model of a list of coefficients, or None of None.

        Raises:
            ValueError: They are not coefficients for `dim` parameters.
        """
        if stored is None:
            return None
        found, wanted = np.array(stored, np.float64), FailureModel.features(np.zeros((1, dim)), np).shape[1]
        if found.shape != (wanted,) or not np.isfinite(found).all():
            raise ValueError(f"expected {wanted} coefficients of the probability of a failure, got {found.shape}")
        return FailureModel(found)

    def probability(self, w: np.ndarray) -> np.ndarray:
        """The probability of a failure at coordinates `(n, dim)`."""
        return expit(self.features(w, np) @ self.coefficients)

    @staticmethod
    def features(w: Any, numpy: Any) -> Any:
        """The constant, the numbers, and their squares and products, `(n, k)`.

        Args:
            w: Coordinates `(n, dim)`.
            numpy: The module that computes: NumPy, or that of JAX.
        """
        d = w.shape[1]
        first, second = np.triu_indices(d) if d <= MOST_WITH_PRODUCTS else (np.arange(d), np.arange(d))
        return numpy.concatenate([numpy.ones((len(w), 1)), w, w[:, first] * w[:, second]], axis=1)
