"""Fitting a flow to data."""

from pushforward.training.fit import fit
from pushforward.training.result import FitError, FitResult, Verdict
from pushforward.training.step import StepInfo, make_step
from pushforward.training.units import StandardizeCondition, in_data_units

__all__ = ["FitError", "FitResult", "StandardizeCondition", "StepInfo", "Verdict", "fit", "in_data_units", "make_step"]
