r"""Conformal p-values: how unusual a score is among the scores of rows that a model has not seen.

No law of the scores is assumed. What is assumed is that a clean row could have stood in the place of any calibration
row: that they are exchangeable.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.metrics._arrays import matrix, vector


def scores_of(name: str, values: Any, least: int = 1) -> np.ndarray:
    """Scores `(n,)` in float64; infinities are allowed.

    Raises:
        ValueError: The shape is another, there are too few, or a score is NaN.
    """
    scores = vector(name, values, least=least)
    if np.isnan(scores).any():
        bad = int(np.isnan(scores).sum())
        raise ValueError(f"{name}: expected scores that are numbers, got NaN in {bad} rows. Leave these rows out.")
    return scores


def conformal_p_values(calibration: Any, scores: Any, *, weights: Any = None, own_weights: Any = None) -> np.ndarray:
    r"""The p-value of each row: the share of calibration rows that are at least as unusual, itself among them.

    $$p_j = \frac{1 + \#\{i : s_i \ge s_j\}}{n + 1}, \qquad
      p_j = \frac{w_j + \sum_i w_i\,[s_i \ge s_j]}{w_j + \sum_i w_i} \text{ with weights}$$

    A row that is exchangeable with the $n$ calibration rows has $P(p \le \alpha) \le \alpha$ for every $\alpha$,
    whatever the score is. No p-value is below $1/(n+1)$. With the weights $w = dQ/dP$ the calibration rows follow $P$
    and the row follows $Q$. The probability is over calibration rows too: with $n$ of them, the false-positive rate
    at $\alpha$ of one calibration varies by $\sqrt{\alpha (1-\alpha) / n}$.

    Args:
        calibration: Scores $s_i$ of the calibration rows `(n,)`; higher is more unusual; infinities are allowed.
        scores: Scores $s_j$ of the rows `(m,)`.
        weights: Likelihood ratios $w_i$ of the calibration rows `(n,)` up to a common factor; None without a shift.
        own_weights: Likelihood ratios $w_j$ of the rows `(m,)`, by the same factor.

    Returns:
        The p-values `(m,)`. The cost is a sort of the calibration scores and a search for each row.

    Raises:
        ValueError: A score is NaN, a weight is negative, all weights are zero, or only one kind of weights came.

    Source: Vovk, Gammerman, Shafer, 2005, Algorithmic learning in a random world; Bates et al., 2023, Testing for
        outliers with conformal p-values, eq. 2, arXiv 2104.08279; with weights: Tibshirani et al., 2019, eq. 9,
        arXiv 1904.06019.

    Example:
        >>> from pushforward.metrics import conformal_p_values
        >>> conformal_p_values([1.0, 2.0, 3.0, 4.0], [0.0, 3.5, 9.0])
        array([1. , 0.4, 0.2])
    """
    known, own = scores_of("conformal_p_values", calibration), scores_of("conformal_p_values", scores, least=0)
    order = np.argsort(known, kind="stable")
    below = np.searchsorted(known[order], own, side="left")
    if weights is None and own_weights is None:
        return (len(known) - below + 1) / (len(known) + 1)
    w, w_own = _ratios(weights, len(known)), _ratios(own_weights, len(own))
    above = np.append(np.cumsum(w[order][::-1])[::-1], 0.0)
    # The sum of all is above[0], so that the most usual row has exactly 1.
    total = above[0] + w_own
    if not (total > 0).all():
        raise ValueError(
            "conformal_p_values: expected a weight above zero, got none. The shift leaves no row to compare."
        )
    return (above[below] + w_own) / total


def _ratios(values: Any, length: int) -> np.ndarray:
    if values is None:
        raise ValueError("conformal_p_values: expected weights of both kinds, got one. Pass weights and own_weights.")
    weights = vector("conformal_p_values", values, length, least=0)
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("conformal_p_values: expected finite weights >= 0. They are ratios of two densities.")
    return weights


def cross_conformal_p_values(calibration: Any, scores: Any) -> np.ndarray:
    r"""P-values where every row is a calibration row of the model that has not seen it.

    $$p_j = \frac{1 + \sum_k \#\{i \in \text{fold } k : s_k(x_i) \ge s_{J_j}(x_j)\}}{n + 1}$$

    Model $k$ has seen the rows outside fold $k$, and row $j$ is scored by one model $J_j$, each as likely as another.
    So a small table loses no row to calibration, and the smallest p-value is $1/(n + 1)$. Given the models, the
    calibration scores and the score of a clean row both follow the mixture of the models' $K$ laws: the level is
    $\alpha$ up to the noise of $n$ scores, however different the models are. The usual sum over $s_k(x_j)$ compares
    rows that all models agree on with rows that one model is wrong about: at 1 % it flagged no clean row of landsat.
    $J_j$ is drawn by a hash of the row's scores, so that a row has one p-value, whatever stands beside it.

    Args:
        calibration: Score `(n,)` of each row under the model that has not seen it; folds of equal size.
        scores: Scores `(m, K)` of the rows under each model.

    Raises:
        ValueError: A score is NaN.

    Source: Vovk, 2015, Cross-conformal predictors, arXiv 1208.0806, whose sum over models is replaced by a draw.

    Example:
        >>> from pushforward.metrics import cross_conformal_p_values
        >>> cross_conformal_p_values([1.0, 2.0, 3.0, 4.0], [[9.0, 9.0], [2.5, 2.5]])
        array([0.2, 0.6])
    """
    rows = matrix("cross_conformal_p_values", scores, least=0, finite=False)
    scores_of("cross_conformal_p_values", rows.ravel(), least=0)
    return conformal_p_values(calibration, rows[np.arange(len(rows)), _drawn_model(rows)])


def _drawn_model(scores: np.ndarray) -> np.ndarray:
    """The number of a column for each row, from the row's numbers: the finaliser of SplitMix64."""
    # In single precision, so that rounding in the last digits of a score does not choose another model.
    bits = np.ascontiguousarray(scores, np.float32).view(np.uint32).astype(np.uint64)
    word = np.zeros(len(scores), np.uint64)
    for column in bits.T:
        word = (word ^ column) + np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        word ^= word >> np.uint64(31)
    return (word % np.uint64(scores.shape[1])).astype(np.int64)


def covariate_shift_weights(reference: Any, rows: Any, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    r"""Estimated ratios $w(x) = q(x)/p(x)$ of the law $q$ of some rows to the law $p$ of reference rows.

    A logistic regression on standardised columns tells the two apart, each half of the rows by the regression of the
    other half, so that no row decides on its own weight: $w = \frac{n_p}{n_q} \frac{P(q \mid x)}{1 - P(q \mid x)}$. It
    knows shifts of means; for others pass ratios of your own to `conformal_p_values`. As far as the estimate is wrong,
    the level of the p-values is wrong by its mean absolute error.

    Args:
        reference: Rows `(n, d)`, such as the calibration rows.
        rows: Rows `(m, d)` of the shifted law.
        seed: Seed of the halves.

    Returns:
        The weights of the reference rows `(n,)` and of the rows `(m,)`.

    Source: Sugiyama, Suzuki, Kanamori, 2012, Density ratio estimation in machine learning, ch. 4; as weights of
        p-values: Tibshirani et al., 2019, sec. 2.3, arXiv 1904.06019.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import covariate_shift_weights
        >>> rng = np.random.default_rng(0)
        >>> w, own = covariate_shift_weights(rng.normal(size=(500, 1)), 1 + rng.normal(size=(500, 1)))
        >>> bool(own.mean() > w.mean())
        True
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    p = matrix("covariate_shift_weights", reference, least=2)
    q = matrix("covariate_shift_weights", rows, p.shape[1], least=2)
    both, label = np.concatenate([p, q]), np.repeat([0, 1], [len(p), len(q)])
    halves = StratifiedKFold(2, shuffle=True, random_state=seed)
    log_odds: Any = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression()), both, label, cv=halves, method="decision_function"
    )
    ratio = np.exp(np.clip(log_odds, -30, 30)) * len(p) / len(q)
    return ratio[: len(p)], ratio[len(p) :]
