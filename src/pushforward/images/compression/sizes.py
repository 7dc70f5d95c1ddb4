"""How large images are otherwise: as one PNG picture, and under zstd."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa

from pushforward._checks import package_of

ZSTD_LEVEL = 19


def png_size(levels: np.ndarray, n_levels: int) -> int | None:
    """Bytes of one PNG picture of all images, one below the other, by Pillow's slowest setting.

    None if there are no images, or their channels or levels are none of PNG's.

    Args:
        levels: Levels `(n, C, H, W)`.
        n_levels: Number of levels; two are stored as single bits.
    """
    pictures = package_of("png_size", "PIL.Image", "images")
    n, channels, height, width = levels.shape
    if not n or channels not in (1, 3) or n_levels > 256:
        return None
    strip = np.moveaxis(levels, 1, 3).reshape(n * height, width, channels).astype(np.uint8)
    picture = pictures.fromarray(strip[..., 0] if channels == 1 else strip)
    if channels == 1 and n_levels == 2:
        picture = pictures.fromarray((strip[..., 0] * 255).astype(np.uint8)).convert("1")
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    return len(buffer.getvalue())


def zstd_size(levels: np.ndarray, n_levels: int) -> int:
    """Bytes of the levels, eight of which are packed into a byte if there are two, under zstd at level 19.

    Args:
        levels: Levels `(n, C, H, W)`.
        n_levels: Number of levels.
    """
    data = np.packbits(levels.astype(bool)).tobytes() if n_levels == 2 else levels.tobytes()
    return len(pa.Codec("zstd", compression_level=ZSTD_LEVEL).compress(data, asbytes=True))
