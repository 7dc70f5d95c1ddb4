"""Column by column: do the samples follow the distribution of the data?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pushforward.metrics._arrays import generator, vector
from pushforward.metrics.homogeneity import Outcome, levels, ordered

Kind = Literal["numeric", "category", "circular"]

KINDS = ("numeric", "category", "circular")
LEVEL = 0.01


@dataclass(frozen=True)
class MarginalTest:
    """Comparison of data and samples in one column.

    Args:
        kind: Kind of the column, as it was passed.
        test: `"Kolmogorov-Smirnov"`, `"Kuiper"` or `"chi-square"`.
        statistic: Statistic of the values that are not missing: the largest difference of the distribution functions,
            Kuiper's sum of both largest differences, or chi-square. NaN if either side has no values.
        p_value: Probability that data and samples differ so much by chance; missing values count too.
        method: How the p-value of the values was found.
        n_data: Number of rows of the data.
        n_samples: Number of samples.
        missing_data: Share of the data that is missing.
        missing_samples: Share of the samples that is missing.
        sentence: The result as a sentence.
    """

    kind: Kind
    test: str
    statistic: float
    p_value: float
    method: Literal["asymptotic", "permutation"]
    n_data: int
    n_samples: int
    missing_data: float
    missing_samples: float
    sentence: str


@dataclass(frozen=True)
class MarginalTests:
    """Comparison of data and samples in all columns.

    Args:
        tests: Test of each column, by its name.
        rejected: Names of the columns with p < 1 %, which chance alone gives once in a hundred columns.
        rejected_holm: Names that remain when the number of columns is accounted for (Holm), at 1 % over all columns.
        sentence: The result as a sentence.
    """

    tests: dict[str, MarginalTest]
    rejected: tuple[str, ...]
    rejected_holm: tuple[str, ...]
    sentence: str


def marginal_test(
    data_column: Any, sample_column: Any, kind: Kind = "numeric", *, seed: int = 0, period: float | None = None
) -> MarginalTest:
    r"""Test whether two columns come from one distribution.

    Numbers: Kolmogorov-Smirnov, with the p-value of the asymptotic law, or of up to 2000 permutations where values
    repeat or rows are few. Angles: Kuiper, which does not depend on where the circle is cut. Categories: chi-square,
    rare levels pooled. Missing values (NaN, None) are a state of their own: their shares are compared too, and
    $p = 1 - (1 - \min(p_1, p_2))^2$ of both.

    Args:
        data_column: Values `(n,)` of the data: numbers, or for categories anything that can be compared for equality.
        sample_column: Values `(m,)` of the samples.
        kind: Kind of the column: `"numeric"`, `"category"` or `"circular"`.
        seed: Seed of the permutations.
        period: Period of angles that are cut at different places in data and samples, such as 360.

    Raises:
        ValueError: The kind is unknown, a column is empty or has infinities, or the period is not positive.
        TypeError: The seed is no integer.

    Source: Stephens, 1965, Biometrika 52, for Kuiper's law.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import marginal_test
        >>> rng = np.random.default_rng(0)
        >>> marginal_test(rng.normal(size=2000), rng.normal(0.3, 1, size=2000)).p_value < 1e-6
        True
    """
    if kind not in KINDS:
        raise ValueError(
            f"marginal_test: expected a kind of {', '.join(KINDS)}, got {kind!r}. Categories need 'category'."
        )
    if period is not None and not (kind == "circular" and 0 < period < math.inf):
        raise ValueError(f"marginal_test: expected a period > 0 of a circular column, got {period} for {kind}.")
    rng = generator("marginal_test", seed)
    if kind == "category":
        return _category(data_column, sample_column, rng)
    sides = [vector(f"marginal_test: {name}", column) for name, column in _named(data_column, sample_column)]
    if any(np.isinf(side).any() for side in sides):
        raise ValueError("marginal_test: expected finite values or NaN, got infinity. Leave these rows out.")
    x, y = (side[~np.isnan(side)] for side in sides)
    if period is not None:
        x, y = np.mod(x, period), np.mod(y, period)
    values = ordered(x, y, rng, circular=kind == "circular") if len(x) and len(y) else None
    missing = [np.array([len(side) - there, there]) for side, there in zip(sides, (len(x), len(y)), strict=True)]
    differs = levels(missing[0], missing[1], rng)
    name = "Kuiper" if kind == "circular" else "Kolmogorov-Smirnov"
    detail = ""
    if values is not None and kind == "numeric":
        detail = f"; median {np.median(x):.4g} in the data, {np.median(y):.4g} in the samples"
    return _result(kind, name, values, differs, missing, detail)


def _category(data_column: Any, sample_column: Any, rng: np.random.Generator) -> MarginalTest:
    """Chi-square over the levels, the missing ones among them."""
    counts: dict[Any, list[int]] = {}
    sizes, missing = [0, 0], [0, 0]
    for side, (name, column) in enumerate(_named(data_column, sample_column)):
        values = np.asarray(column, object)
        if values.ndim != 1 or not len(values):
            raise ValueError(f"marginal_test: {name}: expected values of shape (n,), n >= 1, got {values.shape}.")
        sizes[side] = len(values)
        for value in values:
            level = None if _absent(value) else value
            missing[side] += level is None
            counts.setdefault(level, [0, 0])[side] += 1
    table = np.array(list(counts.values()))
    outcome = levels(table[:, 0], table[:, 1], rng)
    known = [key for key in counts if key is not None]
    new = sum(counts[key][1] for key in known if counts[key][0] == 0)
    detail = f"; {new:,} samples have levels that the data lack" if new else ""
    pairs = [np.array([gone, size - gone]) for gone, size in zip(missing, sizes, strict=True)]
    return _result("category", "chi-square", outcome, None, pairs, detail)


def _absent(value: Any) -> bool:
    """Whether a value is None, NaN or another library's missing value."""
    if value is None:
        return True
    differs = value != value  # true for NaN; the NA of pandas refuses to tell
    return bool(differs) if isinstance(differs, bool | np.bool_) else True


def _named(data_column: Any, sample_column: Any) -> tuple[tuple[str, Any], tuple[str, Any]]:
    return ("data_column", data_column), ("sample_column", sample_column)


def _result(
    kind: Kind, test: str, values: Outcome | None, missing: Outcome | None, pairs: list[np.ndarray], detail: str
) -> MarginalTest:
    """Combine the tests of values and of missing shares into one p-value and one sentence."""
    shares = [float(pair[0] / pair.sum()) for pair in pairs]
    any_missing = pairs[0][0] + pairs[1][0] > 0
    candidates = [values.p_value] if values is not None else []
    if missing is not None and any_missing:
        candidates.append(missing.p_value)
    least = min(candidates)
    p_value = least if len(candidates) == 1 else -math.expm1(2 * math.log1p(-least)) if least < 1 else 1.0
    figures = f"{test} {values.statistic:.3g}" if values is not None else "no values to compare"
    if any_missing:
        detail += f"; missing {shares[0]:.1%} in the data, {shares[1]:.1%} in the samples"
    meaning = "the samples cannot be told from the data" if p_value >= LEVEL else "the samples differ from the data"
    return MarginalTest(
        kind=kind,
        test=test,
        statistic=values.statistic if values is not None else math.nan,
        p_value=p_value,
        method=values.method if values is not None else "permutation",
        n_data=int(pairs[0].sum()),
        n_samples=int(pairs[1].sum()),
        missing_data=shares[0],
        missing_samples=shares[1],
        sentence=f"p = {p_value:.2g} ({figures}{detail}): {meaning} in this column.",
    )


def marginal_tests(
    data: Any,
    samples: Any,
    kinds: Mapping[str, Kind] | Sequence[Kind] | Kind = "numeric",
    *,
    names: Sequence[str] | None = None,
    seed: int = 0,
    periods: Mapping[str, float] | None = None,
) -> MarginalTests:
    """Apply `marginal_test` to every column, and count the columns that differ.

    Args:
        data: Rows `(n, d)`, or columns by name.
        samples: Rows `(m, d)`, or columns by the same names.
        kinds: Kind of each column, by name or in order, or one kind for all; a column that is not named is numeric.
        names: Names of the columns of arrays; None numbers them.
        seed: Seed of the permutations.
        periods: Periods of circular columns, by name.

    Raises:
        ValueError: The columns of data and samples differ, or a column cannot be tested.
        TypeError: The seed is no integer.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import marginal_tests
        >>> rng = np.random.default_rng(0)
        >>> result = marginal_tests(rng.normal(size=(500, 2)), rng.normal([0, 1], 1, (500, 2)), names=["a", "b"])
        >>> result.rejected_holm
        ('b',)
    """
    left, right = _columns("data", data, names), _columns("samples", samples, names)
    if set(left) != set(right) or not left:
        raise ValueError(f"marginal_tests: expected the same columns, got {list(left)[:20]} and {list(right)[:20]}.")
    if isinstance(kinds, str):
        kinds = dict.fromkeys(left, kinds)
    elif not isinstance(kinds, Mapping):
        if len(kinds) != len(left):
            raise ValueError(f"marginal_tests: expected {len(left)} kinds, one per column, got {len(kinds)}.")
        kinds = dict(zip(left, kinds, strict=True))
    periods = periods or {}
    unknown = (set(kinds) | set(periods)) - set(left)
    if unknown:
        raise ValueError(f"marginal_tests: expected kinds and periods of columns, got {sorted(unknown)}.")
    rng = generator("marginal_tests", seed)
    tests = {
        name: marginal_test(
            column, right[name], kinds.get(name, "numeric"), seed=int(rng.integers(2**31)), period=periods.get(name)
        )
        for name, column in left.items()
    }
    ranked = sorted(tests, key=lambda name: tests[name].p_value)
    kept = []
    for rank, name in enumerate(ranked):
        if tests[name].p_value >= LEVEL / (len(ranked) - rank):
            break
        kept.append(name)
    rejected = tuple(name for name in tests if tests[name].p_value < LEVEL)
    return MarginalTests(tests, rejected, tuple(kept), _all_columns(tests, rejected, kept))


def _columns(what: str, table: Any, names: Sequence[str] | None) -> dict[str, Any]:
    if isinstance(table, Mapping):
        return {str(name): column for name, column in table.items()}
    rows = np.asarray(table)
    if rows.ndim != 2 or (names is not None and len(names) != rows.shape[1]):
        raise ValueError(
            f"marginal_tests: {what}: expected rows (n, d) with a name per column, got shape {rows.shape}."
        )
    return dict(zip(names or map(str, range(rows.shape[1])), rows.T, strict=True))


def _all_columns(tests: dict[str, MarginalTest], rejected: tuple[str, ...], kept: list[str]) -> str:
    count = (
        f"{len(rejected)} of {len(tests)} columns differ at the 1 % level ({LEVEL * len(tests):.2g} expected by chance)"
    )
    if kept:
        shown = ", ".join(kept[:8]) + (f" and {len(kept) - 8} more" if len(kept) > 8 else "")
        return f"{count}; {shown} beyond doubt: the samples miss the distribution of the data there."
    if rejected:
        return f"{count}, none once the number of columns is accounted for: no column stands out."
    return f"{count}: column by column, the samples cannot be told from the data."
