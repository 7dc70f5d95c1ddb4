"""Rows of a table: states with masses, and numbers with a density given the states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from pushforward._checks import message
from pushforward._parts import replaced
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.bijections import Chain, EmbedCondition
from pushforward.bijections.base import along, fold_keys, run_batch
from pushforward.bijections.elementwise import ColumnUnits
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.compound import AbstractCompound, Step, score_member
from pushforward.distributions.flow import Flow

# A sample that is rounded down to its step may miss the multiple it stands for by this share of a step.
ROUNDING = 1e-6

# Stands for infinity in a bound, for a file of weights holds finite numbers alone; float32 can hold it.
UNBOUNDED = 1e30


class Parts(NamedTuple):
    """What a log-probability is made of, each `(n,)` in nats.

    Attributes:
        mass: log-probability of the states. Exact.
        density: log-density of the values given the states, and for whole numbers their log-mass: exact if no value is
            rounded and none is absent, else a random lower bound, tight when averaged over draws of the key.
    """

    mass: Array
    density: Array


class Standard(NamedTuple):
    """What the flow of a table's values sees.

    Attributes:
        values: standard numbers `(n_values, n)`; a standard normal draw where a value is absent.
        condition: of the flow, or None.
        there: which values are there.
        log_prob: `(n,)`, what is to be added to the flow's log-density: log-slopes, steps, -inf beyond the bounds, and
            the log-masses of the states.
    """

    values: Array
    condition: Array | None
    there: Array
    log_prob: Array


class Cells(eqx.Module):
    """The features of states and values that a network sees: one-hot states, standard numbers.

    Args:
        sizes: states of each variable.
        state_of_value: for each value the variable whose state 0 says that it is there; -1 where it always is.
        units: of the values; None if there are none.
    """

    units: ColumnUnits | None
    sizes: tuple[int, ...] = eqx.field(static=True)
    state_of_value: tuple[int, ...] = eqx.field(static=True)

    @property
    def shape(self) -> Shape:
        """The shape of the cells."""
        return (len(self.sizes) + len(self.state_of_value),)

    @property
    def n_features(self) -> int:
        """The number of features."""
        return sum(self.sizes) + len(self.state_of_value)

    def standardise(self, rows: np.ndarray, units: ColumnUnits | None = None) -> np.ndarray:
        """Cells `(n, dim)` with their values in standard units, in float64."""
        units, n_states = units or self.units, len(self.sizes)
        if units is None:
            return rows
        return np.concatenate([rows[:, :n_states], units.standardise(rows[:, n_states:])], axis=1)

    def __call__(self, cells: Array) -> Array:
        """The features `(n_features, n)` of cells `(dim, n)`, or those of one row of cells."""
        if cells.ndim == 1:
            return self(cells[:, None])[:, 0]
        n_states = len(self.sizes)
        parts = []
        if self.sizes:
            variable = np.repeat(np.arange(n_states), self.sizes)
            level = np.concatenate([np.arange(size) for size in self.sizes])
            parts.append((cells[:n_states][variable] == level[:, None]).astype(cells.dtype))
        if self.units is not None:
            values = self.units.each_inverse(cells[n_states:])[0]
            parts.append(jnp.where(present(cells[:n_states], self.state_of_value), values, 0).astype(cells.dtype))
        return jnp.concatenate(parts)


class Embedded(eqx.Module):
    """The features of cells, embedded in a shorter vector."""

    cells: Cells
    embed: Array

    def __call__(self, cells: Array) -> Array:
        """The vector of cells `(dim, n)` or `(dim,)`."""
        return _embedded(self.embed, self.cells(cells))


def _embedded(embed: Array, features: Array) -> Array:
    return embed @ features.astype(embed.dtype)


def present(states: Array, state_of_value: Sequence[int]) -> Array:
    """Which values are there, `(n_values, n)` or broadcastable to it."""
    places = np.array(state_of_value)
    if not (places >= 0).any():
        return jnp.ones((len(places), 1), bool)
    there = states[np.maximum(places, 0)] == 0
    return jnp.where(jnp.asarray(places)[:, None] < 0, True, there)


class TableDistribution(AbstractCompound, AbstractDistribution):
    r"""$p(s, v \mid c) = P(s \mid c)\; p(v \mid s, c)$ over rows of states $s$ and values $v$.

    States have exact masses. Values have the density of any flow, given the states. A value rounded to a step $h$
    stands for the interval $[v, v + h)$ (dequantization): with $u$ uniform on it,
    $\log P \ge \mathbb{E}\, \log p(v + u h)\, (+ \log h$ for whole numbers). A value that is not there, since it is
    missing or at an atom, is filled with a standard normal $e$ on the flow's side and marginalised:
    $\log p(v_\text{there}) \ge \mathbb{E}\, \log p(v_\text{there}, e) - \log N(e)$.

    Args:
        masses: of the states; None if there are none.
        values: a flow over standard numbers, conditional on the embedded features of states and condition if there are
            any; None if there are no values.
        units: from standard numbers to the columns' units.
        steps: `(n_values,)`, 0 where a value is not rounded.
        counted: `(n_values,)`: whether a value is a whole number, whose probability is a mass.
        bounds: `(n_values, 2)`: the interval that the numbers fill; beyond it the density is 0.
        state_of_value: see `Cells`.
        given: the features of the condition; None if there is none.
        key: for the embedding of the features.

    Shapes:
        events `(n_states + n_values,)`: the states, numbered from 0, then the values; what an absent value holds has no
        effect.

    Source: dequantization: Theis, van den Oord, Bethge, 2016, eq. 3, arXiv 1511.01844; Ho et al., 2019,
    arXiv 1902.00275.
    """

    masses: AutoregressiveCategorical | None
    values: Flow | None
    units: ColumnUnits | None
    embed: Array | None
    given: Cells | None
    steps: Fixed
    bounds: Fixed
    own: Cells
    counted: tuple[bool, ...] = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)
    noisy: bool = eqx.field(static=True)

    def __init__(
        self,
        masses: AutoregressiveCategorical | None,
        values: Flow | None,
        units: ColumnUnits | None,
        *,
        steps: Any = (),
        counted: Sequence[bool] = (),
        bounds: Any = (),
        state_of_value: Sequence[int] = (),
        given: Cells | None = None,
        key: PRNGKeyArray | None = None,
    ):
        n_values = 0 if units is None else units.in_shape[0]
        if (values is None) != (units is None) or len(state_of_value) != n_values:
            fix = "Give a flow, units, steps, bounds and states for the same values."
            raise ValueError(message("TableDistribution", f"{n_values} values throughout", "others", fix))
        self.masses, self.values, self.units, self.given = masses, values, units, given
        sizes = () if masses is None else masses.sizes
        self.own = Cells(None, sizes, tuple(int(i) for i in state_of_value))
        host = np.asarray(steps, np.float64).reshape(n_values)
        self.steps = Fixed(host)  # pyright: ignore[reportArgumentType] - NumPy keeps float64
        limits = np.clip(np.asarray(bounds, np.float64).reshape(n_values, 2), -UNBOUNDED, UNBOUNDED)
        self.bounds = Fixed(limits)  # pyright: ignore[reportArgumentType]
        self.counted = tuple(bool(flag) for flag in counted)
        n_features = sum(sizes) + (0 if given is None else given.n_features)
        self.embed = None
        if values is not None and values.cond_shape is not None and values.cond_shape[0] < n_features:
            if key is None:
                raise ValueError(
                    message("TableDistribution", "a key, for features are embedded", "none", "Pass key=...")
                )
            # Of a block of states one feature is 1, of numbers each may be.
            n_active = len(sizes) + n_features - sum(sizes)
            self.embed = jax.random.normal(key, (values.cond_shape[0], n_features)) * n_active**-0.5
        self.event_shape = (len(sizes) + n_values,)
        self.cond_shape = None if given is None else given.shape
        absent = any(i >= 0 for i in state_of_value)
        self.noisy = bool(absent or (host > 0).any()) and n_values > 0
        self.needs_key = self.noisy or (values is not None and values.needs_key)

    def standardised(self) -> TableDistribution:
        """The same for rows and conditions that are `standardise`d; its log-probabilities stay in the data's units."""
        table = self
        if self.units is not None:
            scale, loc = np.asarray(self.units.scale.value), np.asarray(self.units.loc.value)
            infinite = np.abs(np.asarray(self.bounds.value)) >= UNBOUNDED
            bounds = np.where(infinite, self.bounds.value, (self.bounds.value - loc[:, None]) / scale[:, None])
            new = (self.units.standardised(), self.steps.value / scale, bounds)
            table = eqx.tree_at(lambda t: (t.units, t.steps.value, t.bounds.value), table, new)
        if self.given is not None and self.given.units is not None:
            table = eqx.tree_at(lambda t: t.given.units, table, self.given.units.standardised())
        return table

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(n, dim)` with their values in standard units, in float64."""
        return self.own.standardise(rows, self.units)

    def in_units_of(self, other: TableDistribution) -> TableDistribution:
        """This model's weights with the units, steps and bounds of another: the reverse of `standardised`."""
        table = self
        if self.units is not None:
            new = (other.units, other.steps, other.bounds)
            table = eqx.tree_at(lambda t: (t.units, t.steps, t.bounds), table, new)
        if self.given is not None and self.given.units is not None:
            table = eqx.tree_at(lambda t: t.given.units, table, other.given.units)  # pyright: ignore[reportOptionalMemberAccess]
        return table

    def as_flow(self) -> Flow | None:
        """The same density as a `Flow` in the data's units, None if it is not one: with states, rounding or bounds."""
        if self.masses is not None or self.values is None or self.units is None or self.noisy:
            return None
        if set(self.units.supports) != {"real"} or np.any(np.abs(np.asarray(self.bounds.value)) < UNBOUNDED):
            return None
        bijection = Chain([self.values.bijection, self.units])
        if self.given is not None:
            net = self.given if self.embed is None else Embedded(self.given, self.embed)
            bijection = EmbedCondition(bijection, net, cond_shape=self.given.shape)
        return Flow(self.values.base, bijection)

    def parts(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Parts:
        """The log-probability in its parts.

        Args:
            x: `(dim, n)`.
            condition: `(*cond_shape, n)` or None.
            keys: `(n,)`; None if and only if no key is needed.
        """
        return self._parts(score_member, x, condition, keys)[0]

    def _parts(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Parts, tuple[Any, ...]]:
        features = self._features(condition)
        mass = self._mass(x, features)
        if self.values is None:
            return Parts(mass, jnp.zeros_like(mass)), ()
        seen = self._standard(x, features, keys)
        _, density, extra = step(self.values, seen.values, seen.condition, fold_keys(keys, 3), False)
        # Where a row lies beyond the bounds the flow saw it at them.
        return Parts(mass, jnp.where(jnp.isneginf(seen.log_prob), -jnp.inf, density + seen.log_prob)), (extra,)

    def standard(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Standard:
        """Rows as the flow of the values sees them, and the rest of their log-probability.

        Args:
            x: `(dim, n)`.
            condition: `(*cond_shape, n)` or None.
            keys: `(n,)`, for rounded and absent values; None takes the middle of the steps, and 0 for what is absent.

        Raises:
            ValueError: the table has states alone.
        """
        if self.values is None:
            fix = "Its masses have no latents; score them with log_prob."
            raise ValueError(message("TableDistribution.standard", "a table with numbers", "one of states alone", fix))
        features = self._features(condition)
        seen = self._standard(x, features, keys)
        return seen._replace(log_prob=seen.log_prob + self._mass(x, features))

    def _features(self, condition: Array | None) -> Array | None:
        return None if self.given is None or condition is None else self.given(condition)

    def _mass(self, x: Array, features: Array | None) -> Array:
        if self.masses is None:
            return jnp.zeros(x.shape[-1:], jnp.result_type(x))
        return self.masses.log_prob_rows(x[: len(self.own.sizes)], features, None)

    def _standard(self, x: Array, features: Array | None, keys: PRNGKeyArray | None) -> Standard:
        """The same, with the log-probability of the values alone."""
        units: Any = self.units
        n_states = len(self.own.sizes)
        states, values = x[:n_states], x[n_states:]
        there = present(states, self.own.state_of_value)
        steps, bounds = jnp.asarray(self.steps.value, x.dtype), jnp.asarray(self.bounds.value, x.dtype)
        bounds = jnp.where(jnp.abs(bounds) >= UNBOUNDED, jnp.sign(bounds) * jnp.inf, bounds)
        low, high = along(bounds[:, 0]), along(bounds[:, 1])
        uniform, normal = jnp.full(values.shape, 0.5), jnp.zeros(values.shape)
        if self.noisy and keys is not None:
            uniform, normal = self._noise(keys)
        values = values + along(steps) * uniform.astype(x.dtype)
        # The sum of a value and a part of its step may round to the next float beyond the bound.
        slack = jnp.where(along(steps) > 0, 4 * jnp.finfo(x.dtype).eps * jnp.abs(bounds).max(axis=1)[:, None], 0.0)
        slack = jnp.where(jnp.isfinite(slack), slack, 0.0)
        inside = jnp.all(~there | ((values >= low - slack) & (values <= high + slack)) | jnp.isnan(values), axis=0)
        standard, log_slope = units.each_inverse(jnp.where(there, jnp.clip(values, low, high), 0))
        normal = normal.astype(standard.dtype)
        standard = jnp.where(there, standard, normal)
        known = jnp.sum(jnp.where(there, log_slope, -norm.logpdf(normal)), axis=0)
        counted = jnp.asarray(self.counted)[:, None]
        # The mass of a whole number has the step in the data's units, also where rows are standardised.
        unit = jnp.asarray(units.log_scale.value, x.dtype) - jnp.log(jnp.asarray(units.scale.value, x.dtype))
        log_step = jnp.log(jnp.where(counted, along(steps), 1.0)) + along(unit)
        known = known + jnp.sum(jnp.where(there & counted, log_step, 0.0), 0)
        known = jnp.where(inside, known, -jnp.inf)
        return Standard(standard, self._condition(states, features), there, known)

    def _condition(self, states: Array, features: Array | None) -> Array | None:
        if self.values is None or self.values.cond_shape is None:
            return None
        own = [] if not self.own.sizes else [self.masses.one_hot(states)]  # pyright: ignore[reportOptionalMemberAccess]
        everything = [*own, *([] if features is None else [features])]
        joined = jnp.concatenate(everything)
        return joined if self.embed is None else _embedded(self.embed, joined)

    def _noise(self, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        n_values = len(self.counted)

        def draw(key: Any) -> tuple[Array, Array]:
            both = jax.random.split(key)
            return jax.random.uniform(both[0], (n_values,)), jax.random.normal(both[1], (n_values,))

        return jax.vmap(draw, out_axes=-1)(keys)

    @property
    def members(self) -> tuple[Any, ...]:
        """The flow of the values, if there are any: masses of states and units are what they are."""
        return () if self.values is None else (self.values,)

    def with_members(self, members: tuple[Any, ...]) -> TableDistribution:
        needs_key = self.noisy or any(member.needs_key for member in members)
        return replaced(self, values=members[0] if members else None, needs_key=needs_key)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        (mass, density), extras = self._parts(step, x, condition, keys)
        return mass + density, extras

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        features = self._features(condition)
        parts = []
        of_states, of_values = (jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, n) for n in range(2))
        states = jnp.zeros((0, keys.shape[0]))
        if self.masses is not None:
            states = self.masses.sample_rows(of_states, features)
            parts.append(states)
        if self.values is not None and self.units is not None:
            standard = self.values.sample_rows(of_values, self._condition(states, features))
            values = run_batch(self.units, standard, None, None, True)[0]
            steps = along(jnp.asarray(self.steps.value, values.dtype))
            rounded = jnp.floor(values / jnp.where(steps > 0, steps, 1.0) + ROUNDING) * steps
            # What rounding takes up to the end of the last step belongs to that step.
            end = along(jnp.asarray(self.bounds.value, values.dtype)[:, 1])
            rounded = jnp.where(rounded > end - 0.5 * steps, rounded - steps, rounded)
            values = jnp.where(steps > 0, rounded, values)
            parts.append(jnp.where(present(states, self.own.state_of_value), values, 0))
        return jnp.concatenate(parts)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, fold_keys(keys, 2) if self.needs_key else None)
