"""Two-sample tests by small networks: the accuracy of the benchmark `sbibm`, and the local test at one observation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.metrics._arrays import choose, generator, matrix, one_thread

# Rows of each class that the local test trains on at most; more sharpen it little.
LOCAL_ROWS = 4000
# Small trees, as in `c2st`, that see a shift of a few tenths of a standard deviation in a few thousand rows.
TREES = {"max_iter": 40, "max_leaf_nodes": 8, "learning_rate": 0.1, "early_stopping": False}


def c2st_accuracy(a: Any, b: Any, *, seed: int = 1, folds: int = 5, z_score: bool = True) -> float:
    r"""The cross-validated accuracy of a network that tells two sets of rows apart, as the benchmark `sbibm` has it.

    The network has two hidden layers of $10\,d$ units with ReLU, and is trained by Adam until its loss stalls; the
    rows are standardised by `a`. 0.5 is chance, 1 is perfect separation. `c2st` tests whether two sets differ; this
    figure is for comparison with published ones.

    Args:
        a: Rows `(n, d)`, such as reference draws.
        b: Rows `(m, d)`, such as draws of a model.
        seed: Seed of the folds and of the network.
        folds: Number of parts of the cross-validation.
        z_score: Whether rows are standardised by mean and standard deviation of `a`.

    Raises:
        ValueError: Shapes do not fit, or values are not finite.
        TypeError: The seed is no integer.

    Source: Lueckmann, Boelts, Greenberg, Gonçalves, Macke, 2021, arXiv 2101.04653, and its program `sbibm`.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import c2st_accuracy
        >>> rng = np.random.default_rng(0)
        >>> c2st_accuracy(rng.normal(size=(200, 1)), rng.normal(8, 1, (200, 1)), folds=2) > 0.9
        True
    """
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    x = matrix("c2st_accuracy: a", a, least=folds)
    y = matrix("c2st_accuracy: b", b, columns=x.shape[1], least=folds)
    generator("c2st_accuracy", seed)
    if z_score:
        mean, spread = x.mean(axis=0), x.std(axis=0)
        scale = np.where(spread > 0, spread, 1.0)
        x, y = (x - mean) / scale, (y - mean) / scale
    rows = np.concatenate([x, y]).astype(np.float32)
    labels = np.arange(len(rows)) >= len(x)
    width = 10 * x.shape[1]
    net = MLPClassifier((width, width), activation="relu", solver="adam", max_iter=10_000, random_state=seed)
    split = KFold(folds, shuffle=True, random_state=seed)
    return float(np.mean(cross_val_score(net, rows, labels, cv=split, scoring="accuracy")))


@dataclass(frozen=True)
class LocalC2ST:
    """Whether the posterior at one observation is the right one, as far as held-out pairs can tell.

    Args:
        statistic: Mean square of the classifier's probability about one half, over draws at the observation.
        null: Values of the statistic where both classes are draws from the model.
        p_value: Share of null values at least as large, with the statistic itself.
    """

    statistic: float
    null: np.ndarray
    p_value: float


def local_c2st(
    truths: Any,
    draws: Any,
    others: Any,
    x: Any,
    at: tuple[Any, Any],
    *,
    n_null: int = 50,
    seed: int = 0,
) -> LocalC2ST:
    r"""Test a posterior at one observation by a classifier of pairs that is trained on many.

    The classifier learns to tell pairs $(\theta_i, x_i)$ from pairs $(\tilde\theta_i, x_i)$, $\tilde\theta_i \sim
    q(\cdot \mid x_i)$. Its probabilities at draws from $q(\cdot \mid x_o)$ are one half where $q$ is right there. Under
    the null hypothesis both classes are draws from $q$.

    Args:
        truths: True parameters `(n, dim)`.
        draws: One draw from the posterior given each observation, `(n, dim)`.
        others: Further draws `(k, n, dim)`, `k` 1 or more, for the null hypothesis.
        x: Observations `(n, m)`.
        at: The draws `(l, dim)` at the observation, and the observation `(m,)`.
        n_null: Number of classifiers under the null hypothesis.
        seed: Seed of subsamples and of the null hypothesis.

    Raises:
        ValueError: Shapes do not fit, or values are not finite.
        TypeError: The seed is no integer.

    Source: Linhart, Gramfort, Rodrigues, 2023, arXiv 2306.03580.
    """
    theta = matrix("local_c2st: truths", truths, least=20)
    mine = matrix("local_c2st: draws", draws, columns=theta.shape[1])
    seen = matrix("local_c2st: x", x)
    many = np.asarray(others, np.float64)
    here = matrix("local_c2st: draws at the observation", at[0], columns=theta.shape[1])
    place = np.asarray(at[1], np.float64).reshape(-1)
    if mine.shape != theta.shape or len(seen) != len(theta) or many.ndim != 3 or many.shape[1:] != theta.shape:
        raise ValueError("local_c2st: expected as many draws and observations as truths. Draw one for each row.")
    if place.shape != seen.shape[1:] or n_null < 1:
        raise ValueError(f"local_c2st: expected an observation of length {seen.shape[1]} and n_null >= 1.")
    rng = generator("local_c2st", seed)
    rows = choose(rng, len(theta), LOCAL_ROWS)
    query = np.concatenate([here, np.broadcast_to(place, (len(here), len(place)))], axis=1)

    def statistic(first: np.ndarray, second: np.ndarray) -> float:
        from sklearn.ensemble import HistGradientBoostingClassifier

        own = np.concatenate([np.concatenate([part[rows], seen[rows]], axis=1) for part in (first, second)])
        labels = np.arange(len(own)) >= len(rows)
        trees: dict[str, Any] = {**TREES, "random_state": 0}
        guess = HistGradientBoostingClassifier(**trees).fit(own, labels).predict_proba(query)[:, 1]
        return float(np.mean((guess - 0.5) ** 2))

    with one_thread():
        found = statistic(theta, mine)
        pool = np.concatenate([mine[None], many])
        null = []
        for _ in range(n_null):
            # Which of a row's draws stands for the truth, and which for the draw, is a matter of chance.
            pick = np.array([rng.choice(len(pool), 2, replace=False) for _ in range(len(theta))])
            at_row = np.arange(len(theta))
            null.append(statistic(pool[pick[:, 0], at_row], pool[pick[:, 1], at_row]))
    return LocalC2ST(found, np.array(null), (1 + sum(value >= found for value in null)) / (1 + n_null))
