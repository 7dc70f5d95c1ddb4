"""Maps made of sigmoids: deep and dense sigmoidal flows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_by_search
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.sigmoid_mixture import log_softmax, logit_of_mixture, with_slope_floor

# Bounds on sizes: a typing error must not allocate a terabyte.
MAX_SIGMOIDS = 1024
MAX_DEPTH = 16


def check_log_scale(name: str, value: float) -> float:
    """A bound on log-scales.

    Raises:
        ValueError: it is not positive and finite.
    """
    if not 0 < value < float("inf"):
        raise ValueError(message(name, "max_log_scale > 0", repr(value), "The usual value is 5."))
    return float(value)


class SigmoidalMap(AbstractScalarMap):
    r"""The deep sigmoidal flow: $y = \operatorname{logit} \sum_j w_j\,\sigma(a_j x + b_j)$, `depth` times over.

    The slopes are $a_j = e^{s_j}$ with $s_j$ bounded. The weights are convex, a softmax; or `conic`, any positive ones,
    and then others for the two ends: $y = \log \sum_j v_j\,\sigma(a_j x + b_j) - \log \sum_j w_j\,\sigma(-a_j x -
    b_j)$, which is the same map where $v = w$ sum to 1. All by sums of logarithms of sigmoids, so that far out the map
    is linear, with the slope of the flattest sigmoid, and loses no digit. Each of the compositions is mixed with a
    share `MIN_SLOPE` of the identity: a bound on plateaus between sigmoids far apart.

    Parameters of zero give the identity, up to rounding.

    Args:
        n_sigmoids: sigmoids in each sum.
        depth: how many such maps are composed.
        conic: conic instead of convex combinations.
        max_log_scale: Bound on $|s_j|$.

    Cost: $O(\text{depth} \cdot \text{sigmoids})$ per element forward; the inverse a safeguarded Newton iteration.

    Raises:
        ValueError: a size is out of bounds.

    Source: Huang, Krueger, Lacoste, Courville, 2018, section 3.1, arXiv 1804.00779; conic: Papamakarios et al., 2021,
        section 3.1.1, arXiv 1912.02762.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> sigmoids = pf.bijections.SigmoidalMap(n_sigmoids=4, depth=2)
        >>> sigmoids.n_params
        24
        >>> sigmoids.forward_and_log_det(jnp.array([-1e30, 0.5]), jnp.zeros((24, 2)))[0].round(4).tolist()
        [-1.0000000150474662e+30, 0.5]
    """

    n_sigmoids: int = eqx.field(static=True)
    depth: int = eqx.field(static=True)
    conic: bool = eqx.field(static=True)
    max_log_scale: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, n_sigmoids: int = 8, depth: int = 1, *, conic: bool = False, max_log_scale: float = 5.0):
        self.n_sigmoids = check_int("SigmoidalMap", "n_sigmoids", n_sigmoids, 1, MAX_SIGMOIDS)
        self.depth = check_int("SigmoidalMap", "depth", depth, 1, MAX_DEPTH)
        self.conic, self.max_log_scale = bool(conic), check_log_scale("SigmoidalMap", max_log_scale)
        self.n_params = depth * n_sigmoids * (4 if conic else 3)
        self.traits = Traits(inverse="iterative")

    def _layers(self, params: Array) -> Iterator[tuple[Array, Array, Array, Array]]:
        """The log-slopes, shifts, and log-weights of the upper and of the lower sum, one tuple a composition."""
        for own in params.reshape(self.depth, -1, self.n_sigmoids, *params.shape[1:]):
            log_rate, shift = soft_clamp(own[0], self.max_log_scale), own[1]
            if self.conic:
                yield log_rate, shift, own[2], own[3]
            else:
                log_weight = log_softmax(own[2])[0]
                yield log_rate, shift, log_weight, log_weight

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        total = jnp.zeros_like(x)
        for log_rate, shift, log_upper, log_lower in self._layers(params):
            y, log_slope = logit_of_mixture(jnp.exp(log_rate) * x + shift, log_rate, log_upper, log_lower)
            x, log_slope = with_slope_floor(x, y, log_slope)
            total = total + log_slope
        return x, total

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        guess = y
        for log_rate, shift, log_upper, log_lower in reversed(list(self._layers(params))):
            # Each sigmoid alone takes its own preimage to the target; the root is among these, here is their mean.
            constant = log_softmax(log_upper)[1] - log_softmax(log_lower)[1]
            guess = jnp.mean((guess - constant - shift) * jnp.exp(-log_rate), axis=0)
        return inverse_by_search(self, y, params, guess)


class DenseSigmoidalMap(AbstractScalarMap):
    r"""The dense sigmoidal flow: a network of positive weights between layers of logits.

    $h^{(l)} = \operatorname{logit}\big(W^{(l)} \sigma(a^{(l)} \odot U^{(l)} h^{(l-1)} + b^{(l)})\big)$ with $h^{(0)} =
    x$, the rows of $U$ and $W$ softmaxes, and a single row in the last $W$, whose output is $y$. It is mixed with a
    share `MIN_SLOPE` of the identity. Parameters of zero give the identity, up to rounding.

    Args:
        widths: sigmoids of each layer.
        max_log_scale: Bound on each $|\log a|$.

    Cost: $O(\sum_l \text{width}_l\,(\text{width}_l + \text{width}_{l-1}))$ per element forward; the inverse a
        safeguarded Newton iteration.

    Raises:
        ValueError: a width is out of bounds, or there is none.

    Source: Huang, Krueger, Lacoste, Courville, 2018, section 3.1, arXiv 1804.00779.

    Example:
        >>> import pushforward as pf
        >>> pf.bijections.DenseSigmoidalMap((4, 4)).n_params
        52
    """

    widths: tuple[int, ...] = eqx.field(static=True)
    max_log_scale: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, widths: Sequence[int] = (8, 8), *, max_log_scale: float = 5.0):
        if not 1 <= len(widths) <= MAX_DEPTH:
            fix = "One width per layer, such as (8, 8)."
            raise ValueError(message("DenseSigmoidalMap", f"1 to {MAX_DEPTH} widths", f"{len(widths)}", fix))
        self.widths = tuple(check_int("DenseSigmoidalMap", "widths", width, 1, MAX_SIGMOIDS) for width in widths)
        self.max_log_scale = check_log_scale("DenseSigmoidalMap", max_log_scale)
        self.n_params = sum(n * (2 + n_out + (n_in if n_in > 1 else 0)) for n_in, n, n_out in self._sizes())
        self.traits = Traits(inverse="iterative")

    def _sizes(self) -> list[tuple[int, int, int]]:
        """The numbers of inputs, sigmoids and outputs, one tuple a layer."""
        sizes = [1, *self.widths[:-1]]
        return list(zip(sizes, self.widths, [*self.widths[:-1], 1], strict=True))

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        h, log_slope = x[None], jnp.zeros_like(x)[None]
        ends = itertools.accumulate(n * (2 + n_out + (n_in if n_in > 1 else 0)) for n_in, n, n_out in self._sizes())
        for (n_in, n, n_out), end in zip(self._sizes(), ends, strict=True):
            weights = params[end - n * n_out : end].reshape(n_out, n, *x.shape)
            end -= n * n_out
            log_rate, shift = soft_clamp(params[end - 2 * n : end - n], self.max_log_scale), params[end - n : end]
            end -= 2 * n
            if n_in > 1:  # the softmax of a single number is 1, and takes no parameter
                log_mix = log_softmax(params[end - n * n_in : end].reshape(n, n_in, *x.shape), axis=1)[0]
                h = jnp.sum(jnp.exp(log_mix) * h, axis=1)
                log_slope = log_softmax(log_mix + log_slope, axis=1)[1]
            log_weight = log_softmax(weights, axis=1)[0]
            rates = (log_rate + log_slope)[None]
            h, log_slope = logit_of_mixture((jnp.exp(log_rate) * h + shift)[None], rates, log_weight, log_weight, 1)
        return with_slope_floor(x, h[0], log_slope[0])

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return inverse_by_search(self, y, params, y)
