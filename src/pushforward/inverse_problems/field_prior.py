"""Priors whose events are made from noise along a path: their velocity or score field, and what comes after it."""

from __future__ import annotations

from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._module import Module
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.bijections import Affine, Chain, Continuous, Standardize
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Layout
from pushforward.distributions import AbstractDistribution, Flow
from pushforward.dynamics import Ancestral, PredictionField, draw
from pushforward.inference.flow_sources import layers_in_turn
from pushforward.inverse_problems.operators import constant
from pushforward.inverse_problems.problem import NAME
from pushforward.paths import AbstractPath

# Guided steps begin where the data are this share of the noise. Before, an estimate of the data has an error that the
# small share would magnify, and the state is nearly normal anyway.
FIRST_SHARE = 0.02
MOMENT_DRAWS, MOMENT_STEPS = 1024, 100


class NormalField(Module):
    r"""The field of a normal $N(m, C)$ along a path, whose denoised event is known in closed form.

    Args:
        path: The path.
        mean: $m$, `(d,)`.
        vectors: Eigenvectors of $C$, `(d, d)`.
        variances: Eigenvalues of $C$, `(d,)`.
    """

    path: AbstractPath
    mean: Fixed
    vectors: Fixed
    variances: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, path: AbstractPath, mean: Any, vectors: Any, variances: Any):
        self.path, self.shape = path, (len(mean),)
        self.mean, self.vectors, self.variances = constant(mean), constant(vectors), constant(variances)

    def predicted_data(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        """The mean of the event given the state."""
        mean, vectors, variances = (
            jnp.asarray(value.value, x.dtype) for value in (self.mean, self.vectors, self.variances)
        )
        c = self.path.at(t)
        gain = variances * c.alpha / (c.alpha**2 * variances + c.sigma**2)
        return mean + vectors @ (gain * (vectors.T @ (x - c.alpha * mean)))


class Moments(Module):
    """Mean and covariance of a prior before what comes after its field, the covariance by its eigenvectors."""

    mean: Fixed
    vectors: Fixed
    variances: Fixed

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean `(d,)`, the eigenvectors `(d, d)` and the variances along them `(d,)`."""
        return np.asarray(self.mean.value), np.asarray(self.vectors.value), np.asarray(self.variances.value)

    @staticmethod
    def of(rows: np.ndarray) -> Moments:
        """The moments of rows `(n, d)`; the covariance of few rows is drawn towards a multiple of the identity."""
        cov = np.atleast_2d(np.cov(rows.T))
        if 2 * rows.shape[1] > len(rows):
            from sklearn.covariance import ledoit_wolf

            cov = ledoit_wolf(rows)[0]
        variances, vectors = np.linalg.eigh(cov)
        variances = np.maximum(variances, 1e-10 * max(variances.max(), 1e-300))
        return Moments(constant(rows.mean(axis=0)), constant(vectors), constant(variances))


class FieldPrior(Module):
    """A field along a path and the bijection after it.

    The guides see vectors: a field of images is seen through their numbers in a row.

    Attributes:
        field: The field.
        condition: The condition that was fixed, or None.
        tail: From what the field carries to events; None if they are the same.
        shape: Shape of what the tail takes.
    """

    field: PredictionField | NormalField
    condition: Array | None
    tail: AbstractBijection | None
    shape: Shape = eqx.field(static=True)

    def event(self, x: Array) -> Array:
        """The event of one of the field's vectors."""
        x = x.reshape(self.shape)
        return x if self.tail is None else self.tail.forward(x)

    def denoised(self, t: Array, x: Array) -> Array:
        """The mean of the field's vector at the end, given its state at a time."""
        return self.field.predicted_data(t, x.reshape(self.field.shape), self.condition).reshape(-1)

    def _vectors(self, events: np.ndarray) -> np.ndarray:
        """The field's vectors `(m, d)` of events."""
        shape = self.shape if self.tail is None else self.tail.out_shape
        if events.shape[1:] != shape or len(events) < 2:
            fix = "Stack them on a first axis, such as prior.sample(key, 512)."
            raise ValueError(message(NAME, f"2 or more prior_draws of shape {shape}", f"{events.shape}", fix))
        tail = self.tail
        rows = events if tail is None else np.asarray(jax.vmap(tail.inverse)(jnp.asarray(events)))
        return np.asarray(rows, np.float64).reshape(len(events), -1)

    def moments(self, key: PRNGKeyArray, events: Any = None) -> Moments:
        """Mean and covariance of the field's vectors, from events, or from draws of its ancestral sampler.

        Args:
            key: JAX key.
            events: Events of the prior `(m, *event_shape)`, 2 or more; None draws them.

        Raises:
            ValueError: Too few events, events of another shape, or draws that are not finite.
        """
        if events is not None:
            return Moments.of(self._vectors(np.asarray(events, float)))
        rows = draw(cast(PredictionField, self.field), key, MOMENT_DRAWS, Ancestral(MOMENT_STEPS), self.condition)
        rows = np.asarray(rows, np.float64).reshape(len(rows), -1)
        if not np.isfinite(rows).all():
            fix = "Train the field longer: its own samples are not finite."
            raise ValueError(message(NAME, "a prior whose samples are finite", "others", fix))
        return Moments.of(rows)


def field_prior_of(prior: AbstractDistribution) -> FieldPrior | None:
    """The field of a velocity or score model, None for other priors."""
    if not isinstance(prior, Flow):
        return None
    layers = layers_in_turn(prior.bijection)
    fields = [n for n, layer in enumerate(layers) if _field_in(layer) is not None]
    if len(fields) != 1:
        return None
    place = fields[0]
    if not all(isinstance(layer, Standardize | Affine) for layer in layers[:place]):
        return None  # something other than the scale of the noise comes before the field
    found: Any = _field_in(layers[place])
    after = layers[place + 1 :]
    tail = None if not after else after[0] if len(after) == 1 else Chain(after)
    return FieldPrior(found[0], found[1], tail, found[0].shape)


def _field_in(layer: AbstractBijection) -> tuple[PredictionField, Array | None] | None:
    """The field of a layer on a path, and the condition fixed there."""
    if isinstance(layer, Continuous):
        return (layer.field, None) if isinstance(layer.field, PredictionField) else None
    if not isinstance(layer, AbstractComposite) or layer.layout != Layout() or len(layer.members) != 1:
        return None
    inner = layer.members[0]
    if not isinstance(inner, Continuous) or inner.cond_shape is None or not isinstance(inner.field, PredictionField):
        return None
    seen: list[tuple[Array | None, bool]] = []

    def see(member: Any, value: Array, given: Array | None, keys: Any, forward: bool) -> tuple[Array, Array, None]:
        seen.append((given, forward))
        return value, jnp.zeros(value.shape[-1:]), None

    # The composite says itself which condition its member gets, and in which direction it runs.
    layer.run_with(see, jnp.zeros((*layer.in_shape, 1)), None, None, True)
    given, forward = seen[0]
    return (inner.field, given[..., 0]) if forward and given is not None else None


def guided_times(path: AbstractPath, n_steps: int) -> np.ndarray:
    """Times `(n_steps + 1,)` at equal distances from where the data are 0.02 of the noise to the path's end."""
    low, high = path.start, path.end

    def share(t: float) -> float:
        return float(path.alpha(jnp.asarray(t))) / max(float(path.sigma(jnp.asarray(t))), 1e-300)

    if share(low) >= FIRST_SHARE:
        return np.linspace(low, path.end, n_steps + 1)
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) < FIRST_SHARE else (low, middle)
    return np.linspace(high, path.end, n_steps + 1)
