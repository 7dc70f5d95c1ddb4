"""The laws compile much and compute little: XLA's optimisations cost a quarter of their time and change nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jax
import pytest

# After each case the programs of its laws are of no more use; the small ones, for building networks and drawing
# numbers, are those of the next case too. Clearing now and then bounds the memory.
TESTS_PER_CLEARING = 10
_finished = itertools.count(1)


@pytest.fixture(autouse=True)
def quick_compilation() -> Iterator[None]:
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    if next(_finished) % TESTS_PER_CLEARING == 0:
        jax.clear_caches()
