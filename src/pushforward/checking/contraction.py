"""Checks that residual layers contract, on which their inverse and their log-determinants rest."""

from __future__ import annotations

from pushforward.bijections import certificate
from pushforward.bijections.residual import residual_layers
from pushforward.checking.context import Context
from pushforward.checking.report import CheckLine
from pushforward.distributions.scoring_form import log_det_error


def check_contraction(context: Context) -> CheckLine:
    """Compute the Lipschitz certificate of the residual layers anew from the trained weights."""
    name = "contraction"
    if not residual_layers(context.model):
        return CheckLine(name, None, None, "skipped", "The flow has no contractive residual layers.")
    found = certificate(context.model)
    error = log_det_error(context.model)
    text = (
        f"Every residual layer contracts: from its weights, distances shrink to {found.lipschitz_bound:.3f} at most, "
    )
    text += "so that the inverse exists and is found."
    if not found.holds:
        text = (
            f"A residual layer may stretch distances {found.lipschitz_bound:.3f} times, where {found.promised:.3f} is "
        )
        text += "promised: its inverse may not exist, and its series of log-determinants may not converge."
    elif error:
        text += f" What the series of its log-determinants leave out is {error:.2g} nats at most."
    return CheckLine(name, found.lipschitz_bound, found.promised, "pass" if found.holds else "fail", text)
