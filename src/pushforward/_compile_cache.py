"""JAX's compiled programs in a folder of the user, so that the second process that needs a program reads it."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import platform
import stat
import sys
from pathlib import Path

# One for all that needs no code: `off` for none, or the path of a folder.
VARIABLE = "PUSHFORWARD_CACHE"
OFF = ("off", "0", "none", "no", "false")
MAX_BYTES = 2**30
# JAX's own names; what a user has set there stands.
JAX_FOLDER = "JAX_COMPILATION_CACHE_DIR"
# Small programs too: compiling `x * 2` takes 30 ms, reading it 12 ms, and a fit needs hundreds of them.
JAX_SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def use_cache(folder: str | os.PathLike | None = None, *, max_bytes: int = MAX_BYTES) -> Path | None:
    """Keep JAX's compiled programs between processes, which saves a fit of a shape seen before most of its compiling.

    The command line calls this by itself. Entries are machine code, which whoever writes them decides; so the folder
    must belong to the user, and no one else may be able to write to it or to replace it. When it outgrows `max_bytes`,
    the entries unused for longest are deleted.

    Args:
        folder: Where to keep them; made if need be. None takes the environment variable `PUSHFORWARD_CACHE`, which may
            be `off`, or else a folder for this kind of processor in the user's cache folder.
        max_bytes: Bound on the size of the folder, in bytes, looked at now and when the process ends.

    Returns:
        The folder in use; None if `PUSHFORWARD_CACHE` is `off`. Where JAX's own `JAX_COMPILATION_CACHE_DIR` is set
        and no folder is asked for, that one stays in use, unbounded.

    Raises:
        ValueError: Others could put programs into the folder, or it is no folder.
        OSError: The folder cannot be made.

    Example:
        >>> import tempfile, pushforward as pf
        >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +SKIP
        ...     pf.use_cache(folder)
    """
    chosen = os.environ.get(VARIABLE, "") if folder is None else os.fspath(folder)
    if folder is None and chosen.lower() in OFF:
        return None
    if not chosen and os.environ.get(JAX_FOLDER):
        return Path(os.environ[JAX_FOLDER])
    place = Path(chosen).expanduser() if chosen else user_folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = place.resolve()
    _check_private(place)
    prune(place, max_bytes)
    _tell_jax(place)
    atexit.unregister(prune)
    atexit.register(prune, place, max_bytes)
    return place


def user_folder() -> Path:
    """The folder of this user for programs compiled for this kind of processor."""
    return caches() / "pushforward" / f"programs-{_processor()}"


def caches() -> Path:
    """The user's folder for caches: `XDG_CACHE_HOME`, or what the operating system has for it."""
    chosen = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(chosen):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path.home() / ".cache"


def prune(folder: Path, most: int) -> None:
    """Delete the entries unused for longest until what is left has at most half of `most` bytes, if there are more."""
    entries = []
    try:
        for entry in os.scandir(folder):
            info = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(info.st_mode):
                entries.append((max(info.st_atime, info.st_mtime), info.st_size, entry.path))
    except OSError:  # another process deletes entries, or the folder
        return
    size = sum(entry[1] for entry in entries)
    if size <= most:
        return
    for _, own, path in sorted(entries):
        if size <= most // 2:
            return
        Path(path).unlink(missing_ok=True)
        size -= own


def _check_private(folder: Path) -> None:
    """Raise an error unless the user alone can decide what is in a folder.

    Raises:
        ValueError: it belongs to another user, or others may write to it or to a folder that it lies in.
    """
    if os.name != "posix":  # elsewhere the folder of the user has an access list of its own
        return
    fix = f"Name a folder of your own ({VARIABLE}=PATH), or do without ({VARIABLE}=off)."
    for place in (folder, *folder.parents):
        info = place.stat()
        if info.st_uid not in (os.geteuid(), 0) or (place == folder and info.st_uid != os.geteuid()):
            raise ValueError(f"{folder}: expected a folder of your own, got one that another user can replace. {fix}")
        # In a folder such as /tmp, whose sticky bit is set, only the owner of an entry can replace it.
        shared = stat.S_IWOTH if place != folder else stat.S_IWOTH | stat.S_IWGRP
        if info.st_mode & shared and (place == folder or not info.st_mode & stat.S_ISVTX):
            raise ValueError(
                f"{folder}: expected a folder that you alone can write to, for it holds machine code, got mode "
                f"{stat.S_IMODE(info.st_mode):o} of {place}. Take the others' right away (chmod go-w). {fix}"
            )


def _tell_jax(folder: Path) -> None:
    if "jax" not in sys.modules:  # importing it takes a second, which a help text must not
        os.environ[JAX_FOLDER] = str(folder)
        for name, value in JAX_SETTINGS.items():
            os.environ.setdefault(name, value)
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    for name, value in JAX_SETTINGS.items():
        if name not in os.environ:
            number = float(value) if name.endswith("SECS") else int(value)
            jax.config.update(name.lower(), number)


@functools.cache
def _processor() -> str:
    """Eight letters that differ between kinds of processors: a home folder may serve many, and code fits one."""
    facts = [platform.machine(), platform.system()]
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").split("\n\n")[0].splitlines():
            if line.split(":")[0].strip() in ("flags", "Features", "model name", "CPU part"):
                facts.append(line)
    except OSError:
        facts.append(platform.processor())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
