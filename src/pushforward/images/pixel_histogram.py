"""Histograms of the levels of every pixel, smoothed, from which a flow over images may start."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from pushforward.bijections import HistogramQuantile

# Bins of the histograms at most: neighbouring levels share one where that loses least.
MOST_BINS = 64
# How many pseudo-images with the histogram of all pixels may join those of a pixel; the images themselves choose.
STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 1e4, 1e5)
# Of images with more pixels each pixel has the histogram of its channel.
MOST_PIXELS = 64 * 64
# Images whose levels are counted at once, and levels at most: of more, neighbours count as one from the start.
CHUNK, MOST_LEVELS = 4096, 1024
# Where pixels gain less than this by histograms of their own, in nats a pixel, they share the channel's, and the map
# does not tell one place from another. CIFAR-10 gains 0.010, MNIST 0.19, digits 0.38.
LEAST_GAIN = 0.035
# Largest slope of the map, in standard deviations of a pixel.
STEEPEST = 10.0


def histogram_units(levels: np.ndarray, n_levels: int) -> HistogramQuantile:
    r"""The map from normal numbers to pixels with the histogram of each pixel, with level $k$ on $[k, k + 1)$.

    The share of a level is $(c_k + a\,q_k)/(n + a)$ with the count $c_k$ of the pixel, the share $q_k$ of all pixels
    of its channel, and the strength $a$ that makes each image likeliest given the others (by leaving one out). Beyond
    64 levels neighbours share a bin. Levels that hardly occur get so much that $dy/dx$ stays within ten standard
    deviations of the pixels: rounding in a flow grows by as much.

    Args:
        levels: Levels `(n, C, H, W)`.
        n_levels: Number of levels.
    """
    shape = levels.shape[1:]
    edges, own, usual, gain = _smoothed(levels, n_levels)
    shares = own if gain > LEAST_GAIN else np.broadcast_to(usual, own.shape)
    middles = (edges[:-1] + edges[1:]) / 2
    spread = np.sqrt(np.sum(usual * middles**2, -1) - np.sum(usual * middles, -1) ** 2 + 1 / 12)
    return HistogramQuantile(edges, not_steeper(shares, np.diff(edges), STEEPEST * spread), shape)


def differ(levels: np.ndarray, n_levels: int) -> bool:
    """Whether pixels gain by histograms of their own, as those of centred digits do and those of photographs do not.

    Args:
        levels: Levels `(n, C, H, W)`.
        n_levels: Number of levels.
    """
    return _smoothed(levels, n_levels)[3] > LEAST_GAIN


def _smoothed(levels: np.ndarray, n_levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Edges of the bins, shares of each pixel and of its channel, and the gain by the former in nats a pixel."""
    shape, joined = levels.shape[1:], -(-n_levels // MOST_LEVELS)
    alone = shape[1] * shape[2] <= MOST_PIXELS
    counts = count_levels(levels // joined, -(-n_levels // joined), by_pixel=alone)
    whole = counts.sum((1, 2)) + 1.0 / n_levels
    places = merged_edges((whole / whole.sum(-1, keepdims=True)).mean(0), MOST_BINS)
    counts, whole = (np.add.reduceat(part, places[:-1], axis=-1) for part in (counts, whole))
    edges, usual = np.minimum(places * joined, n_levels), (whole / whole.sum(-1, keepdims=True))[:, None, None]
    if not alone:
        return edges, usual, usual, 0.0
    likelihoods = {a: _left_one_out(counts, usual, a) for a in STRENGTHS}
    strength = max(STRENGTHS, key=lambda a: likelihoods[a])
    gain = (likelihoods[strength] - float(np.sum(counts * np.log(usual)))) / levels.size
    return edges, (counts + strength * usual) / (len(levels) + strength), usual, gain


def count_levels(levels: np.ndarray, n_levels: int, *, by_pixel: bool = True) -> np.ndarray:
    """How often each pixel has each level: counts `(C, H, W, n_levels)` of levels `(n, C, H, W)`.

    Args:
        levels: Levels `(n, C, H, W)`.
        n_levels: Number of levels.
        by_pixel: Whether each pixel counts for itself, or for its channel, which gives counts `(C, 1, 1, n_levels)`.
    """
    shape = levels.shape[1:]
    kept = shape if by_pixel else (shape[0], 1, 1)
    size = int(np.prod(kept))
    places = np.broadcast_to(np.arange(size).reshape(kept) * n_levels, shape)
    counts = np.zeros(size * n_levels)
    for start in range(0, len(levels), CHUNK):
        counts += np.bincount((places + levels[start : start + CHUNK]).ravel(), minlength=size * n_levels)
    return counts.reshape(*kept, n_levels)


def merged_edges(shares: np.ndarray, most: int) -> np.ndarray:
    r"""Edges of at most `most` bins of levels, of which neighbours were merged where the log-likelihood loses least.

    Bins with shares $p, q$ of $a, b$ levels lose $p \log(p/a) + q \log(q/b) - (p + q)\log((p + q)/(a + b))$.

    Args:
        shares: Shares of the levels, positive.
        most: Number of bins.
    """
    edges = np.arange(len(shares) + 1)
    while len(edges) - 1 > most:
        widths, masses = np.diff(edges), np.add.reduceat(shares, edges[:-1])
        own = masses * np.log(masses / widths)
        both, wide = masses[:-1] + masses[1:], widths[:-1] + widths[1:]
        edges = np.delete(edges, 1 + np.argmin(own[:-1] + own[1:] - both * np.log(both / wide)))
    return edges


def not_steeper(shares: np.ndarray, widths: np.ndarray, steepest: np.ndarray) -> np.ndarray:
    r"""Shares of bins that were raised where the slope $w\,\phi(x)/p$ in the middle of a bin is above a limit.

    Args:
        shares: Shares $p$, positive, `(..., M)`.
        widths: Widths $w$ of the bins, `(M,)`.
        steepest: Largest slope, which broadcasts to `(...)`.
    """
    for _ in range(3):  # raising one share moves the middles of the others
        middle = np.clip(np.cumsum(shares, -1) - shares / 2, 1e-12, 1 - 1e-12)
        least = widths * norm.pdf(norm.ppf(middle)) / steepest[..., None]
        shares = np.maximum(shares, least)
        shares = shares / shares.sum(-1, keepdims=True)
    return shares


def _left_one_out(counts: np.ndarray, usual: np.ndarray, strength: float) -> float:
    """The sum of the log-shares of all levels, each given the other images."""
    others = np.maximum(counts - 1, 0) + strength * usual
    n = counts.sum(-1, keepdims=True)
    return float(np.sum(counts * np.log(others / (n - 1 + strength))))
