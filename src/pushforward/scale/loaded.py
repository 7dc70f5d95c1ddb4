"""Fitted models by the path of their folder, loaded once in a process."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward._checks import message
from pushforward._files import MANIFEST, MAX_MANIFEST, UntrustedModelError, read_regular
from pushforward.io.files import DETECTOR, says_of_itself
from pushforward.tables.errors import TableWarning

if TYPE_CHECKING:
    from pushforward.anomalies.detector import FlowOutlierDetector
    from pushforward.tables.estimators import FlowDensity

# Models that a process keeps loaded.
KEPT = 4


def model_digest(folder: str | os.PathLike) -> str:
    """What a model is, in 64 letters: the SHA-256 of its manifest, which has that of each of its files.

    Args:
        folder: Folder of the model.

    Raises:
        FileNotFoundError: There is no such folder.
        UntrustedModelError: It has no manifest.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"{folder}: no such model folder. Name the folder that `fit --out` wrote.")
    return hashlib.sha256(read_regular(Path(folder) / MANIFEST, MAX_MANIFEST)).hexdigest()


def density_at(folder: str, digest: str | None) -> FlowDensity:
    """The density in a folder, loaded once in this process.

    Args:
        folder: Folder of the model.
        digest: What `model_digest` has to give; None takes the model that is there.

    Raises:
        UntrustedModelError: The folder is damaged, or holds another model than that of the digest.
    """
    return _loaded(folder, _checked(folder, digest), False)


def detector_at(folder: str, digest: str | None) -> FlowOutlierDetector:
    """The detector in a folder, or that of the density in it, loaded once in this process; see `density_at`."""
    return _loaded(folder, _checked(folder, digest), True)


def _checked(folder: str, digest: str | None) -> str:
    found = model_digest(folder)
    if digest is not None and found != digest:
        fix = "Put the model back, or make the function anew for the model that is there."
        raise UntrustedModelError(message(str(folder), f"the model {digest[:12]}", found[:12], fix))
    return found


@functools.lru_cache(maxsize=KEPT)
def _loaded(folder: str, digest: str, detector: bool) -> Any:
    """The model; the digest is part of its name, so that a folder that is replaced is loaded again."""
    from pushforward.anomalies.detector import FlowOutlierDetector
    from pushforward.tables.estimators import FlowDensity

    if not detector:
        return FlowDensity.load(folder)
    if says_of_itself(folder, DETECTOR):
        return FlowOutlierDetector.load(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)  # it is about a rate that nobody asked for
        return FlowOutlierDetector.of_density(FlowDensity.load(folder))
