"""Which rows to call discoveries, and how many of them may be false."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.metrics._arrays import generator, vector
from pushforward.metrics.conformal import conformal_p_values, scores_of

# Draws of the null law of the counts; and at how many thresholds the counts are bounded, which are denser below.
DRAWS, THRESHOLDS, SEED = 9_999, 120, 0
# Numbers that one step of the weighted selection holds at once.
AT_ONCE = 2**22


def _level(name: str, what: str, value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(message(name, f"{what} between 0 and 1", repr(value), "0.1 is 10 %."))
    return float(value)


def _p_values(name: str, values: Any) -> np.ndarray:
    p = vector(name, values, least=0)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(message(name, "p-values from 0 to 1", "others", "Pass what conformal_p_values gives."))
    return p


def benjamini_hochberg(p_values: Any, fdr: float) -> np.ndarray:
    r"""The rows that Benjamini and Hochberg's procedure selects, as flags `(m,)`.

    With sorted p-values $p_{(1)} \le \dots \le p_{(m)}$ it selects the $r$ smallest, for the largest $r$ with
    $p_{(r)} \le q r / m$. The expected share of false rows among the selected is then at most $q$ times the share of
    clean rows. Conformal p-values of one calibration set depend on each other, but positively (they are PRDS), for
    which the procedure holds.

    Args:
        p_values: P-values `(m,)`.
        fdr: The rate $q$.

    Raises:
        ValueError: A p-value or the rate is out of bounds.

    Source: Benjamini, Hochberg, 1995, doi 10.1111/j.2517-6161.1995.tb02031.x; for conformal p-values: Bates et al.,
        2023, theorem 2, arXiv 2104.08279.

    Example:
        >>> from pushforward.metrics import benjamini_hochberg
        >>> benjamini_hochberg([0.001, 0.02, 0.03, 0.8], 0.1)
        array([ True,  True,  True, False])
    """
    from scipy.stats import false_discovery_control

    p, q = _p_values("benjamini_hochberg", p_values), _level("benjamini_hochberg", "a rate", fdr)
    # A p-value that is q r / m but for rounding counts.
    return false_discovery_control(p, method="bh") <= q * (1 + 1e-12) if len(p) else np.zeros(0, bool)


def selected_threshold(counts: np.ndarray, fdr: float) -> int:
    r"""The largest `k` such that Benjamini and Hochberg select the p-values up to `k / (n + 1)`, from their counts.

    Conformal p-values are multiples of $1/(n+1)$, so that how often each occurs is all that the procedure needs: a
    stream of any length is judged from $n + 1$ numbers.

    Args:
        counts: How many p-values are `k / (n + 1)`, for `k` from 1 to `n + 1`: `(n + 1,)`.
        fdr: The rate.

    Returns:
        `k`, or 0 where nothing is selected.
    """
    q, total = _level("selected_threshold", "a rate", fdr), np.cumsum(counts)
    k = np.arange(1, len(counts) + 1)
    passing = np.flatnonzero(k / len(counts) * total[-1] <= q * total * (1 + 1e-12))
    return int(passing[-1]) + 1 if len(passing) and total[passing[-1]] else 0


def weighted_selection(
    calibration: Any, scores: Any, weights: Any, own_weights: Any, fdr: float, *, seed: int = 0
) -> np.ndarray:
    r"""The rows that are selected at a false discovery rate under covariate shift, as flags `(m,)`.

    Weighted conformal p-values are not positively dependent, so that Benjamini and Hochberg's procedure alone promises
    nothing. Each row $j$ is therefore judged by a count $R_j$ that it cannot influence: what the procedure selects from
    the auxiliary p-values of the other rows, in which row $j$ stands as one more calibration row, and 0 for its own.
    Row $j$ passes if $p_j \le q R_j / m$; of the rows that pass, the largest set stays in which $\xi R_j$ is at most
    the size of the set, with one $\xi$ uniform on (0, 1) for all rows.

    Args:
        calibration: Scores of the calibration rows `(n,)`; higher is more unusual.
        scores: Scores of the rows `(m,)`.
        weights: Likelihood ratios of the calibration rows `(n,)`.
        own_weights: Likelihood ratios of the rows `(m,)`.
        fdr: The rate $q$.
        seed: Seed of $\xi$.

    Returns:
        The flags. The cost grows with $m^2$.

    Raises:
        ValueError: As of `conformal_p_values`, or the rate is out of bounds.

    Source: Jin, Candès, 2023, Model-free selective inference under covariate shift via weighted conformal p-values,
        algorithm 1 with homogeneous pruning, arXiv 2307.09291.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import weighted_selection
        >>> usual = np.random.default_rng(0).normal(size=500)
        >>> weighted_selection(usual, [9.0, 0.0, 8.0], np.ones(500), np.ones(3), 0.1)
        array([ True, False,  True])
    """
    q = _level("weighted_selection", "a rate", fdr)
    p = conformal_p_values(calibration, scores, weights=weights, own_weights=own_weights)
    known, own = scores_of("weighted_selection", calibration), scores_of("weighted_selection", scores, least=0)
    w, w_own, m = np.asarray(weights, float), np.asarray(own_weights, float), len(own)
    if not m:
        return np.zeros(0, bool)
    order = np.argsort(known, kind="stable")
    above = np.append(np.cumsum(w[order][::-1])[::-1], 0.0)
    at_least = above[np.searchsorted(known[order], own, side="left")]
    # Rows in descending order of score: their auxiliary p-values, with one more calibration row j, then ascend.
    falling = np.argsort(-own, kind="stable")
    sorted_scores, sums = own[falling], at_least[falling]
    judged = np.empty(m, np.int64)
    position = np.empty(m, np.int64)
    position[falling] = np.arange(m)
    step = max(1, AT_ONCE // m)
    for start in range(0, m, step):
        j = np.arange(start, min(m, start + step))
        own_too = own[j, None] >= sorted_scores[None, :]
        auxiliary = (sums[None, :] + w_own[j, None] * own_too) / (above[0] + w_own[j, None])
        # Row j itself has 0 and is the first; rows before it move back by one place.
        rank = np.arange(1, m + 1)[None, :] + (np.arange(m)[None, :] < position[j, None])
        passing = auxiliary <= q * rank / m * (1 + 1e-12)
        passing[np.arange(len(j)), position[j]] = False
        judged[j] = np.maximum(np.where(passing, rank, 0).max(axis=1), 1)
    first = p <= q * judged / m * (1 + 1e-12)
    drawn = judged * generator("weighted_selection", seed).random()
    sizes = np.arange(1, m + 1)
    fits = np.flatnonzero(np.searchsorted(np.sort(drawn[first]), sizes, side="right") >= sizes)
    return first & (drawn <= (fits[-1] + 1 if len(fits) else 0))


@dataclass(frozen=True)
class FalseDiscoveryBound:
    r"""How many of any selected rows can be clean ones: one statement that holds for all selections at once.

    Args:
        n_calibration: Number $n$ of calibration rows.
        n_rows: Number $m$ of rows that were tested.
        confidence: Probability with which the bound holds.
        thresholds: Numbers $k$, ascending: the bound is on the p-values up to $k / (n + 1)$.
        most: The bound on clean rows with such a p-value, for each of the thresholds.
    """

    n_calibration: int
    n_rows: int
    confidence: float
    thresholds: np.ndarray
    most: np.ndarray

    def false(self, p_values: Any, selected: Any) -> int:
        r"""The number of clean rows among selected ones, at most.

        $$V(S) \le \min_k \left(\#\{j \in S : p_j > k/(n+1)\} + b_k\right)$$

        Args:
            p_values: P-values `(m,)` of all rows that were tested.
            selected: Flags `(m,)` of the rows selected, by whatever rule, also one that was chosen after a look.

        Raises:
            ValueError: The rows are not as many as the bound is for.
        """
        p = _p_values("FalseDiscoveryBound.false", p_values)
        chosen = np.asarray(selected, bool)
        if len(p) != self.n_rows or chosen.shape != p.shape:
            fix = "Pass the p-values of all rows that were tested."
            raise ValueError(message("FalseDiscoveryBound", f"{self.n_rows} rows", f"{len(p)}", fix))
        counts = np.bincount(np.rint(p[chosen] * (self.n_calibration + 1)).astype(np.int64) - 1, minlength=1)
        return self.false_of_counts(counts)

    def false_of_counts(self, counts: np.ndarray) -> int:
        """The same from how many selected rows have the p-value `k / (n + 1)`, for `k` from 1 on: `(at most n + 1,)`.

        Args:
            counts: Counts of the selected rows.
        """
        total = np.append(np.cumsum(counts), [int(np.sum(counts))] * (self.n_calibration + 1 - len(counts)))
        beyond = total[-1] - total[self.thresholds - 1]
        return int(min(total[-1], (beyond + self.most).min()))

    def proportion(self, p_values: Any, selected: Any) -> float:
        """The share of clean rows among selected ones, at most; 0 where none is selected.

        Args:
            p_values: As in `false`.
            selected: As in `false`.
        """
        chosen = int(np.asarray(selected, bool).sum())
        return self.false(p_values, selected) / chosen if chosen else 0.0


def false_discovery_bound(n_calibration: int, n_rows: int, confidence: float = 0.9) -> FalseDiscoveryBound:
    r"""A bound on false discoveries that holds for every selection at once, however it was chosen.

    The conformal p-values of clean rows have a law that depends on nothing but the numbers of rows: calibration and
    clean rows are in a random order. So the counts $V_k = \#\{\text{clean } j : p_j \le k/(n+1)\}$ are drawn from that
    law 9,999 times, and $b$ is the lowest curve, with the same rank among the draws at every $k$, that a share $c$ of
    them stays below everywhere. With probability $c$ over calibration and test rows, $V_k \le b_k$ for all $k$. It is
    for p-values of one calibration set without weights. Where rows are not clean, the bound is too large and still
    holds.

    Args:
        n_calibration: Number $n$ of calibration rows.
        n_rows: Number $m$ of rows that are tested.
        confidence: The probability $c$.

    Raises:
        ValueError: The confidence is out of bounds, or there are no rows.

    Source: Gazin, Blanchard, Roquain, 2024, Transductive conformal inference with adaptive scores, sec. 3, arXiv
        2310.18108 (the law, and bounds from it); the envelope: Myllymäki et al., 2017, arXiv 1307.0239; selections
        between thresholds: Goeman, Solari, 2011, doi 10.1214/11-STS356.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import conformal_p_values, false_discovery_bound
        >>> rng = np.random.default_rng(0)
        >>> p = conformal_p_values(rng.normal(size=999), np.append(rng.normal(size=900), np.full(100, 9.0)))
        >>> false_discovery_bound(999, 1000).false(p, p <= 0.001) < 10
        True
    """
    n, m = int(n_calibration), int(n_rows)
    if n < 1 or m < 1:
        fix = "Hold out rows for calibration."
        raise ValueError(message("false_discovery_bound", "a row of each kind or more", f"{n} and {m}", fix))
    thresholds, most = _envelope(n, m, _level("false_discovery_bound", "a confidence", confidence))
    return FalseDiscoveryBound(n, m, float(confidence), thresholds, most)


@functools.lru_cache(maxsize=16)
def _envelope(n: int, m: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """The thresholds, and the bounds there."""
    thresholds = np.unique(np.rint(np.geomspace(1, n, min(n, THRESHOLDS))).astype(np.int64))
    rng = np.random.default_rng(SEED)
    # The uniform level of the k-th most unusual calibration row is a sum of k of n + 1 exponential steps.
    steps = rng.gamma(np.diff(thresholds, prepend=0, append=n + 1).astype(float), size=(DRAWS, len(thresholds) + 1))
    counts = np.cumsum(rng.multinomial(m, steps / steps.sum(axis=1, keepdims=True)), axis=1)[:, :-1]
    falling = -np.sort(-counts, axis=0)
    allowed = math.floor((1 - confidence) * (DRAWS + 1)) - 1  # the counts at hand are one more draw

    def exceeding(rank: int) -> int:
        return int((counts > falling[rank]).any(axis=1).sum())

    # The bound of rank r is exceeded in r draws at each threshold at most, and in more draws the larger r is.
    low, high = 0, max(allowed, 0)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if exceeding(middle) <= allowed else (low, middle - 1)
    return thresholds, falling[low]
