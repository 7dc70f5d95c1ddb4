"""Image files: PNG and JPEG by Pillow, with its guard against bombs, one file at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pushforward._checks import message, package_of
from pushforward.images.reading.levels import level_type
from pushforward.images.zoo.plan import MAX_NUMBERS
from pushforward.tables.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")  # what is read, whatever a suffix says
# Channels and levels of the modes of Pillow that hold pixels as they are.
MODES = {"1": (1, 2), "L": (1, 256), "RGB": (3, 256), "RGBA": (4, 256), "I;16": (1, 65536)}
ORIENTATION = 0x0112  # number of the EXIF field that says how a camera was held
TURNED = (5, 6, 7, 8)  # values of it that exchange height and width


class Kind(NamedTuple):
    """The mode and size of an image file, by which files are of one kind."""

    mode: str
    height: int
    width: int

    @property
    def n_levels(self) -> int:
        """The number of levels of its pixels."""
        return MODES[self.mode][1]

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of its image, channels first."""
        return MODES[self.mode][0], self.height, self.width

    def __str__(self) -> str:
        return f"{self.mode} {self.height} x {self.width}"


def find_files(folder: Path) -> tuple[list[Path], np.ndarray | None]:
    """The image files of a folder, sorted, and their classes if they lie in its subfolders.

    Raises:
        DataError: There are none, or images lie in the folder itself and in its subfolders.
    """
    own = sorted(path for path in folder.iterdir() if is_image(path))
    groups = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    below = {group.name: sorted(path for path in group.iterdir() if is_image(path)) for group in groups}
    below = {name: paths for name, paths in below.items() if paths}
    if own and below:
        fix = "Name the folder of one class, or move the images into subfolders."
        got = f"{len(own)} images beside subfolders such as {next(iter(below))}"
        raise DataError("labels", message(str(folder), "images, or subfolders of images, one for each class", got, fix))
    if not own and not below:
        raise DataError("empty", message(str(folder), "PNG or JPEG files", "none", "They end in .png, .jpg or .jpeg."))
    if own:
        return own, None
    return [path for paths in below.values() for path in paths], np.repeat(
        list(below), [len(paths) for paths in below.values()]
    )


def is_image(path: Path) -> bool:
    """Whether a path has the suffix of an image file, and is no hidden one."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def kinds_of(paths: Sequence[Path]) -> Kind:
    """The kind that all files share, from their headers.

    Raises:
        DataError: A file is damaged or too large, or the files are of several kinds: the error names some of each.
    """
    found: dict[Kind, list[str]] = {}
    for path in paths:
        found.setdefault(_header(path), []).append(path.name)
    if len(found) == 1:
        return next(iter(found))
    by_size = sorted(found.items(), key=lambda item: -len(item[1]))
    words = "; ".join(f"{len(names)} of {kind}, such as {', '.join(names[:3])}" for kind, names in by_size[:4])
    depths = {kind.n_levels for kind in found}
    what = "one bit depth" if len(depths) > 1 else "one mode and size (height x width)"
    fix = "Convert them to one kind first, for densities of different pixels cannot be compared."
    raise DataError("format", message("images", f"files of {what}", words, fix))


class FileLevels:
    """The levels of image files, decoded when they are asked for, so that they need not fit into memory.

    Args:
        paths: The files.
        kind: Their kind, which each is held to when it is decoded.
    """

    def __init__(self, paths: Sequence[Path], kind: Kind):
        self.paths, self.kind = tuple(paths), kind
        self.shape = (len(self.paths), *kind.shape)
        self.dtype = level_type(kind.n_levels)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: Any) -> np.ndarray:
        """The levels `(m, C, H, W)` of some of the images, by a slice or by their numbers."""
        places = np.arange(len(self.paths))[rows]
        levels = np.empty((len(places), *self.kind.shape), self.dtype)
        for row, place in enumerate(places):
            levels[row] = decode(self.paths[place], self.kind)
        return levels


def decode(path: Path, kind: Kind | None = None) -> np.ndarray:
    """The levels `(C, H, W)` of one file.

    Args:
        path: The file.
        kind: The kind that it should be of; None takes any.

    Raises:
        DataError: The file is damaged, too large or of another kind.
    """
    with _opened(path) as image:
        found = _kind_of(image, path)
        if kind is not None and found != kind:
            raise DataError("format", message(str(path), str(kind), str(found), "The file has changed: read anew."))
        turned: Any = package_of("images", "PIL.ImageOps", "images").exif_transpose(image)
        pixels = np.asarray(turned)
    pixels = pixels.astype(level_type(found.n_levels))
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


def _header(path: Path) -> Kind:
    with _opened(path) as image:
        return _kind_of(image, path)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An image file, with what Pillow raises as errors that name the file; nothing but its header is read yet."""
    package = package_of("images", "PIL.Image", "images")
    try:
        with package.open(path, formats=FORMATS) as image:
            yield image
    except DataError:
        raise
    except (package.DecompressionBombWarning, package.DecompressionBombError) as error:
        fix = "Pillow refuses it as a bomb. Cut or shrink it first."
        raise DataError("too-large", message(str(path), "an image of usual size", str(error), fix)) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        fix = "It is damaged, or no PNG or JPEG file."
        raise DataError("unreadable", message(str(path), "an image", reason, fix)) from error


def _kind_of(image: Any, path: Path) -> Kind:
    width, height = image.size
    if image.getexif().get(ORIENTATION) in TURNED:
        width, height = height, width
    if image.mode not in MODES:
        fix = "Convert it to grey (L) or RGB first."
        raise DataError("format", message(str(path), f"pixels of mode {', '.join(MODES)}", image.mode, fix))
    if width * height * MODES[image.mode][0] > MAX_NUMBERS:
        fix = "Cut or shrink it first."
        raise DataError("too-large", message(str(path), f"at most {MAX_NUMBERS:,} numbers", f"{height} x {width}", fix))
    return Kind(image.mode, height, width)
