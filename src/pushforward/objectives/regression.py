"""The error of a field's prediction, in its own terms, which regressions square."""

from __future__ import annotations

import jax.numpy as jnp

from pushforward._types import Array
from pushforward.dynamics import PredictionField


def prediction_error(
    field: PredictionField, t: Array, where: Array, velocity: Array, noise: Array, data: Array, condition: Array | None
) -> Array:
    r"""The squared error of each row, `(n,)`.

    The error of a score is multiplied by $\sigma$: it then is the error of the noise that the score stands for, and is
    finite also where that of the score is not.

    Args:
        field: Field that predicts velocity, noise, data or score.
        t: Times, `(n,)`.
        where: The events $x_t$, `(*shape, n)`, between noise and data.
        velocity: Velocity of the pairs at these events and times.
        noise: The noise $x_0$.
        data: The data $x_1$.
        condition: Conditions of the rows, or None.
    """
    true = {"velocity": velocity, "noise": noise, "data": data, "score": noise}[field.predicts]
    got = field.predict(t, where, condition)
    got = -field.path.sigma(t) * got if field.predicts == "score" else got
    return jnp.sum((got - true) ** 2, axis=tuple(range(data.ndim - 1)))
