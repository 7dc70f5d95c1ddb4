"""The result of a fit: the flow, its history as data, and a verdict in plain language."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np

from pushforward._checks import ConvergenceError
from pushforward.distributions import Flow

Status = Literal["converged", "stopped: epochs", "stopped: budget", "interrupted"]
Judgement = Literal[
    "converged", "stopped by budget", "ran all epochs", "overfit", "diverged and recovered", "interrupted"
]

COLUMNS: tuple[str, ...] = (
    "epoch",
    "step",
    "train_nats",
    "held_out_nats",
    "learning_rate",
    "seconds",
    "skipped",
    "rows_left_out",
)
WHOLE_COLUMNS: tuple[str, ...] = ("epoch", "step", "skipped", "rows_left_out")  # columns of integers

OPENINGS: dict[Status, str] = {
    "converged": "Converged: the {score} stopped rising",
    "stopped: epochs": "Ran all its epochs",
    "stopped: budget": "Stopped by the time budget",
    "interrupted": "Interrupted; the best so far is kept",
}
# The judgement of a fit whose curve shows nothing else.
BY_STATUS: dict[Status, Judgement] = {
    "converged": "converged",
    "stopped: epochs": "ran all epochs",
    "stopped: budget": "stopped by budget",
    "interrupted": "interrupted",
}
# A fall of the held-out log-density that is more than chance, and more than a trifle.
OVERFIT_ERRORS, OVERFIT_NATS = 2.0, 0.01


class FitError(ConvergenceError):
    """Training diverged beyond repair: steps stayed non-finite after every rewind. No weights are returned."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on how a fit ended.

    Args:
        status: `"converged"` (early stop), `"stopped: epochs"`, `"stopped: budget"` or `"interrupted"`.
        judgement: Judgement of the learning curve: `"diverged and recovered"` if training was rewound; `"overfit"` if
            the held-out log-density fell again after its best while the training one rose (see `fall`; the weights
            of the best step are returned in any case); else the same as `status`, in other words.
        text: Status and judgement in sentences.
        held_out_nats: Mean log-density per held-out row of the weights returned, in the data's units; None without a
            validation set.
        standard_error: Standard error of `held_out_nats`.
        epochs: Number of complete passes over the training rows.
        steps: Number of optimiser steps, skipped ones included.
        best_step: The step whose weights are returned.
        seconds: Wall-clock time, compilation included.
        n_skipped: Number of steps that were skipped because their loss or gradient was not finite.
        n_rewinds: Number of times that training went back to the last good state with a smaller learning rate.
        n_rows_left_out: Number of times that a row was left out of a step because its loss or gradient was not finite.
        n_rows_unscored: Number of held-out rows that `held_out_nats` leaves out because their score is not finite.
        n_rows_streamed: Number of training rows of a stream, the held-out ones not among them; 0 for rows in memory.
        n_rows_met: Number of rows of a stream in all steps; a row that was met in two epochs counts twice.
    """

    status: Status
    judgement: Judgement
    text: str
    held_out_nats: float | None
    standard_error: float | None
    epochs: int
    steps: int
    best_step: int
    seconds: float
    n_skipped: int
    n_rewinds: int
    n_rows_left_out: int = 0
    n_rows_unscored: int = 0
    n_rows_streamed: int = 0
    n_rows_met: int = 0

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class FitResult:
    """The result of `fit`.

    Args:
        flow: The trained flow, in the data's units.
        history: Columns `epoch`, `step`, `train_nats`, `held_out_nats` (mean log-density per row, in the data's
            units; NaN without a validation set), `learning_rate`, `seconds`, `skipped` (steps so far),
            `rows_left_out` (how often so far); a row per validation.
        verdict: Verdict on how the fit ended.
    """

    flow: Flow
    history: dict[str, np.ndarray]
    verdict: Verdict

    def _repr_html_(self) -> str:
        """The verdict and the last row of the history, as a notebook shows them."""
        last = {name: column[-1] for name, column in self.history.items() if len(column)}
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{value:.6g}</td></tr>" for name, value in last.items())
        return f"<div><p>{escape(self.verdict.text)}</p><table>{cells}</table></div>"

    def with_score(self, nats: float, error: float) -> FitResult:
        """The same with another held-out score of the weights returned, such as a tighter bound.

        Args:
            nats: Mean log-density per held-out row.
            error: Standard error of that mean.
        """
        old = self.verdict
        fallen = fall(self.history, old.best_step, old.held_out_nats, old.standard_error)
        verdict = described(dataclasses.replace(old, held_out_nats=nats, standard_error=error), fallen)
        return dataclasses.replace(self, verdict=verdict)


def judge(
    status: Status,
    history: Mapping[str, Sequence[float] | np.ndarray],
    best_step: int,
    best_nats: float | None,
    standard_error: float | None,
    n_rewinds: int,
) -> Judgement:
    """The judgement of a learning curve and the counters, the gravest first.

    Args:
        status: How the fit ended.
        history: The history of a `FitResult`.
        best_step: The step whose weights are returned.
        best_nats: Held-out log-density of these weights; None without a validation set.
        standard_error: Standard error of `best_nats`.
        n_rewinds: Number of times that training went back to a good state.

    Example:
        >>> curve = {"step": [10, 20, 30], "train_nats": [-3.0, -2.0, -1.0], "held_out_nats": [-3.0, -2.0, -2.5]}
        >>> judge("converged", curve, best_step=20, best_nats=-2.0, standard_error=0.1, n_rewinds=0)
        'overfit'
    """
    if status == "interrupted":
        return "interrupted"
    if n_rewinds > 0:
        return "diverged and recovered"
    if fall(history, best_step, best_nats, standard_error) is not None:
        return "overfit"
    return BY_STATUS[status]


def fall(
    history: Mapping[str, Sequence[float] | np.ndarray],
    best_step: int,
    best_nats: float | None,
    standard_error: float | None,
) -> float | None:
    r"""The fall of the held-out log-density after its best, in nats per row, if that is overfitting.

    It is overfitting if the fall exceeds $\max(2 s, 0.01)$, with $s$ the standard error of the best, and the
    log-density of the training rows is higher in the end than it was at the best step.

    Args:
        history: The history of a `FitResult`.
        best_step: The step whose weights are returned.
        best_nats: Held-out log-density of these weights; None without a validation set.
        standard_error: The standard error $s$.

    Returns:
        The fall, or None if there is no overfitting or it cannot be told.
    """
    steps, train = np.asarray(history["step"]), np.asarray(history["train_nats"], np.float64)
    if best_nats is None or standard_error is None or len(steps) == 0 or steps[-1] <= best_step:
        return None
    at_best = max(int(np.searchsorted(steps, best_step, side="right")) - 1, 0)
    fallen = best_nats - float(history["held_out_nats"][-1])
    rose = bool(train[-1] > train[at_best])
    # A comparison with NaN is False: then there is no judgement.
    if rose and fallen > OVERFIT_ERRORS * standard_error and fallen > OVERFIT_NATS:
        return fallen
    return None


def described(verdict: Verdict, fallen: float | None, words: str = "Held-out log-density") -> Verdict:
    """The verdict with the text that its numbers call for: a sentence or two.

    Args:
        verdict: Verdict whose text is replaced.
        fallen: The fall of the held-out log-density after its best, if that is overfitting.
        words: Name of the held-out score.
    """
    parts = []
    if verdict.judgement == "diverged and recovered":
        times = "once" if verdict.n_rewinds == 1 else f"{verdict.n_rewinds} times"
        parts.append(f"Diverged {times} and recovered: training went back to the last good state.")
    if fallen is not None and verdict.status != "interrupted":
        parts.append(
            f"Overfit: after step {verdict.best_step:,} the held-out log-density fell again, by {fallen:.4f} nats per "
            "row, while that of the training rows rose; the weights of that best step are returned."
        )
    opening = OPENINGS[verdict.status] if not parts or verdict.status != "converged" else "Stopped early"
    opening = opening.format(score=words[0].lower() + words[1:])
    parts.append(f"{opening}, after {verdict.steps:,} steps and {verdict.seconds:.1f} s.")
    n, met = verdict.n_rows_streamed, verdict.n_rows_met
    if n and met >= n:
        parts.append(f"All {n:,} training rows of the stream were seen, {met / n:.3g} times.")
    elif n:
        parts.append(f"{met:,} of the {n:,} training rows of the stream were seen.")
    nats, error = verdict.held_out_nats, verdict.standard_error
    if nats is not None and math.isfinite(nats):
        spread = "" if error is None or not math.isfinite(error) else f" +- {error:.4f}"
        density = " per row (it may be positive: it is a density)" if words == "Held-out log-density" else ""
        parts.append(f"{words} {nats:.4f}{spread} nats{density}.")
    rewinds = f"{verdict.n_rewinds} rewinds to a good state with a smaller learning rate"
    if verdict.n_skipped:
        parts.append(f"{verdict.n_skipped} non-finite steps were skipped{f', {rewinds}' if verdict.n_rewinds else ''}.")
    elif verdict.n_rewinds:
        parts.append(f"{rewinds}.")
    if verdict.n_rows_left_out:
        times = "once" if verdict.n_rows_left_out == 1 else f"{verdict.n_rows_left_out:,} times"
        parts.append(
            f"A row was left out of a step {times}, for its loss or gradient was not finite: look for outliers."
        )
    if verdict.n_rows_unscored:
        many = verdict.n_rows_unscored > 1
        words = "rows have no finite score, and are left out" if many else "row has no finite score, and is left out"
        parts.append(f"{verdict.n_rows_unscored:,} held-out {words}.")
    return dataclasses.replace(verdict, text=" ".join(parts))
