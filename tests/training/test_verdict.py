"""Judgements: what learning curves made by hand say about a fit, and the twins that just do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pushforward.training.result import BY_STATUS, Verdict, described, fall, judge

RISING = [-3.0, -2.0, -1.5, -1.2]
STEPS = [10, 20, 30, 40]


def curve(held_out: list[float], train: list[float] = RISING) -> dict[str, Any]:
    return {"step": np.array(STEPS), "train_nats": np.array(train), "held_out_nats": np.array(held_out)}


def verdict(history: dict[str, Any], error: float | None = 0.05, status: Any = "converged", n_rewinds: int = 0) -> str:
    """The judgement of a fit whose best step is that of the highest held-out log-density."""
    held_out = history["held_out_nats"]
    best = int(np.nanargmax(held_out))
    return judge(status, history, STEPS[best], float(held_out[best]), error, n_rewinds)


@pytest.mark.parametrize("status", list(BY_STATUS))
def test_a_curve_that_only_rises_is_judged_by_its_status(status: Any):
    assert verdict(curve(RISING), status=status) == BY_STATUS[status]


def test_overfitting():
    assert verdict(curve([-3.0, -2.0, -2.1, -2.3])) == "overfit"
    assert verdict(curve([-3.0, -2.0, -2.1, -2.3]), status="stopped: epochs") == "overfit"


@pytest.mark.parametrize(
    ("held_out", "train", "error"),
    [
        ([-3.0, -2.0, -2.1, -2.3], RISING, 0.16),  # within two standard errors
        ([-3.0, -2.0, -2.003, -2.009], RISING, 0.001),  # a trifle
        ([-3.0, -2.0, -2.1, -2.3], [-3.0, -2.0, -2.1, -2.3], 0.05),  # the training rows fell as well
        ([-3.0, -2.3, -2.4, -2.0], RISING, 0.05),  # it rose again
        ([-3.0, -2.0, -2.1, np.nan], RISING, 0.05),
        ([-3.0, -2.0, -2.1, -2.3], RISING, np.nan),
        ([-3.0, -2.0, -2.1, -2.3], RISING, None),
    ],
)
def test_twins_that_are_no_overfitting(held_out: list[float], train: list[float], error: float | None):
    assert verdict(curve(held_out, train), error) == "converged"


def test_no_held_out_rows_and_no_rows():
    assert judge("stopped: epochs", curve([np.nan] * 4), 40, None, None, 0) == "ran all epochs"
    empty = {"step": [], "train_nats": [], "held_out_nats": []}
    assert judge("interrupted", empty, 0, float("-inf"), float("nan"), 0) == "interrupted"
    assert fall(empty, 0, -1.0, 0.1) is None


def test_the_untrained_flow_may_be_the_best():
    assert fall(curve([-2.5, -2.6, -2.7, -2.8]), 0, -2.0, 0.05) == pytest.approx(0.8)


def test_divergence_and_interruption_come_first():
    overfit = curve([-3.0, -2.0, -2.1, -2.3])
    assert verdict(overfit, n_rewinds=1) == "diverged and recovered"
    assert verdict(overfit, n_rewinds=1, status="interrupted") == "interrupted"


def words(status: Any, judgement: Any, n_rewinds: int = 0, fallen: float | None = None, n_skipped: int = 0) -> str:
    facts = Verdict(status, judgement, "", -2.0, 0.05, 10, 1430, 1200, 3.25, n_skipped, n_rewinds)
    return described(facts, fallen).text


def test_words():
    assert words("converged", "converged").startswith("Converged: the held-out log-density stopped rising, after 1,430")
    assert words("stopped: budget", "stopped by budget").startswith("Stopped by the time budget, after 1,430 steps")
    assert words("stopped: epochs", "ran all epochs").startswith("Ran all its epochs, after 1,430 steps")
    assert words("interrupted", "interrupted").startswith("Interrupted; the best so far is kept, after")
    text = words("converged", "overfit", fallen=0.3)
    assert text.startswith(
        "Overfit: after step 1,200 the held-out log-density fell again, by 0.3000 nats per row, while"
    )
    assert "weights of that best step are returned. Stopped early, after" in text
    assert "Ran all its epochs, after" in words("stopped: epochs", "overfit", fallen=0.3)
    assert words("converged", "diverged and recovered", 1, n_skipped=7).startswith("Diverged once and recovered: ")
    text = words("stopped: budget", "diverged and recovered", 2)
    assert text.startswith("Diverged 2 times and recovered: ")
    assert "Stopped by the time budget" in text
