"""Set up everything and run all checks: ruff, pyright, the import layers, the tests with every documented snippet."""

from __future__ import annotations

import sys
import time

from environment import BIN, PYTHON, ready, run, say

CHECKS = (
    ("ruff", "check", "."),
    ("lint-imports",),
    ("pyright", "--pythonpath", str(PYTHON)),
    ("pytest", "-n", "2", "--dist", "worksteal"),
)


def main(arguments: list[str]) -> int:
    """Run every check, also after one has failed, so that one run tells all; arguments are handed to pytest."""
    ready("dev")
    start, failed = time.monotonic(), []
    for name, *rest in CHECKS:
        status = run([str(BIN / name), *rest, *(arguments if name == "pytest" else [])])
        if status:
            failed.append(f"{name} (exit status {status})")
    say(f"\n{time.monotonic() - start:.0f} s. " + (f"Failed: {', '.join(failed)}." if failed else "All checks passed."))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
