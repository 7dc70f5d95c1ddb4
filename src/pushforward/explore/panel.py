"""What a page shows of a view: a drawing or a table as markup, and the Python that gives the same numbers."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pushforward.report.html import Html


@dataclass(frozen=True)
class Panel:
    """A view as a page shows it.

    Attributes:
        body: The markup.
        code: Python that gives the same numbers; empty where there is none.
    """

    body: Html
    code: str = ""


class Frames(NamedTuple):
    """A moving picture, which the page plays.

    Attributes:
        panel: The first picture, in which the marks of the class `moving` change, and the Python for it.
        marks: For each time the path of these marks.
        titles: For each time its title.
    """

    panel: Panel
    marks: tuple[str, ...]
    titles: tuple[str, ...]


def written(value: Any) -> str:
    """A cell, or a dict of cells, as Python writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {written(cell)}" for key, cell in value.items()) + "}"
    if isinstance(value, datetime.datetime | datetime.date | datetime.time | datetime.timedelta):
        return repr(value)
    if isinstance(value, decimal.Decimal):
        return repr(value)
    if isinstance(value, float | int | str | bool) or value is None:
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    return repr(value.item()) if hasattr(value, "item") else repr(str(value))


def script(*lines: str) -> str:
    """Lines of Python, with the imports that they need before them."""
    text = "\n".join(lines)
    first = ["import pushforward as pf"]
    if "datetime." in text:
        first.insert(0, "import datetime")
    if "decimal." in text or "Decimal(" in text:
        first.insert(0, "from decimal import Decimal")
    if "jax." in text:
        first.insert(0, "import jax")
    if "np." in text:
        first.insert(-1, "import numpy as np")
    if "pa." in text:
        first.insert(-1, "import pyarrow as pa")
    return "\n".join([*first, "", text])
