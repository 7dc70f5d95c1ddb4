"""Which rows a detector is fitted to, which it is calibrated by, and what the calibration says of a new row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pushforward._checks import message
from pushforward.metrics import DriftMartingale, conformal_p_values, cross_conformal_p_values

# Largest number of calibration rows: more lower the noise of a false-positive rate by nothing that counts. And the
# number of rows from which a part is held out; with fewer, each row is both fitted and calibrated by.
MOST_CALIBRATION, SPLIT_FROM = 5_000, 5_000
# Scores beyond float64 would not survive a sum; these are as unusual as any.
LARGEST = 1e300


@dataclass(frozen=True)
class Folds:
    """The parts of the rows of a fit.

    Args:
        fitted: Places of the rows that each model is fitted to.
        held_out: Places of the rows that each model is calibrated by.
    """

    fitted: tuple[np.ndarray, ...]
    held_out: tuple[np.ndarray, ...]


def split(n: int, how: str, fraction: float, n_folds: int, rng: np.random.Generator) -> Folds:
    """Divide the rows of a fit.

    Args:
        n: Number of rows.
        how: `"split"` holds out a part, `"cross"` one fold for each of several models, `"auto"` chooses.
        fraction: Share of the rows that `"split"` holds out, at most 5,000.
        n_folds: Number of folds of `"cross"`.
        rng: Generator of the order of the rows.

    Raises:
        ValueError: An option is none of those possible, or there are too few rows.
    """
    if how not in ("auto", "split", "cross"):
        fix = "'auto' chooses by the number of rows."
        raise ValueError(message("FlowOutlierDetector", "calibration 'auto', 'split' or 'cross'", repr(how), fix))
    if not 0 < fraction < 1:
        fix = "0.2 holds out a fifth."
        raise ValueError(message("FlowOutlierDetector", "calibration_fraction between 0 and 1", repr(fraction), fix))
    if how == "auto":
        how = "split" if n >= SPLIT_FROM else "cross"
    order = rng.permutation(n)
    if how == "split":
        held = min(max(1, round(fraction * n)), MOST_CALIBRATION, n - 1)
        return Folds((np.sort(order[held:]),), (np.sort(order[:held]),))
    if not isinstance(n_folds, int | np.integer) or n_folds < 2:
        raise ValueError(message("FlowOutlierDetector", "n_folds of 2 or more", repr(n_folds), "5 is usual."))
    if n < 2 * n_folds:
        got = f"n_samples = {n}"
        raise ValueError(message("FlowOutlierDetector", f"at least {2 * n_folds} rows", got, "Pass more rows."))
    parts = [np.sort(part) for part in np.array_split(order, n_folds)]
    return Folds(tuple(np.setdiff1d(np.arange(n), part) for part in parts), tuple(parts))


@dataclass(frozen=True)
class Calibration:
    """Scores of rows that the models have not seen, higher being more unusual.

    Args:
        scores: Scores `(n,)`.
        folds: Number of the model that each is a score of, `(n,)`; all 0 where rows have one score.
        kind: `"split"` and `"cross"` by the rows of the fit, `"clean"` by other rows, `"validation"` by the rows that
            the training of a density stopped by.
    """

    scores: np.ndarray
    folds: np.ndarray
    kind: Literal["split", "cross", "clean", "validation"]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def n_groups(self) -> int:
        """Number of scores that a row has: one for each model of a cross-fit, else 1."""
        return int(self.folds.max()) + 1

    @property
    def floor(self) -> float:
        """The smallest p-value that there is."""
        return 1 / (len(self) + 1)

    def p_values(
        self, each: np.ndarray, weights: np.ndarray | None = None, own_weights: np.ndarray | None = None
    ) -> np.ndarray:
        """The p-values `(m,)` of rows.

        Args:
            each: Scores `(m, n_groups)`.
            weights: Likelihood ratios of the calibration rows; None without a shift.
            own_weights: Likelihood ratios of the rows.

        Raises:
            ValueError: Weights come with a cross-fit.
        """
        if self.n_groups == 1:
            return conformal_p_values(self.scores, each[:, 0], weights=weights, own_weights=own_weights)
        if weights is not None or own_weights is not None:
            raise ValueError(self.not_cross("weights"))
        return cross_conformal_p_values(self.scores, each)

    def not_cross(self, what: str) -> str:
        """The message that something is not for a cross-fit."""
        fix = "Fit with calibration='split', or call calibrate with clean rows."
        return message("FlowOutlierDetector", f"one set of calibration rows for {what}", "a cross-fit", fix)

    def cut(self, fpr: float) -> tuple[float, float]:
        """The score above which a row is flagged at a false-positive rate, and the rate that this has.

        Without enough rows for the rate, it is the smallest rate that there is.

        Args:
            fpr: The false-positive rate.
        """
        k = max(1, int(fpr * (len(self) + 1) * (1 + 1e-12)))
        return float(np.partition(self.scores, len(self) - k)[len(self) - k]), k / (len(self) + 1)

    def watch(self, seed: int) -> DriftMartingale:
        """A martingale that these rows come before.

        Args:
            seed: Seed of the uniform numbers that break ties.
        """
        return DriftMartingale([self.scores[self.folds == k] for k in range(self.n_groups)], seed=seed)
