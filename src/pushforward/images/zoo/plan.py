"""What a model of images is built of: a checked order that goes from its entry to its builder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray, Shape
from pushforward.flows.options import MAX_EVENT
from pushforward.images.zoo.registry import ImageEntry

# Largest image, in numbers: a typing error must not allocate a terabyte. It is 3 x 512 x 512 and a little more.
MAX_NUMBERS = 1_000_000


@dataclass(frozen=True)
class ImagePlan:
    """What a model of images is built of.

    Args:
        entry: Entry of the zoo.
        key: JAX key for the initial weights.
        shape: Shape `(C, H, W)` of an image.
        cond_shape: Shape of the condition: `(n_classes,)`, or None.
        options: Object with all the entry's options as attributes.
    """

    entry: ImageEntry
    key: PRNGKeyArray
    shape: tuple[int, int, int]
    cond_shape: Shape | None
    options: Any

    @property
    def name(self) -> str:
        """The name of the model, for messages."""
        return self.entry.name

    @property
    def size(self) -> int:
        """How many numbers an image has."""
        return math.prod(self.shape)


def plan_of(entry: ImageEntry, key: Any, given: Mapping[str, Any]) -> ImagePlan:
    """The order for a model, every argument checked.

    Raises:
        TypeError: An argument is missing, unknown or of another kind.
        ValueError: An argument is out of its bounds, or the model takes no classes.
    """
    name, options = entry.name, dict(given)
    if "shape" not in options:
        fix = f"Write pf.images.{name}(key, shape=(3, 32, 32))."
        raise TypeError(message(name, "shape=, the shape (C, H, W) of an image", "none", fix))
    shape = image_shape(name, options.pop("shape"))
    n_classes = options.pop("n_classes", None)
    if n_classes is not None and not entry.conditional:
        raise ValueError(message(name, "no n_classes", f"{n_classes!r}", "This model takes no classes: leave it out."))
    cond_shape = None if n_classes is None else (check_int(name, "n_classes", n_classes, 1, MAX_EVENT),)
    return ImagePlan(entry, as_key(name, key), shape, cond_shape, SimpleNamespace(**entry.arguments(options)))


def image_shape(name: str, shape: Any) -> tuple[int, int, int]:
    """The shape of an image as three integers.

    Raises:
        TypeError: It is no sequence of integers.
        ValueError: It has not three parts, or an image would have more than a million numbers.
    """
    fix = "Write channels, height and width, such as shape=(1, 28, 28)."
    if isinstance(shape, int | float | str):
        raise TypeError(message(name, "shape a tuple (C, H, W)", f"{shape!r}", fix))
    parts = tuple(shape)
    if len(parts) != 3:
        raise ValueError(message(name, "shape of three integers (C, H, W)", f"{parts!r}", fix))
    c, h, w = (check_int(name, "shape", part, 1, MAX_NUMBERS) for part in parts)
    if c * h * w > MAX_NUMBERS:
        raise ValueError(message(name, f"at most {MAX_NUMBERS:,} numbers in an image", f"{c * h * w:,}", fix))
    return c, h, w
