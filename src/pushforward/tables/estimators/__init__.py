"""scikit-learn estimators, and what is said of a fitted one."""

from pushforward.tables.estimators.density import FlowDensity
from pushforward.tables.estimators.evaluate import evaluate
from pushforward.tables.estimators.evaluation import Evaluation

__all__ = ["Evaluation", "FlowDensity", "evaluate"]
