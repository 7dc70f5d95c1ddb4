"""What known columns are taken for, in any order of their rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pushforward.tables import DataError
from pushforward.tables.detect import detect_schema
from pushforward.tables.kinds.ends import find_ends, sharp_ends
from pushforward.tables.kinds.steps import find_step
from pushforward.tables.kinds.text import arrow_type, type_name
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column, TableSchema

RNG = np.random.default_rng(7)
N = 4000
RAIN = np.where(RNG.random(N) < 0.57, 0.0, RNG.gamma(0.7, 4.0, N))
NORMAL = RNG.normal(size=N)


def found(name: str, cells: Any) -> Column:
    return detect_schema(read_cells({name: cells}))[0].columns[0]


# Name, cells, and what must be found.
COLUMNS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "rain": ("rain", RAIN, {"kind": "positive", "atoms": (0.0,), "step": None}),
    "rain in tenths": ("rain", np.round(RAIN, 1), {"kind": "positive", "atoms": (0.0,), "step": 0.1}),
    "censored": ("wait", np.minimum(RNG.exponential(2.0, N), 5.0), {"kind": "positive", "atoms": (5.0,)}),
    "ages": ("age", np.clip(RNG.normal(45, 16, N), 18, 90).astype(int), {"kind": ("ordinal", "count")}),
    "house prices": ("price", np.exp(RNG.normal(12.5, 0.5, N)).round(-2).astype(int), {"kind": "count", "step": 100.0}),
    "prices with cents": ("price", np.exp(RNG.normal(3, 0.5, N)).round(2), {"kind": "positive", "step": 0.01}),
    "halves": ("a", (2 * RNG.normal(100, 40, N)).round() / 2, {"kind": "real", "step": 0.5}),
    "tenths of degrees": ("t", RNG.normal(10, 8, N).round(1), {"kind": "real", "step": 0.1}),
    "inches in millimetres": ("d", 25.4 * RNG.integers(3, 900, N), {"kind": "positive", "step": 25.4}),
    "latitude": ("lat", RNG.uniform(-60, 70, N), {"kind": "bounded", "low": -90.0, "high": 90.0}),
    "longitude": ("lon", RNG.uniform(-180, 180, N), {"kind": "bounded", "high": 180.0}),
    "row numbers": ("n", RNG.permutation(N), {"kind": "identifier"}),
    "keys": ("customer_id", RNG.choice(10**6, N, replace=False), {"kind": "identifier"}),
    "words of their own": ("a", [f"key {i}" for i in range(N)], {"kind": "identifier"}),
    "0 and 1": ("a", RNG.integers(0, 2, N), {"kind": "ordinal", "levels": (0, 1)}),
    "0.0 and 1.0": ("a", RNG.integers(0, 2, N).astype(float), {"kind": "ordinal", "levels": (0.0, 1.0)}),
    "flags": ("a", NORMAL > 0, {"kind": "boolean", "levels": (False, True)}),
    "yes and no": ("a", np.where(NORMAL > 0.5, "yes", "no"), {"kind": "category", "levels": ("no", "yes")}),
    "true and false as words": ("a", np.where(NORMAL > 0.5, "true", "false"), {"levels": ("false", "true")}),
    "uniform": ("a", RNG.random(N), {"kind": "bounded", "low": 0.0, "high": 1.0, "step": None}),
    "per cent": ("a", RNG.uniform(0, 100, N), {"kind": "bounded", "low": 0.0, "high": 100.0}),
    "whole per cent": ("a", RNG.integers(0, 101, 1500), {"kind": "bounded", "high": 100.0, "step": 1.0}),
    "compass": ("wind_dir", RNG.uniform(0, 360, N), {"kind": "circular", "low": 0.0, "period": 360.0}),
    "radians": ("phase", RNG.uniform(-np.pi, np.pi, N), {"kind": "circular", "period": 2 * np.pi}),
    "degrees without a name": ("a", RNG.uniform(0, 360, N), {"kind": "positive"}),
    "hours": ("hour", RNG.integers(0, 24, 300), {"kind": "circular", "period": 24.0, "step": 1.0}),
    "lognormal": ("a", np.exp(RNG.normal(0, 0.5, N)), {"kind": "positive", "scale": "log", "tail_index": None}),
    "normal": ("a", NORMAL, {"kind": "real", "step": None, "tail_index": None, "atoms": ()}),
    "decimals in float32": ("a", RNG.normal(0, 30, N).round(2).astype(np.float32), {"kind": "real", "step": 0.01}),
    "float32": ("a", NORMAL.astype(np.float32), {"kind": "real", "step": None}),
    "rows repeated": ("a", np.r_[NORMAL, NORMAL[:400]], {"kind": "real", "step": None, "atoms": ()}),
    "few odd numbers": ("a", RNG.choice([0.1234567, 1.7654321, 2.2222223], 30), {"kind": "ordinal", "step": None}),
    "large whole floats": ("a", NORMAL * 1e20, {"kind": "real", "step": None}),
    "dates": ("a", [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2021" for i in range(300)], {"format": "%d.%m.%Y"}),
    "month first": ("a", [f"{1 + i % 12:02d}/{1 + i % 28:02d}/2021" for i in range(300)], {"format": "%m/%d/%Y"}),
}


def agrees(column: Column, expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        own = getattr(column, key)
        options = value if key == "kind" and isinstance(value, tuple) else (value,)
        assert own in options, (key, own, column)


@pytest.mark.parametrize("title", COLUMNS)
def test_known_columns_in_any_order_and_twice(title: str) -> None:
    name, cells, expected = COLUMNS[title]
    column = found(name, cells)
    agrees(column, expected)
    order = np.random.default_rng(1).permutation(len(cells))
    assert found(name, np.asarray(cells)[order]) == column
    if column.kind in ("identifier", "ordinal"):  # each comes twice then, and no longer names its row
        return
    twice = found(name, np.r_[cells, cells])
    if column.kind != "circular" and twice.kind != "ordinal":
        agrees(twice, {key: value for key, value in expected.items() if key not in ("levels",)})


def test_fives_keep_their_bounds() -> None:
    column = found("a", 5 * RNG.integers(0, 400, N))
    assert (column.kind, column.low) == ("count", 0.0)


def test_heavy_tails() -> None:
    column = found("a", RNG.standard_t(2, 8000))
    assert column.kind == "real"
    assert column.tail_index is not None
    assert 1.2 < column.tail_index < 3.5


def test_steps_are_found_or_denied() -> None:
    """Repeated rows are not rounding: the broken twin is a step of 0.001 for numbers of full precision."""

    def step(values: np.ndarray) -> float | None:
        return find_step(*np.unique(values, return_counts=True))

    assert step(np.repeat(NORMAL[:500], 2)) is None
    assert step(np.repeat(NORMAL[:500].round(3), 2)) == 0.001
    assert step(RNG.integers(0, 50, 500) / 12) == pytest.approx(1 / 12, rel=1e-9)
    assert step(np.repeat([1e-320, 3e-320, 7e-320], 9)) is None
    assert step(np.repeat([1e307, 1.1e308, -1.2e308], 9)) is None
    assert step(np.zeros(9)) is None


def test_ambiguous_dates_are_told() -> None:
    for mark in "/-":
        _, _, notes = detect_schema(
            read_cells({"a": [f"{i:02d}{mark}{j:02d}{mark}2020" for i in range(1, 13) for j in (3, 4)]})
        )
        assert "day/month" in notes[0]
    _, _, notes = detect_schema(read_cells({"a": [f"{i:02d}/04/2020" for i in range(1, 29)]}))
    assert notes == []


def test_nanoseconds_are_told() -> None:
    cells = pa.array([1_700_000_000_000_000_001, 1_700_000_000_000_000_500], pa.timestamp("ns"))
    assert "nanoseconds are rounded" in detect_schema(read_cells({"a": cells}))[2][0]


def test_the_commonest_level_comes_first() -> None:
    column = found("a", ["v"] * 5 + ["u"] * 5 + ["w"] * 9)
    assert column.levels == ("w", "u", "v")


TYPES: tuple[Callable[[], pa.DataType], ...] = (
    *(pa.int8, pa.uint64, pa.float32, pa.float64, pa.bool_, pa.string, pa.date32, pa.date64),
    *(lambda: pa.timestamp("ns"), lambda: pa.timestamp("us", "Europe/Berlin"), lambda: pa.time64("us")),
    lambda: pa.duration("ms"),
)


@pytest.mark.parametrize("kind", TYPES)
def test_types_by_name(kind: Callable[[], pa.DataType]) -> None:
    assert arrow_type(type_name(kind())) == kind()


def test_types_that_tables_do_not_have() -> None:
    assert type_name(pa.dictionary(pa.int8(), pa.date32())) == "date32[day]"
    assert type_name(pa.dictionary(pa.int8(), pa.string())) == "string"
    for name in ("float128", "timestamp[us, tz=a b]", "list<item: int64>", ""):
        with pytest.raises(DataError, match="expected an Arrow type"):
            arrow_type(name)


def test_json_says_what_is_not_said_by_default() -> None:
    schema, _, _ = detect_schema(read_cells({"rain": RAIN, "word": ["a", "b"] * (N // 2)}))
    text = schema.to_json()
    assert text.count("\n") == 5
    assert '"missing"' not in text
    assert TableSchema.from_json(text) == schema


def test_a_bell_with_a_long_tail_does_not_end_where_its_rows_do():
    """Red wine's sulphates: the range is long, so its first twentieth held many rows, and the end was the lowest."""
    rng = np.random.default_rng(0)
    values = np.round(np.exp(rng.normal(-0.4, 0.25, 1300)) + 5 * (rng.uniform(size=1300) < 0.02), 2)
    low, _ = find_ends("sulphates", values, 0.01, "natural")
    assert low is not None
    assert low < values.min() - 0.03
    # An even density does end there.
    even = np.round(rng.uniform(0.37, 2.0, 1300), 2)
    assert find_ends("sulphates", even, 0.01, "natural") == (even.min(), even.max())


def test_days_that_are_sparse_may_lie_just_beyond_the_data():
    days = np.sort(np.random.default_rng(0).permutation(1461)[:1169]) + 15340.0
    days = days[(days > 15340) & (days < 16800)]
    low, high = sharp_ends(days, 1.0, "natural")
    assert low is not None
    assert high is not None
    assert 15336 <= low <= 15340
    assert 16800 <= high <= 16804
    years = np.random.default_rng(0).integers(2015, 2024, 500).astype(float)
    assert sharp_ends(years, 1.0, "natural") == (2015.0, 2023.0)


def test_tables_of_any_kind_have_the_same_schema(tmp_path: Path) -> None:
    columns = {"x": [float(v) for v in np.random.default_rng(5).normal(size=40)], "c": ["a", "b"] * 20}
    path = tmp_path / "rows.parquet"
    pd.DataFrame(columns).to_parquet(path)
    expected = detect_schema(read_cells(columns))[0]
    for table in (columns, pd.DataFrame(columns), pa.table(columns), path, str(path)):
        assert detect_schema(table)[0].names == expected.names
        assert [c.kind for c in detect_schema(table)[0].columns] == [c.kind for c in expected.columns]
    polars = pytest.importorskip("polars")
    assert detect_schema(polars.DataFrame(columns))[0].names == expected.names
    assert detect_schema(np.array(columns["x"])[:, None])[0].names == ("x0",)
