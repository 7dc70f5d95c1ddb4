"""The page that suits a model."""

from __future__ import annotations

from typing import Any

from pushforward._checks import message
from pushforward.explore.subject import Subject


def subject_of(
    model: Any,
    data: Any = None,
    *,
    name: str = "model",
    against: Any = None,
    against_name: str = "other",
    seed: int = 0,
) -> Subject:
    """A fitted model as a page shows it: `pf.explore.serve(pf.explore.subject_of(model), announce=print)`.

    Args:
        model: A fitted `FlowDensity`, `FlowOutlierDetector`, `NPE`, `NLE`, `JointPosterior` or `ImageDensity`.
        data: Rows, simulations or images to look at, of any kind that the model takes; None takes samples of the model.
        name: Name of the model, such as its folder, which the Python on the page loads.
        against: Another density of the same columns, to compare; or None.
        against_name: Name of that one.
        seed: Seed of all draws.

    Raises:
        TypeError: There is no page for such a model.
        DataError: The rows are not of the model, or are needed and missing.
    """
    from pushforward.anomalies import FlowOutlierDetector
    from pushforward.anomalies.explanation import density_of
    from pushforward.explore.image_subject import ImageSubject
    from pushforward.explore.posterior_subject import PosteriorSubject
    from pushforward.explore.table_subject import TableSubject
    from pushforward.images import ImageDensity
    from pushforward.inference import NLE, NPE, JointPosterior
    from pushforward.tables.estimators import FlowDensity

    if against is not None and not isinstance(model, FlowDensity):
        fix = "Compare densities of tables."
        raise TypeError(message("explore", "a FlowDensity where two models are compared", type(model).__name__, fix))
    if isinstance(model, FlowDensity):
        return TableSubject(model, name, data, against=against, against_name=against_name, seed=seed)
    if isinstance(model, FlowOutlierDetector):
        return TableSubject(density_of(model)[0], name, data, detector=model, seed=seed)
    if isinstance(model, NPE | NLE | JointPosterior):
        return PosteriorSubject(model, name, data, seed=seed)
    if isinstance(model, ImageDensity):
        return ImageSubject(model, name, data, seed=seed)
    expected = "a fitted FlowDensity, FlowOutlierDetector, NPE, NLE, JointPosterior or ImageDensity"
    raise TypeError(message("explore", expected, type(model).__name__, "Fit one."))
