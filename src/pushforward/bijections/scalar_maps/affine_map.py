"""Shifts and affine maps of one number."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.bounded import soft_clamp


class AdditiveMap(AbstractScalarMap):
    r"""The shift $y = x + t$, which preserves volume.

    Source: Dinh, Krueger, Bengio, 2014, eq. 9, arXiv 1410.8516.
    """

    n_params: int = eqx.field(static=True, default=1, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return x + params[0], jnp.zeros_like(x)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return y - params[0], jnp.zeros_like(y)


class AffineMap(AbstractScalarMap):
    r"""The affine map $y = x\,e^{s} + t$ with a smoothly bounded log-scale, $|s| < $ `max_log_scale`.

    An unbounded log-scale is the commonest cause of overflow in deep flows.

    Args:
        max_log_scale: Bound on $|s|$.

    Raises:
        ValueError: `max_log_scale` is not positive.

    Source: Dinh, Sohl-Dickstein, Bengio, 2017, eq. 4, arXiv 1605.08803.
    """

    max_log_scale: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=2, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __check_init__(self) -> None:
        if not 0 < self.max_log_scale < float("inf"):
            got = repr(self.max_log_scale)
            raise ValueError(message("AffineMap", "max_log_scale > 0", got, "The usual value is 5."))

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        log_scale = soft_clamp(params[1], self.max_log_scale)
        return x * jnp.exp(log_scale) + params[0], jnp.broadcast_to(log_scale, x.shape)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        log_scale = soft_clamp(params[1], self.max_log_scale)
        return (y - params[0]) * jnp.exp(-log_scale), jnp.broadcast_to(-log_scale, y.shape)


class SigmoidAffineMap(AbstractScalarMap):
    r"""The affine map of Glow's code, $y = x\,\sigma(s + o)/\sigma(o) + t$, whose scale is at most $1/\sigma(o)$.

    With the offset $o = 2$ of Glow that is 1.14: from data to latent a layer of such maps hardly stretches, so that no
    training step makes the density of a point much larger. With $o = 0$ it is Jet's $2\,\sigma(s)$. The log of the
    scale is also bounded from below, at $o - b$ or so.

    Args:
        max_log_scale: Bound $b$.
        offset: What is added to a parameter before the sigmoid, $o$.

    Raises:
        ValueError: `max_log_scale` is not positive.

    Source: Kingma and Dhariwal, 2018, its published code, arXiv 1807.03039; Kolesnikov, Pinto, Tschannen, 2024, arXiv
        2412.15129 (offset 0).
    """

    max_log_scale: float = eqx.field(static=True, default=5.0)
    offset: float = eqx.field(static=True, default=2.0)
    n_params: int = eqx.field(static=True, default=2, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __check_init__(self) -> None:
        if not 0 < self.max_log_scale < float("inf"):
            got = repr(self.max_log_scale)
            raise ValueError(message("SigmoidAffineMap", "max_log_scale > 0", got, "The usual value is 5."))

    def _log_scale(self, param: Array) -> Array:
        start = -math.log1p(math.exp(-self.offset))
        return jax.nn.log_sigmoid(soft_clamp(param, self.max_log_scale) + self.offset) - start

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        log_scale = self._log_scale(params[1])
        return x * jnp.exp(log_scale) + params[0], jnp.broadcast_to(log_scale, x.shape)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        log_scale = self._log_scale(params[1])
        return (y - params[0]) * jnp.exp(-log_scale), jnp.broadcast_to(-log_scale, y.shape)
