"""Reading and writing the files of a model: no links followed, no size unchecked, no half-written folder left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pushforward.io.errors import UntrustedModelError

MANIFEST = "manifest.sha256"
# Hundreds of times what the largest models of the literature need, and far below a machine's memory.
MAX_BYTES: dict[str, int] = {
    "config.json": 2**23,
    "schema.json": 2**26,
    "metrics.json": 2**27,
    "checks.json": 2**23,
    "model.safetensors": 2**33,
    "README.md": 2**23,
    MANIFEST: 2**12,
}
# What every version of the format has; the card is for people, is never read, and may be edited.
ALWAYS = ("config.json", "metrics.json", "model.safetensors")
CARD = "README.md"
CONTENTS = tuple(name for name in MAX_BYTES if name not in (MANIFEST, CARD))


def read_regular(path: Path, cap: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        UntrustedModelError: there is none, it is a link or a device, or it is larger than `cap`.
    """
    # Opened without following links or waiting for a pipe's other end, and only then looked at.
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise UntrustedModelError(f"{path}: a symbolic link. A model holds regular files: copy the file itself.")
        handle = os.open(path, flags)
    except FileNotFoundError as error:
        raise UntrustedModelError(f"{path}: the file is missing, so the model is not complete.") from error
    except OSError as error:
        raise UntrustedModelError(f"{path}: cannot be opened: {error.strerror}.") from error
    info = os.fstat(handle)
    if not stat.S_ISREG(info.st_mode) or info.st_size > cap:
        os.close(handle)
        large = f"{info.st_size:,} bytes, more than the {cap:,} that are read"
        raise UntrustedModelError(f"{path}: {large if stat.S_ISREG(info.st_mode) else 'not a regular file'}.")
    with os.fdopen(handle, "rb") as file:
        return file.read(info.st_size)


def parse_json(data: bytes, path: Path) -> Any:
    """JSON as the standard has it: no repeated keys, no NaN, no numbers beyond float64, no deep nesting.

    Raises:
        UntrustedModelError: it is something else.
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


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of a model folder, each held against its manifest. Other files in the folder are never opened.

    Raises:
        FileNotFoundError: there is no such folder.
        UntrustedModelError: a file is missing, a link, too large, or not what the manifest says.
    """
    if not folder.is_dir():
        what = "a file, not a model folder" if folder.exists() else "no such model folder"
        raise FileNotFoundError(f"{folder}: {what}. Name the folder that `fit --out` wrote.")
    expected = _parse_manifest(read_regular(folder / MANIFEST, MAX_BYTES[MANIFEST]), folder / MANIFEST)
    files = {}
    for name in expected:
        files[name] = read_regular(folder / name, MAX_BYTES[name])
        if hashlib.sha256(files[name]).hexdigest() != expected[name]:
            raise UntrustedModelError(
                f"{folder / name}: its contents are not those that were saved (the SHA-256 differs from {MANIFEST}): "
                "damaged or altered. Copy the folder again, or fit the model anew."
            )
    return files


def _parse_manifest(data: bytes, path: Path) -> dict[str, str]:
    expected: dict[str, str] = {}
    for line in data.decode("ascii", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        hexadecimal = len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        if name not in CONTENTS or name in expected or not hexadecimal:
            raise UntrustedModelError(
                f"{path}: an unexpected line, {line[:80]!r}. It lists {', '.join(CONTENTS)} once."
            )
        expected[name] = digest
    lacking = [name for name in ALWAYS if name not in expected]
    if lacking:
        raise UntrustedModelError(f"{path}: does not list {', '.join(lacking)}.")
    return expected


def check_folder_target(folder: Path, force: bool = False, known: Collection[str] = tuple(MAX_BYTES)) -> None:
    """Whether a model, or another folder whose files are `known`, can be written there, asked before the work starts.

    Raises:
        FileExistsError: something is there, and either `force` is False or it holds other files.
    """
    if not (folder.exists() or folder.is_symlink()):
        return
    if not force:
        raise FileExistsError(f"{folder}: exists already. Pass --force (force=True) to replace it, or name another.")
    if folder.is_symlink() or not folder.is_dir():
        raise FileExistsError(f"{folder}: not a folder, so it is not replaced. Name another.")
    foreign = sorted(item.name for item in folder.iterdir() if item.name not in known)
    if foreign:
        held = ", ".join(repr(name) for name in foreign[:5])
        raise FileExistsError(f"{folder}: holds files that are no part of a model ({held}), so it is not replaced.")


def check_file_target(path: Path, force: bool = False) -> None:
    """Whether a file can be written there, asked before the work starts.

    Raises:
        FileExistsError: the file exists and `force` is False.
        OSError: it is a folder, or there is no such folder, or it cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path}: this is a folder. Name a file in it.")
    if (path.exists() or path.is_symlink()) and not force:
        raise FileExistsError(f"{path}: the file exists. Pass --force (force=True) to replace it, or name another.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}. Make it first.")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path}: the folder {path.parent} is not writable.")


def write_file(path: Path, write: Callable[[BinaryIO], Any], force: bool = False) -> None:
    """Write a file: complete under its name, or not at all.

    Args:
        path: the target.
        write: writes the contents to the open file it is given.
        force: replace an existing file.

    Raises:
        OSError: see `check_file_target`.
    """
    check_file_target(path, force)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        _share(Path(temporary), 0o666)
        check_file_target(path, force)  # somebody may have made it meanwhile
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_folder(
    folder: Path, files: Mapping[str, bytes], force: bool = False, known: Collection[str] = tuple(MAX_BYTES)
) -> None:
    """Write a model folder, or one of the files `known`, with its manifest: complete under its name, or not at all.

    The files are written and flushed to disk in a hidden folder beside the target, which is then renamed. To replace a
    model, the old folder is moved aside first and deleted last: a crash between the two leaves it as `.NAME.*.old`.

    Raises:
        FileExistsError: see `check_folder_target`.
    """
    check_folder_target(folder, force, known)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    listed = {name: data for name, data in files.items() if name != CARD}
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in listed.items()]
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, data in (*files.items(), (MANIFEST, "".join(lines).encode("ascii"))):
            with (temporary / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _share(temporary, 0o777)
        _sync(temporary)
        old = temporary.with_name(temporary.name + ".old")
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(temporary, folder)
        except OSError:
            if old.exists():
                os.rename(old, folder)
            raise
        _sync(folder.parent)
        if old.exists():
            shutil.rmtree(old)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _share(path: Path, mode: int) -> None:
    """Give a temporary file or folder, which is private, the permissions that a new one has."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


def _sync(folder: Path) -> None:
    if os.name == "posix":  # elsewhere folders cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
