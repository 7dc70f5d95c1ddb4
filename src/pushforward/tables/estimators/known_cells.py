"""What is known of the cells of a row, by column, as the model's states and values."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pushforward._words import nearest
from pushforward.inference.known import MOST_CASES, Boxes
from pushforward.inference.table_sources import table_boxes
from pushforward.tables.encoding import Layout, encode, in_steps, numbers_of, places_of, remainders_of
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import AbstractLevels
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.schema import Column, TableSchema

SOURCE = "condition_on"
# A number is on a step if it misses it by less than this share of the step.
ON_STEP = 1e-6


@dataclass(frozen=True)
class Wanted:
    """What is known of one column: one of some values, or a range.

    Args:
        values: Values, None for a missing cell; empty for a range.
        low: Lower end of the range; None for none.
        high: Upper end.
        low_open: Whether the lower end itself is excluded.
        high_open: Whether the upper end itself is excluded.
    """

    values: tuple[Any, ...] = ()
    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False


class Case(NamedTuple):
    """One way in which a column can be as it is known to be.

    Attributes:
        states: By place of a state, the numbers of those that are allowed.
        place: Place of the column's value among all values, -1 where nothing is known of it.
        low: Lower end of the value.
        high: Upper end.
    """

    states: dict[int, list[int]]
    place: int = -1
    low: float = -math.inf
    high: float = math.inf


class Remaining(NamedTuple):
    """A range of a column whose numbers are multiples of a step and a remainder, which a box cannot say alone.

    Attributes:
        value: Place of the multiple in a row.
        state: Place of the state of the remainder.
        own: Place of the state that says whether there is a number, -1 where there always is.
        column: The column.
        wanted: The range, its ends as numbers.
    """

    value: int
    state: int
    own: int
    column: Column
    wanted: Wanted

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Which rows `(n, dim)` have a number in the range, `(n,)`; one that has no number does."""
        column, wanted = self.column, self.wanted
        known = np.array(column.remainders)
        numbers = rows[:, self.value] + known[np.minimum(rows[:, self.state].astype(int), len(known) - 1)]
        slack = ON_STEP * (column.fine or 1.0)
        low, high = (
            (-math.inf if wanted.low is None else wanted.low),
            (math.inf if wanted.high is None else wanted.high),
        )
        above = numbers > low + slack if wanted.low_open else numbers >= low - slack
        absent = np.zeros(len(rows), bool) if self.own < 0 else rows[:, self.own] != 0
        return absent | above & (numbers < high - slack if wanted.high_open else numbers <= high + slack)


def remaining_of(model: TableModel, conditions: Mapping[Any, Any]) -> list[Remaining]:
    """The ranges of columns with remainders among conditions."""
    layout, found = model.layout, []
    for place, at in remainders_of(layout).items():
        column = layout.columns[place]
        if column.name in conditions:
            wanted = wanted_of(column.name, conditions[column.name])
            if not wanted.values:
                ends = [None if end is None else _number(column, end, model) for end in (wanted.low, wanted.high)]
                own = Wanted((), *ends, low_open=wanted.low_open, high_open=wanted.high_open)
                states, values = places_of(layout)
                found.append(Remaining(values[place], at, states.get(place, -1), column, own))
    return found


def wanted_of(name: str, value: Any) -> Wanted:
    """What a value of a dict of conditions says: a cell, None for a missing one, a tuple as a range, or a set."""
    if isinstance(value, Wanted):
        return value
    if isinstance(value, tuple):
        if len(value) != 2 or all(end is None for end in value):
            fix = "A range is (low, high), with None for an end that is not there; a set is {a, b}."
            raise DataError("where", f"{SOURCE}: column '{name}': expected two ends, got {value!r:.60}. {fix}")
        return Wanted(low=value[0], high=value[1])
    if isinstance(value, set | frozenset | list):
        if not value:
            raise DataError("where", f"{SOURCE}: column '{name}': expected values, got an empty set. Name a value.")
        return Wanted(tuple(sorted(value, key=str)))
    return Wanted((value,))


def column_named(schema: TableSchema, name: Any) -> Column:
    """The modelled column of that name.

    Raises:
        DataError: There is none, or its cells are not drawn by the model.
    """
    if name not in schema.names:
        known = [column.name for column in schema.modelled]
        raise DataError("columns", f"{SOURCE}: there is no column {str(name)[:60]!r}.{nearest(str(name)[:60], known)}")
    column = schema.column(name)
    after = {follows.name: follows.of for follows in schema.follows}
    if name in after:
        fix = f"Condition on {', '.join(after[name])}."
        raise DataError("columns", f"{SOURCE}: column '{name}' follows from others and is not drawn. {fix}")
    if not column.modelled:
        raise DataError("columns", f"{SOURCE}: column '{name}' is {column.kind}: it is no part of the model.")
    return column


def boxes_for(model: TableModel, conditions: Mapping[Any, Any]) -> Boxes:
    """What conditions on columns say of the model's states and values, one box for each case.

    Args:
        model: The model.
        conditions: By name of the column; see `wanted_of`.

    Raises:
        DataError: A column or a level is not in the model, with the nearest one that is; or a value does not fit its
            column.
    """
    if not isinstance(conditions, Mapping) or not conditions:
        raise DataError("where", f"{SOURCE}: expected conditions by column, got {conditions!r:.60}. Name a column.")
    layout = model.layout
    cases = []
    for name, value in conditions.items():
        column = column_named(model.schema, name)
        if name in model.given:
            continue
        cases.append(_cases(layout, layout.columns.index(column), wanted_of(name, value), model))
    n_cases = math.prod(map(len, cases))
    if n_cases > MOST_CASES:
        fix = "Name fewer values, or a range."
        raise DataError(
            "where", f"{SOURCE}: expected at most {MOST_CASES} combinations of values, got {n_cases:,}. {fix}"
        )
    n_values, starts = len(layout.valued), np.concatenate([[0], np.cumsum(layout.sizes)]).astype(int)
    low, high = np.full((n_cases, n_values), -np.inf), np.full((n_cases, n_values), np.inf)
    allowed = np.ones((n_cases, starts[-1]), bool)
    for row, combination in enumerate(itertools.product(*cases)):
        for case in combination:
            for place, states in case.states.items():
                own = allowed[row, starts[place] : starts[place + 1]]
                own[~np.isin(np.arange(len(own)), states)] = False
            if case.place >= 0:
                low[row, case.place], high[row, case.place] = case.low, case.high
    fixed = given_cells_of(model, conditions)
    layout_of_given = model.given_layout
    condition = None if fixed is None or layout_of_given is None else encode(layout_of_given, fixed).rows[0]
    return table_boxes(allowed, low, high, condition)


def given_cells_of(model: TableModel, conditions: Mapping[Any, Any]) -> Cells | None:
    """The conditions of a model that has some of its own, as one row of cells; None for one without.

    Raises:
        DataError: One of them is not known, or not by one value.
    """
    if not model.given:
        return None
    row: dict[str, list[Any]] = {}
    for name in model.given:
        wanted = wanted_of(name, conditions[name]) if name in conditions else Wanted()
        if len(wanted.values) != 1:
            fix = f"Give one value for each of {', '.join(model.given)}."
            raise DataError("where", f"{SOURCE}: the model is a density given '{name}', which has to be known. {fix}")
        column, value = model.schema.column(name), wanted.values[0]
        if isinstance(column.family, AbstractLevels):
            _level_states(column, wanted, model)
        elif isinstance(value, str) and column.kind != "datetime" and "time" not in column.type:
            value = _number(column, value, model)
        row[name] = [value]
    return read_cells(row, conventions=model.schema.reading)


def _cases(layout: Layout, i: int, wanted: Wanted, model: TableModel) -> list[Case]:
    column = layout.columns[i]
    if isinstance(column.family, AbstractLevels):
        state = places_of(layout)[0][i]
        return [Case({state: _level_states(column, wanted, model)})]
    return _value_cases(layout, i, wanted, model)


def _level_states(column: Column, wanted: Wanted, model: TableModel) -> list[int]:
    """The states of a column of levels that are as wanted."""
    if not wanted.values:
        if column.kind != "ordinal":
            fix = f"Name some of its levels: {', '.join(map(str, column.levels[:8]))}."
            raise DataError("where", f"{SOURCE}: column '{column.name}' has levels without an order. {fix}")
        low = -math.inf if wanted.low is None else _number(column, wanted.low, model)
        high = math.inf if wanted.high is None else _number(column, wanted.high, model)
        levels = np.array([float(level) for level in column.levels])
        inside = (levels > low if wanted.low_open else levels >= low) & (
            levels < high if wanted.high_open else levels <= high
        )
        if not inside.any():
            shown = f"{levels.min():g} to {levels.max():g}"
            raise DataError("unseen", f"{SOURCE}: column '{column.name}' has no level in that range, only {shown}.")
        return np.flatnonzero(inside).tolist()
    states: list[int] = []
    for value in wanted.values:
        if value is None:
            states.append(_missing(column))
            continue
        cells = read_cells({column.name: [value]}, conventions=model.schema.reading)
        found = column.family.read(cells.table.column(column.name), column, SOURCE)  # pyright: ignore[reportAttributeAccessIssue]
        if found.unseen:
            known = [str(level) for level in (*column.levels, *column.rare)]
            raise DataError(
                "unseen",
                f"{SOURCE}: column '{column.name}' has no level {str(value)[:40]!r}.{nearest(str(value)[:40], known)}",
            )
        states.append(_missing(column) if found.blank[0] else int(found.states[0]))
    return states


def _missing(column: Column) -> int:
    if not column.missing:
        fix = 'Fit with missing="model" (--missing model) to model gaps.'
        raise DataError("where", f"{SOURCE}: column '{column.name}' is never missing in the model. {fix}")
    return column.missing_state


def _number(column: Column, value: Any, model: TableModel) -> float:
    """A number, or a date, as the column's cells hold it.

    Raises:
        DataError: It is none.
    """
    if isinstance(value, str) and column.kind != "datetime" and "time" not in column.type:
        try:
            return float(value)
        except ValueError:
            fix = "Write a number, with a point for decimals."
            raise DataError(
                "non-numeric", f"{SOURCE}: column '{column.name}' holds numbers, and {value[:40]!r} is none. {fix}"
            ) from None
    if isinstance(value, bool | int | float | np.number):
        return float(value)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = value.isoformat() if column.type == "string" else value
    cells = read_cells({column.name: [value]}, conventions=model.schema.reading)
    number = float(numbers_of(cells, column)[0])
    if math.isnan(number):
        raise DataError("dates", f"{SOURCE}: column '{column.name}' cannot be {str(value)[:40]!r}. Write 2024-12-31.")
    return number


def _value_cases(layout: Layout, i: int, wanted: Wanted, model: TableModel) -> list[Case]:
    column = layout.columns[i]
    state_places, value_places = places_of(layout)
    place, state = value_places[i] - len(layout.stated), state_places.get(i)
    if not wanted.values:
        return [_range(layout, i, wanted, model)]
    cases: list[Case] = []
    for value in wanted.values:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            cases.append(Case({} if state is None else {state: [_missing(column)]}))
            if state is None:
                _missing(column)
            continue
        number = _number(column, value, model)
        atoms = [n for n, atom in enumerate(column.atoms) if math.isclose(atom, number, rel_tol=1e-9, abs_tol=1e-12)]
        if atoms and state is not None:
            cases.append(Case({state: [1 + atoms[0]]}))
            continue
        cases.append(_point(layout, i, place, number))
    return cases


def _point(layout: Layout, i: int, place: int, number: float) -> Case:
    """The case of one number that is no atom."""
    column = layout.columns[i]
    state = places_of(layout)[0].get(i)
    states = {} if state is None else {state: [0]}
    remainder = remainders_of(layout).get(i)
    if remainder is not None:
        own = Layout((column,))
        row = encode(own, read_cells({column.name: [number]})).rows[0]
        states[remainder] = [int(row[remainders_of(own)[0]])]
        value = float(row[-1])
    else:
        value = float(in_steps(np.array([number]), column)[0])
    low, high = column.support
    if not low <= value <= high or (column.step is not None and value >= high):
        shown = f"{low:g} to {high:g}"
        raise DataError(
            "where", f"{SOURCE}: column '{column.name}' lies within {shown} in the model, and {number:g} does not."
        )
    return Case(states, place, value, value)


def _range(layout: Layout, i: int, wanted: Wanted, model: TableModel) -> Case:
    """The case of a range of numbers: the values in it, and the atoms in it."""
    column = layout.columns[i]
    low = -math.inf if wanted.low is None else _number(column, wanted.low, model)
    high = math.inf if wanted.high is None else _number(column, wanted.high, model)
    if not low <= high:
        raise DataError("where", f"{SOURCE}: column '{column.name}': the range from {low:g} to {high:g} is empty.")
    atoms = [
        1 + n
        for n, atom in enumerate(column.atoms)
        if (atom > low if wanted.low_open else atom >= low) and (atom < high if wanted.high_open else atom <= high)
    ]
    if column.kind == "circular":
        low, high = low - (column.low or 0.0), high - (column.low or 0.0)
    step = column.step
    if step is not None and i in remainders_of(layout):
        # The multiples that are in the range with one remainder or another; see `Remaining`.
        low, high = low - max(column.remainders), high - min(column.remainders)
        wanted = Wanted(low=low, high=high)
    if step is not None:
        # A number on a step stands for the interval up to the next one.
        first, last = low / step, high / step
        first = (
            math.floor(first + ON_STEP) + 1
            if wanted.low_open
            else math.ceil(first - ON_STEP)
            if math.isfinite(first)
            else first
        )
        last = (
            math.ceil(last - ON_STEP) - 1
            if wanted.high_open
            else math.floor(last + ON_STEP)
            if math.isfinite(last)
            else last
        )
        low, high = first * step, (last + 1) * step
    start, end = column.support
    low, high = max(low, start), min(high, end)
    states = places_of(layout)[0]
    there = low < high
    if not there and not atoms:
        shown = f"{start:g} to {end:g}"
        raise DataError(
            "where", f"{SOURCE}: column '{column.name}' lies within {shown} in the model, not in that range."
        )
    # An end of the support is no limit.
    low, high = (-math.inf if low == start else low), (math.inf if high == end else high)
    allowed = [*([0] if there else []), *atoms]
    place = places_of(layout)[1][i] - len(layout.stated)
    own = {states[i]: allowed} if i in states else {}
    return Case(own, place, low, high) if there else Case(own)
