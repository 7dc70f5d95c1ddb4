"""Detection: how well a classifier that has seen both tells samples from data, by SDMetrics' definition."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pushforward.metrics._arrays import choose, generator, matrix, one_thread
from pushforward.metrics.two_sample import MOST_BINS, codes

Learner = Literal["logistic", "boosting"]
LEARNERS: dict[Learner, str] = {"logistic": "Logistic regression", "boosting": "Gradient boosting"}
# Rows of each side that the classifier sees.
MOST_ROWS = 50_000
FOLDS = 3
# Standard errors above chance from which samples count as told from the data.
ERRORS = 3.0
# Words for a score, from the best.
WORDS = ((0.95, "hardly ever"), (0.8, "sometimes"), (0.5, "often"), (-math.inf, "mostly"))


@dataclass(frozen=True)
class DetectionScore:
    r"""How well a classifier tells samples from data.

    Args:
        learner: `"logistic"` or `"boosting"`.
        score: One less the mean over folds of $2 \max(A, 1/2) - 1$ with the area $A$ under the ROC curve: 1 if samples
            cannot be told, 0 if they always can.
        standard_error: Of `score`.
        auc: Mean area over the folds.
        auc_error: Its standard error if both have one source.
        rows: Rows of data and of samples that were used.
        told: Whether the area is above one half by more than three standard errors.
        sentence: The result as a sentence.
    """

    learner: Learner
    score: float
    standard_error: float
    auc: float
    auc_error: float
    rows: tuple[int, int]
    told: bool
    sentence: str


def detection_score(
    data: Any, samples: Any, *, learner: Learner = "logistic", categorical: Sequence[int] = (), seed: int = 0
) -> DetectionScore:
    r"""Let a classifier learn to tell samples from data, and see how well it does on rows left out.

    $S = 1 - \frac13 \sum_f (2 \max(A_f, 1/2) - 1)$ over three stratified folds, with $A_f$ the area under the ROC curve
    on the fold left out. `"logistic"` is SDMetrics' `LogisticDetection`: levels as indicators, gaps of numbers as their
    mean, each number less its median over its interquartile range, logistic regression with scikit-learn's defaults. It
    sees differences of columns alone, however their dependence is broken. `"boosting"` are boosted trees with
    scikit-learn's defaults, which see dependence and gaps too. The standard error of an area is Hanley and McNeil's.

    Cost: three fits to two thirds of the rows, at most 50,000 of each side.

    Args:
        data: Rows `(n, d)`; NaN is a gap.
        samples: Rows `(m, d)`, as many as there are rows of data if figures are to be compared with published ones.
        learner: `"logistic"` or `"boosting"`.
        categorical: Numbers of the columns that hold codes of levels, not amounts.
        seed: Seed of the folds and of the choice of rows.

    Raises:
        ValueError: Shapes do not fit, a side has infinities or fewer than 6 rows, or the learner is unknown.
        TypeError: The seed is no integer.

    Source: SDMetrics, `single_table/detection`; Hanley and McNeil, 1982, Radiology 143.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import detection_score
        >>> rng = np.random.default_rng(0)
        >>> detection_score(rng.normal(size=(300, 2)), rng.normal(2, 1, (300, 2))).score < 0.2
        True
    """
    if learner not in LEARNERS:
        raise ValueError(f"detection_score: expected learner {' or '.join(map(repr, LEARNERS))}, got {learner!r}.")
    x = matrix("detection_score: data", data, least=2 * FOLDS, finite=False)
    y = matrix("detection_score: samples", samples, columns=x.shape[1], least=2 * FOLDS, finite=False)
    if np.isinf(x).any() or np.isinf(y).any():
        raise ValueError("detection_score: expected finite values or NaN, got infinity. Leave these rows out.")
    columns = [int(column) for column in categorical]
    if any(not 0 <= column < x.shape[1] for column in columns):
        raise ValueError(f"detection_score: expected categorical columns within 0 to {x.shape[1] - 1}, got {columns}.")
    rng = generator("detection_score", seed)
    x, y = x[choose(rng, len(x), MOST_ROWS)], y[choose(rng, len(y), MOST_ROWS)]
    rows, labels = np.concatenate([x, y]), np.arange(len(x) + len(y)) < len(x)
    prepared = _indicators(rows, columns) if learner == "logistic" else _codes(rows, columns)
    areas, variances, nulls = [], [], []
    with one_thread():
        for kept, left in _folds(labels, int(rng.integers(2**31))):
            score = _fitted(learner, prepared, labels, kept, columns)(left)
            area, variance, null = _area(labels[left], score)
            areas.append(area)
            variances.append(variance)
            nulls.append(null)
    auc = float(np.mean(areas))
    auc_error, error = (math.sqrt(sum(parts)) / len(parts) for parts in (nulls, variances))
    score = 1 - float(np.mean([2 * max(area, 0.5) - 1 for area in areas]))
    told = auc > 0.5 + ERRORS * auc_error
    counts = (len(x), len(y))
    sentence = _sentence(learner, score, 2 * error, auc, told, counts)
    return DetectionScore(learner, score, 2 * error, auc, auc_error, counts, told, sentence)


def _folds(labels: np.ndarray, seed: int) -> Any:
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels)


def _indicators(rows: np.ndarray, columns: list[int]) -> np.ndarray:
    """Numbers as they are, and an indicator for each level; a gap among levels is one of them."""
    numbers = [i for i in range(rows.shape[1]) if i not in set(columns)]
    parts = [rows[:, numbers]]
    for column in columns:
        own = codes(rows[:, column])
        own = np.where(np.isnan(own), -1, own)
        parts.append((own[:, None] == np.unique(own)).astype(float))
    return np.concatenate(parts, axis=1)


def _codes(rows: np.ndarray, columns: list[int]) -> np.ndarray:
    rows = rows.copy()
    for column in columns:
        rows[:, column] = codes(rows[:, column])
    return rows


def _fitted(learner: Learner, rows: np.ndarray, labels: np.ndarray, kept: np.ndarray, columns: list[int]) -> Any:
    """The scores of rows by a classifier fitted to those that are kept, as a function of their numbers."""
    import warnings

    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler

    if learner == "boosting":
        options: Any = {"categorical_features": columns or None, "early_stopping": False}
        made: Any = HistGradientBoostingClassifier(max_bins=MOST_BINS, random_state=0, **options)
    else:
        made = make_pipeline(SimpleImputer(keep_empty_features=True), RobustScaler(), LogisticRegression())
    with warnings.catch_warnings():
        # The published definition stops after 100 steps, whether or not they were enough.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = made.fit(rows[kept], labels[kept])
    return lambda left: model.decision_function(rows[left])


def _area(truth: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """The area under the ROC curve, its variance, and its variance if both classes have one distribution."""
    from sklearn.metrics import roc_auc_score

    area, n = float(roc_auc_score(truth, score)), int(truth.sum())
    m = len(truth) - n
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (first - area**2) + (m - 1) * (second - area**2)) / (n * m)
    return area, variance, (n + m + 1) / (12 * n * m)


def _sentence(learner: Learner, score: float, error: float, auc: float, told: bool, rows: tuple[int, int]) -> str:
    figures = (
        f"detection score {score:.3f} +- {error:.3f} (1: never told apart, 0: always; mean AUC {auc:.3f}, "
        f"{rows[0]:,} and {rows[1]:,} rows)"
    )
    if not told:
        return f"{LEARNERS[learner]} cannot tell the samples from the data: {figures}."
    how = next(word for least, word in WORDS if score >= least)
    return f"{LEARNERS[learner]} can {how} tell the samples from the data: {figures}."
