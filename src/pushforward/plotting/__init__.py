"""Figures of a fit: columns, pairs, conditional densities, the learning curve, latent quantiles, the way of a flow.

matplotlib is imported on first use.
"""

from pushforward.plotting.conditional import plot_conditional, plot_predictive
from pushforward.plotting.curve import plot_curve
from pushforward.plotting.field import plot_field
from pushforward.plotting.layers import plot_layers
from pushforward.plotting.marginal import plot_marginal
from pushforward.plotting.overview import plot_overview
from pushforward.plotting.pair import plot_pair
from pushforward.plotting.qq import plot_qq
from pushforward.plotting.trajectories import plot_trajectories

__all__ = [
    "plot_conditional",
    "plot_curve",
    "plot_field",
    "plot_layers",
    "plot_marginal",
    "plot_overview",
    "plot_pair",
    "plot_predictive",
    "plot_qq",
    "plot_trajectories",
]
