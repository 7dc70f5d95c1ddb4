"""Scores of unusual rows, by name."""

from __future__ import annotations

from pushforward._checks import message
from pushforward._words import nearest
from pushforward.anomalies.base import AbstractScore, FittedScore
from pushforward.anomalies.scores.compared import ComparedScore, LikelihoodRatio, Typicality
from pushforward.anomalies.scores.conditional import ConditionalScore, ConditionalSurprise
from pushforward.anomalies.scores.ensemble import RankEnsemble, RankEnsembleScore
from pushforward.anomalies.scores.latent import LargestLatent, LatentNorm, LatentScore
from pushforward.anomalies.scores.log_density import NegativeLogDensity, NegativeLogDensityScore
from pushforward.anomalies.scores.neighbours import Neighbours, NeighboursScore
from pushforward.anomalies.scores.tails import ColumnTails, ColumnTailsScore

# The settings of each score by its name; `FITTED` has what their fits give, which reads the parts of a folder.
SCORES: dict[str, type[AbstractScore]] = {
    "ensemble": RankEnsemble,
    "log_density": NegativeLogDensity,
    "latent_norm": LatentNorm,
    "largest_latent": LargestLatent,
    "neighbours": Neighbours,
    "column_tails": ColumnTails,
    "conditional": ConditionalSurprise,
    "typicality": Typicality,
    "likelihood_ratio": LikelihoodRatio,
}
FITTED: dict[str, type[FittedScore]] = {
    "ensemble": RankEnsembleScore,
    "log_density": NegativeLogDensityScore,
    "latent_norm": LatentScore,
    "largest_latent": LatentScore,
    "neighbours": NeighboursScore,
    "column_tails": ColumnTailsScore,
    "conditional": ConditionalScore,
    "typicality": ComparedScore,
    "likelihood_ratio": ComparedScore,
}
DEFAULT = "ensemble"

__all__ = [
    "DEFAULT",
    "FITTED",
    "SCORES",
    "ColumnTails",
    "ColumnTailsScore",
    "ComparedScore",
    "ConditionalScore",
    "ConditionalSurprise",
    "LargestLatent",
    "LatentNorm",
    "LatentScore",
    "LikelihoodRatio",
    "NegativeLogDensity",
    "NegativeLogDensityScore",
    "Neighbours",
    "NeighboursScore",
    "RankEnsemble",
    "RankEnsembleScore",
    "Typicality",
    "score_named",
]


def score_named(score: str | AbstractScore | None) -> AbstractScore:
    """A score by its name, or the score itself; None is the default.

    Args:
        score: Name in `SCORES`, a score, or None.

    Raises:
        ValueError: There is no score of this name.

    Example:
        >>> from pushforward.anomalies import score_named
        >>> type(score_named("log_density")).__name__
        'NegativeLogDensity'
    """
    if isinstance(score, AbstractScore):
        return score
    name = DEFAULT if score is None else score
    if name not in SCORES:
        fix = f"Name one of them, or pass an AbstractScore.{nearest(str(name), list(SCORES))}"
        raise ValueError(message("score_named", f"one of {', '.join(SCORES)}", repr(score), fix))
    return SCORES[name]()
