"""scikit-learn estimators, and what is said of a fitted one."""

from pushforward.estimators.density import FlowDensity
from pushforward.estimators.evaluate import evaluate
from pushforward.estimators.evaluation import Evaluation

__all__ = ["Evaluation", "FlowDensity", "evaluate"]
