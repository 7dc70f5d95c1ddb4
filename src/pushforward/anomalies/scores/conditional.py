"""The largest surprise of a column given all the others: one wrong cell makes a row unusual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.features import RowFeatures
from pushforward.anomalies.lines import Line
from pushforward.anomalies.scores.flows import fitted_density
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity

# Of the 1001 points of a mesh so many-th one is kept: 63 of them.
EVERY = 16


@dataclass(frozen=True)
class ConditionalSurprise(AbstractScore):
    r"""$\max_j \left(\log \max_y p(y \mid x_{-j}) - \log p(x_j \mid x_{-j})\right)$, in nats.

    Each column is left out in turn and compared with the most probable value given the others, so that the units of the
    columns, and how wide they are, do not matter. The density along a column is known at 63 points.

    Args:
        density: Estimator whose settings the fit takes; None is `FlowDensity(verify=False)`.

    Cost: 63 densities, or as many as there are levels, for each cell.

    Source: Paulheim, Meusel, 2015, attribute-wise learning, doi 10.1007/s10994-015-5507-y.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import ConditionalSurprise
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=5, n_members=1, verify=False)
        >>> usual, unusual = ConditionalSurprise(flow).fit(x)(np.array([[0.0, 0.0], [9.0, 0.0]]))
        >>> bool(usual < unusual)
        True
    """

    density: FlowDensity | None = None

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> ConditionalScore:
        features = RowFeatures.of(X)
        return ConditionalScore(fitted_density(self.density, features, X, weights, random_state), features)


@dataclass(frozen=True)
class ConditionalScore(FittedScore):
    """The largest surprise of a column given the others; see `ConditionalSurprise`.

    Args:
        density: Fitted density without conditions.
        features: Features of the rows, which say what the density takes.
    """

    density: FlowDensity
    features: RowFeatures

    def __call__(self, X: Any) -> np.ndarray:
        encoded, _ = self.density.encode(self.rows_for_density(X))
        model = self.density.model_
        own = model.score_encoded(encoded, None).log_prob - encoded.within
        largest = np.zeros(len(own))
        for i in range(len(model.layout.columns)):
            line = Line.of(model.layout, i, EVERY)
            for part in line.parts(len(own)):
                nats = line.surprises(self.density, encoded.rows[part], own[part]).nats
                largest[part] = np.maximum(largest[part], nats)
        return largest

    def rows_for_density(self, X: Any) -> Any:
        """The rows as the density takes them.

        Args:
            X: Rows as for the call.
        """
        return self.features.rows_for_density(X)

    def describe(self) -> str:
        return f"the largest surprise of a column given the others under the flow {self.density.config_['flow']}"

    def to_parts(self) -> ScoreParts:
        own = self.features
        return ScoreParts("conditional", own.to_settings(), own.to_arrays(), {"density": self.density})

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> ConditionalScore:
        if set(parts.densities) != {"density"} or parts.densities["density"].given_:
            raise UntrustedModelError("the score conditional: expected one density without conditions.")
        return cls(parts.densities["density"], RowFeatures.from_stored(parts.settings, parts.arrays))
