"""The error of what a field on a path predicts, in its own terms: what regressions square."""

from __future__ import annotations

import jax.numpy as jnp

from pushforward._types import Array
from pushforward.dynamics import PredictionField


def prediction_error(
    field: PredictionField, t: Array, where: Array, velocity: Array, noise: Array, data: Array, condition: Array | None
) -> Array:
    r"""The squared error of each row, `(n,)`.

    That of a score is taken times $\sigma$: it is that of the noise it stands for, finite also where that of a score is
    not.

    Args:
        field: predicts velocity, noise, data or score.
        t: times, `(n,)`.
        where: $x_t$, `(*shape, n)`, made of the noise and data.
        velocity: of the pairs there.
        noise: $x_0$.
        data: $x_1$.
        condition: of the rows, or None.
    """
    true = {"velocity": velocity, "noise": noise, "data": data, "score": noise}[field.predicts]
    got = field.predict(t, where, condition)
    got = -field.path.sigma(t) * got if field.predicts == "score" else got
    return jnp.sum((got - true) ** 2, axis=tuple(range(data.ndim - 1)))
