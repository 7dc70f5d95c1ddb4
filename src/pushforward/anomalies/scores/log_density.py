"""The simplest score: the negative log-density of a flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.columns import VaryingColumns
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity

DENSITY, KEPT, VALUES = "density", "varying", "constants"


@dataclass(frozen=True)
class NegativeLogDensity(AbstractScore):
    r"""The surprise of a row, $-\log p(x)$ in nats, under a flow that is fitted to the rows.

    Unusual is what is improbable in the units of the data, and what differs where all rows of the fit agreed. Where a
    table has many columns of levels, or numbers that are rounded coarsely, ordinary rows are improbable too, and other
    scores do better.

    Args:
        density: Estimator whose settings the fit takes; None is `FlowDensity(verify=False)`.

    Source: Bishop, 1994, Novelty detection and neural network validation, doi 10.1049/ip-vis:19941330.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import NegativeLogDensity
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = pf.FlowDensity(n_layers=2, width=8, max_epochs=5, verify=False)
        >>> score = NegativeLogDensity(flow).fit(x, random_state=0)
        >>> usual, unusual = score(np.array([[0.0, 0.0], [9.0, 9.0]]))
        >>> bool(usual < unusual)
        True
    """

    density: FlowDensity | None = None
    misled_by_levels: ClassVar[bool] = True

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> NegativeLogDensityScore:
        density: Any = FlowDensity(verify=False) if self.density is None else clone(self.density)
        varying = VaryingColumns.of(X)
        density.set_params(random_state=random_state).fit(varying.take(X), sample_weight=weights)
        return NegativeLogDensityScore(density, varying)


@dataclass(frozen=True)
class NegativeLogDensityScore(FittedScore):
    """The negative log-density of a fitted flow; see `NegativeLogDensity`.

    Args:
        density: Fitted density without conditions.
        varying: Which columns of an array it has; the others never varied in the fit.
    """

    density: FlowDensity
    varying: VaryingColumns

    def __call__(self, X: Any) -> np.ndarray:
        encoded, condition = self.density.encode(self.varying.take(X))
        scores = -self.density.model_.score_encoded(encoded, condition).log_prob
        if encoded.strange is not None:
            scores = np.where(encoded.strange, np.inf, scores)
        return self.varying.with_strange(X, scores)

    def rows_for_density(self, X: Any) -> Any:
        """The rows as the density takes them.

        Args:
            X: Rows as for the call.
        """
        return self.varying.take(X)

    def describe(self) -> str:
        return f"the negative log-density of the flow {self.density.config_['flow']}, in nats"

    def to_parts(self) -> ScoreParts:
        return ScoreParts("log_density", arrays=self.varying.to_arrays(), densities={DENSITY: self.density})

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> NegativeLogDensityScore:
        if set(parts.densities) != {DENSITY} or parts.settings:
            raise UntrustedModelError("the score log_density: expected one density and no settings.")
        return cls(parts.densities[DENSITY], VaryingColumns.from_arrays(parts.arrays))
