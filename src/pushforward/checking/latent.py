"""Checks that the latents of held-out data follow the base. This tells how good the fit is, not whether it is exact."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from scipy import special, stats

from pushforward.checking.context import Context, flat
from pushforward.checking.report import CheckLine, Outcome
from pushforward.checking.round_trip import skipped
from pushforward.distributions import DiagonalNormal, StandardNormal, StudentT, UniformBox
from pushforward.distributions.base import AbstractDistribution

MIN_ROWS = 50  # with fewer, no test says anything
ALPHA = 1e-3  # probability of a note although the fit is perfect, over all dimensions
GROSS_DISTANCE = 0.1  # between distribution functions: a shift by 0.25 standard deviations
GROSS_CORRELATION = 0.3
GROSS_RADIUS = 1.5  # times the median squared radius, or a share of it
SMALLEST = 1e-300  # a probability below this would become an infinite normal score


def normal_scores(base: AbstractDistribution, latents: np.ndarray) -> np.ndarray | None:
    """Convert latents `(n, D)` to numbers that are standard normal if the latents come from the base.

    The result is None for a base whose distribution function is not known.
    """
    if isinstance(base, StandardNormal):
        return latents
    if isinstance(base, DiagonalNormal):
        loc, log_scale = (np.asarray(a, np.float64).ravel() for a in (base.loc, base.log_scale))
        return (latents - loc) * np.exp(-log_scale)
    if isinstance(base, StudentT):
        # The nearer tail is used, where a probability keeps its digits.
        tail = np.maximum(stats.t.sf(np.abs(latents), np.exp(np.asarray(base.log_df, np.float64).ravel())), SMALLEST)
        return np.where(np.isnan(latents), np.nan, -np.sign(latents) * special.ndtri(tail))
    if isinstance(base, UniformBox):
        low, high = (np.asarray(a.value, np.float64).ravel() for a in (base.low, base.high))
        return special.ndtri(np.clip((latents - low) / (high - low), 0, 1))  # infinite beyond the box
    return None


def check_latents(context: Context) -> CheckLine:
    """Compare each coordinate of the latents with the base by Kolmogorov-Smirnov tests, with Holm's correction."""
    name = "latents, each coordinate"
    line = _not_applicable(name, context)
    if line is not None:
        return line
    latents = flat(context.data_scores.latents)
    if not np.isfinite(latents).all():
        return CheckLine(name, np.nan, GROSS_DISTANCE, "fail", "Latents of the data are NaN or infinite.")
    base = getattr(context.wide.model, "base", None)
    scores = None if base is None else normal_scores(base, latents)
    if scores is not None:
        tests: list[Any] = [stats.kstest(column, "norm") for column in scores.T]
    else:  # against draws instead of a distribution function
        key = jax.random.fold_in(context.key, 40)
        draws = flat(context.wide.latents(key, len(latents), context.condition))
        tests = [stats.ks_2samp(one, two) for one, two in zip(latents.T, draws.T, strict=True)]
    distances = np.array([float(test.statistic) for test in tests])
    significant = holm(np.array([float(test.pvalue) for test in tests]), ALPHA)
    worst = int(np.argmax(distances))
    verdict: Outcome = "note" if significant.any() else "pass"
    if (significant & (distances > GROSS_DISTANCE)).any():
        verdict = "fail"
    text = f"Over {len(latents)} rows the distribution function of a latent coordinate is {distances[worst]:.3f} from"
    text += f" the base's at most (coordinate {worst})."
    if verdict == "pass":
        text += " That is no more than chance."
    else:
        text += f" {int(significant.sum())} of {len(tests)} coordinates differ by more than chance"
        text += ": the fit is poor." if verdict == "fail" else ": the fit is good but not perfect."
    return CheckLine(name, float(distances[worst]), GROSS_DISTANCE, verdict, text)


def check_latents_joint(context: Context) -> CheckLine:
    """Check the latents jointly: their squared radii follow chi-squared, and their coordinates are uncorrelated."""
    name = "latents, jointly"
    line = _not_applicable(name, context)
    if line is not None:
        return line
    base = getattr(context.wide.model, "base", None)
    scores = None if base is None else normal_scores(base, flat(context.data_scores.latents))
    if scores is None:
        why = f"The distribution function of the base ({type(base).__name__}) is not known."
        return CheckLine(name, None, None, "skipped", why)
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores).all(axis=1)).sum())
        text = f"{bad} rows have latents where the base has no density."
        return CheckLine(name, np.nan, GROSS_RADIUS, "fail", text)
    dim = scores.shape[1]
    radii = (scores**2).sum(axis=1)
    test: Any = stats.kstest(radii, "chi2", args=(dim,))
    ratio = float(np.median(radii) / stats.chi2.ppf(0.5, dim))
    unusual = bool(test.pvalue < ALPHA)
    text = f"The squared distance of latents from the centre is {ratio:.2f} times what the base has, in the median"
    text += f" (distribution functions {test.statistic:.3f} apart)"
    gross = unusual and not 1 / GROSS_RADIUS < ratio < GROSS_RADIUS
    if dim > 1:
        correlation, limit = largest_correlation(scores)
        unusual |= correlation > limit
        gross |= correlation > max(limit, GROSS_CORRELATION)
        text += f"; the largest correlation of two coordinates is {correlation:.3f} (chance stays below {limit:.3f})"
    verdict: Outcome = "fail" if gross else "note" if unusual else "pass"
    text += {"pass": ".", "note": ": good but not perfect.", "fail": ": the fit is poor."}[verdict]
    return CheckLine(name, max(ratio, 1 / ratio) if ratio > 0 else math.inf, GROSS_RADIUS, verdict, text)


def largest_correlation(scores: np.ndarray) -> tuple[float, float]:
    """The largest absolute correlation of two columns, and the bound that chance alone does not exceed (Bonferroni)."""
    n, dim = scores.shape
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = np.abs(np.corrcoef(scores, rowvar=False))
    pairs = matrix[np.triu_indices(dim, 1)]
    # Fisher: arctanh of a correlation is normal with variance 1 / (n - 3).
    quantile = stats.norm.isf(ALPHA / (dim * (dim - 1)))
    return float(np.nan_to_num(pairs, nan=1.0).max()), float(np.tanh(quantile / math.sqrt(n - 3)))


def holm(p_values: np.ndarray, alpha: float) -> np.ndarray:
    """Which of several tests reject if the probability of any false rejection is to be at most `alpha`.

    Source: Holm, 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values)
    passed = p_values[order] <= alpha / np.arange(len(p_values), 0, -1)
    rejected = np.zeros(len(p_values), bool)
    rejected[order[: int(np.argmin(passed)) if not passed.all() else len(passed)]] = True
    return rejected


def _not_applicable(name: str, context: Context) -> CheckLine | None:
    if context.bijection is None or context.traits.inverse == "absent":
        return skipped(name, context)
    if context.data is None:
        return CheckLine(name, None, None, "skipped", "There are no data. Pass held-out rows.")
    if len(context.data) < MIN_ROWS:
        why = f"{len(context.data)} rows are too few to tell ({MIN_ROWS} or more)."
        return CheckLine(name, None, None, "skipped", why)
    return None
