"""Tables of mixed columns: what they hold, how they are read and written, and models of their rows.

Nothing is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import Any

from pushforward.tables.errors import DataError, TableWarning

_HOME = {
    "Cells": "reading.cells",
    "Comparison": "likeness.comparison",
    "Evaluation": "estimators.evaluation",
    "FlowDensity": "estimators.density",
    "ModelParts": "modelling.folder",
    "Table": "reading.tables",
    "TableSchema": "schema",
    "compare": "likeness.two_tables",
    "detect_schema": "detect",
    "evaluate": "estimators.evaluate",
    "load_model": "modelling.folder",
    "read_cells": "reading.cells",
    "read_table": "reading.tables",
    "save_model": "modelling.folder",
    "write_table": "reading.writing",
}

__all__ = ["DataError", "TableWarning", *_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"pushforward.tables.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pushforward.tables' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")
