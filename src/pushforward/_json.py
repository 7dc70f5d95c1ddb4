"""Values of any kind as standard JSON, in which numbers that are not finite are null."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from typing import Any


def to_json(value: Any) -> str:
    """Convert to standard JSON on one line: what is neither number, text, list nor mapping becomes text."""
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, numbers.Integral):
        return int(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None
