"""Images as whole numbers: arrays of any usual layout and bit depth become levels, channels first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from pushforward._checks import check_int, message
from pushforward.distributions.dequantized import MAX_LEVELS
from pushforward.images.zoo.plan import image_shape
from pushforward.tables.errors import DataError

Layout = Literal["channels_first", "channels_last"]
LAYOUTS: tuple[Layout, ...] = ("channels_first", "channels_last")
CHANNELS = (1, 2, 3, 4)  # numbers of channels by which a layout is told
# Bit depths that the type of an array says by itself.
LEVELS_OF = {"bool": 2, "uint8": 256, "uint16": 65536}


def level_type(n_levels: int) -> np.dtype:
    """The type in which images of that many levels are stored."""
    return np.dtype(np.uint8 if n_levels <= LEVELS_OF["uint8"] else np.uint16)


@dataclass(frozen=True)
class Images:
    """Images as levels of their pixels.

    Attributes:
        levels: Whole numbers `(n, C, H, W)` from 0 to `n_levels - 1`, of type uint8 or uint16; or `FileLevels`, which
            decodes files when they are asked for.
        n_levels: Number of levels: 2, 256 or 65,536 for pixels of 1, 8 or 16 bits.
        labels: A class `(n,)` for each image: numbers or words; None without classes.
        source: Where they come from, for messages.
        names: Names of the files, if they come from files.
    """

    levels: Any
    n_levels: int
    labels: np.ndarray | None = None
    source: str = "images"
    names: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.levels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape `(C, H, W)` of an image."""
        c, h, w = self.levels.shape[1:]
        return c, h, w

    def take(self, rows: np.ndarray) -> Images:
        """Some of the images."""
        labels = None if self.labels is None else self.labels[rows]
        names = tuple(self.names[int(row)] for row in rows) if self.names else ()
        return replace(self, levels=self.levels[rows], labels=labels, names=names)


def images_of(
    array: Any,
    labels: Any = None,
    *,
    n_levels: int | None = None,
    layout: Layout | None = None,
    source: str = "images",
) -> Images:
    """Arrays as levels.

    Args:
        array: Whole numbers of shape `(n, H, W)`, `(n, H, W, C)` or `(n, C, H, W)`. The type of uint8, uint16 and bool
            arrays says how many levels there are; other types need `n_levels`.
        labels: A class for each image, `(n,)`: numbers or words.
        n_levels: Number of levels, if the type does not say it or says another one.
        layout: `"channels_first"` or `"channels_last"`; None tells it by an axis of 1 to 4 channels.
        source: Where they come from, for messages.

    Raises:
        DataError: The array has no images, is of an ambiguous layout, or holds other numbers than levels.
        ValueError: `layout` or `n_levels` is out of its bounds.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(message("layout", f"one of {', '.join(LAYOUTS)}", repr(layout), "None tells it by the shape."))
    values = np.asarray(array)
    if values.dtype == object or values.dtype.kind not in "biuf":
        fix = "Stack images of one size into one array of whole numbers."
        raise DataError("non-numeric", message(source, "an array of numbers", f"dtype {values.dtype}", fix))
    values = channels_first(values, layout, source)
    if not len(values):
        raise DataError(
            "empty", message(source, "one image or more", "none", "Pass an array (n, H, W) or (n, C, H, W).")
        )
    image_shape(source, values.shape[1:])
    known = LEVELS_OF.get(values.dtype.name)
    if n_levels is None:
        if known is None:
            raise DataError("format", _of_unknown_depth(values, source))
        n_levels = known
    n_levels = check_int(source, "n_levels", n_levels, 2, MAX_LEVELS)
    low, high = values.min(), values.max()
    whole = values.dtype.kind != "f" or bool(np.all(values == np.floor(values)))
    if not (whole and low >= 0 and high <= n_levels - 1):
        got = f"numbers from {low} to {high}" if whole else f"fractions, from {low:.6g} to {high:.6g}"
        raise DataError("format", message(source, f"whole numbers from 0 to {n_levels - 1}", got, _depth_fix(values)))
    levels = values.astype(level_type(n_levels))
    return Images(levels, n_levels, labels_of(labels, len(levels), source), source)


def channels_first(values: np.ndarray, layout: Layout | None, source: str) -> np.ndarray:
    """The array as `(n, C, H, W)`.

    Raises:
        DataError: It has another number of axes, or its layout cannot be told.
    """
    if values.ndim == 3:
        return values[:, None]
    if values.ndim != 4:
        fix = "Reshape it: (n, H, W) is of one channel; for a single image write image[None]."
        raise DataError(
            "format", message(source, "images (n, H, W), (n, H, W, C) or (n, C, H, W)", f"{values.shape}", fix)
        )
    if layout is None:
        first, last = values.shape[1] in CHANNELS, values.shape[3] in CHANNELS
        if first == last:
            expected = "one axis of channels (1 to 4 of them), the second or the last"
            fix = "Say which: layout='channels_first' or layout='channels_last'."
            raise DataError("format", message(source, expected, f"shape {values.shape}", fix))
        layout = "channels_first" if first else "channels_last"
    return values if layout == "channels_first" else np.moveaxis(values, 3, 1)


def labels_of(labels: Any, n: int, source: str) -> np.ndarray | None:
    """The classes of images as an array of whole numbers or of words.

    Raises:
        DataError: There is not one label for each image, or a label is missing or a fraction.
    """
    if labels is None:
        return None
    found = np.asarray(labels)
    if found.shape != (n,):
        raise DataError("labels", message(source, f"{n} labels", f"shape {found.shape}", "Pass one for each image."))
    if found.dtype.kind == "f" and np.all(np.isfinite(found)) and np.all(found == np.floor(found)):
        found = found.astype(np.int64)
    if found.dtype.kind in "bui":
        return found.astype(np.int64)
    if found.dtype.kind == "O" and all(isinstance(label, str) for label in found):
        found = found.astype(str)
    if found.dtype.kind != "U":
        fix = "A label is a whole number or a word."
        raise DataError("labels", message(source, "labels that name classes", f"dtype {found.dtype}", fix))
    return found


def _of_unknown_depth(values: np.ndarray, source: str) -> str:
    expected = "pixels whose number of levels is known (uint8 has 256)"
    return message(source, expected, f"an array of {values.dtype} up to {values.max():.6g}", _depth_fix(values))


def _depth_fix(values: np.ndarray) -> str:
    """What to do about numbers that are no levels."""
    fraction = values.dtype.kind == "f" and not np.all(values == np.floor(values))
    if fraction and np.min(values) >= 0 and np.max(values) <= 1:
        return "For pixels that were divided by 255 pass (255 * images).round().astype('uint8')."
    if fraction:
        return "Bits per dimension are those of whole numbers: pass the pixels as they were stored."
    return "Say how many levels the pixels have: n_levels=, one more than the largest that is possible."
