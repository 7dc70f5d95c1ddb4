"""Doors upwards: methods whose work lies in a higher layer, which is found by name when they are called.

A layer imports nothing above it, and does not need what is above it. A user, however, looks for the report on a model
at the model. Such a method says here which function of which module does its work.
"""

from __future__ import annotations

import importlib
from typing import Any

DOORS = {"report": ("pushforward.report", "make_report")}


def behind(door: str) -> Any:
    """The function of a higher layer that does the work of a method.

    Args:
        door: Name of the door.
    """
    module, name = DOORS[door]
    return getattr(importlib.import_module(module), name)
