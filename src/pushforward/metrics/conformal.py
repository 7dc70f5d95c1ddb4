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


def cross_conformal_p_values(calibration: Any, folds: Any, scores: Any) -> np.ndarray:
    r"""P-values where every row is a calibration row of the model that has not seen it.

    $$p_j = \frac{1 + \sum_k \#\{i \in \text{fold } k : s_k(x_i) \ge s_k(x_j)\}}{n + 1}$$

    Model $k$ has seen the rows outside fold $k$. So a small table loses no row to calibration, and the smallest p-value
    is $1/(n + 1)$. What is proven is $P(p \le \alpha) \le 2 \alpha$ up to a term of order $K/n$; where the models are
    stable, as they are in practice, the level is $\alpha$.

    Args:
        calibration: Score `(n,)` of each row under the model that has not seen it.
        folds: Number `(n,)` from 0 to $K - 1$ of the fold of each row.
        scores: Scores `(m, K)` of the rows under each model.

    Raises:
        ValueError: A score is NaN, or a fold has no row, or no column of scores.

    Source: Vovk, 2015, Cross-conformal predictors, arXiv 1208.0806; the bound: Barber, Candès, Ramdas, Tibshirani,
        2021, theorem 4, arXiv 1905.02928.

    Example:
        >>> from pushforward.metrics import cross_conformal_p_values
        >>> cross_conformal_p_values([1.0, 2.0, 3.0, 4.0], [0, 0, 1, 1], [[9.0, 9.0], [1.5, 3.5]])
        array([0.2, 0.6])
    """
    known = scores_of("cross_conformal_p_values", calibration)
    rows = matrix("cross_conformal_p_values", scores, least=0, finite=False)
    if np.isnan(rows).any():
        raise ValueError("cross_conformal_p_values: expected scores that are numbers, got NaN. Leave these rows out.")
    fold = np.asarray(folds)
    if fold.shape != known.shape or set(np.unique(fold).tolist()) != set(range(rows.shape[1])):
        expected = f"a fold from 0 to {rows.shape[1] - 1} for each calibration row, and rows in each fold"
        raise ValueError(f"cross_conformal_p_values: expected {expected}, got {np.unique(fold)[:20]}.")
    count = np.ones(len(rows))
    for k in range(rows.shape[1]):
        own = np.sort(known[fold == k])
        count += len(own) - np.searchsorted(own, rows[:, k], side="left")
    return count / (len(known) + 1)


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
