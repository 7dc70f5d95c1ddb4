"""Fitting a flow to data."""

from pushforward.training.checkpoint import remove_checkpoint
from pushforward.training.data_units import StandardizeCondition, in_data_units
from pushforward.training.fit import fit
from pushforward.training.options import Adam, Checkpoint, Preprocess, Reporting, Steps, Stopping
from pushforward.training.result import FitError, FitResult, Verdict
from pushforward.training.step import StepInfo, make_step
from pushforward.training.tracking import AbstractTracker, JsonLines, MLflow, TensorBoard, WandB

__all__ = [
    "AbstractTracker",
    "Adam",
    "Checkpoint",
    "FitError",
    "FitResult",
    "JsonLines",
    "MLflow",
    "Preprocess",
    "Reporting",
    "StandardizeCondition",
    "StepInfo",
    "Steps",
    "Stopping",
    "TensorBoard",
    "Verdict",
    "WandB",
    "fit",
    "in_data_units",
    "make_step",
    "remove_checkpoint",
]
