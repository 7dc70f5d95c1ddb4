"""Numbers of any space, one given those before it, with distribution functions in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

from pushforward._checks import message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.spaces import Place, Spaces
from pushforward.distributions.unit_law import UnitLaw, law_params
from pushforward.nets import MADE
from pushforward.numerics.unit_logistic import N_PARAMS
from pushforward.numerics.unit_spline import Pieces, find, log_mass, n_params, pieces_of, quantile, value_at

# A draw that is rounded down to its step may miss the multiple it stands for by this share of a step.
ROUNDING = 1e-6
# Probabilities are kept this far from 0 and 1 before the normal's quantile is taken.
LEAST_PROBABILITY = 1e-12
# What the network adds to the parameters of the splines is scaled by this, so that its steps are as much shorter, and
# weight decay as much stronger by the square: columns that do not depend on each other stay near to independent ones.
RESTRAINT = 0.25
# The place and the width of a number given others are not restrained: a regression lives by them.
PLACE_RESTRAINT = 1.0
# The share of a column's own spline starts at 0.05.
FLOOR_LOGIT = math.log(0.05 / 0.95)


class ConditionalMargins(AbstractDistribution):
    r"""$\prod_i p(v_i \mid v_1, \dots, v_{i-1}, c)$ over numbers that each live in a space of their own.

    Column $i$ has the distribution function $S_\theta(F_i(v_i))$: $F_i$ carries its space (line, half line, interval,
    circle; see `Spaces`) onto $[0, 1]$, and $S_\theta$ is a rational-quadratic spline of $[0, 1]$ onto itself, whose
    parameters $\theta$ are a masked network's function of the numbers before it and of the condition. The slopes of the
    spline at both ends are free, so that the density at an end of a column is finite, positive and learned; on a circle
    they are equal, so that the density is continuous. With a learned share $\epsilon$ a number follows one spline of
    its column instead, the same in all rows: a row that the network is wrong about then costs about $-\log \epsilon$
    nats, and not twenty. A number that is rounded to a step $h$ has the exact mass
    $S(F(v + h)) - S(F(v))$, over $h$ if it is no count. A number that is not there has no factor, and no effect.

    Args:
        key: JAX key for the initial weights.
        places: The space and the units of each column.
        start: Where the splines start, `(n_params, dim)`; see `start_of`. None starts at the spaces' own functions.
        bins: Bins of each spline.
        width: Number of units per hidden layer.
        depth: Number of residual blocks.
        cond_size: Length of the condition; 0 for none.

    Shapes:
        events `(dim,)`

    Cost: `log_prob` one pass; sampling `dim` steps with the arithmetic of about one pass. Exact.

    Source: the factorisation and the network: Germain, Gregor, Murray, Larochelle, 2015, arXiv 1502.03509.
    """

    spaces: Spaces
    net: MADE
    bias: Array
    floor: Array
    floor_logit: Array
    bins: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        places: Sequence[Place],
        *,
        start: Any = None,
        bins: int = 16,
        width: int = 128,
        depth: int = 1,
        cond_size: int = 0,
    ):
        self.spaces, self.bins = Spaces(places), bins
        dim = len(places)
        if not dim:
            raise ValueError(message("ConditionalMargins", "one column or more", "none", "Leave it out."))
        shape = (cond_size,) if cond_size else None
        net = MADE(
            key,
            dim,
            law_params(bins),
            width=width,
            depth=depth,
            cond_shape=shape,
            residual=True,
            activation="silu",
            features="pairs",
        )
        self.net = net
        # Flat, for weight decay is of arrays with two axes or more.
        raw = np.zeros((n_params(bins), dim)) if start is None else start
        self.floor = jnp.asarray(raw, net.out_weight.dtype).reshape(-1)
        self.bias = jnp.concatenate([self.floor, jnp.zeros(N_PARAMS * dim, net.out_weight.dtype)])
        self.floor_logit = jnp.full((dim,), FLOOR_LOGIT, net.out_weight.dtype)
        self.event_shape, self.cond_shape, self.needs_key = (dim,), shape, False

    def each_log_prob(self, x: Array, condition: Array | None, there: Array | None = None) -> Array:
        """The log-probability of each number given those before it, `(dim, n)` nats; 0 where it is not there.

        Args:
            x: Numbers `(dim, n)`.
            condition: Conditions `(cond_size, n)` or None.
            there: Which numbers are there, `(dim, n)` or broadcastable to it; None for all.
        """
        low, high = self.spaces.support(x.dtype)
        # A rounded number stands for the interval above it, which lies within the ends.
        middle = self.spaces.middle(x)
        out = (middle < low) | (middle > high)
        known = jnp.where(out | jnp.isnan(x), 0.5 * (jnp.clip(low, -1e30, 1e30) + jnp.clip(high, -1e30, 1e30)), x)
        known = known if there is None else jnp.where(there, known, jnp.where(jnp.isnan(known), 0, known))
        log_prob = self.log_prob_under(self.laws(known, condition, there), known)
        log_prob = jnp.where(jnp.isnan(x), jnp.nan, jnp.where(out, -jnp.inf, log_prob))
        return log_prob if there is None else jnp.where(there, log_prob, 0.0)

    def laws(self, x: Array, condition: Array | None, there: Array | None) -> UnitLaw:
        """The distribution functions of all numbers, each given those before it; arguments as in `each_log_prob`."""
        return self.laws_of(self.net(self.spaces.features(x, there), condition))

    def laws_of(self, raw: Array) -> UnitLaw:
        """The distribution functions that a network's parameters `(law_params, dim, n)` describe."""
        restraint = self._restraint(raw.ndim)
        return UnitLaw.of(self._of_column(self.bias)[..., None] + restraint * raw, self.bins, self.spaces.circular)

    def _restraint(self, ndim: int) -> np.ndarray:
        """The factors of what the network says of each parameter, `(law_params, 1, ...)`."""
        factors = np.full(law_params(self.bins), RESTRAINT)
        factors[-N_PARAMS:] = PLACE_RESTRAINT
        return factors.reshape(-1, *(1,) * (ndim - 1)).astype(np.float32)

    def _of_column(self, flat: Array) -> Array:
        """The parameters `(n_params, dim)` that do not depend on the row."""
        return flat.reshape(-1, self.spaces.dim)

    def _floor(self, n: int) -> Pieces:
        """The splines that are the same in all `n` rows."""
        pieces = pieces_of(self._of_column(self.floor)[..., None], self.bins, self.spaces.circular)
        return Pieces(*(jnp.broadcast_to(part, (*part.shape[:-1], n)) for part in pieces))

    def log_prob_under(self, laws: UnitLaw, x: Array) -> Array:
        """The log-probabilities `(dim, n)` of numbers within their spaces under these distribution functions."""
        start, end = self.spaces.ends(x)
        low = self.spaces.locate(start)
        upper, size = low.u, low.log_slope
        if any(self.spaces.rounded):
            high, rounded = self.spaces.locate(end), np.array(self.spaces.rounded)[:, None]
            # The difference of the smaller two of each pair of functions loses less.
            gap = jnp.where(low.u + high.u < 1, high.u - low.u, low.rest - high.rest)
            gap = jnp.log(jnp.maximum(jnp.where(rounded, gap, 1.0), jnp.finfo(x.dtype).tiny))
            upper, size = jnp.where(rounded, high.u, low.u), jnp.where(rounded, gap, size)
        shares = jax.nn.log_sigmoid(self.floor_logit)[:, None], jax.nn.log_sigmoid(-self.floor_logit)[:, None]
        both = (log_mass(self._floor(x.shape[-1]), low.u, upper, size), laws.log_mass(low.u, upper, size))
        mass = jnp.logaddexp(shares[0] + both[0], shares[1] + both[1])
        return mass + jnp.asarray(self.spaces.log_unit.value, mass.dtype)[:, None]

    def latents(self, x: Array, condition: Array | None, there: Array | None, uniform: Array) -> Array:
        """The normal quantiles of the conditional distribution functions, `(dim, n)`: standard normal if all is right.

        Args:
            x: Numbers `(dim, n)`.
            condition: Conditions `(cond_size, n)` or None.
            there: Which numbers are there; None for all. Where one is not, the quantile of `uniform` stands.
            uniform: Places within the steps of rounded numbers, `(dim, n)`, in [0, 1).
        """
        laws = self.laws(x, condition, there)
        start, end = self.spaces.ends(x)
        share, floor = jax.nn.sigmoid(self.floor_logit)[:, None], self._floor(x.shape[-1])
        low, high = (
            share * value_at(find(floor, u)) + (1 - share) * laws.value(u)
            for u in (self.spaces.locate(start).u, self.spaces.locate(end).u)
        )
        probability = low + uniform * (high - low)
        probability = probability if there is None else jnp.where(there, probability, uniform)
        return ndtri(jnp.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return jnp.sum(self.each_log_prob(x, condition), axis=0)

    def draw(self, keys: PRNGKeyArray, condition: Array | None, there: Array | None = None) -> Array:
        """Numbers `(dim, n)`, one row per key; 0 where `there` says that none is."""
        return self.draw_within(keys, condition, there)[0]

    def draw_within(
        self,
        keys: PRNGKeyArray,
        condition: Array | None,
        there: Array | None = None,
        limits: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array]:
        """Numbers `(dim, n)` within limits, and the log-probabilities that each lies there given those before it.

        Args:
            keys: Keys `(n,)`.
            condition: Conditions `(cond_shape, n)` or None.
            there: Which numbers are there; None for all. 0 stands where one is not.
            limits: Ends `(dim, n)` of the range of each number, infinite where there is none. Where both are one
                number it stands there, with its log-density, or its log-mass if it is rounded. None sets no limits.

        Returns:
            Numbers `(dim, n)`, and log-probabilities `(dim, n)`: 0 where there is no limit, or no number.
        """
        dim, n = self.spaces.dim, keys.shape[0]
        dtype = jnp.result_type(self.net.out_weight)
        noise = jax.vmap(lambda key: jax.random.uniform(key, (dim, 2), dtype), out_axes=-1)(keys)
        there = jnp.ones((dim, n), bool) if there is None else jnp.broadcast_to(there, (dim, n))

        def step(carry: Any, inputs: Any) -> tuple[Any, tuple[Array, Array]]:
            state, previous = carry
            i, own, uniform, ends = inputs
            raw, state = self.net.step(state, i, previous)
            value, mass = self.draw_one(i, raw, uniform, None if limits is None else ends)
            value = jnp.where(own, value, 0.0)
            return (state, self.spaces.features_one(i, value, own)), (value, mass)

        none = jnp.zeros((dim, 2, 0), dtype)
        ends = none if limits is None else jnp.stack(limits, axis=1).astype(dtype)
        start = (self.net.init((n,), condition), jnp.zeros((2, n), dtype))
        _, (x, mass) = scan(step, start, (jnp.arange(dim), there, noise, ends))
        if limits is None:
            return x, jnp.zeros_like(x)
        point = limits[0] == limits[1]
        limited = (jnp.isfinite(limits[0]) | jnp.isfinite(limits[1])) & there
        each = self.each_log_prob(x, condition, there)
        return x, jnp.where(limited, jnp.where(point, each, mass), 0.0)

    def draw_one(self, i: Array, raw: Array, uniform: Array, ends: Array | None) -> tuple[Array, Array]:
        """The numbers `(n,)` of one column, and the log-probabilities `(n,)` that they lie within their ends.

        Args:
            i: Place of the column, which may be traced.
            raw: Parameters `(law_params, n)` of a network.
            uniform: Two numbers of [0, 1) for each row, `(2, n)`.
            ends: Ends `(2, n)` of the range of each number, infinite where there is none; None sets no limits.
        """
        n, dtype = raw.shape[-1], raw.dtype
        # Arrays of NumPy, as of a loaded model, cannot be indexed by what is traced.
        floor, bias = (jnp.asarray(self._of_column(flat)) for flat in (self.floor, self.bias))
        share, circular = jax.nn.sigmoid(self.floor_logit)[i], jnp.asarray(self.spaces.circular[:, 0])[i]
        low, high = (end[i] for end in self.spaces.support(dtype))
        laws = UnitLaw.of(bias[:, i, None] + self._restraint(2) * raw, self.bins, circular)
        alone = pieces_of(jnp.broadcast_to(floor[:, i, None], (len(floor), n)), self.bins, circular)
        floored, value, mass = uniform[1] < share, uniform[0], jnp.zeros(n, dtype)
        if ends is not None:
            first, last = (
                jnp.where(jnp.isfinite(end), self.spaces.locate_one(i, end).u, side)
                for end, side in ((ends[0], 0.0), (ends[1], 1.0))
            )
            starts = value_at(find(alone, first)), laws.value(first)
            finals = value_at(find(alone, last)), laws.value(last)
            sizes = [jnp.maximum(end - start, 0.0) for start, end in zip(starts, finals, strict=True)]
            both = share * sizes[0] + (1 - share) * sizes[1]
            floored = uniform[1] * both < share * sizes[0]
            start, size = (jnp.where(floored, *parts) for parts in (starts, sizes))
            value, mass = start + size * uniform[0], jnp.log(both)
        u = jnp.where(floored, quantile(alone, value), laws.quantile(value))
        value = self.spaces.back_one(i, u)
        value = value if ends is None else jnp.clip(value, ends[0], ends[1])
        h = jnp.asarray(self.spaces.step.value, dtype)[i]
        safe = jnp.where(h > 0, h, 1.0)
        rounded = jnp.floor(value / safe + ROUNDING) * safe
        last = high if ends is None else jnp.minimum(high, ends[1])
        rounded = jnp.where(rounded > last - 0.5 * h, rounded - h, rounded)
        value = jnp.where(h > 0, jnp.maximum(rounded, jnp.ceil(low / safe - ROUNDING) * safe), value)
        value = jnp.clip(value, low, high)
        return (value if ends is None else jnp.where(ends[0] == ends[1], ends[0], value)), mass

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.draw(keys, condition)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.draw(keys, condition)
        return x, self.log_prob_rows(x, condition, None)
