"""Trained maps of the real line onto itself that bend a normal's tails and its symmetry."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_shape, message
from pushforward._types import Array, Shape, Traits
from pushforward.bijections.base import along
from pushforward.bijections.functions import AbstractFunction
from pushforward.numerics.special import (
    lambert_w_of_square,
    log1p_square,
    log_cosh,
    max_exponent,
    max_square,
    softplus_inverse,
)


class SinhArcsinh(AbstractFunction):
    r"""$y = \sinh(\delta (\operatorname{arsinh} x + \epsilon))$: skewness and weight of the tails, both trained.

    $\log y' = \log\delta + \log\cosh(\delta(\operatorname{arsinh} x + \epsilon)) - \tfrac12\log(1 + x^2)$. With
    $\epsilon > 0$ the right tail is the longer one; with $\delta > 1$ both are heavier than a normal's, with
    $\delta < 1$ lighter. The map ends near 1e30 in float32 and near 1e240 in float64.

    Args:
        skewness: $\epsilon$ at the start, broadcast to `shape`.
        tailweight: $\delta > 0$ at the start, broadcast to `shape`; its log is the parameter.
        shape: event shape; None takes that of both together.

    Cost: two hyperbolic functions and two logarithms per number; log-det exact. The identity at the defaults.

    Raises:
        ValueError: a tail weight is not positive, or a number is not finite.
        TypeError: `shape` is an integer.

    Source: Jones and Pewsey, 2009, section 1; $\delta$ here is one over theirs.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> heavy = pf.bijections.SinhArcsinh(skewness=0.0, tailweight=2.0, shape=(2,))
        >>> heavy.forward(jnp.array([0.0, 3.0])).round(4).tolist()
        [0.0, 18.9737]
    """

    skewness: Array
    log_tailweight: Array
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, skewness: Any = 0.0, tailweight: Any = 1.0, shape: Shape | None = None):
        skew, weight = np.asarray(skewness, float), np.asarray(tailweight, float)
        if not (np.all(np.isfinite(skew)) and np.all(np.isfinite(weight) & (weight > 0))):
            got = f"{skewness} and {tailweight}"
            raise ValueError(message("SinhArcsinh", "a finite skewness and tailweight > 0", got, "Start with 0 and 1."))
        shape = np.broadcast_shapes(skew.shape, weight.shape) if shape is None else shape
        self.shape, self.traits = check_shape("SinhArcsinh", shape), Traits()
        dtype = jnp.result_type(float)
        self.skewness = jnp.asarray(np.broadcast_to(skew, self.shape), dtype)
        self.log_tailweight = jnp.asarray(np.broadcast_to(np.log(weight), self.shape), dtype)

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        skewness, log_weight = along(self.skewness), along(self.log_tailweight)
        return _sinh_of_arcsinh(x, lambda u: jnp.exp(log_weight) * (u + skewness), log_weight)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        skewness, log_weight = along(self.skewness), along(self.log_tailweight)
        return _sinh_of_arcsinh(y, lambda u: jnp.exp(-log_weight) * u - skewness, -log_weight)


class LambertW(AbstractFunction):
    r"""$y = x\,e^{\delta x^2/2}$: of a normal, tails that fall like $|y|^{-1/\delta}$; trained.

    $\log y' = \tfrac12\delta x^2 + \log(1 + \delta x^2)$, and the inverse is $x = y\,e^{-W(\delta y^2)/2}$ with
    Lambert's $W$, so that nothing is divided by $\delta$ and the map becomes the identity as $\delta \to 0$. Moments
    of order $1/\delta$ and above are infinite. The map ends near 1e30 in float32 and near 1e240 in float64.

    Args:
        tail: $\delta > 0$ at the start, broadcast to `shape`; kept above 0 by a softplus.
        shape: event shape; None takes that of `tail`.

    Cost: an exponential and a logarithm forward, two steps of Fritsch's iteration for $W$ back; log-det exact.

    Raises:
        ValueError: a `tail` is not finite and positive.
        TypeError: `shape` is an integer.

    Source: Goerg, 2015, section 2, arXiv 1010.2265.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.LambertW(0.5, shape=(2,)).forward(jnp.array([0.0, -2.0])).round(4).tolist()
        [0.0, -5.4366]
    """

    raw_tail: Array
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, tail: Any = 0.1, shape: Shape | None = None):
        values = np.asarray(tail, float)
        if not np.all(np.isfinite(values) & (values > 0)):
            fix = "The usual value is 0.1; a softplus cannot be 0, but the training brings it near."
            raise ValueError(message("LambertW", "a finite tail > 0", f"{tail}", fix))
        shape = values.shape if shape is None else shape
        self.shape, self.traits = check_shape("LambertW", shape), Traits()
        raw = softplus_inverse(jnp.asarray(np.broadcast_to(values, self.shape), jnp.result_type(float)))[0]
        self.raw_tail = raw

    def _tail(self, x: Array) -> Array:
        return jnp.broadcast_to(jax.nn.softplus(along(self.raw_tail)), x.shape)

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        inner = jnp.clip(x, -max_square(x.dtype), max_square(x.dtype))
        square = self._tail(x) * inner * inner
        # Beyond the end of the map its factor is held: a constant, by which numbers do not grow further.
        room = max_exponent(x.dtype) - jnp.log(jnp.maximum(jnp.abs(jax.lax.stop_gradient(x)), 1.0))
        return x * jnp.exp(jnp.minimum(square / 2, jnp.maximum(room, 0.0))), square / 2 + jnp.log1p(square)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        w = lambert_w_of_square(y, self._tail(y))
        return y * jnp.exp(-w / 2), -w / 2 - jnp.log1p(w)


def _sinh_of_arcsinh(x: Array, between: Any, log_factor: Array) -> tuple[Array, Array]:
    """The hyperbolic sine of a line in the inverse hyperbolic sine, and its log-slope."""
    end = max_exponent(x.dtype)
    inner = between(jnp.arcsinh(x))
    return jnp.sinh(jnp.clip(inner, -end, end)), log_factor + log_cosh(inner) - 0.5 * log1p_square(x)
