"""The tails of the single columns: how rarely ordinary rows have such a number, or such a level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pushforward._checks import message
from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.features import RowFeatures, vector
from pushforward.anomalies.scores.weighting import positive_rows
from pushforward.io.errors import UntrustedModelError

Joined = Literal["sum", "largest"]
# Rows whose numbers are kept.
MOST = 4096


@dataclass(frozen=True)
class ColumnTails(AbstractScore):
    r"""The surprise of the single columns, $-\log 2 \min(\hat F_j(x_j), 1 - \hat F_j(x_j))$, joined over the columns.

    It sees no dependence between columns, and therefore needs few rows. A level or a missing cell counts by its
    frequency.

    Args:
        joined: `"largest"` takes the most unusual column, `"sum"` adds all of them.

    Source: Li, Zhao, Hu, Botta, Ionescu, Chen, 2022, ECOD, arXiv 2201.00382.

    Example:
        >>> import numpy as np
        >>> from pushforward.anomalies import ColumnTails
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> usual, unusual = ColumnTails().fit(x)(np.array([[0.0, 0.0], [0.0, 6.0]]))
        >>> bool(usual < unusual)
        True
    """

    joined: Joined = "sum"

    def __post_init__(self):
        if self.joined not in ("sum", "largest"):
            fix = "The default is 'sum'."
            raise ValueError(message("ColumnTails", "joined 'sum' or 'largest'", repr(self.joined), fix))

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> ColumnTailsScore:
        features = RowFeatures.of(X)
        kept = positive_rows(weights, len(features(X)), MOST, random_state)
        return ColumnTailsScore(features, np.sort(features(X)[kept], axis=0), self.joined)


@dataclass(frozen=True)
class ColumnTailsScore(FittedScore):
    """The surprise of the single columns; see `ColumnTails`.

    Args:
        features: Features of rows.
        ordered: The features of the rows of the fit, each ascending `(r, m)`.
        joined: How the columns are joined.
    """

    features: RowFeatures
    ordered: np.ndarray
    joined: Joined

    def __call__(self, X: Any) -> np.ndarray:
        rows, strange = self.features.with_strange(X)
        n, total = len(self.ordered), np.zeros(len(rows))
        number = self.features.is_number
        for j, (own, found) in enumerate(zip(self.ordered.T, rows.T, strict=True)):
            # The row itself counts once on each side, so that a row of the fit is scored by the others.
            up_to = np.searchsorted(own, found, side="right") + 1
            since = n - np.searchsorted(own, found, side="left") + 1
            if number[j]:
                surprise = -np.log(np.minimum(1.0, 2 * np.minimum(up_to, since) / (n + 2)))
            else:  # a coordinate of levels or of a circle: only being there says something
                surprise = np.where(found > 0, -np.log(np.minimum(1.0, since / (n + 1))), 0.0)
            total = total + surprise if self.joined == "sum" else np.maximum(total, surprise)
        return np.where(strange, np.inf, total)

    def describe(self) -> str:
        how = "the sum over" if self.joined == "sum" else "the largest of"
        return f"{how} the columns of minus the logarithm of the share of ordinary rows that lie farther out"

    def to_parts(self) -> ScoreParts:
        settings = {"joined": self.joined, "features": self.features.to_settings()}
        return ScoreParts("column_tails", settings, {"ordered": self.ordered, **self.features.to_arrays()})

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> ColumnTailsScore:
        arrays = dict(parts.arrays)
        if set(parts.settings) != {"joined", "features"} or parts.settings["joined"] not in ("sum", "largest"):
            raise UntrustedModelError("the score column_tails: expected the settings joined and features.")
        ordered = vector(arrays, "ordered", 2)
        features = RowFeatures.from_stored(parts.settings["features"], arrays)
        if ordered.shape[1] != len(features.is_number) or (np.diff(ordered, axis=0) < 0).any():
            raise UntrustedModelError("the score column_tails: the numbers of the columns are not in ascending order.")
        return cls(features, ordered, parts.settings["joined"])
