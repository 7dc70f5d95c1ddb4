"""Log-densities that are compared: with what is typical of ordinary rows, and with a background."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.features import RowFeatures, is_table
from pushforward.anomalies.scores.flows import fitted_density
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.reading.cells import Cells, read_cells


@dataclass(frozen=True)
class Typicality(AbstractScore):
    r"""$|-\log p(x) - \hat H|$ in nats, with the mean $\hat H$ of $-\log p$ over ordinary rows that were held out.

    Rows that are too probable are unusual too, as a constant picture is among photographs.

    Args:
        density: Estimator whose settings the fit takes; None is `FlowDensity(verify=False)`.

    Source: Nalisnick, Matsukawa, Teh, Lakshminarayanan, 2019, eq. 4 for one row, arXiv 1906.02994.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import Typicality
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> flow = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=5, n_members=1, verify=False)
        >>> usual, unusual = Typicality(flow).fit(x)(np.array([[1.0, 1.0], [9.0, 9.0]]))
        >>> bool(usual < unusual)
        True
    """

    density: FlowDensity | None = None

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> ComparedScore:
        features = RowFeatures.of(X)
        density = fitted_density(self.density, features, X, weights, random_state)
        held_out = density.held_out_scores_[np.isfinite(density.held_out_scores_)]
        if not len(held_out):
            fix = "Fit the density with validation_fraction above 0."
            raise ValueError(message("Typicality.fit", "rows held out of the fit", "none", fix))
        return ComparedScore("typicality", features, {"density": density}, float(-held_out.mean()))


@dataclass(frozen=True)
class LikelihoodRatio(AbstractScore):
    r"""$\log p_0(x) - \log p(x)$ in nats, with a background flow $p_0$ of rows some of whose cells are exchanged.

    What both flows find improbable, such as a busy row among quiet ones, cancels; what is left is whether the columns
    fit each other.

    Args:
        density: Estimator whose settings both fits take; None is `FlowDensity(verify=False)`.
        exchanged: Share of the cells of a column that the background takes from other rows, above 0 and up to 1.

    Raises:
        ValueError: The share is out of bounds.

    Source: Ren, Liu, Fertig, Snoek, Poplin, DePristo, Dillon, Lakshminarayanan, 2019, eq. 5, arXiv 1906.02845.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import LikelihoodRatio
        >>> a = np.random.default_rng(0).normal(size=300)
        >>> x = np.stack([a, a + 0.2 * np.random.default_rng(1).normal(size=300)], axis=1)
        >>> flow = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=40, n_members=1, verify=False)
        >>> usual, unusual = LikelihoodRatio(flow).fit(x)(np.array([[1.0, 1.0], [1.0, -1.0]]))
        >>> bool(usual < unusual)
        True
    """

    density: FlowDensity | None = None
    exchanged: float = 0.5

    def __post_init__(self):
        if not 0 < self.exchanged <= 1:
            fix = "The default is 0.5."
            raise ValueError(message("LikelihoodRatio", "exchanged in (0, 1]", repr(self.exchanged), fix))

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> ComparedScore:
        features = RowFeatures.of(X)
        own = fitted_density(self.density, features, X, weights, random_state)
        other = _exchanged(read_cells(X) if is_table(X) else np.asarray(X), self.exchanged, random_state)
        background = fitted_density(self.density, features, other, weights, random_state)
        return ComparedScore("likelihood_ratio", features, {"density": own, "background": background}, 0.0)


@dataclass(frozen=True)
class ComparedScore(FittedScore):
    """A log-density that is compared; see `Typicality` and `LikelihoodRatio`.

    Args:
        name: Name of the score.
        features: Features of the rows, which say what the densities take.
        densities: The density, and the background of a ratio.
        typical: Mean surprise of ordinary rows in nats, for typicality.
    """

    name: str
    features: RowFeatures
    densities: dict[str, FlowDensity]
    typical: float

    def __call__(self, X: Any) -> np.ndarray:
        rows = self.features.rows_for_density(X)
        strange = self.features.with_strange(X)[1]
        surprise = -self.densities["density"].score_samples(rows)
        if self.name == "typicality":
            return np.where(strange, np.inf, np.abs(surprise - self.typical))
        return np.where(strange, np.inf, surprise + self.densities["background"].score_samples(rows))

    def describe(self) -> str:
        if self.name == "typicality":
            return f"how far the negative log-density is from {self.typical:.1f} nats, the mean of ordinary rows"
        return "the log-density of a background of exchanged cells less that of the rows, in nats"

    def to_parts(self) -> ScoreParts:
        settings = {"typical": self.typical, **self.features.to_settings()}
        return ScoreParts(self.name, settings, self.features.to_arrays(), self.densities)

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> ComparedScore:
        settings = dict(parts.settings)
        typical = settings.pop("typical", None)
        names = {"density", "background"} if parts.name == "likelihood_ratio" else {"density"}
        if set(parts.densities) != names or not isinstance(typical, float) or not math.isfinite(typical):
            raise UntrustedModelError(f"the score {parts.name}: expected {', '.join(sorted(names))} and a number.")
        return cls(parts.name, RowFeatures.from_stored(settings, parts.arrays), dict(parts.densities), typical)


def _exchanged(table: Any, share: float, random_state: int) -> Any:
    """The rows with a share of the cells of each column taken from rows drawn at random."""
    rng = np.random.default_rng(random_state)
    n = len(table)

    def sources() -> np.ndarray:
        return np.where(rng.uniform(size=n) < share, rng.integers(0, n, n), np.arange(n))

    if isinstance(table, Cells):
        columns = [column.combine_chunks().take(pa.array(sources())) for column in table.table.columns]
        return Cells(pa.table(dict(zip(table.names, columns, strict=True))), table.source, (), table.conventions)
    return np.stack([column[sources()] for column in table.T], axis=1)
