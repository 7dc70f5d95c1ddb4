"""Rows of a table: states with masses, and numbers with a density given the states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.table_draws import draw_rows
from pushforward.distributions.table_features import Cells, Embedded, embedded, present
from pushforward.distributions.table_parts import Parts, Standard
from pushforward.distributions.unit_law import UnitLaw

# Stands for infinity in a bound, for a file of weights holds finite numbers alone; float32 can hold it.
UNBOUNDED = 1e30


class TableDistribution(AbstractCompound, AbstractDistribution):
    r"""$p(s, v, w \mid c) = P(s \mid c)\; p(v \mid s, c)\; p(w \mid s, v, c)$ of states $s$ and values $v, w$.

    States have exact masses. The values $v$ lie anywhere on a line and have the density of any flow, given the states.
    The values $w$ are the others: rounded ones, those that may be absent, angles, and those that reach the end of their
    range. Each has a distribution function in closed form on a space of its own (`ConditionalMargins`), so that masses
    of rounded values are exact and densities right at the ends.

    A value of $v$ whose step $h$ is far below the scale of the density is taken at the middle of $[v, v + h)$. While it
    trains, a model may draw from that interval instead (`dequantize`), so that no density becomes narrower than a step.

    Args:
        masses: Masses of the states; None if there are none.
        values: A flow over standard numbers, conditional on the embedded features of states and condition if there are
            any; None if there are no such values.
        units: Map from standard numbers to the columns' units.
        margins: Distribution of the other values, conditional on these features and on the flow's standard numbers;
            None if there are none.
        margin_places: Places of the margins among all values.
        steps: `(n_flow,)`, 0 where a value of the flow is not rounded.
        counted: `(n_flow,)`: whether a value is a whole number, whose probability is a mass.
        bounds: `(n_flow, 2)`: the interval that the numbers fill; beyond it the density is 0.
        state_of_value: One entry for each value; see `Cells`. Values of the flow are always there.
        given: The features of the condition; None if there is none.
        dequantize: Whether a rounded value of the flow is drawn from its interval, for which a key is needed.
        embed: The features of states and condition are embedded in a vector of this length, if there are more of them.
        key: JAX key for the embedding of the features.

    Shapes:
        events `(n_states + n_values,)`: the states, numbered from 0, then the values in the order of the columns; what
        an absent value holds has no effect.

    Source: dequantization: Theis, van den Oord, Bethge, 2016, eq. 3, arXiv 1511.01844; Ho et al., 2019,
    arXiv 1902.00275.
    """

    masses: AutoregressiveCategorical | None
    values: Flow | None
    units: ColumnUnits | None
    margins: ConditionalMargins | None
    embed: Array | None
    given: Cells | None
    steps: Fixed
    bounds: Fixed
    middle_error: Fixed
    own: Cells
    counted: tuple[bool, ...] = eqx.field(static=True)
    margin_places: tuple[int, ...] = eqx.field(static=True)
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
        margins: ConditionalMargins | None = None,
        margin_places: Sequence[int] = (),
        steps: Any = (),
        counted: Sequence[bool] = (),
        bounds: Any = (),
        state_of_value: Sequence[int] = (),
        given: Cells | None = None,
        dequantize: bool = False,
        embed: int | None = None,
        key: PRNGKeyArray | None = None,
    ):
        n_flow, n_margins = 0 if units is None else units.in_shape[0], 0 if margins is None else margins.event_shape[0]
        if (values is None) != (units is None) or len(state_of_value) != n_flow + n_margins:
            fix = "Give a flow, units, steps, bounds and states for the same values."
            raise ValueError(message("TableDistribution", f"{n_flow + n_margins} values throughout", "others", fix))
        if len(margin_places) != n_margins:
            fix = "Give one place for each column of the margins."
            raise ValueError(message("TableDistribution", f"{n_margins} places of margins", str(margin_places), fix))
        self.masses, self.values, self.units, self.given, self.margins = masses, values, units, given, margins
        self.margin_places = tuple(int(place) for place in margin_places)
        sizes = () if masses is None else masses.sizes
        self.own = Cells(None, sizes, tuple(int(i) for i in state_of_value))
        if any(self.own.state_of_value[place] >= 0 for place in self.flow_places):
            fix = "Give it to the margins."
            raise ValueError(message("TableDistribution", "values of the flow that are always there", "others", fix))
        host = np.asarray(steps, np.float64).reshape(n_flow)
        self.steps = Fixed(host)  # pyright: ignore[reportArgumentType] - NumPy keeps float64
        limits = np.clip(np.asarray(bounds, np.float64).reshape(n_flow, 2), -UNBOUNDED, UNBOUNDED)
        self.bounds = Fixed(limits)  # pyright: ignore[reportArgumentType]
        self.middle_error = Fixed(np.zeros(()))  # pyright: ignore[reportArgumentType]
        self.counted = tuple(bool(flag) for flag in counted)
        n_features = sum(sizes) + (0 if given is None else given.n_features)
        self.embed = None
        if embed is not None and embed < n_features:
            if key is None:
                raise ValueError(
                    message("TableDistribution", "a key, for features are embedded", "none", "Pass key=...")
                )
            # Of a block of states one feature is 1, of numbers each may be.
            n_active = len(sizes) + n_features - sum(sizes)
            self.embed = jax.random.normal(key, (embed, n_features)) * n_active**-0.5
        self.event_shape = (len(sizes) + n_flow + n_margins,)
        self.cond_shape = None if given is None else given.shape
        self.noisy = bool(dequantize and (host > 0).any())
        self.needs_key = self.noisy or (values is not None and values.needs_key)

    @property
    def flow_places(self) -> tuple[int, ...]:
        """Places of the flow's values among all values."""
        own = set(self.margin_places)
        return tuple(place for place in range(len(self.own.state_of_value)) if place not in own)

    def taken_at_middles(self) -> TableDistribution:
        """The same without draws: rounded values of the flow are taken at the middle of their steps."""
        needs_key = self.values is not None and self.values.needs_key
        return replaced(self, noisy=False, needs_key=needs_key)

    def drawn_within_steps(self) -> TableDistribution:
        """The same with draws: rounded values of the flow are drawn from their steps, for which a key is needed."""
        noisy = bool((np.asarray(self.steps.value) > 0).any())
        return replaced(self, noisy=noisy, needs_key=noisy or self.needs_key)

    def standardised(self) -> TableDistribution:
        """The same for rows and conditions that are `standardise`d; its log-probabilities stay in the data's units."""
        table = self
        if self.units is not None:
            scale, loc = np.asarray(self.units.scale.value), np.asarray(self.units.loc.value)
            infinite = np.abs(np.asarray(self.bounds.value)) >= UNBOUNDED
            bounds = np.where(infinite, self.bounds.value, (self.bounds.value - loc[:, None]) / scale[:, None])
            new = (self.units.standardised(), self.steps.value / scale, bounds)
            table = eqx.tree_at(lambda t: (t.units, t.steps.value, t.bounds.value), table, new)
        if self.margins is not None:
            table = eqx.tree_at(lambda t: t.margins.spaces, table, self.margins.spaces.standardised())
        if self.given is not None and self.given.units is not None:
            table = eqx.tree_at(lambda t: t.given.units, table, self.given.units.standardised())
        return table

    def standardise(self, rows: np.ndarray) -> np.ndarray:
        """Rows `(n, dim)` with their values in standard units, in float64."""
        out, n_states = np.array(rows, np.float64), len(self.own.sizes)
        of_flow, of_margins = (n_states + np.array(p, int) for p in (self.flow_places, self.margin_places))
        if self.units is not None:
            out[:, of_flow] = self.units.standardise(out[:, of_flow])
        if self.margins is not None:
            out[:, of_margins] = self.margins.spaces.standardise(out[:, of_margins])
        return out

    def in_units_of(self, other: TableDistribution) -> TableDistribution:
        """This model's weights with the units, steps and bounds of another: the reverse of `standardised`."""
        table = self
        if self.units is not None:
            new = (other.units, other.steps, other.bounds)
            table = eqx.tree_at(lambda t: (t.units, t.steps, t.bounds), table, new)
        if self.margins is not None:
            theirs: Any = other.margins
            table = eqx.tree_at(lambda t: t.margins.spaces, table, theirs.spaces)
        if self.given is not None and self.given.units is not None:
            given: Any = other.given
            table = eqx.tree_at(lambda t: t.given.units, table, given.units)
        return table

    def as_flow(self) -> Flow | None:
        """The same density as a `Flow` in the data's units, None if it is not one: with states, rounding or bounds."""
        if self.masses is not None or self.values is None or self.units is None or self.margins is not None:
            return None
        if set(self.units.supports) != {"real"} or np.any(np.abs(np.asarray(self.bounds.value)) < UNBOUNDED):
            return None
        if np.any(np.asarray(self.steps.value) > 0):
            return None
        bijection = Chain([self.values.bijection, self.units])
        if self.given is not None:
            net = self.given if self.embed is None else Embedded(self.given, self.embed)
            bijection = EmbedCondition(bijection, net, cond_shape=self.given.shape)
        return Flow(self.values.base, bijection)

    def margin_laws(self, x: Array, condition: Array | None) -> UnitLaw:
        """The margins' distribution functions in each row, as functions of the unit interval.

        Args:
            x: Rows `(dim, n)`.
            condition: Conditions `(*cond_shape, n)` or None.
        """
        margins: Any = self.margins
        numbers, there = self.margin_numbers(x)
        return margins.laws(numbers, self.for_margins(x, self.context(x, self.features(condition))), there)

    def parts(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Parts:
        """The log-probability in its parts.

        Args:
            x: Rows `(dim, n)`.
            condition: Conditions `(*cond_shape, n)` or None.
            keys: Keys `(n,)`; None if and only if no key is needed.
        """
        return self.parts_with(score_member, x, condition, keys)[0]

    def parts_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Parts, tuple[Any, ...]]:
        """The same with any step for the flow of the values, and what that step finds beside its log-density."""
        features = self.features(condition)
        context = self.context(x, features)
        mass, density = self._mass(x, features), self._margin(x, context)
        if self.values is not None:
            seen = self._standard(x, context, keys)
            _, own, extra = step(self.values, seen.values, seen.condition, fold_keys(keys, 3), False)
            # Where a row lies beyond the bounds the flow saw it at them.
            own = jnp.where(jnp.isneginf(seen.log_prob), -jnp.inf, own + seen.log_prob)
            return Parts(mass, jnp.where(jnp.isneginf(density), -jnp.inf, density + own)), (extra,)
        return Parts(mass, density), ()

    def standard(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Standard:
        """Rows as the flow of the values sees them, and the rest of their log-probability.

        Args:
            x: Rows `(dim, n)`.
            condition: Conditions `(*cond_shape, n)` or None.
            keys: Keys `(n,)`, for rounded values; None takes the middle of the steps.

        Raises:
            ValueError: the table has no values of a flow.
        """
        if self.values is None:
            fix = "Score its rows with log_prob."
            raise ValueError(message("TableDistribution.standard", "a table with a flow of numbers", "none", fix))
        features = self.features(condition)
        context = self.context(x, features)
        seen = self._standard(x, context, keys)
        rest = self._mass(x, features) + self._margin(x, context)
        return seen._replace(log_prob=seen.log_prob + rest)

    def latents(self, x: Array, condition: Array | None, uniform: Array) -> Array:
        """Latents of all values `(n_values, n)`, standard normal if the model is right and its base is normal.

        Args:
            x: Rows `(dim, n)`.
            condition: Conditions `(*cond_shape, n)` or None.
            uniform: Places within the steps of rounded values, and latents of absent ones, `(n_values, n)` in [0, 1).
        """
        context = self.context(x, self.features(condition))
        out = jnp.zeros(uniform.shape, x.dtype)
        if self.values is not None:
            seen = self._standard(x, context, None, uniform[np.array(self.flow_places)])
            latent = run_batch(self.values.bijection, seen.values, seen.condition, None, False)[0]
            out = out.at[np.array(self.flow_places)].set(latent)
        if self.margins is not None:
            (numbers, there), places = self.margin_numbers(x), np.array(self.margin_places)
            own, there = self.for_margins(x, context), jnp.broadcast_to(there, numbers.shape)
            out = out.at[places].set(self.margins.latents(numbers, own, there, uniform[places]))
        return out

    def features(self, condition: Array | None) -> Array | None:
        """The features of conditions `(*cond_shape, n)`; None without any."""
        return None if self.given is None or condition is None else self.given(condition)

    def _mass(self, x: Array, features: Array | None) -> Array:
        if self.masses is None:
            return jnp.zeros(x.shape[-1:], jnp.result_type(x))
        return self.masses.log_prob_rows(x[: len(self.own.sizes)], features, None)

    def context(self, x: Array, features: Array | None) -> Array | None:
        """The features of states and condition, embedded if they are many; None if there are none."""
        states = x[: len(self.own.sizes)]
        own = [] if self.masses is None else [self.masses.one_hot(states)]
        everything = [*own, *([] if features is None else [features])]
        if not everything:
            return None
        joined = jnp.concatenate(everything)
        return joined if self.embed is None else embedded(self.embed, joined)

    def _middles(self, x: Array) -> Array:
        """The flow's values in standard units, at the middles of their steps."""
        values = x[len(self.own.sizes) + np.array(self.flow_places, int)]
        units: Any = self.units
        low, high = self.flow_ends(x.dtype)
        middle = values + 0.5 * along(jnp.asarray(self.steps.value, x.dtype))
        return units.each_inverse(jnp.clip(middle, low, high))[0]

    def flow_ends(self, dtype: Any) -> tuple[Array, Array]:
        """The ends of the flow's values, `(n_flow, 1)` each, infinite where there is none."""
        bounds = jnp.asarray(self.bounds.value, dtype)
        bounds = jnp.where(jnp.abs(bounds) >= UNBOUNDED, jnp.sign(bounds) * jnp.inf, bounds)
        return along(bounds[:, 0]), along(bounds[:, 1])

    def for_margins(self, x: Array, context: Array | None) -> Array | None:
        """What the margins are given: the context, and the flow's values in standard units."""
        parts = [part for part in (context, None if self.values is None else self._middles(x)) if part is not None]
        return jnp.concatenate([part.astype(x.dtype) for part in parts]) if parts else None

    def margin_numbers(self, x: Array) -> tuple[Array, Array]:
        """The numbers of the margins, and which of them are there, as the states of the rows say."""
        n_states, places = len(self.own.sizes), np.array(self.margin_places)
        there = present(x[:n_states], [self.own.state_of_value[i] for i in places])
        return x[n_states + places], there

    def _margin(self, x: Array, context: Array | None) -> Array:
        if self.margins is None:
            return jnp.zeros(x.shape[-1:], jnp.result_type(x))
        numbers, there = self.margin_numbers(x)
        each = self.margins.each_log_prob(numbers, self.for_margins(x, context), there)
        return jnp.sum(each, axis=0)

    def _standard(
        self, x: Array, context: Array | None, keys: PRNGKeyArray | None, uniform: Array | float = 0.5
    ) -> Standard:
        """The same, with the log-probability of the values alone."""
        units: Any = self.units
        values = x[len(self.own.sizes) + np.array(self.flow_places, int)]
        steps = along(jnp.asarray(self.steps.value, x.dtype))
        low, high = self.flow_ends(x.dtype)
        if self.noisy and keys is not None:
            n_flow = len(self.counted)
            uniform = jax.vmap(lambda key: jax.random.uniform(key, (n_flow,)), out_axes=-1)(keys).astype(x.dtype)
        values = values + steps * uniform
        # The sum of a value and a part of its step may round to the next float beyond the bound.
        largest = jnp.max(jnp.abs(jnp.asarray(self.bounds.value, x.dtype)), axis=1)[:, None]
        slack = jnp.where(steps > 0, 4 * jnp.finfo(x.dtype).eps * largest, 0.0)
        inside = jnp.all((values >= low - slack) & (values <= high + slack) | jnp.isnan(values), axis=0)
        standard, log_slope = units.each_inverse(jnp.clip(values, low, high))
        counted = jnp.asarray(self.counted)[:, None]
        # The mass of a whole number has the step in the data's units, also where rows are standardised.
        unit = jnp.asarray(units.log_scale.value, x.dtype) - jnp.log(jnp.asarray(units.scale.value, x.dtype))
        log_step = jnp.log(jnp.where(counted, steps, 1.0)) + along(unit)
        known = jnp.sum(log_slope + jnp.where(counted, log_step, 0.0), axis=0)
        known = jnp.where(inside, known, -jnp.inf)
        condition = context if self.values is not None and self.values.cond_shape is not None else None
        return Standard(standard, condition, known)

    @property
    def members(self) -> tuple[Any, ...]:
        """The flow of the values, if there are any: masses of states, margins and units are what they are."""
        return () if self.values is None else (self.values,)

    def with_members(self, members: tuple[Any, ...]) -> TableDistribution:
        needs_key = self.noisy or any(member.needs_key for member in members)
        return replaced(self, values=members[0] if members else None, needs_key=needs_key)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        (mass, density), extras = self.parts_with(step, x, condition, keys)
        return mass + density, extras

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return draw_rows(self, keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, fold_keys(keys, 2) if self.needs_key else None)
