"""Which noise goes with which row of a batch: independent draws, or the cheapest transport between the two."""

from __future__ import annotations

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from pushforward._checks import message
from pushforward._types import Array


class AbstractPairing(eqx.Module):
    """A permutation of a batch's noise, so that each row has its own."""

    @abstractmethod
    def __call__(self, noise: Array, data: Array, condition: Array | None) -> Array:
        """The noise in the order of the rows.

        Args:
            noise: `(*event, n)`.
            data: `(*event, n)`.
            condition: `(*cond, n)`, or None.
        """


class Independent(AbstractPairing):
    """Noise as it was drawn: flow matching of independent pairs."""

    def __call__(self, noise: Array, data: Array, condition: Array | None) -> Array:
        return noise


class OptimalTransport(AbstractPairing):
    r"""The permutation with the least $\sum_i |x_i - z_{\pi(i)}|^2$ within the batch: straighter paths.

    Conditions enter the cost. Pairing by the rows alone makes noise depend on the condition in training, which
    it does not when sampling: the conditional density comes out wrong. So each pair of row and noise also pays
    $w\,|c_i - c_{j}|^2$, where $c_j$ is the condition of the row that the noise was drawn beside; the larger $w$, the
    less noise moves between conditions.

    Args:
        condition_weight: $w$; None is 100 times the ratio of the mean squared distances of rows and of conditions.

    Cost: an assignment problem on the host per batch, $O(n^3)$ at worst, some milliseconds for 256 rows.

    Source: Tong et al., 2024, arXiv 2302.00482; Pooladian et al., 2023, arXiv 2304.14772; the bias of conditional
        models: Cheng and Schwing, 2025, arXiv 2503.10636.
    """

    condition_weight: float | None = eqx.field(static=True)

    def __init__(self, condition_weight: float | None = None):
        if condition_weight is not None and not condition_weight >= 0:
            fix = "0 ignores the condition."
            raise ValueError(message("OptimalTransport", "condition_weight >= 0", repr(condition_weight), fix))
        self.condition_weight = condition_weight

    def __call__(self, noise: Array, data: Array, condition: Array | None) -> Array:
        n = data.shape[-1]
        cost = _squared_distances(data, noise)
        if condition is not None:
            apart = _squared_distances(condition, condition).astype(cost.dtype)
            weight = self.condition_weight
            if weight is None:
                weight = 100 * jnp.mean(cost) / jnp.maximum(jnp.mean(apart), jnp.finfo(cost.dtype).tiny)
            cost = cost + weight * apart
        order = jax.pure_callback(_assign, jax.ShapeDtypeStruct((n,), jnp.int32), jax.lax.stop_gradient(cost))
        return noise[..., order]


def _squared_distances(a: Array, b: Array) -> Array:
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return jnp.sum(a**2, 0)[:, None] + jnp.sum(b**2, 0)[None] - 2 * a.T @ b


def _assign(cost: Array) -> np.ndarray:
    """For each row the column that the assignment gives it; as they are where a cost is not finite."""
    table = np.asarray(cost, np.float64)
    if not np.isfinite(table).all():
        return np.arange(len(table), dtype=np.int32)
    return linear_sum_assignment(table)[1].astype(np.int32)
