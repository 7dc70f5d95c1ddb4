"""Levels at which regions of a posterior just hold the true parameters: by density, and by distance (TARP)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.metrics._arrays import generator


def density_levels(draws_log_prob: Any, truths_log_prob: Any, *, seed: int = 0) -> np.ndarray:
    """For each row, the mass of the region of highest density on whose edge the true parameters lie.

    The levels are uniform if the posterior is calibrated; where they are too often high, its regions are too small. The
    expected coverage of the region of mass `a` is the share of levels below `a`.

    Args:
        draws_log_prob: Log-densities `(n_draws, n)` of draws from the posterior given each observation.
        truths_log_prob: Log-densities `(n,)` of the true parameters.
        seed: Seed of the places within the width of a draw.

    Raises:
        ValueError: Shapes do not fit, or values are NaN.
        TypeError: The seed is no integer.

    Source: Hermans, Delaunoy, Rozet, Wehenkel, Begy, Louppe, 2022, arXiv 2110.06581.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import density_levels
        >>> density_levels(np.zeros((99, 1)) - 1.0, np.zeros(1)).round(1).tolist()
        [0.0]
    """
    many, one = np.asarray(draws_log_prob, np.float64), np.asarray(truths_log_prob, np.float64)
    if many.ndim != 2 or one.shape != many.shape[1:]:
        expected = f"log-densities (n_draws, n) and (n,), n = {one.shape}"
        raise ValueError(f"density_levels: expected {expected}, got shape {many.shape}. Score draws of every row.")
    if np.isnan(many).any() or np.isnan(one).any():
        raise ValueError("density_levels: expected log-densities, got NaN. Leave these rows out.")
    return _levels((many > one).sum(axis=0), (many == one).sum(axis=0), len(many), "density_levels", seed)


def tarp_levels(draws: Any, truths: Any, references: Any, *, seed: int = 0) -> np.ndarray:
    """For each row, the share of draws that are nearer to a reference point than the true parameters are.

    The levels are uniform for any choice of references if and only if the posterior is the right one, as long as the
    references depend on the observation. Distances are Euclidean, with every parameter in units of its standard
    deviation over all truths.

    Args:
        draws: Draws `(n_draws, n, dim)` from the posterior given each observation.
        truths: True parameters `(n, dim)`.
        references: Points `(n, dim)`.
        seed: Seed of the places within the width of a draw.

    Raises:
        ValueError: Shapes do not fit, or values are not finite.
        TypeError: The seed is no integer.

    Source: Lemos, Coogan, Hezaveh, Perreault-Levasseur, 2023, arXiv 2302.03026.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import tarp_levels
        >>> draws = np.linspace(-1, 1, 101)[:, None, None] * np.ones((1, 3, 1))
        >>> tarp_levels(draws, np.array([[-0.5], [0.0], [0.5]]), np.full((3, 1), -2.0)).round(1).tolist()
        [0.3, 0.5, 0.7]
    """
    many, one, points = (np.asarray(values, np.float64) for values in (draws, truths, references))
    if many.ndim != 3 or one.ndim != 2 or many.shape[1:] != one.shape or points.shape != one.shape:
        expected = "draws (n_draws, n, dim), truths (n, dim) and references (n, dim)"
        raise ValueError(f"tarp_levels: expected {expected}, got {many.shape}, {one.shape} and {points.shape}.")
    if not all(np.isfinite(values).all() for values in (many, one, points)):
        raise ValueError("tarp_levels: expected finite numbers, got NaN or infinity. Leave these rows out.")
    spread = one.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    near = (((many - points) / scale) ** 2).sum(axis=-1)
    own = (((one - points) / scale) ** 2).sum(axis=-1)
    return _levels((near < own).sum(axis=0), (near == own).sum(axis=0), len(many), "tarp_levels", seed)


def coverage_curve(levels: Any, masses: Any) -> np.ndarray:
    """The share of levels up to each mass: the coverage of regions of that mass.

    Args:
        levels: Numbers `(n,)` in [0, 1].
        masses: Numbers `(k,)` in [0, 1].

    Raises:
        ValueError: There is no level.
    """
    u = np.sort(np.asarray(levels, np.float64))
    if u.ndim != 1 or not len(u):
        raise ValueError(f"coverage_curve: expected levels (n,), got shape {u.shape}. Pass one row of levels.")
    return np.searchsorted(u, np.asarray(masses, np.float64), side="right") / len(u)


def _levels(above: np.ndarray, equal: np.ndarray, n: int, name: str, seed: int) -> np.ndarray:
    """Numbers of draws as levels, with ties and the place within a draw's width chosen at random."""
    rng = generator(name, seed)
    return (above + rng.uniform(size=above.shape) * (equal + 1)) / (n + 1)
