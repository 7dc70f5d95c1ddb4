r"""The contract of Gaussian paths, and the table that turns velocity, score, noise and data into one another."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._module import Module
from pushforward._types import Array

Prediction = Literal["velocity", "score", "noise", "data"]
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)
# Least size of a divisor in conversions: at the ends of a path only noise or only data is left, from which the other
# cannot be computed.
SMALLEST = 1e-5


class Coefficients(NamedTuple):
    r"""The coefficients $\alpha, \sigma$ and their derivatives in time."""

    alpha: Array
    sigma: Array
    alpha_dot: Array
    sigma_dot: Array


class AbstractPath(Module):
    r"""A Gaussian path $x_t = \alpha(t)\,x_1 + \sigma(t)\,x_0$ from noise $x_0 \sim N(0, I)$ at 0 to data $x_1$ at 1.

    The literature on diffusions counts time the other way, $s = 1 - t$; only these classes convert it.

    Attributes:
        start, end: Times between which the path is used; training and solving avoid ends where $\sigma$ or $\alpha$
            vanish and a score or a velocity is infinite.
    """

    start: eqx.AbstractVar[float]
    end: eqx.AbstractVar[float]

    @abstractmethod
    def alpha(self, t: Array) -> Array:
        r"""The coefficient $\alpha(t)$ of the data."""

    @abstractmethod
    def sigma(self, t: Array) -> Array:
        r"""The coefficient $\sigma(t)$ of the noise."""

    def at(self, t: Array) -> Coefficients:
        """All four coefficients, with derivatives by forward mode, which are exact for these formulas."""
        t = jnp.asarray(t)
        t = t if jnp.issubdtype(t.dtype, jnp.floating) else t.astype(jnp.result_type(float))
        alpha, alpha_dot = jax.jvp(self.alpha, (t,), (jnp.ones_like(t),))
        sigma, sigma_dot = jax.jvp(self.sigma, (t,), (jnp.ones_like(t),))
        return Coefficients(alpha, sigma, alpha_dot, sigma_dot)

    def between(self, t: Array, noise: Array, data: Array) -> tuple[Array, Array]:
        r"""The state $x_t$ and the velocity $\dot\alpha x_1 + \dot\sigma x_0$; times broadcast over the last axis."""
        c = self.at(t)
        return c.alpha * data + c.sigma * noise, c.alpha_dot * data + c.sigma_dot * noise

    def diffusion_squared(self, t: Array) -> Array:
        r"""The squared diffusion $g^2 = 2 \sigma (\dot\alpha \sigma/\alpha - \dot\sigma)$ of the SDE of the path.

        In the diffusion's time $s = 1 - t$ that SDE is $dx = f x\,ds + g\,dw$ with $f = -\dot\alpha/\alpha$.
        """
        c = self.at(t)
        return 2 * c.sigma * (c.alpha_dot * c.sigma / jnp.maximum(c.alpha, SMALLEST) - c.sigma_dot)


def _away(x: Array) -> Array:
    """The number, or `SMALLEST` with the sign of the number if its size is smaller."""
    return jnp.where(jnp.abs(x) < SMALLEST, jnp.where(x < 0, -SMALLEST, SMALLEST), x)


def convert(path: AbstractPath, t: Array, x: Array, value: Array, have: Prediction, want: Prediction) -> Array:
    r"""Convert one prediction of a network into another, for any path.

    With $x = \alpha x_1 + \sigma x_0$ and $u = \dot\alpha x_1 + \dot\sigma x_0$, any one of velocity $u$, score
    $s = -x_0/\sigma$, noise $x_0$ and data $x_1$ gives the others; each is a conditional mean given $x_t = x$.

    Args:
        path: The path that gives the coefficients.
        t: Time, `()` or `(n,)`, clipped to the path's start and end.
        x: States, `(..., n)`.
        value: The known quantity at these states, of the same shape.
        have: Name of the known quantity.
        want: Name of the wanted quantity.

    Raises:
        ValueError: a name is unknown.

    Source: Lipman, Havasi, Holderrieth et al., 2024, table 1, arXiv 2412.06264; Karras, Aittala, Aila, Laine, 2022,
        arXiv 2206.00364.
    """
    for name in (have, want):
        if name not in PREDICTIONS:
            raise ValueError(message("convert", f"one of {', '.join(PREDICTIONS)}", repr(name), "Choose one of them."))
    if have == want:
        return value
    c = path.at(jnp.clip(t, path.start, path.end))
    turn = _away(c.alpha * c.sigma_dot - c.alpha_dot * c.sigma)
    if want == "velocity":  # directly, because intermediate quantities may be infinite
        if have == "data":
            rate = c.sigma_dot / _away(c.sigma)
            return rate * x + (c.alpha_dot - rate * c.alpha) * value
        noise = value if have == "noise" else -c.sigma * value
        rate = c.alpha_dot / _away(c.alpha)
        return rate * x + (c.sigma_dot - rate * c.sigma) * noise
    if have == "velocity":
        noise, data = (c.alpha * value - c.alpha_dot * x) / turn, (c.sigma_dot * x - c.sigma * value) / turn
    elif have == "data":
        noise, data = (x - c.alpha * value) / _away(c.sigma), value
    else:
        noise = value if have == "noise" else -c.sigma * value
        data = (x - c.sigma * noise) / _away(c.alpha)
    return {"noise": noise, "data": data, "score": -noise / _away(c.sigma)}[want]
