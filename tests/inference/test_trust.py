"""Verdicts follow from figures: each reason to doubt is said, and good figures are trusted."""

from __future__ import annotations

from typing import Any

import pytest

from pushforward.inference.trust import Figures, verdict_of

GOOD = Figures(
    status="completed",
    temperature=1.0,
    direction=None,
    r_hat=1.001,
    worst="mu",
    pareto_k=0.3,
    ess_fraction=0.9,
    n=2000,
    log_z=-5.0,
    log_z_error=0.01,
    log_z_ladder=-5.1,
    n_particles=2000,
    fault_share=0.0,
)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "trustworthy"),
        # The errors of many stages add up, and good weights know better; a ladder that has more has had another mode.
        ({"log_z_ladder": -5.9}, "trustworthy"),
        ({"log_z_ladder": -4.1}, "do not trust: log Z is -5.00 by the flow and -4.10 by the ladder"),
        (
            {"log_z_ladder": -5.9, "pareto_k": 0.9, "ess_fraction": 0.5},
            "do not trust: log Z is -5.00 by the flow and -5.90 by the ladder",
        ),
        ({"pareto_k": 0.9, "ess_fraction": 0.5}, "do not trust: the flow's importance weights have a Pareto k of 0.90"),
        # Of nearly equal weights a tail index says nothing, and with too few draws there is none.
        ({"pareto_k": 0.9, "ess_fraction": 0.97}, "trustworthy"),
        ({"pareto_k": float("nan"), "ess_fraction": 0.97}, "do not trust: the flow's importance weights"),
        ({"r_hat": 1.2}, "usable with weights: the chains have not mixed (R-hat 1.200 at mu)"),
        ({"r_hat": 1.2, "pareto_k": 0.9, "ess_fraction": 0.5}, "do not trust: the chains have not mixed"),
        ({"direction": "towards plus infinity of mu"}, "do not trust: the target is improper"),
        ({"temperature": 0.1, "status": "budget"}, "do not trust: the budget was used up at the temperature 0.1"),
        ({"fault_share": 0.02}, "trustworthy. The density was not a number at 2.0% of the flow's draws"),
    ],
)
def test_each_reason_is_said(figures: dict[str, Any], words: str) -> None:
    assert verdict_of(GOOD._replace(**figures)).startswith(words)
