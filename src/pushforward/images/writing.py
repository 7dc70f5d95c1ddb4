"""Images are written: a grid as one PNG file, one PNG file each in a folder, or an NPZ file."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from pushforward._checks import message, package_of
from pushforward.io.files import check_file_target, write_file

# Pixels of a file are of these numbers of levels: fewer are stretched, so that a picture shows black and white.
EIGHT_BITS, SIXTEEN_BITS = 256, 65536
GAP = 2  # pixels between the images of a grid
SEEN = 480  # pixels up to which the longer side of a grid is enlarged, by a whole number
PICTURES = (".png",)


def write_images(levels: Any, path: str | os.PathLike, *, n_levels: int = EIGHT_BITS, force: bool = False) -> None:
    """Write images to a file or a folder, by the suffix of the path.

    Args:
        levels: Levels `(n, C, H, W)` of one, three or four channels.
        path: `.png` for one picture of all, in a grid of which small images are enlarged; `.npz` for the levels as they
            are, as `images` of shape `(n, H, W)` or `(n, H, W, C)`; a name without a suffix for a folder of PNG files.
        n_levels: Number of levels; those of a picture are stretched to 256.
        force: Whether what exists is replaced; of a folder, files of the same names.

    Raises:
        ValueError: The suffix is unknown, or a picture cannot have so many channels.
        FileExistsError: The file exists and `force` is False.
    """
    target, levels = Path(path), np.asarray(levels)
    suffix = target.suffix.lower()
    if suffix == ".npz":
        buffer = io.BytesIO()
        # As most archives have them, and as no reader mistakes them: (n, H, W) or (n, H, W, C).
        np.savez_compressed(buffer, images=levels[:, 0] if levels.shape[1] == 1 else np.moveaxis(levels, 1, 3))
        write_file(target, lambda file: file.write(buffer.getvalue()), force)
    elif suffix in PICTURES:
        data = png_of(enlarged(grid(levels, n_levels)))
        write_file(target, lambda file: file.write(data), force)
    elif not suffix:
        target.mkdir(parents=True, exist_ok=True)
        names = [target / f"{i:0{len(str(len(levels) - 1))}d}.png" for i in range(len(levels))]
        for name in names:
            check_file_target(name, force)
        for name, image in zip(names, levels, strict=True):
            data = png_of(stretched(image, n_levels))
            write_file(name, lambda file, data=data: file.write(data), force)
    else:
        fix = "Write a grid.png, an images.npz, or a folder, whose name has no suffix."
        raise ValueError(message("write_images", "a path that ends in .png or .npz", f"{target.name}", fix))


def check_images_target(path: Path, force: bool) -> None:
    """Raise before the work starts if images cannot be written there.

    Args:
        path: As for `write_images`.
        force: Whether what exists is replaced.
    """
    if path.suffix.lower() in (".npz", *PICTURES):
        check_file_target(path, force)
    elif path.suffix:
        write_images(np.zeros((0, 1, 1, 1), np.uint8), path)  # the error of an unknown suffix
    elif path.exists() and not force and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path}: exists already. Pass --force (force=True) to write into it, or name another.")


def stretched(levels: np.ndarray, n_levels: int) -> np.ndarray:
    """Levels as numbers of 8 bits."""
    if n_levels == EIGHT_BITS:
        return levels.astype(np.uint8)
    return np.round(levels.astype(np.float64) * (255 / (n_levels - 1))).astype(np.uint8)


def grid(levels: np.ndarray, n_levels: int = EIGHT_BITS, columns: int | None = None) -> np.ndarray:
    """Images beside each other in one, `(C, H', W')`, with a gap of mid grey.

    Args:
        levels: Levels `(n, C, H, W)`.
        n_levels: Number of levels.
        columns: Number of images in a row; None makes the grid about square.
    """
    n, c, h, w = levels.shape
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    rows = -(-n // columns)
    sheet = np.full((c, rows * (h + GAP) - GAP, columns * (w + GAP) - GAP), 127, np.uint8)
    for place, image in enumerate(stretched(levels, n_levels)):
        top, left = (place // columns) * (h + GAP), (place % columns) * (w + GAP)
        sheet[:, top : top + h, left : left + w] = image
    return sheet


def enlarged(image: np.ndarray) -> np.ndarray:
    """An image `(C, H, W)` whose pixels became squares, so that small ones can be seen."""
    side = max(1, SEEN // max(image.shape[1:]))
    return image.repeat(side, axis=1).repeat(side, axis=2)


def png_of(image: np.ndarray) -> bytes:
    """The bytes of a PNG file of one image `(C, H, W)` of 8 bits.

    Raises:
        ValueError: A PNG file cannot have so many channels.
    """
    package = package_of("images", "PIL.Image", "images")
    if len(image) not in (1, 3, 4):
        fix = "Write an .npz file, or choose channels."
        raise ValueError(message("write_images", "1, 3 or 4 channels in a picture", f"{len(image)}", fix))
    buffer = io.BytesIO()
    package.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, 2)).save(buffer, format="PNG")
    return buffer.getvalue()
