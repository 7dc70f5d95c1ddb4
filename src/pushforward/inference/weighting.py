"""Draws of a flow, weighted so that they stand for the target: importance sampling and resampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int, message, package_of
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys, rows_last
from pushforward.distributions import AbstractDistribution
from pushforward.inference.latent_space import check_proposal
from pushforward.metrics import effective_sample_size, importance_log_z, pareto_k
from pushforward.metrics.weights import MOST_K, heavy_tailed

CHUNK_ROWS = 8192  # draws per call of the compiled program at most, which bounds its memory
GOOD_K = 0.5  # up to this index weighted means have standard errors


@dataclass(frozen=True, eq=False)
class Importance:
    r"""Draws $x_i$ of a flow $q$ with weights $\tilde p(x_i) / q(x_i)$ for a target $\tilde p = Z p$.

    Attributes:
        draws: Draws `(n, *event_shape)` of the flow.
        log_weights: Logarithms `(n,)` of the weights in nats; minus infinity where the target is zero, NaN where it is
            not defined.
        log_z: Estimate of $\log Z$, the logarithm of the mean weight, which is unbiased for $Z$.
        log_z_error: Standard error of `log_z`.
        ess: Effective number of draws, between 0 and n.
        pareto_k: Tail index of the weights (`metrics.pareto_k`): above 0.7 nothing here is reliable
            unless the weights are nearly equal (`ess` above 0.9 n).
        n_undefined: Number of draws at which the weight is NaN or infinite. If there are any, the figures are NaN.
    """

    draws: np.ndarray
    log_weights: np.ndarray
    log_z: float
    log_z_error: float
    ess: float
    pareto_k: float
    n_undefined: int

    @staticmethod
    def of(draws: Any, log_target: Any, log_flow: Any) -> Importance:
        """The weighted draws with their figures, from log-densities that are known already.

        Args:
            draws: Draws `(n, *event_shape)` of the flow.
            log_target: Log-densities `(n,)` of the target at the draws.
            log_flow: Log-densities `(n,)` of the flow at the draws.
        """
        draws = np.asarray(draws)
        with np.errstate(invalid="ignore"):
            weights = np.asarray(log_target, np.float64) - np.asarray(log_flow, np.float64)
        undefined = int((np.isnan(weights) | (weights == math.inf)).sum())
        if undefined:
            return Importance(draws, weights, math.nan, math.nan, math.nan, math.nan, undefined)
        if weights.max() == -math.inf:
            return Importance(draws, weights, -math.inf, math.nan, 0.0, math.inf, 0)
        log_z = importance_log_z(weights)
        return Importance(draws, weights, *log_z, effective_sample_size(weights), pareto_k(weights), 0)

    @property
    def weights(self) -> np.ndarray:
        """The weights `(n,)`, normalised so that they sum to 1; NaN if the log-weights leave them undefined."""
        with np.errstate(invalid="ignore"):
            weights = np.exp(self.log_weights - self.log_weights.max())
            return weights / weights.sum()

    @property
    def sentence(self) -> str:
        """The figures, and what they allow, in words."""
        n = len(self.log_weights)
        if self.n_undefined:
            return (
                f"The weight is undefined at {self.n_undefined:,} of {n:,} draws: the target's log-density must be a "
                "number, or minus infinity where the density is zero."
            )
        if self.ess == 0:
            return f"The target is zero at all of {n:,} draws: the flow and the target do not overlap."
        figures = (
            f"log Z = {self.log_z:.4f} +- {self.log_z_error:.4f} from {n:,} draws, worth {self.ess:,.0f} of the target "
            f"(Pareto k {self.pareto_k:.2f})"
        )
        if self.pareto_k <= GOOD_K:
            return f"{figures}: the weights have a finite variance, and weighted means can be trusted."
        if math.isnan(self.pareto_k):
            return f"{figures}: too few draws to judge the weights."
        if self.pareto_k > MOST_K and not heavy_tailed(self.pareto_k, self.ess, n):
            return f"{figures}: the weights are nearly equal, so that their tail has little weight, and are of use."
        if self.pareto_k <= MOST_K:
            return f"{figures}: weighted means are of use, but converge slowly; take more draws or a better flow."
        return f"{figures}: a few draws have most of the weight, and the figures are not reliable; fit a better flow."

    def resample(self, n: int, key: PRNGKeyArray) -> np.ndarray:
        """Equally weighted draws `(n, *event_shape)`, chosen from the draws by their weights in random order.

        This is sampling-importance-resampling. A draw may occur several times; with n far below `ess` few do.

        Args:
            n: Number of draws to choose.
            key: JAX key.

        Raises:
            ImportError: blackjax is not installed.
            ValueError: The weights are undefined, or all zero.
        """
        resampling = package_of("Importance.resample", "blackjax.smc.resampling", "inference")
        if self.n_undefined or self.ess == 0:
            fix = "Look at its sentence."
            raise ValueError(message("Importance.resample", "weights above zero", "undefined or zero ones", fix))
        choose, shuffle = jax.random.split(as_key("Importance.resample", key))
        with jax.enable_x64(True):  # sums of many small weights lose digits in float32
            places = resampling.systematic(choose, jnp.asarray(self.weights), check_int("resample", "n", n, 1))
            return self.draws[np.asarray(jax.random.permutation(shuffle, places))]


def importance(flow: AbstractDistribution, target: Callable[..., Array], n: int, key: PRNGKeyArray) -> Importance:
    r"""Draw from a flow, and weight the draws so that they stand for the target.

    The mean weight $\frac1n \sum_i \tilde p(x_i) / q(x_i)$ is unbiased for the target's constant $Z$ if $q > 0$
    wherever $\tilde p > 0$. No weight tells of a mode that no draw has reached.

    Args:
        flow: The model $q$ to draw from, unconditional.
        target: The log-density $\log \tilde p$ of one event in nats, such as a `Target`, as a JAX function.
        n: Number of draws.
        key: JAX key; the draws are those of `flow.sample(key, n)`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: The flow is conditional or has a random log-density, or the target does not give one number.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(loc=0.0, scale=1.2, shape=(2,)))
        >>> target = pf.Target(lambda x: 3.0 - 0.5 * (x @ x), 2)  # Z is 2 pi e^3
        >>> found = pf.inference.importance(flow, target, 2000, jax.random.key(0))
        >>> abs(found.log_z - 4.8379) < 4 * found.log_z_error < 0.1
        True
        >>> found.resample(100, jax.random.key(1)).shape
        (100, 2)
    """
    check_proposal("importance", flow)
    if not callable(target):
        raise TypeError(message("importance", "a function of one event", type(target).__name__, "Pass a pf.Target."))
    n, key = check_int("importance", "n", n, 1), as_key("importance", key)
    size = min(n, CHUNK_ROWS)
    parts = [_weighted(flow, target, key, start, size=size) for start in range(0, n, size)]
    draws, log_target, log_flow = jax.tree.map(lambda *arrays: np.concatenate(arrays)[:n], *parts)
    return Importance.of(draws, log_target, log_flow)


@eqx.filter_jit
def _weighted(
    flow: AbstractDistribution, target: Callable[..., Array], key: PRNGKeyArray, start: int, *, size: int
) -> tuple[Array, Array, Array]:
    """Draws number `start` and so on, and the log-densities of the target and the flow there."""
    keys = batch_keys(key, size, start)
    draws, log_flow = rows_last(lambda keys: flow.sample_and_log_prob_rows(keys, None), ((size,),), keys)
    log_target = jax.vmap(target)(draws)
    if log_target.shape != (size,):
        fix = "Return one number for an event."
        raise ValueError(message("importance", "a target that gives ()", f"{log_target.shape[1:]}", fix))
    return draws, log_target, log_flow
