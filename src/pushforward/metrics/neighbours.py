"""Memorisation: do samples lie closer to the training rows than rows the model has not seen?"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from pushforward.metrics._arrays import choose, generator, matrix, one_thread
from pushforward.metrics.homogeneity import levels

LEVEL = 0.01
# Without held-out rows: what counts as near is the nearest twentieth of the data, each row among the others; samples
# copy the data if they are near twice as often, or equal a row twice as often as rows equal others, or a fifth do.
NEAR, TIMES, COPIED = 0.05, 2.0, 0.2


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


@dataclass(frozen=True)
class Nearness:
    """How near samples lie to the rows of the data, beside how near these lie to one another.

    Args:
        ratio: Median distance from a sample to the nearest row, divided by that from a row to the nearest other row.
        near: Share of samples nearer to a row than all but a twentieth of the rows are to others; equal rows left out.
        near_expected: The same share among the rows, each beside the others.
        near_p_value: Probability that samples are near so much more often by chance, at most.
        copies: Share of samples that equal a row exactly.
        copies_expected: Share of the rows that equal another one.
        copies_p_value: Probability that samples equal a row so much more often by chance.
        copied: Whether samples are near, or equal a row, twice as often as rows are, with a p-value below 1 %; or equal
            a row in a fifth of the cases that rows alone do not explain.
        sentence: The result as a sentence.
    """

    ratio: float
    near: float
    near_expected: float
    near_p_value: float
    copies: float
    copies_expected: float
    copies_p_value: float
    copied: bool
    sentence: str


def memorisation(
    train: Any,
    held_out: Any,
    samples: Any,
    *,
    seed: int = 0,
    max_rows: int = 5000,
    max_samples: int = 5000,
    standardise: bool = True,
) -> Memorisation:
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
        max_rows: Largest number of training and of held-out rows used; copies are looked for among all training rows.
        max_samples: Largest number of samples whose neighbours are looked for.
        standardise: Whether columns are expressed in standard deviations; otherwise distances are those of the rows.

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
    if min(max_rows, max_samples) < 2:
        fewest = min(max_rows, max_samples)
        raise ValueError(f"memorisation: expected max_rows and max_samples >= 2, got {fewest}. The usual is 5000.")
    known = set(_keys(x))
    same = [np.array([key in known for key in _keys(rows)]) for rows in (s, h)]
    limits = (max_rows, max_rows, max_samples)
    x, h, s = (rows[choose(rng, len(rows), most)] for rows, most in zip((x, h, s), limits, strict=True))
    if standardise:
        x, h, s = _standardised(x, h, s)
    with one_thread():
        near_h = _nearest(h[:max_samples], x)[0]
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


def nearness(
    data: Any, samples: Any, *, seed: int = 0, max_rows: int = 5000, max_samples: int = 5000, standardise: bool = True
) -> Nearness:
    """See whether samples copy the data where no rows were held out.

    A fresh row is as far from the nearest row of the data as such a row is from the nearest other one. Samples with a
    little noise on copied rows are nearer; so are those of a model that is too sure of itself, but not by as much.
    `memorisation` tells both apart by rows that were held out.

    Args:
        data: Rows `(n, d)`, finite.
        samples: Rows `(m, d)`.
        seed: Seed of the subsamples.
        max_rows: Largest number of rows of the data used; copies are looked for among all.
        max_samples: Largest number of samples, and of rows, whose neighbours are looked for.
        standardise: Whether columns are expressed in standard deviations; otherwise distances are those of the rows.

    Raises:
        ValueError: Shapes do not fit, a set has too few rows, or values are not finite.
        TypeError: The seed is no integer.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import nearness
        >>> rng = np.random.default_rng(0)
        >>> data = rng.normal(size=(500, 2))
        >>> nearness(data, rng.normal(size=(500, 2))).copied, nearness(data, data + 1e-3).copied
        (False, True)
    """
    x = matrix("nearness: data", data, least=3)
    s = matrix("nearness: samples", samples, columns=x.shape[1], least=2)
    rng = generator("nearness", seed)
    keys = _keys(x)
    counts = Counter(keys)
    equal = [np.array([key in counts for key in _keys(s)]), np.array([counts[key] > 1 for key in keys])]
    copies, repeats = (float(found.mean()) for found in equal)
    table = [np.array([found.sum(), (~found).sum()]) for found in equal]
    copies_p = levels(table[0], table[1], rng).p_value / 2 if copies > repeats else 1.0
    x, s = x[choose(rng, len(x), max_rows)], s[choose(rng, len(s), max_samples)]
    if standardise:
        x, s = _standardised(x, s)
    with one_thread():
        own, drawn = _nearest_other(x, max_samples), _nearest(s, x)[0]
    ratio = float(np.median(drawn) / np.median(own)) if np.median(own) > 0 else math.nan
    apart, drawn = own[own > 0], drawn[drawn > 0]
    near = expected = near_p = math.nan
    if len(apart) and len(drawn):
        limit = np.quantile(apart, NEAR)
        near, expected = (float((values < limit).mean()) for values in (drawn, apart))
        n, m = len(apart), len(drawn)
        both = (near * m + expected * n + 1) / (m + n + 2)
        # Rows that are each other's nearest count once, so that the variance is twice that of independent rows.
        near_p = float(ndtr(-(near - expected) / math.sqrt(2 * both * (1 - both) * (1 / m + 1 / n))))
    close = near_p < LEVEL and near > TIMES * max(expected, NEAR)
    explained = (copies - repeats) / (1 - repeats) if repeats < 1 else 0.0
    same = copies_p < LEVEL and (copies > TIMES * repeats or explained > COPIED)
    sentence = _near_sentence(close or same, ratio, (near, expected), (copies, repeats))
    return Nearness(ratio, near, expected, near_p, copies, repeats, copies_p, close or same, sentence)


def _keys(rows: np.ndarray) -> list[bytes]:
    """A key for each row that equal rows share."""
    return [row.tobytes() for row in rows + 0.0]  # -0.0 becomes 0.0: the same number with other bytes


def _standardised(x: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Express columns in standard deviations of the first set; a column that is constant there keeps its unit."""
    peak = np.abs(np.concatenate([x, *others])).max(axis=0)
    peak = np.where(peak > 0, peak, 1.0)
    centre, deviation = (x / peak).mean(axis=0), (x / peak).std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return [(rows / peak - centre) / deviation for rows in (x, *others)]


def _nearest(rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distance from each row to the nearest row of `among`, and the number of that row."""
    from sklearn.metrics import pairwise_distances_argmin

    at = pairwise_distances_argmin(rows, among)
    return _distances(rows, among[at]), at


def _nearest_other(rows: np.ndarray, most: int) -> np.ndarray:
    """The distance from each of the first rows to the nearest other row."""
    from sklearn.neighbors import NearestNeighbors

    first = rows[:most]
    two = NearestNeighbors(n_neighbors=2, algorithm="brute").fit(rows).kneighbors(first, return_distance=False)
    itself = np.arange(len(first))
    return _distances(first, rows[np.where(two[:, 0] == itself, two[:, 1], two[:, 0])])


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    # From the differences: the quick formula behind the search loses small distances to rounding.
    return np.sqrt(((rows - others) ** 2).sum(axis=1))


def _sentence(memorised: bool, ratio: float, closer: float, expected: float, p_value: float, rates: list[float]) -> str:
    figures = (
        f"{closer:.1%} of the samples are nearest to a training row, {expected:.1%} expected (p = {p_value:.2g}); "
        f"{rates[0]:.2%} copy a training row exactly, of the held-out rows {rates[1]:.2%}"
    )
    if not math.isnan(ratio):
        figures += f"; the median distance to the training rows is {ratio:.2f} of that of held-out rows"
    if memorised:
        return f"The model gives back rows it was trained on: {figures}. Do not publish its samples as anonymous."
    return f"No sign of memorised rows: {figures}. This is no guarantee of privacy."


def _near_sentence(copied: bool, ratio: float, near: tuple[float, float], copies: tuple[float, float]) -> str:
    figures = f"{copies[0]:.2%} equal a row of the data exactly, of the rows {copies[1]:.2%} equal another"
    if not math.isnan(near[0]):
        beside = f"than all but {near[1]:.1%} of the rows are to others"
        figures += f"; {near[0]:.1%} of those that do not are nearer to a row {beside}"
    if not math.isnan(ratio):
        figures += f"; the median distance to the nearest row is {ratio:.2f} of that between rows"
    if copied:
        return f"Samples copy rows of the data: {figures}. Do not publish them as anonymous."
    return f"No sign of copied rows: {figures}. Rows held out would tell more, and this is no guarantee of privacy."
