"""A network that gives the density of any number of a row, given any others."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections import RationalQuadraticMap
from pushforward.distributions import AbstractDistribution
from pushforward.inference.interval_map import HALF_WIDTH, IntervalMap
from pushforward.nets import MLP
from pushforward.objectives import AbstractObjective
from pushforward.objectives.base import Rows

# Bounds on the logarithm of the scale of a number on the line.
LEAST_LOG_SCALE, MOST_LOG_SCALE = -7.0, 5.0
# Half-width, in scales, of the part of the line on which a spline bends.
BEND = 5.0
# Numbers of each row that are scored in a step.
SCORED = 4
# Shares of rows that are trained as posteriors and as likelihoods; the others have any numbers given. Half of the
# posteriors are given all of the simulation, and half a part of it.
POSTERIORS, LIKELIHOODS, COMPLETE = 0.5, 0.2, 0.5


class AnyConditional(AbstractDistribution):
    r"""$p(v_F \mid v_K) = \prod_{i \in F} p(v_i \mid v_K, v_{j \in F, j < i})$ for any known $K$ and free $F$.

    One network takes the known values, a mask that says which are known, and the place of one number, and gives the
    parameters of that number's density: a spline between bounds, or a located and scaled spline on the line. As a
    distribution it is the joint one, with nothing known.

    Args:
        key: JAX key.
        bounded: Which numbers live on $[-\sqrt3, \sqrt3]$; the others live on the line.
        bins: Bins of each spline.
        width: Number of units per hidden layer.
        depth: Number of residual blocks.

    Shapes:
        events `(dim,)`

    Cost: `log_prob` one pass of as many rows as there are free numbers; sampling a pass for each of them. Exact.

    Source: Ivanov, Figurnov, Vetrov, 2019, arXiv 1806.02382 (any conditioning); Strauss, Oliva, 2021, arXiv 2102.04426
        (one-dimensional conditionals); Gloeckler et al., 2024, arXiv 2404.09636 (one model for all inference).
    """

    net: MLP
    bounded: tuple[bool, ...] = eqx.field(static=True)
    bins: int = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, bounded: tuple[bool, ...], *, bins: int, width: int, depth: int):
        dim = len(bounded)
        self.bounded, self.bins = tuple(bool(b) for b in bounded), bins
        shape = (IntervalMap(bins).n_params,)
        self.net = MLP(key, 3 * dim, shape, width=width, depth=depth, activation="silu", blocks="residual")
        self.event_shape, self.cond_shape, self.needs_key = (dim,), None, False

    @property
    def _line(self) -> RationalQuadraticMap:
        return RationalQuadraticMap(self.bins, BEND)

    def params(self, values: Array, known: Array, place: Array) -> Array:
        """Parameters `(n_params, n)` of the densities of one number of each row.

        Args:
            values: Numbers `(dim, n)`.
            known: Which are known, `(dim, n)`.
            place: Which number's density is asked for, `(n,)`.
        """
        seen = jnp.where(known, values, 0)
        which = jax.nn.one_hot(place, len(self.bounded), axis=0, dtype=seen.dtype)
        return self.net(jnp.concatenate([seen, known.astype(seen.dtype), which]))

    def score_one(self, value: Array, params: Array, place: Array) -> Array:
        """Log-densities `(n,)` of one number of each row."""
        log_det = IntervalMap(self.bins).forward_and_log_det(value, params)[1]
        within = log_det - math.log(2 * HALF_WIDTH)
        loc, log_scale = params[0], jnp.clip(params[1], LEAST_LOG_SCALE, MOST_LOG_SCALE)
        z, log_det = self._line.forward_and_log_det((value - loc) * jnp.exp(-log_scale), self._bent(params))
        line = log_det - log_scale - 0.5 * z**2 - 0.5 * math.log(2 * math.pi)
        return jnp.where(jnp.asarray(np.array(self.bounded))[place], within, line)

    def draw_one(self, uniform: Array, params: Array, place: Array) -> Array:
        """One number of each row from numbers `(n,)` in (0, 1)."""
        within = IntervalMap(self.bins).inverse_and_log_det(HALF_WIDTH * (2 * uniform - 1), params)[0]
        loc, log_scale = params[0], jnp.clip(params[1], LEAST_LOG_SCALE, MOST_LOG_SCALE)
        z = jax.scipy.special.ndtri(jnp.clip(uniform, 1e-7, 1 - 1e-7))
        line = loc + jnp.exp(log_scale) * self._line.inverse_and_log_det(z, self._bent(params))[0]
        return jnp.where(jnp.asarray(np.array(self.bounded))[place], within, line)

    def _bent(self, params: Array) -> Array:
        return params[2 : 2 + self._line.n_params]

    def score(self, values: Array, known: Array, free: Array) -> Array:
        """The log-densities `(n,)` of free numbers given known ones, in one pass.

        Args:
            values: Numbers `(dim, n)`; those that are neither known nor free may be anything.
            known: Which numbers are known `(dim, n)`.
            free: The places of the free numbers `(k,)`, in the order of the chain rule.
        """
        k, n = free.shape[0], values.shape[-1]
        before = jnp.zeros((k, len(self.bounded)), bool).at[:, free].set(jnp.tri(k, k, -1, dtype=bool))
        masks = known[None] | before[:, :, None]
        flat = jnp.moveaxis(masks, 0, 1).reshape(len(self.bounded), k * n)
        place = jnp.repeat(free, n)
        params = self.params(jnp.tile(values, (1, k)), flat, place)
        found = self.score_one(values[free].reshape(-1), params, place)
        return jnp.sum(found.reshape(k, n), axis=0)

    def complete(self, keys: PRNGKeyArray, values: Array, known: Array, free: Array) -> Array:
        """The numbers `(dim, n)` with free ones drawn given known ones; arguments as in `score`, and keys `(n,)`."""
        values = values.astype(jnp.result_type(self.net.weights[0]))
        noise = jax.vmap(lambda key: jax.random.uniform(key, (free.shape[0],), values.dtype), out_axes=-1)(keys)

        def step(carry: Any, inputs: Any) -> tuple[Any, None]:
            values, known = carry
            i, uniform = inputs
            place = jnp.full(values.shape[-1:], i)
            new = self.draw_one(uniform, self.params(values, known, place), place)
            return (values.at[i].set(new), known.at[i].set(True)), None

        return jax.lax.scan(step, (values, known), (free, noise))[0][0]

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return self.score(x, jnp.zeros(x.shape, bool), jnp.arange(len(self.bounded)))

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        shape = (len(self.bounded), keys.shape[0])
        dtype = self.net.weights[0].dtype
        return self.complete(keys, jnp.zeros(shape, dtype), jnp.zeros(shape, bool), jnp.arange(shape[0]))

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)


class MaskedLikelihood(AbstractObjective):
    r"""$-\log p(v_i \mid v_K)$ of some numbers of each row, given random others.

    Args:
        n_parameters: Number of parameters, which come first in a row; the rest is the simulation.
    """

    n_parameters: int = eqx.field(static=True)
    in_nats: ClassVar[bool] = False
    score_words: ClassVar[str] = "Held-out log-density of single numbers"
    learning_rate: ClassVar[float] = 2e-3

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The mean over the numbers of a row that are scored, `(n,)`."""
        values = jnp.asarray(x).T
        known, place = self._masks(key, values.shape)
        n = values.shape[1]
        tiled = jnp.tile(values, (1, SCORED))
        params = flow.params(tiled, known, place)  # pyright: ignore[reportAttributeAccessIssue] - `AnyConditional`
        own = jnp.take_along_axis(tiled, place[None], axis=0)[0]
        found = flow.score_one(own, params, place)  # pyright: ignore[reportAttributeAccessIssue]
        return -jnp.mean(found.reshape(SCORED, n), axis=0)

    def _masks(self, key: Any, shape: Shape) -> tuple[Array, Array]:
        """For `SCORED` copies of the rows: which numbers are known, and which one is scored.

        In a posterior all of the simulation is known, or a part, and the parameters before the scored one; in a
        likelihood all parameters, and the numbers before. Otherwise the known ones are any of the numbers.
        """
        dim, n = shape
        d, m = self.n_parameters, SCORED * n
        kind_key, size_key, order_key, place_key, part_key = jax.random.split(key, 5)
        kind = jax.random.uniform(kind_key, (m,))
        index = jnp.arange(dim)[:, None]
        place_u = jax.random.uniform(place_key, (m,))
        of_theta = jnp.minimum((place_u * d).astype(int), d - 1)
        of_x = jnp.minimum(d + (place_u * (dim - d)).astype(int), dim - 1)
        any_place = jnp.minimum((place_u * dim).astype(int), dim - 1)
        share = jax.random.uniform(size_key, (m,))
        scattered = jax.random.uniform(order_key, (dim, m)) < share
        complete = jax.random.bernoulli(part_key, COMPLETE, (m,))
        posterior = jnp.where(index < d, index < of_theta, complete | scattered)
        likelihood = jnp.where(index < d, True, index < of_x)
        first, second = kind < POSTERIORS, kind < POSTERIORS + LIKELIHOODS
        place = jnp.where(first, of_theta, jnp.where(second, of_x, any_place))
        known = jnp.where(first, posterior, jnp.where(second, likelihood, scattered))
        return known & (index != place), place
