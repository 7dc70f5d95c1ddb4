"""Safe reading and writing of files: no links, limited sizes, and a manifest of hashes."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.sha256"
MAX_MANIFEST = 2**16

# What may stand at a path beside a regular file, in words, with the test of its mode.
FOLDER, LINK = "a folder", "a symbolic link"
IRREGULAR: tuple[tuple[str, Callable[[int], bool]], ...] = (
    (FOLDER, stat.S_ISDIR),
    (LINK, stat.S_ISLNK),
    ("a named pipe", stat.S_ISFIFO),
    ("a socket", stat.S_ISSOCK),
    ("a device", stat.S_ISCHR),
    ("a device", stat.S_ISBLK),
)


class UntrustedModelError(ValueError):
    """A model is damaged, altered, or of a kind that this version does not know; nothing of it was used."""


def irregular(path: Path) -> str | None:
    """What stands at a path if it is no regular file, in words; None for a regular file, or where nothing stands.

    Links are not followed.
    """
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISREG(mode):
        return None
    return next((words for words, holds in IRREGULAR if holds(mode)), "something that is no file")


def read_regular(path: Path, cap: int, most: int | None = None) -> bytes:
    """The bytes of a regular file, or its first `most` bytes.

    Raises:
        UntrustedModelError: the file is missing, a link or a device, or larger than `cap`.
    """
    # The file is opened without following links or waiting for a pipe's other end, and only then inspected.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise UntrustedModelError(f"{path}: a symbolic link. Only regular files are read: copy the file itself.")
        handle = os.open(path, flags)
    except FileNotFoundError as error:
        raise UntrustedModelError(f"{path}: the file is missing, so the folder is not complete.") from error
    except OSError as error:
        raise UntrustedModelError(f"{path}: cannot be opened: {error.strerror}.") from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_size > cap:
        os.close(handle)
        large = f"{info.st_size:,} bytes, more than the {cap:,} that are read"
        raise UntrustedModelError(f"{path}: {large if stat.S_ISREG(info.st_mode) else 'not a regular file'}.")
    with os.fdopen(handle, "rb") as file:
        return file.read(info.st_size if most is None else min(most, info.st_size))


def parse_json(data: bytes, path: Path) -> Any:
    """Parse strict JSON, without repeated keys, NaN, numbers beyond float64, or deep nesting.

    Raises:
        UntrustedModelError: the data are not strict JSON.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(items)
        if len(table) < len(items):
            raise ValueError("a key is repeated")
        return table

    def constant(word: str) -> Any:
        raise ValueError(f"{word} is not JSON")

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise UntrustedModelError(f"{path}: not valid JSON: {reason}.") from error


def read_manifested(
    folder: Path,
    caps: Mapping[str, int],
    wanted: Iterable[str] | None = None,
    needed: Iterable[str] | None = None,
    leave: Collection[str] = (),
) -> dict[str, bytes]:
    """Read the files of a folder and compare each with the manifest; other files in the folder are never opened.

    Args:
        folder: The folder.
        caps: Names of the files, and the largest number of bytes of each.
        wanted: Names of the files to read; None reads all files that the manifest lists.
        needed: Names that the manifest must list; None requires all.
        leave: Names of files that are not read, although the manifest lists them.

    Raises:
        UntrustedModelError: a file is missing, a link, too large, or not what the manifest says.
    """
    data = read_regular(folder / MANIFEST, MAX_MANIFEST)
    expected = _parse_manifest(data, folder / MANIFEST, tuple(caps), tuple(caps if needed is None else needed))
    files = {}
    for name in [name for name in expected if name not in leave] if wanted is None else wanted:
        files[name] = read_regular(folder / name, caps[name])
        if hashlib.sha256(files[name]).hexdigest() != expected[name]:
            raise UntrustedModelError(
                f"{folder / name}: its contents are not those that were saved (the SHA-256 differs from {MANIFEST}): "
                "damaged or altered. Copy the folder again, or fit the model anew."
            )
    return files


def _parse_manifest(data: bytes, path: Path, names: tuple[str, ...], needed: tuple[str, ...]) -> dict[str, str]:
    expected: dict[str, str] = {}
    for line in data.decode("ascii", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        hexadecimal = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        if name not in names or name in expected or not hexadecimal:
            raise UntrustedModelError(f"{path}: an unexpected line, {line[:80]!r}. It lists {', '.join(names)} once.")
        expected[name] = digest
    lacking = [name for name in needed if name not in expected]
    if lacking:
        raise UntrustedModelError(f"{path}: does not list {', '.join(lacking)}.")
    return expected


def listed_by_manifest(folder: Path, names: Collection[str]) -> bool:
    """Whether a manifest lies in a folder, and lists no other files than these."""
    try:
        data = read_regular(folder / MANIFEST, MAX_MANIFEST)
        return bool(_parse_manifest(data, folder / MANIFEST, tuple(names), ()))
    except UntrustedModelError:
        return False


def write_manifested(folder: Path, files: Mapping[str, bytes], unlisted: Collection[str] = ()) -> None:
    """Write the files of an empty folder with their manifest, and flush them and the folder to disk.

    Args:
        folder: The folder.
        files: Contents of the files by name.
        unlisted: Names that the manifest leaves out, because people may edit these files.
    """
    listed = {name: data for name, data in files.items() if name not in unlisted}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in listed.items()]
    for name, data in (*files.items(), (MANIFEST, "".join(lines).encode("ascii"))):
        with (folder / name).open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    share(folder, 0o777)
    sync(folder)


def share(path: Path, mode: int) -> None:
    """Give a private temporary file or folder the permissions of a new one."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


def take_name(temporary: Path, folder: Path) -> None:
    """Give a folder beside `folder` its name, and delete the one that had it; if that fails, the old one stays."""
    old = temporary.with_name(temporary.name + ".old")
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        if old.exists():
            os.rename(old, folder)
        raise
    sync(folder.parent)
    if old.exists():
        shutil.rmtree(old)


def sync(folder: Path) -> None:
    """Flush a folder's list of names to disk."""
    if os.name == "posix":  # other systems cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
