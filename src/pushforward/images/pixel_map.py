"""The map from standard numbers to the units of pixels, the last bijection of every flow over images."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from pushforward._checks import check_number, message
from pushforward.bijections import Chain, Sigmoid, Standardize
from pushforward.bijections.base import AbstractBijection
from pushforward.images.pixel_histogram import differ, histogram_units

PixelMap = Literal["histogram", "logit", "affine"]
PIXEL_MAPS: tuple[str, ...] = get_args(PixelMap)
# Share of the unit interval that the logit keeps free at each end, as in RealNVP.
ALPHA = 0.05
# Images from which means and deviations are taken, and those whose levels are counted.
SEEN, COUNTED = 2000, 20_000
# A channel that never varies, once it has noise, still has this deviation in levels; it only guards a division.
LEAST_DEVIATION = 1e-3


def pixel_map(kind: str, levels: np.ndarray, n_levels: int, alpha: float = ALPHA) -> AbstractBijection:
    r"""The bijection from images of about unit scale to the units of pixels, with level $k$ on $[k, k + 1)$.

    `"affine"` is $y = m_c + s_c\,x$. `"logit"` is $\alpha + (1 - 2\alpha)\,y / K = \sigma(m_c + s_c\,x)$, under which
    samples stay within a little of the levels there are. Means $m_c$ and deviations $s_c$ are those of each channel, so
    that the map does not tell one place from another. `"histogram"` is $y = F^{-1}(\Phi(x))$ with the histogram $F$ of
    each pixel: a flow starts where all pixels are independent with their true distributions, and a pixel that is always
    black costs nothing. The log-determinant is part of every density, so that bits per dimension need no offset.

    Args:
        kind: `"histogram"`, `"logit"` or `"affine"`.
        levels: Levels `(n, C, H, W)` of the images whose means and deviations are taken, or whose levels are counted.
        n_levels: Number $K$ of levels.
        alpha: Share of the unit interval that the logit keeps free at each end.

    Raises:
        ValueError: The kind is unknown, or `alpha` is out of its bounds.

    Source: Dinh, Sohl-Dickstein, Bengio, 2017, section 4.1, arXiv 1605.08803.
    """
    if kind not in PIXEL_MAPS:
        raise ValueError(message("pixel_map", f"one of {', '.join(PIXEL_MAPS)}", repr(kind), "The logit is usual."))
    check_number("pixel_map", "alpha", alpha, low=0.0, high=0.5, open_low=True)
    if kind == "histogram":
        return histogram_units(levels[:COUNTED], n_levels)
    shape = levels.shape[1:]
    # Each level counts with the middle of its interval and with its spread of uniform noise, 1 / 12.
    seen = levels[:SEEN].astype(np.float64) + np.random.default_rng(0).random(levels[:SEEN].shape)
    onto: AbstractBijection | None = None
    if kind == "logit":
        edge = alpha * n_levels / (1 - 2 * alpha)
        onto = Sigmoid(-edge, n_levels + edge, shape)
        share = alpha + (1 - 2 * alpha) * seen / n_levels
        seen = np.log(share) - np.log1p(-share)
    axes = (0, 2, 3)
    mean, deviation = (np.broadcast_to(a[:, None, None], shape) for a in (seen.mean(axes), seen.std(axes)))
    units = Standardize(mean, np.maximum(deviation, LEAST_DEVIATION))
    return units if onto is None else Chain([units, onto])


def usual_map(levels: np.ndarray, n_levels: int) -> PixelMap:
    """The map that suits images: histograms where pixels differ in their distributions, as in digits, or the logit.

    Args:
        levels: Levels `(n, C, H, W)` of some of the images.
        n_levels: Number of levels.
    """
    return "histogram" if differ(levels, n_levels) else "logit"
