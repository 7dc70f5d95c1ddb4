"""What made a result, beside the model: the code, the packages under it, the compiler's options and the processor."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import jax

# Packages whose versions decide on the bits of a result.
PACKAGES = ("jax", "jaxlib", "numpy", "pyarrow")


@functools.cache
def code_digest() -> str:
    """All that the bits of a result depend on beside the model and the rows, in 16 letters.

    It is the SHA-256 of the package's own files, the versions of the packages under it, the options of XLA, and the
    names of the processor and of the device that this process computes on.
    """
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    facts = [f"{name} {version(name)}" for name in PACKAGES]
    facts += [os.environ.get("XLA_FLAGS", ""), str(jax.config.read("jax_disable_most_optimizations"))]
    facts += [platform.machine(), _processor(), jax.devices()[0].device_kind]
    digest.update("\n".join(facts).encode())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """The name of the processor, empty where the system does not say it."""
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return platform.processor()
    return found.group(1) if found else platform.processor()
