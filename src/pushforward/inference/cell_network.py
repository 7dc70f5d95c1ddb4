"""A network that gives the distribution of any cell of a table's row, given any others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import fold_keys
from pushforward.distributions import AbstractDistribution
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.table_features import one_hot
from pushforward.distributions.unit_law import law_params
from pushforward.nets import MLP
from pushforward.numerics.bounded import soft_clamp
from pushforward.objectives import AbstractObjective
from pushforward.objectives.base import Rows

# Logits of states stay within these, so that no state that is possible gets a probability of 0.
MOST_LOGIT = 15.0
# Share of the uniform distribution over the states that are left, in each state's probability.
SMOOTHING = 1e-3
# Of the columns that a mask hides, the share whose state is known, such as that there is a number, and the number not.
STATE_ALONE = 0.5


class CellNetwork(AbstractDistribution):
    r"""$q(x_F \mid x_K) = \prod_{i \in F} q(x_i \mid x_K, x_{j \in F, j < i})$ of a row's cells, for any known $K$.

    Cells are states, then numbers, as in a `TableDistribution`, the numbers of its flow in standard units. One network
    takes the known cells and a mask that says which are known, and gives the masses of all states and the distribution
    functions of all numbers, on the spaces of `ConditionalMargins`. As a distribution it is that with nothing known.

    Args:
        key: JAX key.
        laws: Spaces and distribution functions of the numbers, without a network of their own; None without numbers.
        sizes: Number of states of each variable.
        state_of_value: For each number the variable whose state 0 says that it is there; -1 where it always is.
        gaps: For each variable the state that says that the cell is missing, -1 without one: it is never known and
            never drawn, so that what is learned is the law of the cells that are there.
        cond_size: Length of the features of a condition that is always known; 0 for none.
        width: Units per hidden layer.
        depth: Residual blocks.

    Shapes:
        events `(n_states + n_values,)`

    Cost: a pass of the network for each cell that is drawn. Exact for the network.

    Source: Ivanov, Figurnov, Vetrov, 2019, arXiv 1806.02382 (any conditioning); Strauss, Oliva, 2021, arXiv 2102.04426
        (one-dimensional conditionals).
    """

    net: MLP
    laws: ConditionalMargins | None
    sizes: tuple[int, ...] = eqx.field(static=True)
    state_of_value: tuple[int, ...] = eqx.field(static=True)
    gaps: tuple[int, ...] = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        laws: ConditionalMargins | None,
        *,
        sizes: Sequence[int],
        state_of_value: Sequence[int],
        gaps: Sequence[int],
        cond_size: int = 0,
        width: int = 128,
        depth: int = 2,
    ):
        self.sizes, self.state_of_value, self.gaps = tuple(sizes), tuple(state_of_value), tuple(gaps)
        n_values, self.laws = len(self.state_of_value), laws
        n_in = sum(self.sizes) + 2 * n_values + len(self.sizes) + n_values
        n_out = sum(self.sizes) + (0 if laws is None else n_values * law_params(laws.bins))
        shape = (cond_size,) if cond_size else None
        self.net = MLP(
            key, n_in, (n_out,), width=width, depth=depth, cond_shape=shape, activation="silu", blocks="residual"
        )
        self.event_shape, self.cond_shape, self.needs_key = (len(self.sizes) + n_values,), shape, False

    def there(self, rows: Array) -> Array:
        """Which numbers are there, as the states say, `(n_values, n)`."""
        places, n_states = np.array(self.state_of_value, int), len(self.sizes)
        if not n_states:
            return jnp.ones((len(places), rows.shape[-1]), bool)
        own = rows[:n_states][np.maximum(places, 0)] == 0
        return own | (places < 0)[:, None]

    def missing(self, rows: Array) -> Array:
        """Which variables say that their cell is missing, `(n_states, n)`."""
        return rows[: len(self.sizes)] == jnp.asarray(np.array(self.gaps, float))[:, None]

    def inputs(self, rows: Array, known: Array) -> Array:
        """What the network sees of rows `(dim, n)` of which these cells are known."""
        n_states, dtype = len(self.sizes), jnp.result_type(self.net.weights[0])
        parts = []
        if n_states:
            flags = known[:n_states]
            states = jnp.where(flags, rows[:n_states], -1.0)
            parts.append(one_hot(states, self.sizes))
        if self.laws is not None:
            parts.append(self.laws.spaces.features(rows[n_states:], known[n_states:]))
        return jnp.concatenate([*(part.astype(dtype) for part in parts), known.astype(dtype)])

    def log_masses(self, raw: Array) -> Array:
        """The log-masses of all states of all variables, `(sum(sizes), n)`; minus infinity for missing cells."""
        logits = soft_clamp(raw[: sum(self.sizes)], MOST_LOGIT)
        sums = np.repeat(np.eye(len(self.sizes)), self.sizes, axis=1)
        level = np.concatenate([np.arange(size) for size in self.sizes])
        gap = (level == np.repeat(self.gaps, self.sizes))[:, None]
        logits = jnp.where(gap, -jnp.inf, logits)
        total = jnp.log(jnp.asarray(sums, logits.dtype) @ jnp.exp(logits))
        log_mass = logits - jnp.asarray(sums.T, logits.dtype) @ total
        left = (np.array(self.sizes) - (np.array(self.gaps) >= 0)).clip(1)
        uniform = np.log(SMOOTHING) - np.log(np.repeat(left, self.sizes))[:, None]
        return jnp.where(gap, -jnp.inf, jnp.logaddexp(np.log1p(-SMOOTHING) + log_mass, uniform))

    def of_values(self, raw: Array) -> Array:
        """The parameters of the numbers' distribution functions, `(law_params, n_values, n)`."""
        own = raw[sum(self.sizes) :]
        return jnp.moveaxis(own.reshape(len(self.state_of_value), -1, raw.shape[-1]), 0, 1)

    def each_log_prob(self, rows: Array, known: Array, condition: Array | None) -> Array:
        """The log-probability of each cell `(dim, n)` given the known ones, each apart."""
        raw, n_states = self.net(self.inputs(rows, known), condition), len(self.sizes)
        parts = []
        if n_states:
            hot = one_hot(rows[:n_states], self.sizes)
            sums = jnp.asarray(np.repeat(np.eye(n_states), self.sizes, axis=1), raw.dtype)
            parts.append(sums @ jnp.where(hot > 0.5, jnp.maximum(self.log_masses(raw), -1e9), 0.0))
        if self.laws is not None:
            laws = self.laws.laws_of(self.of_values(raw))
            parts.append(self.laws.log_prob_under(laws, rows[n_states:]))
        return jnp.concatenate(parts)

    def draw(
        self, keys: PRNGKeyArray, rows: Array, known: Array, allowed: Array, ends: Array, condition: Array | None
    ) -> tuple[Array, Array]:
        """Whole rows `(dim, n)` and the log-probabilities `(n,)` of what was drawn.

        Args:
            keys: Keys `(n,)`.
            rows: Rows `(dim, n)`; what is not known may be anything.
            known: Which cells are known, `(dim, n)`.
            allowed: Flags `(sum(sizes), n)` of the states that may be drawn.
            ends: Ends `(2, n_values, n)` of the range of each number that is not known, infinite where there is none.
            condition: Features of the condition `(cond_size, n)`, or None.
        """
        n_states, n = len(self.sizes), rows.shape[-1]
        rows = jnp.where(known, rows, 0.0)
        log_prob = jnp.zeros(n, rows.dtype)
        if n_states:
            own: Any = fold_keys(keys, 0)
            rows, known, log_prob = self._states(own, rows, known, allowed, condition)
        if self.laws is None:
            return rows, log_prob
        laws, there = self.laws, self.there(rows)
        noise = jax.vmap(lambda key: jax.random.uniform(key, (len(there), 2), rows.dtype), out_axes=-1)(
            fold_keys(keys, 1)
        )
        width = law_params(laws.bins)
        first = sum(self.sizes)

        def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
            rows, seen = carry
            i, own, uniform, limits = inputs
            place = n_states + i
            raw = self._head(self.inputs(rows, seen), condition, first + i * width, width)
            value, mass = laws.draw_one(i, raw, uniform, limits)
            free = own & ~seen[place]
            value = jnp.where(free, value, rows[place])
            rows = rows.at[place].set(jnp.where(own, value, 0.0))
            return (rows, seen.at[place].set(own)), (raw, jnp.where(free, mass, 0.0), free)

        seen = known & jnp.concatenate([jnp.ones((n_states, n), bool), there])
        inputs = (jnp.arange(len(there)), there, noise, jnp.moveaxis(ends, 0, 1))
        (rows, _), (raws, masses, free) = jax.lax.scan(step, (rows, seen), inputs)
        each = laws.log_prob_under(laws.laws_of(jnp.moveaxis(raws, 0, 1)), rows[n_states:])
        return rows, log_prob + jnp.sum(jnp.where(free, each, 0.0) - masses, axis=0)

    def _head(self, inputs: Array, condition: Array | None, start: Array, size: int) -> Array:
        """A part of the network's output, of which alone the last layer is computed."""
        *inner, last = self.net.weights
        own = jax.lax.dynamic_slice_in_dim(last, start, size, axis=0)
        return replaced(self.net, weights=(*inner, own), out_shape=(size,))(inputs, condition)

    def _states(
        self, keys: PRNGKeyArray, rows: Array, known: Array, allowed: Array, condition: Array | None
    ) -> tuple[Array, Array, Array]:
        total, n = sum(self.sizes), rows.shape[-1]
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (total,), rows.dtype), out_axes=-1)(keys)
        variable = jnp.asarray(np.repeat(np.arange(len(self.sizes)), self.sizes))
        level = jnp.asarray(np.concatenate([np.arange(size) for size in self.sizes]), rows.dtype)

        def step(c: Array, carry: Any) -> Any:
            rows, known, log_prob = carry
            raw = self._head(self.inputs(rows, known), condition, jnp.array(0), total)
            own = (variable == c)[:, None] & allowed
            log_mass = jnp.where(own, self.log_masses(raw), -jnp.inf)
            log_mass = log_mass - jax.nn.logsumexp(log_mass, axis=0)
            chosen = jnp.argmax(log_mass + noise, axis=0)
            free = ~known[c]
            said = jnp.take_along_axis(log_mass, chosen[None], axis=0)[0]
            rows = rows.at[c].set(jnp.where(free, level[chosen], rows[c]))
            return rows, known.at[c].set(True), log_prob + jnp.where(free, said, 0.0)

        return jax.lax.fori_loop(0, len(self.sizes), step, (rows, known, jnp.zeros(n, rows.dtype)))

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        n_states, (dim, n) = len(self.sizes), x.shape
        there = jnp.concatenate([jnp.ones((n_states, n), bool), self.there(x)])
        total = jnp.zeros(n, x.dtype)
        for i in range(dim):
            before = there & (jnp.arange(dim) < i)[:, None]
            total = total + jnp.where(there[i], self.each_log_prob(x, before, condition)[i], 0.0)
        return total

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        n, dtype = keys.shape[0], jnp.result_type(self.net.weights[0])
        (dim,), n_values = self.event_shape, len(self.state_of_value)
        ends = jnp.stack([jnp.full((n_values, n), side * jnp.inf, dtype) for side in (-1, 1)])
        rows, known = jnp.zeros((dim, n), dtype), jnp.zeros((dim, n), bool)
        return self.draw(keys, rows, known, jnp.ones((sum(self.sizes), n), bool), ends, condition)


class MaskedCells(AbstractObjective):
    r"""$-\log q(x_i \mid x_K)$, averaged over the cells of each row that a random mask hides.

    A mask hides each column with a probability that is drawn anew for each row. A number whose column is hidden is
    asked for with its state known in half of the cases, for states are drawn first.
    """

    in_nats: ClassVar[bool] = False
    score_words: ClassVar[str] = "Held-out log-probability of single cells"

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The mean over the hidden cells of a row, `(n,)`; 0 where none is hidden."""
        rows, model = jnp.asarray(x).T, flow
        features = None if condition is None else jnp.asarray(condition).T
        known, hidden = _masks(model, rows, key)
        each = model.each_log_prob(rows, known, features)  # pyright: ignore[reportAttributeAccessIssue] - `CellNetwork`
        return -jnp.sum(jnp.where(hidden, each, 0.0), axis=0) / jnp.maximum(jnp.sum(hidden, axis=0), 1)


def _masks(model: Any, rows: Array, key: Any) -> tuple[Array, Array]:
    """Which cells are known, and which are asked for, `(dim, n)` each."""
    (dim, n), n_states = rows.shape, len(model.sizes)
    share_key, cell_key, state_key = jax.random.split(key, 3)
    # A column's number goes with its state.
    column = np.arange(dim)
    for value, state in enumerate(model.state_of_value):
        column[n_states + value] = state if state >= 0 else n_states + value
    share = jnp.sqrt(jax.random.uniform(share_key, (n,)))
    kept = (jax.random.uniform(cell_key, (dim, n)) < share)[column]
    alone = jax.random.bernoulli(state_key, STATE_ALONE, (n_states, n))
    states_there = ~model.missing(rows)
    there = jnp.concatenate([states_there, model.there(rows)])
    known = kept & there
    with_state = known.at[:n_states].set(known[:n_states] | (alone & states_there))
    return with_state, there & ~with_state
