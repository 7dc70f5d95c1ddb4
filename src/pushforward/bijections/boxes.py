"""From all numbers onto intervals and half lines, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.units import LEAST, ColumnUnits, Unit

HalfLineMap = Literal["exp", "softplus"]


class IntoBox(AbstractBatchedBijection):
    r"""Elementwise from all numbers onto the open box $\prod_i (a_i, b_i)$, whose ends may be infinite; increasing.

    $$y = a + (b - a)\,\Phi(x), \qquad y = a + g(x), \qquad y = b - g(-x), \qquad y = x$$

    for two finite ends, a lower one, an upper one, and none; $\Phi$ is the normal's distribution function, so that a
    standard normal becomes uniform, and $g$ the exponential or softplus. Nothing is trained.

    Values lie strictly inside the box in every floating type: what would round to an end stops at the number next to
    it. The way back takes an end as that number, and gives what lies beyond it the log-determinant `-inf`: it has
    density 0.

    Args:
        low: $a_i$, one per column, `-inf` where there is none.
        high: $b_i$, one per column, `inf` where there is none.
        half_line: $g$ of each column, `"exp"` or `"softplus"`, or one for all. Softplus has lighter upper tails: those
            of what goes in.

    Cost: elementwise in both directions; log-det exact.

    Raises:
        ValueError: an end is NaN, not below the other, or too close to it, or the map of a half line is unknown.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> box = pf.bijections.IntoBox([-1.0, 0.0], [1.0, jnp.inf])
        >>> box.forward(jnp.array([0.0, 0.0])).tolist()
        [0.0, 1.0]
    """

    units: ColumnUnits
    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)
    half_line: tuple[HalfLineMap, ...] = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        low: Sequence[float] | np.ndarray,
        high: Sequence[float] | np.ndarray,
        half_line: HalfLineMap | Sequence[HalfLineMap] = "exp",
    ):
        self.low, self.high = tuple(float(a) for a in low), tuple(float(b) for b in high)
        dim = len(self.low)
        self.half_line = (half_line,) * dim if isinstance(half_line, str) else tuple(half_line)
        if not dim or {len(self.high), len(self.half_line)} != {dim}:
            got = f"{dim} and {len(self.high)} ends, {len(self.half_line)} maps"
            raise ValueError(message("IntoBox", "as many lower ends as upper ends", got, "One of each per column."))
        for a, b in zip(self.low, self.high, strict=True):
            if not a < b or (np.isfinite([a, b]).all() and not np.isfinite(b - a)):
                raise ValueError(message("IntoBox", "low < high", f"low {a}, high {b}", "Swap them?"))
        wrong = set(self.half_line) - set(get_args(HalfLineMap))
        if wrong:
            fix = "They differ in the upper tail."
            raise ValueError(message("IntoBox", "half_line of exp or softplus", f"{sorted(map(str, wrong))}", fix))
        self.units = ColumnUnits([_unit(*column) for column in zip(self.low, self.high, self.half_line, strict=True)])
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = None, Traits()

    @staticmethod
    def join(boxes: Sequence[IntoBox]) -> IntoBox:
        """The box whose columns are those of all boxes, in their order."""
        low, high, maps = ([end for box in boxes for end in getattr(box, n)] for n in ("low", "high", "half_line"))
        return IntoBox(low, high, maps)

    def _sign(self, dtype: Any) -> Array:
        """-1 where only the upper end is finite: there both sides of the lower half line's map change their sign."""
        upper = np.isinf(self.low) & np.isfinite(self.high)
        return jnp.asarray(np.where(upper, -1, 1)[:, None], dtype)

    def _ends(self, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest number of that type strictly inside, by column."""
        kind = np.dtype(dtype).type
        low, high = np.asarray(self.low, dtype)[:, None], np.asarray(self.high, dtype)[:, None]
        # Beside 0 not the next number, which is denormal, but the least that the maps tell from 0.
        inner_low = np.maximum(np.nextafter(low, kind(np.inf)), low + kind(LEAST))
        inner_high = np.minimum(np.nextafter(high, kind(-np.inf)), high - kind(LEAST))
        if not np.all(inner_low < inner_high):
            got = f"low {self.low[:4]}, high {self.high[:4]}"
            fix = "Subtract the offset first, or compute in float64."
            raise ValueError(message("IntoBox", f"{np.dtype(dtype).name} numbers between the ends", got, fix))
        return np.where(np.isinf(low), low, inner_low), np.where(np.isinf(high), high, inner_high)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        sign = self._sign(x.dtype)
        y, log_slope = self.units.each_forward(x * sign)
        return jnp.clip(y * sign, *self._ends(x.dtype)), jnp.sum(log_slope, axis=0)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        sign, (low, high) = self._sign(y.dtype), self._ends(y.dtype)
        x, log_slope = self.units.each_inverse(jnp.clip(y, low, high) * sign)
        outside = (y < np.asarray(self.low, y.dtype)[:, None]) | (y > np.asarray(self.high, y.dtype)[:, None])
        return x * sign, jnp.where(jnp.any(outside, axis=0), -jnp.inf, jnp.sum(log_slope, axis=0))


def _unit(low: float, high: float, half_line: HalfLineMap) -> Unit:
    if np.isfinite(low) and np.isfinite(high):
        return Unit("interval", low, high - low)
    if np.isfinite(low) or np.isfinite(high):
        return Unit("log" if half_line == "exp" else "softplus", low if np.isfinite(low) else -high)
    return Unit()
