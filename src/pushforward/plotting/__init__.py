"""Figures of a fit: pairs of columns, the learning curve, latent quantiles, and how the flow carries noise to data.

matplotlib is imported on first use.
"""

from pushforward.plotting.curve import plot_curve
from pushforward.plotting.field import plot_field
from pushforward.plotting.layers import plot_layers
from pushforward.plotting.overview import plot_overview
from pushforward.plotting.pair import plot_pair
from pushforward.plotting.qq import plot_qq
from pushforward.plotting.trajectories import plot_trajectories

__all__ = ["plot_curve", "plot_field", "plot_layers", "plot_overview", "plot_pair", "plot_qq", "plot_trajectories"]
