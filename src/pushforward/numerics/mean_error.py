"""Means and their standard errors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def mean_and_error(values: Any, weights: Any = None, axis: int = 0) -> tuple[Any, Any]:
    r"""The mean $m = \sum_i w_i x_i / \sum_i w_i$ of independent values, and its standard error.

    The error is $\sqrt{\frac{k}{k - 1} \sum_i w_i^2 (x_i - m)^2} / \sum_i w_i$ with the number $k$ of positive weights:
    with equal weights the standard deviation (`ddof=1`) divided by $\sqrt k$. It is NaN where fewer than two values
    count or the mean is not finite.

    Args:
        values: Array of NumPy or JAX, one value at least along the axis; the results are of the same kind.
        weights: Weights `(n,)` along the axis, not negative; None weighs all values equally.
        axis: Axis of the values.

    Example:
        >>> import numpy as np
        >>> [round(float(number), 3) for number in mean_and_error(np.array([1.0, 2.0, 3.0, 6.0]))]
        [3.0, 1.08]
    """
    xp: Any = jnp if isinstance(values, jax.Array) else np
    values = xp.moveaxis(xp.asarray(values), axis, -1)
    n = values.shape[-1]
    with np.errstate(all="ignore"):
        if weights is None:
            mean, count = values.mean(axis=-1), xp.asarray(n, values.dtype)
            spread = ((values - mean[..., None]) ** 2).sum(axis=-1) / n**2
        else:
            share = weights / weights.sum()
            mean, count = values @ share, xp.sum(share > 0).astype(values.dtype)
            spread = (values - mean[..., None]) ** 2 @ share**2
        error = xp.sqrt(spread * (count / (count - 1)))
        return mean, xp.where(xp.isfinite(mean), error, xp.nan)
