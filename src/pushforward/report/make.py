"""`make_report`: the report that suits a model."""

from __future__ import annotations

from typing import Any, Literal

from pushforward._checks import message
from pushforward.report.page import Report


def make_report(
    model: Any,
    data: Any = None,
    *,
    given: Any = None,
    seed: int = 0,
    missing: Literal["error", "drop"] = "error",
    name: str | None = None,
) -> Report:
    """Report on a fitted model in one page of HTML: `make_report(model, data).save("report.html")`.

    The page opens from the disk and asks no network for anything; figures have their numbers behind them. Its numbers
    are those of `evaluate`, `check`, `detect` or `calibrate` with the same seed.

    Args:
        model: A fitted `FlowDensity`, `FlowOutlierDetector`, `NPE`, `NLE`, `JointPosterior` or `ImageDensity`, or the
            answer of `pf.infer`.
        data: Rows that the fit has not seen. A detector judges them; a posterior is judged by them, as a table of held-
            out simulations or a pair of arrays `(theta, x)`; a model of images by images. None reports on the fit of a
            density alone.
        given: An observation that a posterior is shown at; None takes the first of the held-out simulations.
        seed: Seed of all draws.
        missing: `"drop"` leaves out rows with missing values that a density has no state for.
        name: Name of the model; None takes that of its kind.

    Raises:
        TypeError: There is no report on such a model.
        DataError: The rows are not of the model, or are missing.
    """
    from pushforward.anomalies import FlowOutlierDetector
    from pushforward.images import ImageDensity
    from pushforward.inference import NLE, NPE, Inference, JointPosterior
    from pushforward.tables.estimators import FlowDensity

    if isinstance(model, FlowDensity):
        from pushforward.report.density_report import density_report

        return density_report(model, data, seed=seed, missing=missing, name=name)
    if isinstance(model, FlowOutlierDetector):
        from pushforward.report.detector_report import detector_report

        return detector_report(model, data, seed=seed, name=name)
    if isinstance(model, NPE | NLE | JointPosterior):
        from pushforward.report.posterior_report import posterior_report

        return posterior_report(model, data, given=given, seed=seed, name=name)
    if isinstance(model, ImageDensity):
        from pushforward.report.image_report import image_report

        return image_report(model, data, seed=seed, name=name)
    if isinstance(model, Inference):
        from pushforward.report.posterior_report import inference_report

        return inference_report(model, seed=seed, name=name)
    expected = "a fitted density, detector or posterior, or the answer of infer"
    raise TypeError(message("make_report", expected, type(model).__name__, "Fit one."))
