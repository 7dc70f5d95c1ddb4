"""Scores in the latent space of a flow: how far the latent lies from 0, and how typical its surprise is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.features import RowFeatures
from pushforward.anomalies.scores.flows import fitted_density, latents_of
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity

DENSITY = "density"


@dataclass(frozen=True)
class LatentNorm(AbstractScore):
    r"""The length $\|z\|$ of the latent of a row, which is a draw of a standard normal if the flow is right.

    It leaves out the log-determinant, so that it does not depend on the units of the columns. Columns of levels have no
    latent.

    Args:
        density: Estimator whose settings the fit takes; None is `FlowDensity(verify=False)`.

    Source: Kirichenko, Izmailov, Wilson, 2020, sec. 4, arXiv 2006.08545, for what latents say of unusual rows.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import LatentNorm
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = pf.FlowDensity(n_layers=2, width=8, max_epochs=5, verify=False)
        >>> usual, unusual = LatentNorm(flow).fit(x)(np.array([[0.0, 0.0], [9.0, 9.0]]))
        >>> bool(usual < unusual)
        True
    """

    density: FlowDensity | None = None

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> LatentScore:
        return _fitted(self.density, X, weights, random_state, "latent_norm")


@dataclass(frozen=True)
class LargestLatent(AbstractScore):
    r"""The largest latent $\max_j |z_j|$ of a row: one column that is unusual given those before it is enough.

    Args:
        density: Estimator whose settings the fit takes; None is `FlowDensity(verify=False)`.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import LargestLatent
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = pf.FlowDensity(n_layers=2, width=8, max_epochs=5, verify=False)
        >>> usual, unusual = LargestLatent(flow).fit(x)(np.array([[0.0, 0.0], [9.0, 0.0]]))
        >>> bool(usual < unusual)
        True
    """

    density: FlowDensity | None = None

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> LatentScore:
        return _fitted(self.density, X, weights, random_state, "largest_latent")


def _fitted(
    density: FlowDensity | None, X: Any, weights: np.ndarray | None, random_state: int, name: str
) -> LatentScore:
    features = RowFeatures.of(X)
    return LatentScore(fitted_density(density, features, X, weights, random_state), features, name)


@dataclass(frozen=True)
class LatentScore(FittedScore):
    """The length or the largest number of the latents; see `LatentNorm` and `LargestLatent`.

    Args:
        density: Fitted density without conditions.
        features: Features of the rows, which say what the density takes.
        name: Name of the score.
    """

    density: FlowDensity
    features: RowFeatures
    name: str

    WORDS: ClassVar = {"latent_norm": "the length of the latent", "largest_latent": "the largest latent"}

    def __call__(self, X: Any) -> np.ndarray:
        latents = latents_of(self.density, self.rows_for_density(X))
        if not latents.shape[1]:
            return np.zeros(len(latents))
        if self.name == "latent_norm":
            return np.sqrt((latents**2).sum(axis=1))
        return np.abs(latents).max(axis=1)

    def rows_for_density(self, X: Any) -> Any:
        """The rows as the density takes them.

        Args:
            X: Rows as for the call.
        """
        return self.features.rows_for_density(X)

    def describe(self) -> str:
        return f"{self.WORDS[self.name]} of a row under the flow {self.density.config_['flow']}, in standard deviations"

    def to_parts(self) -> ScoreParts:
        return ScoreParts(self.name, self.features.to_settings(), self.features.to_arrays(), {DENSITY: self.density})

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> LatentScore:
        if set(parts.densities) != {DENSITY} or parts.name not in cls.WORDS:
            raise UntrustedModelError(f"the score {parts.name}: expected one density.")
        features = RowFeatures.from_stored(parts.settings, parts.arrays)
        return cls(parts.densities[DENSITY], features, parts.name)
