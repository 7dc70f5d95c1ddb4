"""Figures of a fit or an inference: columns, pairs, conditional densities, learning curve, latents, the way of a flow.

matplotlib is imported on first use.
"""

from pushforward.plotting.anomalies import plot_anomalies
from pushforward.plotting.calibration import plot_calibration
from pushforward.plotting.conditional import plot_conditional, plot_predictive
from pushforward.plotting.curve import plot_curve
from pushforward.plotting.field import plot_field
from pushforward.plotting.inference import plot_corner, plot_ladder, plot_weights
from pushforward.plotting.layers import plot_layers
from pushforward.plotting.likeness import plot_likeness
from pushforward.plotting.marginal import plot_marginal
from pushforward.plotting.overview import plot_overview
from pushforward.plotting.pair import plot_pair
from pushforward.plotting.qq import plot_qq
from pushforward.plotting.restoration import plot_restoration
from pushforward.plotting.trajectories import plot_trajectories

__all__ = [
    "plot_anomalies",
    "plot_calibration",
    "plot_conditional",
    "plot_corner",
    "plot_curve",
    "plot_field",
    "plot_ladder",
    "plot_layers",
    "plot_likeness",
    "plot_marginal",
    "plot_overview",
    "plot_pair",
    "plot_predictive",
    "plot_qq",
    "plot_restoration",
    "plot_trajectories",
    "plot_weights",
]
