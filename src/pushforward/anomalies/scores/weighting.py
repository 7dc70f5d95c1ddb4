"""Rows with weights: which of them a score keeps."""

from __future__ import annotations

import numpy as np

from pushforward._checks import message


def positive_rows(weights: np.ndarray | None, n: int, most: int, random_state: int) -> np.ndarray:
    """The places, ascending, of the rows that are kept: all of positive weight, or so many of them by their weights.

    Args:
        weights: Weights `(n,)`, not negative, or None.
        n: Number of rows.
        most: Largest number of rows to keep.
        random_state: Seed of the choice.

    Raises:
        ValueError: The weights do not fit, or fewer than two rows have one.
    """
    own = np.ones(n) if weights is None else np.asarray(weights, np.float64)
    if own.shape != (n,) or not np.isfinite(own).all() or (own < 0).any():
        fix = "Give one finite weight for each row, not negative."
        raise ValueError(message("a score: weights", f"shape ({n},)", f"shape {own.shape}", fix))
    kept = np.flatnonzero(own > 0)
    if len(kept) < 2:
        fix = "A score compares rows."
        raise ValueError(message("a score", "2 rows of positive weight or more", str(len(kept)), fix))
    if len(kept) > most:
        share = None if weights is None else own[kept] / own[kept].sum()
        kept = np.sort(np.random.default_rng(random_state).choice(kept, most, replace=False, p=share))
    return kept
