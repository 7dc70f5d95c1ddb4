"""From standard numbers to the columns of a table: tails, supports, units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtr, ndtri
from jax.scipy.stats import norm

from pushforward._checks import message
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.numerics.special import LOG_2, softplus_inverse

Support = Literal["real", "log", "softplus", "interval"]
SUPPORTS: tuple[Support, ...] = ("real", "log", "softplus", "interval")
# A number above 0 that is smaller counts as this one; float32 can hold it, and its normal quantile.
LEAST = 1e-30
# The maps to half lines and to heavy tails end near exp(69) = 1e30, so that float32 can hold what they give.
MAX_EXPONENT = 69.0
# Standard numbers beyond this have tails of less than 1e-890; their squares are still far from the end of float32.
MAX_STANDARD = 64.0


@dataclass(frozen=True)
class Unit:
    """What one column looks like.

    Args:
        support: `"real"`, `"log"` or `"softplus"` (two maps to numbers above 0), or `"interval"` (between 0 and 1).
        loc: in the data's units; the low end of a half line or an interval.
        scale: in the data's units; the length of an interval.
        tail: exponent of the power law of its tails; None for tails like the normal's.
        centre: of the column on the far side of the support's map.
        spread: the same, above 0.
    """

    support: Support = "real"
    loc: float = 0.0
    scale: float = 1.0
    tail: float | None = None
    centre: float = 0.0
    spread: float = 1.0


class ColumnUnits(AbstractBatchedBijection):
    r"""Elementwise from standard numbers `x` to the columns' units: $y_i = m_i + s_i\, u_i(c_i + d_i\, t_i(x_i))$.

    $t_i$ is a map that gives tails of a power law, or none; $c_i, d_i$ centre and spread on the far side of $u_i$, the
    map onto the column's support; $m_i, s_i$ its units. Nothing is trained. Numbers are kept in double precision.

    What lies outside a support counts as at its edge, and maps that grow like exponentials end near 1e30: values and
    slopes are finite for all finite numbers.

    Args:
        units: one per column.

    Raises:
        ValueError: a support is unknown, a scale, a spread or the exponent of a tail is not positive, or a number is
            not finite.

    Source: the tails: Hickling and Prangle, 2024, eq. 5, arXiv 2406.16971.
    """

    loc: Fixed
    scale: Fixed
    log_scale: Fixed
    centre: Fixed
    spread: Fixed
    supports: tuple[Support, ...] = eqx.field(static=True)
    tails: tuple[float | None, ...] = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, units: Sequence[Unit]):
        loc, scale, centre, spread = (
            np.array([getattr(unit, name) for unit in units], np.float64)
            for name in ("loc", "scale", "centre", "spread")
        )
        if not np.all(np.isfinite(scale) & (scale > 0) & np.isfinite(spread) & (spread > 0)):
            fix = "A column that never varies has no density: leave it out."
            raise ValueError(message("ColumnUnits", "finite scales > 0", f"{scale[:8]}, {spread[:8]}", fix))
        if not np.all(np.isfinite(loc) & np.isfinite(centre)):
            raise ValueError(message("ColumnUnits", "finite numbers", f"{loc[:8]}, {centre[:8]}", "Drop those rows."))
        for unit in units:
            if unit.support not in SUPPORTS or not (unit.tail is None or 0 < unit.tail < math.inf):
                expected = f"a support of {', '.join(SUPPORTS)} and a tail > 0 or None"
                raise ValueError(message("ColumnUnits", expected, f"{unit.support!r}, {unit.tail}", "Choose another."))
        # NumPy keeps float64 where JAX would not.
        self.loc, self.scale = Fixed(loc), Fixed(scale)  # pyright: ignore[reportArgumentType]
        self.log_scale = Fixed(np.log(scale))  # pyright: ignore[reportArgumentType]
        self.centre, self.spread = Fixed(centre), Fixed(spread)  # pyright: ignore[reportArgumentType]
        self.supports = tuple(unit.support for unit in units)
        self.tails = tuple(unit.tail for unit in units)
        self.in_shape = self.out_shape = (len(units),)
        self.cond_shape, self.traits = None, Traits()

    def standardised(self) -> ColumnUnits:
        """The same map for rows that are `standardise`d already; its log-determinants stay in the data's units."""
        dim = self.in_shape[0]
        return eqx.tree_at(lambda u: (u.loc.value, u.scale.value), self, (np.zeros(dim), np.ones(dim)))

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(n, dim)` in units of `scale` from `loc`, in float64: little is lost when they become float32."""
        return (rows - np.asarray(self.loc.value)) / np.asarray(self.scale.value)

    def _numbers(self, dtype: Any) -> list[Array]:
        fixed = (self.loc, self.scale, self.log_scale, self.centre, self.spread)
        return [along(jnp.asarray(part.value, dtype)) for part in fixed]

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        """The values `(dim, n)` and the log-slope of each."""
        loc, scale, log_scale, centre, spread = self._numbers(x.dtype)
        x, tail = self._by_kind(x, _tail, self.tails)
        y, own = self._by_kind(x * spread + centre, lambda kind, part: FORWARD[kind](part), self.supports)
        return y * scale + loc, tail + own + jnp.log(spread) + log_scale

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        """Standard numbers `(dim, n)` and the log-slope of each. Outside its support a value counts as at its edge."""
        loc, scale, log_scale, centre, spread = self._numbers(y.dtype)
        x, own = self._by_kind((y - loc) / scale, lambda kind, part: INVERSE[kind](part), self.supports)
        x, tail = self._by_kind((x - centre) / spread, _tail_inverse, self.tails)
        return x, tail + own - jnp.log(spread) - log_scale

    def _by_kind(self, x: Array, apply: Callable[[Any, Array], tuple[Array, Array]], kinds: tuple) -> tuple:
        """Each kind's map on the rows of its columns."""
        parts, order = [], []
        for kind in dict.fromkeys(kinds):
            places = [i for i, own in enumerate(kinds) if own == kind]
            parts.append(apply(kind, x if len(places) == len(kinds) else x[np.array(places)]))
            order += places
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(order)
        return tuple(jnp.concatenate([part[i] for part in parts])[back] for i in (0, 1))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y, log_slope = self.each_forward(x)
        return y, jnp.sum(log_slope, axis=0)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        x, log_slope = self.each_inverse(y)
        return x, jnp.sum(log_slope, axis=0)


def _softplus_inverse(y: Array) -> tuple[Array, Array]:
    return softplus_inverse(jnp.maximum(y, LEAST))


def _probability(p: Array) -> Array:
    """Within the probabilities that have a normal quantile: 1 has none, and the last before 1 depends on the dtype."""
    return jnp.clip(p, LEAST, 1 - float(jnp.finfo(p.dtype).epsneg))


def _interval(x: Array) -> tuple[Array, Array]:
    x = jnp.clip(x, -MAX_STANDARD, MAX_STANDARD)
    return _probability(ndtr(x)), norm.logpdf(x)


def _interval_inverse(y: Array) -> tuple[Array, Array]:
    x = ndtri(_probability(y))
    return x, -norm.logpdf(x)


def _log(x: Array) -> tuple[Array, Array]:
    x = jnp.minimum(x, MAX_EXPONENT)
    return jnp.exp(x), x


def _log_inverse(y: Array) -> tuple[Array, Array]:
    x = jnp.log(jnp.maximum(y, LEAST))
    return x, -x


FORWARD: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "real": lambda x: (x, jnp.zeros_like(x)),
    "log": _log,
    "softplus": lambda x: (jax.nn.softplus(x), jax.nn.log_sigmoid(x)),
    "interval": _interval,
}
INVERSE: dict[str, Callable[[Array], tuple[Array, Array]]] = {
    "real": lambda y: (y, jnp.zeros_like(y)),
    "log": _log_inverse,
    "softplus": _softplus_inverse,
    "interval": _interval_inverse,
}


def _tail(index: float | None, x: Array) -> tuple[Array, Array]:
    r"""$y = \pm\nu\,(\operatorname{erfc}(|x|/\sqrt 2)^{-1/\nu} - 1)$, signed as $x$: of a normal, tails $y^{-\nu}$."""
    if index is None:
        return x, jnp.zeros_like(x)
    # Not jnp.sign and jnp.abs, whose derivatives at 0 are 0.
    sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
    size = jnp.minimum(x * sign, MAX_STANDARD)
    # log erfc(s / sqrt 2) = log 2 + log Phi(-s), which does not underflow.
    log_p = LOG_2 + log_ndtr(-size)
    y = sign * index * jnp.expm1(jnp.minimum(-log_p / index, MAX_EXPONENT))
    return y, LOG_2 + norm.logpdf(size) - (1 + 1 / index) * log_p


def _tail_inverse(index: float | None, y: Array) -> tuple[Array, Array]:
    if index is None:
        return y, jnp.zeros_like(y)
    sign = jnp.where(y < 0, -1, 1).astype(y.dtype)
    log_p = -index * jnp.log1p(y * sign / index)
    size = _size(log_p)
    return sign * size, (1 + 1 / index) * log_p - LOG_2 - norm.logpdf(size)


@jax.custom_jvp
def _size(log_p: Array) -> Array:
    r"""The $s \ge 0$ with $\log \operatorname{erfc}(s/\sqrt 2)$ equal to `log_p`; its derivative is implicit."""
    # From the quantile function where the probability is a number, else from its asymptotic; then Newton on log p.
    p = jnp.exp(jnp.maximum(log_p, -60.0))
    size = -ndtri(jnp.clip(p / 2, LEAST, 0.5))
    size = jnp.where(log_p < -60.0, jnp.sqrt(jnp.maximum(-2 * log_p, 1.0)), size)
    for _ in range(3):
        error = LOG_2 + log_ndtr(-size) - log_p
        size = jnp.maximum(size - error / _slope(size), 0.0)
    return size


def _slope(size: Array) -> Array:
    return -jnp.exp(norm.logpdf(size) - log_ndtr(-size))


@_size.defjvp
def _size_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    size = _size(*primals)
    return size, tangents[0] / _slope(size)
