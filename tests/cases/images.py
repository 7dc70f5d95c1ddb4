"""Layers of images, on events of 4 x 4 x 2 numbers or fewer."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

import pushforward as pf
from cases.case import Case, eye
from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections import (
    ActNorm,
    Chain,
    CheckerboardSqueeze,
    Conv1x1,
    Coupling,
    Invert,
    LULinear,
    Partial,
    Reshape,
    SigmoidAffineMap,
    Squeeze,
    half_split,
)
from pushforward.nets import ConvNet

IMAGE = (2, 4, 4)


def moved(order: np.ndarray) -> np.ndarray:
    """What a permutation depends on: output i on input `order[i]`."""
    return np.eye(order.size, dtype=bool)[order.ravel()]


PLACES = np.arange(32).reshape(IMAGE)
BLOCKS = np.stack([PLACES[c, i::2, j::2] for c in range(2) for i in range(2) for j in range(2)])
COLOURS = np.stack(
    [np.stack([PLACES[c, i, (i + colour) % 2 :: 2] for i in range(4)]) for colour in range(2) for c in range(2)]
)


def coupling(key: PRNGKeyArray, shape: tuple[int, ...], *, cond_shape: tuple[int, ...] | None = None) -> Coupling:
    """A coupling of the halves of the channels."""
    split = half_split(shape)
    n_passing = shape[0] // 2
    out_shape = (2, shape[0] - n_passing)
    # A smooth network, for rectifiers may all be dead.
    sizes = {"width": 4, "cond_shape": cond_shape, "activation": "silu"}
    net = ConvNet(key, (n_passing, *shape[1:]), out_shape, **sizes)
    return Coupling(split, net, SigmoidAffineMap(), cond_shape=cond_shape)


class OneEvent(eqx.Module):
    """A network of a user's own, from one part of an event `(2, 2, 1)` to two parameters of each of its numbers."""

    net: eqx.nn.MLP

    def __call__(self, x: Array) -> Array:
        return self.net(x.ravel()).reshape(2, 2, 2, 1)


def other_half(key: PRNGKeyArray) -> Coupling:
    """A coupling along the last axis, which transforms what comes first, given a network for one event."""
    net = OneEvent(eqx.nn.MLP(4, 8, 4, 1, activation=jax.nn.silu, key=key))
    return Coupling(~half_split((2, 2, 2)).T, net, pf.AffineMap())


def scales(key: PRNGKeyArray) -> Partial:
    """The layers of a second scale: half of the channels, after a step and its squeeze."""
    inner = Chain([Squeeze((1, 2, 2)), Conv1x1(LULinear(key, 4), (4, 1, 1)), Invert(Squeeze((1, 2, 2)))])
    return Partial(inner, [1], dim=2)


CASES: dict[str, Case] = {
    "Reshape": Case(lambda key: Reshape((1, 2, 2), (4,)), reach=eye(4)),
    "Squeeze": Case(lambda key: Squeeze(IMAGE), reach=moved(BLOCKS)),
    "CheckerboardSqueeze": Case(lambda key: CheckerboardSqueeze(IMAGE), reach=moved(COLOURS)),
    "ActNorm of an image": Case(lambda key: ActNorm((2, 2, 2)), reach=eye(8)),
    "Coupling of channels, image as condition": Case(
        lambda key: coupling(key, (3, 2, 2), cond_shape=(1, 2, 2)), condition_reach=half_split((3, 2, 2)).ravel()
    ),
    "Coupling of channels, class as condition": Case(
        lambda key: coupling(key, (2, 4, 4), cond_shape=(3,)), condition_reach=half_split((2, 4, 4)).ravel()
    ),
    "Coupling along the last axis": Case(other_half),
    "Partial, channels": Case(scales),
}
