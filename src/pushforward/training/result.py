"""What a fit returns: the flow, its history as data, and a verdict in plain language."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pushforward._checks import ConvergenceError
from pushforward.distributions import Flow

Status = Literal["converged", "stopped: epochs", "stopped: budget", "interrupted"]

COLUMNS = ("epoch", "step", "train_nats", "held_out_nats", "learning_rate", "seconds", "skipped")

OPENINGS: dict[Status, str] = {
    "converged": "Converged: the held-out log-density stopped rising",
    "stopped: epochs": "Ran all its epochs",
    "stopped: budget": "Stopped by the time budget",
    "interrupted": "Interrupted; the best so far is kept",
}


class FitError(ConvergenceError):
    """Training diverged beyond repair: steps stayed non-finite after every rewind. No weights are returned."""


@dataclass(frozen=True)
class Verdict:
    """How a fit ended.

    Args:
        status: `"converged"` (early stop), `"stopped: epochs"`, `"stopped: budget"` or `"interrupted"`.
        text: the same for people.
        held_out_nats: mean log-density per held-out row of the weights returned, in the data's units; None without a
            validation set.
        standard_error: of `held_out_nats`.
        epochs: complete passes over the training rows.
        steps: optimiser steps, those skipped among them.
        best_step: the step whose weights are returned.
        seconds: wall-clock time, compilation included.
        n_skipped: steps that were skipped because their loss or gradient was not finite.
        n_rewinds: how often training went back to the last good state with a smaller learning rate.
    """

    status: Status
    text: str
    held_out_nats: float | None
    standard_error: float | None
    epochs: int
    steps: int
    best_step: int
    seconds: float
    n_skipped: int
    n_rewinds: int

    def __str__(self) -> str:
        return self.text

    def with_score(self, nats: float, error: float) -> Verdict:
        """The same with another held-out score, such as a tighter bound.

        Args:
            nats: mean log-density per held-out row.
            error: its standard error.
        """
        text = describe(self.status, nats, error, self.steps, self.seconds, self.n_skipped, self.n_rewinds)
        return dataclasses.replace(self, text=text, held_out_nats=nats, standard_error=error)


@dataclass(frozen=True)
class FitResult:
    """The result of `fit`.

    Args:
        flow: the trained flow, in the data's units.
        history: columns `epoch`, `step`, `train_nats`, `held_out_nats` (mean log-density per row, in the data's
            units; NaN without a validation set), `learning_rate`, `seconds`, `skipped`; a row per validation.
        verdict: how it ended.
    """

    flow: Flow
    history: dict[str, np.ndarray]
    verdict: Verdict


def describe(
    status: Status, nats: float | None, error: float | None, steps: int, seconds: float, n_skipped: int, n_rewinds: int
) -> str:
    """The verdict as a sentence or two."""
    parts = [f"{OPENINGS[status]}, after {steps:,} steps and {seconds:.1f} s."]
    if nats is not None and math.isfinite(nats):
        spread = "" if error is None or not math.isfinite(error) else f" +- {error:.4f}"
        parts.append(f"Held-out log-density {nats:.4f}{spread} nats per row (it may be positive: it is a density).")
    if n_skipped:
        rewound = f", {n_rewinds} rewinds to a good state with a smaller learning rate" if n_rewinds else ""
        parts.append(f"{n_skipped} non-finite steps were skipped{rewound}.")
    elif n_rewinds:
        parts.append(f"{n_rewinds} rewinds to a good state with a smaller learning rate.")
    return " ".join(parts)
