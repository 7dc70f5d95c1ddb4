"""A masked network that is trained in several orders of the pixels, and the average of the distributions it gives."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, is_traced, message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.pixels.autoregressive import AutoregressivePixels
from pushforward.distributions.pixels.levels import AbstractLevels
from pushforward.nets.masked import MADE, reordered


class AveragedOrders(AbstractDistribution):
    r"""The mixture $P(x) = \frac{1}{K} \sum_k P_{o_k}(x)$ of one MADE in $K$ orders of the pixels.

    All orders share the weights; an order is a way to mask them. While it is trained (`needs_key`), a log-density is
    that in one order, drawn from the key for all rows of the call: an unbiased estimate of
    $\frac{1}{K} \sum_k \log P_{o_k}(x)$, and so of a lower bound. `averaged()`, which is what `pf.fit` and
    `evaluation_form` return, computes the logarithm of the mean of the probabilities, exactly: the mixture above is
    what is scored and what is sampled.

    Args:
        net: The masked network. Its inputs are in the order of the flattened image.
        law: Law of one number over its levels.
        shape: Shape `(C, H, W)` of an image.
        orders: Orders `(K, C * H * W)`: the places in the flattened image of each step.
        average: Whether a log-density is that of the mixture; if not, it is that of one order, for training.

    Cost: `log_prob` of `averaged()` `K` passes; in training one. Sampling `K` times the steps of one order.

    Raises:
        ValueError: The orders are no permutations, or something does not fit.

    Source: Germain, Gregor, Murray, Larochelle, 2015, section 4.2, arXiv 1502.03509.
    """

    net: MADE
    law: AbstractLevels
    orders: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, net: MADE, law: AbstractLevels, shape: Shape, orders: Any, average: bool = False):
        if np.ndim(orders) != 2 or not len(orders):
            fix = "Give one order a row, or build AutoregressivePixels for a single one."
            raise ValueError(message("AveragedOrders", "orders (K, C * H * W)", f"shape {np.shape(orders)}", fix))
        for order in () if is_traced(orders) else np.asarray(orders):
            AutoregressivePixels(net, law, shape, order)
        self.net, self.law, self.orders = net, law, jnp.asarray(orders, jnp.int32)
        self.event_shape, self.cond_shape, self.needs_key = tuple(shape), net.cond_shape, not average

    @property
    def n_levels(self) -> int:
        """The number of levels of a pixel."""
        return self.law.n_levels

    def averaged(self) -> AveragedOrders:
        """The same model, scored by the exact mean of its probabilities over the orders."""
        return AveragedOrders(self.net, self.law, self.event_shape, self.orders, average=True)

    def in_order(self, k: int) -> AutoregressivePixels:
        """The distribution in order number `k` alone, which has conditionals, completions and a compression.

        Raises:
            ValueError: There is no such order.
        """
        return self._in_order(self.orders[check_int("AveragedOrders.in_order", "k", k, 0, len(self.orders) - 1)])

    def beginning_with(self, known: Any) -> tuple[AutoregressivePixels, bool]:
        """The distribution in an order in which certain numbers come first, and whether training saw that order.

        The first of the model's own orders that begins with them is taken. If none does, it is the natural order with
        them in front, in which the masked network has the same weights and no training of its own.

        Args:
            known: Mask `(C, H, W)`, True where a number is known.
        """
        flags = np.asarray(known, bool).ravel()
        orders = np.asarray(self.orders)
        leads = [bool(flags[order][: flags.sum()].all()) for order in orders]
        if any(leads):
            return self.in_order(leads.index(True)), True
        natural = np.arange(flags.size)
        return self._in_order(jnp.asarray(natural[np.argsort(~flags, kind="stable")], jnp.int32)), False

    def log_prob_map(self, x: Any, condition: Any = None) -> Array:
        r"""The log-mass in nats of each number given those before it, averaged over the orders by their shares.

        An order's share is $P_{o_k}(x) / \sum_j P_{o_j}(x)$. The map adds up to at most `log_prob` of `averaged()` plus
        $\log K$, and to at least it.

        Args:
            x: Images `(*batch, C, H, W)` of levels.
            condition: Conditions `(*batch, *cond_shape)`.

        Shapes:
            `(*batch, C, H, W) -> (*batch, C, H, W)`
        """
        maps = jnp.stack([self.in_order(k).log_prob_map(x, condition) for k in range(len(self.orders))])
        shares = jax.nn.softmax(jnp.sum(maps, axis=(-3, -2, -1), keepdims=True), axis=0)
        # An impossible number has no mass in any order: 0 times infinity has no meaning.
        return jnp.sum(jnp.where(shares > 0, shares * maps, 0), axis=0)

    def _in_order(self, order: Array) -> AutoregressivePixels:
        blank = AutoregressivePixels(self.net, self.law, self.event_shape, np.arange(math.prod(self.event_shape)))
        return eqx.tree_at(lambda model: (model.net, model.order), blank, (reordered(self.net, order), order))

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        if self.needs_key and keys is not None:
            k = jax.random.randint(jax.random.fold_in(keys[0], 0x6F7264), (), 0, self.orders.shape[0])
            return self._in_order(self.orders[k]).log_prob_rows(x, condition, None)
        each = jax.lax.map(lambda order: self._in_order(order).log_prob_rows(x, condition, None), self.orders)
        return jax.nn.logsumexp(each, axis=0) - math.log(self.orders.shape[0])

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        count = self.orders.shape[0]
        mine = jax.vmap(lambda key: jax.random.randint(jax.random.fold_in(key, 0x6F7264), (), 0, count))(keys)

        def draw(x: Array, given: tuple[Array, Array]) -> tuple[Array, None]:
            k, order = given
            drawn = self._in_order(order).sample_rows(keys, condition)
            return jnp.where(mine == k, drawn, x), None

        blank = jnp.zeros((*self.event_shape, keys.shape[0]), self._in_order(self.orders[0]).dtype)
        return scan(draw, blank, (jnp.arange(count), self.orders))[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, keys if self.needs_key else None)


def random_orders(seed: int, count: int, size: int) -> np.ndarray:
    """That many orders of `size` places, the first of them the natural one, the same for the same seed."""
    rng = np.random.default_rng(seed)
    return np.stack([np.arange(size), *(rng.permutation(size) for _ in range(count - 1))])
