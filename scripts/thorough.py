"""Run the tests marked thorough until a time, beginning with another file for each commit; print what was not reached.

What is never run is what is broken, and to run all of it every time takes too long. A few runs reach everything.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from environment import BIN, ROOT, ready, run, say

GRACE = 990  # seconds after which a run that does not end is killed; a test has 900 (see conftest.py)


def commit() -> str:
    """The id of the commit that is checked out, or "0" outside a repository."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "0"


def main(arguments: list[str]) -> int:
    """Run them, and give pytest's exit status; arguments that are not ours are handed to pytest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--until", type=float, default=time.time() + 3000, help="seconds since 1970; else 50 minutes")
    parser.add_argument("--commit", default=None, help="the commit whose order to take; else the one checked out")
    options, rest = parser.parse_known_args(arguments)
    ready("dev")
    left = options.until - time.time()
    if left <= 0:
        say("No time is left for the thorough tests.")
        return 0
    chosen = ["--thorough-alone", "--until", f"{options.until:.0f}", "--rotate", options.commit or commit()]
    return run([str(BIN / "pytest"), "-n", "2", "--dist", "worksteal", *chosen, *rest], timeout=left + GRACE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
