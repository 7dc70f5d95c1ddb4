"""The learning rate as a function of progress, so that a time budget shortens the schedule and does not cut it."""

from __future__ import annotations

import jax.numpy as jnp
import optax

from pushforward._types import Array

LONGEST_WARMUP = 0.1  # longest warm-up as a share of a fit


def rate_factor(step: Array, progress: Array, warmup_steps: Array) -> Array:
    r"""$\min(1, \max((s + 1) / w, p / 0.1)) \cdot (1 + \cos(\pi p)) / 2$: the factor of the base learning rate.

    The warm-up takes $w$ steps, or a tenth of the fit if a time budget leaves no more steps than that.

    Args:
        step: Number of steps taken so far.
        progress: The share of the fit that is over, from 0 to 1: of its steps or of its seconds, whichever is more.
        warmup_steps: Number $w$ of steps of linear warm-up.

    Source:
        Loshchilov, Hutter, 2017, eq. 5, arXiv 1608.03983.
    """
    warm = jnp.maximum((step + 1.0) / jnp.maximum(warmup_steps, 1.0), progress / LONGEST_WARMUP)
    cosine = optax.cosine_decay_schedule(1.0, decay_steps=1)
    return jnp.minimum(1.0, warm) * jnp.asarray(cosine(progress))
