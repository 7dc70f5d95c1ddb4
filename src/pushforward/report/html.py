"""HTML that is escaped by construction: plain text becomes text, and only `Html` is markup."""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

# Elements that have no end.
VOID = ("meta", "br", "hr", "img")


class Html(str):
    """Text that is markup already; every other string is escaped where it enters a page."""

    __slots__ = ()


def markup(value: Any) -> Html:
    """A value as markup: `Html` as it is, None as nothing, lists one after another, all else as escaped text."""
    if isinstance(value, Html):
        return value
    if value is None:
        return Html()
    if isinstance(value, list | tuple):
        return joined(value)
    # A character that HTML cannot hold, such as NUL, is shown as one that stands for it.
    text = "".join(c if c.isprintable() or c in "\n\t" else "�" for c in str(value))
    return Html(escape(text, quote=True))


def joined(values: Iterable[Any], between: str = "") -> Html:
    """Values as markup, one after another, with some text between them."""
    return Html(escape(between).join(markup(value) for value in values))


def tag(element: str, /, *content: Any, **attributes: Any) -> Html:
    """An element.

    Args:
        element: Name of the element.
        content: Its content; see `markup`.
        attributes: Its attributes. An underscore in a name is a hyphen, one at the end is left out; a value of None or
            False leaves the attribute out, and True gives it without a value.
    """
    made = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        made.append(f" {key}" if value is True else f' {key}="{markup(value)}"')
    opening = f"<{element}{''.join(made)}>"
    return Html(opening if element in VOID else f"{opening}{joined(content)}</{element}>")


def number(value: Any, digits: int = 4) -> str:
    """A number in a few digits, with a true minus sign; NaN is n/a."""
    if value is None or not math.isfinite(value):
        return "∞" if value == math.inf else "−∞" if value == -math.inf else "n/a"
    if float(value).is_integer() and abs(value) < 1e7:
        return f"{int(value):,}".replace("-", "−")
    shown = f"{value:,.0f}" if 10**digits <= abs(value) < 1e9 else f"{value:.{digits}g}"
    return shown.replace("-", "−")


def csv_of(columns: dict[str, Any]) -> str:
    """Columns as CSV; NaN is an empty cell. Columns may be of unequal length: their ends are empty.

    Args:
        columns: Numbers or texts by name.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    held = [list(column) for column in columns.values()]
    for i in range(max(map(len, held), default=0)):
        writer.writerow([_cell(column[i]) if i < len(column) else "" for column in held])
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if math.isfinite(value) else ("" if math.isnan(value) else str(float(value)))
    return "" if value is None else str(value)


def download(name: str, text: str, words: str, kind: str = "text/csv") -> Html:
    """A link that saves a file which lies in the page itself, as a data URI.

    Args:
        name: Name of the file.
        text: Its content.
        words: Words of the link.
        kind: Media type.
    """
    data = base64.b64encode(text.encode("utf-8")).decode("ascii")
    return tag("a", words, class_="download", download=name, href=f"data:{kind};charset=utf-8;base64,{data}")


def table_of(
    header: Sequence[str], rows: Sequence[Sequence[Any]], *, caption: str = "", classes: Sequence[str] | None = None
) -> Html:
    """A table whose columns can be sorted where it has two rows or more.

    Args:
        header: Names of the columns.
        rows: Cells: texts, numbers (which are written short and sorted by their value) or markup; a pair is a text with
            the number that it is sorted by.
        caption: Words that say what the table holds.
        classes: Class of each row, which colours it.
    """
    numeric = [all(_is_number(row[i]) for row in rows) and bool(rows) for i in range(len(header))]
    sortable = len(rows) > 1

    def head(words: str, right: bool) -> Html:
        inside = tag("button", words, type="button") if sortable and words else words
        return tag("th", inside, scope="col", class_="number" if right else None)

    body = []
    for i, row in enumerate(rows):
        cells = [_data(cell, right) for cell, right in zip(row, numeric, strict=True)]
        body.append(tag("tr", cells, class_=None if classes is None else classes[i] or None))
    made = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", [head(*pair) for pair in zip(header, numeric, strict=True)])),
        tag("tbody", body),
        class_="sortable" if sortable else None,
    )
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption or "table")


def _is_number(cell: Any) -> bool:
    cell = cell[1] if isinstance(cell, tuple) else cell
    return cell is None or (isinstance(cell, int | float | np.number) and not isinstance(cell, bool))


def _data(cell: Any, right: bool) -> Html:
    words, value = cell if isinstance(cell, tuple) else (cell, None)
    if isinstance(words, int | float | np.number) and not isinstance(words, bool):
        words, value = number(words), float(words)
    if words is None and right:
        words = "n/a"
    return tag("td", words, class_="number" if right else None, data_value=None if value is None else f"{value:.9g}")
