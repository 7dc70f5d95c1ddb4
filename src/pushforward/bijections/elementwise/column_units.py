"""Maps from standard numbers to the columns of a table (tails, supports and units), and onto boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtri
from jax.scipy.stats import norm

from pushforward._checks import check_values, is_traced, message, positive
from pushforward._types import Array, Fixed, Shape
from pushforward.bijections.base import along
from pushforward.bijections.elementwise.fixed import AbstractFixedMap, Ends, Formula, parameters
from pushforward.bijections.elementwise.functions import exponential, softplus
from pushforward.bijections.elementwise.heavy_tails import normal_cdf
from pushforward.numerics.special import LOG_2

Support = Literal["real", "log", "softplus", "interval", "below, log", "below, softplus"]
HalfLineMap = Literal["exp", "softplus"]
# Least distance of a number from an end, in units of its column: a number that is nearer counts as this far, in float32
# and float64. Float32 can hold this distance, and its normal quantile.
LEAST = 1e-30
# The maps to half lines and to heavy tails end near exp(69) = 1e30, so that float32 can hold what they give.
MAX_EXPONENT = 69.0
# Standard numbers beyond this have tails of less than 1e-890; their squares are still far from the end of float32.
MAX_STANDARD = 64.0


def _mirrored(formula: Formula) -> Formula:
    """The map with input and output negated: onto the numbers below 0, and increasing as before."""

    def negated(run: Callable[[Array], tuple[Array, Array]]) -> Callable[[Array], tuple[Array, Array]]:
        def mirrored(value: Array) -> tuple[Array, Array]:
            out, log_slope = run(-value)
            return -out, log_slope

        return mirrored

    low, high = formula.image
    return Formula(negated(formula.forward), negated(formula.inverse), (-high, -low), least=formula.least)


# Half lines have a heavy tail on one side alone: a power law on both would be one in the logarithm of the distance.
SIDES: dict[Support, int] = {"log": 1, "softplus": 1, "below, log": -1, "below, softplus": -1}
# The slope of the map to heavy tails at 0.
HALF_SLOPE = (2 / np.pi) ** 0.5


def _same(x: Array) -> tuple[Array, Array]:
    return x, jnp.zeros_like(x)


# The maps onto supports, in units of the column and measured from its end.
ONTO: dict[Support, Formula] = {
    "real": Formula(_same, _same),
    "log": exponential(MAX_EXPONENT, LEAST),
    "softplus": softplus(LEAST),
    "interval": normal_cdf(LEAST),
    "below, log": _mirrored(exponential(MAX_EXPONENT, LEAST)),
    "below, softplus": _mirrored(softplus(LEAST)),
}


@dataclass(frozen=True)
class Unit:
    """The support, the scale and the tails of one column. Numbers may be traced, except the exponent of the tail.

    Args:
        support: `"real"`; `"log"` or `"softplus"` (two maps to numbers above 0); `"interval"` (between 0 and 1);
            `"below, log"` or `"below, softplus"` (to numbers below 0).
        loc: Location in the data's units: the end of a half line, or the low end of an interval.
        scale: Scale in the data's units: the length of an interval.
        tail: Exponent of the power law of the tails, on a half line of the tail away from its end; None for tails like
            those of a normal.
        centre: Centre of the column before the map onto its support.
        spread: Spread of the column before the map onto its support, above 0.
    """

    support: Support = "real"
    loc: float = 0.0
    scale: float = 1.0
    tail: float | None = None
    centre: float = 0.0
    spread: float = 1.0


class ColumnUnits(AbstractFixedMap):
    r"""Map standard numbers `x` to the columns' units, $y_i = m_i + s_i\, u_i(c_i + d_i\, t_i(x_i))$.

    Here $t_i$ is a map that gives tails of a power law, or the identity; $u_i$ is the map onto the column's support;
    $c_i, d_i$ are the centre and spread before it, and $m_i, s_i$ the column's units. Nothing is trained. Numbers are
    kept in double precision.

    A value outside the support of its column has density 0: its log-slope is `-inf`. Maps that grow like exponentials
    end near 1e30: values and slopes are finite for all finite numbers of the support.

    Args:
        units: One `Unit` per column.

    Raises:
        ValueError: a support is unknown, a scale, a spread or the exponent of a tail is not positive, or a number is
            not finite.

    Source: Hickling and Prangle, 2024, eq. 5, arXiv 2406.16971 (tails).
    """

    loc: Fixed
    scale: Fixed
    log_scale: Fixed
    centre: Fixed
    spread: Fixed
    supports: tuple[Support, ...] = eqx.field(static=True)
    tails: tuple[float | None, ...] = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)

    def __init__(self, units: Sequence[Unit]):
        loc, scale, centre, spread = (
            [getattr(unit, name) for unit in units] for name in ("loc", "scale", "centre", "spread")
        )
        fix = "A column that never varies has no density: leave it out."
        check_values("ColumnUnits", "finite scales > 0", lambda *both: [positive(b) for b in both], fix, scale, spread)
        check_values("ColumnUnits", "finite numbers", np.isfinite, "Drop those rows.", [*loc, *centre])
        self.supports = tuple(unit.support for unit in units)
        self.tails = tuple(unit.tail for unit in units)
        for support, tail in zip(self.supports, self.tails, strict=True):
            if support not in ONTO or not (tail is None or 0 < tail < np.inf):
                expected = f"a support of {', '.join(map(repr, ONTO))} and a tail > 0 or None"
                raise ValueError(message("ColumnUnits", expected, f"{support!r}, {tail}", "Choose another."))
        self.shape, numbers = parameters("ColumnUnits", (len(units),), loc, scale, centre, spread)
        self.loc, self.scale, self.centre, self.spread = numbers
        size = self.scale.value
        self.log_scale = Fixed(jnp.log(size) if is_traced(size) else np.log(size))  # pyright: ignore[reportArgumentType]

    def standardised(self) -> ColumnUnits:
        """The map for rows that `standardise` has already treated; log-determinants stay in the data's units."""
        dim = self.shape[0]
        return eqx.tree_at(lambda u: (u.loc.value, u.scale.value), self, (np.zeros(dim), np.ones(dim)))

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(n, dim)` in units of `scale` from `loc`, in float64, so that little is lost in float32."""
        return (rows - np.asarray(self.loc.value)) / np.asarray(self.scale.value)

    def ends(self, dtype: Any) -> Ends:
        """The ends of the columns' supports, `(dim, 1)`."""
        loc, scale = along(self.loc.value), along(self.scale.value)
        low, high = (np.array([ONTO[kind].image[end] for kind in self.supports])[:, None] for end in (0, 1))
        # The upper end of an interval is a sum, and has half the rounding error of its offset.
        return loc + scale * low, loc + scale * high + (high == 1) * abs(loc) * (float(jnp.finfo(dtype).eps) / 2)

    def formula(self, dtype: Any) -> Formula:
        fixed = (self.loc, self.scale, self.log_scale, self.centre, self.spread)
        loc, scale, log_scale, centre, spread = (along(jnp.asarray(part.value, dtype)) for part in fixed)
        offset = jnp.log(spread) + log_scale

        def forward(x: Array) -> tuple[Array, Array]:
            x, tail = self._tails(x, _tail)
            u, own = self._by_kind(x * spread + centre, self.supports, lambda kind, part, _: ONTO[kind].run(part, True))
            return u * scale + loc, tail + own + offset

        def inverse(y: Array) -> tuple[Array, Array]:
            u = (y - loc) / scale
            x, own = self._by_kind(u, self.supports, lambda kind, part, _: ONTO[kind].run(part, False))
            x, tail = self._tails((x - centre) / spread, _tail_inverse)
            return x, tail + own - offset

        return Formula(forward, inverse, self.ends(dtype))

    def _tails(self, x: Array, bend: Callable[[np.ndarray, Array], tuple[Array, Array]]) -> tuple[Array, Array]:
        index = np.array([np.nan if tail is None else tail for tail in self.tails])[:, None]
        # 0 has no heavy tail, 2 two of them; a half line has one, on the side away from its end.
        sides = tuple(
            0 if tail is None else SIDES.get(kind, 2) for tail, kind in zip(self.tails, self.supports, strict=True)
        )

        def apply(side: int, part: Array, places: np.ndarray) -> tuple[Array, Array]:
            if side == 0:
                return _same(part)
            bent, log_slope = bend(index[places], part if side == 2 else jnp.maximum(part * side, 0) * side)
            if side == 2:
                return bent, log_slope
            # On the other side the map is a line, with the slope that the bent half has at 0.
            straight = HALF_SLOPE if bend is _tail else 1 / HALF_SLOPE
            beyond = part * side > 0
            return jnp.where(beyond, bent, straight * part), jnp.where(beyond, log_slope, jnp.log(straight))

        return self._by_kind(x, sides, apply)

    def _by_kind(self, x: Array, kinds: tuple, apply: Callable[[Any, Array, np.ndarray], tuple[Array, Array]]) -> tuple:
        """Apply the map of each kind of column to the rows of these columns."""
        parts, order = [], []
        for kind in dict.fromkeys(kinds):
            places = np.array([i for i, own in enumerate(kinds) if own == kind])
            parts.append(apply(kind, x if len(places) == len(kinds) else x[places], places))
            order += places.tolist()
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(order)
        return tuple(jnp.concatenate([part[i] for part in parts])[back] for i in (0, 1))


class IntoBox(AbstractFixedMap):
    r"""An increasing elementwise map of all numbers onto the open box $\prod_i (a_i, b_i)$, whose ends may be infinite.

    $$y = a + (b - a)\,\Phi(x), \qquad y = a + g(x), \qquad y = b - g(-x), \qquad y = x$$

    for two finite ends, a lower one, an upper one, and none. $\Phi$ is the distribution function of the normal, so that
    a standard normal becomes uniform, and $g$ is the exponential or softplus. Nothing is trained.

    Args:
        low: Lower ends $a_i$, one per column, `-inf` where there is none; an end that is traced counts as finite.
        high: Upper ends $b_i$, one per column, `inf` where there is none.
        half_line: The map $g$ of each column, `"exp"` or `"softplus"`, or one for all columns. With softplus the tail
            away from the end is that of the input; with exp it is heavier.

    Cost: elementwise in both directions; log-det exact.

    Raises:
        ValueError: an end is NaN, two ends are not in order or too close, or the map of a half line is unknown.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> box = pf.bijections.IntoBox([-1.0, 0.0], [1.0, jnp.inf])
        >>> box.forward(jnp.array([0.0, 0.0])).tolist()
        [0.0, 1.0]
    """

    units: ColumnUnits
    # A missing end is stored as 0, because a model file may not hold an infinity.
    low: Fixed
    high: Fixed
    half_line: tuple[HalfLineMap, ...] = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)

    def __init__(self, low: Any, high: Any, half_line: HalfLineMap | Sequence[HalfLineMap] = "exp"):
        lows, highs = list(low), list(high)
        dim = len(lows)
        self.half_line = (half_line,) * dim if isinstance(half_line, str) else tuple(half_line)
        if not dim or {len(highs), len(self.half_line)} != {dim}:
            got = f"{dim} and {len(highs)} ends, {len(self.half_line)} maps"
            raise ValueError(message("IntoBox", "as many lower ends as upper ends", got, "One of each per column."))
        check_values("IntoBox", "low < high", _in_order, "Swap them?", lows, highs)
        wrong = set(self.half_line) - set(get_args(HalfLineMap))
        if wrong:
            fix = "They differ in the upper tail."
            raise ValueError(message("IntoBox", "half_line of exp or softplus", f"{sorted(map(str, wrong))}", fix))
        self.units = ColumnUnits([_unit(*column) for column in zip(lows, highs, self.half_line, strict=True)])
        finite = [
            [
                0.0 if np.isinf(ONTO[kind].image[side]) else end
                for kind, end in zip(self.units.supports, ends, strict=True)
            ]
            for side, ends in enumerate((lows, highs))
        ]
        self.shape, (self.low, self.high) = parameters("IntoBox", (dim,), *finite)

    @staticmethod
    def join(boxes: Sequence[IntoBox]) -> IntoBox:
        """The box of the columns of all boxes, in their order."""
        low, high = ([end for box in boxes for end in box.ends()[side]] for side in (0, 1))
        return IntoBox(low, high, [through for box in boxes for through in box.half_line])

    def ends(self) -> Ends:
        """The ends as they were given, `(dim,)`, not the sums of offsets and lengths."""
        images = (np.array([ONTO[kind].image[side] for kind in self.units.supports]) for side in (0, 1))
        low, high = (
            (np if isinstance(own.value, np.ndarray) else jnp).where(np.isinf(image), image, own.value)
            for image, own in zip(images, (self.low, self.high), strict=True)
        )
        return low, high

    def formula(self, dtype: Any) -> Formula:
        low, high = self.ends()
        return dataclasses.replace(self.units.formula(dtype), image=(along(low), along(high)))


def _in_order(low: np.ndarray, high: np.ndarray) -> Any:
    with np.errstate(invalid="ignore"):
        return (low < high) & (np.isinf(low) | np.isinf(high) | np.isfinite(high - low))


def _unit(low: Any, high: Any, half_line: HalfLineMap) -> Unit:
    has_low, has_high = (is_traced(end) or bool(np.isfinite(end)) for end in (low, high))
    through = "log" if half_line == "exp" else "softplus"
    if has_low and has_high:
        return Unit("interval", low, high - low)
    if has_low:
        return Unit(through, low)
    return Unit("below, log" if through == "log" else "below, softplus", high) if has_high else Unit()


def _tail(index: np.ndarray, x: Array) -> tuple[Array, Array]:
    r"""$y = \pm\nu\,(\operatorname{erfc}(|x|/\sqrt 2)^{-1/\nu} - 1)$, signed like $x$; tails fall like $y^{-\nu}$."""
    nu = jnp.asarray(index, x.dtype)
    # jnp.sign and jnp.abs will not do: their derivatives at 0 are 0.
    sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
    size = jnp.minimum(x * sign, MAX_STANDARD)
    # log erfc(s / sqrt 2) = log 2 + log Phi(-s), which does not underflow.
    log_p = LOG_2 + log_ndtr(-size)
    y = sign * nu * jnp.expm1(jnp.minimum(-log_p / nu, MAX_EXPONENT))
    return y, LOG_2 + norm.logpdf(size) - (1 + 1 / nu) * log_p


def _tail_inverse(index: np.ndarray, y: Array) -> tuple[Array, Array]:
    nu = jnp.asarray(index, y.dtype)
    sign = jnp.where(y < 0, -1, 1).astype(y.dtype)
    log_p = -nu * jnp.log1p(y * sign / nu)
    size = _size(log_p)
    return sign * size, (1 + 1 / nu) * log_p - LOG_2 - norm.logpdf(size)


@jax.custom_jvp
def _size(log_p: Array) -> Array:
    r"""The $s \ge 0$ with $\log \operatorname{erfc}(s/\sqrt 2)$ equal to `log_p`; its derivative is implicit."""
    # Newton's method on log p starts from the quantile function, or from its asymptotic form if p underflows.
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
