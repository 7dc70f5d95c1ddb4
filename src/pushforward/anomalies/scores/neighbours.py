"""Distances to ordinary rows: near how many of them a row lies, and whether they lie nearer to each other."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array
from pushforward._vectorize import in_chunks
from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.features import RowFeatures, vector
from pushforward.anomalies.scores.spaces import Place, Places, place_of
from pushforward.anomalies.scores.weighting import positive_rows
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity

Measure = Literal["distance", "density", "local"]
SIZES = (1, 64, 512)
# Squared distances below this share of a row's squared length are 0 up to the rounding of float32.
ROUNDING = 4e-6
# The neighbour whose median distance is the unit of the kernel's width.
UNIT = 5
NARROWEST = 1e-3


@dataclass(frozen=True)
class Neighbours(AbstractScore):
    r"""How far a row is from the ordinary rows around it.

    With the distances $d_i$ to the reference rows, in standard deviations of the columns, the measures are

    - `"distance"`: the mean of the `n_neighbours` smallest $d_i$;
    - `"density"`: $-\log \hat p(x)$ with the kernel density $\hat p(x) \propto \sum_i e^{-d_i^2 / 2 h^2}$;
    - `"local"`: $\sum_i k_i \log \hat p(x_i) - \log \hat p(x)$ with $k_i \propto e^{-d_i^2 / 2 h^2}$: by how much the
      density at a row's neighbours exceeds that at the row, a smooth local outlier factor.

    The width $h$ is `width` times the median distance of a reference row to its fifth neighbour. A reference row that
    equals the scored row is left out once, so that rows of the fit are scored by the others.

    Args:
        measure: Measure of the distance.
        space: Space of the distances: `"data"`, `"ranks"` (each number by its rank in the fit, as a normal score), or
            `"latent"` (latents of a flow).
        width: Width of the kernel in its unit, positive.
        n_neighbours: Number of neighbours of the measure `"distance"`.
        n_reference: Largest number of rows that are kept as the reference, drawn at random.
        density: Estimator whose settings the flow of the latent space takes; None is `FlowDensity(verify=False)`.

    Cost: `n_reference` times the number of columns, per row.

    Raises:
        ValueError: An argument is out of bounds.

    Source: Breunig, Kriegel, Ng, Sander, 2000, LOF, doi 10.1145/335191.335388; Ramaswamy, Rastogi, Shim, 2000,
    doi 10.1145/335191.335437.

    Example:
        >>> import numpy as np
        >>> from pushforward.anomalies import Neighbours
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> usual, unusual = Neighbours().fit(x)(np.array([[0.0, 0.0], [6.0, 6.0]]))
        >>> bool(usual < unusual)
        True
    """

    measure: Measure = "density"
    space: Place = "data"
    width: float = 0.5
    n_neighbours: int = 5
    n_reference: int = 2048
    density: FlowDensity | None = None

    def __post_init__(self):
        if self.measure not in get_args(Measure):
            expected = f"measure one of {', '.join(get_args(Measure))}"
            raise ValueError(message("Neighbours", expected, repr(self.measure), "The default is 'density'."))
        if self.space not in get_args(Place):
            expected = f"space one of {', '.join(get_args(Place))}"
            raise ValueError(message("Neighbours", expected, repr(self.space), "The default is 'data'."))
        if not self.width > 0:
            raise ValueError(message("Neighbours", "width > 0", repr(self.width), "The default is 0.5."))
        check_int("Neighbours", "n_neighbours", self.n_neighbours, 1)
        check_int("Neighbours", "n_reference", self.n_reference, 2)

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> NeighboursScore:
        features = RowFeatures.of(X)
        places = place_of(self.space, features, X, weights, self.density, random_state)
        rows = places(X)[0]
        kept = positive_rows(weights, len(rows), self.n_reference, random_state)
        reference = rows[kept].astype(np.float32)
        # Rows that were drawn were drawn by their weights.
        drawn = weights is None or int((np.asarray(weights) > 0).sum()) > self.n_reference
        counts = np.ones(len(kept)) if drawn else np.asarray(weights, np.float64)[kept]
        log_counts = np.log(counts / counts.mean()).astype(np.float32)
        nearest = min(self.n_neighbours, len(kept) - 1)
        score = NeighboursScore(places, self.measure, nearest, reference, log_counts, np.zeros_like(log_counts), 1.0)
        unit = np.median(replace(score, measure="distance", n_neighbours=min(UNIT, nearest)).of_places(reference)[:, 1])
        width = max(float(unit) * self.width, NARROWEST)
        score = replace(score, width=width)
        if self.measure != "local":
            return score
        own = replace(score, measure="density").of_places(reference)[:, 0]
        return replace(score, log_densities=-own.astype(np.float32))


@dataclass(frozen=True)
class NeighboursScore(FittedScore):
    """The distance to reference rows; see `Neighbours`.

    Args:
        places: Map from rows to places `(n, m)`.
        measure: Measure of the distance.
        n_neighbours: Number of neighbours of the measure `"distance"`.
        reference: Places of the reference rows `(r, m)` float32.
        log_counts: Logarithms of the weights of these rows `(r,)`.
        log_densities: Logarithms of the density at these rows `(r,)`, for the measure `"local"`.
        width: Width of the kernel.
    """

    places: Places
    measure: Measure
    n_neighbours: int
    reference: np.ndarray
    log_counts: np.ndarray
    log_densities: np.ndarray
    width: float

    def __call__(self, X: Any) -> np.ndarray:
        places, strange = self.places(X)
        return np.where(strange, np.inf, self.of_places(places)[:, 0])

    def of_places(self, places: np.ndarray) -> np.ndarray:
        """The measure of places `(n, m)`, and for `"distance"` also the distance to the last neighbour: `(n, 2)`."""
        centre = self.reference.mean(axis=0)
        run = functools.partial(
            _measured,
            reference=jnp.asarray(self.reference - centre),
            log_counts=jnp.asarray(self.log_counts),
            log_densities=jnp.asarray(self.log_densities),
            width=jnp.float32(self.width),
            measure=self.measure,
            k=self.n_neighbours,
        )
        rows = np.asarray(places, np.float32) - centre
        return in_chunks(run, SIZES, rows).astype(np.float64)

    def describe(self) -> str:
        words = {
            "distance": f"the mean distance to the {self.n_neighbours} nearest ordinary rows",
            "density": "minus the logarithm of a kernel density of ordinary rows",
            "local": "the logarithm of the density at the neighbours of a row over that at the row",
        }
        return f"{words[self.measure]}, {self.places.words}"

    def to_parts(self) -> ScoreParts:
        own = {name: getattr(self, name) for name in ("reference", "log_counts", "log_densities")}
        settings, arrays, densities = self.places.stored()
        mine = {"measure": self.measure, "n_neighbours": self.n_neighbours, "width": self.width}
        return ScoreParts("neighbours", {**mine, "places": settings}, {**own, **arrays}, densities)

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> NeighboursScore:
        settings, arrays = dict(parts.settings), dict(parts.arrays)
        try:
            measure, k, width = (settings.pop(name) for name in ("measure", "n_neighbours", "width"))
            places = settings.pop("places")
        except KeyError as error:
            raise UntrustedModelError(f"the score neighbours: the setting {error} is missing.") from error
        reference = vector(arrays, "reference", 2)
        log_counts, log_densities = vector(arrays, "log_counts"), vector(arrays, "log_densities")
        fits = len(reference) == len(log_counts) == len(log_densities) and isinstance(k, int) and 0 < k < len(reference)
        good = isinstance(width, float) and width > 0 and measure in get_args(Measure)
        if settings or not fits or not good:
            raise UntrustedModelError("the score neighbours: its settings and arrays do not fit each other.")
        found = Places.from_stored(places, arrays, parts.densities)
        return cls(found, measure, k, reference, log_counts, log_densities, width)


@functools.partial(jax.jit, static_argnames=("measure", "k"))
def _measured(
    rows: Array,
    *,
    reference: Array,
    log_counts: Array,
    log_densities: Array,
    width: Array,
    measure: Measure,
    k: int,
) -> Array:
    lengths, others = jnp.sum(rows**2, axis=1), jnp.sum(reference**2, axis=1)
    squares = jnp.maximum(lengths[:, None] + others - 2 * rows @ reference.T, 0)
    # Of reference rows that equal a row one is left out: each of c counts as 1 - 1 / c. An argmin would take five times
    # as long as these sums.
    least = jnp.min(squares, axis=1, keepdims=True)
    equal = (squares == least) & (least <= ROUNDING * (1 + lengths[:, None]))
    share = 1 - 1 / jnp.maximum(jnp.sum(equal, axis=1, keepdims=True), 1)
    if measure == "distance":
        found = jnp.sqrt(_nearest(squares, equal, k))
        return jnp.stack([found.mean(axis=1), found[:, -1]], axis=1)
    logits = log_counts - squares / (2 * width**2) + jnp.where(equal, jnp.log(share), 0.0)
    top = jnp.max(logits, axis=1, keepdims=True)
    kernels = jnp.exp(logits - top)
    total = kernels.sum(axis=1)
    surprise = np.log(len(reference)) - top[:, 0] - jnp.log(total)
    if measure == "local":
        surprise = surprise + kernels @ log_densities / total
    return jnp.stack([surprise, surprise], axis=1)


def _nearest(squares: Array, equal: Array, k: int) -> Array:
    """The `k` smallest squared distances `(n, k)`, without one of those that are equal to a row."""
    ordered = -jax.lax.top_k(-squares, k + 1)[0]
    return jnp.where(jnp.any(equal, axis=1, keepdims=True), ordered[:, 1:], ordered[:, :-1])
