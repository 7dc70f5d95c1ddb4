"""Normalising constants from weighted draws: importance sampling and the optimal bridge, with standard errors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_expit

from pushforward.metrics._arrays import vector
from pushforward.metrics.weights import log_weights_of
from pushforward.numerics.mean_error import mean_and_error


class LogZ(NamedTuple):
    """An estimate of the logarithm of a normalising constant.

    Args:
        value: Estimate of log Z, in nats.
        error: Its standard error, in nats.
    """

    value: float
    error: float


def importance_log_z(log_weights: Any) -> LogZ:
    r"""Estimate $\log Z$ by $\log \frac1n \sum_i w_i$ with weights $w_i = \tilde p(x_i) / q(x_i)$ of draws from $q$.

    The mean of the weights is unbiased for $Z$, so that its logarithm is too small on average, by half the square of
    its standard error. The error is that of the mean of the weights, divided by the mean.

    Args:
        log_weights: Logarithms `(n,)` of the weights; minus infinity is a weight of zero.

    Raises:
        ValueError: A log-weight is NaN or plus infinity, or all weights are zero.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import importance_log_z
        >>> importance_log_z(np.full(100, 2.0)).value
        2.0
    """
    weights = log_weights_of("importance_log_z", log_weights)
    top = weights.max()
    mean, error = mean_and_error(np.exp(weights - top))
    return LogZ(float(top + math.log(mean)), float(error / mean))


def bridge_log_z(at_target: Any, at_proposal: Any, *, n_effective: float | None = None) -> LogZ:
    r"""Estimate $\log Z$ by the optimal bridge between draws of the target and draws of a proposal $q$.

    With $l = \log \tilde p - \log q - \log Z$ and the shares $s_1 + s_2 = 1$ of the two kinds of draws, the estimate
    is the root of
    $$\frac{1}{n_2} \sum_{x \sim q} \frac{e^{l}}{s_1 e^{l} + s_2}
        = \frac{1}{n_1} \sum_{x \sim p} \frac{1}{s_1 e^{l} + s_2},$$
    which is where the iteration of Meng and Wong ends. It needs draws of the target, of MCMC for example. In return it
    bears a proposal with lighter tails than the target, whose importance weights have no variance.

    Args:
        at_target: Numbers $\log \tilde p(x) - \log q(x)$ `(n_1,)` at draws of the target; infinity where $q$ is zero.
        at_proposal: The same `(n_2,)` at draws of the proposal; minus infinity where the target is zero.
        n_effective: Effective number of the draws of the target if they are correlated; None counts each one.

    Returns:
        The estimate and its standard error. Where the target is zero at all draws of the proposal, or the proposal at
        all draws of the target, the two do not overlap: the value is NaN, and the error infinite.

    Raises:
        ValueError: A ratio is NaN, or infinite where it may not be, there are fewer than two, or `n_effective` is not
            positive.

    Source: Meng, Wong, 1996, Statistica Sinica 6, eq. 4.1; the error: Fruhwirth-Schnatter, 2004, Econometrics
        Journal 7, eq. 16.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import bridge_log_z
        >>> rng = np.random.default_rng(0)
        >>> def log_ratio(x):  # a normal density times e^3 over that of a normal of scale 2
        ...     return 3 - 0.5 * x**2 + x**2 / 8 + np.log(2)
        >>> value, error = bridge_log_z(log_ratio(rng.normal(size=4000)), log_ratio(2 * rng.normal(size=4000)))
        >>> abs(value - 3) < 4 * error < 0.1
        True
    """
    own, other = vector("bridge_log_z: at_target", at_target, least=2), vector("bridge_log_z", at_proposal, least=2)
    if np.isnan(own).any() or np.isnan(other).any() or (own == -math.inf).any() or (other == math.inf).any():
        raise ValueError(
            "bridge_log_z: expected ratios above -infinity at draws of the target and below infinity at draws of the "
            "proposal, got others. A draw must have a density under the law that it comes from."
        )
    n = float(len(own)) if n_effective is None else float(n_effective)
    if not n > 0 or not math.isfinite(n):
        raise ValueError(f"bridge_log_z: expected n_effective > 0, got {n_effective}. Leave it out to count each draw.")
    if other.max() == -math.inf or own.min() == math.inf:
        return LogZ(math.nan, math.inf)
    odds = math.log(n / len(other))  # log(s_1 / s_2)

    def log_terms(log_z: float) -> tuple[np.ndarray, np.ndarray]:
        """The logarithms of the two summands, times s_1 and s_2."""
        return log_expit(other - log_z + odds), log_expit(log_z - odds - own)

    def difference(log_z: float) -> float:
        first, second = log_terms(log_z)
        sums = np.logaddexp.reduce(first) - np.logaddexp.reduce(second)
        return float(sums - math.log(len(first)) + math.log(len(second)) - odds)

    # Every finite ratio bounds the root up to the number of draws: beyond, one of the means has the wrong size.
    finite = np.concatenate([own[np.isfinite(own)], other[np.isfinite(other)]])
    reach = abs(odds) + math.log(len(own) + len(other)) + 1
    value: Any = brentq(difference, finite.min() - reach, finite.max() + reach, xtol=1e-12)
    scaled = [mean_and_error(np.exp(terms - terms.max())) for terms in log_terms(value)]
    squared = [(error / mean) ** 2 for mean, error in scaled]
    return LogZ(float(value), math.sqrt(squared[0] + squared[1] * len(own) / n))
