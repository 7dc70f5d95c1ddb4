"""Columns that follow from others in every row: copies of any kind, and sums of multiples of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

# Share of the size of its terms by which a sum may miss: what adding a few dozen numbers in float64 leaves.
ROUNDING = 1e-9
# Rows per column, and rows besides, from which sums of several columns are looked for: with fewer, columns that have
# nothing to do with each other follow by chance.
ROWS_PER_COLUMN, MORE_ROWS = 2, 10
# Distinct values below which a column does not follow from one other by a line: two values always do.
LEAST_DISTINCT = 4
# A term that moves the sum by less than this share of its spread is no term.
NEGLIGIBLE = 1e-7
# More columns than this are not looked at for sums of several: the work grows with the square of their number.
MOST_COLUMNS = 2000
# Rows in which a sum is looked for first; all rows must then obey it.
FIRST_ROWS = 5000
# Columns that are projected at once onto those before them: products of matrices are quicker than of vectors.
BLOCK = 32


class Follows(BaseModel):
    r"""A column that follows from others: it equals the other, or is $b + \sum_j a_j x_j$.

    Attributes:
        name: of the column.
        of: the columns that it follows from.
        factors: the $a_j$, one for each; empty for a copy.
        offset: the $b$.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1, max_length=256)]
    of: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_COLUMNS, strict=False)]
    factors: Annotated[tuple[float, ...], Field(max_length=MOST_COLUMNS, strict=False)] = ()
    offset: float = 0.0

    @model_validator(mode="after")
    def _consistent(self) -> Follows:
        if len(self.of) != (len(self.factors) or 1):
            raise ValueError(f"{self.name!r} follows from {len(self.of)} columns by {len(self.factors)} factors")
        if self.name in self.of:
            raise ValueError(f"{self.name!r} follows from itself")
        return self

    @property
    def sentence(self) -> str:
        """How it follows, in words."""
        if not self.factors:
            return f"'{self.name}' equals '{self.of[0]}'"
        terms = [f"{factor:.6g} x '{name}'" for factor, name in zip(self.factors, self.of, strict=True)]
        shown = [*terms[:6], *([f"{len(terms) - 6} more"] if len(terms) > 6 else [])]
        offset = [f"{self.offset:.6g}"] if self.offset else []
        return f"'{self.name}' is {' + '.join([*shown, *offset])}"

    def value(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """The numbers of the column from those that it follows from."""
        total = np.full(len(columns[self.of[0]]), self.offset)
        for factor, name in zip(self.factors or (1.0,), self.of, strict=True):
            total = total + factor * columns[name]
        return total

    def holds(self, numbers: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """In which rows the numbers of the column are what they follow to be, up to rounding."""
        size = np.abs(self.offset) + sum(
            np.abs(factor * columns[name]) for factor, name in zip(self.factors or (1.0,), self.of, strict=True)
        )
        return np.abs(numbers - self.value(columns)) <= ROUNDING * np.maximum(size, np.abs(numbers))


def copies(columns: Mapping[str, pa.ChunkedArray | pa.Array]) -> list[Follows]:
    """The columns that equal one of their type before them in every row, whatever they hold.

    Args:
        columns: cells by name, in the order of the table.
    """
    found: list[Follows] = []
    seen: dict[tuple, list[str]] = {}
    for name, cells in columns.items():
        # A few cells tell most columns apart.
        key = (str(cells.type), cells.null_count, str(cells[: min(8, len(cells))].to_pylist()))
        same = next((other for other in seen.get(key, []) if columns[other].equals(cells)), None)
        if same is None:
            seen.setdefault(key, []).append(name)
        else:
            found.append(Follows(name=name, of=(same,)))
    return found


def sums(columns: Mapping[str, np.ndarray]) -> list[Follows]:
    """The columns of numbers that are sums of multiples of ones before them, in every row up to rounding.

    A column that is a line of one other is found in any table; a sum of several where there are twice as many rows as
    columns. By a QR factorisation, column by column in the order of the table, of standardised numbers.

    Args:
        columns: finite numbers by name, `(n,)` each, in the order of the table.
    """
    largest = np.finfo(np.float64).max ** 0.25  # squares of larger numbers, and sums of them, might overflow
    names = [name for name in columns if np.abs(columns[name]).max(initial=0.0) < largest]
    if not names or len(columns[names[0]]) < LEAST_DISTINCT:
        return []
    n = len(columns[names[0]])
    rows = np.sort(np.random.default_rng(0).permutation(n)[:FIRST_ROWS])
    several = n >= ROWS_PER_COLUMN * len(names) + MORE_ROWS and len(names) <= MOST_COLUMNS
    found: list[Follows] = []
    basis = _Basis(len(rows))
    before: list[str] = []
    lines: dict[bytes, str] = {}
    for start in range(0, len(names), BLOCK):
        block = [(name, *_standardised(columns[name][rows])) for name in names[start : start + BLOCK]]
        block = [(name, values, own) for name, values, own in block if own is not None]
        if several and block:
            basis.look_at(np.stack([own for *_, own in block], axis=1))
        for j, (name, values, own) in enumerate(block):
            # Columns on a line have the same standardised numbers, up to sign and rounding.
            first = own[np.flatnonzero(np.abs(own) > 1e-3)[0]]
            key = (np.round(own * np.sign(first), 6) + 0.0).tobytes()
            enough = len(np.unique(values)) >= LEAST_DISTINCT
            follows = _sum_of(name, [lines[key]], columns) if enough and key in lines else None
            left = basis.left_of(j) if several else own
            if follows is None and several and enough and before and np.abs(left).max() <= 1e3 * ROUNDING:
                follows = _sum_of(name, before, columns)
            if follows is not None:
                found.append(follows)
                continue
            lines.setdefault(key, name)
            before.append(name)
            if several:
                basis.add(left)
    return found


def _standardised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers, and these with mean 0 and variance 1; None where they are constant or too large."""
    spread = float(values.std())
    return values, None if not np.isfinite(spread) or spread == 0 else (values - values.mean()) / spread


class _Basis:
    """An orthonormal basis of columns, which grows one by one; a block of columns is projected onto it at once.

    Source: classical Gram-Schmidt, twice: Giraud, Langou, Rozloznik, 2005, doi 10.1007/s00211-005-0615-4.
    """

    def __init__(self, n: int):
        self._whole = np.zeros((n, 0))
        self._new: list[np.ndarray] = []
        self._block = np.zeros((n, 0))

    def look_at(self, block: np.ndarray) -> None:
        """Take a block of columns `(n, b)`, and what is left of them after the basis."""
        self._whole = np.concatenate([self._whole, *(own[:, None] for own in self._new)], axis=1)
        self._new = []
        for _ in range(2):
            block = block - self._whole @ (self._whole.T @ block)
        self._block = block

    def left_of(self, j: int) -> np.ndarray:
        """What is left of column `j` of the block after the basis and all that has been added to it."""
        left = self._block[:, j]
        if self._new:
            new = np.stack(self._new)
            for _ in range(2):
                left = left - new.T @ (new @ left)
        return left

    def add(self, left: np.ndarray) -> None:
        """Add a direction, unless it is rounding alone."""
        size = np.linalg.norm(left)
        if size > 1e-6 * np.sqrt(len(left)):
            self._new.append(left / size)


def _sum_of(name: str, others: list[str], columns: Mapping[str, np.ndarray]) -> Follows | None:
    """How a column follows from others, with as few of them as do it; None if it does not in every row."""
    target = columns[name]
    solution = _solved(target, others, columns)
    kept = np.abs(solution) > NEGLIGIBLE
    if not kept.any():
        return None
    if not kept.all():  # without the terms that are negligible, the others are known better
        others = [other for other, keep in zip(others, kept, strict=True) if keep]
        solution = _solved(target, others, columns)
    matrix = np.column_stack([columns[other] for other in others])
    centre, scale, spread = matrix.mean(axis=0), matrix.std(axis=0), float(target.std())
    factors = _tidy(solution * spread / scale)
    offset = float(target.mean() - factors @ centre)
    if abs(offset) <= ROUNDING * (abs(target.mean()) + np.abs(factors * centre).sum() + spread):
        offset = 0.0
    follows = Follows(
        name=name, of=tuple(others), factors=tuple(factors.tolist()), offset=float(_tidy(np.array([offset]))[0])
    )
    return follows if follows.holds(target, columns).all() else None


def _solved(target: np.ndarray, others: list[str], columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The factors of standardised columns whose sum comes closest to the standardised target."""
    matrix = np.column_stack([columns[other] for other in others])
    standard = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    return np.linalg.lstsq(standard, (target - target.mean()) / target.std(), rcond=None)[0]


def _tidy(factors: np.ndarray) -> np.ndarray:
    """Factors as people write them where that is what they are: 2.54 and not 2.5400000000000107."""
    short = np.array([float(f"{factor:.9g}") for factor in factors])
    return np.where(np.abs(short - factors) <= ROUNDING * np.abs(factors), short, factors)
