"""Maps of log-density: how probable a model finds each pixel of an image, given the others."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array
from pushforward.distributions import AbstractDistribution, Dequantized, evaluation_form
from pushforward.distributions.pixels import AnyOrderPixels, AutoregressivePixels, AveragedOrders
from pushforward.images.asked import condition_of, levels_of, model_of

# Images at once, each with as many copies as a pixel has points.
CHUNK = 8


class Grid(NamedTuple):
    """The levels at which the density of one number is normalised.

    Attributes:
        n_levels: Number of levels of a pixel.
        n_points: Number of them that are taken.
    """

    n_levels: int
    n_points: int

    @property
    def step(self) -> int:
        """The distance between two of the levels that are taken."""
        return -(-self.n_levels // self.n_points)

    def at(self, own: Array) -> tuple[Array, Array]:
        """The levels `(k,)` that are whole steps away from one's own, and whether each is a level at all."""
        places = own % self.step + self.step * jnp.arange(-(-self.n_levels // self.step))
        return places, places < self.n_levels


def density_map(density: Any, images: Any, labels: Any = None, *, n_points: int = 32) -> np.ndarray:
    r"""How probable a model finds each pixel of an image given others, in nats, `(n, H, W)`: low where it is odd.

    Channels add up. For models of levels these are the exact conditionals in their order, $\log P(x_i \mid x_{<i})$,
    which add up to the log-mass; for flows $\log P(x_i \mid x_{-i})$, given all other numbers: see `conditional_map`.

    Args:
        density: A fitted `ImageDensity`, or a distribution over levels.
        images: Images of any source that `read_images` takes.
        labels: Their classes, for a model with classes.
        n_points: Largest number of levels at which a flow's density is normalised, 2 or more.

    Cost: one pass for models of levels; as many log-densities as numbers times points an image for flows.

    Raises:
        TypeError: The model has no density of its pixels.
        ValueError: There are fewer than two points.
    """
    model = model_of(density)
    levels = levels_of(model, images)
    return conditional_map(model, levels, condition_of(density, labels, len(levels)), n_points=n_points).sum(axis=1)


def conditional_map(
    model: AbstractDistribution, levels: Any, condition: Any = None, *, n_points: int = 32
) -> np.ndarray:
    r"""The log-density of each number of an image given others, in nats, `(n, C, H, W)`.

    For an autoregressive model of levels these are its exact conditionals, $\log P(x_i \mid x_{<i})$ in the model's
    order, which add up to the log-mass of the image. For averaged orders these are their mean by the orders' shares,
    and for a model of any order $\log P(x_i \mid x_{-i})$ by its network, in one pass a number.

    For a flow they are $\log P(x_i \mid x_{-i})$, the log-mass of a number given **all others**. Unlike a sum over
    latents, whose share in a pixel depends on the architecture, this is defined by the density alone: $\log p(x)$ less
    the logarithm of the sum of $p$ over the levels that $x_i$ might have had. The density is taken at the middles of
    levels. With fewer points than levels the sum runs over every $s$-th level, one's own among them, and the map gives
    the log-mass of the bin of $s$ levels. These numbers do not add up to $\log p(x)$, for each pixel sees its
    neighbours on all sides; they say where an image is not as its surroundings let expect.

    Args:
        model: Distribution over levels: one of `distributions.pixels`, or a `Dequantized` flow.
        levels: Images of levels `(n, C, H, W)`.
        condition: Conditions `(n, *cond_shape)`, or None.
        n_points: Largest number of levels at which a flow's density is normalised, 2 or more.

    Cost: one pass for an autoregressive model; $D$ times the number of points log-densities an image for a flow.

    Raises:
        TypeError: The model is of neither kind.
        ValueError: There are fewer than two points.

    Source: Besag, 1975, The Statistician 24 (pseudo-likelihood).
    """
    name = "conditional_map"
    levels = jnp.asarray(levels, float)
    if isinstance(model, AutoregressivePixels | AveragedOrders | AnyOrderPixels):
        return np.asarray(model.log_prob_map(levels, condition))
    if not isinstance(model, Dequantized):
        fix = "Pass the model_ of a fitted ImageDensity."
        raise TypeError(message(name, "a model of levels or a dequantized flow", type(model).__name__, fix))
    grid = Grid(model.n_levels, check_int(name, "n_points", n_points, 2))
    flow = evaluation_form(model.flow)
    maps = []
    for start in range(0, len(levels), CHUNK):
        rows = slice(start, start + CHUNK)
        maps.append(_others(flow, levels[rows], None if condition is None else jnp.asarray(condition)[rows], grid=grid))
    return np.concatenate([np.asarray(m) for m in maps]) if maps else np.zeros(levels.shape)


@eqx.filter_jit
def _others(flow: AbstractDistribution, levels: Array, condition: Array | None, *, grid: Grid) -> Array:
    """The log-mass of each number given all others, of images at the middles of their levels."""

    def image(own: Array, given: Array | None) -> Array:
        flat = own.reshape(-1)
        whole = flow.log_prob(own + 0.5, given)

        def number(i: Array) -> Array:
            places, are_levels = grid.at(flat[i])
            copies = jnp.broadcast_to(flat, (len(places), len(flat))).at[:, i].set(places) + 0.5
            all_of_them = flow.log_prob(copies.reshape(-1, *own.shape), given)
            return whole - jax.nn.logsumexp(jnp.where(are_levels, all_of_them, -jnp.inf))

        return jax.lax.map(number, jnp.arange(len(flat))).reshape(own.shape)

    return jax.vmap(image, in_axes=(0, None if condition is None else 0))(levels, condition)
