"""Independent bits whose probabilities are a network's function of a condition."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_shape
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.of_network import check_network, outputs
from pushforward.distributions.standard import over_event


class ConditionalBernoulli(AbstractDistribution):
    r"""$P(x \mid c) = \prod_i \sigma(l_i(c))^{x_i} (1 - \sigma(l_i(c)))^{1 - x_i}$ of bits $x_i$, with logits $l$.

    `log_prob` is the logarithm of a mass, minus infinity for an event with another number than 0 and 1.

    Args:
        net: A callable (an `eqx.Module`, to be trained along) from **one** condition of `cond_shape` to as many logits
            as an event has numbers. `pf.MLP` and `eqx.nn.MLP` are such networks.
        shape: Event shape.
        cond_shape: Shape of the condition.

    Raises:
        ValueError: The network takes other conditions, or gives another number of outputs.

    Example:
        >>> import equinox as eqx, jax, pushforward as pf
        >>> net = eqx.nn.MLP(in_size=3, out_size=4, width_size=8, depth=1, key=jax.random.key(0))
        >>> bits = pf.distributions.ConditionalBernoulli(net, shape=(4,), cond_shape=(3,))
        >>> bits.sample(jax.random.key(1), 5, condition=jax.numpy.ones(3)).shape
        (5, 4)
    """

    net: Callable[[Array], Array]
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, net: Callable[[Array], Array], shape: Shape, cond_shape: Shape):
        name = "ConditionalBernoulli"
        self.net, self.event_shape, self.needs_key = net, check_shape(name, shape), False
        own = self.cond_shape = check_shape(name, cond_shape)
        wanted, fix = math.prod(self.event_shape), "Give one logit for each number of an event."
        check_network(name, net, own, self.event_shape, wanted, fix)

    def _logits(self, condition: Array | None) -> Array:
        out = outputs(self.net, condition)
        return out.reshape(*self.event_shape, out.shape[-1])

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        logits = self._logits(condition)
        mass = over_event(jnp.where(x > 0.5, 0, -logits) - jax.nn.softplus(-logits))
        bits = over_event(jnp.where((x == 0) | (x == 1), 0, jnp.where(jnp.isnan(x), jnp.nan, -jnp.inf)))
        return mass + bits

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        logits = self._logits(condition)
        uniform = jax.vmap(lambda key: jax.random.uniform(key, self.event_shape, logits.dtype), out_axes=-1)(keys)
        x = (uniform < jax.nn.sigmoid(logits)).astype(logits.dtype)
        return x, self.log_prob_rows(x, condition, None)
