"""Maps of one number whose parameters are those of a model and of a contrast to it, extrapolated."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.bounded import soft_clamp


class ExtrapolatedMap(AbstractScalarMap):
    r"""$m(x; \theta + w\,s\,(\theta - \theta'))$ with the parameters $\theta$ of a model and $\theta'$ of a contrast.

    Its parameters are those of the model, those of the contrast, and the share $s$ of the weight.

    Args:
        scalar_map: The map $m$; its own bounds hold after the extrapolation.
        weight: Weight $w$; 0 is the model.

    Source: Zhai et al., 2024, arXiv 2412.06329.
    """

    scalar_map: AbstractScalarMap
    weight: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, scalar_map: AbstractScalarMap, weight: float):
        self.scalar_map, self.weight = scalar_map, float(weight)
        self.n_params, self.traits = 2 * scalar_map.n_params + 1, scalar_map.traits

    def _mixed(self, params: Array) -> Array:
        n = self.scalar_map.n_params
        return params[:n] + self.weight * params[-1] * (params[:n] - params[n : 2 * n])

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return self.scalar_map.forward_and_log_det(x, self._mixed(params))

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return self.scalar_map.inverse_and_log_det(y, self._mixed(params))


class ProductOfNormalsMap(AbstractScalarMap):
    r"""$y = (x - \mu)/\sigma$ with the mean and deviation of the normal $\propto p^{1 + w s}/q^{w s}$.

    Here $p$ is the model's normal and $q$ that of a contrast, whose deviation counts as no smaller than $p$'s, so that
    the product is a normal for every weight: with $r = \min(\sigma_p/\sigma_q, 1)^2$ and $d = 1 + w s (1 - r)$ it has
    $\sigma = \sigma_p/\sqrt d$ and $\mu = ((1 + w s)\,\mu_p - w s\,r\,\mu_q)/d$. The parameters are mean and
    log-deviation of the model, those of the contrast, and the share $s$ of the weight.

    Args:
        max_log_scale: Bound on the log-deviations, as in `AffineMap`.
        weight: Weight $w \ge 0$; 0 is the model.

    Source: Gu et al., 2025, arXiv 2506.06276.
    """

    max_log_scale: float = eqx.field(static=True)
    weight: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True, default=5, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def _moments(self, params: Array) -> tuple[Array, Array]:
        """The mean and the log-deviation of the product."""
        mean, own, other_mean, other, share = params
        log_scale, other_log_scale = soft_clamp(own, self.max_log_scale), soft_clamp(other, self.max_log_scale)
        weight = self.weight * share
        ratio = jnp.exp(2 * jnp.minimum(log_scale - other_log_scale, 0))
        divisor = 1 + weight * (1 - ratio)
        return ((1 + weight) * mean - weight * ratio * other_mean) / divisor, log_scale - 0.5 * jnp.log(divisor)

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        mean, log_scale = self._moments(params)
        return (x - mean) * jnp.exp(-log_scale), jnp.broadcast_to(-log_scale, x.shape)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        mean, log_scale = self._moments(params)
        return y * jnp.exp(log_scale) + mean, jnp.broadcast_to(log_scale, y.shape)
