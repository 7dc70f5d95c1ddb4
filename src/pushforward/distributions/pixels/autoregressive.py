"""Images of levels, one number after the other: masses, samples and completions of any autoregressive network."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import batch_keys, common_batch, rows_last, split_batch
from pushforward.distributions.base import AbstractDistribution, split_condition
from pushforward.distributions.pixels.levels import AbstractLevels, only_levels
from pushforward.nets.base import AbstractConditioner


class AutoregressivePixels(AbstractDistribution):
    r"""Exact masses $P(x) = \prod_i P(x_{o(i)} \mid x_{o(1)}, \dots, x_{o(i-1)})$ of images of levels 0 to K - 1.

    Args:
        net: Network that gives the parameters of each step from the steps before it. It sees the levels on [-1, 1].
        law: Law of one number over its levels.
        shape: Shape `(C, H, W)` of an image.
        order: The place in the flattened image of each step, a permutation.

    Cost: `log_prob` one pass of the network; sampling one step of it per number of the image.

    Raises:
        ValueError: The network, the law, the shape and the order do not fit together.

    Source: van den Oord, Kalchbrenner, Kavukcuoglu, 2016, eq. 1, arXiv 1601.06759.
    """

    net: AbstractConditioner
    law: AbstractLevels
    order: Array  # (C * H * W,), whole numbers
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, net: AbstractConditioner, law: AbstractLevels, shape: Shape, order: Any):
        name, order = "AutoregressivePixels", np.asarray(order)
        size = int(np.prod(shape))
        if net.n_steps != size or net.n_params != law.n_params:
            expected, got = (
                f"a network of {size} steps and {law.n_params} parameters",
                f"{net.n_steps} and {net.n_params}",
            )
            raise ValueError(message(name, expected, got, "Build it with the image's shape and the law's n_params."))
        if order.shape != (size,) or not np.array_equal(np.sort(order), np.arange(size)):
            raise ValueError(
                message(name, f"order a permutation of 0 .. {size - 1}", f"{order}", "Give one place a step.")
            )
        self.net, self.law, self.order = net, law, jnp.asarray(order, jnp.int32)
        self.event_shape, self.cond_shape, self.needs_key = tuple(shape), net.cond_shape, False

    @property
    def n_levels(self) -> int:
        """The number of levels of a pixel."""
        return self.law.n_levels

    def in_order(self, x: Array) -> Array:
        """Images `(C, H, W, n)` as the numbers of the steps, `(C * H * W, n)`."""
        return x.reshape(-1, x.shape[-1])[self.order]

    def as_images(self, steps: Array) -> Array:
        """The numbers of the steps `(C * H * W, n)` as images `(C, H, W, n)`."""
        return jnp.zeros_like(steps).at[self.order].set(steps).reshape(*self.event_shape, -1)

    def seen(self, levels: Array) -> Array:
        """Levels as the network sees them, on [-1, 1]; what is no number becomes 0, for its mass is known anyway."""
        top = self.n_levels - 1
        return jnp.clip(jnp.nan_to_num(levels), 0, top) * (2.0 / top) - 1.0

    def params_of_steps(self, steps: Array, condition: Array | None) -> Array:
        """The parameters `(n_params, C * H * W, n)` of all steps from all levels `(C * H * W, n)`, in one pass."""
        return self.net(self.seen(steps), condition)

    def begin(self, n: int, condition: Array | None) -> Any:
        """The state before the first step, for `n` images."""
        return self.net.init((n,), condition)

    def step(self, state: Any, i: Array, previous: Array) -> tuple[Array, Any]:
        """The log-masses `(n_levels, n)` of step `i`, from the levels `(n,)` of the step before it, and the state."""
        params, state = self.net.step(state, i, self.seen(previous))
        return self.law.log_masses(params), state

    def log_prob_of_steps(self, x: Array, condition: Array | None) -> Array:
        """The log-mass `(C * H * W, n)` of each step of images `(C, H, W, n)`."""
        steps = self.in_order(x)
        log_mass = self.law.log_mass(self.params_of_steps(steps, condition), steps)
        return only_levels(log_mass, steps, self.n_levels)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return jnp.sum(self.log_prob_of_steps(x, condition), axis=0)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        nothing = jnp.zeros((self.order.shape[0], keys.shape[0]), self.dtype)
        return self.draw(keys, condition, nothing, jnp.asarray(0))

    @property
    def dtype(self) -> Any:
        """The type in which images are drawn."""
        leaves = jax.tree.leaves(eqx.filter(self.net, eqx.is_inexact_array))
        return jnp.result_type(jnp.float32, *(leaf.dtype for leaf in leaves))

    def draw(self, keys: PRNGKeyArray, condition: Array | None, given: Array, n_given: Array) -> tuple[Array, Array]:
        """Images whose first steps are given, and the log-mass of the steps that were drawn, `(n,)`.

        One uniform number decides each step: the level is the first at which the distribution function exceeds it.

        Args:
            keys: Keys `(n,)`.
            condition: Conditions `(*cond_shape, n)` or None.
            given: Levels of the steps, `(C * H * W, n)`.
            n_given: Number of steps that are given, a whole number that may be traced.
        """
        dtype = given.dtype

        def draw(carry: tuple[Any, Array, Array], i: Array) -> tuple[tuple[Any, Array, Array], Array]:
            state, previous, total = carry
            log_masses, state = self.step(state, i, previous)
            uniform = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, i), (), dtype))(keys)
            cumulative = jnp.cumsum(jnp.exp(log_masses), axis=0)
            level = jnp.sum(cumulative[:-1] <= uniform * cumulative[-1], axis=0).astype(dtype)
            level = jnp.where(i < n_given, given[i], level)
            place = jnp.clip(level, 0, self.n_levels - 1).astype(jnp.int32)[None]
            mass = jnp.take_along_axis(log_masses, place, axis=0)[0]
            total = total + jnp.where(i < n_given, 0, mass).astype(dtype)
            return (state, level, total), level

        n = keys.shape[0]
        start = (self.begin(n, condition), jnp.zeros((n,), dtype), jnp.zeros((n,), dtype))
        (_, _, log_prob), steps = scan(draw, start, jnp.arange(self.order.shape[0]))
        return self.as_images(steps), log_prob

    def log_prob_map(self, x: Any, condition: Any = None) -> Array:
        r"""The log-mass in nats of each number of an image given those before it in the model's order.

        They add up to `log_prob`. A low one marks a place that the pixels before it do not explain.

        Args:
            x: Images `(*batch, C, H, W)` of levels.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, C, H, W) -> (*batch, C, H, W)`
        """
        name = "AutoregressivePixels.log_prob_map"
        x, batch = split_batch(name, "x", x, self.event_shape)
        condition, cond_batch = split_condition(name, condition, self.cond_shape)
        return _map_rows(self, x, condition, batches=(batch, cond_batch))

    def complete(self, key: PRNGKeyArray, x: Any, known: Any, condition: Any = None) -> Array:
        """Images with the known numbers of `x`, and the others drawn from the model given those: exact draws.

        The known numbers must come first in the model's order: for models in raster order whole rows at the top, then
        pixels at the left of the next row. Other masks need a model of any order, `AnyOrderPixels`, or the
        inverse-problem module.

        Args:
            key: JAX key. The same key gives the same rows.
            x: Images `(*batch, C, H, W)` of levels; what is not known is ignored.
            known: Mask `(C, H, W)`, True where a number is known, the same for all images.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, C, H, W) -> (*batch, C, H, W)`

        Raises:
            ValueError: The known numbers do not come first in the model's order, or are no levels.
        """
        name = "AutoregressivePixels.complete"
        x, batch = split_batch(name, "x", x, self.event_shape)
        condition, cond_batch = split_condition(name, condition, self.cond_shape)
        known = np.asarray(known, bool)
        if known.shape != self.event_shape:
            raise ValueError(
                message(name, f"known of shape {self.event_shape}", f"{known.shape}", "Give one mask for all.")
            )
        flags = known.ravel()[np.asarray(self.order)]
        n_known = int(flags.sum())
        if not flags[:n_known].all():
            first = int(np.argmin(flags))
            place = tuple(int(k) for k in np.unravel_index(int(np.asarray(self.order)[first]), self.event_shape))
            got = f"number {place} unknown before known ones"
            fix = "Known numbers must be a beginning of the order. For other masks take AnyOrderPixels.complete."
            raise ValueError(message(name, "the known numbers first in the model's order", got, fix))
        values = np.asarray(x)[..., known]
        if not np.all((values == np.round(values)) & (values >= 0) & (values < self.n_levels)):
            expected = f"known numbers among 0 .. {self.n_levels - 1}"
            raise ValueError(message(name, expected, "others", "Pass the levels of the pixels as whole numbers."))
        key = as_key(name, key)
        return _complete_rows(self, key, x, condition, jnp.asarray(n_known), batches=(batch, cond_batch))


@eqx.filter_jit
def _map_rows(model: AutoregressivePixels, x: Array, condition: Array | None, *, batches: tuple) -> Array:
    def run(x: Array, condition: Array | None) -> Array:
        return model.as_images(model.log_prob_of_steps(x, condition))

    return rows_last(run, batches, x, condition)


@eqx.filter_jit
def _complete_rows(
    model: AutoregressivePixels, key: PRNGKeyArray, x: Array, condition: Array | None, n_known: Array, *, batches: tuple
) -> Array:
    def run(x: Array, condition: Array | None, keys: PRNGKeyArray) -> Array:
        return model.draw(keys, condition, model.in_order(x).astype(model.dtype), n_known)[0]

    both = common_batch("AutoregressivePixels.complete", *batches)
    keys = batch_keys(key, math.prod(both)).reshape(both)
    return rows_last(run, (*batches, both), x, condition, keys)
