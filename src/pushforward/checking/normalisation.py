"""Checks that the density integrates to one and that the samples are drawn from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pushforward.checking.comparison_density import NormalMixture
from pushforward.checking.context import Context, flat, robust_spread
from pushforward.checking.programs import GRID_CHUNK
from pushforward.checking.report import CheckLine

TOLERANCE = 1e-3  # error allowed in an integral by quadrature
STABLE = 4e-4  # change of the integral below which the grid is fine enough; the error that is left is smaller
GRIDS = {1: (4096, 8192, 16384, 65536, 262144), 2: (96, 192, 384, 768)}  # points along each axis
GRID_SPREADS = 1.5  # the middle half of the grid lies within this many standard deviations
SMALL_GRID = 40_000  # points up to which the program that scores rows does, and none is compiled for larger chunks
GRID_CONDITIONS = 2
MIXTURE_CONDITIONS = 2
FIT_ROWS = 2048
DRAWS = 4096
DRAWS_HIGH = 2048  # in more than `HIGH_DIM` dimensions
HIGH_DIM = 64
MAX_DIM = 256
STANDARD_ERRORS = 4.0
LARGEST_ERROR = 0.05
MIN_EFFECTIVE = 100  # draws that the estimate must rest on
ATOMS = 0.01  # share of repeated values in a column at which the samples are not continuous


def check_normalisation(context: Context) -> CheckLine:
    r"""Check $\int p(x)\,dx = 1$ by quadrature in one and two dimensions, and otherwise by bridge sampling.

    Bridge sampling draws $x \sim p$ by the model's own sampler and $y \sim q$ from a mixture of normals $q$ that is
    fitted to other samples. For $a = \mathrm{mean}\,[p/(p + q)](y)$ and $b = \mathrm{mean}\,[q/(p + q)](x)$ the ratio
    $a / b$ estimates the integral of $p$. Both averaged numbers lie between 0 and 1, so that neither tail can spoil the
    estimate; the means of $p/q$ over $q$ and of $q/p$ over $p$ have heavy tails unless one density covers the other.
    The estimate needs only that the densities overlap, and its standard error shows how much they do. The check also
    fails if the samples do not follow the density.

    Source: Meng, Wong, 1996, "Simulating ratios of normalizing constants via a simple identity", eq. 2.2.
    """
    name = "normalisation"
    if context.model.needs_key:
        return CheckLine(name, None, None, "skipped", "The log-density is a random estimate; see the log-det.")
    if not context.can_sample:
        return CheckLine(name, None, None, "skipped", "The model cannot draw, and no other estimate has power.")
    if repeated(flat(context.all_samples)) > ATOMS:
        why = "Samples repeat values: the model has columns with atoms, and no density to integrate."
        return CheckLine(name, None, None, "skipped", why)
    if context.n_bad_samples:
        return CheckLine(name, np.nan, None, "fail", f"{context.n_bad_samples} samples are NaN or infinite.")
    if context.dim in GRIDS:
        line = by_quadrature(name, context)
        if line is not None:
            return line
    if context.dim > MAX_DIM:
        why = f"An event has {context.dim} elements: no estimate of the integral has power beyond {MAX_DIM}."
        return CheckLine(name, None, None, "skipped", why)
    return by_bridge(name, context)


def repeated(rows: np.ndarray) -> float:
    """The share of repeated values in the column where it is largest."""
    return max(1 - len(np.unique(column)) / len(column) for column in rows.T)


def by_quadrature(name: str, context: Context) -> CheckLine | None:
    """Integrate over a grid that is dense where samples are and reaches far; None if the integral does not settle."""
    worst, points = 1.0, 0
    for number in range(1 if context.condition is None else min(GRID_CONDITIONS, len(context.condition))):
        condition = None if context.condition is None else context.condition[number : number + 1]
        previous = np.inf
        for n in GRIDS[context.dim]:
            integral = _grid_integral(context, condition, n)
            if not np.isfinite(integral):
                text = "The density is NaN or infinite somewhere on the grid."
                return CheckLine(name, np.nan, TOLERANCE, "fail", text)
            if abs(integral - previous) < STABLE * max(1.0, integral):
                break
            previous = integral
        else:
            return None
        points = max(points, n**context.dim)
        worst = integral if abs(integral - 1) >= abs(worst - 1) else worst
    error = abs(worst - 1)
    text = f"The density integrates to {worst:.5f} over a grid of {points:,} points"
    text += "." if context.condition is None else ", at the worst condition tried."
    if error >= TOLERANCE:
        text += " It should be 1: log-densities are off by the log of that."
    return CheckLine(name, error, TOLERANCE, "pass" if error < TOLERANCE else "fail", text)


def _grid_integral(context: Context, condition: np.ndarray | None, n: int) -> float:
    """The integral by midpoints in `u` of `x = centre + L tan(pi u / 2)` along the principal axes of the samples."""
    dim, wide = context.dim, context.loose
    rows = flat(
        context.all_samples if condition is None else _draws_at(context, condition, 3, len(context.all_samples))
    )
    centre = np.median(rows, axis=0)
    axes = np.linalg.svd((rows - centre) / robust_spread(rows), full_matrices=False)[2].T
    axes = robust_spread(rows)[:, None] * axes
    scale = GRID_SPREADS * robust_spread(np.linalg.solve(axes, (rows - centre).T).T)
    angle = np.pi / 2 * (-1 + (2 * np.arange(n) + 1) / n)
    line, weight = np.tan(angle), np.log((1 + np.tan(angle) ** 2) * np.pi / n)
    grids = np.meshgrid(*[line] * dim, indexing="ij")
    log_weight = np.sum(np.meshgrid(*[weight] * dim, indexing="ij"), axis=0).ravel()
    constant = np.log(np.abs(np.linalg.det(axes))) + np.log(scale).sum()
    points = centre + (np.stack([g.ravel() for g in grids], axis=1) * scale) @ axes.T
    events = points.reshape((len(points), *context.model.event_shape))
    own = None if condition is None else np.repeat(condition, len(events), axis=0)
    with np.errstate(over="ignore"):
        small = len(events) <= SMALL_GRID
        scored = wide.score(events, own).log_prob if small else wide.log_prob(events, own, chunk=GRID_CHUNK)
        return float(np.exp(context.within(points, scored) + log_weight + constant).sum())


@dataclass(frozen=True)
class Bridge:
    """An estimate of an integral, its standard error, and the number of draws that it rests on."""

    integral: float
    error: float
    effective: float

    @property
    def off(self) -> bool:
        """Whether the estimate contradicts 1 beyond its standard error."""
        return abs(self.integral - 1) > STANDARD_ERRORS * self.error + TOLERANCE and self.effective >= MIN_EFFECTIVE

    @property
    def decided(self) -> bool:
        """Whether an error of `LARGEST_ERROR` would have been seen."""
        return STANDARD_ERRORS * self.error <= LARGEST_ERROR and self.effective >= MIN_EFFECTIVE


def by_bridge(name: str, context: Context) -> CheckLine:
    """Estimate the integral from samples of the model and of a mixture of normals."""
    found = []
    for number in range(1 if context.condition is None else min(MIXTURE_CONDITIONS, len(context.condition))):
        found.append(bridge(context, None if context.condition is None else context.condition[number : number + 1]))
    if any(not np.isfinite(b.integral) for b in found):
        return CheckLine(name, np.nan, LARGEST_ERROR, "fail", "Log-densities of samples are NaN, or zero density.")
    worst = max(found, key=lambda b: (b.off, not b.decided, abs(b.integral - 1)))
    text = f"By bridge sampling the density integrates to {worst.integral:.4f} +- {worst.error:.4f}"
    text += f" ({worst.effective:.0f} effective draws)."
    if worst.off:
        text += " It should be 1: the density is not normalised, or the samples are not drawn from it."
        verdict = "fail"
    elif not worst.decided:
        text += " Too few draws overlap to tell 1 from 1.05: undecided."
        verdict = "note"
    else:
        verdict = "pass"
    limit = min(LARGEST_ERROR, STANDARD_ERRORS * worst.error + TOLERANCE)
    return CheckLine(name, abs(worst.integral - 1), limit, verdict, text)


def bridge(context: Context, condition: np.ndarray | None) -> Bridge:
    """Estimate the integral at one condition `(1, *cond_shape)`, or for an unconditional model."""
    n = DRAWS if context.dim <= HIGH_DIM else DRAWS_HIGH
    rng, model = context.generator(30), context.model
    rows = flat(_draws_at(context, condition, 4, FIT_ROWS + n))
    if not np.isfinite(rows).all():
        return Bridge(np.nan, np.nan, 0.0)
    mixture = NormalMixture.fit(rows[:FIT_ROWS], rng)
    x, y = rows[FIT_ROWS:], mixture.draw(n, rng)
    own = None if condition is None else np.repeat(condition, 2 * n, axis=0)
    log_p = context.loose.score(np.concatenate([x, y]).reshape((2 * n, *model.event_shape)), own).log_prob
    log_p[n:] = context.within(y, log_p[n:])
    if np.isnan(log_p).any() or np.isinf(log_p[:n]).any():
        return Bridge(np.nan, np.nan, 0.0)
    with np.errstate(over="ignore"):
        of_x = 1 / (1 + np.exp(log_p[:n] - mixture.log_prob(x)))
        of_y = 1 / (1 + np.exp(mixture.log_prob(y) - log_p[n:]))
    a, b = of_y.mean(), of_x.mean()
    if not (a > 0 and b > 0):
        return Bridge(1.0, np.inf, 0.0)
    effective = min(of_x.sum() ** 2 / (of_x**2).sum(), of_y.sum() ** 2 / (of_y**2).sum())
    error = a / b * np.sqrt((of_y.var() / a**2 + of_x.var() / b**2) / n)
    return Bridge(float(a / b), float(error), float(effective))


def _draws_at(context: Context, condition: np.ndarray | None, number: int, n: int) -> np.ndarray:
    """Draw `n` samples at one condition."""
    return context.draw(number, n, None if condition is None else np.repeat(condition, n, axis=0))
