"""The spaces that distances between rows are measured in: the data's, that of ranks, and that of a flow's latents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import ndtri

from pushforward.anomalies.features import RowFeatures, vector
from pushforward.anomalies.scores.flows import fitted_density, latents_of
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity

Place = Literal["data", "ranks", "latent"]
# Quantiles that the ranks of a column are interpolated between, and the normal score that ranks are held to.
QUANTILES, FARTHEST_RANK = 257, 3.0
WORDS = {
    "data": "in standard deviations of the columns",
    "ranks": "with each number by its rank",
    "latent": "between the latents of a flow",
}


@dataclass(frozen=True)
class Places:
    """The map from rows to the places between which distances are measured.

    Args:
        space: Name of the space.
        features: Standard numbers of rows.
        knots: Quantiles of the numbers of the fit `(k, q)`, for ranks; empty for other spaces.
        scores: Normal scores of these quantiles `(k, q)`.
        density: Flow of the latent space, or None.
    """

    space: Place
    features: RowFeatures
    knots: np.ndarray
    scores: np.ndarray
    density: FlowDensity | None

    @property
    def words(self) -> str:
        """How distances are measured, as the end of a sentence."""
        return WORDS[self.space]

    def __call__(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The places of rows `(n, m)`, and which rows differ where all rows of the fit agreed, `(n,)`."""
        rows, strange = self.features.with_strange(X)
        if self.density is not None:
            return latents_of(self.density, self.features.rows_for_density(X)), strange
        if self.space == "ranks":
            for j, place in enumerate(np.flatnonzero(self.features.is_number)):
                rows[:, place] = np.interp(rows[:, place], self.knots[j], self.scores[j])
        return rows, strange

    def stored(self) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, FlowDensity]]:
        """The settings, the arrays and the densities that a folder holds."""
        settings = {"space": self.space, "features": self.features.to_settings()}
        own = {"knots": self.knots, "scores": self.scores} if self.space == "ranks" else {}
        densities = {} if self.density is None else {"latent": self.density}
        return settings, {**own, **self.features.to_arrays()}, densities

    @staticmethod
    def from_stored(settings: Any, arrays: dict[str, np.ndarray], densities: Mapping[str, FlowDensity]) -> Places:
        """What `stored` gave.

        Raises:
            UntrustedModelError: They are others.
        """
        if not isinstance(settings, dict) or set(settings) != {"space", "features"} or settings["space"] not in WORDS:
            raise UntrustedModelError("a score: expected the name of a space and its features.")
        space, knots, scores = settings["space"], np.zeros((0, 0)), np.zeros((0, 0))
        if space == "ranks":
            knots, scores = vector(arrays, "knots", 2), vector(arrays, "scores", 2)
        if set(densities) != ({"latent"} if space == "latent" else set()):
            raise UntrustedModelError("a score: a latent space takes one flow, and other spaces none.")
        features = RowFeatures.from_stored(settings["features"], arrays)
        rows = (int(features.is_number.sum()), QUANTILES) if space == "ranks" else (0, 0)
        if knots.shape != rows or scores.shape != rows or (np.diff(knots, axis=1) < 0).any():
            raise UntrustedModelError("a score: the quantiles of the columns do not fit the columns.")
        return Places(space, features, knots, scores, densities.get("latent"))


def place_of(
    space: Place,
    features: RowFeatures,
    X: Any,
    weights: np.ndarray | None,
    density: FlowDensity | None,
    random_state: int,
) -> Places:
    """The map of a space, learnt from the rows of a fit.

    Args:
        space: Name of the space.
        features: Features of these rows.
        X: The rows.
        weights: Weights of the rows, or None.
        density: Settings of the flow of the latent space, or None.
        random_state: Seed of its fit.
    """
    knots, scores, flow = np.zeros((0, 0)), np.zeros((0, 0)), None
    if space == "latent":
        flow = fitted_density(density, features, X, weights, random_state)
    if space == "ranks":
        numbers = features(X)[:, features.is_number]
        shares = np.linspace(0, 1, QUANTILES)
        knots = np.quantile(numbers, shares, axis=0).T
        normal = np.clip(ndtri(shares), -FARTHEST_RANK, FARTHEST_RANK)
        scores = np.stack([_mid(own, normal) for own in knots]) if len(knots) else np.zeros((0, QUANTILES))
    return Places(space, features, knots, scores, flow)


def _mid(knots: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """The normal scores of quantiles, `(q,)`, of which equal ones have the mean of theirs."""
    _, which, counts = np.unique(knots, return_inverse=True, return_counts=True)
    return (np.bincount(which, normal) / counts)[which]
