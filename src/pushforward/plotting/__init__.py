"""Figures of a fit: pairs of columns, the learning curve, latent quantiles. matplotlib is imported on first use."""

from pushforward.plotting.curve import plot_curve
from pushforward.plotting.overview import plot_overview
from pushforward.plotting.pair import plot_pair
from pushforward.plotting.qq import plot_qq

__all__ = ["plot_curve", "plot_overview", "plot_pair", "plot_qq"]
