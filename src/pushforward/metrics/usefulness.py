"""Train on synthetic, test on real: is what is learned from samples as good as what is learned from data?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pushforward.metrics._arrays import choose, generator, matrix, one_thread, vector
from pushforward.metrics.two_sample import MOST_BINS, codes

# Rows that a learner sees, and rows that it is judged by.
MOST_ROWS, MOST_TEST = 50_000, 50_000
# Redraws of the test rows for the standard errors of areas and of R2.
REDRAWS = 100
# What is lost counts beyond these standard errors, which do not hold what another training set would change, and beyond
# this loss of accuracy, AUC or R2, or this share of RMSE.
ERRORS, LOSS, LOSS_OF_RMSE = 3.0, 0.01, 0.02


@dataclass(frozen=True)
class Usefulness:
    """A learner trained on samples beside one trained on data, both judged by rows that neither has seen.

    Args:
        task: `"classification"` or `"regression"`.
        figures: By the name of each figure (`accuracy` and `auc`, or `r2` and `rmse`): of the learner trained on data,
            of that trained on samples, and the standard error of their difference.
        rows: Rows of data, of samples, and of the test.
        worse: Whether training on samples loses more than three standard errors and 0.01 (2 % of RMSE) in a figure.
        sentence: The result as a sentence.
    """

    task: Literal["classification", "regression"]
    figures: dict[str, tuple[float, float, float]]
    rows: tuple[int, int, int]
    worse: bool
    sentence: str


def usefulness(
    data: tuple[Any, Any],
    samples: tuple[Any, Any],
    test: tuple[Any, Any],
    *,
    classes: bool = False,
    categorical: Sequence[int] = (),
    seed: int = 0,
) -> Usefulness:
    r"""Train boosted trees on data and on samples, and judge both by the same test rows.

    Classes: accuracy, and the area under the ROC curve, of several classes each against the others with equal weights.
    Numbers: $R^2$ and the root of the mean squared error in the units of the target. The standard error of a difference
    is that of paired rows, or of areas, $R^2$ and roots of 100 redraws of the test rows; it does not hold what another
    training set would change. As many samples as rows of data are used where there are more.

    Args:
        data: Rows `(n, d)` and targets `(n,)` of the data; NaN in rows is a gap.
        samples: Rows `(m, d)` and targets `(m,)` of the samples.
        test: Rows `(k, d)` and targets `(k,)` that were not trained on.
        classes: Whether targets are codes of classes, not amounts.
        categorical: Numbers of the columns of the rows that hold codes of levels.
        seed: Seed of choices of rows and of redraws.

    Raises:
        ValueError: Shapes do not fit, targets have gaps or infinities, or the data have one class.
        TypeError: The seed is no integer.

    Source: Esteban, Hyland, Rätsch, 2017, arXiv 1706.02633 (TSTR).

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import usefulness
        >>> x = np.random.default_rng(0).normal(size=(900, 2))
        >>> parts = [(x[i::3], x[i::3].sum(axis=1)) for i in range(3)]
        >>> usefulness(*parts).figures["r2"][1] > 0.9
        True
    """
    width = matrix("usefulness: data", data[0], finite=False).shape[1]
    names = ("data", "samples", "test")
    parts = [_part(name, part, width) for name, part in zip(names, (data, samples, test), strict=True)]
    rng = generator("usefulness", seed)
    size = min(len(parts[0][1]), MOST_ROWS)
    some = [choose(rng, len(part[1]), most) for part, most in zip(parts, (size, size, MOST_TEST), strict=True)]
    parts = [(x[rows], y[rows]) for (x, y), rows in zip(parts, some, strict=True)]
    if classes and len(np.unique(parts[0][1])) < 2:
        raise ValueError("usefulness: expected two classes or more in the data, got one. Name another target.")
    columns = [int(column) for column in categorical]
    rows = np.concatenate([part[0] for part in parts])
    for column in columns:
        rows[:, column] = codes(rows[:, column])
    ends = np.cumsum([len(part[1]) for part in parts])[:2]
    x_data, x_samples, x_test = np.split(rows, ends)
    (_, y_data), (_, y_samples), (_, y_test) = parts
    with one_thread():
        judge = _classes if classes else _numbers
        guesses = [_learnt(x, y, classes, columns) for x, y in ((x_data, y_data), (x_samples, y_samples))]
        figures = judge(guesses[0](x_test), guesses[1](x_test), y_test, np.unique(y_data), rng)
    worse = any(_lost(name, *values) for name, values in figures.items())
    counts = (len(y_data), len(y_samples), len(y_test))
    task = "classification" if classes else "regression"
    return Usefulness(task, figures, counts, worse, _sentence(figures, counts, worse))


def _part(name: str, part: tuple[Any, Any], width: int) -> tuple[np.ndarray, np.ndarray]:
    rows = matrix(f"usefulness: {name}", part[0], columns=width, finite=False)
    target = vector(f"usefulness: targets of {name}", part[1], len(rows))
    if not np.isfinite(target).all():
        raise ValueError(f"usefulness: targets of {name}: expected finite numbers. Leave rows without a target out.")
    return rows, target


def _learnt(x: np.ndarray, y: np.ndarray, classes: bool, columns: list[int]) -> Callable[[np.ndarray], Any]:
    """What boosted trees learnt: the classes they know and their probabilities, or numbers."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    known = np.unique(y)
    if classes and len(known) == 1:  # samples may have lost every other class
        return lambda rows: (known, np.ones((len(rows), 1)))
    options: Any = {"categorical_features": columns or None, "early_stopping": False}
    options |= {"max_bins": MOST_BINS, "random_state": 0}
    if classes:
        model = HistGradientBoostingClassifier(**options).fit(x, y)
        return lambda rows: (model.classes_, model.predict_proba(rows))
    number = HistGradientBoostingRegressor(**options).fit(x, y)
    return number.predict


def _classes(
    first: Any, second: Any, truth: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    right = [own[0][own[1].argmax(axis=1)] == truth for own in (first, second)]
    error = float(np.std(right[0].astype(float) - right[1])) / math.sqrt(len(truth))
    found = {"accuracy": (float(right[0].mean()), float(right[1].mean()), error)}
    chances = [_of_known(own, known) for own in (first, second)]
    found["auc"] = _redrawn(lambda at, i: _area(truth[at], chances[i][at], known), len(truth), rng)
    return found


def _of_known(own: tuple[np.ndarray, np.ndarray], known: np.ndarray) -> np.ndarray:
    """Probabilities of the classes of the data; 0 where a learner does not know one."""
    chances = np.zeros((len(own[1]), len(known)))
    for place, label in enumerate(known):
        at = np.flatnonzero(own[0] == label)
        if len(at):
            chances[:, place] = own[1][:, at[0]]
    return chances


def _area(truth: np.ndarray, chances: np.ndarray, known: np.ndarray) -> float:
    """The mean area of each class against the others, over the classes that the test rows have."""
    from sklearn.metrics import roc_auc_score

    areas = []
    for place in range(1 if len(known) == 2 else 0, len(known)):
        own = truth == known[place]
        if own.any() and not own.all():
            areas.append(roc_auc_score(own, chances[:, place]))
    return float(np.mean(areas)) if areas else math.nan


def _numbers(
    first: np.ndarray, second: np.ndarray, truth: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> dict[str, tuple[float, float, float]]:
    squares = [(own - truth) ** 2 for own in (first, second)]

    def r2(at: np.ndarray, i: int) -> float:
        spread = float(np.var(truth[at]))
        return 1 - float(squares[i][at].mean()) / spread if spread > 0 else math.nan

    n = len(truth)
    return {
        "r2": _redrawn(r2, n, rng),
        "rmse": _redrawn(lambda at, i: math.sqrt(float(squares[i][at].mean())), n, rng),
    }


def _redrawn(
    figure: Callable[[np.ndarray, int], float], n: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """A figure of both learners, and the standard error of its difference from redraws of the test rows."""
    every = np.arange(n)
    gaps = []
    for _ in range(REDRAWS):
        at = rng.integers(0, n, n)
        gaps.append(figure(at, 1) - figure(at, 0))
    gaps = np.array(gaps)[~np.isnan(gaps)]
    error = float(gaps.std(ddof=1)) if len(gaps) > 1 else math.nan
    return figure(every, 0), figure(every, 1), error


def _lost(name: str, of_data: float, of_samples: float, error: float, margin: float = 1.0) -> bool:
    if name == "rmse":
        return of_samples - of_data > ERRORS * error + margin * LOSS_OF_RMSE * of_data
    return of_data - of_samples > ERRORS * error + margin * LOSS


def _sentence(figures: dict[str, tuple[float, float, float]], rows: tuple[int, int, int], worse: bool) -> str:
    words = {"accuracy": "accuracy", "auc": "AUC", "r2": "R2", "rmse": "RMSE"}
    shown = ", ".join(
        f"{words[name]} {second:.4g} instead of {first:.4g} (difference +- {error:.2g})"
        for name, (first, second, error) in figures.items()
    )
    less = any(_lost(name, *values, margin=0.0) for name, values in figures.items())
    end = "the samples teach a little less than the data" if less else "no loss is beyond chance"
    end = "training on the samples loses something" if worse else end
    return (
        f"Boosted trees trained on {rows[1]:,} samples instead of {rows[0]:,} rows of data, judged by {rows[2]:,} "
        f"other rows: {shown}; {end}."
    )
