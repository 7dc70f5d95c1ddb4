"""Tests of tails: how often data exceed the quantiles of the model, and whether a column has heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import betaincinv, betaln, gammaln

from pushforward.metrics._arrays import vector

TailVerdict = Literal["as expected", "model too light", "model too heavy", "not enough samples", "ties"]

ALPHA = 0.01  # probability of a false alarm per side and level
LEAST_BEYOND = 20  # samples beyond a threshold; with fewer the error of the threshold dominates

# The tail index: the threshold starts at an eighth of the rows and may fall to the larger of 50 rows and sqrt(n).
LEAST_TAIL_ROWS = 50
LEAST_INDEX_ROWS = 100
LEAST_DISTINCT = 15  # distinct values beyond the threshold; counts and coarsely rounded values have no tail to measure
DRIFT = 4.0  # standard errors by which estimates from fewer rows may differ before fewer rows are used
# The extreme-value index that light tails have at these thresholds; a lognormal of sigma 0.5 has about 0.10 there.
LIGHT_INDEX = 0.11
HEAVY_INDEX = 1 / 6
ONE_TAIL, BOTH_TAILS = 2.7, 2.3  # standard errors above LIGHT_INDEX, calibrated by simulation


@dataclass(frozen=True)
class TailLine:
    """How often data exceed one quantile of the model.

    Args:
        side: Side of the quantile, `"upper"` or `"lower"`.
        level: The probability that the model was asked for.
        threshold: Quantile of the model, which is an order statistic of its samples; NaN if samples are too few.
        expected: Expected number of data rows beyond the threshold if the model is right.
        observed: Number of data rows beyond the threshold; -1 if nothing was counted.
        low: Lower end of the exact (Clopper-Pearson) 95 % interval of the rate of data beyond the threshold.
        high: Upper end of that interval.
        p_value: Two-sided p-value from the beta-binomial law, which includes the sampling error of the threshold.
        verdict: Verdict at the 1 % level.
        sentence: The result as a sentence.
    """

    side: Literal["upper", "lower"]
    level: float
    threshold: float
    expected: float
    observed: int
    low: float
    high: float
    p_value: float
    verdict: TailVerdict
    sentence: str


@dataclass(frozen=True)
class TailExceedances:
    """All lines of `tail_exceedances`, and one sentence on them."""

    lines: tuple[TailLine, ...]
    sentence: str


@dataclass(frozen=True)
class TailIndex:
    r"""How the tails of a column fall: like $|x|^{-\alpha}$ where $\alpha$ is finite.

    Args:
        upper: Index $\alpha$ of the upper tail; infinity if it falls faster than every power, NaN if it is unknown.
        lower: Index $\alpha$ of the lower tail.
        upper_error: Standard error of $1/\alpha$ in the upper tail.
        lower_error: Standard error of $1/\alpha$ in the lower tail.
        upper_rows: Number of rows on which the upper estimate rests.
        lower_rows: Number of rows on which the lower estimate rests.
        heavy: Whether, in either tail, a light tail is ruled out and an index below 6 is estimated.
        df: Degrees of freedom of the Student-t whose tails fall like the heavier one; None if no tail is heavy.
        sentence: The result as a sentence.
    """

    upper: float
    lower: float
    upper_error: float
    lower_error: float
    upper_rows: int
    lower_rows: int
    heavy: bool
    df: float | None
    sentence: str


def tail_exceedances(data: Any, samples: Any, levels: Sequence[float] = (1e-2, 1e-3, 1e-4)) -> TailExceedances:
    r"""Count the data beyond the model's extreme quantiles, on both sides.

    The threshold at level $q$ is the $r$-th largest of the $m$ samples, $r = [q (m + 1)]$. Where model and data agree,
    the number of data rows beyond it is beta-binomial, $\mathrm{BB}(n;\, r,\, m + 1 - r)$, exactly: the error of the
    threshold is part of the law. Where samples repeat at the threshold, those strictly beyond it count.

    Args:
        data: One column `(n,)` of the data, finite.
        samples: Draws `(m,)` of this column from the model, finite; a level needs at least `20 / level` of them.
        levels: Probabilities beyond the quantiles, within (0, 0.5).

    Raises:
        ValueError: A shape is another, values are not finite, or levels are out of bounds.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import tail_exceedances
        >>> rng = np.random.default_rng(0)
        >>> result = tail_exceedances(rng.standard_t(2, 5000), rng.normal(size=200_000))
        >>> result.lines[0].verdict
        'model too light'
    """
    x, y = vector("tail_exceedances: data", data), vector("tail_exceedances: samples", samples)
    for name, values in (("data", x), ("samples", y)):
        if not np.isfinite(values).all():
            raise ValueError(f"tail_exceedances: {name}: expected finite values. Leave rows with NaN or infinity out.")
    if not levels or not all(0 < level < 0.5 for level in levels):
        raise ValueError(
            f"tail_exceedances: expected levels within (0, 0.5), got {levels}. The usual are 1e-2 to 1e-4."
        )
    lines = [_line("upper", level, x, np.sort(y)) for level in levels]
    lines += [_line("lower", level, -x, np.sort(-y)) for level in levels]
    wrong = [line for line in lines if line.verdict in ("model too light", "model too heavy")]
    counted = [line for line in lines if line.observed >= 0]
    if not counted:
        told = "No tail could be counted: draw more samples."
    elif wrong:
        told = f"{len(wrong)} of {len(counted)} counts in the tails contradict the model: " + wrong[0].sentence
    else:
        told = f"None of {len(counted)} counts in the tails contradicts the model at the 1 % level."
    return TailExceedances(tuple(lines), told)


def _line(side: Literal["upper", "lower"], level: float, x: np.ndarray, y: np.ndarray) -> TailLine:
    """Count one side at one level; the tail of interest is the upper one of `x` and of the sorted `y`."""
    n, m = len(x), len(y)
    sign = 1 if side == "upper" else -1
    place = f"beyond the {side} {level:g} quantile"

    def unknown(verdict: TailVerdict, threshold: float, sentence: str) -> TailLine:
        nan = math.nan
        return TailLine(side, level, threshold, nan, -1, nan, nan, nan, verdict, sentence)

    if m * level < LEAST_BEYOND:
        need = math.ceil(LEAST_BEYOND / level)
        return unknown("not enough samples", math.nan, f"Not enough samples {place}: {m:,} of {need:,} needed.")
    rank = round(level * (m + 1))
    threshold = float(y[m - rank])
    beyond = m - int(np.searchsorted(y, threshold, side="right"))
    if beyond + 1 < rank / 2:
        return unknown("ties", sign * threshold, f"Samples repeat at the {side} {level:g} quantile: nothing to count.")
    observed = int((x > threshold).sum())
    a, b = beyond + 1, m - beyond
    below, above = _beta_binomial_tails(observed, n, a, b)
    p_value = min(1.0, 2 * min(below, above))
    expected = n * a / (a + b)
    low = 0.0 if observed == 0 else float(betaincinv(observed, n - observed + 1, 0.025))
    high = 1.0 if observed == n else float(betaincinv(observed + 1, n - observed, 0.975))
    verdict: TailVerdict = "as expected"
    if p_value < ALPHA:
        verdict = "model too light" if above < below else "model too heavy"
    meaning = {
        "as expected": "no contradiction"
        if expected >= 5
        else "no contradiction, but so few rows could show only a gross one",
        "model too light": "such values are more common than the model says",
        "model too heavy": "such values are rarer than the model says",
    }[verdict]
    rate = f"95 % interval of the rate {low:.2g} to {high:.2g}"
    sentence = f"{observed:,} of {n:,} rows {place}, {expected:.3g} expected ({rate}, p = {p_value:.2g}): {meaning}."
    return TailLine(side, level, sign * threshold, expected, observed, low, high, p_value, verdict, sentence)


def _beta_binomial_tails(k: int, n: int, a: float, b: float) -> tuple[float, float]:
    """The probabilities P(X <= k) and P(X >= k) of the beta-binomial law; each tail is summed from its own side."""
    mean = n * a / (a + b)
    spread = math.sqrt(mean * (1 + n / (a + b)))
    reach = int(40 * spread) + 200  # beyond it no term counts in float64

    def total(first: int, last: int) -> float:
        j = np.arange(first, last + 1)
        choose = gammaln(n + 1) - gammaln(j + 1) - gammaln(n - j + 1)
        return float(np.exp(choose + betaln(j + a, n - j + b) - betaln(a, b)).sum())

    below = total(max(0, min(k, int(mean)) - reach), k)
    above = total(k, min(n, max(k, int(mean)) + reach))
    return min(below, 1.0), min(above, 1.0)


def tail_index(x: Any) -> TailIndex:
    r"""Estimate how the tails of a column fall, and whether they are heavy.

    Let $L_i = \log(y_{(i)} / y_{(k+1)})$ over the $k$ largest distances $y$ from the median on one side, and let
    $M_j$ be the mean of $L_i^j$. The extreme-value index is $\xi = M_1 + 1 - \tfrac12 (1 - M_1^2 / M_2)^{-1}$, with
    standard error $\sqrt{(1 + \xi^2) / k}$ where $\xi \ge 0$, and $\alpha = 1 / \xi$. The number of rows $k$ is the
    largest that agrees with all smaller ones (Lepski's rule), from an eighth of all rows down. A tail is heavy if
    $\xi > 1/6$ and $\xi$ exceeds by 2.7 standard errors what light tails show at such thresholds (0.11), or if both
    tails together exceed it by 2.3.

    By simulation, for 500 to 50,000 rows: normal, uniform, exponential and lognormal ($\sigma \le 0.5$) columns are
    called heavy in less than 2 % of cases, a Student-t of 3 degrees of freedom from 2,000 rows on in more than 90 %.
    A lognormal of $\sigma = 1$ is called heavy too: at these thresholds it is.

    Args:
        x: Column `(n,)`, finite.

    Raises:
        ValueError: The shape is another, or values are not finite.

    Source: Dekkers, Einmahl, de Haan, 1989, Annals of Statistics 17; the choice of k after Boucheron and Thomas, 2015,
        Electronic Journal of Statistics 9.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import tail_index
        >>> tail_index(np.random.default_rng(0).standard_cauchy(5000)).heavy
        True
    """
    values = vector("tail_index", x)
    if not np.isfinite(values).all():
        raise ValueError("tail_index: expected finite values, got NaN or infinity. Leave these rows out.")
    peak = np.abs(values).max()
    values = values / peak if peak > 0 else values  # so that no difference overflows; the index has no unit
    centred = values - np.median(values)
    tails = [_extreme_value_index(sign * centred) for sign in (1.0, -1.0)]
    excess = [(xi - LIGHT_INDEX) / error for xi, error, _ in tails]
    heavy_one = [xi > HEAVY_INDEX and z > ONE_TAIL for (xi, _, _), z in zip(tails, excess, strict=True)]
    mean = (tails[0][0] + tails[1][0]) / 2
    heavy_both = min(excess) > 0 and mean > HEAVY_INDEX and sum(excess) / math.sqrt(2) > BOTH_TAILS
    heavy = any(heavy_one) or heavy_both
    # The mean is taken if only both tails together are heavy: the larger of two noisy estimates would be too large.
    worst = max(xi for (xi, _, _), one in zip(tails, heavy_one, strict=True) if one) if any(heavy_one) else mean
    df = max(1 / worst, 0.1) if heavy else None
    alphas = [math.nan if math.isnan(xi) else (1 / xi if xi > 0 else math.inf) for xi, _, _ in tails]
    (_, upper_error, upper_rows), (_, lower_error, lower_rows) = tails
    sentence = _tail_sentence(values, alphas, heavy, df)
    return TailIndex(alphas[0], alphas[1], upper_error, lower_error, upper_rows, lower_rows, heavy, df, sentence)


def _tail_sentence(values: np.ndarray, alphas: list[float], heavy: bool, df: float | None) -> str:
    """The estimate as a sentence."""
    if len(values) < LEAST_INDEX_ROWS or any(map(math.isnan, alphas)):
        told = (
            f"{len(values):,} rows with too few distinct values" if len(values) >= LEAST_INDEX_ROWS else "too few rows"
        )
        if not heavy:
            return f"The tails cannot be judged: {told} ({LEAST_INDEX_ROWS} or more are needed)."
    figures = f"tail index {alphas[0]:.2g} upper, {alphas[1]:.2g} lower"
    if heavy and df is not None:
        lost = "mean" if df <= 1 else "variance" if df <= 2 else "fourth moment" if df <= 4 else "sixth moment"
        return (
            f"Heavy tails ({figures}): by this estimate the column has no finite {lost}, which a normal base "
            f"cannot follow; use a Student-t with about {df:.2g} degrees of freedom."
        )
    return f"No sign of heavy tails ({figures}): a normal base will do."


def _extreme_value_index(y: np.ndarray) -> tuple[float, float, int]:
    """The index of the upper tail of centred values, its standard error, and the number of rows on which it rests.

    The index is minus infinity if the largest values repeat (a hard bound), and NaN if there are too few values.
    """
    n = len(y)
    y = np.sort(y[y > 0])[::-1]
    most = len(y) // 4
    if n < LEAST_INDEX_ROWS or most < 10:
        return math.nan, math.nan, 0
    if y[0] == y[most]:
        return -math.inf, math.sqrt(1 / most), most
    if len(np.unique(y[: most + 1])) < LEAST_DISTINCT:
        return math.nan, math.nan, 0
    sizes = [most]
    while sizes[-1] // 2 >= max(LEAST_TAIL_ROWS, math.sqrt(n)):
        sizes.append(sizes[-1] // 2)
    k = np.array(sizes[::-1])
    logs = np.log(y[: most + 1])
    logs -= logs[-1]
    first, second, at = np.cumsum(logs)[k - 1] / k, np.cumsum(logs**2)[k - 1] / k, logs[k]
    m1 = first - at
    variance = second - first**2  # of the logs beyond the threshold
    m2 = variance + m1**2
    bounded = variance <= 1e-12 * (1 + second)  # equal values, up to the rounding of the sums
    xi = m1 + 1 - 0.5 * m2 / np.where(bounded, 1.0, variance)
    xi = np.where(bounded, -math.inf, xi)
    scale = 1 + np.maximum(xi, 0) ** 2
    if not np.isfinite(xi).all():
        return (-math.inf, math.sqrt(1 / most), most)
    chosen = 0
    for i in reversed(range(len(k))):
        if np.all(np.abs(xi[i] - xi[:i]) <= DRIFT * np.sqrt(scale[i] * np.maximum(1 / k[:i] - 1 / k[i], 0))):
            chosen = i
            break
    return float(xi[chosen]), float(np.sqrt(scale[chosen] / k[chosen])), int(k[chosen])
