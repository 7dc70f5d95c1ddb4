"""How well scores tell labelled anomalies from ordinary rows, with standard errors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pushforward._checks import message
from pushforward.metrics._arrays import generator
from pushforward.metrics.conformal import scores_of

# Resamplings of the rows that the error of the average precision is taken from.
RESAMPLED = 100


class DetectionQuality(NamedTuple):
    """How well scores tell anomalies from ordinary rows.

    Attributes:
        auroc: Probability that an anomaly has the higher score of the two; 0.5 is chance, ties count half.
        auroc_error: Standard error of `auroc`, NaN with a single row of a kind.
        average_precision: Precision averaged over recall; chance gives the share of anomalies.
        average_precision_error: Standard error of `average_precision`, NaN with a single row of a kind.
        n_anomalies: Number of anomalies.
        n_rows: Number of all rows.
    """

    auroc: float
    auroc_error: float
    average_precision: float
    average_precision_error: float
    n_anomalies: int
    n_rows: int

    @property
    def worse_than_chance(self) -> bool:
        """Whether anomalies look more ordinary than ordinary rows: an AUROC below 0.5."""
        return self.auroc < 0.5


def detection_quality(scores: Any, labels: Any, *, seed: int = 0) -> DetectionQuality:
    r"""AUROC and average precision of scores, given which rows are anomalies.

    The standard error of the AUROC is DeLong's: with $V_i$ the share of ordinary rows below anomaly $i$ and $W_j$ the
    share of anomalies above ordinary row $j$, its square is $\operatorname{var}(V)/n_1 + \operatorname{var}(W)/n_0$.
    That of the average precision is the spread of 100 resamplings, where each row counts as often as a Poisson number
    of mean 1 says.

    Args:
        scores: Scores `(n,)`; higher is more unusual; infinities are allowed.
        labels: Flags `(n,)` of the anomalies.
        seed: Seed of the resampling.

    Raises:
        ValueError: A score is NaN, the lengths differ, or all rows are of one kind.

    Source: DeLong, DeLong, Clarke-Pearson, 1988, doi 10.2307/2531595.

    Example:
        >>> from pushforward.metrics import detection_quality
        >>> found = detection_quality([1.0, 2.0, 3.0, 4.0], [False, True, False, True])
        >>> found.auroc, found.average_precision
        (0.75, 0.833)
    """
    own = scores_of("detection_quality", scores)
    odd = np.asarray(labels)
    if odd.shape != own.shape:
        raise ValueError(message("detection_quality", f"labels {own.shape}", f"{odd.shape}", "Pass one for each row."))
    odd = odd.astype(bool)
    if odd.all() or not odd.any():
        what = "anomalies" if odd.all() else "ordinary rows"
        raise ValueError(message("detection_quality", "rows of both kinds", f"only {what}", "Pass labels of both."))
    high, low = np.sort(own[odd]), np.sort(own[~odd])
    below = _share_below(low, own[odd])
    above = 1 - _share_below(high, own[~odd])
    single = min(len(high), len(low)) < 2
    error = np.nan if single else float(np.sqrt(below.var(ddof=1) / len(high) + above.var(ddof=1) / len(low)))
    order = np.argsort(-own, kind="stable")
    falling, flags = own[order], odd[order]
    starts = np.append(0, np.flatnonzero(falling[1:] != falling[:-1]) + 1)
    precision = _average_precision(np.ones(len(own)), flags, starts)
    rng = generator("detection_quality", seed)
    drawn = [_average_precision(rng.poisson(1.0, len(own)).astype(float), flags, starts) for _ in range(RESAMPLED)]
    spread = np.nan if single else float(np.nanstd(drawn, ddof=1))
    return DetectionQuality(float(below.mean()), error, precision, spread, int(odd.sum()), len(own))


def _share_below(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The share of sorted numbers below each value, ties counting half."""
    ends = np.searchsorted(known, values, side="left") + np.searchsorted(known, values, side="right")
    return ends / (2 * len(known))


def _average_precision(weights: np.ndarray, flags: np.ndarray, starts: np.ndarray) -> float:
    """The average precision of rows in falling order of score, in groups of equal scores; NaN without anomalies."""
    hits = np.cumsum(np.add.reduceat(weights * flags, starts))
    if hits[-1] == 0:
        return float("nan")
    seen = np.cumsum(np.add.reduceat(weights, starts))
    gained = np.diff(hits, prepend=0)
    return float(np.sum(gained[seen > 0] * hits[seen > 0] / seen[seen > 0]) / hits[-1])
