"""The file of compressed images: what it says of itself, and the checks that come before anything is decoded."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np

from pushforward.images.compression.fixed_point import SHIFTS

# Like PNG's, it tells a transfer that changed line ends or lost the eighth bit.
MAGIC = b"\x89PFZ\r\n\x1a\n"
# Format 2 is format 1 with a class of each image, written with even masses, before the first pixel.
VERSION, WITH_CLASSES = 1, 2
# Channels, height, width, levels, images at once; images, shifts, words; digests of the model and of the images.
HEADER = struct.Struct("<HIIIIIQIQ16s16s")
SHIFT = struct.Struct("<QB")
CHECKSUM = struct.Struct("<I")


class CompressedImagesError(ValueError):
    """A file of compressed images is damaged, altered, too large, or of another model; no image of it was returned."""


@dataclass(frozen=True)
class Container:
    """What the file holds.

    Args:
        shape: Shape `(C, H, W)` of an image.
        n_levels: Number of levels.
        at_once: Number of images that are coded together.
        n_images: Number of images.
        shifts: Number of the grid's shift by the step at which it is not 0, counted over all groups of images.
        words: What the coder wrote, in 32 bits each.
        model: Digest of the model, 16 bytes.
        images: Digest of the images, 16 bytes.
        classes: Whether the words begin with the class of each image.
    """

    shape: tuple[int, int, int]
    n_levels: int
    at_once: int
    n_images: int
    shifts: dict[int, int]
    words: np.ndarray
    model: bytes
    images: bytes
    classes: bool = False

    def to_bytes(self) -> bytes:
        """The contents of the file."""
        head = HEADER.pack(
            WITH_CLASSES if self.classes else VERSION,
            *self.shape,
            self.n_levels,
            self.at_once,
            self.n_images,
            len(self.shifts),
            len(self.words),
            self.model,
            self.images,
        )
        shifts = b"".join(SHIFT.pack(step, shift) for step, shift in self.shifts.items())
        data = MAGIC + head + shifts + self.words.astype("<u4").tobytes()
        return data + CHECKSUM.pack(zlib.crc32(data))

    @classmethod
    def from_bytes(cls, data: bytes) -> Container:
        """The parts of a file, each checked against its length and checksum.

        Raises:
            CompressedImagesError: The file is no such file, of a later version, truncated, or altered.
        """
        if not data.startswith(MAGIC[:4]):
            raise CompressedImagesError("decompress: expected a file that `compress` wrote, got another kind of file.")
        if not data.startswith(MAGIC):
            fix = "Copy it in binary mode."
            raise CompressedImagesError(f"decompress: the file was changed on the way, as text transfers do. {fix}")
        least = len(MAGIC) + HEADER.size + CHECKSUM.size
        if len(data) < least:
            raise CompressedImagesError(f"decompress: the file is truncated: {len(data)} of at least {least} bytes.")
        version, *rest = HEADER.unpack_from(data, len(MAGIC))
        if version not in (VERSION, WITH_CLASSES):
            fix = "Use the version of pushforward that wrote it."
            expected = f"format {VERSION} or {WITH_CLASSES}"
            raise CompressedImagesError(f"decompress: expected {expected}, got {version}. {fix}")
        c, height, width, n_levels, at_once, n_images, n_shifts, n_words, model, images = rest
        due = least + SHIFT.size * n_shifts + 4 * n_words
        if len(data) != due:
            what = "truncated" if len(data) < due else "longer than it says"
            raise CompressedImagesError(f"decompress: the file is {what}: {len(data):,} bytes instead of {due:,}.")
        if zlib.crc32(data[: -CHECKSUM.size]) != CHECKSUM.unpack_from(data, due - CHECKSUM.size)[0]:
            raise CompressedImagesError("decompress: the file is damaged or altered: its checksum does not fit.")
        start = len(MAGIC) + HEADER.size
        pairs = [SHIFT.unpack_from(data, start + k * SHIFT.size) for k in range(n_shifts)]
        if min(at_once, n_levels - 1, c, height, width) < 1 or any(shift >= len(SHIFTS) for _, shift in pairs):
            raise CompressedImagesError("decompress: the file's header is not one that `compress` writes.")
        words = np.frombuffer(data, "<u4", n_words, start + n_shifts * SHIFT.size).astype(np.uint32)
        sizes: tuple[int, int, int] = (c, height, width)
        facts = (dict(pairs), words, model, images, version == WITH_CLASSES)
        return cls(sizes, n_levels, at_once, n_images, *facts)
