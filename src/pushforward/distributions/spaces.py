r"""The spaces that columns of numbers live in, each carried onto the unit interval by its own distribution function.

A column lies on a line, above or below an end (a half line), between two ends (an interval), or on a circle. In units
$t$ of the column, counted from its end where it has one, the functions $u = F(t)$ are

$$\text{line: } \sigma(y), \quad \text{half line: } 1 - e^{-y}, \quad \text{interval: } \sigma(\kappa_0 \log t -
\kappa_1 \log(1 - t)), \quad \text{circle: } t$$

where $y = t$ on the line and $y = t^\kappa + b\,t^{2\kappa}$ on a half line, or with tails of a power law $y = \alpha
\operatorname{arsinh} t$ and $y = \frac{\alpha}{\kappa} \log(1 + t^\kappa)$. The density at an end is then finite and
positive for $\kappa = 1$, and grows or falls like $t^{\kappa - 1}$ for others. What a model makes of $u$ by a spline of
positive slopes keeps that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_values, message, positive
from pushforward._types import Array, Fixed
from pushforward.bijections.base import along

Space = Literal["line", "above", "below", "interval", "circle"]
# Numbers this near to an end, in units of the column, count as this far from it: logarithms stay finite in float32.
LEAST = 1e-30
# Beyond this a cumulative hazard is e^-y = 0 in float64.
MOST = 700.0
# The root of 3 and of 2 give features of variance 1 where u is uniform; the logit of a uniform has the deviation 1.81.
UNIFORM, CIRCLE, LOGIT, MAX_LOGIT = 3.0**0.5, 2.0**0.5, 1.81, 8.0


@dataclass(frozen=True)
class Place:
    r"""The space and the units of one column.

    Args:
        space: `"line"`, `"above"` or `"below"` an end, `"interval"`, or `"circle"`.
        loc: Centre of a line, the end of a half line, the low end of an interval or a circle, in the data's units.
        scale: Scale in the data's units: the length of an interval, the period of a circle.
        tail: Exponent of the power law of the tails of a line or a half line; None for exponential tails.
        low_power: Exponent $\kappa$ at the end of a half line, or at the low end of an interval.
        high_power: Exponent $\kappa_1$ at the high end of an interval.
        bend: The number $b$, 0 or more, of a half line whose tail is lighter than an exponential's.
        step: Numbers are rounded down to multiples of this; 0 where they are not.
        rounded: Whether a number stands for the interval up to the next multiple of its step. Otherwise it is a point
            in the middle of that interval.
        counted: Whether a number's probability is a mass. Otherwise it is divided by the step.
    """

    space: Space = "line"
    loc: float = 0.0
    scale: float = 1.0
    tail: float | None = None
    low_power: float = 1.0
    high_power: float = 1.0
    bend: float = 0.0
    step: float = 0.0
    rounded: bool = False
    counted: bool = False


class Located(NamedTuple):
    """Numbers on the unit interval.

    Attributes:
        u: The distribution function of the space.
        rest: One less it, computed on its own.
        log_slope: Logarithm of the density of the space, per unit of the column's scale.
    """

    u: Array
    rest: Array
    log_slope: Array


class Spaces(eqx.Module):
    """The spaces of several columns, with all that is fixed about them; numbers are kept in double precision.

    Args:
        places: One `Place` per column.

    Raises:
        ValueError: a space is unknown, or a scale or an exponent is not positive.
    """

    loc: Fixed
    scale: Fixed
    tail: Fixed
    low_power: Fixed
    high_power: Fixed
    bend: Fixed
    step: Fixed
    log_unit: Fixed
    spaces: tuple[Space, ...] = eqx.field(static=True)
    heavy: tuple[bool, ...] = eqx.field(static=True)
    rounded: tuple[bool, ...] = eqx.field(static=True)
    counted: tuple[bool, ...] = eqx.field(static=True)

    def __init__(self, places: Sequence[Place]):
        for place in places:
            if place.space not in get_args(Space):
                fix = "Choose one of them."
                raise ValueError(message("Spaces", f"one of {', '.join(get_args(Space))}", repr(place.space), fix))
        sizes = [[p.scale for p in places], [p.tail or 1.0 for p in places], [p.low_power for p in places]]
        sizes.append([p.high_power for p in places])
        fix = "A column that never varies has no density: leave it out."
        check_values("Spaces", "scales and exponents > 0", lambda *both: [positive(b) for b in both], fix, *sizes)
        self.spaces = tuple(place.space for place in places)
        self.heavy = tuple(place.tail is not None for place in places)
        self.rounded = tuple(place.rounded for place in places)
        self.counted = tuple(place.counted for place in places)
        steps = [place.step for place in places]
        self.loc, self.scale, self.tail, self.low_power, self.high_power, self.bend, self.step = (
            Fixed(np.array(part, np.float64))  # pyright: ignore[reportArgumentType] - NumPy keeps float64
            for part in ([p.loc for p in places], *sizes, [p.bend for p in places], steps)
        )
        self.log_unit = Fixed(self.unit_of(self.counted))  # pyright: ignore[reportArgumentType]

    def unit_of(self, counted: Sequence[bool]) -> np.ndarray:
        """What the logarithm of a mass or of a density per unit of scale gains in the data's units, `(dim,)` nats.

        A mass needs no unit; the density of a rounded number is its mass over the step.
        """
        scale, step, whole = np.asarray(self.scale.value), np.asarray(self.step.value), np.array(counted, bool)
        log_step = np.log(np.where(step > 0, step, 1.0))
        by_mass, by_density = np.where(whole, 0.0, -log_step), -np.log(scale) + np.where(whole, log_step, 0.0)
        return np.where(np.array(self.rounded, bool), by_mass, by_density)

    @property
    def dim(self) -> int:
        """The number of columns."""
        return len(self.spaces)

    @property
    def circular(self) -> np.ndarray:
        """`(dim, 1)`: which columns are circles."""
        return np.array([space == "circle" for space in self.spaces])[:, None]

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(n, dim)` in units of `scale` from `loc`, in float64."""
        return (rows - np.asarray(self.loc.value)) / np.asarray(self.scale.value)

    def standardised(self) -> Spaces:
        """The same for rows that `standardise` has treated; log-densities stay in the data's units."""
        ones, new = np.ones(self.dim), self.step.value / self.scale.value
        return eqx.tree_at(lambda s: (s.loc.value, s.scale.value, s.step.value), self, (0.0 * ones, ones, new))

    def support(self, dtype: Any) -> tuple[Array, Array]:
        """The ends of the columns, `(dim, 1)` each, infinite where there is none."""
        loc, scale = (along(jnp.asarray(part.value, dtype)) for part in (self.loc, self.scale))
        closed_low = np.array([space in ("above", "interval", "circle") for space in self.spaces])[:, None]
        closed_high = np.array([space in ("interval", "circle") for space in self.spaces])[:, None]
        below = np.array([space == "below" for space in self.spaces])[:, None]
        high = jnp.where(below, loc, jnp.where(closed_high, loc + scale, jnp.inf))
        return jnp.where(closed_low, loc, -jnp.inf), high

    def ends(self, x: Array) -> tuple[Array, Array]:
        """The interval that each number of `x` `(dim, n)` stands for: a point where it is not rounded."""
        step = along(jnp.asarray(self.step.value, x.dtype))
        rounded = np.array(self.rounded)[:, None]
        middle = jnp.where(rounded, x, x + 0.5 * step)
        return middle, jnp.where(rounded, x + step, middle)

    def locate(self, x: Array) -> Located:
        """Numbers `(dim, n)` of the data's units on the unit interval; beyond an end they count as there."""
        loc, scale = (along(jnp.asarray(part.value, x.dtype)) for part in (self.loc, self.scale))
        return self._located((x - loc) / scale)

    def locate_one(self, i: Array, x: Array) -> Located:
        """The same for the numbers `(n,)` of column `i`, which may be traced."""
        loc, scale, tail, low, high, bend = self._numbers_of(i, x.dtype)
        t = (x - loc) / scale
        found = Located(t, t, t)
        for kind in dict.fromkeys(self._kinds):
            space, heavy = kind
            new = FORMULAS[space](t, tail if heavy else None, low, high, bend)
            own = jnp.asarray(np.array([kind == other for other in self._kinds]))[i]
            found = Located(*(jnp.where(own, a, b) for a, b in zip(new, found, strict=True)))
        return found

    @property
    def _kinds(self) -> list[tuple[Space, bool]]:
        return list(zip(self.spaces, self.heavy, strict=True))

    def _numbers_of(self, i: Array | int, dtype: Any) -> tuple[Array, ...]:
        """Location, scale, exponents of the tails and at both ends, and bend of column `i`."""
        parts = (self.loc, self.scale, self.tail, self.low_power, self.high_power, self.bend)
        return tuple(jnp.asarray(part.value, dtype)[i] for part in parts)

    def _located(self, t: Array) -> Located:
        fixed = (self.tail, self.low_power, self.high_power, self.bend)
        tail, low, high, bend = (along(jnp.asarray(part.value, t.dtype)) for part in fixed)
        kinds = self._kinds
        parts, order = [], []
        for kind in dict.fromkeys(kinds):
            places = np.array([n for n, own in enumerate(kinds) if own == kind])
            space, heavy = kind
            parts.append(
                FORMULAS[space](t[places], tail[places] if heavy else None, low[places], high[places], bend[places])
            )
            order += places.tolist()
        back = np.argsort(order)
        return Located(*(jnp.concatenate([part[n] for part in parts])[back] for n in range(3)))

    def back_one(self, i: Array | int, u: Array) -> Array:
        """The number `(n,)` of column `i` at which its distribution function is `u`, in the data's units."""
        dtype = u.dtype
        loc, scale, tail, low, high, bend = self._numbers_of(i, dtype)
        heavy = jnp.asarray(self.heavy)[i]
        least = jnp.finfo(dtype).tiny
        rest = jnp.maximum(1 - u, least)
        logit = jnp.log(jnp.maximum(u, least)) - jnp.log(rest)
        line = jnp.where(heavy, jnp.sinh(jnp.clip(logit / tail, -MOST, MOST)), logit)
        above = _back_above(
            jnp.minimum(-jnp.log1p(-jnp.minimum(u, 1 - jnp.finfo(dtype).epsneg)), MOST), heavy, tail, low, bend
        )
        below = -_back_above(jnp.minimum(-jnp.log(jnp.maximum(u, least)), MOST), heavy, tail, low, bend)
        plain = (low == 1) & (high == 1)
        within = jnp.where(plain, u, _back_interval(logit, low, high))
        choices = {"line": line, "above": above, "below": below, "interval": within, "circle": u}
        out = u
        for space in dict.fromkeys(self.spaces):
            own = jnp.asarray(np.array([space == s for s in self.spaces]))[i]
            out = jnp.where(own, choices[space], out)
        return loc + scale * out

    def features(self, x: Array, there: Array | None = None) -> Array:
        """What a network sees of numbers `(dim, n)`: two features each, `(2 * dim, n)`, first one of all columns.

        They are a scaled $u$ and its logit, or the cosine and sine on a circle; 0 where a number is not there.
        """
        found = self.locate(self.middle(x))
        return _features(found, self.circular, there)

    def features_one(self, i: Array, x: Array, there: Array) -> Array:
        """The same for the numbers `(n,)` of column `i`, `(2, n)`."""
        step = jnp.asarray(self.step.value, x.dtype)[i]
        found = self.locate_one(i, x + 0.5 * step)
        circular = jnp.asarray(self.circular[:, 0])[i]
        return _features(Located(*(part[None] for part in found)), circular, there[None])

    def middle(self, x: Array) -> Array:
        """The middle of the interval that each number stands for."""
        return x + 0.5 * along(jnp.asarray(self.step.value, x.dtype))


def _features(found: Located, circular: Any, there: Array | None) -> Array:
    angle = 2 * np.pi * found.u
    logit = jnp.log(jnp.maximum(found.u, LEAST)) - jnp.log(jnp.maximum(found.rest, LEAST))
    first = jnp.where(circular, CIRCLE * jnp.cos(angle), UNIFORM * (found.u - found.rest))
    second = jnp.where(circular, CIRCLE * jnp.sin(angle), jnp.clip(logit, -MAX_LOGIT, MAX_LOGIT) / LOGIT)
    both = (first, second) if there is None else (jnp.where(there, first, 0), jnp.where(there, second, 0))
    return jnp.concatenate(both)


def _sigmoid(y: Array) -> tuple[Array, Array, Array]:
    u, rest = jax.nn.sigmoid(y), jax.nn.sigmoid(-y)
    return u, rest, -jax.nn.softplus(y) - jax.nn.softplus(-y)


def _line(t: Array, tail: Array | None, low: Array, high: Array, bend: Array) -> Located:
    if tail is None:
        return Located(*_sigmoid(t))
    y = tail * jnp.arcsinh(t)
    u, rest, log_slope = _sigmoid(y)
    return Located(u, rest, log_slope + jnp.log(tail) - 0.5 * jnp.log1p(jnp.minimum(jnp.abs(t), 1e15) ** 2))


def _above(t: Array, tail: Array | None, low: Array, high: Array, bend: Array) -> Located:
    t = jnp.maximum(t, 0.0)
    log_t = jnp.log(jnp.maximum(t, LEAST))
    power = jnp.where(low == 1, t, jnp.exp(jnp.minimum(low * log_t, MOST / 10)))
    bent = jnp.where(low == 1, 0.0, (low - 1) * log_t)
    if tail is None:
        y, log_rate = power * (1 + bend * power), jnp.log(low) + bent + jnp.log1p(2 * bend * power)
    else:
        y, log_rate = tail / low * jnp.log1p(power), jnp.log(tail) + bent - jnp.log1p(power)
    return Located(-jnp.expm1(-y), jnp.exp(-y), log_rate - y)


def _below(t: Array, tail: Array | None, low: Array, high: Array, bend: Array) -> Located:
    found = _above(-t, tail, low, high, bend)
    return Located(found.rest, found.u, found.log_slope)


def _interval(t: Array, tail: Array | None, low: Array, high: Array, bend: Array) -> Located:
    t = jnp.clip(t, 0.0, 1.0)
    left, right = jnp.maximum(t, LEAST), jnp.maximum(1 - t, LEAST)
    u, rest, log_slope = _sigmoid(low * jnp.log(left) - high * jnp.log(right))
    bent = log_slope + jnp.log(low / left + high / right)
    plain = (low == 1) & (high == 1)
    return Located(jnp.where(plain, t, u), jnp.where(plain, 1 - t, rest), jnp.where(plain, 0.0, bent))


def _circle(t: Array, tail: Array | None, low: Array, high: Array, bend: Array) -> Located:
    u = jnp.clip(t, 0.0, 1.0)
    return Located(u, 1 - u, jnp.zeros_like(u))


FORMULAS: dict[Space, Callable[[Array, Array | None, Array, Array, Array], Located]] = {
    "line": _line,
    "above": _above,
    "below": _below,
    "interval": _interval,
    "circle": _circle,
}


def _back_above(y: Array, heavy: Array, tail: Array, low: Array, bend: Array) -> Array:
    # The root of power * (1 + bend * power) = y, without a difference of near numbers.
    light = 2 * y / (1 + jnp.sqrt(1 + 4 * bend * y))
    power = jnp.where(heavy, jnp.expm1(jnp.minimum(y * low / tail, MOST / 10)), light)
    return jnp.maximum(power, LEAST) ** (1 / low)


def _back_interval(logit: Array, low: Array, high: Array) -> Array:
    r"""The root of $\kappa_0 \log t - \kappa_1 \log(1 - t)$ = `logit`, by Newton's steps in the logit of $t$."""
    s = logit / jnp.where(logit < 0, low, high)
    for _ in range(30):
        log_t, log_rest = -jax.nn.softplus(-s), -jax.nn.softplus(s)
        slope = low * jnp.exp(log_rest) + high * jnp.exp(log_t)
        s = s - (low * log_t - high * log_rest - logit) / slope
    return jax.nn.sigmoid(s)
