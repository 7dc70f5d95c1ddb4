"""Supports of data and the bijections onto them: intervals, half lines, simplex, torus, sphere, and their products."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.elementwise import HalfLineMap, IntoBox
from pushforward.bijections.products import Concatenate
from pushforward.bijections.simplex import StickBreaking


class AbstractSupport(ABC):
    r"""A set of vectors of `dim` numbers, with a bijection onto it from `source`.

    `source` is all of $\mathbb R^n$ wherever the topology allows. There is no continuous bijection from the line onto
    the circle, so that angles have angles as their source. The base distribution of a flow must be over `source`.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """The length of a vector."""

    @property
    @abstractmethod
    def source(self) -> AbstractSupport:
        """The set that `biject_to` maps from."""

    @abstractmethod
    def contains(self, x: Any) -> Array:
        """Whether vectors lie in the set, booleans `(*batch,)` for `x` of `(*batch, dim)`; a NaN does not.

        Raises:
            ValueError: the last axis is not `dim` long.
        """

    @abstractmethod
    def _bijection(self) -> AbstractBijection:
        """The bijection of `biject_to`."""


def biject_to(support: AbstractSupport) -> AbstractBijection:
    r"""The bijection from `support.source` onto a support; nothing in it is trained.

    As the last member of a chain it restricts a flow to the support:
    `Flow(base, Chain([flow.bijection, biject_to(support)]))`. Samples lie strictly inside, and points outside have
    log-density `-inf`.

    Args:
        support: `Real`, `Interval`, `HalfLine`, `Simplex`, `Torus`, `Sphere`, or a `Product` of them.

    Raises:
        TypeError: not a support.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import HalfLine, Product, Simplex, biject_to
        >>> b = biject_to(Product([HalfLine(), Simplex(2)]))
        >>> b.forward(jnp.zeros(3)).round(3).tolist()
        [1.0, 0.333, 0.333]
    """
    if not isinstance(support, AbstractSupport):
        fix = "Pass a support such as Interval(0, 1) or Product([Real(2), HalfLine()])."
        raise TypeError(message("biject_to", "a support", type(support).__name__, fix))
    return support._bijection()


@dataclass(frozen=True)
class Real(AbstractSupport):
    """All vectors of finite numbers.

    Args:
        dim: Length of the vectors.
    """

    dim: int = 1  # pyright: ignore[reportIncompatibleMethodOverride] - a field is a property that never changes

    def __post_init__(self) -> None:
        check_int("Real", "dim", self.dim, 1)

    @property
    def source(self) -> AbstractSupport:
        return self

    def contains(self, x: Any) -> Array:
        return jnp.all(jnp.isfinite(_vectors("Real", x, self.dim)), axis=-1)

    def _bijection(self) -> AbstractBijection:
        return IntoBox([-math.inf] * self.dim, [math.inf] * self.dim)


@dataclass(frozen=True)
class Interval(AbstractSupport):
    """Vectors of numbers strictly between two ends. `biject_to` takes a standard normal to the uniform distribution.

    Args:
        low: The lower end, finite.
        high: The upper end, finite.
        dim: Length of the vectors; use a `Product` for columns with different ends.

    Raises:
        ValueError: the ends are not finite or not in order.
    """

    low: float = 0.0
    high: float = 1.0
    dim: int = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        check_int("Interval", "dim", self.dim, 1)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            fix = "For one end use HalfLine(bound, sign)."
            raise ValueError(message("Interval", "finite low < high", f"low {self.low}, high {self.high}", fix))

    @property
    def source(self) -> AbstractSupport:
        return Real(self.dim)

    def contains(self, x: Any) -> Array:
        x = _vectors("Interval", x, self.dim)
        return jnp.all((x > self.low) & (x < self.high), axis=-1)

    def _bijection(self) -> AbstractBijection:
        return IntoBox([self.low] * self.dim, [self.high] * self.dim)


@dataclass(frozen=True)
class HalfLine(AbstractSupport):
    """Vectors of numbers strictly on one side of a bound, by default above 0.

    Args:
        bound: The bound, finite.
        sign: 1 for the numbers above the bound, -1 for those below.
        dim: Length of the vectors.
        through: The map, `"exp"` (a normal becomes log-normal) or `"softplus"` (its tail stays that of a normal).

    Raises:
        ValueError: the bound is not finite, or the sign neither 1 nor -1.
    """

    bound: float = 0.0
    sign: int = 1
    dim: int = 1  # pyright: ignore[reportIncompatibleMethodOverride]
    through: HalfLineMap = "exp"

    def __post_init__(self) -> None:
        check_int("HalfLine", "dim", self.dim, 1)
        if not math.isfinite(self.bound) or self.sign not in (1, -1):
            got = f"bound {self.bound}, sign {self.sign}"
            raise ValueError(message("HalfLine", "a finite bound and a sign of 1 or -1", got, "HalfLine() is x > 0."))
        self._bijection()  # raises for an unknown map

    @property
    def source(self) -> AbstractSupport:
        return Real(self.dim)

    def contains(self, x: Any) -> Array:
        x = _vectors("HalfLine", x, self.dim)
        beyond = x > self.bound if self.sign > 0 else x < self.bound
        return jnp.all(beyond & jnp.isfinite(x), axis=-1)

    def _bijection(self) -> AbstractBijection:
        ends = (self.bound, math.inf) if self.sign > 0 else (-math.inf, self.bound)
        return IntoBox([ends[0]] * self.dim, [ends[1]] * self.dim, self.through)


@dataclass(frozen=True)
class Simplex(AbstractSupport):
    """Vectors of `dim` shares above 0 with a sum below 1; one more share is what is left of 1.

    Densities are with respect to Lebesgue measure in the `dim` shares, as for the Dirichlet distribution. For data of
    `dim + 1` shares leave out the last.

    Args:
        dim: Length of the vectors, one less than the number of shares.
    """

    dim: int = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        check_int("Simplex", "dim", self.dim, 1)

    @property
    def source(self) -> AbstractSupport:
        return Real(self.dim)

    def contains(self, x: Any) -> Array:
        x = _vectors("Simplex", x, self.dim)
        return jnp.all(x > 0, axis=-1) & (jnp.sum(x, axis=-1) < 1)

    def _bijection(self) -> AbstractBijection:
        return StickBreaking(self.dim)


@dataclass(frozen=True)
class Torus(AbstractSupport):
    r"""Vectors of angles in $[-\pi, \pi)$, where both ends are the same point.

    There is no continuous bijection from $\mathbb R^n$ onto the torus: `source` is the torus itself, and `biject_to`
    the identity. A flow on it has the base `UniformBox(-pi, pi, shape=(dim,))` and maps of the circle.

    Args:
        dim: Number of angles.
    """

    dim: int = 1  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        check_int("Torus", "dim", self.dim, 1)

    @property
    def source(self) -> AbstractSupport:
        return self

    def contains(self, x: Any) -> Array:
        x = _vectors("Torus", x, self.dim)
        return jnp.all((x >= -math.pi) & (x < math.pi), axis=-1)

    def _bijection(self) -> AbstractBijection:
        return IntoBox([-math.inf] * self.dim, [math.inf] * self.dim)


def Circle() -> Torus:
    """The circle of one angle, `Torus(1)`."""
    return Torus(1)


@dataclass(frozen=True)
class Sphere(AbstractSupport):
    r"""The unit sphere $S^d$ of $\mathbb R^{d+1}$ in the coordinates of nested cylinders: heights, then one angle.

    $$p(h_1, \dots, h_{d-1}, \varphi) = \Bigl(\sqrt{1 - h_1^2}\; p(h_2, \dots, \varphi),\; h_1\Bigr), \qquad
      p(\varphi) = (\cos\varphi, \sin\varphi),$$

    with heights in $(-1, 1)$ and the angle in $[-\pi, \pi)$; the poles, where a height is $\pm 1$, are left out. An
    event has `dim` numbers, not `dim + 1`: `points` and `coordinates` translate. Densities of events are with respect
    to $dh\,d\varphi$; with respect to the surface measure the log-density is less by `log_area`, which is 0 for $S^2$
    (Archimedes), so that there both are the same.

    `source` is `Product([Real(dim - 1), Circle()])`, for the angle cannot come from a line. For $S^2$, standard normals
    and a uniform angle become the uniform distribution on the sphere.

    Args:
        dim: Dimension $d$, 2 or more; for 1 use `Circle()`.

    Source: Rezende et al., 2020, arXiv 2002.02428.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import Sphere
        >>> Sphere(2).points(jnp.array([0.6, 0.0])).round(3).tolist()
        [0.8, 0.0, 0.6]
    """

    dim: int = 2  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self) -> None:
        check_int("Sphere", "dim", self.dim, 2)

    @property
    def source(self) -> AbstractSupport:
        return Product([Real(self.dim - 1), Torus(1)])

    def contains(self, x: Any) -> Array:
        x = _vectors("Sphere", x, self.dim)
        return jnp.all(jnp.abs(x[..., :-1]) < 1, axis=-1) & Torus(1).contains(x[..., -1:])

    def _bijection(self) -> AbstractBijection:
        heights = self.dim - 1
        return IntoBox([-1.0] * heights + [-math.inf], [1.0] * heights + [math.inf])

    def points(self, x: Any) -> Array:
        """Unit vectors `(*batch, dim + 1)` of coordinates `(*batch, dim)`."""
        x = _vectors("Sphere.points", x, self.dim)
        point = jnp.stack([jnp.cos(x[..., -1]), jnp.sin(x[..., -1])], axis=-1)
        for n in reversed(range(self.dim - 1)):
            height = x[..., n, None]
            # (1 - h)(1 + h) keeps its digits near the poles, where 1 - h^2 does not.
            point = jnp.concatenate([jnp.sqrt((1 - height) * (1 + height)) * point, height], axis=-1)
        return point

    def coordinates(self, points: Any) -> Array:
        """Coordinates `(*batch, dim)` of vectors `(*batch, dim + 1)` that are not 0; their length does not matter.

        A pole of any of the nested spheres gives a height of 1 or -1, which lies at the end of the support.
        """
        p = _vectors("Sphere.coordinates", points, self.dim + 1)
        radius = [jnp.linalg.norm(p[..., : n + 1], axis=-1) for n in range(2, self.dim + 1)]
        # Where all remaining coordinates are 0, any height is right.
        heights = [p[..., n] / jnp.where(r == 0, 1, r) for n, r in zip(range(2, self.dim + 1), radius, strict=True)]
        return jnp.stack([*reversed(heights), jnp.arctan2(p[..., 1], p[..., 0])], axis=-1)

    def log_area(self, x: Any) -> Array:
        r"""The log of the area element, $\log dS/(dh\,d\varphi) = \sum_i \frac{d - 1 - i}{2} \log(1 - h_i^2)$.

        `flow.log_prob(x) - sphere.log_area(x)` is a log-density with respect to the surface measure.

        Args:
            x: Coordinates `(*batch, dim)`.
        """
        h = _vectors("Sphere.log_area", x, self.dim)[..., :-1]
        half = jnp.asarray((self.dim - 2 - np.arange(self.dim - 1)) / 2, h.dtype)
        return jnp.sum(half * (jnp.log1p(-h) + jnp.log1p(h)), axis=-1)


@dataclass(frozen=True)
class Product(AbstractSupport):
    """Columns, or groups of columns, each with its own support.

    Args:
        parts: Supports in the order of the columns; a product among them counts as its parts.

    Raises:
        ValueError: there are no parts.
        TypeError: a part is not a support.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import HalfLine, Interval, Product
        >>> Product([Interval(0, 1), HalfLine()]).contains(jnp.array([[0.5, 7.0], [0.5, -7.0]])).tolist()
        [True, False]
    """

    parts: tuple[AbstractSupport, ...]

    def __init__(self, parts: Sequence[AbstractSupport]):
        parts = tuple(parts)
        for n, part in enumerate(parts):
            if not isinstance(part, AbstractSupport):
                fix = "Such as Interval(0, 1)."
                raise TypeError(message(f"Product: part {n}", "a support", type(part).__name__, fix))
        if not parts:
            raise ValueError(message("Product", "one support or more", "none", "Pass one for each group of columns."))
        flat = [part.parts if isinstance(part, Product) else (part,) for part in parts]
        object.__setattr__(self, "parts", tuple(itertools.chain(*flat)))

    @property
    def dim(self) -> int:
        return sum(part.dim for part in self.parts)

    @property
    def source(self) -> AbstractSupport:
        """The product of the parts' sources, in which adjacent `Real` ones are joined."""
        sources = Product([part.source for part in self.parts]).parts
        merged: list[AbstractSupport] = []
        for is_real, group in itertools.groupby(sources, key=lambda part: isinstance(part, Real)):
            members = list(group)
            merged += [Real(sum(part.dim for part in members))] if is_real else members
        return merged[0] if len(merged) == 1 else Product(merged)

    def contains(self, x: Any) -> Array:
        x = _vectors("Product", x, self.dim)
        ends = np.cumsum([part.dim for part in self.parts])
        inside = [part.contains(x[..., end - part.dim : end]) for part, end in zip(self.parts, ends, strict=True)]
        return jnp.all(jnp.stack(inside), axis=0)

    def _bijection(self) -> AbstractBijection:
        # Adjacent elementwise maps become one bijection, so that a table of columns compiles to a handful of kernels.
        members: list[AbstractBijection] = []
        for part in self.parts:
            own = part._bijection()
            if members and isinstance(own, IntoBox) and isinstance(members[-1], IntoBox):
                members[-1] = IntoBox.join([members[-1], own])
            else:
                members.append(own)
        return members[0] if len(members) == 1 else Concatenate(members)


def _vectors(name: str, x: Any, dim: int) -> Array:
    x = jnp.asarray(x)
    if x.shape[-1:] != (dim,):
        fix = "The last axis is the event, those before it the batch."
        raise ValueError(message(name, f"vectors (*batch, {dim})", f"shape {x.shape}", fix))
    return x
