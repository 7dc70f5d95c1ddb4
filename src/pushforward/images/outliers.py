r"""Images unlike those of the fit, in spite of the trap that a flow gives simpler images a higher density.

A density says how probable an image is among all images, and most of that is how simple it is: a flow of digits gives
a blank or a blurred image more density than any digit. What tells an image of another kind is the density beside that
of a model of images in general, or beside the image's own complexity.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from pushforward._checks import check_number, message, package_of
from pushforward.images.asked import model_of


def perturbed(images: Any, rate: float = 0.15, *, n_levels: int = 256, random_state: int = 0) -> np.ndarray:
    r"""The images with a share of their numbers drawn anew, uniform over the levels: what a background model is fit on.

    The noise destroys what is drawn and keeps what is common, such as how many pixels are dark.

    Args:
        images: Images of levels `(n, C, H, W)` or `(n, H, W)`.
        rate: Probability with which each number is drawn anew.
        n_levels: Number of levels.
        random_state: Seed.

    Raises:
        ValueError: The rate is no probability.

    Source: Ren, Liu, Fertig, Snoek, Poplin, DePristo, Dillon, Lakshminarayanan, 2019, section 3, arXiv 1906.02845.
    """
    check_number("perturbed", "rate", rate, low=0.0, high=1.0)
    images, rng = np.asarray(images), np.random.default_rng(random_state)
    anew = rng.random(images.shape) < rate
    return np.where(anew, rng.integers(0, n_levels, images.shape), images).astype(images.dtype)


def likelihood_ratio(density: Any, background: Any, images: Any) -> np.ndarray:
    r"""$\log p(x) - \log p_0(x)$ in nats, `(n,)`, beside a background model $p_0$; low for images of another kind.

    Args:
        density: A fitted `ImageDensity`.
        background: Another one, fitted on `perturbed` images or on images in general.
        images: Images as `score_samples` takes them.

    Raises:
        ValueError: The two models are for images of different shapes.

    Source: Ren et al., 2019, eq. 5, arXiv 1906.02845.
    """
    own, other = model_of(density).event_shape, model_of(background).event_shape
    if own != other:
        fix = "Fit the background model on images of the same size."
        raise ValueError(message("likelihood_ratio", f"a background model of images {own}", f"{other}", fix))
    return np.asarray(density.score_samples(images)) - np.asarray(background.score_samples(images))


def complexity_ratio(density: Any, images: Any) -> np.ndarray:
    r"""$\log p(x) + L(x)$ in nats, `(n,)`, with the length $L$ of the image as PNG; low for images of another kind.

    A PNG file is a model of images in general, so that this is a likelihood ratio that needs no second fit.

    Args:
        density: A fitted `ImageDensity`.
        images: Images `(n, C, H, W)` or `(n, H, W)` of levels up to 255.

    Source: Serrà, Álvarez, Gómez, Slizovskaia, Núñez, Luque, 2020, eq. 1, arXiv 1909.11480.
    """
    return np.asarray(density.score_samples(images)) + math.log(2) * png_bits(images)


def png_bits(images: Any) -> np.ndarray:
    """The length in bits of the pixels of each image as PNG, `(n,)`, without the file's constant parts.

    Each channel is compressed as a grey image, so that any number of channels will do.

    Args:
        images: Images `(n, C, H, W)` or `(n, H, W)` of whole numbers from 0 to 255.

    Raises:
        ValueError: The images have other axes, or hold other numbers.
    """
    levels = np.asarray(images)
    if levels.ndim == 3:
        levels = levels[:, None]
    if levels.ndim != 4:
        fix = "Stack them on a first axis."
        raise ValueError(message("png_bits", "images (n, C, H, W) or (n, H, W)", f"shape {levels.shape}", fix))
    whole = levels.astype(np.uint8)
    if not np.array_equal(whole, levels):
        fix = "PNG holds 8 bits a number: round and clip."
        raise ValueError(message("png_bits", "whole numbers from 0 to 255", "others", fix))
    return np.array([8.0 * sum(_png_length(channel) for channel in image) for image in whole])


def _png_length(channel: np.ndarray) -> int:
    """The length in bytes of the compressed pixels (the IDAT chunks) of a grey image `(H, W)`."""
    package = package_of("png_bits", "PIL.Image", "images")
    held = io.BytesIO()
    package.fromarray(channel).save(held, format="png", optimize=True)
    data, place, length = held.getvalue(), 8, 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        length += size if data[place + 4 : place + 8] == b"IDAT" else 0
        place += size + 12
    return length
