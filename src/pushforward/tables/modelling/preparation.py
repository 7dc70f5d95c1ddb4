"""From a table to rows that a model can be fitted to: what is set aside, encoded and left out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from pushforward._words import nearest
from pushforward.tables.checks import remarks
from pushforward.tables.dependent import sums
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Encoded, Layout, encode, has_blanks, missing_values
from pushforward.tables.errors import DataError
from pushforward.tables.given import check_rows, check_schema, with_levels
from pushforward.tables.kinds.base import Bounds
from pushforward.tables.modelling.conditions import check_varies, conditions_of
from pushforward.tables.modelling.derived import rules_of, sentences
from pushforward.tables.modelling.table_model import real_schema
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.columns import listed
from pushforward.tables.reading.containers import containers_of
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.schema import ASIDE, TableSchema, parse_json

# Of 16384 columns with 256 levels of 16 letters each.
MAX_SCHEMA_BYTES = 2**27
MISSING = ("error", "drop", "model")


@dataclass(frozen=True)
class Prepared:
    """A table ready to be fitted.

    Attributes:
        schema: of all columns.
        given: the columns that are conditions.
        encoded: the modelled columns.
        condition: the conditions `(n, k)`, or None.
        weights: `(n,)` or None.
        notes: remarks for the user, a sentence each.
    """

    schema: TableSchema
    given: tuple[str, ...]
    encoded: Encoded
    condition: np.ndarray | None
    weights: np.ndarray | None
    notes: tuple[str, ...]

    @property
    def rows(self) -> np.ndarray:
        """The encoded rows `(n, dim)`."""
        return self.encoded.rows


def prepare(
    table: Cells | np.ndarray,
    weights: np.ndarray | None,
    *,
    names: Sequence[str] | None,
    schema: Any,
    given: Sequence[str | int] | None,
    missing: str,
    bounds: str = "natural",
    reading: Conventions | None = None,
    order: Sequence[str] = (),
) -> Prepared:
    """Look at a table, or take it as its schema says, and encode it.

    Args:
        table: cells; or an array of real numbers with `names`.
        weights: `(n,)` or None; rows of weight 0 are left out.
        names: of the columns of an array.
        schema: None to detect it; or a `TableSchema`, its JSON as a dict, or a path.
        given: conditions, by name or position.
        missing: `"error"`, `"drop"` or `"model"`.
        bounds: which bounds detected columns have; see `detect_schema`.
        reading: by which conventions an array was read; cells know their own.
        order: names of the columns that the model has first, in this order.

    Raises:
        ValueError: an option is wrong, or too few rows are left; `DataError` for a table that cannot be modelled.
    """
    if missing not in MISSING:
        raise ValueError(f"FlowDensity: expected missing one of {', '.join(MISSING)}, got {missing!r}.")
    if bounds not in get_args(Bounds):
        raise ValueError(f"FlowDensity: expected bounds one of {', '.join(get_args(Bounds))}, got {bounds!r}.")
    if weights is not None:
        table = table[weights > 0] if isinstance(table, np.ndarray) else table.take(weights > 0)
        weights = weights[weights > 0]
        if len(table) < 2:
            got = f"{len(table)} sample(s) of positive weight"
            raise ValueError(f"FlowDensity.fit: expected 2 rows of positive weight or more, got {got}.")
    if isinstance(table, np.ndarray):
        prepared = _prepare_array(table, weights, list(names or ()), given, order)
        own = prepared.schema.model_copy(update={"reading": reading or USUAL})
        return replace(prepared, schema=own)
    if len(table) < 2:
        raise DataError("one-row", f"{table.source}: a density needs rows to learn from; there is only {len(table)}.")
    held = containers_of(table.table)
    found, table, notes = schema_of(table, schema, missing == "model", bounds)
    columns = tuple(c.model_copy(update={"container": held.get(c.name, c.container)}) for c in found.columns)
    found = found.model_copy(update={"columns": columns, "reading": table.conventions})
    conditions = [table.names[i] for i in conditions_of(given, table.names)]
    aside = [column.name for column in found.columns if column.kind in ASIDE]
    notes += _aside_notes(table.source, found, conditions)
    conditions = [name for name in conditions if name not in aside]
    if schema is None:
        found = found.model_copy(update={"follows": rules_of(found, table, conditions)})
        notes += sentences(table.source, found.follows)
    found = ordered(found, conditions, order)
    layout = Layout(tuple(column for column in found.modelled if column.name not in conditions))
    given_layout = Layout(tuple(found.column(name) for name in conditions)) if conditions else None
    if not layout.columns:
        why = f"columns {listed(aside)} are constant or look like identifiers" if aside else "all columns are given"
        fix = 'Name the kind of those to keep in a schema ("kind": "real").'
        raise DataError("nothing", f"{table.source}: there is nothing to model: {why}. {fix}")
    both = Layout(found.modelled)
    blank = has_blanks(Layout(tuple(c for c in both.columns if not c.missing)), table)
    if blank.any():
        if missing != "drop":
            raise missing_values(table, _blank_counts(both, table))
        notes.append(
            f"{table.source}: {int(blank.sum()):,} of {len(table):,} rows have missing values and are left out."
        )
        table, weights = table.take(~blank), None if weights is None else weights[~blank]
        if len(table) < 2:
            raise DataError("missing", f"{table.source}: fewer than 2 rows are left without missing values.")
    condition = None if given_layout is None else encode(given_layout, table).rows
    encoded = encode(layout, table)
    check_rows(layout, encoded.rows, table.source)
    if given_layout is not None and condition is not None:
        check_rows(given_layout, condition, table.source, modelled=False)
    for name, words in encoded.unseen.items():
        notes.append(
            f"{table.source}: '{name}' holds {listed(words, 4)}, not among its levels in the schema: other levels."
        )
    notes += remarks(table.source, layout, encoded.rows, condition)
    return Prepared(found, tuple(conditions), encoded, condition, weights, (*table.notes, *notes))


def schema_of(
    table: Cells, schema: Any, missing: bool, bounds: Any = "natural"
) -> tuple[TableSchema, Cells, list[str]]:
    """The schema of a table, detected or as the user gives it, the cells in its words, and remarks.

    Raises:
        DataError: the schema is not one, or not of this table.
    """
    if schema is None:
        return detect_schema(table, missing=missing, bounds=bounds)
    if isinstance(schema, str | os.PathLike):
        label, schema = os.fspath(schema), read_schema(schema)
        schema = TableSchema.from_value(with_levels(schema, table), label)
    elif isinstance(schema, Mapping):
        schema = TableSchema.from_value(with_levels(dict(schema), table))
    if not isinstance(schema, TableSchema):
        raise TypeError(f"FlowDensity: expected schema a TableSchema, a dict or a path, got {type(schema).__name__}.")
    check_schema(schema)
    there = set(table.names)
    lacking = [name for name in schema.names if name not in there]
    if lacking:
        raise DataError("schema", f"{table.source}: the schema has columns {listed(lacking)}, which the table lacks.")
    known = set(schema.names)
    extra = [name for name in table.names if name not in known]
    notes = [f"{table.source}: {listed(extra)} not in the schema: left out."] if extra else []
    table = table.select(schema.names)
    if missing:  # where nothing is missing, as in a detected schema, samples should have no gaps either
        gaps = {c.name for c in schema.modelled if c.missing or has_blanks(Layout((c,)), table).any()}
        columns = tuple(c.model_copy(update={"missing": c.name in gaps}) for c in schema.columns)
        schema = schema.model_copy(update={"columns": columns})
    return schema, table, notes


def conventions_in(schema: Any) -> Conventions:
    """By which conventions a schema, in any form that `prepare` takes, says that a table is read."""
    if isinstance(schema, TableSchema):
        return schema.reading
    value = read_schema(schema) if isinstance(schema, str | os.PathLike) else schema
    said = value.get("reading") if isinstance(value, Mapping) else None
    try:
        return USUAL if said is None else Conventions.model_validate_json(json.dumps(said))
    except ValueError:  # which the check of the whole schema explains
        return USUAL


def read_schema(path: str | os.PathLike) -> Any:
    """The JSON value of a schema file.

    Raises:
        DataError: there is no such file, it is too large, or no JSON.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_SCHEMA_BYTES + 1)
    except OSError as error:
        code = "not-found" if isinstance(error, FileNotFoundError) else "unreadable"
        raise DataError(code, f"{os.fspath(path)}: {error.strerror}. Name a schema file.") from error
    if len(text) > MAX_SCHEMA_BYTES:
        raise DataError("too-large", f"{os.fspath(path)}: a schema takes at most {MAX_SCHEMA_BYTES // 2**20} MiB.")
    return parse_json(text, os.fspath(path))


def ordered(schema: TableSchema, conditions: Sequence[str], order: Sequence[str]) -> TableSchema:
    """The schema whose model has these columns first.

    Raises:
        DataError: one of them is not modelled, or is named twice.
    """
    known = [column.name for column in schema.modelled if column.name not in conditions]
    for place, name in enumerate(order):
        if name not in known:
            hint = nearest(str(name)[:60], known)
            raise DataError("columns", f"FlowDensity: order names {str(name)[:60]!r}, no column of the model.{hint}")
        if name in order[:place]:
            raise DataError("columns", f"FlowDensity: order names {name!r} twice. Name it once.")
    return schema.model_copy(update={"order": tuple(order)}) if order else schema


def _prepare_array(x: np.ndarray, weights: Any, names: list[str], given: Any, order: Sequence[str]) -> Prepared:
    places = conditions_of(given, names)
    others = [i for i in range(x.shape[1]) if i not in places]
    check_varies(x[:, others], weights, [names[i] for i in others])
    condition = x[:, places] if places else None
    if condition is not None:
        check_varies(condition, weights, [names[i] for i in places], constant=True)
    rules = tuple(sums({names[i]: x[:, i] for i in others}))
    after = {rule.name for rule in rules}
    others = [i for i in others if names[i] not in after]
    schema = real_schema(names, len(x)).model_copy(update={"follows": rules})
    schema = ordered(schema, [names[i] for i in places], order)
    own = {names[i] for i in others}
    others = [names.index(column.name) for column in schema.modelled if column.name in own]
    encoded, layout = Encoded(x[:, others], np.zeros(len(x)), {}), Layout(tuple(schema.columns[i] for i in others))
    notes = [*sentences("the array", rules), *remarks("the array", layout, encoded.rows, condition)]
    return Prepared(schema, tuple(names[i] for i in places), encoded, condition, weights, tuple(notes))


def _aside_notes(source: str, schema: TableSchema, conditions: Sequence[str]) -> list[str]:
    constant = [column.name for column in schema.columns if column.kind == "constant"]
    notes = []
    if constant:
        verb = "are" if len(constant) > 1 else "is"
        notes.append(f"{source}: {listed(constant)} {verb} constant and set aside; samples carry the value again.")
    lost = [name for name in conditions if schema.column(name).kind in ASIDE]
    if lost:
        notes.append(f"{source}: {listed(lost)} cannot be a condition, being constant or an identifier.")
    return notes


def _blank_counts(layout: Layout, table: Cells) -> list[tuple[str, int]]:
    counts = [(c.name, int(has_blanks(Layout((c,)), table).sum())) for c in layout.columns if not c.missing]
    return [(name, count) for name, count in counts if count]


def layouts(prepared: Prepared) -> tuple[Layout, Layout | None]:
    """The layouts of the modelled columns and of the conditions, None without any."""
    given = set(prepared.given)
    columns = tuple(prepared.schema.column(name) for name in prepared.given)
    own = tuple(column for column in prepared.schema.modelled if column.name not in given)
    return Layout(own), Layout(columns) if columns else None
