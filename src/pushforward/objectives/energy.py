"""Densities without their normalising constant: what score matching can train and likelihood cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from pushforward._checks import check_shape, message
from pushforward._parts import parts
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions import AbstractDistribution


class UnnormalisedDensity(AbstractDistribution):
    r"""The density $p(x \mid c) = e^{-E(x, c)} / Z(c)$ by its energy alone: `log_prob` is $-E$, without $-\log Z$.

    Everything that asks for gradients of the log-density by $x$ has what it needs: score matching trains it, Langevin
    dynamics draws from it. What `log_prob` gives may be compared between rows (of the same condition), never between
    models, and its mean is no likelihood; `fit` refuses to maximise it and gives no held-out log-density of it.

    Args:
        log_density: Minus the energy, $-E$, as a function of one event, and of its condition if there is one, to a
            number; a module whose arrays are trained, such as `nets.MLP(key, dim, (), activation="softplus")`.
        shape: Shape of an event.
        cond_shape: Shape of a condition; None for an unconditional model.

    Source: LeCun, Chopra, Hadsell, Ranzato, Huang, 2006, A tutorial on energy-based learning; Hyvarinen, 2005.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.MLP(jax.random.key(0), 2, (), width=8, activation="softplus")
        >>> model = pf.objectives.UnnormalisedDensity(net, (2,))
        >>> score = jax.grad(model.log_prob)
        >>> pf.dynamics.langevin(score, jax.random.key(1), jax.numpy.zeros((5, 2)), step=0.1, n_steps=10).shape
        (5, 2)
    """

    log_density: Callable[..., Array]
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, log_density: Callable[..., Array], shape: Shape, cond_shape: Shape | None = None):
        if not callable(log_density):
            fix = "Give a function of one event, or a network."
            raise TypeError(message("UnnormalisedDensity", "a function", type(log_density).__name__, fix))
        self.log_density, self.needs_key = log_density, False
        self.event_shape = check_shape("UnnormalisedDensity", shape)
        self.cond_shape = None if cond_shape is None else check_shape("UnnormalisedDensity", cond_shape)

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        given = () if condition is None else (condition,)
        value = jax.vmap(self.log_density, in_axes=-1, out_axes=-1)(x, *given)
        if value.ndim != 1:
            fix = "Return one number; a network needs out_shape=()."
            got = f"an array {value.shape[:-1]}"
            raise ValueError(message("UnnormalisedDensity", "a number from log_density", got, fix))
        return value

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        fix = "Draw by pushforward.dynamics.langevin(jax.grad(model.log_prob), key, start, step=..., n_steps=...)."
        expected = "a density with its constant to sample from"
        raise NotImplementedError(message("UnnormalisedDensity", expected, "an energy", fix))

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        sample = self.sample_rows(keys, condition)
        return sample, self.log_prob_rows(sample, condition, None)


def is_normalised(model: Any) -> bool:
    """Whether no part of a model is an `UnnormalisedDensity`, so that `log_prob` is a log-density."""
    return not any(isinstance(part, UnnormalisedDensity) for part in parts(model))
