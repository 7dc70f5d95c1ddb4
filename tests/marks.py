"""Parameters of a test that are left to the thorough run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest


def thorough(*values: Any) -> list:
    """Each value as a parameter marked `thorough`; a tuple is the values of several arguments."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.thorough) for v in values]


def split(values: Iterable[Any], every_run: Callable[[Any], bool]) -> list:
    """All values as parameters, those that are not for every run marked `thorough`."""
    return [p for v in values for p in ([v] if every_run(v) else thorough(v))]
