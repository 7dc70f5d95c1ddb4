"""The objective that a model is made for."""

from __future__ import annotations

from pushforward.distributions import AbstractDistribution
from pushforward.dynamics import PredictionField
from pushforward.objectives.base import AbstractObjective
from pushforward.objectives.denoising import DenoisingScoreMatching
from pushforward.objectives.flow_matching import FlowMatching
from pushforward.objectives.likelihood import MaximumLikelihood
from pushforward.objectives.times import LevelTimes
from pushforward.objectives.view import field_of, has_field
from pushforward.paths import VarianceExplodingPath


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
