"""The contract of objectives: a scalar to minimise, and the same quantity row by row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._module import Module
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution

Rows = Array | np.ndarray


class AbstractObjective(Module):
    r"""The contract of what `fit` minimises.

    Final subclasses implement `per_row`, a pure function of its arguments, so that the whole training loop is compiled
    around it; what is random draws from `key`.

    What `fit`, the estimator and the command line have to know of an objective is declared on its class.

    Attributes:
        in_nats: Whether the objective is a negative log-density, or a bound on one, in nats. For another objective,
            `fit` computes the held-out log-density when training is done.
        is_regression: Whether a step is one evaluation of a network: cheap, with a noisy gradient, so that a fit takes
            more of them.
        needs_rows: Whether there are rows to train on. If not, `fit` takes no `x`, and the objective has `n_samples`,
            its draws per step; `per_row` then sees rows of size 0, as many as it should draw.
        learning_rate: Learning rate of `training.Adam` where the user chose none.
        weight_decay: Weight decay of `training.Adam` where the user chose none.
        score_words: Name, in a verdict, of minus the objective's mean over held-out rows.
        trains: Models that it trains: `"any"`, those with a velocity `"field"`, or those with a field on a `"path"`.
        names: Names under which the estimator and the command line offer it, each with a function from a model's field
            (None without one) to the objective. The keys must be literals: the command line reads them as text.
    """

    in_nats: eqx.AbstractVar[bool]
    is_regression: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 4e-3
    weight_decay: ClassVar[float] = 0.0
    score_words: ClassVar[str] = "Held-out log-density"
    trains: ClassVar[Literal["any", "field", "path"]] = "any"
    names: ClassVar[Mapping[str, Callable[[Any], AbstractObjective]]] = {}

    def __call__(
        self,
        flow: AbstractDistribution,
        x: Rows,
        condition: Rows | None = None,
        weights: Rows | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        """The loss of a batch, a scalar: the weighted mean of `per_row`.

        Args:
            flow: The model; gradients are taken with respect to its trainable arrays.
            x: Rows `(n, *event_shape)`.
            condition: Rows `(n, *cond_shape)`, or None.
            weights: Weights `(n,)`, not negative; None counts each row once. Rows of weight 0 fill up a batch and must
                not count.
            key: JAX key for objectives or flows that draw random numbers.
        """
        return weighted_mean(self.per_row(flow, x, condition, key), weights)

    def at_step(self, step: Array) -> AbstractObjective:
        """What training minimises at a step, counted from 0; by default the objective itself, at all steps.

        Held-out rows are scored by the objective itself.

        Args:
            step: Number of the step, a traced scalar.
        """
        return self

    @abstractmethod
    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The loss of each row, `(n,)`; validation averages it over the held-out rows.

        Args:
            flow: The model.
            x: Rows `(n, *event_shape)`.
            condition: Rows `(n, *cond_shape)`, or None.
            key: JAX key for objectives or flows that draw random numbers.
        """


def weighted_mean(values: Rows, weights: Rows | None) -> Array:
    """`sum(w v) / sum(w)`, and 0 where no row has any weight.

    Args:
        values: Numbers `(n,)`.
        weights: Weights `(n,)`, not negative, or None for equal ones.
    """
    if weights is None:
        return jnp.mean(values)
    smallest = jnp.finfo(values.dtype).tiny  # only to keep 0 / 0 from being NaN when a batch is all filling
    return jnp.sum(weights * values) / jnp.maximum(jnp.sum(weights), smallest)
