"""Velocity fields that move noise to data, and their divergence, which changes the density."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._meshes import aligned
from pushforward._module import Module
from pushforward._types import Array, Shape
from pushforward.dynamics.guidance import GuidedNet, NullableCondition
from pushforward.nets.base import event_shape_of
from pushforward.nets.time_mlp import TimeMLP
from pushforward.numerics.trace_estimators import AbstractTrace, ExactTrace, Hutchinson, each, quadratic
from pushforward.paths.base import PREDICTIONS, AbstractPath, Prediction, convert


class AbstractField(Module):
    r"""A velocity field $v(t, x; c)$ of one event.

    Attributes:
        shape: Shape of an event.
        cond_shape: Shape of the condition, None if unconditional.
        start, end: Times between which the equation is solved, 0 and 1 unless the path is cut.
    """

    shape: eqx.AbstractVar[Shape]
    cond_shape: eqx.AbstractVar[Shape | None]
    start: eqx.AbstractVar[float]
    end: eqx.AbstractVar[float]

    @abstractmethod
    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        """The velocity at `x` of the event's shape at time `t`, a scalar."""

    @abstractmethod
    def closed_form(self) -> Any:
        """Arrays for the divergence in closed form, made from weights once per solve; None without a closed form."""

    @abstractmethod
    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> tuple[Array, Array]:
        """Velocity and divergence of a field whose `closed_form()` is `closed`."""


def value_and_divergence(
    field: AbstractField,
    trace: AbstractTrace,
    closed: Any,
    probes: Array | None,
    t: Array,
    x: Array,
    condition: Array | None,
) -> tuple[Array, Array]:
    """Velocity and divergence of a field at one event.

    Args:
        field: Velocity field.
        trace: The exact trace `ExactTrace()`, or an estimator.
        closed: The result of `field.closed_form()`, which is used for an exact trace unless it is None.
        probes: Array of shape `(n_probes, *shape)`, drawn once per solve; None for an exact trace.
        t: Time.
        x: Event.
        condition: The condition of the event.
    """
    if probes is not None:
        _, drawn = aligned(x, probes)
        value, pull = jax.vjp(lambda x: field(t, x, condition), x)
        return value, trace(lambda v: pull(v)[0], drawn)
    if closed is not None:
        return field.value_and_divergence(t, x, condition, closed)
    chunk = trace.chunk if isinstance(trace, ExactTrace) else math.prod(x.shape)
    return _by_products(lambda x: field(t, x, condition), x, chunk)


def value_divergence_and_energies(
    field: AbstractField,
    trace: AbstractTrace,
    closed: Any,
    probes: Array | None,
    directions: Array,
    t: Array,
    x: Array,
    condition: Array | None,
) -> tuple[Array, Array]:
    r"""Velocity, and $(\operatorname{div} v, |v|^2, |\epsilon^T \partial_x v|^2)$.

    The last is an unbiased estimate of the squared Frobenius norm of the Jacobian.

    Args:
        field: Velocity field.
        trace: Estimator of the divergence; `Hutchinson` shares its product with the last term.
        closed: The same as in `value_and_divergence`.
        probes: The same as in `value_and_divergence`.
        directions: $\epsilon$, `(n_probes, *shape)`, scaled so that the squares add up to a mean.
        t: Time.
        x: Event.
        condition: The condition of the event.
    """
    value, pull = jax.vjp(lambda x: field(t, x, condition), x)
    products = each(lambda v: pull(v)[0], directions)
    if isinstance(trace, Hutchinson):
        divergence = quadratic(directions, products)
    else:
        divergence = value_and_divergence(field, trace, closed, probes, t, x, condition)[1]
    return value, jnp.stack([divergence, jnp.sum(value**2), jnp.sum(products**2)])


def _by_products(function: Callable[[Array], Array], x: Array, chunk: int) -> tuple[Array, Array]:
    """The value, and the trace of the Jacobian by forward products with the unit vectors, `chunk` at a time."""
    value, push = jax.linearize(function, x)
    size = math.prod(x.shape)

    def entry(i: Array) -> Array:
        unit = (jnp.arange(size) == i).astype(x.dtype).reshape(x.shape)
        return push(unit).reshape(-1)[i]

    return value, jnp.sum(jax.lax.map(entry, jnp.arange(size), batch_size=min(chunk, size)))


def closed_form(net: Any) -> Any:
    """The matrix of the trace in closed form, `net.coupling()`, or None for a network without one."""
    return net.coupling() if isinstance(net, TimeMLP | NullableCondition | GuidedNet) and net.has_trace else None


class NetworkField(AbstractField):
    r"""A network as the velocity field, as in the neural ODE flow, FFJORD and flow matching.

    Args:
        net: A network of time, event and condition, such as `TimeMLP`, or `UNet` for images. It declares the events'
            `shape`, or their length `dim`, and `cond_shape`.

    Source: Chen, Rubanova, Bettencourt, Duvenaud, 2018, arXiv 1806.07366.
    """

    net: Any
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, net: Any):
        self.net, self.shape, self.cond_shape = net, event_shape_of(net), net.cond_shape
        self.start, self.end = 0.0, 1.0

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return self.net(t, x, condition)

    def closed_form(self) -> Any:
        return closed_form(self.net)

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> tuple[Array, Array]:
        return self.net.value_and_trace(t, x, condition, closed)


class PredictionField(AbstractField):
    r"""The velocity of a diffusion's probability-flow equation, from a network.

    The prediction of the network (noise, data, score or velocity) is converted to a velocity by `paths.convert`. For a
    score this is $v = \frac{\dot\alpha}{\alpha} x + \sigma\,(\frac{\dot\alpha}{\alpha}\sigma - \dot\sigma)\,s$, which
    in the diffusion's own time is $f x - \frac12 g^2 s$.

    Args:
        net: A network of time, event and condition, such as `TimeMLP`, or `UNet` for images. On a path that changes the
            variance of the data its input is scaled by $1/\sqrt{\alpha^2 + \sigma^2}$.
        path: The path on which the network was trained.
        predicts: The quantity that the network predicts, `"noise"`, `"data"`, `"score"` or `"velocity"`.

    Raises:
        ValueError: `predicts` is unknown.

    Source: Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, eq. 13, arXiv 2011.13456.
    """

    net: Any
    path: AbstractPath
    predicts: Prediction = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, net: Any, path: AbstractPath, predicts: Prediction = "noise"):
        if predicts not in PREDICTIONS:
            expected = f"predicts to be one of {', '.join(PREDICTIONS)}"
            raise ValueError(message("PredictionField", expected, repr(predicts), "Choose one of them."))
        self.net, self.path, self.predicts = net, path, predicts
        self.shape, self.cond_shape = event_shape_of(net), net.cond_shape
        self.start, self.end = path.start, path.end

    def _scale(self, t: Array) -> Array:
        c = self.path.at(t)
        return jax.lax.rsqrt(c.alpha**2 + c.sigma**2)

    def predict(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        """The prediction of the network, before conversion."""
        return self.net(t, self._scale(t) * x, condition)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return convert(self.path, t, x, self.predict(t, x, condition), self.predicts, "velocity")

    def score(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        r"""The score $\nabla_x \log p_t(x)$ as the network estimates it."""
        return convert(self.path, t, x, self.predict(t, x, condition), self.predicts, "score")

    def predicted_data(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        r"""The denoised event $\mathbb{E}[x_1 \mid x_t = x]$."""
        return convert(self.path, t, x, self.predict(t, x, condition), self.predicts, "data")

    def closed_form(self) -> Any:
        return closed_form(self.net)

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> tuple[Array, Array]:
        scale = self._scale(t)
        value, trace = self.net.value_and_trace(t, scale * x, condition, closed)
        # The conversion is linear in x and in the prediction, with coefficients that depend on time alone.
        one, zero = jnp.ones((), x.dtype), jnp.zeros((), x.dtype)
        by_x = convert(self.path, t, one, zero, self.predicts, "velocity")
        by_value = convert(self.path, t, zero, one, self.predicts, "velocity")
        return by_x * x + by_value * value, by_x * math.prod(self.shape) + by_value * scale * trace
