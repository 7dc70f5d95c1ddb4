"""Scores of unusual rows, by name."""

from __future__ import annotations

from pushforward._checks import message
from pushforward._words import nearest
from pushforward.anomalies.base import AbstractScore
from pushforward.anomalies.scores.log_density import NegativeLogDensity, NegativeLogDensityScore

# The settings of each score by its name; `FITTED` has what their fits give, which reads the parts of a folder.
SCORES: dict[str, type[AbstractScore]] = {"log_density": NegativeLogDensity}
FITTED = {"log_density": NegativeLogDensityScore}
DEFAULT = "log_density"

__all__ = ["DEFAULT", "FITTED", "SCORES", "NegativeLogDensity", "NegativeLogDensityScore", "score_named"]


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
