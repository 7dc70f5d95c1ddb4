"""Checks how much accuracy float32 loses, and how much the map stretches and squeezes."""

from __future__ import annotations

import numpy as np

from pushforward.checking.context import MAX_JACOBIAN_DIM, Context
from pushforward.checking.report import CheckLine, Outcome
from pushforward.checking.round_trip import skipped

GAP_ROWS = 2048
MEDIAN_GAP = 0.05  # nats: as much as people report as the difference between two models
LARGE_GAP = 1.0  # nats, of a single row
ILL_CONDITIONED = 1e5  # float32 has 7 digits; two are left


def check_precision(context: Context) -> CheckLine:
    """Compare `log_prob` in float32 and in float64, on the data or, without data, on samples."""
    name = "float32 against float64"
    if context.model.needs_key:
        return CheckLine(name, None, None, "skipped", "The log-density is random, with other draws in float32.")
    if context.traits.inverse == "absent":
        return CheckLine(name, None, None, "skipped", "The model cannot score rows.")
    if context.data is None:
        rows, conditions, exact = context.points, context.point_conditions, context.scores.log_prob
    else:
        rows, exact = context.data[:GAP_ROWS], context.data_scores.log_prob[:GAP_ROWS]
        conditions = None if context.condition is None else context.condition[:GAP_ROWS]
    narrow = context.narrow.score(rows, conditions).log_prob
    lost = np.isfinite(exact) & ~np.isfinite(narrow)
    both = np.isfinite(exact) & np.isfinite(narrow)
    if not both.any():
        return CheckLine(name, np.nan, MEDIAN_GAP, "fail", "No row has a finite log-density in both precisions.")
    gap = np.abs(exact[both] - narrow[both])
    median, high, largest = (float(v) for v in (np.median(gap), np.quantile(gap, 0.99), gap.max()))
    verdict: Outcome = "pass"
    if lost.any() or median > MEDIAN_GAP:
        verdict = "fail"
    elif largest > LARGE_GAP:
        verdict = "note"
    text = f"Computed in float32, the log-density of {len(rows)} rows is off by {median:.1e} nats in the median,"
    text += f" {high:.1e} at the 99 % quantile and {largest:.1e} at most."
    if lost.any():
        text += f" {int(lost.sum())} rows that have a density in float64 have none in float32."
    if verdict == "fail":
        text += " Score in float64 (pf.FlowDensity does)."
    return CheckLine(name, median, MEDIAN_GAP, verdict, text)


def check_conditioning(context: Context) -> CheckLine:
    """Measure the largest and smallest singular values of the Jacobian from latent to data.

    The values estimate the bi-Lipschitz constants of the map. Data are measured in standard deviations of each
    coordinate, so that units do not count. Since only some rows are looked at, the true constants may be worse.

    Source: Behrmann, Vicol, Wang, Grosse, Jacobsen, 2021, "Understanding and mitigating exploding inverses in
    invertible neural networks", arXiv 2006.09347.
    """
    name = "conditioning"
    if context.bijection is None or not context.two_way:
        return skipped(name, context)
    if not context.jacobian_rows:
        why = f"An event has {context.dim} elements, too many for a Jacobian (at most {MAX_JACOBIAN_DIM})."
        return CheckLine(name, None, None, "skipped", why)
    # The bijection runs from latent to data; the scales turn its Jacobian into one without units.
    data, base = context.spread, context.base_spread[1]
    jacobian = context.derived.jacobian
    if context.derived_forward:
        values = _singular_values(jacobian * base / data[:, None])
    else:
        values = 1 / _singular_values(jacobian * data / base[:, None])
    if not np.isfinite(values).all():
        return CheckLine(name, np.nan, ILL_CONDITIONED, "note", "The Jacobian is singular or not finite at some rows.")
    condition = float((values.max(axis=1) / values.min(axis=1)).max())
    text = f"At {len(values)} rows the map from latent to data stretches by {values.max():.2g} at most and squeezes to"
    text += f" {values.min():.2g} (in standard deviations); the worst condition number is {condition:.1e}."
    if condition > ILL_CONDITIONED:
        text += " Float32 loses most of its seven digits there: use float64."
    return CheckLine(name, condition, ILL_CONDITIONED, "note" if condition > ILL_CONDITIONED else "pass", text)


def _singular_values(jacobian: np.ndarray) -> np.ndarray:
    """Singular values `(n, D)`; NaN for a matrix that is not finite, tiny instead of 0 for a singular one."""
    out = np.full(jacobian.shape[:2], np.nan)
    finite = np.isfinite(jacobian).all(axis=(1, 2))
    out[finite] = np.linalg.svd(jacobian[finite], compute_uv=False)
    return np.where(out == 0, np.finfo(float).tiny, out)
