"""The rows of any table as standard numbers: what distances between rows are measured in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.anomalies.columns import VaryingColumns
from pushforward.io.errors import UntrustedModelError
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Encoded, Layout, encode
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.frames import frame_kind, is_source
from pushforward.tables.estimators.intake import missing_in_array
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.schema import Column, TableSchema

# Kinds of numbers that a score takes as real ones. Atoms and log scales make ordinary rows improbable: with them the
# mean AUROC over 13 tables fell by 4.5.
NUMBERS = ("bounded", "count", "integer", "positive", "real")
# A feature is held to so many standard deviations, whose square float32 can still hold.
FARTHEST = 1e6
# Two levels of a column are as far apart as two numbers that differ by one standard deviation.
LEVEL = 2**-0.5


@dataclass(frozen=True)
class RowFeatures:
    """The map from rows to standard numbers: one for each number, and one for each level or missing state.

    Numbers have mean 0 and standard deviation 1 over the rows of the fit, and are 0 where they are missing. An angle is
    a point on a circle. A level is a coordinate that holds `LEVEL` in rows of this level, and 0 in others.

    Args:
        schema: Columns of a table with names, or of an array with gaps; None for an array of real numbers.
        varying: Columns of an array that never varied.
        centre: Means of the values `(k,)`.
        scale: Standard deviations of the values `(k,)`, positive.
    """

    schema: TableSchema | None
    varying: VaryingColumns
    centre: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(X: Any) -> RowFeatures:
        """The features of the rows of a fit.

        Args:
            X: As for `AbstractScore.fit`.

        Raises:
            DataError: The table holds nothing that can be compared.
        """
        schema, varying = None, VaryingColumns()
        if is_table(X):
            schema = schema_of(X)
        else:
            x = as_array(X)
            varying = VaryingColumns.of(x)
            if np.isnan(x).any():
                schema = _with_gaps(x)
        if schema is not None and not schema.modelled:
            raise DataError("nothing", "a score: all columns are constant or identifiers, so that no two rows differ.")
        found = RowFeatures(schema, varying, np.zeros(0), np.ones(0))
        values, there = found._values(found._rows(X)[0])
        count = np.maximum(there.sum(axis=0), 1)
        centre = np.where(there, values, 0).sum(axis=0) / count
        deviation = np.sqrt(np.where(there, (values - centre) ** 2, 0).sum(axis=0) / count)
        return RowFeatures(schema, varying, centre, np.where(deviation > 0, deviation, 1.0))

    @property
    def layout(self) -> Layout | None:
        """The layout of the columns of a table; None for an array of real numbers."""
        return None if self.schema is None else Layout(self.schema.modelled)

    @property
    def is_number(self) -> np.ndarray:
        """Which features are numbers on a line, `(m,)`."""
        layout = self.layout
        if layout is None:
            return np.ones(len(self.centre), bool)
        line = [layout.columns[i].period is None for i in layout.valued]
        n_circles = len(line) - sum(line)
        return np.array([*line, *[False] * (n_circles + sum(layout.sizes))], bool)

    def rows_for_density(self, X: Any) -> Any:
        """The rows as a density is fitted to them: an array without its constant columns, or a table."""
        return X if is_table(X) else self.varying.take(as_array(X))

    def settings_of_density(self) -> dict[str, Any]:
        """The arguments of `FlowDensity` that make it take the columns as these features do."""
        return {} if self.schema is None else {"schema": self.schema, "missing": "model"}

    def __call__(self, X: Any) -> np.ndarray:
        """The features of rows, `(n, m)` float64."""
        return self.of_rows(self._rows(X)[0])

    def with_strange(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The features `(n, m)`, and which rows differ where all rows of the fit agreed, `(n,)`."""
        rows, strange = self._rows(X)
        return self.of_rows(rows), strange

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """The features of encoded rows."""
        values, there = self._values(rows)
        layout = self.layout
        if layout is None:
            return np.clip((values - self.centre) / self.scale, -FARTHEST, FARTHEST)
        line = np.array([layout.columns[i].period is None for i in layout.valued], bool)
        standard = np.where(there, (values - self.centre) / self.scale, 0.0)
        periods = np.array([layout.columns[i].period or 1.0 for i in layout.valued])
        turn = 2 * np.pi * values / periods
        circles = np.where(there, np.sin(turn), 0.0)[:, ~line]
        standard = np.where(line, np.clip(standard, -FARTHEST, FARTHEST), np.where(there, np.cos(turn), 0.0))
        states = [LEVEL * (rows[:, [place]] == np.arange(size)) for place, size in enumerate(layout.sizes)]
        return np.concatenate([standard, circles, *states], axis=1)

    def _values(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The values of encoded rows, and whether they are there."""
        layout = self.layout
        if layout is None:
            return rows, np.ones(rows.shape, bool)
        states = [np.ones(len(rows), bool) if s < 0 else rows[:, s] == 0 for s in layout.state_of_value]
        there = np.stack(states, axis=1) if states else np.zeros((len(rows), 0), bool)
        return rows[:, len(layout.sizes) :], there

    def _rows(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The encoded rows, and which of them are strange."""
        layout = self.layout
        if layout is None or not is_table(X):
            x = as_array(X)
            odd = np.isposinf(self.varying.with_strange(x, np.zeros(len(x))))
            x = self.varying.take(x)
            if layout is None:
                gaps = np.isnan(x)
                if gaps.any():
                    names = tuple(f"x{i}" for i in range(x.shape[1]))
                    raise missing_in_array(
                        gaps, names, "Fit the score to rows with such gaps, or leave these rows out."
                    )
                if len(self.centre) not in (0, x.shape[1]):
                    expected = f"{len(self.centre) + len(self.varying.places)} columns, as in the fit"
                    fix = "Pass rows with the columns of the fit."
                    raise ValueError(message("a score", expected, f"{x.shape[1] + len(self.varying.places)}", fix))
                return x, odd
            return encode(layout, read_cells(x, [column.name for column in layout.columns])).rows, odd
        schema: Any = self.schema
        cells = read_cells(X, conventions=schema.reading)
        constants = tuple(column for column in schema.columns if column.kind == "constant")
        found: Encoded = encode(layout, cells, others=constants)
        return found.rows, np.zeros(len(found.rows), bool) if found.strange is None else found.strange

    def to_settings(self) -> dict[str, Any]:
        """What JSON holds of the features."""
        return {"schema": None if self.schema is None else json.loads(self.schema.to_json())}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the features."""
        return {"centre": self.centre, "scale": self.scale, **self.varying.to_arrays()}

    @staticmethod
    def from_stored(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> RowFeatures:
        """What `to_settings` and `to_arrays` gave.

        Raises:
            UntrustedModelError: They are others.
        """
        own = dict(arrays)
        centre, scale = (vector(own, name) for name in ("centre", "scale"))
        if set(settings) != {"schema"} or len(centre) != len(scale) or not (scale > 0).all():
            raise UntrustedModelError("a score: the scales of the columns do not fit each other.")
        schema = None if settings["schema"] is None else TableSchema.from_value(settings["schema"], "a score's schema")
        features = RowFeatures(schema, VaryingColumns.from_arrays(own), centre, scale)
        if features.layout is not None and len(features.layout.valued) != len(centre):
            raise UntrustedModelError("a score: the scales of the columns do not fit the schema.")
        return features


def is_table(X: Any) -> bool:
    """Whether rows come as a table with names or a source of one, and not as an array."""
    return isinstance(X, Cells) or frame_kind(X) is not None or is_source(X)


def as_array(X: Any) -> np.ndarray:
    """An array of numbers `(n, d)` in float64.

    Raises:
        ValueError: It has another shape, is not numeric or holds infinity.
    """
    try:
        x = np.asarray(X, np.float64)
    except (TypeError, ValueError) as error:
        fix = "Pass a data frame for columns of words."
        raise ValueError(message("a score", "rows of numbers", f"{type(X).__name__}", fix)) from error
    if x.ndim != 2 or not x.size:
        raise ValueError(message("a score", "rows (n, d)", f"shape {x.shape}", "Pass one row as X[None]."))
    if np.isinf(x).any():
        raise ValueError(message("a score", "finite numbers", "infinity", "Leave out such rows, or mark them as NaN."))
    return x


def schema_of(X: Any) -> TableSchema:
    """The schema of a table as a score takes it: levels, angles and times as detected, and all other numbers as real.

    Args:
        X: A table of any kind that `read_cells` reads.
    """
    found, _, _ = detect_schema(read_cells(X), missing=True, bounds="none")
    return found.model_copy(update={"columns": tuple(map(as_real, found.columns))})


def as_real(column: Column) -> Column:
    """A column of numbers on a line as one of real numbers; any other as it is."""
    if column.kind not in NUMBERS:
        return column
    return Column(name=column.name, kind="real", type=column.type, missing=column.missing)


def _with_gaps(x: np.ndarray) -> TableSchema:
    gaps: Any = np.isnan(x).any(axis=0)
    columns = tuple(Column(name=f"x{i}", kind="real", missing=bool(gap)) for i, gap in enumerate(gaps))
    return TableSchema(rows=len(x), columns=columns)


def vector(arrays: dict[str, np.ndarray], name: str, ndim: int = 1) -> np.ndarray:
    """Take an array of finite numbers out of those of a folder.

    Args:
        arrays: Arrays by name, of which this one is removed.
        name: Its name.
        ndim: Number of its axes.

    Raises:
        UntrustedModelError: It is missing or something else.
    """
    found = arrays.pop(name, None)
    if found is None or found.ndim != ndim or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise UntrustedModelError(f"a score: expected an array {name!r} of {ndim} axes and finite numbers.")
    return found
