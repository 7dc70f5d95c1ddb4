"""Checks the solvers of differential equations: their error, their number of evaluations and their failures."""

from __future__ import annotations

import numpy as np

from pushforward._parts import parts
from pushforward._precision import in_type
from pushforward.bijections import Continuous
from pushforward.checking.context import Context
from pushforward.checking.report import CheckLine, Outcome

ROWS = 256
LARGEST_ERROR = 0.05  # nats: as much as people report as the difference between two models


def check_solver(context: Context) -> CheckLine:
    """Measure how much the log-density changes at half the tolerance of the model's own solvers, in float32."""
    name = "solver"
    if not any(isinstance(part, Continuous) for part in parts(context.model)):
        return CheckLine(name, None, None, "skipped", "The model solves no differential equations.")
    rows, conditions = context.points[:ROWS], context.point_conditions
    conditions = None if conditions is None else conditions[:ROWS].astype(np.float32)
    key = context.key if context.model.needs_key else None
    model = in_type(context.model, np.float32)
    found = model.log_prob(rows.astype(np.float32), conditions, key=key, with_error=True)
    n_failed = int(found.failed.sum())
    errors = found.solver_error[~found.failed]
    largest = float(errors.max()) if len(errors) else np.nan
    low, high = int(found.n_evaluations.min()), int(found.n_evaluations.max())
    verdict: Outcome = "fail" if n_failed or not largest <= LARGEST_ERROR else "pass"
    text = f"A row takes {low} to {high} evaluations of the velocity."
    if len(errors):
        text += f" At half the solver's tolerance the log-density of {len(errors)} rows changes by"
        text += f" {np.median(errors):.1e} nats in the median and {largest:.1e} at most."
    if n_failed:
        text += f" {n_failed} rows could not be solved: allow more steps, or loosen the tolerance."
    elif verdict == "fail":
        text += " Tighten the tolerance, or take more steps."
    return CheckLine(name, largest, LARGEST_ERROR, verdict, text)
