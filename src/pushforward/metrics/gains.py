"""What a model gains over simple densities, from the paired differences of held-out rows, and whether that is sure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from pushforward.metrics._arrays import shares, vector
from pushforward.metrics.baselines import Baseline
from pushforward.numerics.mean_error import mean_and_error

# Confidence with which a difference of any size, to either side, is called one.
CONFIDENCE = 0.95
# Nats per row that are no reason to prefer a larger model: two per cent of a density.
TRIFLE = 0.02
# A few rows dominate a mean if this share of the rows, rounded up, makes up this share of the variance.
FEW, DOMINANT, MOST = 0.02, 0.5, 0.95


class Gain(NamedTuple):
    """What a model gains over one baseline.

    Args:
        name: Name of the baseline.
        gain: Mean difference of the log-densities, in nats per row; positive where the model is better.
        standard_error: Standard error of the gain, from the paired differences.
        sentence: The comparison as a sentence or two.
    """

    name: str
    gain: float
    standard_error: float
    sentence: str


def compare(model_per_row: Any, against: Sequence[Baseline], *, weights: Any = None) -> list[Gain]:
    r"""Compute what a model gains over each baseline, per held-out row, and say how sure that is.

    The standard error $s$ is that of the paired differences, so that rows that are hard for both do not inflate it. A
    gain $g$ is sure if $|g| > t s$, with the quantile $t$ of Student's distribution for a confidence of 95 %. One that
    is not is called a reason for the simpler density only if $g \le 0$, or if even $g + t s$ is a trifle, 0.02 nats.
    If two per cent of the rows make up most of the variance of the differences, the mean says little about the others:
    then the gain without these rows is given beside it.

    Args:
        model_per_row: Log-density of the held-out rows `(m,)` under the model, in nats and in the units of the
            baselines.
        against: Baselines that `baselines` returned for the same rows.
        weights: Weights `(m,)` of the held-out rows.

    Raises:
        ValueError: Lengths differ, or weights are below zero.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import baselines, compare
        >>> rows = np.random.default_rng(0).normal(size=(400, 1))
        >>> exact = -0.5 * rows[300:, 0] ** 2 - 0.5 * np.log(2 * np.pi)
        >>> len(compare(exact, baselines(rows[:300], rows[300:])))
        3
    """
    model = vector("compare: model_per_row", model_per_row)
    share = shares("compare: weights", weights, len(model))
    found = []
    for baseline in against:
        with np.errstate(invalid="ignore"):
            difference = model - vector(f"compare: {baseline.name}", baseline.per_row, len(model))
        gain, error = map(float, mean_and_error(difference, share))
        words = _incomparable(baseline, gain, error, model)
        if words is None:
            words = " ".join(
                [_judged(_named(baseline), gain, error, int((share > 0).sum())), *_dominated(difference, share)]
            )
        found.append(Gain(baseline.name, gain, error, words))
    return found


def _named(baseline: Baseline) -> str:
    return f"the {baseline.name}" if baseline.name == "Gaussian" else f"a {baseline.name}"


def _incomparable(baseline: Baseline, gain: float, error: float, model: np.ndarray) -> str | None:
    """Why there is no comparison, or None if there is one."""
    name = _named(baseline)
    if np.isnan(model).any():
        bad = int(np.isnan(model).sum())
        return f"The model's log-density is NaN for {bad:,} rows: it cannot be compared with {name}."
    if math.isnan(baseline.nats):
        return f"There is nothing to compare with: {name} could not be fitted ({baseline.detail})."
    if not math.isfinite(gain):
        which = "the model" if gain < 0 else name
        return f"A held-out row has density zero under {which}: the mean difference to {name} is {gain} nats per row."
    if math.isnan(error):
        return f"One held-out row cannot compare the model with {name} ({gain:+.4f} nats): hold more rows out."
    return None


def _judged(name: str, gain: float, error: float, rows: int) -> str:
    """The comparison in a sentence, as sure as its figures are."""
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, rows - 1)) * error
    size, signed = f"{abs(gain):.4f} +- {error:.4f} nats per row", f"{gain:+.4f} +- {error:.4f} nats per row"
    if abs(gain) > reach:
        if gain > 0:
            return f"The model beats {name} by {size}: it gives a held-out row {_factor(gain)} the density on average."
        return f"The model is worse than {name} by {size}: do not use it before you know why."
    if gain <= 0 or gain + reach <= TRIFLE:
        return f"The model cannot be told apart from {name} ({signed}): use the simpler one."
    more = f"{rows:,} held-out rows are too few to be sure. Hold more rows out"
    return f"The model does better than {name} on the rows held out ({signed}), but {more}."


def _dominated(difference: np.ndarray, share: np.ndarray) -> list[str]:
    """A sentence on the few rows that make up most of the variance of the differences, if there are such."""
    centre = share @ difference
    pull = share**2 * (difference - centre) ** 2
    few = max(1, math.ceil(FEW * len(difference)))
    far = np.argsort(pull)[::-1][:few]
    if not pull[far].sum() > DOMINANT * pull.sum() or len(difference) < 10 * few:
        return []
    # No more of them than do so: the last ones may be as ordinary as any.
    far = far[: int(np.searchsorted(np.cumsum(pull[far]), MOST * pull[far].sum())) + 1]
    kept = np.delete(np.arange(len(difference)), far)
    gain, error = map(float, mean_and_error(difference[kept], share[kept]))
    which = "One row makes" if len(far) == 1 else f"{len(far):,} of {len(difference):,} rows make"
    percent = f"{pull[far].sum() / pull.sum():.0%}"
    it = "it" if len(far) == 1 else "them"
    return [f"{which} up {percent} of the variance of that difference; without {it} it is {gain:+.4f} +- {error:.4f}."]


def _factor(gain: float) -> str:
    return f"{math.exp(gain):.3g} times" if gain < 20 else f"e^{gain:.0f} times"
