"""The last step of a fit: the marginal frequencies of states, made those of the rows."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.distributions.categorical import MAX_LOGIT, AutoregressiveCategorical
from pushforward.numerics.bounded import soft_clamp

# Rows that the frequencies are taken from; more would only cost time.
CALIBRATED_ROWS = 50_000
# Rounds of proportional scaling; the deviation shrinks by about ten with each.
ROUNDS = 8


def calibrate(
    masses: AutoregressiveCategorical, states: np.ndarray, features: Array | None = None, weights: Any = None
) -> AutoregressiveCategorical:
    r"""The masses with new biases: the mean probability of each state over the rows is its frequency there.

    At the maximum of the likelihood that equation holds for every bias: it is the derivative by the bias. A fit stops
    before its maximum, with the noise of its last batches, and then samples of large tables betray themselves by the
    frequencies of single columns first. Biases alone are moved, by iterative proportional scaling, $b \leftarrow b +
    \log f - \log \bar p$, each variable given the true states before it.

    Args:
        masses: trained.
        states: `(n, len(sizes))`, the rows that it was trained on.
        features: `(cond_size, n)` or None.
        weights: `(n,)` or None.

    Source: Darroch, Ratcliff, 1972, "Generalized iterative scaling for log-linear models".
    """
    step = max(1, -(-len(states) // CALIBRATED_ROWS))
    one_hot = masses.one_hot(jnp.asarray(states[::step].T, jnp.float32))
    own = None if features is None else features[:, ::step]
    weight = np.ones(len(states)) if weights is None else np.asarray(weights, float)
    shift = _shift(masses, one_hot, own, jnp.asarray(weight[::step] / weight[::step].sum(), one_hot.dtype))
    new = jnp.asarray(masses.net.out_weight).at[:, -1].add(shift.astype(masses.net.out_weight.dtype))
    return eqx.tree_at(lambda m: m.net.out_weight, masses, new)


@eqx.filter_jit
def _shift(masses: AutoregressiveCategorical, one_hot: Array, features: Array | None, weights: Array) -> Array:
    logits = masses.net(one_hot, features)
    sums = jnp.asarray(masses._sums(), logits.dtype)
    frequency = one_hot @ weights

    def probability(shift: Array) -> Array:
        terms = jnp.exp(soft_clamp(logits + shift[:, None], MAX_LOGIT))
        return (terms / (sums.T @ (sums @ terms))) @ weights

    def scale(_: int, shift: Array) -> Array:
        # A state without rows keeps the bias that training and smoothing gave it.
        seen = frequency > 0
        ratio = jnp.log(jnp.where(seen, frequency, 1)) - jnp.log(jnp.where(seen, probability(shift), 1))
        return shift + jnp.where(seen, ratio, 0)

    return jax.lax.fori_loop(0, ROUNDS, scale, jnp.zeros(len(logits), logits.dtype))
