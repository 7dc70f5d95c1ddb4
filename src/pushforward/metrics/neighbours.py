"""Memorisation: do samples lie closer to the training rows than rows the model has not seen?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from pushforward.metrics._arrays import choose, generator, matrix, one_thread
from pushforward.metrics.homogeneity import levels

LEVEL = 0.01
CHUNK = 2**22


@dataclass(frozen=True)
class Memorisation:
    """Nearest neighbours of samples among the rows trained on, and among rows held out.

    Args:
        ratio: Median distance from a sample to the nearest training row, divided by that from a held-out row to the
            nearest training row; about 1 for fresh draws, near 0 for copies, and above 1 where samples stray from the
            data.
        closer: Share of samples whose nearest neighbour, training and held-out rows together, is a training row.
        closer_expected: Expected value of `closer` if the model treats training and held-out rows alike.
        p_value: One-sided probability that samples prefer training rows so much by chance.
        copies: Share of samples that equal a training row exactly.
        copies_held_out: Share of held-out rows that equal a training row, which equal values in the data explain.
        copies_p_value: Probability that the share of copies among the samples is so much higher by chance.
        memorised: Whether either p-value is below 1 %.
        sentence: The result as a sentence.
    """

    ratio: float
    closer: float
    closer_expected: float
    p_value: float
    copies: float
    copies_held_out: float
    copies_p_value: float
    memorised: bool
    sentence: str


def memorisation(train: Any, held_out: Any, samples: Any, *, seed: int = 0, max_rows: int = 5000) -> Memorisation:
    r"""Test whether a model gives back its training rows.

    A model that memorises nothing is as close to rows it has seen as to others from the same source. With $c_i$ the
    number of samples whose nearest row, among training and held-out rows together, is row $i$, the statistic is
    $T = \sum_{i \in \text{train}} c_i$; with the labels of the $N$ rows permuted it has mean $\frac{n}{N} \sum c_i$ and
    variance $\frac{n (N - n)}{N (N - 1)} \sum (c_i - \bar c)^2$. This holds for a poor model too, whose samples are far
    from both alike, and where many samples share a neighbour.

    Args:
        train: Rows `(n, d)` that the model was fitted to, finite.
        held_out: Rows `(k, d)` from the same source that the model has not seen.
        samples: Draws `(m, d)` from the model.
        seed: Seed of the subsamples.
        max_rows: Largest number of rows used of each set; copies are looked for among all training rows.

    Raises:
        ValueError: Shapes do not fit, a set has fewer than two rows, or values are not finite.
        TypeError: The seed is no integer.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import memorisation
        >>> rng = np.random.default_rng(0)
        >>> train, held_out = rng.normal(size=(500, 2)), rng.normal(size=(300, 2))
        >>> memorisation(train, held_out, train + 0.01 * rng.normal(size=(500, 2))).memorised
        True
    """
    x = matrix("memorisation: train", train, least=2)
    h = matrix("memorisation: held_out", held_out, columns=x.shape[1], least=2)
    s = matrix("memorisation: samples", samples, columns=x.shape[1], least=2)
    rng = generator("memorisation", seed)
    if max_rows < 2:
        raise ValueError(f"memorisation: expected max_rows >= 2, got {max_rows}. The usual is 5000.")
    known = {row.tobytes() for row in x + 0.0}  # -0.0 becomes 0.0: the same number with other bytes
    same = [np.array([row.tobytes() in known for row in rows + 0.0]) for rows in (s, h)]
    x, h, s = (rows[choose(rng, len(rows), max_rows)] for rows in (x, h, s))
    x, h, s = _standardised(x, h, s)
    with one_thread():
        near_h = _nearest(h, x)[0]
        near_s, at_train = _nearest(s, x)
        other, at_held_out = _nearest(s, h)
    middle = float(np.median(near_h))
    ratio = float(np.median(near_s)) / middle if middle > 0 else math.nan
    n, total = len(x), len(x) + len(h)
    # Where a training and a held-out row are equally near, half a sample goes to each.
    share = np.where(near_s < other, 1.0, np.where(near_s == other, 0.5, 0.0))
    counts = np.bincount(at_train, share, n)
    all_counts = np.concatenate([counts, np.bincount(at_held_out, 1 - share, len(h))])
    spread = n * len(h) / (total * (total - 1)) * float(((all_counts - all_counts.mean()) ** 2).sum())
    excess = float(counts.sum()) - n * len(s) / total
    p_value = float(ndtr(-excess / math.sqrt(spread))) if spread > 0 else 1.0
    rates = [float(found.mean()) for found in same]
    table = [np.array([found.sum(), (~found).sum()]) for found in same]
    copies_p = levels(table[0], table[1], rng).p_value / 2 if rates[0] > rates[1] else 1.0
    memorised = p_value < LEVEL or copies_p < LEVEL
    closer = float(share.mean())
    sentence = _sentence(memorised, ratio, closer, n / total, p_value, rates)
    return Memorisation(ratio, closer, n / total, p_value, rates[0], rates[1], copies_p, memorised, sentence)


def _standardised(x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Express columns in standard deviations of the first set; a column that is constant there keeps its unit."""
    peak = np.abs(np.concatenate([x, *others])).max(axis=0)
    peak = np.where(peak > 0, peak, 1.0)
    centre, deviation = (x / peak).mean(axis=0), (x / peak).std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return [(rows / peak - centre) / deviation for rows in (x, *others)]


def _nearest(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance from each row to the nearest row of `among`, and the number of that row."""
    from scipy.spatial.distance import cdist

    size = max(1, CHUNK // len(among))
    at = np.concatenate([cdist(rows[i : i + size], among).argmin(axis=1) for i in range(0, len(rows), size)])
    return np.sqrt(((rows - among[at]) ** 2).sum(axis=1)), at


def _sentence(memorised: bool, ratio: float, closer: float, expected: float, p_value: float, rates: list[float]) -> str:
    figures = (
        f"{closer:.1%} of the samples are nearest to a training row, {expected:.1%} expected (p = {p_value:.2g}); the "
        f"median distance to the training rows is {ratio:.2f} of that of held-out rows; {rates[0]:.2%} copy a training "
        f"row exactly, of the held-out rows {rates[1]:.2%}"
    )
    if memorised:
        return f"The model gives back rows it was trained on: {figures}. Do not publish its samples as anonymous."
    return f"No sign of memorised rows: {figures}. This is no guarantee of privacy."
