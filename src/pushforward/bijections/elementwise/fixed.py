r"""The family of fixed maps of one number, applied to each number of an event, and its one policy at the edges.

A map is data: a `Formula` with its two directions, its domain and its image, which are open intervals. A public class
such as `Exp` names its parameters and gives the formula; broadcasting, sums of log-slopes and the edges are here.

**The policy at an edge** holds for every map, in every floating type:

- *Inside*, the formula gives the value, which lies strictly inside the other interval: a value that rounds to an end,
  or would overflow, is moved to the nearest normal float inside. So every sample has a finite log-density. The
  log-determinant is that of the exact map at the given number, and only rounding loses anything (in float32 the
  inverse of `sigmoid(40)` is 16.6).
- *At an end* of the image, `inverse` takes the value for the nearest normal float inside: its log-determinant is
  finite. If an end is the sum of an offset and a length, values within its rounding error count as at the end.
- *Beyond an end*, and at an infinity, the density is 0: the log-determinant of `inverse` is `-inf`, and its value is
  that of the nearest float inside, so that later layers do not give NaN.
- *Outside the domain*, `forward` gives NaN: there is no such event.
- *NaN* stays NaN. Derivatives are 0 where a number was moved.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_floats, check_shape, is_traced, message
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.numerics.special import inside

# The two ends of an open interval: numbers, or arrays that broadcast over the event and the batch.
Ends = tuple[Any, Any]
REAL: Ends = (-np.inf, np.inf)
POSITIVE: Ends = (0.0, np.inf)
UNIT: Ends = (0.0, 1.0)


@dataclass(frozen=True)
class Formula:
    """A strictly monotone function of one number, as data.

    Args:
        forward: Function from numbers strictly inside the domain to values and log-slopes, in nats.
        inverse: Function from values strictly inside the image to numbers and log-slopes of the inverse.
        image: The two ends of the interval of values.
        domain: The two ends of the interval of inputs.
        least: Least distance of a value from an end of the image: nearer values count as this far; 0 takes the nearest
            float.
    """

    forward: Callable[[Array], tuple[Array, Array]]
    inverse: Callable[[Array], tuple[Array, Array]]
    image: Ends = REAL
    domain: Ends = REAL
    least: float = 0.0

    def run(self, value: Array, forward: bool) -> tuple[Array, Array]:
        """Run one direction; numbers outside count as the nearest ones inside."""
        ends, others = (self.domain, self.image) if forward else (self.image, self.domain)
        least = (0.0, self.least) if forward else (self.least, 0.0)
        out, log_slope = (self.forward if forward else self.inverse)(inside(value, *ends, least[0]))
        return inside(out, *others, least[1]), log_slope


class AbstractFixedMap(AbstractBatchedBijection):
    """A fixed function of one number for each number of an event; final subclasses give its formula.

    Attributes:
        shape: Shape of the event.
    """

    shape: eqx.AbstractVar[Shape]

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return self.shape

    @abstractmethod
    def formula(self, dtype: Any) -> Formula:
        """The function of the map, with parameters of this floating type."""

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        """The values `(*shape, n)` at `x` and their log-slopes, in nats; NaN outside the domain."""
        formula = self.formula(x.dtype)
        self._demand_room(formula, x.dtype)
        y, log_slope = formula.run(x, True)
        outside = _beyond(x, formula.domain)
        return jnp.where(outside, jnp.nan, y), jnp.where(outside, jnp.nan, log_slope)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        """The numbers `(*shape, n)` that have these values, and their log-slopes, `-inf` outside the image."""
        formula = self.formula(y.dtype)
        self._demand_room(formula, y.dtype)
        x, log_slope = formula.run(y, False)
        return x, jnp.where(_beyond(y, formula.image) | jnp.isinf(y), -jnp.inf, log_slope)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y, log_slope = self.each_forward(x)
        return y, jnp.sum(log_slope, axis=tuple(range(x.ndim - 1)))

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        x, log_slope = self.each_inverse(y)
        return x, jnp.sum(log_slope, axis=tuple(range(y.ndim - 1)))

    def _demand_room(self, formula: Formula, dtype: Any) -> None:
        """Raise if the type has no two numbers inside the image; ends that are traced are not checked."""
        if not all(isinstance(end, np.ndarray) for end in formula.image):
            return
        low, high = (end.astype(dtype) for end in formula.image)
        if not np.all(np.nextafter(low, high) < np.nextafter(high, low)):
            got, fix = f"ends {low.ravel()[:4]} and {high.ravel()[:4]}", "Subtract the offset, or compute in float64."
            raise ValueError(message(type(self).__name__, f"{np.dtype(dtype).name} numbers between the ends", got, fix))


def _beyond(value: Array, ends: Ends) -> Array:
    return (value < jnp.asarray(ends[0], value.dtype)) | (value > jnp.asarray(ends[1], value.dtype))


def as_numbers(values: Any) -> Any:
    """Numbers as NumPy's float64, which keeps its precision where JAX has no doubles; traced ones as JAX arrays."""
    return as_floats(values) if is_traced(values) else np.asarray(values, np.float64)


def parameters(name: str, shape: Shape | None, *values: Any) -> tuple[Shape, list[Fixed]]:
    """The event's shape (for None, the shape to which the values broadcast), and the values broadcast to it.

    Args:
        name: Name of the map, for error messages.
        shape: Shape of the event.
        *values: Numbers, arrays or nested lists of them, any of which may be traced.
    """
    numbers = [as_numbers(value) for value in values]
    shape = check_shape(name, np.broadcast_shapes(*(n.shape for n in numbers)) if shape is None else shape)
    return shape, [
        Fixed(jnp.broadcast_to(n, shape) if is_traced(n) else np.array(np.broadcast_to(n, shape)))  # pyright: ignore[reportArgumentType]
        for n in numbers
    ]
