"""The section on what was run: model, settings, versions, and the command that repeats it."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pushforward.report.html import table_of, tag
from pushforward.report.page import Section

PACKAGES = ("pushforward", "jax", "jaxlib", "equinox", "diffrax", "optax", "numpy", "scipy", "scikit-learn", "pyarrow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def run_section(facts: Mapping[str, Any], commands: Sequence[str], seconds: float, seed: int) -> Section:
    """What was run.

    Args:
        facts: What the model is, by name.
        commands: Command lines that repeat the report and its figures.
        seconds: Time that the report took.
        seed: Seed of all draws.
    """
    rows = [[name, str(value)] for name, value in facts.items() if value not in (None, "", (), {})]
    rows += [["seed of the report", str(seed)], ["time of the report", f"{seconds:.1f} s"]]
    blocks: list[Any] = [table_of(["fact", "value"], rows)]
    if commands:
        blocks += ["The same again, from a terminal:", tag("pre", tag("code", "\n".join(commands)), tabindex="0")]
    own = [[name, words] for name, words in versions().items()]
    blocks.append(tag("details", tag("summary", "Versions"), table_of(["package", "version"], own)))
    return Section("run", "What was run", tuple(blocks))


def file_of(source: str | None) -> str:
    """The words for data on a command line: their file, or DATA where they were in memory."""
    return source if source and Path(source).exists() else "DATA"


def quoted(*words: Any) -> str:
    """A command line; None is left out."""
    return shlex.join(str(word) for word in words if word is not None)
