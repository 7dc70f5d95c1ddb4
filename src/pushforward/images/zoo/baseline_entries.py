"""Entries of the models that others are measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from pushforward.images.zoo.registry import Images, image_entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow


@image_entry(
    "baseline.gaussian",
    Images,
    kind="continuous",
    source="Chen, Wiesel, Eldar, Hero, 2010, eq. 23, arXiv 0907.4698",
)
def gaussian(key: PRNGKeyArray, **options: Unpack[Images]) -> Flow:
    r"""A Gaussian with a full covariance, $x = m + B c + D A z$, in closed form: the baseline of every table.

    It is not trained: `ImageDensity` sets mean and covariance from the images, with the correlations shrunken by the
    amount that suits their number. Classes move its mean.
    """
    return make("gaussian", key, options)
