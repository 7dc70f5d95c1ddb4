"""Distributions over images of whole numbers, with exact masses, one number of the image after the other."""

from pushforward.distributions.pixels.any_order import AnyOrderPixels
from pushforward.distributions.pixels.autoregressive import AutoregressivePixels
from pushforward.distributions.pixels.levels import AbstractLevels, CategoricalLevels, LogisticLevels
from pushforward.distributions.pixels.orders import AveragedOrders, random_orders

__all__ = [
    "AbstractLevels",
    "AnyOrderPixels",
    "AutoregressivePixels",
    "AveragedOrders",
    "CategoricalLevels",
    "LogisticLevels",
    "random_orders",
]
