"""A flow on its way from latent to data: its states and its exact density at every time, or after every layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._parts import rewritten, unstacked
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import batch_keys, split_batch
from pushforward.bijections import Continuous, Standardize
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Layout, needed, run_batch
from pushforward.bijections.elementwise import ColumnUnits
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.flow import Flow
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.dynamics import AbstractField

# Fixed maps from standard numbers to the data's units: at the end of a flow they do not count as layers.
UNITS = (ColumnUnits, Standardize)


def stages(bijection: AbstractBijection) -> list[AbstractBijection]:
    """The parts that a bijection runs one after the other: `Chain` of them is the bijection.

    Chains are entered, the layers of a `Scan` come one by one, and what is inverted runs backwards. A composite around
    one bijection that has stages is such a composite around each of them, unless it is a `Partial` whose stages change
    the shape of what they are given.

    Args:
        bijection: Any bijection.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=3)
        >>> len(pf.distributions.stages(flow.bijection))
        3
    """
    if not isinstance(bijection, AbstractComposite):
        return [bijection]
    layout, members = bijection.layout, bijection.members
    if layout.in_turn and not layout.inverted:
        if layout.stacked is not None:
            return [layer for member in members for layer in unstacked(member, layout.stacked)]
        return [stage for member in members for stage in stages(member)]
    if len(members) != 1 or layout.stacked is not None:
        return [bijection]
    # What holds one member in place holds a composition by holding each of its stages.
    parts = [stage for member in members for stage in stages(member)]
    on_a_part = not layout.inverted and bijection.in_shape != members[0].in_shape
    if len(parts) == 1 or (on_a_part and any(part.in_shape != part.out_shape for part in parts)):
        return [bijection]
    return [bijection.with_members((part,)) for part in (reversed(parts) if layout.inverted else parts)]


class Until(AbstractField):
    """A field that is solved from its start to an earlier end.

    Args:
        field: The field.
        end: The time, an array: all ends share one compiled program.
    """

    field: AbstractField
    end: Any
    start: float = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, field: AbstractField, end: Any):
        self.field, self.end = field, end
        self.start, self.shape, self.cond_shape = field.start, field.shape, field.cond_shape

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return self.field(t, x, condition)

    def closed_form(self) -> Any:
        return self.field.closed_form()

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> tuple[Array, Array]:
        return self.field.value_and_divergence(t, x, condition, closed)


class Evolution(eqx.Module):
    r"""A flow on its way from the base to the data.

    For a flow with one `Continuous`, it is $x(t)$ and its density $p_t$, the base pushed as far as $t$:
    $\log p_t(x) = \log p_0(x(0)) - \int_0^t \operatorname{tr} \partial_x v\,ds$, solved back from $(t, x)$. For any
    other flow, time counts layers. Fixed maps after the last layer, to the data's units, are applied at every time, so
    that states and densities are in these units all along, and those of the last time are the flow's.

    Random log-determinants are replaced by exact ones, as in `evaluation_form`.

    Args:
        flow: Any flow.
        condition: One condition of shape `cond_shape`, for a conditional flow.

    Attributes:
        base: Distribution of the latent.
        before: Bijections that run before the field.
        layers: The `Continuous` of the field, or the layers.
        after: Fixed maps that are applied at every time.
        start, end: The first and the last time; for layers, 0 and their number.
        continuous: Whether the time is that of a field.

    Cost: one solve per time for a field, one pass for layers.

    Raises:
        TypeError: `flow` is no `Flow`.
        ValueError: The condition is missing, superfluous or of another shape.

    Source: Papamakarios, Nalisnick, Rezende, Mohamed, Lakshminarayanan, 2021, section 4, arXiv 1912.02762.

    Example:
        >>> import jax, pushforward as pf
        >>> field = pf.dynamics.NetworkField(pf.nets.TimeMLP(jax.random.key(0), 2, width=8))
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(field))
        >>> evolution = pf.distributions.Evolution(flow)
        >>> z = flow.base.sample(jax.random.key(1), 5)
        >>> evolution.states(z, [0.0, 0.5, 1.0]).shape, evolution.log_prob(0.5, z).shape
        ((3, 5, 2), (5,))
    """

    base: AbstractDistribution
    before: tuple[AbstractBijection, ...]
    layers: tuple[AbstractBijection, ...]
    after: tuple[AbstractBijection, ...]
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)
    continuous: bool = eqx.field(static=True)

    def __init__(self, flow: Flow, condition: Any = None):
        if not isinstance(flow, Flow):
            fix = "For the model of a fitted table, take .values, the flow over its standard numbers."
            raise TypeError(message("Evolution", "a Flow", type(flow).__name__, fix))
        if condition is not None:
            flow = flow.given(condition)
        elif flow.cond_shape is not None:
            raise ValueError(
                message("Evolution", f"a condition of shape {flow.cond_shape}", "none", "Pass condition=...")
            )
        flow = evaluation_form(flow)
        parts = stages(flow.bijection)
        self.base = flow.base
        fields = [i for i, part in enumerate(parts) if _continuous(part) is not None]
        self.continuous = len(fields) == 1
        if self.continuous:
            first, last = fields[0], fields[0] + 1
            layer: Any = _continuous(parts[first])
            self.start, self.end = layer.field.start, layer.field.end
        else:
            first = 0
            moving = [i for i, part in enumerate(parts) if not isinstance(part, UNITS)]
            last = moving[-1] + 1 if moving else len(parts)
            self.start, self.end = 0.0, float(last)
        self.before, self.after = tuple(parts[:first]), tuple(parts[last:])
        self.layers = tuple(_with_exact_trace(part) for part in parts[first:last])

    def until(self, t: float) -> tuple[AbstractBijection, ...]:
        """The bijections that take the base to time `t`, without those that are applied at every time.

        Args:
            t: Time from `start` to `end`; for a flow of layers, a whole number of layers.

        Raises:
            ValueError: The time is not one of these.
        """
        if not self.start <= t <= self.end or not (self.continuous or float(t).is_integer()):
            kind = "a time" if self.continuous else "a whole number of layers"
            expected = f"{kind} from {self.start:g} to {self.end:g}"
            raise ValueError(message("Evolution", expected, f"{t:g}", "`start` and `end` are the bounds."))
        if not self.continuous:
            return (*self.before, *self.layers[: int(t)])
        # Diffrax refuses fixed steps of no length.
        return self.before if t == self.start else (*self.before, _until(self.layers[0], t))

    def log_prob(self, t: float, x: Any) -> Array:
        r"""$\log p_t(x)$ in nats and in the units of `x`; NaN where a solve fails, `-inf` beyond the units' support.

        Args:
            t: Time from `start` to `end`; for a flow of layers, a whole number of layers.
            x: Events `(*batch, *event_shape)`.
        """
        shape = (self.after or self.layers)[-1].out_shape
        x, batch = split_batch("Evolution.log_prob", "x", x, shape)
        rows = jnp.moveaxis(x.reshape(-1, *shape), 0, -1)
        total = jnp.zeros(rows.shape[-1:], rows.dtype)
        for bijection in reversed((*self.until(t), *self.after)):
            rows, log_det = _run(bijection, rows, False)
            total = total + log_det
        keys = batch_keys(jax.random.key(0), rows.shape[-1]) if self.base.needs_key else None
        return (self.base.log_prob_rows(rows, None, keys) + total).reshape(batch)

    def states(self, z: Any, times: Iterable[float]) -> Array:
        """The states of latents at each time; at the last time these are `flow.decode(z)`.

        Args:
            z: Latents `(*batch, *base.event_shape)`.
            times: Times from `start` to `end`; for a flow of layers, whole numbers of layers.

        Shapes:
            `(n_times, *batch, *event_shape)`
        """
        z, batch = split_batch("Evolution.states", "z", z, self.base.event_shape)
        rows = jnp.moveaxis(z.reshape(-1, *self.base.event_shape), 0, -1)
        wanted = [float(t) for t in times]
        found, reached, done = {}, rows, 0
        for t in sorted(set(wanted)):
            members = self.until(t)
            if self.continuous:
                # Each time has a solve from the start by the model's own solver, so that the last state is the model's.
                reached, done = rows, 0
            for bijection in members[done:]:
                reached, _ = _run(bijection, reached, True)
            done, here = len(members), reached
            for bijection in self.after:
                here, _ = _run(bijection, here, True)
            found[t] = jnp.moveaxis(here, -1, 0).reshape(*batch, *here.shape[:-1])
        return jnp.stack([found[t] for t in wanted])

    def undone(self, x: Any, counts: Iterable[int]) -> Array:
        """Data with their layers undone, the last first.

        Args:
            x: Events `(*batch, *event_shape)`.
            counts: Numbers of layers that remain. With all of them the result is `x`, in its own units; with fewer the
                units are undone too, and with none it is `flow.encode(x)`.

        Shapes:
            `(len(counts), *batch, *event_shape)`

        Raises:
            TypeError: The flow is that of a velocity field.
            ValueError: A number exceeds that of the layers.
        """
        if self.continuous:
            raise TypeError(message("Evolution.undone", "a flow of layers", "one of a velocity field", "Use `states`."))
        wanted = [int(count) for count in counts]
        for count in wanted:
            self.until(count)
        shape = (self.after or self.layers)[-1].out_shape
        x, _ = split_batch("Evolution.undone", "x", x, shape)
        rows, n = jnp.moveaxis(x.reshape(-1, *shape), 0, -1), len(self.layers)
        found = {n: x}
        for bijection in reversed(self.after):
            rows, _ = _run(bijection, rows, False)
        for k in reversed(range(n)):
            rows, _ = _run(self.layers[k], rows, False)
            found[k] = jnp.moveaxis(rows, -1, 0).reshape(x.shape)
        return jnp.stack([found[count] for count in wanted])

    def velocity(self, t: float, x: Any) -> Array:
        """The velocity of the state `x` at time `t`, in the units of `x` per unit of time.

        Args:
            t: Time from `start` to `end`.
            x: Events `(*batch, *event_shape)`.

        Raises:
            TypeError: The flow is one of layers, which has no velocity.
        """
        if not self.continuous:
            fix = "Layers act at once; look at their states."
            raise TypeError(message("Evolution.velocity", "a flow of a velocity field", "one of layers", fix))
        self.until(t)
        shape = (self.after or self.layers)[-1].out_shape
        x, batch = split_batch("Evolution.velocity", "x", x, shape)
        rows = jnp.moveaxis(x.reshape(-1, *shape), 0, -1)
        moved = _velocity(self.layers[0], self.after, jnp.asarray(t, rows.dtype), rows)
        return jnp.moveaxis(moved, -1, 0).reshape(*batch, *shape)


@eqx.filter_jit
def _run(bijection: AbstractBijection, rows: Array, forward: bool) -> tuple[Array, Array]:
    """One stage on rows `(*event, n)`; stages of one structure, such as the layers of a scan, are compiled once."""
    keys = batch_keys(jax.random.key(0), rows.shape[-1]) if bijection.traits.needs_key else None
    return run_batch(bijection, rows, None, keys, forward)


@eqx.filter_jit
def _velocity(part: AbstractBijection, after: tuple[AbstractBijection, ...], t: Array, rows: Array) -> Array:
    for bijection in reversed(after):
        rows, _ = run_batch(bijection, rows, None, None, False)

    def moved(by: Array) -> Array:
        """The rows after a short time: what holds the field says where its velocity goes."""

        def step(
            member: AbstractBijection, rows: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
        ) -> tuple[Array, Array, None]:
            condition, _ = needed(member, condition, keys)
            if isinstance(member, Continuous):
                velocity = _velocities(member.field, t, rows, condition)
                return rows + by * velocity.astype(rows.dtype), jnp.zeros(rows.shape[-1:], rows.dtype), None
            if isinstance(member, AbstractComposite):
                return *member.run_with(step, rows, condition, keys, forward)[:2], None
            return *run_batch(member, rows, condition, keys, forward), None

        return step(part, rows, None, None, True)[0]

    def onwards(rows: Array) -> Array:
        for bijection in after:
            rows, _ = run_batch(bijection, rows, None, None, True)
        return rows

    # What comes after the field turns and stretches its arrows, by the Jacobian.
    return jax.jvp(lambda by: onwards(moved(by)), (jnp.zeros((), rows.dtype),), (jnp.ones((), rows.dtype),))[1]


def _velocities(field: AbstractField, t: Array, rows: Array, condition: Array | None) -> Array:
    axes = (-1, None if condition is None else -1)
    return jax.vmap(lambda row, given: field(t, row, given), in_axes=axes, out_axes=-1)(rows, condition)


def _continuous(part: AbstractBijection) -> Continuous | None:
    """The continuous layer of a stage, which composites may hold in place."""
    while isinstance(part, AbstractComposite) and len(part.members) == 1 and part.layout == Layout():
        part = part.members[0]
    return part if isinstance(part, Continuous) else None


def _rebuilt(part: Any, new: Continuous) -> Any:
    return rewritten(part, lambda inner: new if isinstance(inner, Continuous) else inner)


def _with_exact_trace(part: AbstractBijection) -> AbstractBijection:
    layer = _continuous(part)
    if layer is None or not layer.traits.needs_key:
        return part
    return _rebuilt(part, Continuous(layer.field, None, layer.solver))


def _until(part: AbstractBijection, t: float) -> AbstractBijection:
    layer: Any = _continuous(part)
    # Fixed steps end at the time that they are told, to the last digit, also where that is cut to float32.
    end = np.float32(t)
    if t == layer.field.end and end != t:
        return part
    return _rebuilt(part, Continuous(Until(layer.field, jnp.asarray(end, float)), layer.divergence, layer.solver))
