"""Tables as figures draw them: one number per cell, one axis per column, and the columns that tell most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward._words import nearest
from pushforward.plotting.axes import DAY, Axis, circle_axis, date_axis, duration_axis, level_axis, number_axis

# Categories with a place of their own on an axis; the rest share one.
MOST_LEVELS = 12
# More numbers than this with a probability each have an axis of numbers, for their words would not fit.
MOST_NUMBERS = 15
# Rows and columns that are looked at for the strongest dependence, and the bins of a column there.
LOOKED_AT, SCREENED, CLASSES = 2000, 1000, 6


@dataclass(frozen=True)
class Pictured:
    """Columns as figures draw them.

    Attributes:
        names: Names of the columns.
        data: Positions `(n, d)` of the data along the axes, NaN in a gap; None without data.
        samples: Positions `(m, d)` of samples; None without samples.
        axes: Axes of the columns.
        chosen: Sentence on the choice of columns; empty if all of them are drawn.
    """

    names: tuple[str, ...]
    data: np.ndarray | None
    samples: np.ndarray | None
    axes: tuple[Axis, ...]
    chosen: str


def pictured(
    what: str,
    data: Any,
    samples: Any,
    *,
    names: Sequence[str] | None,
    schema: Any,
    columns: Sequence[str | int] | None,
    most: int,
) -> Pictured:
    """Data and samples with the axes of their columns, which follow the data where there are data.

    Args:
        what: Name of the figure, for messages.
        data: Array `(n, d)`, or a table of any kind; or None.
        samples: The same of a model; or None.
        names: Names of the columns of arrays.
        schema: `TableSchema` of a table; None detects it.
        columns: Names or positions of the columns to draw; None draws all, or those of the strongest dependence where
            there are more than `most`.
        most: Number of columns that a figure can hold.

    Raises:
        ValueError: Shapes differ, a value is infinite, or a column is unknown.
    """
    sets = [of for of in (data, samples) if of is not None]
    if not sets:
        raise ValueError(message(what, "data, samples or both", "neither", "Pass one."))
    if all(_is_array(of) for of in sets):
        arrays = [_matrix(f"{what}: {'data' if of is data else 'samples'}", of, names) for of in sets]
        widths = {values.shape[1] for values in arrays}
        if len(widths) > 1:
            fix = "Pass the same."
            raise ValueError(message(what, "the same columns in data and samples", f"{sorted(widths)}", fix))
        labels = [f"x{i}" for i in range(arrays[0].shape[1])] if names is None else [str(name) for name in names]
        kinds = [None] * len(labels)
    else:
        arrays, kinds = _numbers_of_tables(what, sets, schema)
        labels = [column.name for column in kinds]
    chosen, sentence = _choice(what, labels, kinds, arrays[0], columns, most)
    gapped = [i for i in chosen if any(_gaps(kinds[i], values[:, i]) for values in arrays)]
    axes = [axis_of(labels[i], kinds[i], arrays[0][:, i], i in gapped) for i in chosen]
    places = [np.stack([axis.place(of[:, i]) for i, axis in zip(chosen, axes, strict=True)], axis=1) for of in arrays]
    return Pictured(
        tuple(labels[i] for i in chosen),
        places[0] if data is not None else None,
        places[-1] if samples is not None else None,
        tuple(axes),
        sentence,
    )


def axis_of(name: str, column: Any, values: np.ndarray, gaps: bool = False) -> Axis:
    """The axis of a column.

    Args:
        name: Name of the column.
        column: `Column` of a schema; None for plain numbers.
        values: Values as `numbers_in` gives them; NaN in a gap.
        gaps: Whether there are gaps; those of a column that models them have a place among its levels.
    """
    values = values[np.isfinite(values)]
    name = name.replace("$", r"\$")
    if not len(values):
        values = np.zeros(1)
    if column is None:
        return number_axis(name, values)
    if few_levels(column):
        return _level_axis(name, column, values, gaps and column.missing)
    if column.kind == "datetime" or (column.levels and column.type.startswith(("date", "timestamp"))):
        days = _in_days(column)
        zone = column.type.partition("tz=")[2].rstrip("]")
        return date_axis(name, values, unit=DAY if days else 1.0, zone=zone, step=column.step)
    if column.period:
        clock = column.type.startswith("time")
        return circle_axis(
            name, len(values), low=column.low or 0.0, period=column.period, clock=clock, step=column.step
        )
    if column.type.startswith("duration"):
        return duration_axis(name, values, step=column.step)
    if column.levels:
        return number_axis(name, values, step=float(np.diff(np.sort(column.levels)).min()))
    low, high = column.support
    return number_axis(name, values, low=low, high=high, step=column.step)


def numbers_in(columns: Sequence[Any], cells: Any) -> np.ndarray:
    """The cells of columns `(n, d)` as numbers: of levels their place in the schema, of dates the time since 1970.

    The place after the last level stands for all others. A gap is NaN, or the place after that in a column of levels
    that models gaps. Of more than `MOST_NUMBERS` levels that are numbers, these are the numbers.

    Args:
        columns: `Column` objects of a schema.
        cells: `Cells` of a table with these columns.
    """
    from pushforward.tables.encoding import Layout, decode, encode, places_of

    # A row with a gap is drawn wherever the other columns are, also of a model that was fitted without such rows.
    layout = Layout(tuple(column.model_copy(update={"missing": True}) for column in columns))
    rows, (states, _) = encode(layout, cells).rows, places_of(layout)
    typed = decode(layout, rows)
    made = np.empty((len(rows), len(columns)))
    for i, column in enumerate(columns):
        if column.valued:
            made[:, i] = _plain(typed[column.name], column)
            continue
        made[:, i] = rows[:, states[i]]
        if not few_levels(column):
            known = np.array([*map(float, column.levels), np.nan, np.nan])
            made[:, i] = known[made[:, i].astype(int)]
        elif not column.missing:
            made[made[:, i] > len(column.levels), i] = np.nan
    return made


def _gaps(column: Any, values: np.ndarray) -> bool:
    """Whether there are gaps among values: NaN, or the place after all levels."""
    beyond = column is not None and few_levels(column) and bool((values > len(column.levels)).any())
    return beyond or bool(np.isnan(values).any())


def few_levels(column: Any) -> bool:
    """Whether a column has levels that are told by their words."""
    return bool(column.levels) and (isinstance(column.levels[0], str | bool) or len(column.levels) <= MOST_NUMBERS)


def _plain(array: Any, column: Any) -> np.ndarray:
    """An Arrow array of numbers or times as float64."""
    import pyarrow as pa

    from pushforward.tables import times

    if times.is_time(array.type):
        return times.to_numbers(pa.chunked_array([array]))
    if column.kind == "datetime":
        return times.parse(array, column.format or "%Y-%m-%d")
    return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _in_days(column: Any) -> bool:
    from pushforward.tables import times

    if column.type == "string":
        return not times.has_clock(column.format or "%Y-%m-%d")
    return column.type.startswith("date")


def _level_axis(name: str, column: Any, values: np.ndarray, gaps: bool) -> Axis:
    """Numbers in their order, words the commonest first; beyond `MOST_LEVELS` words share a place."""
    levels, seen = list(column.levels), set(values.astype(int))
    numeric = not isinstance(levels[0], str | bool) and not column.ordered
    order = sorted(range(len(levels)), key=levels.__getitem__) if numeric else list(range(len(levels)))
    shown = order if numeric or len(order) <= MOST_LEVELS else order[: MOST_LEVELS - 1]
    written = column.family.write(np.arange(len(levels)), column, np.random.default_rng(0)).to_pylist()
    words = [f"{written[i]:g}" if isinstance(written[i], float) else str(written[i]) for i in shown]
    others = len(levels) - len(shown) + len(column.rare)
    places = np.full(len(levels) + 2, len(shown))
    places[shown] = np.arange(len(shown))
    if others or len(levels) in seen:
        words.append(f"{others} others" if others > 1 else "other")
    if gaps:
        places[len(levels) + 1] = len(words)
        words.append("missing")
    return level_axis(name, words, places)


def _choice(
    what: str,
    names: list[str],
    kinds: Sequence[Any],
    values: np.ndarray,
    columns: Sequence[str | int] | None,
    most: int,
) -> tuple[list[int], str]:
    """The positions of the columns to draw, and a sentence where they are some of many."""
    if columns is not None:
        found = [_position(what, names, name) for name in columns]
        if not 1 <= len(found) <= most or len(set(found)) < len(found):
            expected = f"1 to {most} different columns"
            raise ValueError(message(what, expected, f"{len(found)}: {list(columns)}", "Name fewer."))
        return found, ""
    if len(names) <= most:
        return list(range(len(names))), ""
    found = strongest(values, [kind is not None and few_levels(kind) for kind in kinds], most)
    of = f"the first {SCREENED} of {len(names)}" if len(names) > SCREENED else f"{len(names)}"
    return found, f"{most} of {of} columns: those of the strongest dependence"


def _position(what: str, names: list[str], name: str | int) -> int:
    if isinstance(name, str):
        if name not in names:
            raise ValueError(message(what, f"columns of {', '.join(names[:20])}", repr(name), nearest(name, names)))
        return names.index(name)
    if not 0 <= name < len(names):
        raise ValueError(message(what, f"columns 0 to {len(names) - 1}", str(name), "Choose others."))
    return int(name)


def strongest(values: np.ndarray, levelled: Sequence[bool], most: int) -> list[int]:
    """The positions of the columns in the pairs of largest mutual information, in the order of the table.

    Args:
        values: Values `(n, d)`, NaN in a gap.
        levelled: Whether each column has levels.
        most: Number of columns to choose.
    """
    shared = information(values[:, :SCREENED], levelled)
    first, second = np.triu_indices(len(shared), 1)
    found: list[int] = []
    for place in np.argsort(-shared[first, second], kind="stable"):
        for i in (int(first[place]), int(second[place])):
            if i not in found and len(found) < most:
                found.append(i)
        if len(found) == most:
            break
    return sorted(found)


def information(values: np.ndarray, levelled: Sequence[bool]) -> np.ndarray:
    r"""The mutual information of each pair of columns `(d, d)` in nats.

    Each column is cut into `CLASSES` classes of about as many rows, or its commonest levels, and the information
    $\sum p_{ab} \log \frac{p_{ab}}{p_a p_b}$ of each pair is lowered by what chance gives, $(A - 1)(B - 1) / 2n$.

    Args:
        values: Values `(n, d)`, NaN in a gap; about `LOOKED_AT` rows are looked at.
        levelled: Whether each column has levels.

    Source: the term for chance: Miller, 1955.
    """
    rows = values[:: max(1, len(values) // LOOKED_AT)]
    n, dim = rows.shape
    classes = np.stack([_classes(rows[:, i], levelled[i]) for i in range(dim)], axis=1)
    size = CLASSES + 1
    hot = (classes[:, :, None] == np.arange(size)).reshape(n, dim * size).astype(np.float32)
    shares = hot.mean(axis=0).reshape(dim, size)
    kinds = (shares > 0).sum(axis=1) - 1
    shared = np.zeros((dim, dim))
    for i in range(dim):  # one block of the table of counts at a time, so that memory stays small
        both = (hot[:, i * size : (i + 1) * size].T @ hot / n).reshape(size, dim, size)
        apart = shares[i][:, None, None] * shares
        ratio = np.where(both > 0, both / np.where(apart > 0, apart, 1.0), 1.0)
        shared[i] = (both * np.log(ratio)).sum(axis=(0, 2)) - kinds[i] * kinds / (2 * n)
    return shared


def _classes(values: np.ndarray, levelled: bool) -> np.ndarray:
    """The class of each value; gaps are one of their own."""
    there = np.isfinite(values)
    if levelled:
        own = np.minimum(np.where(there, values, 0), CLASSES - 1)
    else:
        cuts = np.quantile(values[there], np.arange(1, CLASSES) / CLASSES) if there.any() else np.zeros(1)
        own = np.searchsorted(np.unique(cuts), np.where(there, values, 0), side="right")
    return np.where(there, own, CLASSES).astype(int)


def _is_array(values: Any) -> bool:
    return isinstance(values, np.ndarray | jax.Array | list | tuple)


def _matrix(what: str, values: Any, names: Sequence[str] | None) -> np.ndarray:
    """An array of rows, in which NaN is a gap."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(message(what, "rows and columns (n, d)", f"shape {array.shape}", "Reshape it."))
    if names is not None and len(names) != array.shape[1]:
        fix = "Name every column."
        raise ValueError(message(what, f"{array.shape[1]} names, one per column", str(len(names)), fix))
    if np.isinf(array).any():
        fix = "Leave them out."
        raise ValueError(message(what, "finite numbers, or NaN for gaps", f"{np.isinf(array).sum()} infinite", fix))
    return array


def _numbers_of_tables(what: str, sets: Sequence[Any], schema: Any) -> tuple[list[np.ndarray], list[Any]]:
    """The numbers of each table, and the columns that all of them have."""
    from pushforward.tables.detect import detect_schema
    from pushforward.tables.reading.cells import read_cells

    tables = [read_cells(of) for of in sets]
    if schema is None:
        schema, tables[0], _ = detect_schema(tables[0], missing=True)
    columns = [column for column in schema.modelled if all(column.name in table.names for table in tables)]
    if not columns:
        raise ValueError(message(what, "columns of the schema in each table", "none", "Pass the tables of one fit."))
    return [numbers_in(columns, table) for table in tables], columns
