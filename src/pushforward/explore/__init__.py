"""Views of a fitted model, and a page on this machine that shows them while sliders move."""

from pushforward.explore.choose import subject_of
from pushforward.explore.curves import Curve, How, Surface
from pushforward.explore.flow_axes import LatentAxes, Way, latent_axes, noise_to_data
from pushforward.explore.server import serve
from pushforward.explore.views import (
    Drawn,
    RowScore,
    conditional,
    conditional_pair,
    draws_given,
    score_row,
)

__all__ = [
    "Curve",
    "Drawn",
    "How",
    "LatentAxes",
    "RowScore",
    "Surface",
    "Way",
    "conditional",
    "conditional_pair",
    "draws_given",
    "latent_axes",
    "noise_to_data",
    "score_row",
    "serve",
    "subject_of",
]
