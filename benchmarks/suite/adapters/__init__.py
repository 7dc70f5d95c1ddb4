"""One module per library; each gives `make() -> Adapter`, and only the worker of that library imports it."""

from __future__ import annotations

import importlib
import os
from typing import Any, Protocol

LIBRARIES = ("pushforward", "flowjax", "zuko", "nflows", "normflows")
BESIDE = ("jflows", "bijx", "torchflows")  # they are asked for the page of speed alone
PEERS = (*LIBRARIES[1:], "torchdiffeq", "torchcfm", *BESIDE)  # the first two of these for velocity fields alone


def device() -> str:
    """`--device` of run.py."""
    return os.environ.get("PUSHFORWARD_BENCHMARK_DEVICE", "cpu")


class Adapter(Protocol):
    """The same work, in the words of one library. Every method returns only when the work is done."""

    def versions(self) -> dict[str, str]: ...

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        """Make the flow and its optimiser; the number of trainable numbers. `ValueError`: the library lacks it."""
        ...

    def load(self, rows: Any) -> None:
        """Take the batch `(n, dim)`, float32, that `step` and `density` work on."""
        ...

    def step(self) -> None:
        """One training step on the batch: loss, gradients, Adam."""
        ...

    def density(self) -> None:
        """log p of every row of the batch."""
        ...

    def prepare_sampling(self, n: int) -> None:
        """Compile, where the library compiles, without drawing."""
        ...

    def sample(self) -> None:
        """Draw the `n` rows that `prepare_sampling` said."""
        ...


def make(library: str) -> Adapter:
    return importlib.import_module(f"suite.adapters.{library}_").make()
