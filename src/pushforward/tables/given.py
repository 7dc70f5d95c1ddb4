"""A schema written or edited by hand: completed from the table, and held against it before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables import times
from pushforward.tables.encoding import Layout, places_of
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import MAX_LEVELS
from pushforward.tables.kinds.levels import levels_as, levels_of
from pushforward.tables.kinds.text import arrow_type, is_text, plain_text, type_name
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import LEVELLED, Column, TableSchema


def with_levels(value: Any, cells: Cells) -> Any:
    """Parsed JSON of a schema, in which columns of levels that list none have those of the table.

    So that `"kind": "category"` is enough. What is no schema is returned as it is, for the check that comes after.

    Raises:
        DataError: a column has no levels, or too many for an ordinal one.
    """
    columns = value.get("columns") if isinstance(value, Mapping) else None
    if not isinstance(columns, list | tuple):
        return value
    return {**value, "columns": [_with_levels(column, cells) for column in columns]}


def _with_levels(column: Any, cells: Cells) -> Any:
    if not isinstance(column, Mapping) or column.get("kind") not in LEVELLED or column.get("levels"):
        return column
    name = column.get("name")
    if not isinstance(name, str) or name not in cells.names:
        return column
    array = cells.table.column(name)
    array = plain_text(array) if is_text(array.type) else array
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    plain = is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not plain:
        raise DataError(
            "schema", f"{cells.source}: '{name}' holds values of type {str(kind)[:60]}, which are no levels."
        )
    levels, rare, counts = levels_of(array.cast(kind))
    if not levels:
        raise DataError("schema", f"{cells.source}: every cell of '{name}' is missing, so that it has no levels.")
    if column["kind"] == "ordinal":
        if len(levels) + len(rare) > MAX_LEVELS:
            fix = 'Name it "integer", "real" or "category".'
            raise DataError("schema", f"{cells.source}: '{name}' has more than {MAX_LEVELS} different values. {fix}")
        levels, rare, counts = tuple(sorted((*levels, *rare))), (), ()
    elif column["kind"] == "boolean" and set(levels) <= {False, True}:
        levels = (False, True) if pa.types.is_boolean(kind) else tuple(sorted(levels))
    return {"type": type_name(array.type), **column, "levels": levels, "rare": rare, "rare_counts": counts}


def check_schema(schema: TableSchema, label: str = "the schema") -> None:
    """Whether what a schema says can be written again as cells.

    Raises:
        DataError: with the column, what is wrong with it, and the fix.
    """
    for column in schema.columns:
        where = f"{label}: column {column.name!r}"
        kind = arrow_type(column.type)
        levels = [*column.levels, *column.rare]
        if levels and not _fits(levels, kind):
            example = next(level for level in levels if not _fits([level], kind))
            raise DataError(
                "schema",
                f'{where}: the level {example!r:.60} is not of type {column.type}. Name the "type" of the levels.',
            )
        if column.type == "string" and (column.kind == "datetime" or column.format is not None):
            form = column.format or "%Y-%m-%d"
            try:
                again = np.isfinite(times.parse(times.write(np.array([19_000.0]), form), form)).all()
            except pa.ArrowException:
                again = False
            if not again:
                raise DataError("schema", f"{where}: {form!r} is no format of dates, as '%d/%m/%Y' is.")


def _fits(levels: list[Any], kind: pa.DataType) -> bool:
    if pa.types.is_boolean(kind) != all(isinstance(level, bool) for level in levels):
        return False
    try:
        levels_as(levels, kind.value_type if pa.types.is_dictionary(kind) else kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return False
    return True


def check_rows(layout: Layout, rows: np.ndarray, source: str, *, modelled: bool = True) -> None:
    """Whether a density can be learned of each column's numbers.

    Args:
        layout: of the columns.
        rows: `(n, layout.dim)`, encoded.
        source: for messages.
        modelled: False for conditions, which may lie outside their bounds and may be constant.

    Raises:
        DataError: numbers lie outside the column's support, where every model's density is 0; or all are equal; or
            their variance is no float64.
    """
    state_places, value_places = places_of(layout)
    for i in layout.valued:
        column, values = layout.columns[i], rows[:, value_places[i]]
        if i in state_places:
            values = values[rows[:, state_places[i]] == 0]
        if len(values) == 0:
            continue
        if modelled:
            _check_support(column, values, len(rows), source)
            if values.min() == values.max():
                raise DataError(
                    "constant",
                    f"{source}: '{column.name}' is {column.kind} in the schema, but its numbers are all {values[0]:g}: "
                    'there is no density over one number. Name it "constant", or "ordinal".',
                )
        _check_scale(column, values, source)


def _check_support(column: Column, values: np.ndarray, n: int, source: str) -> None:
    low, high = column.support
    # A rounded number stands for the interval above it, which may begin at the bound; a number at the bound may not.
    outside = (values < low) | (values > high)
    if column.step is not None or column.space == "circle":
        outside |= values == high
    elif not column.family.closed:
        outside |= (values == low) | (values == high)
    if not outside.any():
        return
    value = values[int(outside.argmax())]
    at_bound = bool(np.isin(values[outside], (low, high)).all())
    end = high - (column.step or 0.0)
    inner = f"above {low:g}" if not np.isfinite(high) else f"between {low:g} and {end:g}"
    fix = (
        f'List it in "atoms": [{value:g}], so that it has a probability' if at_bound else 'Mend "kind", "low" or "high"'
    )
    raise DataError(
        "schema",
        f"{source}: '{column.name}' is {column.kind} in the schema ({inner}), but {int(outside.sum())} of {n} rows "
        f"are not, such as {value:g}. {fix}, or leave those rows out.",
    )


def _check_scale(column: Column, values: np.ndarray, source: str) -> None:
    with np.errstate(over="ignore", invalid="ignore", under="ignore", divide="ignore"):
        spread = np.std(values)
        ends = np.abs(values[[values.argmin(), values.argmax()]]).max() / np.median(
            np.abs(values) + np.finfo(float).tiny
        )
    fine = np.isfinite(ends) if column.space == "half-line" else np.isfinite(spread)
    still = values.min() == values.max()
    if not fine or not (np.isfinite(spread) and (spread > 0 or still)):
        raise DataError(
            "infinite",
            f"{source}: the variance of '{column.name}' overflows or underflows float64. Change its units, or take its "
            "logarithm.",
        )
