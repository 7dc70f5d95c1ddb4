"""The sliders and menus of a page: one for each column, with what its positions mean as cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.plotting.axes import Axis
from pushforward.plotting.columns import numbers_in
from pushforward.plotting.fitted import cells_of
from pushforward.report.html import number
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column

# Positions of a slider over numbers without steps, and digits of the numbers that it gives.
POSITIONS, DIGITS = 200, 4
# Levels that a menu offers.
MOST_LEVELS = 300


@dataclass(frozen=True)
class Control:
    """A slider over numbers or dates, or a menu of levels.

    Attributes:
        name: Name of the column.
        low: First position of a slider.
        high: Last position.
        step: Distance of two positions.
        options: Levels of a menu, as words; empty for a slider.
        levels: The levels as cells.
        missing: Whether the cell may be missing.
        always: Whether the cell is always held, for the model is a density given it.
        logarithmic: Whether positions are the decimal logarithms of the numbers.
        column: Column of a table's schema; None for a plain number.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    options: tuple[str, ...] = ()
    levels: tuple[Any, ...] = ()
    missing: bool = False
    always: bool = False
    logarithmic: bool = False
    column: Column | None = None

    def cell(self, position: Any) -> Any:
        """The cell of a position of the slider, or of the number of a level in the menu; None is a missing cell."""
        if position is None:
            return None
        if self.options:
            return self.levels[int(position)]
        value = 10.0 ** float(position) if self.logarithmic else float(position)
        if self.column is None or (self.column.step is None and self.column.kind != "datetime"):
            value = float(f"{value:.{DIGITS}g}")
        if self.column is None:
            return value
        return cells_of(self.column, np.array([value]))[0].as_py()

    def position(self, cell: Any) -> Any:
        """The position of a cell, within the ends of the slider; the number of a level; None for a missing cell."""
        if cell is None:
            return None
        if self.options:
            known = [i for i, level in enumerate(self.levels) if level == cell]
            return known[0] if known else 0
        value = self.number(cell)
        if not np.isfinite(value):
            return None
        value = np.log10(max(value, 10.0**self.low)) if self.logarithmic else value
        return float(np.clip(value, self.low, self.high))

    def number(self, cell: Any) -> float:
        """The number of a cell as axes have it: of dates the time since 1970; NaN for a level or a missing cell."""
        if cell is None:
            return np.nan
        if self.column is None:
            return float(cell)
        return float(numbers_in([self.column], read_cells({self.name: [cell]}))[0, 0])

    def words(self, cell: Any) -> str:
        """A cell in words."""
        if cell is None:
            return "missing"
        if isinstance(cell, float):
            return number(cell)
        return str(cell).removesuffix(" 00:00:00")


def control_of(column: Column, axis: Axis, numbers: np.ndarray, always: bool) -> Control:
    """The control of a column of a table.

    Args:
        column: The column.
        axis: Its axis.
        numbers: Numbers of it in some rows, as `numbers_in` gives them.
        always: Whether it is always held.
    """
    shared: dict[str, Any] = {"name": column.name, "missing": column.missing, "always": always, "column": column}
    if not column.valued:
        family: Any = column.family
        levels = column.levels[:MOST_LEVELS]
        cells = family.write(np.arange(len(levels)), column, np.random.default_rng(0)).to_pylist()
        return Control(options=tuple(str(cell) for cell in cells), levels=tuple(cells), **shared)
    numbers = numbers[np.isfinite(numbers)]
    if column.kind == "circular":
        low = column.low or 0.0
        high = low + (column.period or 1.0) - (column.step or 0.0)
    elif column.seen is not None:
        ends = [float(numbers.min(initial=np.inf)), float(numbers.max(initial=-np.inf)), *column.seen, *column.atoms]
        low, high = float(np.min(ends)), float(np.max(ends))
    else:
        low, high = (float(numbers.min()), float(numbers.max())) if len(numbers) else (0.0, 1.0)
    fine = column.fine or column.step
    if axis.logarithmic and low > 0:
        ends = np.log10([low, high])
        return Control(low=float(ends[0]), high=float(ends[1]), step=float(np.ptp(ends)) / POSITIONS, logarithmic=True,
                       **shared)  # fmt: skip
    width = (high - low) or 1.0
    step = width / POSITIONS
    if fine is not None:
        step = fine * max(1, round(width / fine / POSITIONS))
    return Control(low=low, high=low + width, step=step, **shared)


def plain_controls(names: Sequence[str], values: np.ndarray, *, always: bool = False) -> list[Control]:
    """Sliders over plain numbers.

    Args:
        names: Names of the numbers.
        values: Some of them `(n, d)`, whose ranges the sliders have.
        always: Whether they are always held.
    """
    made = []
    for name, own in zip(names, values.T, strict=True):
        own = own[np.isfinite(own)]
        low, high = (float(own.min()), float(own.max())) if len(own) else (0.0, 1.0)
        high = high if high > low else low + 1.0
        made.append(Control(name, low=low, high=high, step=(high - low) / POSITIONS, always=always))
    return made
