r"""Watches a stream: bets against the rows' being exchangeable with those before, and what the bets have won.

Under exchangeability the smoothed p-values of a stream are independent and uniform, so that no bet gains on average:
the capital is a martingale that starts at 1, and by Ville's inequality it ever reaches $1/\alpha$ with probability
$\alpha$ at most. A look after every row costs nothing.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.metrics._arrays import generator, vector
from pushforward.metrics.conformal import scores_of

# Powers that bets are spread over: small ones win fast from large changes, those near 1 slowly from small ones.
POWERS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# Bins that scores fall into, and rows that are compared among themselves at once.
BINS, BLOCK = 4096, 256


class PowerBets:
    r"""Bets that p-values are small: a mixture of $\prod_t \epsilon p_t^{\epsilon - 1}$ over $\epsilon$.

    Each factor integrates to 1 over a uniform $p$. It wins where new rows are more unusual than those before.

    Source: Vovk, Gammerman, Shafer, 2005, Algorithmic learning in a random world, sec. 7.1.

    Example:
        >>> from pushforward.metrics import PowerBets
        >>> bool(PowerBets().update([0.01, 0.01, 0.02])[-1] > 3)
        True
    """

    def __init__(self) -> None:
        self._powers = np.array(POWERS)
        self._log = np.zeros(len(POWERS))

    def update(self, p_values: Any) -> np.ndarray:
        """Bet on the next p-values.

        Args:
            p_values: Smoothed p-values `(n,)`, above 0 and at most 1.

        Returns:
            The logarithm of the capital after each of them, `(n,)`.
        """
        p = _positive("PowerBets.update", p_values)
        if not len(p):
            return p
        gains = np.log(self._powers) + (self._powers - 1) * np.log(p)[:, None]
        path = self._log + np.cumsum(gains, axis=0)
        self._log = path[-1]
        return np.logaddexp.reduce(path, axis=1) - math.log(len(POWERS))


class SimpleJumper:
    r"""Bets that p-values lean to one side, and changes sides: factors $1 + \epsilon (p - 1/2)$.

    The capital is spread over $\epsilon$ = -1, 0 and 1, and a share $J$ of it is spread anew before each bet, so that
    a change late in a stream is found as one at its start. It wins from unusual rows and from rows that are all too
    usual.

    Args:
        jump: The share $J$.

    Source: Vovk et al., 2021, Retrain or not retrain: conformal test martingales for change-point detection,
        algorithm 1, arXiv 2102.10439.

    Example:
        >>> from pushforward.metrics import SimpleJumper
        >>> bool(SimpleJumper().update([0.9] * 100)[-1] > 3)
        True
    """

    def __init__(self, jump: float = 0.01):
        if not 0 <= jump <= 1:
            raise ValueError(message("SimpleJumper", "a jump from 0 to 1", repr(jump), "0.01 is usual."))
        self._jump = jump
        self._shares = (1 / 3, 1 / 3, 1 / 3)
        self._log = 0.0

    def update(self, p_values: Any) -> np.ndarray:
        """Bet on the next p-values; as `PowerBets.update`.

        Args:
            p_values: Smoothed p-values `(n,)`, above 0 and at most 1.
        """
        (low, none, high), log, path = self._shares, self._log, []
        keep, spread = 1 - self._jump, self._jump / 3
        for lean in (_positive("SimpleJumper.update", p_values) - 0.5).tolist():
            # The shares sum to 1 before each bet; what they sum to after it is the factor that the capital gains.
            low, none, high = (
                (keep * low + spread) * (1 - lean),
                keep * none + spread,
                (keep * high + spread) * (1 + lean),
            )
            factor = low + none + high
            low, none, high = low / factor, none / factor, high / factor
            log += math.log(factor)
            path.append(log)
        self._shares, self._log = (low, none, high), log
        return np.array(path)


def _positive(name: str, values: Any) -> np.ndarray:
    p = vector(name, values, least=0)
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError(message(name, "p-values above 0 and at most 1", "others", "Pass smoothed p-values."))
    return p


class SmoothedRanks:
    r"""The smoothed p-values of a stream, each among all scores before it, in memory that does not grow.

    $$p_t = \frac{\#\{i < t : b_i > b_t\} + U_t \#\{i \le t : b_i = b_t\}}{t + n}$$

    with $U_t$ uniform on (0, 1], over the $n$ calibration scores and the rows of the stream before. $b$ is the bin of a
    score. The bins are the gaps between calibration scores (of many, between their quantiles), and these scores
    themselves. Where rows are exchangeable, so are those in one gap, and drawing their order has the law of their true
    order: the p-values are exactly uniform and independent, while counts of bins are all that is kept.

    Args:
        calibration: Scores of calibration rows `(n,)`; higher is more unusual.
        seed: Seed of the uniform numbers.

    Source: Vovk, Gammerman, Shafer, 2005, Algorithmic learning in a random world, sec. 2.5.

    Example:
        >>> from pushforward.metrics import SmoothedRanks
        >>> bool(0 < SmoothedRanks([1.0, 2.0, 3.0]).update([5.0])[0] <= 0.25)
        True
    """

    def __init__(self, calibration: Any, *, seed: int = 0):
        known = np.sort(scores_of("SmoothedRanks", calibration))
        places = np.unique(np.linspace(0, len(known) - 1, min(len(known), BINS)).astype(np.int64))
        self._edges = np.unique(known[places])
        # A score at an edge and one between edges are in bins of their own.
        self._counts = np.bincount(self._bin(known), minlength=2 * len(self._edges) + 1)
        self._rng = generator("SmoothedRanks", seed)

    def _bin(self, scores: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._edges, scores, side="left") + np.searchsorted(self._edges, scores, side="right")

    def update(self, scores: Any) -> np.ndarray:
        """The p-values `(m,)` of the next scores of the stream, each among all before it.

        Args:
            scores: Scores `(m,)`, in their order.
        """
        rows = self._bin(scores_of("SmoothedRanks.update", scores, least=0))
        found = np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            own = rows[start : start + BLOCK]
            above = np.append(np.cumsum(self._counts[::-1])[::-1][1:], 0)[own]
            same, total = self._counts[own], self._counts.sum() + np.arange(1, len(own) + 1)
            before = np.tri(len(own), k=-1, dtype=bool)
            above = above + (before & (own[None, :] > own[:, None])).sum(axis=1)
            same = same + (before & (own[None, :] == own[:, None])).sum(axis=1) + 1
            found[start : start + BLOCK] = (above + (1 - self._rng.random(len(own))) * same) / total
            self._counts += np.bincount(own, minlength=len(self._counts))
        return found


class DriftMartingale:
    r"""Watches the scores of a stream for a change, with calibration scores as what came before it.

    The capital is the mean of two: `PowerBets`, which is fast where rows become more unusual, and `SimpleJumper`, which
    sees changes to either side. With several groups of calibration scores, one for each model of a cross-fit, it is
    the mean over these too: a mean of martingales is one.

    Args:
        calibration: Scores `(n,)` of calibration rows; or a list of them, one for each model.
        seed: Seed of the uniform numbers that break ties.

    Attributes:
        rows: Number of rows seen.
        log_capital: Logarithm of the capital now.
        most: Largest logarithm of the capital so far.
        most_at: Number of the row, counted from 1, after which it was that; 0 before any row gained.

    Source: Vovk, 2021, Testing randomness online, doi 10.1214/20-STS817; Ville, 1939, Étude critique de la notion de
        collectif.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import DriftMartingale
        >>> rng = np.random.default_rng(0)
        >>> watch = DriftMartingale(rng.normal(size=500))
        >>> path = watch.update(rng.normal(2.0, size=100))
        >>> watch.p_value < 0.001
        True
    """

    def __init__(self, calibration: Any, *, seed: int = 0):
        groups = calibration if isinstance(calibration, list | tuple) and np.ndim(calibration[0]) else [calibration]
        self._ranks = [SmoothedRanks(group, seed=seed + k) for k, group in enumerate(groups)]
        self._bets = [(PowerBets(), SimpleJumper()) for _ in groups]
        self.rows, self.log_capital, self.most, self.most_at = 0, 0.0, 0.0, 0

    @property
    def p_value(self) -> float:
        r"""Bound on the probability that exchangeable rows gain as much, ever: $e^{-\text{most}}$."""
        return math.exp(-self.most)

    def update(self, scores: Any) -> np.ndarray:
        """Bet on the next rows of the stream.

        Args:
            scores: Scores of the rows `(m,)` in their order, or `(m, K)` under each of the models.

        Returns:
            The logarithm of the capital after each row, `(m,)`.

        Raises:
            ValueError: A score is NaN, or the models are not as many as the groups.
        """
        rows = np.asarray(scores, np.float64)
        rows = rows[:, None] if rows.ndim == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != len(self._ranks):
            fix = "Pass one column for each group of calibration scores."
            got = f"shape {np.shape(scores)}"
            raise ValueError(message("DriftMartingale.update", f"scores (m, {len(self._ranks)})", got, fix))
        if not len(rows):
            return np.zeros(0)
        paths = []
        for k, (ranks, bets) in enumerate(zip(self._ranks, self._bets, strict=True)):
            p = ranks.update(rows[:, k])
            paths += [bet.update(p) for bet in bets]
        path = np.logaddexp.reduce(np.array(paths), axis=0) - math.log(len(paths))
        best = int(path.argmax())
        if path[best] > self.most:
            self.most, self.most_at = float(path[best]), self.rows + best + 1
        self.rows, self.log_capital = self.rows + len(rows), float(path[-1])
        return path
