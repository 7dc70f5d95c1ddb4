"""Discrete variables: probability masses by an autoregressive network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._meshes import fori_loop
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.table_features import one_hot
from pushforward.nets.categorical_made import CategoricalMADE
from pushforward.numerics.bounded import soft_clamp

# Logits stay within this: exponentials are then finite in float32 without taking out a maximum, and the least
# probability, exp(-60), is far below one in any table.
MAX_LOGIT = 30.0


class AutoregressiveCategorical(AbstractDistribution):
    r"""Exact masses $P(s) = \prod_c P(s_c \mid s_1, \dots, s_{c-1})$ of vectors of states, numbered from 0.

    Each factor is a softmax, mixed with a little of the uniform distribution over the states,
    $(1 - \epsilon)\,\mathrm{softmax} + \epsilon / K$, so that nothing that can happen has the mass 0.

    Args:
        key: JAX key for the initial weights.
        sizes: Number of states of each variable.
        frequencies: Frequencies of all states, one variable after the other, at which the softmaxes start. None starts
            at equal frequencies.
        smoothing: The share $\epsilon$ of the uniform distribution, in [0, 1).
        drawable: One flag per state: whether samples may have it. None allows all.
        width: Number of units per hidden layer.
        depth: Number of hidden layers.
        cond_size: Length of the condition; 0 for none.

    Cost: `log_prob` one pass; sampling one pass per variable.

    Raises:
        ValueError: `smoothing` or a length is out of range.
    """

    net: CategoricalMADE
    sizes: tuple[int, ...] = eqx.field(static=True)
    smoothing: float = eqx.field(static=True)
    drawable: tuple[bool, ...] = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        sizes: Sequence[int],
        *,
        frequencies: Any = None,
        smoothing: float = 1e-6,
        drawable: Any = None,
        width: int = 128,
        depth: int = 2,
        cond_size: int = 0,
    ):
        if not 0 <= smoothing < 1:
            raise ValueError(message("AutoregressiveCategorical", "smoothing in [0, 1)", f"{smoothing}", "Use 1e-6."))
        self.sizes, self.smoothing = tuple(int(size) for size in sizes), float(smoothing)
        net = CategoricalMADE(key, self.sizes, width=width, depth=depth, cond_size=cond_size)
        if frequencies is not None:
            start = jnp.log(jnp.asarray(frequencies)).astype(net.out_weight.dtype)
            net = eqx.tree_at(lambda n: n.out_weight, net, net.out_weight.at[:, -1].set(start))
        self.net = net
        total = sum(self.sizes)
        self.drawable = (True,) * total if drawable is None else tuple(bool(flag) for flag in drawable)
        if len(self.drawable) != total:
            fix = "One flag per state of each variable."
            raise ValueError(message("AutoregressiveCategorical", f"{total} flags", str(len(self.drawable)), fix))
        self.event_shape = (len(self.sizes),)
        self.cond_shape = (cond_size,) if cond_size else None
        self.needs_key = False

    def one_hot(self, states: Array) -> Array:
        """`(sum(sizes), n)` of 0 and 1 from states `(len(sizes), n)`; a state that does not exist gives zeros."""
        return one_hot(states, self.sizes).astype(jnp.result_type(self.net.out_weight, jnp.float32))

    def _sums(self) -> np.ndarray:
        """`(len(sizes), sum(sizes))`: which states belong to which variable."""
        return np.repeat(np.eye(len(self.sizes)), self.sizes, axis=1)

    def _smoothed(self, log_mass: Array, sizes: Array) -> Array:
        """The log-masses mixed with the uniform distribution over as many states as `sizes` says."""
        if not self.smoothing:
            return log_mass
        return jnp.logaddexp(jnp.log1p(-self.smoothing) + log_mass, jnp.log(self.smoothing) - jnp.log(sizes))

    def each_log_prob(self, states: Array, condition: Array | None) -> Array:
        """The log-mass of each variable given those before it, `(len(sizes), n)`."""
        one_hot = self.one_hot(states)
        logits = soft_clamp(self.net(one_hot, condition), MAX_LOGIT)
        sums = jnp.asarray(self._sums(), logits.dtype)
        log_mass = sums @ (one_hot * logits) - jnp.log(sums @ jnp.exp(logits))
        sizes = jnp.asarray(self.sizes, logits.dtype)[:, None]
        log_mass = self._smoothed(log_mass, sizes)
        log_mass = jnp.where(sums @ one_hot > 0.5, log_mass, -jnp.inf)
        return jnp.where(jnp.isnan(states), jnp.nan, log_mass)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return jnp.sum(self.each_log_prob(x, condition), axis=0)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.draw_within(keys, condition)[0]

    def draw_within(
        self, keys: PRNGKeyArray, condition: Array | None, allowed: Array | None = None
    ) -> tuple[Array, Array]:
        """States `(len(sizes), n)` among those that are allowed, and the log-probability of being among them `(n,)`.

        Each variable is drawn given those before it, and its factor is the probability that it is allowed given those.

        Args:
            keys: Keys `(n,)`.
            condition: Conditions `(cond_size, n)` or None.
            allowed: Flags `(sum(sizes), n)`; None allows all that samples may have. A variable of which no state that
                samples may have is allowed is drawn among the others.
        """
        total, n = sum(self.sizes), keys.shape[0]
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (total,)), out_axes=-1)(keys)
        variable = np.repeat(np.arange(len(self.sizes)), self.sizes)
        level = jnp.asarray(np.concatenate([np.arange(size) for size in self.sizes]))
        sums, sizes = jnp.asarray(self._sums()), jnp.asarray(np.repeat(self.sizes, self.sizes), noise.dtype)[:, None]
        may = chosen = jnp.asarray(self.drawable)[:, None]
        if allowed is not None:
            some = sums.T @ (sums @ (allowed & may).astype(noise.dtype)) > 0.5
            chosen = jnp.where(some, allowed & may, allowed)
            may = may | chosen

        def draw(c: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            one_hot, states, log_mass_of_allowed = carry
            logits = soft_clamp(self.net(one_hot, condition), MAX_LOGIT)
            log_mass = logits - sums.T.astype(logits.dtype) @ jnp.log(sums.astype(logits.dtype) @ jnp.exp(logits))
            log_mass = self._smoothed(log_mass, sizes)
            own = jnp.asarray(variable == np.arange(len(self.sizes))[:, None])[c][:, None]
            row = jnp.argmax(jnp.where(own & chosen, log_mass + noise, -jnp.inf), axis=0)
            if allowed is not None:
                inside, every = (
                    jax.nn.logsumexp(jnp.where(own & flags, log_mass, -jnp.inf), axis=0) for flags in (chosen, may)
                )
                # Where nothing is asked the two are the same sum.
                log_mass_of_allowed = log_mass_of_allowed + (inside - every).astype(noise.dtype)
            drawn = (jnp.arange(total)[:, None] == row).astype(one_hot.dtype)
            return one_hot + drawn, states.at[c].set(level[row].astype(states.dtype)), log_mass_of_allowed

        one_hot = jnp.zeros((total, n), noise.dtype)
        states = jnp.zeros((len(self.sizes), n), noise.dtype)
        start = (one_hot, states, jnp.zeros((n,), noise.dtype))
        _, states, log_mass = fori_loop(0, len(self.sizes), draw, start)
        return states, log_mass

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)
