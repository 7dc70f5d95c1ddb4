"""Distributions over whole numbers, made of a density over real ones: dequantization."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._module import Module
from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import fold_keys
from pushforward.bijections.normalization import initialise, starts_from_data
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.compound import AbstractCompound, Step, own

# Levels of 16 bits; float32 tells apart 256 places between two of them.
MAX_LEVELS = 2**16
# Numbers in the batch that layers such as `ActNorm` start from: 668 images of MNIST, 170 of CIFAR.
START_NUMBERS = 2**19


class AbstractDequantizer(Module):
    r"""The contract of what makes real numbers of levels: a law $q(u \mid x)$ on the unit cube for each event."""

    @abstractmethod
    def draw_rows(self, keys: PRNGKeyArray, levels: Array, n_levels: int) -> tuple[Array, Array]:
        r"""Draws $u \sim q(u \mid x)$ in $[0, 1)$, `(*event_shape, n)`, and $\log q(u \mid x)$ in nats, `(n,)`.

        Args:
            keys: JAX keys of the rows, `(n,)`.
            levels: The levels $x$, whole numbers from 0 to `n_levels - 1` in floating type, `(*event_shape, n)`.
            n_levels: Number of levels.
        """


class UniformDequantizer(AbstractDequantizer):
    r"""Uniform noise, $u \sim U[0, 1)^D$, so that $\log q = 0$.

    Source: Uria, Murray, Larochelle, 2013, section 3.1, arXiv 1306.0186; Theis, van den Oord, Bethge, 2016, section
    3.1, arXiv 1511.01844.
    """

    def draw_rows(self, keys: PRNGKeyArray, levels: Array, n_levels: int) -> tuple[Array, Array]:
        shape, dtype = levels.shape[:-1], levels.dtype
        noise = jax.vmap(lambda key: jax.random.uniform(key, shape, dtype), out_axes=-1)(keys)
        return noise, jnp.zeros(levels.shape[-1:], dtype)


class VariationalDequantizer(AbstractDequantizer):
    r"""Learned noise, $u = \sigma(v)$ with $v \sim q(v \mid x)$, a conditional flow: the bound of Flow++.

    Args:
        flow: Conditional distribution over real events of the shape of an image, whose condition is the image itself,
            its levels brought to [-1, 1]. It must be cheap to sample, and is trained along.

    Raises:
        ValueError: The condition of the flow is no image, or its density is random.

    Source: Ho, Chen, Srinivas, Duan, Abbeel, 2019, section 3.1, arXiv 1902.00275.
    """

    flow: AbstractDistribution

    def __init__(self, flow: AbstractDistribution):
        if flow.cond_shape != flow.event_shape or flow.needs_key:
            got = f"one over {flow.event_shape} given {flow.cond_shape}"
            fix = "The image is the condition: build the flow with cond_shape equal to its event shape."
            raise ValueError(message("VariationalDequantizer", "a density of an image given an image", got, fix))
        if starts_from_data(flow):
            fix = "Build it without ActNorm: there are no data of the noise to start from."
            raise ValueError(message("VariationalDequantizer", "layers that do not start from data", "one", fix))
        self.flow = flow

    def draw_rows(self, keys: PRNGKeyArray, levels: Array, n_levels: int) -> tuple[Array, Array]:
        v, log_q = self.flow.sample_and_log_prob_rows(keys, levels * (2 / (n_levels - 1)) - 1)
        log_slope = jax.nn.log_sigmoid(v) + jax.nn.log_sigmoid(-v)
        return jax.nn.sigmoid(v), log_q - jnp.sum(log_slope, axis=tuple(range(v.ndim - 1)))


class Dequantized(AbstractCompound, AbstractDistribution):
    r"""Whole numbers $x$ with the law $P(x) = \int_{[0,1)^D} p(x + u)\,du$ of a density $p$ over real numbers.

    Its `log_prob` is no log-probability but a random lower bound, on average, of one: the importance-weighted
    $\log \frac1K \sum_k p(x + u_k) / q(u_k \mid x)$ with $K$ draws $u_k$ of the dequantizer, which comes close to
    $\log P(x)$ as $K$ grows. With $K = 1$ it is $\log p(x + u) - \log q(u \mid x)$, which training maximises. Bits per
    dimension are $-\log P(x) / (D \ln 2)$ without any offset. Events that are no levels have probability 0. A draw is
    the floor of a draw of the density, held to the levels.

    Args:
        flow: Density over real events, with level $k$ on $[k, k + 1)$: its last bijection maps to these units.
        dequantizer: Law of the noise; None is `UniformDequantizer()`.
        n_levels: Number of levels, 256 for pixels of 8 bits.
        n_draws: Number $K$ of draws by which `log_prob` is estimated.

    Cost: $K$ log-densities, one after the other.

    Raises:
        TypeError: The flow is no distribution, or the dequantizer is none.
        ValueError: The number of levels or of draws is too small or too large, or the noise is of another shape.

    Source: Theis, van den Oord, Bethge, 2016, section 3.1, arXiv 1511.01844; Ho and others, 2019, arXiv 1902.00275.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((1, 2, 2)), pf.Affine(loc=2.0, scale=1.0, shape=(1, 2, 2)))
        >>> pixels = pf.distributions.Dequantized(flow, n_levels=4)
        >>> pixels.sample(jax.random.key(0), 3).shape
        (3, 1, 2, 2)
        >>> pixels.log_prob(jax.numpy.ones((3, 1, 2, 2)), key=jax.random.key(1)).shape
        (3,)
    """

    flow: AbstractDistribution
    dequantizer: AbstractDequantizer
    n_levels: int = eqx.field(static=True)
    n_draws: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(
        self,
        flow: AbstractDistribution,
        dequantizer: AbstractDequantizer | None = None,
        n_levels: int = 256,
        *,
        n_draws: int = 1,
    ):
        name = "Dequantized"
        if not isinstance(flow, AbstractDistribution):
            raise TypeError(message(name, "a density", type(flow).__name__, "Pass a Flow."))
        chosen = UniformDequantizer() if dequantizer is None else dequantizer
        if not isinstance(chosen, AbstractDequantizer):
            fix = "Pass UniformDequantizer() or VariationalDequantizer(flow)."
            raise TypeError(message(name, "a dequantizer", type(chosen).__name__, fix))
        if isinstance(chosen, VariationalDequantizer) and chosen.flow.event_shape != flow.event_shape:
            fix = "Build the flow of the noise for the same images."
            raise ValueError(message(name, f"noise of shape {flow.event_shape}", f"{chosen.flow.event_shape}", fix))
        self.flow, self.dequantizer = flow, chosen
        self.n_levels = check_int(name, "n_levels", n_levels, 2, MAX_LEVELS)
        self.n_draws = check_int(name, "n_draws", n_draws, 1)
        self.event_shape, self.cond_shape, self.needs_key = flow.event_shape, flow.cond_shape, True

    def with_members(self, members: tuple[Any, ...]) -> Dequantized:
        return replaced(self, flow=members[0])

    def with_draws(self, n_draws: int) -> Dequantized:
        """The same distribution with another number of draws in `log_prob`.

        Args:
            n_draws: Number of draws; the bound rises with it.
        """
        return replaced(self, n_draws=check_int("Dequantized.with_draws", "n_draws", n_draws, 1))

    def started_from(self, x: Any, condition: Any) -> Dequantized:
        """The distribution with the layers that start from data, such as `ActNorm`, set from a batch of levels.

        Args:
            x: Levels `(n, *event_shape)`, two rows or more; the first half million numbers are used.
            condition: Conditions `(n, *cond_shape)`, or None.
        """
        if not starts_from_data(self.flow):
            return self
        n = min(len(x), max(2, START_NUMBERS // math.prod(self.event_shape)))
        rows = jnp.moveaxis(jnp.asarray(x)[:n], 0, -1)
        # Any key: the start hardly depends on the noise.
        noise, _ = self.dequantizer.draw_rows(jax.random.split(jax.random.key(0), n), rows, self.n_levels)
        given = None if condition is None else condition[:n]
        return replaced(self, flow=initialise(self.flow, jnp.moveaxis(rows + noise, -1, 0), given))

    def dequantized_rows(self, keys: PRNGKeyArray, x: Array) -> tuple[Array, Array]:
        """Levels with noise, `(*event_shape, n)`, and the log-density of the noise, `(n,)`.

        Args:
            keys: JAX keys of the rows, `(n,)`.
            x: Levels `(*event_shape, n)`.
        """
        noise, log_q = self.dequantizer.draw_rows(keys, x, self.n_levels)
        return x + noise, log_q

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        axes = tuple(range(x.ndim - 1))
        missing = jnp.any(jnp.isnan(x), axis=axes)
        outside = jnp.any((x != jnp.floor(x)) | (x < 0) | (x > self.n_levels - 1), axis=axes)
        levels = jnp.where(outside, 0, x)

        def draw(i: Any) -> tuple[Array, Any]:
            mine: Any = fold_keys(keys, i)
            y, log_q = self.dequantized_rows(fold_keys(mine, 0), levels)  # pyright: ignore[reportArgumentType]
            _, log_prob, extra = step(self.flow, y, condition, fold_keys(mine, 1), False)
            return log_prob - log_q, extra

        if self.n_draws == 1:
            total, extra = draw(0)
        else:
            # The draws go one by one, so that the memory does not grow with their number.
            each, extra = jax.lax.map(draw, jnp.arange(self.n_draws))
            total = jax.nn.logsumexp(each, axis=0) - math.log(self.n_draws)
        total = jnp.where(outside, -jnp.inf, total)
        return jnp.where(missing, jnp.nan, total), (extra,)

    def as_levels(self, y: Array) -> Array:
        """The levels of real events: their floor, held to the levels there are."""
        return jnp.clip(jnp.floor(y), 0, self.n_levels - 1)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.as_levels(self.flow.sample_rows(keys, own(self.flow, condition)))

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, fold_keys(keys, 2))
