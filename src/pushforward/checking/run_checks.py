"""Runs every check of a trained model in one call: `check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

from pushforward._checks import as_key, message
from pushforward._types import PRNGKeyArray
from pushforward.checking.context import Context
from pushforward.checking.contraction import check_contraction
from pushforward.checking.independence import check_independence
from pushforward.checking.latent import check_latents, check_latents_joint
from pushforward.checking.log_det import check_log_det, check_random_log_det
from pushforward.checking.normalisation import check_normalisation
from pushforward.checking.precision import check_conditioning, check_precision
from pushforward.checking.report import CheckLine, CheckReport
from pushforward.checking.round_trip import check_round_trip, check_round_trip_narrow
from pushforward.checking.solver import check_solver
from pushforward.checking.spline_tails import check_tails
from pushforward.distributions.base import AbstractDistribution

# Name and function of each check, in the order of the report. Each line has the name of its check.
CHECKS: tuple[tuple[str, Callable[[Context], CheckLine]], ...] = (
    ("round trip", check_round_trip),
    ("round trip, float32", check_round_trip_narrow),
    ("log-det against autodiff", check_log_det),
    ("random log-det", check_random_log_det),
    ("contraction", check_contraction),
    ("solver", check_solver),
    ("normalisation", check_normalisation),
    ("independence of rows", check_independence),
    ("float32 against float64", check_precision),
    ("conditioning", check_conditioning),
    ("rows in spline tails", check_tails),
    ("latents, each coordinate", check_latents),
    ("latents, jointly", check_latents_joint),
)
LIBRARIES = ("pushforward", "jax", "jaxlib", "equinox", "numpy", "scipy")


@dataclass(frozen=True)
class Part:
    """A part of a model that is checked by itself, such as the flow inside a model that is no flow.

    Args:
        model: Distribution of the part, usually a flow.
        data: Rows in the units of the part, or None.
        condition: Conditions of these rows, as the part takes them, or None.
    """

    model: AbstractDistribution
    data: Any = None
    condition: Any = None


def check(
    model: AbstractDistribution,
    data: Any = None,
    *,
    key: PRNGKeyArray,
    condition: Any = None,
    skip: Mapping[str, str] | None = None,
    parts: Mapping[str, Part] | None = None,
) -> CheckReport:
    """Verify a trained model, with its own weights and on your data.

    The checks ask whether the map is invertible, whether its log-densities are exact and normalised, whether rows
    influence each other, and whether float32 is enough; with held-out data also how well the model fits. Everything is
    computed in float64 unless a line says otherwise. A check that does not apply says why. Most of the time, about ten
    seconds on two cores, is compilation. It does not grow with the number of rows, of which at most 5000 are used.

    Args:
        model: A `Flow`, or another distribution, for which checks that need a bijection are skipped.
        data: Held-out rows `(n, *event_shape)`, finite; None checks the model on its own samples.
        key: JAX key from which all draws follow, so that the same key gives the same figures.
        condition: Conditions `(n, *cond_shape)` of the rows for a conditional model; without data, typical conditions.
        skip: Names of checks to leave out, each with the reason that the report gives.
        parts: Parts of the model to be checked by themselves, by name; their lines are called `name: check`.

    Raises:
        TypeError: The model is not a distribution, or `key` is not a JAX key.
        ValueError: A shape does not fit, rows are missing or not finite, or a name in `skip` is unknown.

    Example:
        >>> import jax, numpy as np, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((1,)), pf.Affine(loc=1.0, scale=2.0, shape=(1,)))
        >>> report = pf.check(flow, np.random.default_rng(0).normal(1.0, 2.0, (400, 1)), key=jax.random.key(0))
        >>> report.ok, report["normalisation"].verdict
        (True, 'pass')
    """
    start = time.perf_counter()
    skip = {} if skip is None else dict(skip)
    unknown = set(skip) - {name for name, _ in CHECKS}
    if unknown:
        names = ", ".join(name for name, _ in CHECKS)
        raise ValueError(message("check: skip", f"names among {names}", ", ".join(sorted(unknown)), "Correct it."))
    key = as_key("check", key)
    contexts = {"": Context.of(model, data, condition, key)}
    for name, part in (parts or {}).items():
        contexts[name] = Context.of(part.model, part.data, part.condition, key, name=f"check, part {name!r}")
    lines: list[CheckLine] = []
    for part_name, context in contexts.items():
        if not context.can_sample and context.data is None:
            fix = "The model cannot draw rows of its own: pass data."
            raise ValueError(message("check", "data", "none", fix))
        for name, run in CHECKS:
            line = CheckLine(name, None, None, "skipped", skip[name]) if name in skip else run(context)
            lines.append(replace(line, name=f"{part_name}: {line.name}") if part_name else line)
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return CheckReport(tuple(lines), time.perf_counter() - start, versions)
