"""An affine map with a bump: the smallest map of one number that is not affine."""

import math

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_by_search
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.sigmoid_mixture import MIN_SLOPE

# The largest |2 u / (1 + u^2)^2|, at u^2 = 1/3: a bump of height c and sharpness d changes the slope by this times c d.
STEEPEST = 9 / (8 * math.sqrt(3))
# Beyond this the bump is 0 in every float, and u^2 still is one.
FAR = 1e15


class PerturbationMap(AbstractScalarMap):
    r"""The map $y = a\,x + b + \frac{c}{1 + (d\,x + e)^2}$ with $a, d > 0$ and $|c|\,d\,\frac{9}{8\sqrt 3} < a$.

    It has five parameters: $\log a$, $b$, $c$ as a signed share of what the constraint allows, $\log d$, and $e$. The
    share is at most $1 - $ `MIN_SLOPE`, so that the slope is at least `MIN_SLOPE` times $a$.

    Args:
        max_log_scale: Bound on $|\log a|$ and $|\log d|$.

    Cost: a handful of operations forward; the inverse takes a safeguarded Newton iteration.

    Raises:
        ValueError: `max_log_scale` is not positive.

    Source: Ziegler and Rush, 2019 (nonlinear squared flow), arXiv 1901.10548.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> bump = pf.bijections.PerturbationMap()
        >>> y, log_slope = bump.forward_and_log_det(jnp.zeros(1), jnp.array([[0.0], [1.0], [1.0], [0.0], [0.0]]))
        >>> round(float(y[0]), 3)  # a = d = 1, b = 1, and c half of what is allowed, 8 sqrt(3) / 9
        1.769
    """

    max_log_scale: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=5, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(inverse="iterative"), init=False)

    def __check_init__(self) -> None:
        if not 0 < self.max_log_scale < float("inf"):
            got = repr(self.max_log_scale)
            raise ValueError(message("PerturbationMap", "max_log_scale > 0", got, "The usual value is 5."))

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        log_a, b, share, log_d, e = params
        log_a, log_d = soft_clamp(log_a, self.max_log_scale), soft_clamp(log_d, self.max_log_scale)
        share = (1 - MIN_SLOPE) * soft_clamp(share, 1.0)
        u = jnp.clip(jnp.exp(log_d) * x + e, -FAR, FAR)
        bump = 1 / (1 + u * u)
        height = share * jnp.exp(log_a - log_d) / STEEPEST
        log_slope = log_a + jnp.log1p(-share * (2 / STEEPEST) * u * bump * bump)
        return jnp.exp(log_a) * x + b + height * bump, log_slope

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        guess = (y - params[1]) * jnp.exp(-soft_clamp(params[0], self.max_log_scale))
        return inverse_by_search(self, y, params, guess)
