"""What the columns of a table are: detected, written as JSON for people to edit, and held to bounds when read.

A column is `states`, `values`, or both. A state is a discrete fact with a probability mass: a category, a whole number
of few levels, "the value is exactly 0", "the value is missing". A value is a number with a density.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pushforward._words import nearest
from pushforward.tables import times
from pushforward.tables.dependent import Follows
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import (
    MAX_ATOMS,
    MAX_LEVELS,
    MAX_RARE,
    MAX_REMAINDERS,
    MAX_WORD,
    AbstractKind,
    Axis,
    Space,
)
from pushforward.tables.kinds.levels import level_key
from pushforward.tables.kinds.registry import KINDS
from pushforward.tables.reading.containers import Container
from pushforward.tables.reading.conventions import USUAL, Conventions

# As many as the registry has.
Kind = Literal[tuple(KINDS)]  # pyright: ignore[reportInvalidTypeForm]
VALUED: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.holds == "values")
LEVELLED: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.holds == "levels")
ASIDE: tuple[str, ...] = tuple(name for name, kind in KINDS.items() if kind.holds == "nothing")
MEANING: dict[str, str] = {name: kind.meaning for name, kind in KINDS.items()}
MAX_COLUMNS = 16384
MAX_LENGTH = 256


def _printable(name: str) -> str:
    if not name.isprintable() or not name.strip():
        raise ValueError("a name must be printable and not blank")
    return name


Name = Annotated[str, Field(min_length=1, max_length=MAX_LENGTH), AfterValidator(_printable)]
Level = Annotated[str, Field(max_length=MAX_WORD)] | bool | Annotated[int, Field(ge=-(2**63), lt=2**64)] | float
Number = Annotated[float, Field(allow_inf_nan=False)]
Counted = Annotated[int, Field(ge=0, le=2**53)]


class Column(BaseModel):
    """One column.

    Attributes:
        name: as in the table.
        kind: one of `Kind`; `MEANING` says what each is.
        type: the Arrow type that samples come back in, such as `double`, `int64`, `string`, `timestamp[us]`.
        format: for dates and times written as text, their format in the words of `times.parse`; None for ISO 8601.
        local: times of a column with a time zone are counted by the clocks of the zone, so that midnight is on a step.
        unit: what dates are counted in: None for days and seconds, `"month"` where all are the first of a month,
            `"month-end"` where all are the last.
        low: smallest value possible, included for whole and rounded numbers. Samples never fall below it.
        high: largest value possible.
        step: values are multiples of this, as rounding or counting leaves them: each stands for `[x, x + step)`.
        fine: of a column with `remainders`, what all values are multiples of.
        remainders: where values are mostly multiples of `step`, but not all, what they have beyond such a multiple,
            the commonest first; each has a probability, as 0 and 0.99 have among prices.
        scale: `"log"` if a positive column is modelled on the scale of its logarithm, else `"linear"`.
        period: of a circular column.
        levels: of a column of levels, each of which has a probability: the commonest first, or in their order.
        unused: those of `levels` that no row had; samples do not have them either.
        ordered: the levels of a categorical column have an order.
        rare: further levels that share one state, with `rare_counts`; they follow their frequencies.
        rare_counts: how often each of `rare` was seen.
        atoms: numbers that have a probability of their own, such as 0 for a rain gauge.
        missing: missing values are a state of their own.
        tail_index: if the tails are heavy, the exponent of their power law, so that a Student-t map carries them.
        seen: the smallest and the largest number that the rows held; numbers far beyond are extrapolation.
        value: what a constant column always is.
        container: how the data frame of the fit held the column, where its type does not say it.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    name: Name
    kind: Kind  # pyright: ignore[reportInvalidTypeForm] - as many as the registry has
    type: Annotated[str, Field(max_length=128)] = "double"
    format: Annotated[str, Field(max_length=64)] | None = None
    local: bool = False
    unit: Literal["month", "month-end"] | None = None
    low: Number | None = None
    high: Number | None = None
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    fine: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    remainders: Annotated[tuple[Number, ...], Field(max_length=MAX_REMAINDERS, strict=False)] = ()
    scale: Literal["linear", "log"] = "linear"
    period: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    levels: Annotated[tuple[Level, ...], Field(max_length=MAX_LEVELS, strict=False)] = ()
    unused: Annotated[tuple[Level, ...], Field(max_length=MAX_LEVELS, strict=False)] = ()
    ordered: bool = False
    rare: Annotated[tuple[Level, ...], Field(max_length=MAX_RARE, strict=False)] = ()
    rare_counts: Annotated[tuple[Counted, ...], Field(max_length=MAX_RARE, strict=False)] = ()
    atoms: Annotated[tuple[Number, ...], Field(max_length=MAX_ATOMS, strict=False)] = ()
    missing: bool = False
    tail_index: Annotated[float, Field(ge=0.5, le=30)] | None = None
    seen: Annotated[tuple[Number, Number] | None, Field(strict=False)] = None
    value: Level | None = None
    container: Container | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        kind = self.kind
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        fault = self.family.fault(self)
        if fault is not None:
            raise ValueError(fault)
        if kind in LEVELLED and not self.levels:
            raise ValueError(f"a column of kind {kind} needs levels")
        if kind not in LEVELLED and (self.levels or self.rare):
            raise ValueError(f"a column of kind {kind} has no levels")
        if kind not in VALUED and (self.atoms or self.remainders):
            raise ValueError(f"a column of kind {kind} has no atoms and no remainders")
        if self.remainders and (self.step is None or self.fine is None or self.fine >= self.step):
            raise ValueError("remainders need a step and a fine step below it")
        if len(self.rare) != len(self.rare_counts):
            raise ValueError("rare and rare_counts differ in length")
        everything = [*map(level_key, self.levels), *map(level_key, self.rare)]
        if len(set(everything)) < len(everything) or len(set(self.atoms)) < len(self.atoms):
            raise ValueError("a level or an atom is listed twice")
        if not {*map(level_key, self.unused)} <= set(everything):
            raise ValueError("an unused level is not among the levels")
        return self

    @property
    def family(self) -> AbstractKind:
        """The class of its kind."""
        return KINDS[self.kind]

    @property
    def modelled(self) -> bool:
        """Whether the column is part of the model."""
        return self.kind not in ASIDE

    @property
    def valued(self) -> bool:
        """Whether it has numbers with a density."""
        return self.kind in VALUED

    @property
    def n_states(self) -> int:
        """The number of its states: 0 where every cell is a number."""
        if self.valued:
            extra = len(self.atoms) + self.missing
            return 1 + extra if extra else 0
        # The state after the levels stands for all others, rare and never seen.
        return len(self.levels) + 1 + self.missing if self.kind in LEVELLED else 0

    @property
    def missing_state(self) -> int:
        """The number of the state "missing", the last one."""
        return self.n_states - 1

    @property
    def support(self) -> tuple[float, float]:
        """The open interval that the numbers behind the cells fill: a rounded `x` stands for `[x, x + step)`."""
        return self.family.support(self)

    @property
    def space(self) -> Space:
        """What its numbers fill."""
        return self.family.space(self)

    @property
    def counted(self) -> bool:
        """Whether its numbers count by their mass, as whole numbers do."""
        return self.family.counted

    @property
    def axis(self) -> Axis:
        """The axis of a figure of it."""
        return self.family.axis(self)


class TableSchema(BaseModel):
    """The columns of a table, in its order.

    Attributes:
        format: always `"pushforward-schema"`.
        format_version: of this file format.
        rows: rows that were looked at.
        reading: by which conventions the cells are read.
        columns: all of them, also those set aside.
        follows: columns that follow from others in every row, which are set aside and recomputed in samples.
        order: columns that the model has first, in this order; the others come after them as in the table.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal["pushforward-schema"] = "pushforward-schema"
    format_version: Literal[1] = 1
    rows: Counted = 0
    reading: Conventions = USUAL
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=MAX_COLUMNS, strict=False)]
    follows: Annotated[tuple[Follows, ...], Field(max_length=MAX_COLUMNS, strict=False)] = ()
    order: Annotated[tuple[Name, ...], Field(max_length=MAX_COLUMNS, strict=False)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> TableSchema:
        names = [column.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError("a column is listed twice")
        known = {column.name: column for column in self.columns}
        after = {follows.name for follows in self.follows}
        for follows in self.follows:
            wrong = [name for name in (follows.name, *follows.of) if name not in known or not known[name].modelled]
            if wrong or after & set(follows.of) or (follows.factors and not known[follows.name].valued):
                raise ValueError(f"{follows.name!r} cannot follow from {', '.join(map(repr, follows.of[:4]))}")
        if len(set(self.order)) < len(self.order):
            raise ValueError("a column is listed twice in order")
        for name in self.order:
            if name not in known or not known[name].modelled or name in after:
                raise ValueError(f"order names {name!r}, which is no column of the model")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(column.name for column in self.columns)

    @property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that are not set aside, in the order of the model."""
        after = {follows.name for follows in self.follows}
        own = [column for column in self.columns if column.modelled and column.name not in after]
        first = {name: place for place, name in enumerate(self.order)}
        return tuple(sorted(own, key=lambda column: first.get(column.name, len(first))))

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    def select(self, names: Sequence[str]) -> TableSchema:
        """These columns, in this order."""
        known = {column.name: column for column in self.columns}
        chosen = set(names)
        kept = tuple(f for f in self.follows if f.name in chosen and chosen.issuperset(f.of))
        order = tuple(name for name in self.order if name in chosen)
        return self.model_copy(
            update={"columns": tuple(known[name] for name in names), "follows": kept, "order": order}
        )

    def to_json(self) -> str:
        """For people to read and edit: what says nothing is left out."""
        columns = [column.model_dump(exclude_defaults=True) for column in self.columns]
        body = ",\n  ".join(json.dumps(_short(column), ensure_ascii=False, allow_nan=False) for column in columns)
        head = f'"format": "{self.format}", "format_version": {self.format_version}, "rows": {self.rows}'
        if self.reading != USUAL:
            reading = self.reading.model_dump(exclude_defaults=True)
            head += f',\n "reading": {json.dumps(reading, ensure_ascii=False)}'
        rest = ""
        if self.follows:
            rules = [json.dumps(rule.model_dump(exclude_defaults=True), ensure_ascii=False) for rule in self.follows]
            rest = ',\n "follows": [\n  ' + ",\n  ".join(rules) + "\n ]"
        if self.order:
            rest += f',\n "order": {json.dumps(list(self.order), ensure_ascii=False)}'
        return f'{{{head},\n "columns": [\n  {body}\n ]{rest}}}\n'

    @staticmethod
    def from_json(text: str | bytes, label: str = "the schema") -> TableSchema:
        """Read what `to_json` wrote, perhaps edited.

        Raises:
            DataError: it is not such a schema; the message names the column and, for an unknown key or kind, the
                nearest one that exists.
        """
        return TableSchema.from_value(parse_json(text, label), label)

    @staticmethod
    def from_value(value: Any, label: str = "the schema") -> TableSchema:
        """The same from parsed JSON."""
        try:
            return TableSchema.model_validate(value)
        except ValidationError as error:
            raise DataError("schema", _explain(error, value, label)) from error


def parse_json(text: str | bytes, label: str) -> Any:
    """The value of a JSON text.

    Raises:
        DataError: it is none.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise DataError("schema", f"{label}: not valid JSON: {str(error)[:200]}.") from error


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _short(column: dict[str, Any]) -> dict[str, Any]:
    return {key: list(item) if isinstance(item, tuple) else item for key, item in column.items()}


def _explain(error: ValidationError, value: Any, label: str) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place, where = list(first["loc"]), label
    if len(place) > 1 and place[0] == "columns" and isinstance(place[1], int):
        column = value["columns"][place[1]]
        name = column.get("name", place[1]) if isinstance(column, dict) else place[1]
        where, place = f"{label}: column {str(name)[:80]!r}", place[2:]
    key = str(place[0])[:80] if place else ""
    if first["type"] == "extra_forbidden":
        known = Column.model_fields if "column" in where[len(label) :] else TableSchema.model_fields
        return f"{where}: unknown key {key!r}.{nearest(key, list(known))}"
    if key == "kind" and first["type"] == "literal_error":
        kinds = tuple(KINDS)
        return f"{where}: expected kind one of {', '.join(kinds)}." + _nearest_kind(value, error, kinds)
    text = first["msg"].removeprefix("Value error, ")
    return f"{where}: {key + ': ' if key else ''}{text}."


def _nearest_kind(value: Any, error: ValidationError, kinds: Sequence[str]) -> str:
    place = error.errors()[0]["loc"]
    return nearest(str(value["columns"][place[1]].get("kind"))[:80], kinds)


def described(column: Column) -> str:
    """The schema of a column in a few words."""
    if not column.modelled:
        return MEANING[column.kind]
    words: list[Any] = []
    if column.levels:
        shown = ", ".join(str(level) for level in column.levels[:4])
        words.append(f"{len(column.levels)} levels: {shown}{', ...' if len(column.levels) > 4 else ''}")
        if column.rare:
            words.append(f"{len(column.rare)} rare levels together")
    low, high = (None if end is None else _written(end, column) for end in (column.low, column.high))
    if low is not None and high is not None:
        words.append(f"from {low} to {high}")
    elif high is not None:
        words.append(f"to {high}")
    elif low is not None:
        words.append(f"above {low}" if column.step is None else f"from {low}")
    if column.period is not None:
        words.append(f"period {column.period:g}")
    if column.step is not None and column.kind not in ("integer", "count", "datetime"):
        words.append(f"in steps of {column.step:g}")
    if column.format is not None:
        words.append(f"written {column.format}")
    if column.atoms:
        words.append("with a probability at " + ", ".join(f"{atom:g}" for atom in column.atoms))
    if column.scale == "log":
        words.append("on a log scale")
    if column.tail_index is not None:
        words.append(f"heavy tails (index {column.tail_index:.1f})")
    if column.missing:
        words.append("may be missing")
    return "; ".join(words) or MEANING[column.kind]


def _written(end: float, column: Column) -> str:
    """The end of a column as people write it: a date or a time for a column of these, else a number."""
    if column.kind != "datetime":
        return f"{end:g}"
    if column.type == "string" and column.unit is None:
        return times.write(np.array([end]), column.format or times.DEFAULT_FORMAT)[0].as_py()
    counted = "M" if column.unit is not None else "D" if column.type.startswith("date") else "s"
    return str(np.datetime64(math.floor(end), counted)).replace("T", " ")
