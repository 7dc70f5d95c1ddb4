"""Scores of different units on one scale: how rarely an ordinary row scores as high."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pushforward.io.errors import UntrustedModelError

# Scores of ordinary rows that are kept.
MOST = 4096
# Share of the scores above which the unit of the tail is measured, and the weight of the tail.
TAIL, TAIL_WEIGHT = 0.9, 0.3
# Excess, in units of the tail, of a row that cannot be: it lies beyond all others, and other scores still compare it.
FARTHEST = 1e6


@dataclass(frozen=True)
class CleanRanks:
    r"""The surprise $u(s) = -\log \hat P(S \ge s)$ of a score among the scores $S$ of ordinary rows, in nats.

    $\hat P(S \ge s) = (1 + \#\{S_i \ge s\}) / (1 + n)$, as in a conformal p-value. Above all $S_i$ it would be
    constant; there $u$ grows by $0.3 \log(1 + (s - \max S) / \tau)$, with the mean excess $\tau$ of the upper tenth.

    Args:
        ordered: Scores of ordinary rows that the scored model has not seen, ascending and finite, `(n,)`.
    """

    ordered: np.ndarray

    @staticmethod
    def of(scores: np.ndarray, random_state: int) -> CleanRanks:
        """The ranks among scores.

        Args:
            scores: Scores of ordinary rows `(n,)`.
            random_state: Seed of the choice of those that are kept.
        """
        finite = scores[np.isfinite(scores)]
        if len(finite) > MOST:
            finite = np.random.default_rng(random_state).choice(finite, MOST, replace=False)
        return CleanRanks(np.sort(finite))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The surprise of each score, `(n,)` nats, finite also for plus infinity."""
        n = len(self.ordered)
        if not n:
            return np.zeros(len(scores))
        above = n - np.searchsorted(self.ordered, scores, side="left")
        start, last = self.ordered[int(TAIL * n)], self.ordered[-1]
        excess = self.ordered[self.ordered > start] - start
        unit = float(excess.mean()) if len(excess) else max(abs(float(last)), 1.0)
        beyond = np.clip((scores - last) / unit, 0.0, FARTHEST)
        return np.log((1 + n) / (1 + above)) + TAIL_WEIGHT * np.log1p(beyond)

    @staticmethod
    def from_array(ordered: np.ndarray) -> CleanRanks:
        """The ranks of a folder.

        Raises:
            UntrustedModelError: The scores are not ascending.
        """
        if (np.diff(ordered) < 0).any():
            raise UntrustedModelError("a score: the scores of ordinary rows are not in ascending order.")
        return CleanRanks(ordered)
