"""Whether an inference can be trusted, in words."""

from __future__ import annotations

import math
from typing import NamedTuple

from pushforward.metrics.weights import heavy_tailed

# Chains have mixed up to this R-hat. They are short and many, so that little correlation raises it a little.
MIXED = 1.05
# Below this share, or this number, of effective draws, weighted draws tell little.
LEAST_SHARE, LEAST_NUMBER = 0.1, 100
# Two estimates of log Z differ if their distance is above this many standard errors and this many nats.
DIFFERENT_ERRORS, DIFFERENT_NATS, USUAL_PARTICLES = 5.0, 0.5, 2000
MORE = "Give a larger budget"


class Figures(NamedTuple):
    """What the verdict rests on.

    Args:
        status: How the ladder ended.
        temperature: The temperature reached.
        direction: In words, where the target has infinite mass; None if nowhere.
        r_hat: Largest R-hat.
        worst: Name of the parameter that it belongs to.
        pareto_k: Tail index of the importance weights.
        ess_fraction: Effective share of importance draws.
        n: Number of importance draws.
        log_z: By the bridge.
        log_z_error: Its standard error.
        log_z_ladder: By the ladder.
        n_particles: Number of particles of the ladder, which bounds its accuracy.
        fault_share: Share of the flow's draws at which the density was not a number.
    """

    status: str
    temperature: float
    direction: str | None
    r_hat: float
    worst: str
    pareto_k: float
    ess_fraction: float
    n: int
    log_z: float
    log_z_error: float
    log_z_ladder: float
    n_particles: int
    fault_share: float


def verdict_of(figures: Figures) -> str:
    """The verdict with its reasons and what to do: `trustworthy`, `usable with weights: ...`, `do not trust: ...`."""
    f = figures
    if f.direction is not None:
        return (
            f"do not trust: the target is improper, for its mass does not end {f.direction}. Give every parameter a "
            "proper prior or a bounded support."
        )
    if f.temperature < 1:
        why = {
            "budget": "the budget was used up",
            "interrupted": "the inference was interrupted",
            "improper": "the ladder does not end, as with an improper target",
        }.get(f.status, "the ladder stopped")
        fix = "Give every parameter a proper prior" if f.status == "improper" else MORE
        return f"do not trust: {why} at the temperature {f.temperature:.3g}, before the target was reached. {fix}."
    faults = (
        f" The density was not a number at {f.fault_share:.1%} of the flow's draws; they count as density 0."
        if f.fault_share > 0
        else ""
    )
    mixed, heavy = f.r_hat <= MIXED, heavy_tailed(f.pareto_k, f.ess_fraction, 1)
    weights = f.ess_fraction >= LEAST_SHARE and not (heavy or math.isnan(f.pareto_k))
    # A mode that flow and chains have lost and the ladder had makes log Z of the ladder the larger one. The other way
    # round good weights decide, for the errors of many stages add up.
    apart = f.log_z_ladder - f.log_z if mixed and weights else abs(f.log_z - f.log_z_ladder)
    # The error of the ladder falls with the square root of its particles.
    least = DIFFERENT_NATS * max(1.0, (USUAL_PARTICLES / f.n_particles) ** 0.5)
    if not apart <= max(least, DIFFERENT_ERRORS * f.log_z_error):
        return (
            f"do not trust: log Z is {f.log_z:.2f} by the flow and {f.log_z_ladder:.2f} by the ladder, so one of them "
            f"has lost a part of the target. {MORE}, more draws, or another flow.{faults}"
        )
    if mixed and weights:
        return f"trustworthy{'.' if faults else ''}{faults}"
    if mixed:
        return (
            f"do not trust: the flow's importance weights have a Pareto k of {f.pareto_k:.2f} and an effective share "
            f"of {f.ess_fraction:.1%}, so nothing but the chains vouches for the draws. {MORE}, write the model in "
            f"other coordinates (a non-centred one, say), or look whether the draws make sense.{faults}"
        )
    if weights and f.ess_fraction * f.n >= LEAST_NUMBER:
        return (
            f"usable with weights: the chains have not mixed (R-hat {f.r_hat:.3f} at {f.worst}), but the flow's draws "
            f"with their weights are worth {f.ess_fraction * f.n:,.0f}. Take weighted_u with log_weights, or give a "
            f"larger budget.{faults}"
        )
    return (
        f"do not trust: the chains have not mixed (R-hat {f.r_hat:.3f} at {f.worst}) and the flow's weights do not "
        f"make up for it (Pareto k {f.pareto_k:.2f}, effective share {f.ess_fraction:.1%}). {MORE}, or write the model "
        f"in other coordinates.{faults}"
    )
