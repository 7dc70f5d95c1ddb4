"""Shape and Trend of synthetic rows: how alike columns are, one by one and in pairs, beside what chance alone gives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from pushforward.metrics._arrays import choose, generator, vector
from pushforward.metrics.marginal import KINDS, Kind

# Bins of numbers in pairs with levels, over the range of the data, as SDMetrics has them.
BINS = 10
# Rows of each side that are looked at; 50,000 tell an error of 1 % from chance many times over.
MOST_ROWS = 50_000
# Columns whose pairs are looked at: their number grows with the square.
MOST_COLUMNS = 100
# How often the sides are dealt anew to see what chance gives, and the work, rows times pairs, above which less often.
N_NULL, LEAST_NULL, WORK = 20, 5, 2e8
LEVEL = 0.01
# Columns or pairs that a sentence names.
NAMED = 3


@dataclass(frozen=True)
class Similarity:
    """How alike data and samples are, and how alike two halves of one source would be.

    Args:
        what: `"Shape"` for columns, `"Trend"` for pairs of columns.
        error: Mean of `errors`: one less SDMetrics' score, 0 where data and samples agree entirely.
        chance: Mean error of as many rows where data and samples are shuffled together.
        chance_sd: Its standard deviation, by which `error` would vary too if both had one source.
        p_value: Probability of an error this large if both have one source.
        errors: Error of each column, by its name, or of each pair, by both names; NaN where there is none.
        beyond: By how many standard deviations each error exceeds what chance gives.
        rows: Rows of data and of samples that were looked at.
        sentence: The result as a sentence.
    """

    what: str
    error: float
    chance: float
    chance_sd: float
    p_value: float
    errors: dict[Any, float]
    beyond: dict[Any, float]
    rows: tuple[int, int]
    sentence: str

    @property
    def worst(self) -> tuple[Any, ...]:
        """Names of the columns or pairs, the largest error first; those without one are left out."""
        known = [name for name, error in self.errors.items() if not math.isnan(error)]
        return tuple(sorted(known, key=lambda name: -self.errors[name]))


def similarity(
    data: Mapping[str, Any],
    samples: Mapping[str, Any],
    kinds: Mapping[str, Kind] | None = None,
    *,
    seed: int = 0,
    n_null: int = N_NULL,
) -> tuple[Similarity, Similarity]:
    r"""Compare columns (Shape) and pairs of columns (Trend) by the definitions of SDMetrics.

    Shape, the error of a column without its gaps: numbers $\sup_x |F(x) - G(x)|$ (one less `KSComplement`), levels
    $\frac12 \sum_k |p_k - q_k|$ (one less `TVComplement`). Trend, the error of a pair: two columns of numbers
    $\frac12 |r - r'|$ with Pearson's correlations of the rows that have both (one less `CorrelationSimilarity`), others
    $\frac12 \sum_{kl} |p_{kl} - q_{kl}|$ (one less `ContingencySimilarity`), where numbers are cut into ten bins of
    equal width over the range of the data, and gaps are a level. A circle has no linear correlation, so that it is
    binned in every pair. Both figures are means over columns and over pairs.

    What chance alone gives depends on the number of rows and of levels. It is found by shuffling data and samples
    together, `n_null` times, and the error is compared with it as in `c2st`.

    Cost: $(d^2 / 2) (n + m)$ counts, times `n_null`; more than 50,000 rows of a side or the pairs of more than 100
    columns are sampled, and work beyond 2e8 counts is held by fewer shuffles.

    Args:
        data: Columns `(n,)` by name: numbers, or codes of levels; NaN is a gap.
        samples: Columns `(m,)` of the same names.
        kinds: Kind of each column, `"numeric"`, `"category"` or `"circular"`; one that is not named is numeric.
        seed: Seed of the shuffles and of the choice of rows.
        n_null: Number of shuffles.

    Returns:
        Shape and Trend; Trend has no errors where there is one column.

    Raises:
        ValueError: Columns differ, a column is empty, or holds infinities.
        TypeError: The seed is no integer.

    Source: SDMetrics, `QualityReport`: Column Shapes and Column Pair Trends, docs.sdv.dev/sdmetrics.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import similarity
        >>> x = np.random.default_rng(0).normal(size=(500, 2))
        >>> data = {"a": x[:, 0], "b": x[:, 0] + 0.1 * x[:, 1]}
        >>> shape, trend = similarity(data, {"a": data["a"][::-1], "b": data["b"]})
        >>> shape.error, trend.error > 0.3
        (0.0, True)
    """
    rng = generator("similarity", seed)
    kinds = _checked(data, samples, kinds or {})
    if n_null < 2:
        raise ValueError(f"similarity: expected n_null >= 2, got {n_null}. The usual is {N_NULL}.")
    names = list(kinds)
    sides = [{name: vector(f"similarity: {name}", side[name]) for name in names} for side in (data, samples)]
    sizes = [len(side[names[0]]) for side in sides]
    for side, size in zip(sides, sizes, strict=True):
        for name, column in side.items():
            vector(f"similarity: {name}", column, size)
    chosen = [choose(rng, size, MOST_ROWS) for size in sizes]
    n, m = map(len, chosen)
    pooled = {
        name: np.concatenate([side[name][own] for side, own in zip(sides, chosen, strict=True)]) for name in names
    }
    wild = [name for name, column in pooled.items() if np.isinf(column).any()]
    if wild:
        raise ValueError(f"similarity: expected finite values or NaN, got infinity in {wild}. Leave these rows out.")
    paired = [names[i] for i in choose(rng, len(names), MOST_COLUMNS)]
    times = min(n_null, max(LEAST_NULL, int(WORK / ((n + m) * max(1, len(paired) ** 2 / 2)))))
    # The first deal is the true one.
    deals = np.stack([np.arange(n + m), *(rng.permutation(n + m) for _ in range(times))]).astype(np.int32)
    shape = {name: _column_errors(pooled[name], kinds[name], deals, n) for name in names}
    trend = _pair_errors({name: pooled[name] for name in paired}, kinds, deals, n)
    return _result("Shape", shape, (n, m)), _result("Trend", trend, (n, m))


def _checked(data: Mapping[str, Any], samples: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """The kind of every column."""
    if set(data) != set(samples) or not data:
        raise ValueError(f"similarity: expected the same columns, got {list(data)[:20]} and {list(samples)[:20]}.")
    unknown = {name: kind for name, kind in kinds.items() if name not in data or kind not in KINDS}
    if unknown:
        raise ValueError(f"similarity: expected kinds {', '.join(KINDS)} of the columns, got {unknown}.")
    return {name: kinds.get(name, "numeric") for name in data}


def _column_errors(pooled: np.ndarray, kind: Kind, deals: np.ndarray, n: int) -> np.ndarray:
    """The error of a column for each deal of the pooled rows, of which the first `n` are data; NaN without values."""
    there = ~np.isnan(pooled)
    if not there[deals[0, :n]].any() or not there[deals[0, n:]].any():
        return np.full(len(deals), math.nan)
    if kind == "category":
        codes = np.unique(pooled, return_inverse=True)[1]
        return np.array([_variation(codes[there], of_data[there]) for of_data in _flags(deals, n)])
    order = np.argsort(pooled, kind="stable")[: there.sum()]  # gaps are sorted last
    ends = np.flatnonzero(np.append(np.diff(pooled[order]) != 0, True))
    errors = []
    for of_data in _flags(deals, n):
        below = np.cumsum(of_data[order])[ends]
        above = ends + 1 - below
        both = max(below[-1], 1), max(above[-1], 1)
        errors.append(np.abs(below / both[0] - above / both[1]).max())
    return np.array(errors)


def _flags(deals: np.ndarray, n: int) -> Any:
    """For each deal which pooled rows it counts as data."""
    for deal in deals:
        of_data = np.zeros(len(deal), bool)
        of_data[deal[:n]] = True
        yield of_data


def _variation(codes: np.ndarray, of_data: np.ndarray) -> float:
    """Half the sum of the absolute differences of frequencies."""
    count = int(codes.max()) + 1
    first, both = np.bincount(codes[of_data], minlength=count), np.bincount(codes, minlength=count)
    second = both - first
    return 0.5 * float(np.abs(first / max(first.sum(), 1) - second / max(second.sum(), 1)).sum())


def _pair_errors(
    pooled: dict[str, np.ndarray], kinds: Mapping[str, Kind], deals: np.ndarray, n: int
) -> dict[tuple[str, str], np.ndarray]:
    """The error of each pair of columns for each deal."""
    numbers = [name for name in pooled if kinds[name] == "numeric"]
    correlated = _correlations([pooled[name] for name in numbers], deals, n) if len(numbers) > 1 else None
    place = {name: i for i, name in enumerate(numbers)}
    codes = {name: _binned(column, kinds[name], n) for name, column in pooled.items()}
    flags = list(_flags(deals, n))
    found = {}
    for a, b in itertools.combinations(pooled, 2):
        if correlated is not None and a in place and b in place:
            found[a, b] = correlated[:, place[a], place[b]]
            continue
        joint = codes[a].astype(np.int64) * (int(codes[b].max()) + 1) + codes[b]
        if joint.max() > 4 * len(joint):  # most pairs of levels do not occur
            joint = np.unique(joint, return_inverse=True)[1]
        found[a, b] = np.array([_variation(joint, of_data) for of_data in flags])
    return found


def _binned(pooled: np.ndarray, kind: Kind, n: int) -> np.ndarray:
    """A column as codes: numbers in bins over the range of the data, the first `n` rows; gaps have the last code."""
    if kind == "category":
        codes = np.unique(pooled, return_inverse=True)[1]  # NaN is the last value, once
    else:
        data = pooled[:n][~np.isnan(pooled[:n])]
        edges = np.histogram_bin_edges(data, BINS) if len(data) else np.zeros(1)
        codes = np.where(np.isnan(pooled), len(edges) + 1, np.digitize(pooled, edges))
        # The largest value closes the last bin; SDMetrics counts it apart.
    return codes.astype(np.int32)


def _correlations(columns: list[np.ndarray], deals: np.ndarray, n: int) -> np.ndarray:
    """Half the differences of Pearson's correlations `(deals, d, d)`, each of the rows that have both numbers."""
    rows = np.stack(columns, axis=1)
    peak = np.nanmax(np.abs(rows), axis=0, initial=0.0)
    rows = rows / np.where(peak > 0, peak, 1.0)  # squares of large numbers would overflow
    there = ~np.isnan(rows)
    centre = np.where(there, rows, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    rows, there = np.where(there, rows - centre, 0.0), there.astype(float)
    errors = []
    for deal in deals:
        first, second = (_correlation(rows[part], there[part]) for part in (deal[:n], deal[n:]))
        none = np.isnan(first) & np.isnan(second)  # constant on both sides
        errors.append(np.where(none, math.nan, 0.5 * np.abs(np.nan_to_num(first) - np.nan_to_num(second))))
    return np.stack(errors)


def _correlation(rows: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Pearson's correlations of rows whose gaps are 0, over the rows that have both; NaN where one does not vary."""
    count = there.T @ there
    total, squares, cross = rows.T @ there, (rows**2).T @ there, rows.T @ rows
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = squares - total**2 / count
        product = cross - total * total.T / count
        scale = np.sqrt(spread * spread.T)
        varies = (spread > 1e-12 * squares) & (spread.T > 1e-12 * squares.T)
        return np.where(varies, np.clip(product / scale, -1, 1), math.nan)


def _result(what: str, errors: dict[Any, np.ndarray], rows: tuple[int, int]) -> Similarity:
    """Means over columns or pairs, beside those of the shuffled deals."""
    own = {name: float(values[0]) for name, values in errors.items()}
    known = [values for values in errors.values() if not np.isnan(values[0])]
    if not known:
        gone = f"{what}: there is {'no column' if what == 'Shape' else 'no pair of columns'} to compare."
        return Similarity(what, math.nan, math.nan, math.nan, 1.0, own, {}, rows, gone)
    means = np.nanmean(np.stack(known), axis=0)
    null = means[1:]
    chance, spread = float(null.mean()), float(null.std(ddof=1))
    error = float(means[0])
    p_value = _p_value(error, null)
    beyond = {name: _beyond(values) for name, values in errors.items()}
    result = Similarity(what, error, chance, spread, p_value, own, beyond, rows, "")
    return Similarity(**{**vars(result), "sentence": _sentence(result)})


def _p_value(error: float, null: np.ndarray) -> float:
    """The probability of an error this large: Student's t of logarithms, for errors of chance are skewed."""
    if error <= 0 or null.min() <= 0:
        return (1 + float((null >= error).sum())) / (1 + len(null))
    logs = np.log(null)
    scale = float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(null))
    return float(stdtr(len(null) - 1, -(math.log(error) - logs.mean()) / scale)) if scale > 0 else 1.0


def _beyond(values: np.ndarray) -> float:
    """By how many standard deviations the first exceeds the mean of the others."""
    spread = float(values[1:].std(ddof=1))
    return float(values[0] - values[1:].mean()) / spread if spread > 0 else 0.0


def _sentence(found: Similarity) -> str:
    what = "columns" if found.what == "Shape" else "pairs of columns"
    count = sum(not math.isnan(error) for error in found.errors.values())
    figures = (
        f"{found.what}: the mean error of {count:,} {what} is {found.error:.2%}, where chance gives "
        f"{found.chance:.2%} +- {found.chance_sd:.2%} (p = {found.p_value:.2g})"
    )
    if found.p_value >= LEVEL:
        return f"{figures}: the samples cannot be told from the data by this."
    worst = [name for name in found.worst if found.beyond[name] > 3][:NAMED]
    named = ", ".join(f"{_named(name)} {found.errors[name]:.2%}" for name in worst)
    return f"{figures}{f'; the largest: {named}' if named else ''}."


def _named(name: Any) -> str:
    return name if isinstance(name, str) else " and ".join(name)
