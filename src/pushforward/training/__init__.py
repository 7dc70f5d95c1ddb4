"""Fitting a flow to data."""

from pushforward.training.bulk import log_prob
from pushforward.training.checkpoint import remove_checkpoint
from pushforward.training.data_units import StandardizeCondition, in_data_units
from pushforward.training.devices import Devices
from pushforward.training.fit import fit
from pushforward.training.hosts import HostLostError, connect
from pushforward.training.options import Adam, Checkpoint, Preprocess, Reporting, Steps, Stopping
from pushforward.training.result import FitError, FitResult, Verdict
from pushforward.training.step import StepInfo, make_step
from pushforward.training.streams import AbstractStream, Batch, FunctionStream, array_stream
from pushforward.training.tracking import AbstractTracker, JsonLines, MLflow, TensorBoard, WandB

__all__ = [
    "AbstractStream",
    "AbstractTracker",
    "Adam",
    "Batch",
    "Checkpoint",
    "Devices",
    "FitError",
    "FitResult",
    "FunctionStream",
    "HostLostError",
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
    "array_stream",
    "connect",
    "fit",
    "in_data_units",
    "log_prob",
    "make_step",
    "remove_checkpoint",
]
