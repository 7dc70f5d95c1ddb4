"""The report on a model folder, whatever kind of model it says it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pushforward.io.files import DETECTOR, says_of_itself
from pushforward.report.make import make_report
from pushforward.report.page import Report


def report_of_folder(
    folder: Path, data: Any, *, given: Any = None, seed: int = 0, missing: Literal["error", "drop"] = "error"
) -> Report:
    """Report on the model in a folder; nothing in the folder is trusted or run.

    Args:
        folder: Folder that `fit` or `infer` wrote.
        data: Rows to hold the model against, or None.
        given: An observation for a posterior, or None.
        seed: Seed of all draws.
        missing: What happens to rows with missing values that the model has no state for.

    Raises:
        UntrustedModelError: The folder is damaged.
        DataError: The rows are not of the model, or are missing.
    """
    return make_report(model_in(folder), data, given=given, seed=seed, missing=missing, name=str(folder))


def model_in(folder: Path) -> Any:
    """The model in a folder, of the kind that the folder says.

    Args:
        folder: The folder.
    """
    from pushforward.anomalies import FlowOutlierDetector
    from pushforward.images import ImageDensity
    from pushforward.images.folder import is_images_model
    from pushforward.inference.saved import is_inference, load_simulation_model
    from pushforward.tables.estimators import FlowDensity

    if is_images_model(folder):
        return ImageDensity.load(folder)
    if says_of_itself(folder, DETECTOR):
        return FlowOutlierDetector.load(folder)
    return load_simulation_model(folder) if is_inference(folder) else FlowDensity.load(folder)
