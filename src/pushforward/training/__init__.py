"""Fitting a flow to data."""

from pushforward.training.fit import fit
from pushforward.training.result import FitError, FitResult, Verdict
from pushforward.training.step import StepInfo, make_step

__all__ = ["FitError", "FitResult", "StepInfo", "Verdict", "fit", "make_step"]
