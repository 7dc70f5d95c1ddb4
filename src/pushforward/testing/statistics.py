"""Two checks of samples that can fail: against a distribution function, and of a mean against its standard error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from pushforward.numerics.mean_error import mean_and_error
from pushforward.testing.trial import LawError

ALPHA = 1e-3  # probability of a false alarm; with a fixed seed a check fails always or never


def check_samples(samples: Any, cdf: Callable[[np.ndarray], np.ndarray], name: str, alpha: float = ALPHA) -> None:
    """Test by Kolmogorov and Smirnov whether these numbers were drawn from `cdf`.

    With 20,000 samples and the default level, a shift by 0.1 standard deviations is found with near certainty.

    Args:
        samples: Numbers, of any shape.
        cdf: Distribution function that they should have.
        name: Name of the quantity, for the message.
        alpha: Probability with which a right sampler may fail.

    Raises:
        LawError: The p-value is below `alpha`.
    """
    values = np.asarray(samples, np.float64).ravel()
    result: Any = stats.kstest(values, cdf)
    if not result.pvalue >= alpha:
        raise LawError(
            f"check_samples: {name}: {len(values)} samples are {result.statistic:.4f} from their distribution function "
            f"(Kolmogorov-Smirnov), p = {result.pvalue:.2g}, level {alpha}."
        )


def check_mean(values: Any, expected: float, name: str, standard_errors: float = 4.0) -> None:
    """Test whether the mean of independent values is within some standard errors of what it should be.

    Args:
        values: Independent numbers.
        expected: Mean that they should have.
        name: Name of the quantity, for the message.
        standard_errors: Number of standard errors that are allowed.

    Raises:
        LawError: The mean is farther off, or not finite.
    """
    values = np.asarray(values, np.float64).ravel()
    mean, error = mean_and_error(values)
    if not abs(mean - expected) <= standard_errors * error:
        raise LawError(
            f"check_mean: {name}: the mean of {len(values)} values is {mean:.6g}, expected {expected:.6g} "
            f"+- {standard_errors} x {error:.3g}."
        )
