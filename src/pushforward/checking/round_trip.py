"""Checks that rows come back from data to latent and from latent to data, in both precisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pushforward.checking.context import Context, Trip, flat
from pushforward.checking.programs import Programs
from pushforward.checking.report import CheckLine, Outcome
from pushforward.checking.spline_walk import Probe
from pushforward.distributions import UniformBox

TOLERANCE = 1e-9  # residual of a float64 round trip, in standard deviations: millions of roundings
ILL_CONDITIONED = 1e-6  # an excused residual beyond this is worth a note
# A residual from rounding shrinks 5e8-fold from float32 to float64; one from a wrong formula does not shrink.
ROUNDING_SHARE = 1e-6
NARROW_TOLERANCE = 1e-2  # standard deviations, in float32
OFFSET_ROUNDINGS = 16  # roundings of the number itself that a large offset excuses
SIGMAS = 6.0
STRESS_AXES = 64  # axes that are tried in both directions
STRESS_CORNERS = 64
STRESS_DIRECTIONS = 64
PROBES = 256
WORST_ROWS = 512  # largest number of rows whose conditioning is looked at
# Share of the sides of a uniform base by which latents keep away from its faces.
BOX_MARGIN = 1e-6


@dataclass(frozen=True)
class Leg:
    """One round trip, from data or from latents, in units of the standard deviation of each coordinate."""

    label: str
    trip: Trip
    from_data: bool
    condition: np.ndarray | None
    residual: np.ndarray
    wild: bool

    @property
    def worst(self) -> float:
        """The largest residual that is finite."""
        return float(np.max(self.residual, where=np.isfinite(self.residual), initial=0.0))


def stress_latents(context: Context) -> np.ndarray:
    """Latents six standard deviations out: along axes, in corners, and in random directions."""
    rng, dim = context.generator(10), int(np.prod(context.base_draws.shape[1:]))
    axes = np.eye(dim)[rng.permutation(dim)[:STRESS_AXES]]
    corners = rng.choice([-1.0, 1.0], (STRESS_CORNERS, dim))
    directions = rng.standard_normal((STRESS_DIRECTIONS, dim))
    directions /= np.abs(directions).max(axis=1, keepdims=True)
    centre, spread = context.base_spread
    rows = centre + SIGMAS * spread * np.concatenate([axes, -axes, corners, directions])
    base = getattr(context.model, "base", None)
    if isinstance(base, UniformBox):  # beyond the box there are no latents, and on a torus its two ends are one
        low, high = (np.asarray(end.value, np.float64).ravel() for end in (base.low, base.high))
        margin = BOX_MARGIN * (high - low)
        rows = np.clip(rows, low + margin, high - margin)
    return rows.reshape((len(rows), *context.base_draws.shape[1:]))


def knot_latents(context: Context) -> tuple[np.ndarray, np.ndarray | None]:
    """Latents of rows that meet a spline's knot or bound, or the next float, on their way; with their conditions."""
    n = min(PROBES, len(context.points))
    rows = context.points[-n:]
    conditions = None if context.point_conditions is None else context.point_conditions[-n:]
    rng = context.generator(11)
    draw = rng.integers(0, 2**20, (3, n)).astype(np.int32)
    n_layers = context.missed_splines(rows, conditions).shape[1]
    # Row r meets layer r modulo their number, in a random coordinate.
    layer = np.arange(n, dtype=np.int32) % n_layers
    # Every other row meets a bound, where spline and tail join.
    knot = np.where(np.arange(n) // n_layers % 2 == 0, -(draw[1] % 2), draw[1]).astype(np.int32)
    probe = Probe(layer, draw[0], knot, (draw[2] % 3 - 1).astype(np.int32))
    return context.wide.walk(rows, conditions, probe)[0], conditions


def legs(context: Context, programs: Programs) -> list[Leg]:
    """The round trips in one precision; both precisions take the same rows."""
    stress = stress_latents(context)
    plans = [("data and samples", context.points, context.point_conditions, True, False)]
    plans.append(("latents at six sigma", stress, context.conditions(len(stress)), False, True))
    if context.splines:
        knots, conditions = knot_latents(context)
        finite = np.isfinite(flat(knots)).all(axis=1)
        knots, conditions = knots[finite], None if conditions is None else conditions[finite]
        if len(knots):
            plans.append(("spline knots", knots, conditions, False, False))
    out = []
    for label, rows, condition, from_data, wild in plans:
        if programs.wide and from_data:
            trip = context.data_trip
        else:
            trip = context.trip(
                programs, rows.astype(np.float64 if programs.wide else np.float32), condition, from_data
            )
        scale = context.spread if from_data else context.base_spread[1]
        with np.errstate(invalid="ignore"):
            residual = np.abs(flat(trip.end).astype(np.float64) - flat(trip.start).astype(np.float64)) / scale
        out.append(Leg(label, trip, from_data, condition, residual, wild))
    return out


def check_round_trip(context: Context) -> CheckLine:
    r"""Measure $|f(f^{-1}(x)) - x|$ and $|f^{-1}(f(z)) - z|$ in float64, in standard deviations of each coordinate.

    A squeezing map cannot return what rounding took away, and that is no mistake. A residual beyond `TOLERANCE` is
    therefore compared with the effect $|J||y|$ of `TOLERANCE` in the image, and with the same residual in float32.
    """
    name = "round trip"
    if not context.two_way:
        return skipped(name, context)
    found = legs(context, context.wide)
    narrow: dict[str, Leg] = {}
    bad, overflow = lost_rows(found)
    bad += context.n_bad_samples
    excused, ratio, figure, where, of_latents, limit = False, 0.0, 0.0, "", 0.0, TOLERANCE
    for leg in found:
        allowed = TOLERANCE * (1 + np.abs(flat(leg.trip.start)) / _scale(context, leg.from_data))
        share = leg.residual / allowed
        share = np.where(np.isfinite(share), share, 0.0)
        if share.max() > 1:
            narrow = narrow or {leg.label: leg for leg in legs(context, context.narrow)}
            share = np.minimum(share, _excused(context, leg, narrow[leg.label], allowed, share))
            excused |= leg.worst > ILL_CONDITIONED
        if leg.worst >= figure:
            figure, where = leg.worst, leg.label
            at = np.argmax(np.where(np.isfinite(leg.residual), leg.residual, 0.0))
            limit = figure / share.flat[at] if share.flat[at] > 0 else TOLERANCE
        of_latents = max(of_latents, 0.0 if leg.from_data else leg.worst)
        ratio = max(ratio, float(share.max()))
    verdict: Outcome = "fail" if bad or ratio > 1 else "note" if excused or overflow else "pass"
    n = sum(len(leg.residual) for leg in found)
    text = f"Of {n} rows and latents, the worst comes back {figure:.1e} standard deviations off (among {where})"
    text += f"; latents to within {of_latents:.1e}." if of_latents else "."
    if bad:
        text += f" {bad} of them become NaN or infinite."
    elif ratio > 1:
        text += f" That is {ratio:.1e} times what rounding explains: forward and inverse are not each other's inverse."
    elif excused:
        text += (
            " The map squeezes so much there that rounding explains it: its latents are unreliable, not its formula."
        )
    if overflow:
        text += f" {overflow} latents at six sigma overflow."
    return CheckLine(name, np.nan if bad else figure, float(limit), verdict, text)


def check_round_trip_narrow(context: Context) -> CheckLine:
    """Measure the same round trips in float32, the precision of training."""
    name = "round trip, float32"
    if not context.two_way:
        return skipped(name, context)
    found = legs(context, context.narrow)
    bad, overflow = lost_rows(found)
    calm = [leg for leg in found if leg.from_data]
    figure, wild = max(leg.worst for leg in calm), max(leg.worst for leg in found)
    eps = float(np.finfo(np.float32).eps)
    offset = max(float((np.abs(flat(leg.trip.start)) / _scale(context, True)).max()) for leg in calm)
    held = figure <= OFFSET_ROUNDINGS * eps * offset
    verdict: Outcome = "note" if overflow or figure > NARROW_TOLERANCE else "pass"
    if bad or (figure > NARROW_TOLERANCE and not held):
        verdict = "fail"
    text = f"In float32 data and samples come back to within {figure:.1e} standard deviations"
    text += f", latents at six sigma and at knots to within {wild:.1e}."
    if bad:
        text += f" {bad} rows become NaN or infinite: use float64 (pf.FlowDensity does)."
    elif held and figure > NARROW_TOLERANCE:
        text += f" The columns' offsets are up to {offset:.0e} times their spread, more than float32 holds."
    elif verdict == "fail":
        text += " Too much for samples or latents computed in float32: use float64 (pf.FlowDensity does)."
    return CheckLine(name, np.nan if bad else figure, NARROW_TOLERANCE, verdict, text)


def lost_rows(found: list[Leg]) -> tuple[int, int]:
    """The number of rows that became NaN or infinite, and the number of latents at six sigma that overflow."""
    bad = overflow = 0
    for leg in found:
        image, end = flat(leg.trip.image), flat(leg.trip.end)
        lost = ~(np.isfinite(image).all(axis=1) & np.isfinite(end).all(axis=1))
        # A row that overflows on the way out has no way back and becomes NaN there.
        out = leg.wild & np.isinf(image).any(axis=1) & ~np.isnan(image).any(axis=1)
        overflow += int((lost & out).sum())
        bad += int((lost & ~out).sum())
    return bad, overflow


def skipped(name: str, context: Context) -> CheckLine:
    """The line of a check that needs a bijection with two directions."""
    if context.bijection is None:
        why = f"{type(context.model).__name__} is not a flow: it has no map between data and latents."
    else:
        why = "One direction of the bijection is not implemented."
    return CheckLine(name, None, None, "skipped", why)


def _scale(context: Context, from_data: bool) -> np.ndarray:
    return context.spread if from_data else context.base_spread[1]


def _excused(context: Context, leg: Leg, narrow: Leg, allowed: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The share of its allowance that each residual takes after rounding is allowed for."""
    with np.errstate(invalid="ignore", over="ignore"):
        rounding = ROUNDING_SHARE * np.where(np.isfinite(narrow.residual), narrow.residual, 0.0)
        out = leg.residual / (allowed + rounding)
    if not context.jacobian_rows:
        return out
    start, image = (leg.trip.start, leg.trip.image)
    x, z = (start, image) if leg.from_data else (image, start)
    index = np.argsort(-share.max(axis=1))[: min(WORST_ROWS, int((share.max(axis=1) > 1).sum()))]
    jacobian = context.derivatives(x, z, leg.condition, index).jacobian
    # The Jacobian of the way back is needed; for a trip that began in the data it is that of the forward map.
    if leg.from_data != context.derived_forward:
        jacobian = _inverse(jacobian)
    there = np.abs(flat(image)[index]) + _scale(context, not leg.from_data)
    with np.errstate(all="ignore"):
        moved = np.einsum("nij,nj->ni", np.abs(jacobian), there) / _scale(context, leg.from_data)
        moved = np.where(np.isnan(moved), 0.0, moved)
        out[index] = leg.residual[index] / (allowed[index] + rounding[index] + TOLERANCE * moved)
    return np.where(np.isfinite(out), out, 0.0)


def _inverse(jacobian: np.ndarray) -> np.ndarray:
    """The inverse of each Jacobian; infinite where it is singular."""
    out = np.full_like(jacobian, np.inf)
    with np.errstate(all="ignore"):
        regular = np.isfinite(np.linalg.slogdet(jacobian)[1])
    out[regular] = np.linalg.inv(jacobian[regular])
    return out
