"""Set up `.venv` in the checkout with Python and its package index alone; the README's two commands use it."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
OLDEST = (3, 11)


def say(text: str) -> None:
    """A line about what goes on, in order with the output of the programs that are started."""
    print(text, flush=True)


def run(command: list[str], timeout: float | None = None) -> int:
    """Print a command as one would type it, run it from the checkout, and give its exit status.

    Args:
        command: the program and its arguments.
        timeout: seconds after which it is killed, and has failed.
    """
    shown = [Path(command[0]).name, *command[1:]]
    say("\n$ " + shlex.join(shown))
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path}
    try:
        return subprocess.run(command, cwd=ROOT, env=environment, timeout=timeout, check=False).returncode
    except subprocess.TimeoutExpired:
        say(f"Killed: it ran for more than {timeout:.0f} s.")
        return 1


def step(command: list[str], failed: str) -> None:
    """Run a command that must succeed, or leave with its exit status and a sentence that says what to do."""
    status = run(command)
    if status:
        print(f"\n{failed} (exit status {status})", file=sys.stderr)
        sys.exit(status)


def ready(extra: str = "") -> None:
    """Create `.venv` if it is missing, and install the package with its dependencies if they changed since.

    Args:
        extra: an extra of pyproject.toml, such as "dev"; the environment keeps those that it has.
    """
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:3]))
        sys.exit(f"pushforward needs Python 3.11 or newer, and this is {have} ({sys.executable}). Run it with another.")
    if not PYTHON.exists():
        say(f"Setting up {VENV} (once, a few minutes: it downloads the dependencies).")
        lacks = "Could not create a virtual environment; on Debian and Ubuntu: apt install python3-venv"
        step([sys.executable, "-m", "venv", str(VENV)], lacks)
    stamp = VENV / "pushforward-installed.txt"
    source = (ROOT / "pyproject.toml").read_bytes() + sys.version.encode()
    installed = stamp.read_text().split() if stamp.exists() else []
    digest = hashlib.sha256(source).hexdigest()
    extras = {*installed[1:], *([extra] if extra else [])}
    if installed[:1] == [digest] and set(installed[1:]) == extras:
        return
    wanted = f"[{','.join(sorted(extras))}]" if extras else ""
    start = time.monotonic()
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", f".{wanted}"]
    step(pip, f"pip could not install pushforward; its message stands above. To begin again, delete {VENV}")
    stamp.write_text("\n".join([digest, *sorted(extras)]))
    say(f"Installed in {time.monotonic() - start:.0f} s.")
