"""The noise of an observation: its likelihood, its draws, and what residuals it predicts."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_values, message, positive
from pushforward._module import Module
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.inverse_problems.operators import constant

# A rate of zero would make one count impossible and its gradient infinite; no rate of practice is smaller.
LEAST_RATE = 1e-12


class AbstractNoise(Module):
    """The distribution of an observation given the one without noise."""

    @abstractmethod
    def check(self, name: str, y: np.ndarray) -> None:
        """Raise a ValueError unless an observation may come from this noise."""

    @abstractmethod
    def log_likelihood(self, y: Array, mean: Array) -> Array:
        """The log-density of the observation in nats, a number; both of one shape."""

    @abstractmethod
    def chi_square(self, y: Array, mean: Array) -> Array:
        """The sum of squared residuals, each by its variance: about the number of observations if all is right."""

    @abstractmethod
    def draw(self, key: PRNGKeyArray, mean: Array) -> Array:
        """An observation with noise, of the shape of `mean`."""

    @abstractmethod
    def covariance(self, y: np.ndarray) -> np.ndarray:
        """The covariance `(m, m)` of the flattened observation, or its normal approximation at `y`."""


class GaussianNoise(AbstractNoise):
    r"""$y \sim N(A(x), \Sigma)$.

    Args:
        sd: Standard deviations: one number, or an array of the observation's shape.
        covariance: Covariance $\Sigma$ of the flattened observation, `(m, m)`, in place of `sd`.

    Raises:
        ValueError: A deviation is not above 0, the covariance is not positive definite, or not one of both is given.

    Example:
        >>> from pushforward.inverse_problems import GaussianNoise
        >>> GaussianNoise(0.1)
        GaussianNoise(sd=0.1)
    """

    sd: Fixed | None
    factor: Fixed | None

    def __init__(self, sd: Any = None, *, covariance: Any = None):
        name = "GaussianNoise"
        if (sd is None) == (covariance is None):
            got = "neither" if sd is None else "both"
            raise ValueError(message(name, "sd or covariance", got, "Give one of them; Noiseless() is no noise."))
        if covariance is None:
            sd = np.asarray(sd, float)
            check_values(name, "finite standard deviations > 0", positive, "Noiseless() is no noise.", sd)
            self.sd, self.factor = constant(sd), None
            return
        matrix = np.asarray(covariance, float)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(message(name, "a square covariance", f"shape {matrix.shape}", "Flatten the observation."))
        try:
            if not np.allclose(matrix, matrix.T):
                raise np.linalg.LinAlgError
            factor = np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError as error:
            fix = "Add a small multiple of the identity."
            expected = "a symmetric, positive definite covariance"
            raise ValueError(message(name, expected, "another matrix", fix)) from error
        self.sd, self.factor = None, constant(factor)

    def __repr__(self) -> str:
        if self.sd is None:
            return f"GaussianNoise(covariance of {len(self.factor.value)})"  # pyright: ignore[reportOptionalMemberAccess]
        sd = np.asarray(self.sd.value)
        return f"GaussianNoise(sd={sd:g})" if sd.ndim == 0 else f"GaussianNoise(sd of shape {sd.shape})"

    def check(self, name: str, y: np.ndarray) -> None:
        shape, fix = y.shape, "Give the noise the shape of the observation."
        if self.sd is not None:
            own = np.shape(self.sd.value)
            if own not in ((), shape):
                raise ValueError(message(name, f"noise with sd () or {shape}", f"{own}", fix))
        elif len(self.factor.value) != y.size:  # pyright: ignore[reportOptionalMemberAccess]
            got = f"{self.factor.value.shape}"  # pyright: ignore[reportOptionalMemberAccess]
            raise ValueError(message(name, f"a covariance {(y.size, y.size)}", got, fix))

    def _whitened(self, residual: Array) -> tuple[Array, Array]:
        """The residual with unit covariance, flat, and the log-determinant of the factor."""
        if self.sd is not None:
            sd = jnp.broadcast_to(jnp.asarray(self.sd.value, residual.dtype), residual.shape)
            return (residual / sd).reshape(-1), jnp.sum(jnp.log(sd))
        factor = jnp.asarray(self.factor.value, residual.dtype)  # pyright: ignore[reportOptionalMemberAccess]
        white = jax.scipy.linalg.solve_triangular(factor, residual.reshape(-1), lower=True)
        return white, jnp.sum(jnp.log(jnp.diagonal(factor)))

    def log_likelihood(self, y: Array, mean: Array) -> Array:
        white, log_det = self._whitened(y - mean)
        return -0.5 * jnp.sum(white**2) - log_det - 0.5 * white.size * math.log(2 * math.pi)

    def chi_square(self, y: Array, mean: Array) -> Array:
        return jnp.sum(self._whitened(y - mean)[0] ** 2)

    def draw(self, key: PRNGKeyArray, mean: Array) -> Array:
        noise = jax.random.normal(key, mean.shape, mean.dtype)
        if self.sd is not None:
            return mean + jnp.asarray(self.sd.value, mean.dtype) * noise
        factor = jnp.asarray(self.factor.value, mean.dtype)  # pyright: ignore[reportOptionalMemberAccess]
        return mean + (factor @ noise.reshape(-1)).reshape(mean.shape)

    def covariance(self, y: np.ndarray) -> np.ndarray:
        if self.sd is not None:
            return np.diag(np.broadcast_to(np.asarray(self.sd.value, float), y.shape).ravel() ** 2)
        factor = np.asarray(self.factor.value)  # pyright: ignore[reportOptionalMemberAccess]
        return factor @ factor.T


class PoissonNoise(AbstractNoise):
    r"""Counts $y_i \sim \operatorname{Poisson}(A(x)_i)$, so that the operator must give rates above 0.

    Rates below 1e-12 count as 1e-12.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.inverse_problems import PoissonNoise
        >>> round(float(PoissonNoise().log_likelihood(jnp.array([2.0]), jnp.array([3.0]))), 4)
        -1.4959
    """

    def check(self, name: str, y: np.ndarray) -> None:
        if (y < 0).any() or (y != np.round(y)).any():
            fix = "Poisson noise is for counts; rescaled counts go back to counts first."
            raise ValueError(message(name, "counts 0, 1, 2, ...", f"{y.ravel()[:4]}", fix))

    def log_likelihood(self, y: Array, mean: Array) -> Array:
        rate = jnp.maximum(mean, LEAST_RATE)
        return jnp.sum(y * jnp.log(rate) - rate - jax.scipy.special.gammaln(y + 1))

    def chi_square(self, y: Array, mean: Array) -> Array:
        rate = jnp.maximum(mean, LEAST_RATE)
        return jnp.sum((y - rate) ** 2 / rate)

    def draw(self, key: PRNGKeyArray, mean: Array) -> Array:
        return jax.random.poisson(key, jnp.maximum(mean, LEAST_RATE)).astype(mean.dtype)

    def covariance(self, y: np.ndarray) -> np.ndarray:
        return np.diag(np.maximum(y.ravel(), 1.0))


class Noiseless(AbstractNoise):
    r"""No noise: $y = A(x)$ exactly, which a linear operator allows.

    Example:
        >>> from pushforward.inverse_problems import Noiseless
        >>> Noiseless()
        Noiseless()
    """

    def check(self, name: str, y: np.ndarray) -> None:
        pass

    def log_likelihood(self, y: Array, mean: Array) -> Array:
        return jnp.where(jnp.all(y == mean), 0.0, -jnp.inf)

    def chi_square(self, y: Array, mean: Array) -> Array:
        return jnp.sum((y - mean) ** 2)

    def draw(self, key: PRNGKeyArray, mean: Array) -> Array:
        return mean

    def covariance(self, y: np.ndarray) -> np.ndarray:
        return np.zeros((y.size, y.size))


def as_noise(name: str, noise: Any) -> AbstractNoise:
    """The noise; None is none, and a number the standard deviation of a normal.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(noise, AbstractNoise):
        return noise
    if noise is None:
        return Noiseless()
    if isinstance(noise, bool | str) or np.ndim(noise) != 0:
        fix = "Pass GaussianNoise(sd), PoissonNoise(), Noiseless(), or one number, a standard deviation."
        raise TypeError(message(name, "noise", type(noise).__name__, fix))
    return GaussianNoise(noise)


def observation(name: str, y: Any, shape: Shape) -> np.ndarray:
    """The observation in float64.

    Raises:
        ValueError: It has another shape, or is not finite.
    """
    values = np.asarray(y, float)
    if values.shape != shape:
        fix = "One number for each that the operator gives; for a Mask these are event[mask]."
        raise ValueError(message(name, f"y of shape {shape}", f"shape {values.shape}", fix))
    if not np.isfinite(values).all():
        fix = "Leave out what is missing: Mask(np.isfinite(y)), after the operator by InTurn([operator, Mask(...)])."
        raise ValueError(message(name, "finite y", f"{int((~np.isfinite(values)).sum())} others", fix))
    return values
