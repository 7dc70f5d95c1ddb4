"""Coordinates in which flows see parameters and observations: a cube or standard units, without lost mass."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri

from pushforward.inference.interval_map import HALF_WIDTH
from pushforward.inference.priors import MEASURED, AbstractPrior, IndependentPrior

# Shares of a prior's mass are kept this far from 0 and 1 where an end lies at infinity.
LEAST_SHARE = 1e-12
# An observation further than this many robust units from the middle makes its column heavy-tailed.
HEAVY = 8.0
# An observation counts as no further out than this, in units of its column after the map.
FURTHEST = 30.0


class ParameterCoordinates:
    r"""Parameters as numbers that a flow sees, `w`, and back, in float64.

    Without bounds they are in standard units. If any parameter has a bound, all are shares of the prior's mass,
    $w = \sqrt3\,(2 F(\theta) - 1)$; for a prior that has no distribution functions, they are shares of the interval, of
    an exponential distribution from a lone end, or of a normal distribution. The prior is then uniform on a cube, and
    nothing that a model does on the cube leaves the support. A flow of the zoo needs the whole line, and sees
    $w = \Phi^{-1}(F(\theta))$ instead, which nothing leaves either, but whose ends are at infinity.

    Args:
        prior: The prior.
        cube: Whether bounded parameters are on the cube, or else on the whole line.
        scores: Whether parameters without bounds are normal scores of their prior too.
    """

    def __init__(self, prior: AbstractPrior, cube: bool = True, *, scores: bool = False):
        self.prior = prior
        self.bounded = scores or bool(np.isfinite(prior.low).any() or np.isfinite(prior.high).any())
        self.on_cube = self.bounded and cube
        draws = prior.sample(MEASURED, np.random.default_rng(0))
        middle, low, high = np.quantile(draws, [0.5, 0.16, 0.84], axis=0)
        self.loc, self.scale = middle, np.where(high > low, 0.5 * (high - low), 1.0)

    @property
    def dim(self) -> int:
        """The number of parameters."""
        return self.prior.dim

    def to(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""Coordinates `(n, dim)` and $\log|\partial w / \partial\theta|$ `(n,)`; rows must lie within the support."""
        w, log_slopes = self._mapped(theta)
        return w, log_slopes.sum(axis=-1)

    def log_slopes(self, theta: np.ndarray) -> np.ndarray:
        """The logarithm of the slope of each parameter's map, `(n, dim)`."""
        return self._mapped(theta)[1]

    def _mapped(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.bounded:
            return (theta - self.loc) / self.scale, np.broadcast_to(-np.log(self.scale), theta.shape)
        share, log_slope = self._shares(theta)
        if not self.on_cube:
            w = ndtri(np.clip(share, LEAST_SHARE, 1 - LEAST_SHARE))
            return w, log_slope + 0.5 * w**2 + 0.5 * math.log(2 * math.pi)
        return HALF_WIDTH * (2 * share - 1), log_slope + math.log(2 * HALF_WIDTH)

    def back(self, w: np.ndarray) -> np.ndarray:
        """Parameters `(*batch, dim)` of coordinates."""
        w = np.asarray(w, np.float64)
        if not self.bounded:
            return w * self.scale + self.loc
        share = np.clip(0.5 * (w / HALF_WIDTH + 1), 0.0, 1.0) if self.on_cube else ndtr(w)
        prior = self.prior
        if isinstance(prior, IndependentPrior):
            columns = []
            for i, margin in enumerate(prior.margins):
                least = 0.0 if np.isfinite(prior.low[i]) else LEAST_SHARE
                most = 1.0 if np.isfinite(prior.high[i]) else 1 - LEAST_SHARE
                columns.append(margin.quantile(np.clip(share[..., i], least, most)))
            return np.clip(np.stack(columns, axis=-1), prior.low, prior.high)
        low, high = prior.low, prior.high
        with np.errstate(invalid="ignore", over="ignore"):
            inner = np.clip(share, LEAST_SHARE, 1 - LEAST_SHARE)
            line = self.loc + self.scale * ndtri(inner)
            above = low - np.log1p(-inner) * self._reach(True)
            below = high + np.log(inner) * self._reach(False)
            between = low + share * (high - low)
        kind = np.isfinite(low) * 2 + np.isfinite(high)
        return np.where(kind == 3, between, np.where(kind == 2, above, np.where(kind == 1, below, line)))

    def _reach(self, above: bool) -> np.ndarray:
        """The mean distance from a lone end, of an exponential that shares its median with the prior."""
        with np.errstate(invalid="ignore"):
            gap = self.loc - self.prior.low if above else self.prior.high - self.loc
            return np.where(np.isfinite(gap) & (gap > 0), gap / math.log(2), 1.0)

    def _shares(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        prior = self.prior
        if isinstance(prior, IndependentPrior):
            columns = [(m.cdf(theta[:, i]), m.log_density(theta[:, i])) for i, m in enumerate(prior.margins)]
            return np.stack([c[0] for c in columns], axis=1), np.stack([c[1] for c in columns], axis=1)
        low, high = prior.low, prior.high
        with np.errstate(invalid="ignore", over="ignore"):
            z = (theta - self.loc) / self.scale
            line = ndtr(z), -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - np.log(self.scale)
            up, down = (theta - low) / self._reach(True), (high - theta) / self._reach(False)
            above = -np.expm1(-up), -up - np.log(self._reach(True))
            below = np.exp(-down), -down - np.log(self._reach(False))
            between = (theta - low) / (high - low), np.broadcast_to(-np.log(high - low), theta.shape)
        kind = np.isfinite(low) * 2 + np.isfinite(high)

        def chosen(place: int) -> np.ndarray:
            parts = (between[place], above[place], below[place], line[place])
            return np.where(kind == 3, parts[0], np.where(kind == 2, parts[1], np.where(kind == 1, parts[2], parts[3])))

        return chosen(0), chosen(1)


@dataclass(frozen=True)
class ObservationUnits:
    """Observations in robust units, with heavy-tailed columns bent by the inverse hyperbolic sine.

    Args:
        loc: Medians `(m,)`.
        scale: Robust scales `(m,)`, then units of the bent columns.
        spread: Standard deviations after the bend `(m,)`.
        heavy: Which columns are bent `(m,)`.
    """

    loc: np.ndarray
    scale: np.ndarray
    spread: np.ndarray
    heavy: np.ndarray

    @staticmethod
    def of(x: np.ndarray) -> ObservationUnits:
        """The units of observations `(n, m)`."""
        loc = np.median(x, axis=0)
        low, high = np.quantile(x, [0.16, 0.84], axis=0)
        deviation = x.std(axis=0)
        scale = np.where(high > low, 0.5 * (high - low), np.where(deviation > 0, deviation, 1.0))
        heavy = (np.abs(x - loc) / scale).max(axis=0) > HEAVY
        plain = ObservationUnits(loc, scale, np.ones(x.shape[1]), heavy)
        bent = plain.to(x)
        spread = bent.std(axis=0)
        return ObservationUnits(loc, scale, np.where(spread > 0, spread, 1.0), heavy)

    def to(self, x: np.ndarray) -> np.ndarray:
        """Observations `(*batch, m)` in these units."""
        z = (np.asarray(x, np.float64) - self.loc) / self.scale
        z = np.where(self.heavy, np.arcsinh(z), z) / self.spread
        return np.clip(z, -FURTHEST, FURTHEST)

    def back(self, z: np.ndarray) -> np.ndarray:
        """Observations of numbers in these units."""
        z = np.asarray(z, np.float64) * self.spread
        return np.where(self.heavy, np.sinh(z), z) * self.scale + self.loc

    def log_slope(self, x: np.ndarray) -> np.ndarray:
        """The logarithm of the slope of each number's map, `(*batch, m)`."""
        z = (np.asarray(x, np.float64) - self.loc) / self.scale
        return np.where(self.heavy, -0.5 * np.log1p(z**2), 0.0) - np.log(self.scale * self.spread)

    def to_json(self) -> dict[str, Any]:
        """The numbers as lists."""
        parts = {"loc": self.loc, "scale": self.scale, "spread": self.spread}
        return {**{name: part.tolist() for name, part in parts.items()}, "heavy": [bool(b) for b in self.heavy]}

    @staticmethod
    def from_json(stored: dict[str, Any], size: int) -> ObservationUnits:
        """The units that `to_json` gave, of observations of `size` numbers.

        Raises:
            ValueError: They are units of other observations.
        """
        loc, scale, spread = (np.array(stored[name], np.float64) for name in ("loc", "scale", "spread"))
        found = ObservationUnits(loc, scale, spread, np.array(stored["heavy"], bool))
        shapes = {part.shape for part in (found.loc, found.scale, found.spread, found.heavy)}
        if shapes != {(size,)} or not all(np.isfinite(part).all() for part in (loc, scale, spread)):
            raise ValueError(f"the units are not those of observations of {size} numbers")
        return found
