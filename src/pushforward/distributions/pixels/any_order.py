"""One network for all orders of the pixels: trained on masks, it gives any number from any set of known ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import rows_last, split_batch
from pushforward.distributions.base import AbstractDistribution, split_condition
from pushforward.distributions.pixels.autoregressive import AutoregressivePixels
from pushforward.distributions.pixels.levels import AbstractLevels, only_levels
from pushforward.nets.base import AbstractConditioner


class Known(NamedTuple):
    """What is known between two steps."""

    values: Array  # (C * H * W, n), 0 where a number is not known
    mask: Array  # the same, 1 where it is
    condition: Array | None


class MaskedSteps(AbstractConditioner):
    """A network of values and masks as one of steps in an order.

    Args:
        net: Network from `(2 C, H, W, n)`, the values on [-1, 1] and the mask of what is known, and a condition, to
            parameters `(n_params, C, H, W, n)`, such as a `ConvNet`.
        order: The place in the flattened image of each step, `(C * H * W,)`, or one order a row, `(C * H * W, n)`.
        shape: Shape `(C, H, W)` of an image.
        n_params: Number of parameters of each step.
        cond_shape: Shape of the condition, None if unconditional.

    Cost: `C * H * W` passes of the network, whether all steps are computed together or one after the other.
    """

    net: Callable[..., Array]
    order: Array
    shape: Shape = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, net: Callable[..., Array], order: Array, shape: Shape, n_params: int, cond_shape: Shape | None):
        self.net, self.order, self.shape, self.n_params = net, order, shape, n_params
        self.n_steps, self.cond_shape = math.prod(shape), cond_shape

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        state = self.init(x.shape[1:], condition)

        def step(state: Known, given: tuple[Array, Array]) -> tuple[Known, Array]:
            params, state = self.step(state, *given)
            return state, params

        before = jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])
        _, params = scan(step, state, (jnp.arange(self.n_steps), before))
        return jnp.moveaxis(params, 0, 1)

    def init(self, batch: Shape, condition: Array | None = None) -> Known:
        leaves = jax.tree.leaves(eqx.filter(self.net, eqx.is_inexact_array))
        blank = jnp.zeros((self.n_steps, *batch), jnp.result_type(*(leaf.dtype for leaf in leaves)))
        return Known(blank, blank, condition)

    def step(self, state: Known, i: Array, previous: Array) -> tuple[Array, Known]:
        rows = jnp.arange(previous.shape[0])
        place, before = (jnp.broadcast_to(self.order[k], rows.shape) for k in (i, jnp.maximum(i - 1, 0)))
        new = jnp.where(i > 0, 1, 0).astype(state.mask.dtype)
        values = state.values.at[before, rows].set(new * previous.astype(state.values.dtype))
        state = Known(values, state.mask.at[before, rows].set(new), state.condition)
        params = from_known(self.net, state, self.shape)
        return params[:, place, rows], state


def from_known(net: Callable[..., Array], known: Known, shape: Shape) -> Array:
    """The parameters `(n_params, C * H * W, n)` of all numbers from those that are known."""
    given = jnp.concatenate([part.reshape(*shape, -1) for part in (known.values * known.mask, known.mask)])
    params = net(given, known.condition)
    return params.reshape(params.shape[0], math.prod(shape), -1)


class AnyOrderPixels(AbstractDistribution):
    r"""Images by one network $P(x_i \mid x_S)$ for every set $S$ of known numbers, so in every order of the pixels.

    A log-density is an unbiased estimate of $\mathbb{E}_o \log P_o(x)$ over all orders, a lower bound of the
    log-mass of their mixture: with $t$ numbers known, drawn at random, it is
    $\frac{D}{D - t} \sum_{i \notin S} \log P(x_i \mid x_S)$. Training by it is what discrete diffusion with absorbing
    states does, with one step per number. `in_order` gives an exact distribution in one order.

    Args:
        net: Network from values and mask, `(2 C, H, W, n)`, to parameters `(n_params, C, H, W, n)`: a `ConvNet`.
        law: Law of one number over its levels.
        shape: Shape `(C, H, W)` of an image.
        cond_shape: Shape of the condition, None if unconditional.

    Cost: an estimate one pass of the network; sampling, and an exact log-mass in one order, one pass a number.

    Source: Uria, Murray, Larochelle, 2014, arXiv 1310.1757; Hoogeboom, Gritsenko, Bastings, Poole, van den Berg,
        Salimans, 2022, section 3, arXiv 2110.02037.
    """

    net: Callable[..., Array]
    law: AbstractLevels
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, net: Callable[..., Array], law: AbstractLevels, shape: Shape, cond_shape: Shape | None = None):
        self.net, self.law, self.event_shape = net, law, tuple(shape)
        self.cond_shape, self.needs_key = cond_shape, True

    @property
    def n_levels(self) -> int:
        """The number of levels of a pixel."""
        return self.law.n_levels

    def in_order(self, order: Any) -> AutoregressivePixels:
        """The exact distribution in one order, which has completions and a compression.

        Args:
            order: The place in the flattened image of each step, a permutation.

        Raises:
            ValueError: The order is no permutation.
        """
        return AutoregressivePixels(self._steps(jnp.asarray(order)), self.law, self.event_shape, order)

    def _steps(self, order: Array) -> MaskedSteps:
        return MaskedSteps(self.net, order, self.event_shape, self.law.n_params, self.cond_shape)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        if keys is None:
            raise ValueError(message("AnyOrderPixels.log_prob", "a key", "none", "Pass key=jax.random.key(0)."))
        steps = x.reshape(-1, x.shape[-1])
        size = steps.shape[0]

        def draw(key: PRNGKeyArray) -> tuple[Array, Array]:
            first, second = jax.random.split(key)
            return jax.random.permutation(first, size), jax.random.randint(second, (), 0, size)

        rank, count = jax.vmap(draw, out_axes=-1)(keys)
        mask = (rank < count).astype(steps.dtype)
        top = self.n_levels - 1
        values = jnp.clip(jnp.nan_to_num(steps), 0, top) * (2.0 / top) - 1.0
        log_mass = self.law.log_mass(from_known(self.net, Known(values, mask, condition), self.event_shape), steps)
        allowed = only_levels(jnp.zeros_like(log_mass), steps, self.n_levels)
        return jnp.sum((1 - mask) * log_mass, axis=0) * (size / (size - count)) + jnp.sum(allowed, axis=0)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        """Images, each in an order of its own, and their log-masses in that order."""
        size, rows = math.prod(self.event_shape), jnp.arange(keys.shape[0])
        orders = jax.vmap(lambda key: jax.random.permutation(jax.random.fold_in(key, 0x6F7264), size), out_axes=-1)(
            keys
        )
        model = AutoregressivePixels(self._steps(orders), self.law, self.event_shape, np.arange(size))
        given = jnp.zeros((size, keys.shape[0]), model.dtype)
        drawn, log_prob = model.draw(keys, condition, given, jnp.asarray(0))
        steps = drawn.reshape(size, -1)
        return jnp.zeros_like(steps).at[orders, rows].set(steps).reshape(drawn.shape), log_prob

    def log_prob_map(self, x: Any, condition: Any = None) -> Array:
        r"""The log-mass in nats of each number of an image given **all others**, $\log P(x_i \mid x_{-i})$.

        They do not add up to `log_prob`, for each number sees its neighbours on all sides.

        Args:
            x: Images `(*batch, C, H, W)` of levels.
            condition: Conditions `(*batch, *cond_shape)`.

        Cost: one pass of the network a number.

        Shapes:
            `(*batch, C, H, W) -> (*batch, C, H, W)`
        """
        name = "AnyOrderPixels.log_prob_map"
        x, batch = split_batch(name, "x", x, self.event_shape)
        condition, cond_batch = split_condition(name, condition, self.cond_shape)
        return _map_rows(self, x, condition, batches=(batch, cond_batch))

    def complete(self, key: PRNGKeyArray, x: Any, known: Any, condition: Any = None) -> Array:
        """Images with the known numbers of `x`, and the others drawn given those, in an order that the key decides.

        Args:
            key: JAX key. The same key gives the same rows.
            x: Images `(*batch, C, H, W)` of levels; what is not known is ignored.
            known: Mask `(C, H, W)`, any one, True where a number is known, the same for all images.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, C, H, W) -> (*batch, C, H, W)`

        Raises:
            ValueError: The mask has another shape, or a known number is no level.
        """
        first, second = jax.random.split(as_key("AnyOrderPixels.complete", key))
        flags = np.broadcast_to(np.asarray(known, bool), self.event_shape).ravel()
        shuffled = np.asarray(jax.random.permutation(first, flags.size))
        order = shuffled[np.argsort(~flags[shuffled], kind="stable")]
        return self.in_order(order).complete(second, x, flags.reshape(self.event_shape), condition)


@eqx.filter_jit
def _map_rows(model: AnyOrderPixels, x: Array, condition: Array | None, *, batches: tuple) -> Array:
    def run(x: Array, condition: Array | None) -> Array:
        steps, top = x.reshape(-1, x.shape[-1]), model.n_levels - 1
        values = jnp.clip(jnp.nan_to_num(steps), 0, top) * (2.0 / top) - 1.0

        def number(i: Array) -> Array:
            mask = jnp.ones_like(values).at[i].set(0)
            log_mass = model.law.log_mass(
                from_known(model.net, Known(values, mask, condition), model.event_shape), steps
            )
            return log_mass[i]

        log_mass = jax.lax.map(number, jnp.arange(len(steps)))
        return only_levels(log_mass, steps, model.n_levels).reshape(x.shape)

    return rows_last(run, batches, x, condition)
