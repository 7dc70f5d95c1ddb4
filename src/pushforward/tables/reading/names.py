"""Names of columns: found, checked, and made up for tables without any."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

from pushforward.tables.errors import DataError
from pushforward.tables.reading.columns import listed

# The model folder's schema holds names to the same bounds (io/model_records.py).
MAX_COLUMNS = 16384
MAX_NAME = 256


def find_columns(names: Sequence[str], wanted: Sequence[str], source: str) -> list[int]:
    """Positions of the wanted names.

    Raises:
        DataError: one is unknown (with the nearest name) or wanted twice, or none is wanted.
    """
    if not wanted:
        raise DataError("columns", f"{source}: no columns were chosen. It has {listed(names)}.")
    twice = [name for name, times in Counter(wanted).items() if times > 1]
    if twice:
        raise DataError("columns", f"{source}: {listed(twice)} chosen more than once. Name each column once.")
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    unknown = [name for name in wanted if name not in places]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise DataError("columns", f"{source}: no column {listed(unknown)}.{hint} It has {listed(names)}.")
    return [places[name] for name in wanted]


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse names that are empty, repeated, very long, or hold control characters.

    Raises:
        DataError: with the names at fault.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError("too-large", f"{source}: {len(names)} columns; at most {MAX_COLUMNS} are modelled together.")
    blank = [i + 1 for i, name in enumerate(names) if not name.strip()]
    if blank:
        raise DataError(
            "names",
            f"{source}: column number {', '.join(map(str, blank[:8]))} has no name (a row index written along?). "
            "Choose the columns by name with --columns (columns= in Python).",
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError("names", f"{source}: several columns are called {listed(twice)}. Give each its own name.")
    odd = [name[:40] for name in names if len(name) > MAX_NAME or not name.isprintable()]
    if odd:
        raise DataError(
            "names", f"{source}: {listed(odd)}: longer than {MAX_NAME} characters, or with control characters. Rename."
        )


def names_for(count: int, wanted: list[str] | None) -> tuple[str, ...]:
    """Names for a table that has none."""
    own = tuple(f"x{i}" for i in range(count))
    return tuple(wanted) if wanted is not None and len(wanted) == count and not set(wanted) <= set(own) else own
