"""The objective that a model is made for, and others by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pushforward._checks import message
from pushforward.distributions import AbstractDistribution
from pushforward.dynamics import PredictionField
from pushforward.objectives.base import AbstractObjective
from pushforward.objectives.bridge import BridgeMatching
from pushforward.objectives.denoising import DenoisingScoreMatching
from pushforward.objectives.flow_matching import FlowMatching
from pushforward.objectives.likelihood import MaximumLikelihood
from pushforward.objectives.regularized import RegularizedLikelihood
from pushforward.objectives.times import ImportanceTimes, LevelTimes
from pushforward.objectives.view import field_of, has_field
from pushforward.paths import OptimalTransport, VarianceExplodingPath


def is_regression(objective: AbstractObjective) -> bool:
    """Whether a step is one evaluation of a network: cheap, with a noisy gradient, so that a fit takes more of them."""
    return isinstance(objective, FlowMatching | DenoisingScoreMatching | BridgeMatching)


def natural_objective(model: AbstractDistribution) -> AbstractObjective:
    """What trains a model where nothing else is said.

    A field on a path is trained by regression on that path: by flow matching if it predicts velocities, by denoising
    score matching if it predicts noise, data or scores (at the path's noise levels, if it has some). Everything else is
    trained by maximum likelihood.

    Args:
        model: a flow or a table's distribution.

    Example:
        >>> import jax, pushforward as pf
        >>> type(pf.objectives.natural_objective(pf.flows.maf(jax.random.key(0), dim=2))).__name__
        'MaximumLikelihood'
    """
    field = field_of(model) if has_field(model) else None
    if not isinstance(field, PredictionField):
        return MaximumLikelihood()
    if field.predicts == "velocity":
        return FlowMatching()
    path = field.path
    levels = path.n_levels if isinstance(path, VarianceExplodingPath) else None
    return DenoisingScoreMatching() if levels is None else DenoisingScoreMatching(times=LevelTimes(levels))


# By name, as functions of a model's velocity field (None without one): what the estimator and the command line offer.
OBJECTIVES: dict[str, Callable[[Any], AbstractObjective]] = {
    "likelihood": lambda field: MaximumLikelihood(),
    "regularized": lambda field: RegularizedLikelihood(),
    "flow_matching": lambda field: FlowMatching(),
    "optimal_transport": lambda field: FlowMatching(pairing=OptimalTransport()),
    "denoising": lambda field: DenoisingScoreMatching(),
    "likelihood_weighted": lambda field: DenoisingScoreMatching(times=ImportanceTimes(field.path)),
}
ON_A_PATH = ("denoising", "likelihood_weighted")


def objective_named(name: str, model: AbstractDistribution) -> AbstractObjective:
    """An objective by its name in `OBJECTIVES`, for a model.

    Args:
        name: `"likelihood"`, `"regularized"`, `"flow_matching"`, `"optimal_transport"`, `"denoising"` or
            `"likelihood_weighted"`.
        model: a flow or a table's distribution.

    Raises:
        ValueError: the name is unknown, or the model has no velocity field, or none on a path, to be trained so.
    """
    if name not in OBJECTIVES:
        raise ValueError(message("objective", f"one of {', '.join(OBJECTIVES)}", repr(name), "Choose one of them."))
    field = field_of(model) if has_field(model) else None
    if name != "likelihood" and field is None:
        fix = "Take likelihood, or a flow such as flow_matching, score_sde or ffjord with one layer."
        raise ValueError(message(f"objective {name}", "a flow of one velocity field", "another", fix))
    if name in ON_A_PATH and not isinstance(field, PredictionField):
        fix = "Take a flow such as score_sde or flow_matching."
        raise ValueError(message(f"objective {name}", "a field on a path from noise to data", "another", fix))
    return OBJECTIVES[name](field)
