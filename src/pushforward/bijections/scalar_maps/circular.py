r"""Maps of the circle as scalar maps of an angle in $[-\pi, \pi)$."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.angles import wrap
from pushforward.numerics.rational_quadratic_spline import (
    Spline,
    rational_quadratic_forward,
    rational_quadratic_inverse,
)
from pushforward.numerics.root import solve_increasing
from pushforward.numerics.splines import computed_once, split_rows

# Centres of Moebius maps stay within this radius, so that slopes lie between 1/199 and 199.
MAX_RADIUS = 0.99


class CircularSplineMap(AbstractScalarMap):
    r"""A rational-quadratic spline of the circle with `bins` bins, then a rotation: $y = f(x) + \varphi$ modulo $2\pi$.

    $f$ maps $[-\pi, \pi]$ onto itself with the same slope at both ends, which are one point of the circle. Followed by
    the rotation it is a general smooth map of the circle that preserves orientation. Angles outside $[-\pi, \pi)$ count
    modulo $2\pi$, and the image lies in $[-\pi, \pi)$. Parameters of zero give the identity.

    Args:
        bins: Number of bins, 2 or more.

    Cost: $O(\text{bins})$ per element in both directions.

    Raises:
        ValueError: fewer than 2 bins, or more than 256.

    Source: Rezende, Papamakarios, Racanière, Albergo, Kanwar, Shanahan, Cranmer, 2020, section 2.1, arXiv 2002.02428.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import CircularSplineMap
        >>> spline = CircularSplineMap(bins=4)
        >>> params = jnp.zeros((spline.n_params, 1)).at[-1].set(1.0)
        >>> round(spline.forward_and_log_det(jnp.array([3.0]), params)[0].item(), 3)
        -2.283
    """

    bins: int = eqx.field(static=True, default=8)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __init__(self, bins: int = 8):
        self.bins = check_int("CircularSplineMap", "bins", bins, 2, 256)
        self.n_params = 3 * self.bins + 1

    @property
    def _spline(self) -> Spline:
        return Spline(self.bins, -math.pi, math.pi, "circular")

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        params, (rotation,) = split_rows(params, (3 * self.bins, 1))
        # The side of the cut on which an angle lies decides between bins.
        x = computed_once(wrap(x), rotation)
        image, log_slope = rational_quadratic_forward(x, params, self._spline)
        return wrap(image + wrap(rotation)), log_slope

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        params, (rotation,) = split_rows(params, (3 * self.bins, 1))
        y = computed_once(wrap(y - wrap(rotation)), rotation)
        image, log_slope = rational_quadratic_inverse(y, params, self._spline)
        return wrap(image), log_slope


class MoebiusMap(AbstractScalarMap):
    r"""A convex combination of Moebius maps of the circle, then a rotation.

    On the unit circle the map of the disk $z \mapsto (z - \omega)/(1 - \bar\omega z)$ with centre $\omega = a + i b$,
    $|\omega| < 1$, takes the angle $x$ to $x + 2 \arctan\frac{a \sin x - b \cos x}{1 - a \cos x - b \sin x}$, with the
    slope $(1 - |\omega|^2)/|e^{i x} - \omega|^2$: large near $\omega$, small opposite to it. The map is
    $y = \sum_k \rho_k f_{\omega_k}(x) + \varphi$ modulo $2\pi$. Angles outside $[-\pi, \pi)$ count modulo $2\pi$, and
    the image lies in $[-\pi, \pi)$. Parameters of zero give the identity. Components that start equal stay equal under
    gradient descent, so that free parameters (not from a network) should start as small random numbers.

    Args:
        components: Number of maps that are combined, 1 or more.

    Cost: $O(\text{components})$ per element; the inverse takes some six steps of a root search
        (`numerics.root.solve_increasing`).

    Raises:
        ValueError: no component, or more than 256.

    Source: Rezende, Papamakarios, Racanière, Albergo, Kanwar, Shanahan, Cranmer, 2020, section 2.1, arXiv 2002.02428;
        there each component fixes the angle 0, here the rotation takes the place of that.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import MoebiusMap
        >>> params = jnp.array([[0.0], [1.0], [0.0], [0.0]])
        >>> y, log_slope = MoebiusMap(components=1).forward_and_log_det(jnp.array([0.0]), params)
        >>> y.tolist(), round(log_slope.item(), 3)
        ([0.0], 1.735)
    """

    components: int = eqx.field(static=True, default=8)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(inverse="iterative"), init=False)

    def __init__(self, components: int = 8):
        self.components = check_int("MoebiusMap", "components", components, 1, 256)
        self.n_params = 3 * self.components + 1

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        shares, centres, rotation = self._parts(params)
        y, log_slope = _combined(wrap(x), shares, centres)
        return wrap(y + rotation), log_slope

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        shares, centres, rotation = self._parts(params)
        y = wrap(y - rotation)
        # No map moves an angle by more than half a turn.
        found = solve_increasing(lambda x: _combined(x, shares, centres), y, y, width=math.pi)
        return wrap(found.x), -_combined(found.x, shares, centres)[1]

    def _parts(self, params: Array) -> tuple[list[Array], list[tuple[Array, Array]], Array]:
        """The shares, the centres $(a, b)$ and the rotation."""
        n = self.components
        raw_shares, across, up, (rotation,) = split_rows(params, (n, n, n, 1))
        exps = list(jnp.exp(raw_shares - functools.reduce(jnp.maximum, list(raw_shares))))
        total = functools.reduce(jnp.add, exps)
        # Dividing by the largest number first avoids overflow of squares; the quotient does not depend on it.
        largest = jax.lax.stop_gradient(jnp.maximum(1.0, jnp.maximum(jnp.abs(across), jnp.abs(up))))
        a, b = across / largest, up / largest
        scale = MAX_RADIUS / jnp.sqrt(largest**-2 + a * a + b * b)
        return [e / total for e in exps], list(zip(a * scale, b * scale, strict=True)), wrap(rotation)


def _combined(x: Array, shares: list[Array], centres: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """The combination of the maps' lifts to the real line, which commute with a full turn, and its log-slope."""
    cosine, sine = jnp.cos(x), jnp.sin(x)
    moved, slope = jnp.zeros_like(x), jnp.zeros_like(x)
    for share, (a, b) in zip(shares, centres, strict=True):
        along, across = 1 - (a * cosine + b * sine), a * sine - b * cosine
        moved = moved + share * jnp.arctan2(across, along)
        slope = slope + share * (1 - (a * a + b * b)) / (along * along + across * across)
    return x + 2 * moved, jnp.log(slope)
