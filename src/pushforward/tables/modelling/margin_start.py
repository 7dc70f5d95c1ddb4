"""Where the conditional margins of a table start: at the distribution of each column on its own."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.distributions.spaces import Place, Spaces
from pushforward.numerics.rational_quadratic_spline import MIN_BIN
from pushforward.numerics.unit_spline import raw_of

# Rows of the space's own distribution that are mixed in, so that the splines of few rows stay near it.
PRIOR_ROWS = 16


def start_of(places: Sequence[Place], quantiles: np.ndarray, counts: Sequence[float], bins: int) -> np.ndarray:
    """Parameters of the splines with which each column starts at the distribution of its rows, `(n_params, dim)`.

    Bins are as wide as the quantiles of the rows lie apart. Their masses are smaller towards the ends, where a density
    may fall over decades: the mean of equal ones and of those between Chebyshev's points.

    Args:
        places: The space and the units of each column.
        quantiles: Evenly spaced quantiles of each column, `(dim, n)`, ascending; rounded numbers with their steps
            filled.
        counts: Number of rows that each column's quantiles come from.
        bins: Bins of each spline.
    """
    spaces = Spaces(places)
    with jax.enable_x64(True):
        u = np.asarray(spaces.locate(jnp.asarray(quantiles, jnp.float64)).u)
    prior = (np.arange(PRIOR_ROWS * 4) + 0.5) / (PRIOR_ROWS * 4)
    share = np.arange(bins + 1) / bins
    levels = 0.5 * share + 0.5 * np.sin(0.5 * np.pi * share) ** 2
    heights, out = np.diff(levels), []
    for own, count, circular in zip(u, counts, spaces.circular[:, 0], strict=True):
        values = np.concatenate([own, prior])
        mass = np.concatenate([np.full(len(own), count / len(own)), np.full(len(prior), PRIOR_ROWS / len(prior))])
        order = np.argsort(values, kind="stable")
        position = (np.cumsum(mass[order]) - 0.5 * mass[order]) / mass.sum()
        knots = np.interp(levels[1:-1], position, values[order])
        widths = np.maximum(np.diff(np.concatenate([[0.0], knots, [1.0]])), 1.01 * MIN_BIN)
        widths /= widths.sum()
        density = heights / widths
        inner = 2 * density[1:] * density[:-1] / (density[1:] + density[:-1])
        ends = (density[0], density[-1]) if not circular else (0.5 * (density[0] + density[-1]),) * 2
        slopes = np.concatenate([[ends[0]], inner, [ends[1]]])
        out.append(raw_of(widths, heights, slopes))
    return np.stack(out, axis=-1)
