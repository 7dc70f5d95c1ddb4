"""Monotone maps of one number, the parameters from outside: what couplings and autoregressions are made of."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.rational_quadratic import rational_quadratic_forward, rational_quadratic_inverse


class AbstractScalarMap(eqx.Module):
    r"""A strictly increasing map of one number $y = f(x; \theta)$, applied elementwise.

    `x` has any shape `S`; `params` are unconstrained, of shape `(n_params, *S)`; the log-determinant returned is
    $\log f'(x)$ per element, of shape `S`. Parameters of zero give the identity.

    Attributes:
        n_params: number of unconstrained parameters per element.
    """

    n_params: eqx.AbstractVar[int]

    @abstractmethod
    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        r"""$f(x; \theta)$ and $\log f'(x; \theta)$."""

    @abstractmethod
    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        r"""$f^{-1}(y; \theta)$ and the log of its derivative."""


class AdditiveMap(AbstractScalarMap):
    r"""$y = x + t$, which keeps volumes.

    Source: Dinh, Krueger, Bengio, 2014, eq. 9, arXiv 1410.8516.
    """

    n_params: int = eqx.field(static=True, default=1)

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return x + params[0], jnp.zeros_like(x)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return y - params[0], jnp.zeros_like(y)


class AffineMap(AbstractScalarMap):
    r"""$y = x\,e^{s} + t$ with the log-scale bounded smoothly, $|s| < $ `max_log_scale`.

    An unbounded log-scale is the commonest cause of overflow in deep flows.

    Args:
        max_log_scale: bound on $|s|$.

    Raises:
        ValueError: `max_log_scale` is not positive.

    Source: Dinh, Sohl-Dickstein, Bengio, 2017, eq. 4, arXiv 1605.08803.
    """

    max_log_scale: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=2, init=False)

    def __check_init__(self) -> None:
        if not 0 < self.max_log_scale < float("inf"):
            raise ValueError(f"AffineMap: expected max_log_scale > 0, got {self.max_log_scale}. The usual value is 5.")

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        log_scale = soft_clamp(params[1], self.max_log_scale)
        return x * jnp.exp(log_scale) + params[0], jnp.broadcast_to(log_scale, x.shape)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        log_scale = soft_clamp(params[1], self.max_log_scale)
        return (y - params[0]) * jnp.exp(-log_scale), jnp.broadcast_to(-log_scale, y.shape)


class RationalQuadraticMap(AbstractScalarMap):
    r"""A monotone rational-quadratic spline with `bins` bins on $[-b, b]$ and the identity outside.

    Its inverse is analytic. Value, log-slope and gradients are finite for every finite input and parameter: inputs are
    clamped before the bin search, the discriminant at 0, the root to its bin.

    Args:
        bins: number of bins, 2 or more.
        bound: half-width $b$ of the interval; rows outside pass unchanged (standardised data need 5 or more).

    Cost: $O(\text{bins})$ per element in both directions; gradients in reverse mode only.

    Raises:
        ValueError: fewer than 2 bins, more than 256, or a bound that is not positive.

    Source: Durkan, Bekasov, Murray, Papamakarios, 2019, section 3.1, arXiv 1906.04032.
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)

    def __init__(self, bins: int = 8, bound: float = 5.0):
        self.bins = check_int("RationalQuadraticMap", "bins", bins, 2, 256)
        if not 0 < bound < float("inf"):
            raise ValueError(f"RationalQuadraticMap: expected bound > 0, got {bound}. The usual value is 5.")
        self.bound = float(bound)
        self.n_params = 3 * bins - 1

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return rational_quadratic_forward(x, params, self.bins, self.bound)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return rational_quadratic_inverse(y, params, self.bins, self.bound)
