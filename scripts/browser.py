"""Get a browser for the tests of the explorer's page: `python3 scripts/browser.py`, as `.ci/run` does before the tests.

The system's Chromium is taken if there is one; otherwise apt-get, and then playwright, are asked for one. Where nothing
can be had a line says so, and the tests in a browser are skipped: they fail only where they run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from environment import PYTHON, ready, run, say

NAMES = ("chromium", "chromium-browser")
SECONDS = 300.0


def found() -> str | None:
    """The path of a browser that the tests can start; None if there is none."""
    for name in NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    code = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as play: print(play.chromium.executable_path)"
    )
    asked = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=False)
    path = asked.stdout.strip()
    return path if path and Path(path).exists() else None


def installed_by_apt() -> None:
    """Ask apt-get for Chromium, if it is there and this is root."""
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        run(["apt-get", "update", "-qq"], SECONDS)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], SECONDS)


def main() -> int:
    """Find or install a browser; the status is 0 in any case, for a machine without one can run the other tests."""
    ready("browser")
    if found() is None:
        installed_by_apt()
    if found() is None:
        run([str(PYTHON), "-m", "playwright", "install", "--with-deps", "--only-shell", "chromium"], SECONDS)
    path = found()
    if path is None:
        say("\nNO BROWSER: neither the system, apt-get nor playwright has Chromium; the page's tests are SKIPPED.")
    else:
        say(f"The tests of the page run in {path}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
