"""Reads and writes the files of a model; links are not followed, and no half-written folder is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pushforward._files import (
    FOLDER,
    LINK,
    MANIFEST,
    MAX_MANIFEST,
    UntrustedModelError,
    irregular,
    listed_by_manifest,
    read_manifested,
    read_regular,
    share,
    take_name,
    write_manifested,
)

# The card is for people, is never read, and may be edited.
CARD = "README.md"
# Hundreds of times what the largest models of the literature need, and far below a machine's memory.
MAX_BYTES: dict[str, int] = {
    "config.json": 2**23,
    "schema.json": 2**26,
    "metrics.json": 2**27,
    "checks.json": 2**23,
    "model.safetensors": 2**33,
    CARD: 2**23,
    MANIFEST: MAX_MANIFEST,
}
# Files without which the format of a folder cannot be read; they are looked for first.
ALWAYS = ("config.json", "metrics.json", "model.safetensors")
# How the folder of a detector of unusual rows calls itself.
DETECTOR = "pushforward.detector"
# How the folder of a model of images calls itself.
IMAGES = "pushforward.images"
OTHER = "Name another path."  # the fix in errors of targets
CONTENTS = tuple(name for name in MAX_BYTES if name not in (MANIFEST, CARD))


def read_folder(folder: Path, small: bool = False) -> dict[str, bytes]:
    """Read the files of a model folder and compare each with its manifest. Other files are never opened.

    Args:
        folder: Folder of the model.
        small: Whether the weights are left out.

    Raises:
        FileNotFoundError: There is no such folder.
        UntrustedModelError: A file is missing, is a link, is too large, or is not what the manifest says.
    """
    if not folder.is_dir():
        what = "a file, not a model folder" if folder.exists() else "no such model folder"
        raise FileNotFoundError(f"{folder}: {what}. Name the folder that `fit --out` wrote.")
    if says_of_itself(folder, DETECTOR):
        fix = "Use `pushforward detect`, or FlowOutlierDetector.load."
        raise UntrustedModelError(f"{folder}: expected a density, got a detector of unusual rows. {fix}")
    if says_of_itself(folder, IMAGES):
        fix = "Load it by pushforward.images.ImageDensity."
        raise UntrustedModelError(f"{folder}: expected a model of a table, got a model of images. {fix}")
    caps = {name: MAX_BYTES[name] for name in CONTENTS}
    leave = ("model.safetensors",) if small else ()
    return read_manifested(folder, caps, needed=ALWAYS, leave=leave)


def says_of_itself(folder: str | os.PathLike, name: str) -> bool:
    """Whether the configuration in a folder begins with a name of a format; a link, a pipe or a device says nothing.

    Args:
        folder: The folder.
        name: Name of the format, such as `DETECTOR`.
    """
    try:
        return name.encode() in read_regular(Path(folder) / "config.json", MAX_BYTES["config.json"], 200)
    except (OSError, UntrustedModelError):
        return False


def check_folder_target(folder: Path, force: bool = False, known: Collection[str] = tuple(MAX_BYTES)) -> None:
    """Raise an error before the work starts if a folder cannot be written there.

    A folder is replaced only if it is empty, or if a manifest of files with names among `known` lies in it, by default
    those of a model, and it holds nothing but such files.

    Raises:
        FileExistsError: The folder exists, and either `force` is False or it is no folder that may be replaced.
    """
    what = irregular(folder)
    if what is None and os.path.lexists(folder):
        what = "a file"
    if what is None:
        return
    if what != FOLDER:
        raise FileExistsError(f"{folder}: not a folder but {what}, which is not replaced. {OTHER}")
    if not force:
        raise FileExistsError(f"{folder}: exists already. Pass --force (force=True) to replace it, or name another.")
    parts = sorted(folder.iterdir())
    foreign = [part.name for part in parts if part.name not in known or irregular(part) is not None]
    if foreign:
        held = ", ".join(repr(name) for name in foreign[:5])
        raise FileExistsError(
            f"{folder}: holds files that are no part of a model ({held}), so it is not replaced. {OTHER}"
        )
    if parts and not listed_by_manifest(folder, known):
        raise FileExistsError(f"{folder}: no model folder, for it has no manifest, so it is not replaced. {OTHER}")


def check_file_target(path: Path, force: bool = False) -> None:
    """Raise an error before the work starts if a file cannot be written there.

    Raises:
        FileExistsError: The file exists and `force` is False; or what exists is no regular file but a link, a pipe, a
            socket or a device, which is never replaced.
        OSError: The path is a folder, or lies in a folder that does not exist or cannot be written to.
    """
    what = irregular(path)
    if what == FOLDER or (what == LINK and path.is_dir()):
        raise IsADirectoryError(f"{path}: this is a folder. Name a file in it.")
    if what is not None:
        raise FileExistsError(f"{path}: expected a regular file or nothing, got {what}, which is not replaced. {OTHER}")
    if path.exists() and not force:
        raise FileExistsError(f"{path}: the file exists. Pass --force (force=True) to replace it, or name another.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path}: the folder {path.parent} is not writable.")


def write_file(path: Path, write: Callable[[BinaryIO], Any], force: bool = False) -> None:
    """Write a file: complete under its name, or not at all.

    Args:
        path: Path of the file.
        write: Function that writes the contents to an open file.
        force: Whether an existing file is replaced.

    Raises:
        OSError: See `check_file_target`.
    """
    check_file_target(path, force)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        share(Path(temporary), 0o666)
        check_file_target(path, force)  # somebody may have made it meanwhile
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_folder(
    folder: Path,
    files: Mapping[str, bytes],
    force: bool = False,
    known: Collection[str] = tuple(MAX_BYTES),
    unlisted: Collection[str] = (),
) -> None:
    """Write a folder with its manifest: complete under its name, or not at all.

    The files are written and flushed to disk in a hidden folder beside the target, which is then renamed. To replace a
    model, the old folder is moved aside first and deleted last: a crash between the two leaves it as `.NAME.*.old`.

    Raises:
        FileExistsError: See `check_folder_target`.
    """
    check_folder_target(folder, force, known)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        write_manifested(temporary, files, unlisted)
        take_name(temporary, folder)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
