"""A model as objectives of continuous time see it: its velocity field, and the rows at the end of the field."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, trainable
from pushforward._vectorize import batch_keys, split_batch
from pushforward.bijections import Chain, Continuous
from pushforward.bijections.base import run_batch
from pushforward.distributions import AbstractDistribution, Flow, StandardNormal, stages
from pushforward.distributions.table import TableDistribution
from pushforward.objectives.base import Rows


class View(NamedTuple):
    """A model as its velocity field, seen from a batch of rows.

    Attributes:
        layer: The continuous layer.
        noise: The distribution at the layer's start.
        x: The rows at the layer's end, `(*shape, n)`.
        condition: The condition that the field is given, `(*cond_shape, n)`, or None.
        log_prob: The part `(n,)` that is known of the log-probability beside the layer and the noise: the
            log-determinants of fixed bijections and, for a table, the log-masses of its states.
        key: JAX key for the random numbers of the objective.
    """

    layer: Continuous
    noise: AbstractDistribution
    x: Array
    condition: Array | None
    log_prob: Array
    key: PRNGKeyArray

    def draw(self, key: PRNGKeyArray) -> Array:
        """A draw of the noise for each row, `(*shape, n)`.

        A standard normal is drawn in one piece: keys for each row, which samples have and training does not need, would
        take longer than the network of a step.
        """
        if isinstance(self.noise, StandardNormal):
            return jax.random.normal(key, self.x.shape, self.x.dtype)
        return self.noise.sample_rows(batch_keys(key, self.x.shape[-1]), self.condition).astype(self.x.dtype)


def view(name: str, model: AbstractDistribution, x: Rows, condition: Rows | None, key: PRNGKeyArray) -> View:
    """The view of a batch.

    Args:
        name: Name of the objective, for error messages.
        model: A `Flow` of a base, fixed bijections and one `Continuous`; or a `TableDistribution` with such a flow.
        x: Rows `(n, *event_shape)`.
        condition: Rows `(n, *cond_shape)`, or None.
        key: JAX key, from which rounded and absent values of a table are drawn; the view gets a new key from it.

    Raises:
        TypeError: The model is of another kind.
    """
    rows = jnp.moveaxis(split_batch(name, "x", x, model.event_shape)[0], 0, -1)
    given = None if condition is None else jnp.moveaxis(jnp.asarray(condition), 0, -1)
    known, flow = jnp.zeros(rows.shape[-1:], jnp.result_type(rows)), model
    if isinstance(model, TableDistribution) and model.values is not None:
        own, key = jax.random.split(key)
        seen = model.standard(rows, given, batch_keys(own, rows.shape[-1]))
        rows, given, known, flow = seen.values, seen.condition, seen.log_prob, model.values
    layer, noise, after = _parts(name, flow)
    for member in reversed(after):
        rows, log_det = run_batch(member, rows, given, None, False)
        known = known + log_det
    return View(layer, noise, rows, given, known, key)


def has_field(model: AbstractDistribution) -> bool:
    """Whether `view` takes the model."""
    try:
        _parts("", model.values if isinstance(model, TableDistribution) else model)
    except TypeError:
        return False
    return True


def field_of(model: AbstractDistribution) -> Any:
    """The velocity field of a model that `view` takes."""
    return _parts("field_of", model.values if isinstance(model, TableDistribution) else model)[0].field


def layer_and_noise(name: str, model: AbstractDistribution) -> tuple[Continuous, AbstractDistribution]:
    """The continuous layer of a model that `view` takes, and the distribution at its start.

    Raises:
        TypeError: The model is of another kind.
    """
    return _parts(name, model.values if isinstance(model, TableDistribution) else model)[:2]


def _parts(name: str, flow: Any) -> tuple[Continuous, AbstractDistribution, tuple]:
    """The continuous layer of a flow, the noise that it starts from, and the fixed bijections after it."""
    if isinstance(flow, Flow):
        members: Any = stages(flow.bijection)
        places = [i for i, member in enumerate(members) if isinstance(member, Continuous)]
        if len(places) == 1:
            before, after = tuple(members[: places[0]]), tuple(members[places[0] + 1 :])
            if not jax.tree.leaves(trainable((flow.base, before, after))[0]):
                noise = Flow(flow.base, before[0] if len(before) == 1 else Chain(before)) if before else flow.base
                return members[places[0]], noise, after
    expected = "a Flow with one Continuous among fixed bijections, over a base with nothing to train"
    fix = "Build one (pf.flows.flow_matching), or train by maximum likelihood."
    raise TypeError(message(name, expected, type(flow).__name__, fix))
