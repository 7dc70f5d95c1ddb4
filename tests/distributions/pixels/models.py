"""Tiny models of images of levels, with noise on every weight, so that no two masses are alike."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.distributions.pixels import (
    AutoregressivePixels,
    AveragedOrders,
    CategoricalLevels,
    LogisticLevels,
    random_orders,
)
from pushforward.nets.masked import MADE
from pushforward.nets.pixel_cnn import PixelCNN
from pushforward.nets.pixel_rnn import DiagonalBiLSTM, RowLSTM
from pushforward.nets.raster_net import RasterNet, raster_order

KEY = jax.random.key(3)
TRUNKS: dict[str, Any] = {
    "pixelcnn": lambda **kw: PixelCNN(KEY, width=4, depth=2, reach=2, **kw),
    "pixelcnnpp": lambda **kw: PixelCNN(KEY, width=4, depth=2, reach=2, blocks="residual", **kw),
    "row_lstm": lambda **kw: RowLSTM(KEY, width=4, depth=2, reach=1, **kw),
    "diagonal_bilstm": lambda **kw: DiagonalBiLSTM(KEY, width=4, depth=2, reach=1, **kw),
}
NAMES = ("made", *TRUNKS)


def law_of(name: str, n_levels: int) -> Any:
    """The law that the model of that name has."""
    return LogisticLevels(n_levels, 2) if name == "pixelcnnpp" else CategoricalLevels(n_levels)


def noisy(tree: Any, scale: float = 0.5) -> Any:
    """The tree with noise on every weight."""
    rng = np.random.default_rng(0)

    def noise(leaf: Any) -> Any:
        return leaf + scale * rng.standard_normal(leaf.shape) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(noise, tree)


def make(name: str, shape: tuple[int, int, int], n_levels: int, n_classes: int | None = None) -> AutoregressivePixels:
    """The model of that name."""
    law, cond_shape = law_of(name, n_levels), None if n_classes is None else (n_classes,)
    size = int(np.prod(shape))
    if name == "made":
        net = MADE(KEY, size, law.n_params, width=8, depth=2, cond_shape=cond_shape, activation="tanh")
        return AutoregressivePixels(noisy(net), law, shape, np.random.default_rng(1).permutation(size))
    trunk = TRUNKS[name](n_inputs=shape[0] + 1, cond_shape=cond_shape)
    net = RasterNet(KEY, trunk, shape, law.n_params, width=4)
    return AutoregressivePixels(noisy(net), law, shape, raster_order(shape))


def averaged(shape: tuple[int, int, int], n_levels: int) -> AveragedOrders:
    """A MADE in three orders."""
    law, size = CategoricalLevels(n_levels), int(np.prod(shape))
    net = MADE(KEY, size, law.n_params, width=8, depth=2)
    return AveragedOrders(noisy(net), law, shape, random_orders(1, 3, size))
