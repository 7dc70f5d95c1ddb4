"""The classifier two-sample test of all columns at once: can a classifier tell samples from data?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from pushforward.metrics._arrays import choose, generator, groups_of_copies, matrix, one_thread

MOST_ROWS = 4000
LEAST_ROWS = 20
LEVEL = 0.01
MOST_LEVELS = 200  # levels of a categorical column that are told apart; the classifier takes 255
FEW_BINS, MOST_BINS = (
    63,
    255,
)  # bins of numeric columns alone, which is cheaper; and with categories, which need one per level
# Small trees, few of them: enough for shifts and pairwise dependence, and cheap enough to fit for every permutation.
TREES = {"max_iter": 25, "max_leaf_nodes": 8, "learning_rate": 0.15, "early_stopping": False}


@dataclass(frozen=True)
class C2ST:
    """How well a classifier tells two sets of rows apart.

    Args:
        auc: Probability that the classifier ranks a row of one set above a row of the other; chance gives 0.5.
        auc_error: Standard error of `auc` under the null hypothesis, from permuted labels.
        accuracy: Share of rows that are assigned to their set, balanced over both sets; chance gives 0.5.
        null: Values `(n_null,)` of the AUC with permuted labels.
        p_value: Probability of an AUC this high if both sets are drawn from one distribution.
        rows: Number of rows used of each set.
        copies: Number of rows set aside because they copy another row of their own set.
        sentence: The result as a sentence.
    """

    auc: float
    auc_error: float
    accuracy: float
    null: np.ndarray
    p_value: float
    rows: tuple[int, int]
    copies: int
    sentence: str


def c2st(a: Any, b: Any, *, seed: int = 0, categorical: Sequence[int] = (), folds: int = 5, n_null: int = 20) -> C2ST:
    r"""Apply the classifier two-sample test: cross-validated boosted trees, compared with permuted labels.

    The statistic is the mean over folds of the area under the ROC curve on the fold left out. The labels of all rows
    are permuted and everything is fitted anew `n_null` times, and $t = (A - \bar A_0) / (s_0 \sqrt{1 + 1 / n_0})$ is
    compared with Student's t of $n_0 - 1$ degrees of freedom: cross-validated scores of noise vary more than
    independent ones would, and permuting shows how much. One of several copies among rows of continuous numbers is
    kept in each set, and equal rows of both sets stand in one fold.

    Args:
        a: Rows `(n, d)` of the first set; NaN is a value of its own.
        b: Rows `(m, d)` of the second set.
        seed: Seed of the subsample, the folds and the permutations.
        categorical: Numbers of the columns that hold codes, not amounts.
        folds: Number of parts of the cross-validation.
        n_null: Number of permutations; with fewer than 10 the p-value is rough.

    Raises:
        ValueError: Shapes do not fit, a side has infinities or fewer than 20 distinct rows, or an argument is out of
            bounds.
        TypeError: The seed is no integer.

    Source: Lopez-Paz and Oquab, 2017, arXiv 1610.06545.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import c2st
        >>> rng = np.random.default_rng(0)
        >>> c2st(rng.normal(size=(300, 2)), rng.normal(1, 1, (300, 2)), n_null=5).p_value < 0.01
        True
    """
    x = matrix("c2st: a", a, finite=False)
    y = matrix("c2st: b", b, columns=x.shape[1], finite=False)
    if np.isinf(x).any() or np.isinf(y).any():
        raise ValueError("c2st: expected finite values or NaN, got infinity. Leave these rows out.")
    if not 2 <= folds <= LEAST_ROWS // 2 or n_null < 3:
        raise ValueError(f"c2st: expected 2 to {LEAST_ROWS // 2} folds and n_null >= 3, got {folds} and {n_null}.")
    columns = [int(column) for column in categorical]
    if any(not 0 <= column < x.shape[1] for column in columns):
        raise ValueError(f"c2st: expected categorical columns within 0 to {x.shape[1] - 1}, got {columns}.")
    rng = generator("c2st", seed)
    (x, y), group, copies = _without_copies(x, y)
    for name, side in (("a", x), ("b", y)):
        if len(side) < LEAST_ROWS:
            raise ValueError(f"c2st: {name}: expected at least {LEAST_ROWS} rows that differ, got {len(side)}.")
    left, right = choose(rng, len(x), MOST_ROWS), choose(rng, len(y), MOST_ROWS)
    rows = np.concatenate([x[left], y[right]])
    group = np.concatenate([group[: len(x)][left], group[len(x) :][right]])
    labels = np.arange(len(rows)) >= len(left)
    for column in columns:
        rows[:, column] = codes(rows[:, column])
    fold = _folds(group, labels, folds, rng)
    with one_thread():
        auc, accuracy = _cross_validate(rows, labels, fold, columns)
        null = np.array([_cross_validate(rows, rng.permutation(labels), fold, columns)[0] for _ in range(n_null)])
    error = float(null.std(ddof=1)) * math.sqrt(1 + 1 / n_null)
    # All values are equal if no split is possible at all; then nothing was found.
    p_value = float(stdtr(n_null - 1, -(auc - null.mean()) / error)) if error > 0 else 1.0
    counts = (len(left), len(right))
    return C2ST(auc, error, accuracy, null, p_value, counts, copies, _sentence(auc, error, p_value, counts, copies))


def _without_copies(x: np.ndarray, y: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, int]:
    """Both sets without copies among their own rows, a number per row that equal rows share, and the number dropped."""
    pooled = np.concatenate([x, y])
    group = groups_of_copies(np.where(np.isnan(pooled), np.inf, pooled))  # NaN would differ from itself
    if group is None:
        return (x, y), np.arange(len(pooled)), 0
    _, first = np.unique(group[: len(x)], return_index=True)
    _, second = np.unique(group[len(x) :], return_index=True)
    kept = np.concatenate([np.sort(first), len(x) + np.sort(second)])
    return (x[np.sort(first)], y[np.sort(second)]), group[kept], len(pooled) - len(kept)


def codes(column: np.ndarray) -> np.ndarray:
    """Codes 0, 1, ... in order of frequency; levels beyond the most frequent share the last one."""
    there = ~np.isnan(column)
    _, inverse, counts = np.unique(column[there], return_inverse=True, return_counts=True)
    rank = np.empty(len(counts))
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    codes = np.full(len(column), np.nan)
    codes[there] = np.minimum(rank[inverse], MOST_LEVELS)
    return codes


def _folds(group: np.ndarray, labels: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Assign a fold to each row: equal rows share a fold, and both sets are spread evenly."""
    _, group = np.unique(group, return_inverse=True)
    kind = np.zeros(group.max() + 1, int)  # 1: only in the first set, 2: only in the second, 3: in both
    np.bitwise_or.at(kind, group, np.where(labels, 2, 1))
    fold = np.empty(len(kind), int)
    for value in (1, 2, 3):
        members = rng.permutation(np.flatnonzero(kind == value))
        fold[members] = np.arange(len(members)) % folds
    return fold[group]


def _cross_validate(
    rows: np.ndarray, labels: np.ndarray, fold: np.ndarray, categorical: list[int]
) -> tuple[float, float]:
    """Mean area under the curve and balanced accuracy over the folds left out."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    codes: Any = categorical or None
    bins = MOST_BINS if categorical else FEW_BINS
    areas, right = [], []
    for k in range(fold.max() + 1):
        kept, left = fold != k, fold == k
        truth = labels[left]
        if truth.all() or not truth.any():
            continue  # a permutation of very few rows may leave one set out of a fold
        model = HistGradientBoostingClassifier(
            max_bins=bins, categorical_features=codes, class_weight="balanced", random_state=0, **TREES
        )
        score = model.fit(rows[kept], labels[kept]).decision_function(rows[left])
        areas.append(roc_auc_score(truth, score))
        right.append(balanced_accuracy_score(truth, score > 0))
    return float(np.mean(areas)), float(np.mean(right))


def _sentence(auc: float, error: float, p_value: float, rows: tuple[int, int], copies: int) -> str:
    aside = f" {copies:,} copies of other rows were set aside." if copies else ""
    figures = f"AUC {auc:.3f} +- {error:.3f} (0.5: cannot be told apart, 1: always; p = {p_value:.2g})"
    if p_value >= LEVEL:
        seen = 0.5 + 3 * error
        told = (
            f"A classifier cannot tell the two apart with {rows[0]:,} and {rows[1]:,} rows: {figures}. "
            f"It would have noticed a difference worth an AUC of about {min(seen, 1.0):.2f}."
        )
    else:
        how = "hardly" if auc < 0.6 else "often" if auc < 0.8 else "mostly"
        told = f"The two differ: a classifier can {how} tell them apart, {figures}."
    return told + aside
