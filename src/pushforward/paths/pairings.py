"""Pairings of the noise and the rows of a batch: independent, or by exact or entropic transport."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from pushforward._checks import MissingPackageError, check_int, message
from pushforward._types import Array, PRNGKeyArray

# Default of epsilon, relative to the mean squared distance of rows and noise: the entropic plan is near the assignment
# and converges in some tens of iterations; at a hundredth of it, 2000 iterations are not enough.
DEFAULT_EPSILON = 0.05


class AbstractPairing(eqx.Module):
    """A choice of one noise of the batch for each row."""

    @abstractmethod
    def __call__(self, noise: Array, data: Array, condition: Array | None, key: PRNGKeyArray) -> Array:
        """The noise of each row.

        Args:
            noise: Array of shape `(*event, n)`.
            data: Array of shape `(*event, n)`.
            condition: Conditions of the rows, `(*cond, n)`, or None.
            key: JAX key of pairings that draw; the others ignore it.
        """


class Independent(AbstractPairing):
    """The pairing that leaves the noise as it was drawn, independent of the rows."""

    def __call__(self, noise: Array, data: Array, condition: Array | None, key: PRNGKeyArray) -> Array:
        return noise


class OptimalTransport(AbstractPairing):
    r"""The permutation with the least $\sum_i |x_i - z_{\pi(i)}|^2$ within the batch, which makes paths straighter.

    Conditions enter the cost. Pairing by the rows alone would make noise depend on the condition in training, but not
    in sampling, and the conditional density would be wrong. So each pair of row and noise also costs
    $w\,|c_i - c_{j}|^2$, where $c_j$ is the condition of the row with which the noise was drawn; the larger $w$, the
    less noise moves between conditions.

    Args:
        condition_weight: Weight $w$; None takes 100 times the ratio of the mean squared distances of rows and of
            conditions.

    Cost: an assignment problem on the host per batch, $O(n^3)$ at worst, some milliseconds for 256 rows.

    Source: Tong et al., 2024, arXiv 2302.00482; Pooladian et al., 2023, arXiv 2304.14772; the bias of conditional
        models: Cheng and Schwing, 2025, arXiv 2503.10636.
    """

    condition_weight: float | None = eqx.field(static=True)

    def __init__(self, condition_weight: float | None = None):
        self.condition_weight = _weight("OptimalTransport", condition_weight)

    def __call__(self, noise: Array, data: Array, condition: Array | None, key: PRNGKeyArray) -> Array:
        n = data.shape[-1]
        cost = jax.lax.stop_gradient(_cost(noise, data, condition, self.condition_weight)[1])
        return noise[..., jax.pure_callback(_assign, jax.ShapeDtypeStruct((n,), jnp.int32), cost)]


class Sinkhorn(AbstractPairing):
    r"""A random pairing by the entropic plan, $\pi_{ij} \propto \exp((f_i + g_j - C_{ij})/\varepsilon)$.

    $\pi$ has the least $\sum_{ij} \pi_{ij} C_{ij} + \varepsilon \pi_{ij} \log \pi_{ij}$ among all plans that use each
    row and each noise of the batch equally, with $C_{ij} = |x_i - z_j|^2$ and a cost of conditions as for
    `OptimalTransport`. As $\varepsilon \to 0$ it becomes the assignment of `OptimalTransport`, as
    $\varepsilon \to \infty$ pairs become independent. Row $i$ draws its noise with the probabilities $n \pi_{ij}$, with
    replacement.

    Args:
        epsilon: Strength $\varepsilon$ of the entropy, in squared units of the data; None takes 0.05 times the mean of
            $|x_i - z_j|^2$.
        condition_weight: Weight $w$ of conditions, as for `OptimalTransport`.
        max_iterations: Most iterations of Sinkhorn's algorithm. A plan that has not converged by then is used
            nevertheless: each row has its noise, but some noise is used more often than other. A small $\varepsilon$
            needs many iterations.

    Cost: $O(n^2)$ per iteration on the device, some tens of iterations for the default $\varepsilon$.

    Raises:
        ImportError: ott-jax is not installed.
        ValueError: a number is out of bounds.

    Source: Cuturi, 2013, arXiv 1306.0895; Tong et al., 2024, arXiv 2302.00482; Cuturi et al., 2022, arXiv 2201.12324
        (ott-jax).
    """

    epsilon: float | None = eqx.field(static=True)
    condition_weight: float | None = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)

    def __init__(self, epsilon: float | None = None, condition_weight: float | None = None, max_iterations: int = 2000):
        if epsilon is not None and not 0 < epsilon < float("inf"):
            fix = "None chooses it; for 0 use OptimalTransport(), for infinity Independent()."
            raise ValueError(message("Sinkhorn", "a finite epsilon > 0", repr(epsilon), fix))
        self.epsilon = None if epsilon is None else float(epsilon)
        self.condition_weight = _weight("Sinkhorn", condition_weight)
        self.max_iterations = check_int("Sinkhorn", "max_iterations", max_iterations, 1)
        _ott()  # a missing package is reported now, and not during a fit

    def log_plan(self, noise: Array, data: Array, condition: Array | None = None) -> Array:
        r"""The log-plan $\log \pi_{ij}$ of row $i$ and noise $j$, `(n, n)`; arguments as in the call."""
        geometry, problem, solver = _ott()
        apart, cost = _cost(noise, data, condition, self.condition_weight)
        apart, cost = jax.lax.stop_gradient((apart, cost))
        epsilon = DEFAULT_EPSILON * jnp.mean(apart) if self.epsilon is None else self.epsilon
        solve = solver.Sinkhorn(max_iterations=self.max_iterations)
        found = solve(problem.LinearProblem(geometry.Geometry(cost_matrix=cost, epsilon=epsilon)))
        return (found.f[:, None] + found.g[None] - cost) / epsilon

    def __call__(self, noise: Array, data: Array, condition: Array | None, key: PRNGKeyArray) -> Array:
        plan = self.log_plan(noise, data, condition)
        drawn = jax.random.categorical(key, plan, axis=1)
        # Noise stays in order if a cost is not finite; then the loss is not finite either, and `fit` skips the step.
        return noise[..., jnp.where(jnp.isfinite(plan).all(), drawn, jnp.arange(len(plan)))]


def _weight(name: str, weight: float | None) -> float | None:
    if weight is not None and not weight >= 0:
        raise ValueError(message(name, "condition_weight >= 0", repr(weight), "0 ignores the condition."))
    return weight


def _ott() -> tuple[Any, Any, Any]:
    """The modules of ott-jax, imported here because they are optional and take a second."""
    try:
        from ott.geometry import geometry
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import sinkhorn
    except ImportError as error:
        fix = "Install it: pip install 'pushforward[ott]'. Without it use OptimalTransport()."
        raise MissingPackageError(message("Sinkhorn", "the package ott-jax", "none", fix), name="ott") from error
    return geometry, linear_problem, sinkhorn


def _cost(noise: Array, data: Array, condition: Array | None, weight: float | None) -> tuple[Array, Array]:
    """The squared distances of rows and noise, `(n, n)`, without and with the cost of conditions."""
    distances = _squared_distances(data, noise)
    if condition is None:
        return distances, distances
    apart = _squared_distances(condition, condition).astype(distances.dtype)
    if weight is None:
        spread = jnp.mean(apart)  # 0 where all conditions are the same, and then they cost nothing
        scale = jnp.where(spread > 0, 100 * jnp.mean(distances) / jnp.where(spread > 0, spread, 1), 0)
    else:
        scale = jnp.asarray(weight, distances.dtype)
    return distances, distances + scale * apart


def _squared_distances(a: Array, b: Array) -> Array:
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    # Distances are taken about the mean, to lose least to rounding, and by one row, so that equal rows have exactly 0.
    origin = b[:, :1] + jnp.mean(b - b[:, :1], axis=1, keepdims=True)
    a, b = a - origin, b - origin
    product = jnp.matmul(a.T, b, precision="highest")
    return jnp.maximum(jnp.sum(a**2, 0)[:, None] + jnp.sum(b**2, 0)[None] - 2 * product, 0)


def _assign(cost: Array) -> np.ndarray:
    """The column that the assignment gives each row, or the row's own number if a cost is not finite."""
    table = np.asarray(cost, np.float64)
    if not np.isfinite(table).all():
        return np.arange(len(table), dtype=np.int32)
    return linear_sum_assignment(table)[1].astype(np.int32)
