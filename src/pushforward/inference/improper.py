"""A look far out: along which direction a density has no finite mass."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray
from pushforward.inference.target import Target

# Pairs of radii, in units of the unconstrained vector, between which the mass per unit of log r has to fall, in one
# pair at least. An exponential parameter overflows far out; a prior as wide as a million units falls in the far pair.
RADII = ((25.0, 50.0), (1e8, 1e10))
# Along a random direction a scale grows with the rest, and a likelihood may rise for long before the scale makes it
# fall; beyond it an exponential parameter overflows. So these radii, each twice the last, must not fall either.
BETWEEN = tuple((50.0 * 2**k, 100.0 * 2**k) for k in range(8))
# The mass has to fall at least like this power of the radius.
LEAST_POWER = 0.05
N_DIRECTIONS = 32


@eqx.filter_jit
def _far_values(target: Target, directions: Array) -> tuple[Array, ...]:
    return tuple(target.rows(r * directions) for pair in RADII + BETWEEN for r in pair)


def improper_direction(target: Target, key: PRNGKeyArray) -> str | None:
    r"""In words, a direction along which the target has infinite mass, or None if none was found.

    In polar coordinates the mass at the radius $r$ along a direction $v$ is $\tilde p(r v)\, r^{d - 1} dr$. It is
    finite if $\tilde p(r v)\, r^d$ falls like a power of $r$ far out. The axes and some random directions are looked
    at; a density that passes may be improper all the same.

    Args:
        target: The target.
        key: JAX key of the random directions.
    """
    d = target.dim
    axes = np.concatenate([np.eye(d), -np.eye(d)])
    random = np.asarray(jax.random.normal(key, (N_DIRECTIONS, d)))
    directions = np.concatenate([axes, random / np.linalg.norm(random, axis=1, keepdims=True)])
    values = [np.asarray(value) for value in _far_values(target, jnp.asarray(directions))]
    lasting = np.ones(len(directions), bool)
    axis = np.arange(len(directions)) < 2 * d
    for pair, near, far in zip(RADII + BETWEEN, values[::2], values[1::2], strict=True):
        with np.errstate(invalid="ignore"):
            power = (far - near) / math.log(pair[1] / pair[0]) + d
        lasting &= (np.isfinite(near) & np.isfinite(far) & (power > -LEAST_POWER)) | (axis & (pair in BETWEEN))
    wrong = np.flatnonzero(lasting)
    if not len(wrong):
        return None
    first = int(wrong[0])
    if first >= 2 * d:
        return "in some directions"
    return f"towards {'plus' if first < d else 'minus'} infinity of {target.names[first % d]}"
