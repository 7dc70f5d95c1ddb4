"""Builders of models of discrete pixels: one network for each, and a law of levels."""

from __future__ import annotations

from collections.abc import Callable

import jax

from pushforward.distributions.pixels import (
    AbstractLevels,
    AnyOrderPixels,
    AutoregressivePixels,
    AveragedOrders,
    CategoricalLevels,
    LogisticLevels,
    random_orders,
)
from pushforward.images.zoo.plan import ImagePlan
from pushforward.nets.conv import ConvNet
from pushforward.nets.masked import MADE
from pushforward.nets.pixel_cnn import PixelCNN
from pushforward.nets.pixel_rnn import DiagonalBiLSTM, RowLSTM
from pushforward.nets.pixel_trunk import AbstractTrunk
from pushforward.nets.raster_net import RasterNet, raster_order

# The most levels for which `auto` takes a softmax; a masked network's last layer has a row for every level and pixel.
MOST_CATEGORICAL = 16


def law_of(plan: ImagePlan) -> AbstractLevels:
    """The law of one number over its levels that the options name."""
    options = plan.options
    if options.law == "logistic" or (options.law == "auto" and options.n_levels > MOST_CATEGORICAL):
        return LogisticLevels(options.n_levels, options.n_mixtures)
    return CategoricalLevels(options.n_levels)


def any_order(plan: ImagePlan) -> AnyOrderPixels:
    """A convolutional network of values and masks."""
    options, law, (c, *sides) = plan.options, law_of(plan), plan.shape
    sizes = {"width": options.width, "depth": options.depth, "cond_shape": plan.cond_shape}
    net = ConvNet(plan.key, (2 * c, *sides), (law.n_params, c), blocks="residual", **sizes)
    return AnyOrderPixels(net, law, plan.shape, plan.cond_shape)


def made(plan: ImagePlan) -> AutoregressivePixels | AveragedOrders:
    """A masked network in one order of the pixels, or in several."""
    options, law = plan.options, law_of(plan)
    sizes = {"width": options.width, "depth": options.depth, "cond_shape": plan.cond_shape}
    net = MADE(plan.key, plan.size, law.n_params, activation=options.activation, **sizes)
    orders = random_orders(0, options.n_orders, plan.size)
    if options.n_orders == 1:
        return AutoregressivePixels(net, law, plan.shape, orders[0])
    return AveragedOrders(net, law, plan.shape, orders)


def convolutional(plan: ImagePlan) -> AutoregressivePixels:
    """PixelCNN, gated or residual."""
    blocks = "residual" if plan.name == "pixelcnnpp" else "gated"

    def trunk(key: jax.Array, n_inputs: int) -> PixelCNN:
        options = plan.options
        sizes = {"width": options.width, "depth": options.depth, "reach": options.reach}
        return PixelCNN(key, n_inputs, blocks=blocks, cond_shape=plan.cond_shape, **sizes)

    return _in_raster_order(plan, trunk)


def recurrent(plan: ImagePlan) -> AutoregressivePixels:
    """PixelRNN, over rows or over diagonals."""
    kind = RowLSTM if plan.name == "row_lstm" else DiagonalBiLSTM

    def trunk(key: jax.Array, n_inputs: int) -> AbstractTrunk:
        options = plan.options
        sizes = {"width": options.width, "depth": options.depth, "reach": options.reach}
        return kind(key, n_inputs, cond_shape=plan.cond_shape, **sizes)

    return _in_raster_order(plan, trunk)


def _in_raster_order(plan: ImagePlan, trunk_of: Callable[[jax.Array, int], AbstractTrunk]) -> AutoregressivePixels:
    first, second = jax.random.split(plan.key)
    law = law_of(plan)
    trunk = trunk_of(first, plan.shape[0] + 1)
    net = RasterNet(second, trunk, plan.shape, law.n_params, width=plan.options.head_width)
    return AutoregressivePixels(net, law, plan.shape, raster_order(plan.shape))
