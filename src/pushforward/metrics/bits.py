"""Bits per dimension, the unit in which densities of images are published."""

from __future__ import annotations

import math


def bits_per_dim(mean_nats: float, dim: int, offset_nats: float = 0.0) -> float:
    r"""Bits per dimension of a mean log-density: how many bits a code of this model spends on each number.

    $-(\ell + c) / (d \ln 2)$, where $\ell$ is `mean_nats`, $c$ `offset_nats` and $d$ `dim`. Lower is better.

    A density over other units is another density: 8-bit pixels, dequantised and divided by 256 before they were
    modelled, need `offset_nats = -dim * log(256)`, which brings the density back to one per pixel level. Only then is
    the result a bound on a lossless code, and comparable with published figures.

    Args:
        mean_nats: Mean log-density per row, in nats.
        dim: Number of values per row.
        offset_nats: Number of nats added to `mean_nats`: the log-determinant of the map from the published units to the
            modelled ones.

    Returns:
        Bits per dimension; NaN where `mean_nats` is.

    Raises:
        TypeError: The argument `dim` is no integer.
        ValueError: The argument `dim` is smaller than 1.

    Example:
        >>> import math
        >>> from pushforward.metrics import bits_per_dim
        >>> bits_per_dim(0.0, 3072, offset_nats=-3072 * math.log(256))  # uniform over 256 levels
        8.0
    """
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"bits_per_dim: expected an integer dim, got {type(dim).__name__} {dim!r}. Pass x.shape[1].")
    if dim < 1:
        raise ValueError(f"bits_per_dim: expected dim >= 1, got {dim}. Pass the numbers per row, such as x.shape[1].")
    return -(float(mean_nats) + float(offset_nats)) / (dim * math.log(2))
