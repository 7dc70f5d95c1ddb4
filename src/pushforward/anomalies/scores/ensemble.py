"""The default: a few small flows, distances to ordinary rows and tails of columns, joined by ranks on clean rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.anomalies.base import AbstractScore, FittedScore, ScoreParts
from pushforward.anomalies.features import RowFeatures, is_table
from pushforward.anomalies.ranks import CleanRanks
from pushforward.anomalies.scores.flows import fitted_density, members_of, smoothed_density
from pushforward.anomalies.scores.latent import LatentScore
from pushforward.anomalies.scores.neighbours import Neighbours, NeighboursScore
from pushforward.anomalies.scores.tails import ColumnTails, ColumnTailsScore
from pushforward.anomalies.scores.weighting import positive_rows
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.reading.cells import read_cells

# Scores that see a row of the fit as one that they have not seen, so that the fit itself gives them their ranks.
LEAVE_ONE_OUT = (Neighbours, ColumnTails)
READERS: dict[str, type[FittedScore]] = {
    "neighbours": NeighboursScore,
    "column_tails": ColumnTailsScore,
    "largest_latent": LatentScore,
}
# Chosen once over the 13 tables of benchmarks/anomalies.py, by the mean AUROC over all of them.
CLEAN = (Neighbours("density", width=0.5), Neighbours("local", width=1.0), ColumnTails("largest"))
# Anomalies among the rows of the fit lie near each other, which a local measure takes for ordinary.
MIXED = (Neighbours("density", width=0.5), Neighbours("distance", n_neighbours=20), ColumnTails("sum"))
# Rows of the fit that give a score its ranks.
RANKED = 4096
ROUNDS = 2


@dataclass(frozen=True)
class RankEnsemble(AbstractScore):
    r"""The sum $\sum_k w_k u_k(x)$ of the surprises of several scores among ordinary rows: the default score.

    Each score is replaced by the surprise $u_k$ of its rank among ordinary rows that it has not seen (`CleanRanks`), in
    nats, so that scores of different units add up, and a row that is unusual for one of them is unusual. Distances and
    tails leave a row of the fit out of its own reference. The flows are cross-fitted: of three flows, trained at once
    with fresh noise in every step (`SmoothedLikelihood`), each has its ranks from the third of the rows that it was not
    trained on.

    Args:
        beside: Scores beside the flows, of the classes `Neighbours` and `ColumnTails`. None takes two kernel measures
            and the largest tail; with `trim`, measures that clusters of anomalies mislead less.
        density: Estimator whose settings the flows take. None is chosen by the number of rows, and has no flow with
            `trim`; False has no flow.
        trim: Share of the rows of the fit, from 0 to below 0.5, that are left out as the most unusual, in two rounds;
            for rows of which some are anomalies.

    Cost: of a fit about 15 s on two cores; of a row that of three small flows and some 6000 distances.

    Raises:
        ValueError: A share is out of bounds, or no score is left.

    Example:
        >>> import numpy as np
        >>> from pushforward.anomalies import RankEnsemble
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> usual, unusual = RankEnsemble(density=False).fit(x)(np.array([[0.0, 0.0], [6.0, 6.0]]))
        >>> bool(usual < unusual)
        True
    """

    beside: tuple[AbstractScore, ...] | None = None
    density: FlowDensity | bool | None = None
    trim: float = 0.0

    def __post_init__(self):
        others = [type(score).__name__ for score in self.beside or () if not isinstance(score, LEAVE_ONE_OUT)]
        if others:
            expected = "beside of the classes Neighbours and ColumnTails"
            fix = "Other scores have no ranks on rows that they were fitted to."
            raise ValueError(message("RankEnsemble", expected, ", ".join(others), fix))
        if not 0 <= self.trim < 0.5:
            fix = "It is the share of anomalies that the rows may hold."
            raise ValueError(message("RankEnsemble", "trim from 0 to below 0.5", repr(self.trim), fix))
        if self.beside == () and self.density is False:
            raise ValueError(message("RankEnsemble", "one score or more", "none", "Leave density at None."))

    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> RankEnsembleScore:
        table: Any = read_cells(X) if is_table(X) else np.asarray(X)
        kept = positive_rows(weights, len(table), len(table), random_state)
        own = None if weights is None else np.asarray(weights, np.float64)
        if self.trim:
            kept = self._trimmed(table, own, kept, random_state)
        table, own = _some(table, kept), None if own is None else own[kept]
        parts = self._beside(table, own, random_state)
        if self.density is not False and not (self.density is None and self.trim):
            parts += self._flows(table, own, random_state)
        return RankEnsembleScore(tuple(parts))

    def _beside(self, table: Any, weights: np.ndarray | None, random_state: int) -> list[Ranked]:
        some = _some(table, positive_rows(weights, len(table), RANKED, random_state))
        chosen = (MIXED if self.trim else CLEAN) if self.beside is None else self.beside
        fitted = [score.fit(table, weights=weights, random_state=random_state) for score in chosen]
        return [Ranked(score, CleanRanks.of(score(some), random_state), 1.0) for score in fitted]

    def _flows(self, table: Any, weights: np.ndarray | None, random_state: int) -> list[Ranked]:
        features = RowFeatures.of(table)
        if not features.is_number.any():
            return []
        chosen = self.density if isinstance(self.density, FlowDensity) else smoothed_density(len(table))
        density = fitted_density(chosen, features, table, weights, random_state)
        members = members_of(density, len(table), random_state)
        parts = []
        for member, places in members:
            score = LatentScore(member, features, "largest_latent")
            parts.append(Ranked(score, CleanRanks.of(score(_some(table, places)), random_state), 1 / len(members)))
        return parts

    def _trimmed(self, table: Any, weights: np.ndarray | None, kept: np.ndarray, random_state: int) -> np.ndarray:
        """The places of the rows that are left when the most unusual ones for distances and tails are left out."""
        every = kept
        for _ in range(ROUNDS):
            own = None if weights is None else weights[kept]
            parts = self._beside(_some(table, kept), own, random_state)
            scores = RankEnsembleScore(tuple(parts))(_some(table, every))
            most = max(round((1 - self.trim) * len(every)), 2)
            kept = np.sort(every[np.argsort(scores, kind="stable")[:most]])
            if isinstance(table, np.ndarray):
                kept = _with_variation(table, kept, every)
        return kept


@dataclass(frozen=True)
class Ranked:
    """A fitted score with its ranks on ordinary rows.

    Args:
        score: The score.
        ranks: Its ranks on rows that it has not seen.
        weight: Its weight in the sum, positive.
    """

    score: FittedScore
    ranks: CleanRanks
    weight: float


@dataclass(frozen=True)
class RankEnsembleScore(FittedScore):
    """The sum of the surprises of several fitted scores; see `RankEnsemble`.

    Args:
        parts: The scores.
    """

    parts: tuple[Ranked, ...]

    def __call__(self, X: Any) -> np.ndarray:
        table = read_cells(X) if is_table(X) else X
        total: Any = 0.0
        for part in self.parts:
            total = total + part.weight * part.ranks(part.score(table))
        return total

    def each(self, X: Any) -> dict[str, np.ndarray]:
        """The surprise of each row by what it comes from, `(n,)` nats each: their sum is the score.

        Args:
            X: Rows as for the call.
        """
        found: dict[str, np.ndarray] = {}
        for part in self.parts:
            words = part.score.describe()
            found[words] = found.get(words, 0.0) + part.weight * part.ranks(part.score(X))
        return found

    def describe(self) -> str:
        words = list(dict.fromkeys(part.score.describe() for part in self.parts))
        return "the sum of the surprises, by their ranks on ordinary rows, of: " + "; ".join(words)

    def to_parts(self) -> ScoreParts:
        settings, arrays, densities = [], {}, {}
        for i, part in enumerate(self.parts):
            own = part.score.to_parts()
            settings.append({"name": own.name, "weight": part.weight, "settings": dict(own.settings)})
            arrays |= {f"{i}_{name}": array for name, array in own.arrays.items()}
            arrays[f"{i}_ranks"] = part.ranks.ordered
            densities |= {f"{i}_{name}": density for name, density in own.densities.items()}
        return ScoreParts("ensemble", {"parts": settings}, arrays, densities)

    @classmethod
    def from_parts(cls, parts: ScoreParts) -> RankEnsembleScore:
        records = parts.settings.get("parts") if set(parts.settings) == {"parts"} else None
        if not isinstance(records, list) or not records:
            raise UntrustedModelError("the score ensemble: expected a list of its parts.")
        return cls(tuple(_ranked(record, i, parts) for i, record in enumerate(records)))


def _ranked(record: Any, i: int, parts: ScoreParts) -> Ranked:
    good = isinstance(record, dict) and set(record) == {"name", "weight", "settings"} and record["name"] in READERS
    weight = record["weight"] if good else None
    if not isinstance(weight, float) or not 0 < weight <= 1:
        raise UntrustedModelError(f"the score ensemble: part {i} is none of {', '.join(READERS)} with a weight.")
    start = f"{i}_"
    arrays = {name[len(start) :]: array for name, array in parts.arrays.items() if name.startswith(start)}
    densities = {name[len(start) :]: density for name, density in parts.densities.items() if name.startswith(start)}
    ranks = arrays.pop("ranks", None)
    if ranks is None or ranks.ndim != 1 or ranks.dtype.kind != "f" or not np.isfinite(ranks).all():
        raise UntrustedModelError(f"the score ensemble: part {i} has no ranks.")
    own = ScoreParts(record["name"], record["settings"], arrays, densities)
    return Ranked(READERS[record["name"]].from_parts(own), CleanRanks.from_array(ranks), weight)


def _with_variation(table: np.ndarray, kept: np.ndarray, every: np.ndarray) -> np.ndarray:
    """The kept rows, and those without which a column that varies would be constant: no row is strange for a few."""
    first = table[kept[0]]
    still = (table[kept] == first).all(axis=0)
    differs = (table[every][:, still] != first[still]).any(axis=1)
    return np.union1d(kept, every[differs])


def _some(table: Any, places: Sequence[int] | np.ndarray) -> Any:
    """Rows of an array or of cells."""
    return table[places] if isinstance(table, np.ndarray) else table.take(np.asarray(places))
