"""What a user names as images, an array, a file, a folder or a glob, becomes levels."""

from __future__ import annotations

import glob
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.images.reading.files import FileLevels, find_files, is_image, kinds_of
from pushforward.images.reading.levels import LEVELS_OF, Images, Layout, images_of, labels_of, level_type
from pushforward.tables.errors import DataError
from pushforward.tables.reading.formats import DAMAGE, MAX_BYTES, check_header, damaged, read_archive

# Names of the array of images in an archive, the first that is there; any other single array of images will do.
IMAGE_NAMES = ("images", "x", "X", "x_train", "train_images", "data")
# Names of the labels that belong to an array of images, by how that one is called.
LABEL_NAMES = {"images": ("labels", "label", "y"), "x": ("y", "labels"), "X": ("y", "labels"), "data": ("labels", "y")}


def read_images(
    source: Any,
    labels: Any = None,
    *,
    n_levels: int | None = None,
    layout: Layout | None = None,
    stream: bool = False,
) -> Images:
    """Images of any source as levels.

    Args:
        source: An array (see `images_of`); an `Images`; the path of an NPZ or NPY file, where `archive.npz::name` picks
            one array; a folder of PNG or JPEG files of one mode and size, whose subfolders, if they hold the images,
            are classes; or a glob of such files.
        labels: A class for each image, `(n,)`; None takes those of the source, if it has some.
        n_levels: Number of levels, where the type does not say it.
        layout: `"channels_first"` or `"channels_last"`, where an array does not show it.
        stream: Whether files are decoded when they are needed, so that they need not fit into memory; their headers
            are read at once.

    Raises:
        DataError: The source is missing, damaged, ambiguous, too large, or mixes kinds of images.

    Example:
        >>> import numpy as np
        >>> from pushforward.images import read_images
        >>> read_images(np.zeros((5, 8, 8, 3), np.uint8)).shape
        (3, 8, 8)
    """
    if isinstance(source, Images):
        if labels is None:
            return source
        return Images(source.levels, source.n_levels, labels_of(labels, len(source), source.source), source.source)
    if not isinstance(source, str | os.PathLike):
        return images_of(source, labels, n_levels=n_levels, layout=layout)
    text = os.fspath(source)
    name, _, member = text.partition("::")
    if is_archive(text):
        array, own = read_arrays(Path(name), member)
        return images_of(array, own if labels is None else labels, n_levels=n_levels, layout=layout, source=text)
    paths, classes = files_of(text)
    kind = kinds_of(paths)
    if n_levels is not None and n_levels != kind.n_levels:
        fix = "Leave n_levels out, for the files say it."
        raise DataError("format", message(text, f"n_levels {kind.n_levels}, as the files have", f"{n_levels}", fix))
    own = labels_of(classes if labels is None else labels, len(paths), text)
    levels, names = FileLevels(paths, kind), tuple(str(path) for path in paths)
    if stream:
        return Images(levels, kind.n_levels, own, text, names)
    if (size := len(paths) * int(np.prod(kind.shape)) * (1 if kind.n_levels <= 256 else 2)) > MAX_BYTES:
        fix = "Fit from a stream (stream=True), or take fewer files."
        raise DataError("too-large", message(text, f"at most {MAX_BYTES:,} bytes of pixels", f"{size:,}", fix))
    return Images(levels[:], kind.n_levels, own, text, names)


def read_alike(source: Any, shape: tuple[int, int, int], n_levels: int, name: str) -> Images:
    """Images of a known shape and bit depth.

    Args:
        source: As for `read_images`.
        shape: Shape `(C, H, W)` that they should have.
        n_levels: Number of levels that they should have.
        name: Name of the caller, for messages.

    Raises:
        DataError: They have another shape or bit depth.
    """
    labels = None
    text = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    if text and is_archive(text):
        path, _, member = text.partition("::")
        source, labels = read_arrays(Path(path), member)
    found: Any = source
    if not isinstance(source, Images | str | os.PathLike):
        array = np.asarray(source)
        # The types in which levels are stored; others say a depth of their own, or none.
        alike = array.dtype.name == level_type(n_levels).name or (n_levels == 2 and array.dtype == bool)
        known = n_levels if alike or array.dtype.name not in LEVELS_OF else None
        layout: Layout | None = "channels_first" if array.shape[1:] == shape else None
        found = images_of(array, labels, n_levels=known, layout=layout, source=text or name)
    found = read_images(found)
    if found.n_levels != n_levels:
        fix = "Densities of pixels of different depths cannot be compared: convert the images."
        expected = f"pixels of {n_levels} levels, as the fit had"
        raise DataError("format", message(name, expected, f"{found.n_levels} levels", fix))
    if found.shape != shape:
        fix = "Cut or resize the images as for the fit."
        raise DataError("format", message(name, f"images of shape {shape}", f"{found.shape}", fix))
    return found


def files_of(source: str) -> tuple[list[Path], np.ndarray | None]:
    """The image files that a folder or a glob names, and their classes, if subfolders tell them.

    Raises:
        DataError: There are none.
    """
    path = Path(source)
    if path.is_dir():
        return find_files(path)
    found = [path] if path.is_file() else sorted(Path(name) for name in glob.glob(source))
    images = [name for name in found if is_image(name)]
    if not images:
        what = "PNG or JPEG files" if found else "a file, a folder or a glob"
        got = f"{found[0].name}" if found else "nothing there"
        fix = "Images are .png, .jpg, .jpeg, .npz or .npy files, or folders of the first three."
        raise DataError("not-found", message(source, what, got, fix))
    return images, None


def is_archive(source: str | os.PathLike) -> bool:
    """Whether a path, or `archive.npz::name`, names an NPZ or NPY file."""
    return Path(os.fspath(source).partition("::")[0]).suffix.lower() in (".npz", ".npy")


def read_arrays(path: Path, member: str = "") -> tuple[np.ndarray, np.ndarray | None]:
    """The array of images of an NPZ or NPY file, and its labels, if it has some.

    Args:
        path: The file.
        member: Name of the array in an archive; empty takes the one with a usual name, or the only one.

    Raises:
        DataError: The file is missing, damaged, too large, holds no array of images, or another number of labels.
    """
    if not path.is_file():
        raise DataError("not-found", f"{path}: there is no such file.")
    label = path.name
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".npy":
                check_header(file, label, path.stat().st_size, MAX_BYTES)
                return np.load(file, allow_pickle=False), None
            arrays = read_archive(file, label, MAX_BYTES)
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(label, error) from error
    name = member or _only(arrays, label)
    if name not in arrays:
        raise DataError("columns", f"{label}: no array {name!r}; it holds {', '.join(arrays)}.")
    images = arrays[name]
    usual = LABEL_NAMES.get(name, (name.replace("x_", "y_", 1), name.replace("images", "labels")))
    found = next((other for other in usual if other != name and other in arrays), None)
    if found is None:
        return images, None
    own = arrays[found]
    own = own[:, 0] if own.ndim == 2 and own.shape[1] == 1 else own
    if own.shape != images.shape[:1]:
        expected = f"one label for each of the {len(images):,} images {name!r} in the array {found!r}"
        fix = "Correct the labels, or rename their array if it holds none."
        raise DataError("labels", message(label, expected, f"shape {own.shape}", fix))
    return images, own


def _only(arrays: dict[str, np.ndarray], label: str) -> str:
    """The name of the array that holds images."""
    usual = [name for name in IMAGE_NAMES if name in arrays and arrays[name].ndim >= 3]
    others = [name for name, array in arrays.items() if array.ndim in (3, 4) and array.dtype.kind in "biuf"]
    if usual or len(others) == 1:
        return (usual or others)[0]
    held = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:8]) or "nothing"
    fix = f"Pick one as '{label}::name'."
    raise DataError("format", message(label, "one array of images (n, H, W) or (n, H, W, C)", f"{held}", fix))


def holds_images(source: str | os.PathLike) -> bool:
    """Whether a path names images and no table: PNG or JPEG files, or an array of three axes or more.

    Nothing but names and headers is read; what is missing or damaged holds none.

    Args:
        source: A path, `archive.npz::name` or a glob.
    """
    text = os.fspath(source)
    name, _, member = text.partition("::")
    path = Path(name)
    if not is_archive(text):
        try:
            return bool(files_of(text)[0])
        except (DataError, OSError, ValueError):
            return False
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".npy":
                return len(check_header(file, name, path.stat().st_size, MAX_BYTES)) >= 3
            shapes = []
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    if info.filename.endswith(".npy") and (not member or info.filename == f"{member}.npy"):
                        with archive.open(info) as stream:
                            shapes.append(check_header(stream, name, info.file_size, MAX_BYTES))  # pyright: ignore
            return any(len(shape) >= 3 for shape in shapes) and not any(len(shape) == 2 for shape in shapes)
    except (DataError, *DAMAGE):
        return False
