"""The objective that a model is made for, and others by name."""

from __future__ import annotations

from pushforward._checks import message
from pushforward.distributions import AbstractDistribution, Dequantized
from pushforward.dynamics import PredictionField
from pushforward.objectives.base import AbstractObjective
from pushforward.objectives.denoising import DenoisingScoreMatching
from pushforward.objectives.drawn_times import LevelTimes
from pushforward.objectives.field_view import field_of, has_field
from pushforward.objectives.flow_matching import FlowMatching
from pushforward.objectives.image_objective import ImageObjective
from pushforward.objectives.likelihood import MaximumLikelihood
from pushforward.paths import VarianceExplodingPath


def natural_objective(model: AbstractDistribution) -> AbstractObjective:
    """The objective that trains a model where none is given.

    A field on a path is trained by regression on that path: by flow matching if it predicts velocities, by denoising
    score matching if it predicts noise, data or scores (at the path's noise levels, if it has some). Everything else is
    trained by maximum likelihood.

    Args:
        model: A flow or a table's distribution.

    Example:
        >>> import jax, pushforward as pf
        >>> type(pf.objectives.natural_objective(pf.flows.maf(jax.random.key(0), dim=2))).__name__
        'MaximumLikelihood'
    """
    if isinstance(model, Dequantized):
        inner = natural_objective(model.flow)
        return inner if isinstance(inner, MaximumLikelihood) else ImageObjective(inner)
    field = field_of(model) if has_field(model) else None
    if not isinstance(field, PredictionField):
        return MaximumLikelihood()
    if field.predicts == "velocity":
        return FlowMatching()
    path = field.path
    levels = path.n_levels if isinstance(path, VarianceExplodingPath) else None
    return DenoisingScoreMatching() if levels is None else DenoisingScoreMatching(times=LevelTimes(levels))


def registry() -> dict[str, type[AbstractObjective]]:
    """The classes of objectives by the names that they declare."""
    found, left = {}, [AbstractObjective]
    while left:
        kind = left.pop(0)
        left += kind.__subclasses__()
        found |= dict.fromkeys(vars(kind).get("names", ()), kind)
    return found


def objective_named(name: str, model: AbstractDistribution) -> AbstractObjective:
    """An objective by one of the names that their classes declare, for a model.

    Args:
        name: Such as `"likelihood"` or `"flow_matching"`; `objectives.OBJECTIVES` has all of the library's.
        model: A flow or a table's distribution.

    Raises:
        ValueError: The name is unknown, or the model has no velocity field, or none on a path, to be trained so.
    """
    known = registry()
    if name not in known:
        raise ValueError(message("objective", f"one of {', '.join(known)}", repr(name), "Choose one of them."))
    kind, field = known[name], field_of(model) if has_field(model) else None
    if kind.trains != "any" and field is None:
        fix = "Take likelihood, or a flow such as flow_matching, score_sde or ffjord with one layer."
        raise ValueError(message(f"objective {name}", "a flow of one velocity field", "another", fix))
    if kind.trains == "path" and not isinstance(field, PredictionField):
        fix = "Take a flow such as score_sde or flow_matching."
        raise ValueError(message(f"objective {name}", "a field on a path from noise to data", "another", fix))
    return kind.names[name](field)
