"""Distribution functions of mixtures as scalar maps: of logistics (Flow++) and of normals (Gaussianization)."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_by_search
from pushforward.bijections.scalar_maps.sigmoidal import check_log_scale
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.normal_mixture import quantile_of_mixture
from pushforward.numerics.sigmoid_mixture import log_softmax, logit_of_mixture, with_slope_floor

MAX_COMPONENTS = 1024
# Distance between the components in `GaussianMixtureMap.spread`, relative to the quantiles of a normal.
SPREAD = 0.6


def standardised(x: Array, params: Array, n: int, max_log_scale: float) -> tuple[Array, Array, Array]:
    """For each component `(x - loc) / scale`, minus the log-scale, and the log-weight, each `(n, *S)`.

    Args:
        x: Array of shape `S`.
        params: Locations, log-scales and logits of the weights, `n` rows of each.
        n: Number of components.
        max_log_scale: Soft bound on each log-scale.
    """
    log_rate = -soft_clamp(params[n : 2 * n], max_log_scale)
    return (x - params[:n]) * jnp.exp(log_rate), log_rate, log_softmax(params[2 * n : 3 * n])[0]


def start_of_inverse(y: Array, params: Array, n: int, max_log_scale: float) -> Array:
    """A start for the search: the mean over the components of the number that each alone would map to `y`."""
    return jnp.mean(params[:n] + y * jnp.exp(soft_clamp(params[n : 2 * n], max_log_scale)), axis=0)


class LogisticMixtureMap(AbstractScalarMap):
    r"""The map of Flow++, $y = e^{\tanh \alpha} \operatorname{logit} \sum_j \pi_j\,\sigma((x - \mu_j)/s_j) + \beta$.

    A coordinate distributed as the mixture becomes logistic. Far out the map is linear with the slope of the widest
    component. Before the affine part it is mixed with a share `MIN_SLOPE` of the identity, which limits how flat it is
    between components far apart. Parameters of zero give the identity, up to rounding.

    Args:
        components: Number of components of the mixture.
        max_log_scale: Bound on each $|\log s_j|$.

    Cost: $O(\text{components})$ per element forward; the inverse a safeguarded Newton iteration.

    Raises:
        ValueError: a size is out of bounds.

    Source: Ho, Chen, Srinivas, Duan, Abbeel, 2019, section 3.2, arXiv 1902.00275.

    Example:
        >>> import pushforward as pf
        >>> pf.bijections.LogisticMixtureMap(components=8).n_params
        26
    """

    components: int = eqx.field(static=True)
    max_log_scale: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, components: int = 8, *, max_log_scale: float = 5.0):
        self.components = check_int("LogisticMixtureMap", "components", components, 1, MAX_COMPONENTS)
        self.max_log_scale = check_log_scale("LogisticMixtureMap", max_log_scale)
        self.n_params = 3 * components + 2
        self.traits = Traits(inverse="iterative")

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        c, log_rate, log_weight = standardised(x, params, self.components, self.max_log_scale)
        y, log_slope = with_slope_floor(x, *logit_of_mixture(c, log_rate, log_weight, log_weight))
        log_scale = jnp.tanh(params[-2])
        return jnp.exp(log_scale) * y + params[-1], log_slope + log_scale

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        plain = (y - params[-1]) * jnp.exp(-jnp.tanh(params[-2]))
        guess = start_of_inverse(plain, params, self.components, self.max_log_scale)
        return inverse_by_search(self, y, params, guess)


class GaussianMixtureMap(AbstractScalarMap):
    r"""The map $y = \Phi^{-1}\big(\sum_j \pi_j\,\Phi((x - \mu_j)/s_j)\big)$, which makes a mixture of normals normal.

    It is computed in logarithms relative to the nearest component, so that nothing saturates at 8 or 40 standard
    deviations; far out the map is linear with the slope of the widest component. It is mixed with a share `MIN_SLOPE`
    of the identity, which limits how flat it is between components far apart. Parameters of zero give the identity, up
    to rounding.

    Args:
        components: Number of components of the mixture.
        max_log_scale: Bound on each $|\log s_j|$.

    Cost: $O(\text{components})$ per element forward; the inverse a safeguarded Newton iteration.

    Raises:
        ValueError: a size is out of bounds.

    Source: Chen and Gopinath, 2000, "Gaussianization", NIPS 13; Meng, Song, Song, Ermon, 2020, arXiv
        2003.01941.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> normals = pf.bijections.GaussianMixtureMap(components=2)
        >>> params = jnp.array([-2.0, 2.0, 0.0, 0.0, 0.0, 0.0])[:, None]
        >>> round(float(normals.forward_and_log_det(jnp.array([100.0]), params)[0][0]), 3)
        98.1
    """

    components: int = eqx.field(static=True)
    max_log_scale: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, components: int = 8, *, max_log_scale: float = 5.0):
        self.components = check_int("GaussianMixtureMap", "components", components, 1, MAX_COMPONENTS)
        self.max_log_scale = check_log_scale("GaussianMixtureMap", max_log_scale)
        self.n_params = 3 * components
        self.traits = Traits(inverse="iterative")

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        c, log_rate, log_weight = standardised(x, params, self.components, self.max_log_scale)
        return with_slope_floor(x, *quantile_of_mixture(c, log_rate, log_weight))

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        guess = start_of_inverse(y, params, self.components, self.max_log_scale)
        return inverse_by_search(self, y, params, guess)

    def spread(self) -> Array:
        """Parameters `(n_params,)` of a mixture near the standard normal whose components differ.

        Components that start equal have equal gradients, and stay equal.
        """
        n = self.components
        loc = SPREAD * jax.scipy.special.ndtri((jnp.arange(n) + 0.5) / n)
        return self.params_of(loc, jnp.full(n, jnp.sqrt(1 - jnp.mean(loc**2))), jnp.full(n, 1 / n))

    def params_of(self, loc: Array, scale: Array, weight: Array) -> Array:
        """The unconstrained parameters `(n_params, *S)` of mixtures; scales are moved within their bound.

        Args:
            loc: Array of shape `(components, *S)`.
            scale: Positive scales of the same shape.
            weight: Positive weights of the same shape.
        """
        # This is the inverse of the soft clamp, a little within its bound.
        limit = 0.9 * self.max_log_scale
        log_scale = jnp.clip(jnp.log(scale), -limit, limit)
        raw = log_scale / (1 - jnp.abs(log_scale) / self.max_log_scale)
        return jnp.concatenate([loc, raw, jnp.log(weight)])
