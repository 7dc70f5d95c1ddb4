"""scikit-learn estimators."""

from pushforward.estimators.density import FlowDensity

__all__ = ["FlowDensity"]
