"""Schemas by hand: faults name the column and the nearest word, edits take effect, and rows must lie in the support."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pushforward.tables import DataError
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, decode, encode
from pushforward.tables.given import check_rows
from pushforward.tables.modelling.preparation import Prepared, prepare
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column, TableSchema, described

RNG = np.random.default_rng(1)
TABLE = {
    "size": RNG.normal(10, 2, 120),
    "rank": RNG.integers(1, 4, 120),
    "colour": RNG.choice(["red", "blue", "green"], 120),
    "code": [f"u{i}" for i in range(120)],
    "when": [f"{1 + i % 12:02d}/{1 + i % 11:02d}/2020" for i in range(120)],
    "flag": RNG.random(120) < 0.5,
    "rain": np.where(RNG.random(120) < 0.6, 0.0, RNG.exponential(1, 120)),
    "still": [2.5] * 120,
}


def fitted(name: str, missing: str = "error", source: Any = None, **column: Any) -> Prepared:
    """`prepare` of a table of one column with this schema of it."""
    cells = read_cells({name: TABLE[name]} if source is None else {name: source})
    schema = {"format": "pushforward-schema", "format_version": 1, "columns": [{"name": name, **column}]}
    return prepare(cells, None, names=None, schema=schema, given=None, missing=missing)


def back(prepared: Prepared) -> list[Any]:
    (cells,) = decode(Layout(prepared.schema.modelled), prepared.rows).values()
    return cells.to_pylist()


FAULTS: dict[str, tuple[str, str]] = {
    "no JSON": ("{", "not valid JSON"),
    "not a number": ('{"columns": NaN}', "NaN is not JSON"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "no columns": ('{"columns": []}', "columns"),
    "a list": ("[]", "the schema"),
    "unknown key": ('{"columns": [{"name": "age", "knd": "real"}]}', "column 'age'"),
    "nearest key": ('{"columns": [{"name": "age", "kind": "real", "sclae": "log"}]}', "Did you mean 'scale'?"),
    "nearest kind": ('{"columns": [{"name": "age", "kind": "positiv"}]}', "Did you mean 'positive'?"),
    "nearest key of the table": (
        '{"colums": [], "columns": [{"name": "a", "kind": "real"}]}',
        "Did you mean 'columns'?",
    ),
    "twice": ('{"columns": [{"name": "a", "kind": "real"}, {"name": "a", "kind": "real"}]}', "listed twice"),
    "bounds": ('{"columns": [{"name": "a", "kind": "bounded", "low": 2.0, "high": 1.0}]}', "'a': low 2 is not below"),
    "one bound": ('{"columns": [{"name": "a", "kind": "bounded", "low": 2.0}]}', "needs low and high"),
    "no period": ('{"columns": [{"name": "a", "kind": "circular"}]}', "needs low and period"),
    "text as a number": ('{"columns": [{"name": "a", "kind": "positive", "low": "0"}]}', "column 'a': low"),
    "level twice": ('{"columns": [{"name": "a", "kind": "ordinal", "levels": [1, 1.0]}]}', "listed twice"),
    "name of blanks": ('{"columns": [{"name": " ", "kind": "real"}]}', "not blank"),
    "column is a number": ('{"columns": [3]}', "column"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_named(name: str) -> None:
    content, words = FAULTS[name]
    with pytest.raises(DataError) as caught:
        TableSchema.from_json(content)
    assert caught.value.code == "schema"
    assert words in str(caught.value)


def test_the_nearest_key_of_an_unknown_one() -> None:
    with pytest.raises(DataError, match=r"column 'age'.*'knd'.*Did you mean 'kind'") as caught:
        TableSchema.from_json('{"columns": [{"name": "age", "kind": "real", "knd": "real"}]}')
    assert caught.value.code == "schema"


def test_categories_become_ranks_and_back() -> None:
    prepared = fitted("rank", kind="category")
    assert set(prepared.schema.columns[0].levels) == {1, 2, 3}
    assert prepared.schema.columns[0].type == "int64"
    assert back(prepared) == list(TABLE["rank"])
    prepared = fitted("colour", kind="ordinal", type="string", levels=["red", "green", "blue"])
    assert prepared.rows[:, 0].tolist() == [["red", "green", "blue"].index(word) for word in TABLE["colour"]]
    assert fitted("rank", kind="ordinal").schema.columns[0].levels == (1, 2, 3)
    assert fitted("size", kind="category").schema.columns[0].type == "double"


def test_identifiers_become_categories() -> None:
    prepared = fitted("code", kind="category")
    (column,) = prepared.schema.columns
    assert (len(column.levels), len(column.rare)) == (32, 88)
    assert sorted(set(column.levels) | set(column.rare)) == sorted(TABLE["code"])


def test_numbers_and_words_can_be_a_category() -> None:
    source = ["1", "2", "x", "2"]
    with pytest.raises(DataError, match="name it a category in a schema"):
        detect_schema(read_cells({"a": source}))
    assert back(fitted("a", source=source, kind="category")) == source


def test_flags_can_be_numbers_and_words() -> None:
    assert back(fitted("flag", kind="boolean")) == TABLE["flag"].tolist()
    prepared = fitted("flag", kind="ordinal", type="int64", levels=[0, 1])
    assert back(prepared) == TABLE["flag"].astype(int).tolist()
    assert (
        fitted("rank", source=np.arange(40) % 2, kind="boolean", type="bool", levels=[False, True]).encoded.unseen == {}
    )


def test_levels_of_schema_and_table_may_differ() -> None:
    prepared = fitted("colour", kind="category", type="string", levels=["red", "blue", "mauve"])
    assert prepared.encoded.unseen == {"colour": ["green"]}
    assert (prepared.rows[TABLE["colour"] == "green", 0] == 3).all()
    assert any("'green'" in note for note in prepared.notes)


OUTSIDE: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "negative under positive": (
        "x",
        {"kind": "positive"},
        "schema",
        "'x' is positive in the schema (above 0), but 1 of 6",
    ),
    "zero under positive": ("y", {"kind": "positive"}, "schema", 'List it in "atoms": [0]'),
    "below the bounds": ("x", {"kind": "bounded", "low": 0.0, "high": 9.0}, "schema", "(between 0 and 9), but 1 of 6"),
    "at the bound": ("y", {"kind": "bounded", "low": -1.0, "high": 4.5}, "schema", 'List it in "atoms": [4.5]'),
    "above the bounds": ("y", {"kind": "bounded", "low": -1.0, "high": 4.0}, "schema", "such as 4.5"),
    "counts below": ("x", {"kind": "count", "step": 1.0}, "schema", "'x' is count"),
    "low of a date": ("x", {"kind": "datetime", "low": 2.0}, "schema", "above 2"),
    "constant": ("c", {"kind": "real"}, "constant", "its numbers are all 2.5"),
    "constant count": ("c", {"kind": "count", "step": 1.0}, "constant", "'c' is count"),
    "an atom and one more number": ("z", {"kind": "positive", "atoms": [0.0]}, "constant", "all 5"),
    "words under real": ("w", {"kind": "real"}, "non-numeric", "'w' holds 'u' in row 1; expected a number"),
    "words under dates": ("w", {"kind": "datetime", "type": "string"}, "dates", "expected a date like %Y-%m-%d"),
    "levels of another type": (
        "w",
        {"kind": "category", "type": "int64", "levels": ["u"]},
        "schema",
        "'u' is not of type",
    ),
    "flags of another type": ("x", {"kind": "category", "type": "bool", "levels": [1]}, "schema", "not of type bool"),
    "no such type": ("x", {"kind": "real", "type": "float128"}, "schema", "expected an Arrow type"),
    "no such format": ("w", {"kind": "datetime", "type": "string", "format": "%Q"}, "schema", "no format of dates"),
    "too many ranks": ("many", {"kind": "ordinal"}, "schema", "more than 256"),
    "nested levels": ("list", {"kind": "category"}, "schema", "no levels"),
    "nested under levels": (
        "list",
        {"kind": "category", "type": "string", "levels": ["u"]},
        "non-numeric",
        "not levels",
    ),
    "no level at all": ("none", {"kind": "category"}, "schema", "every cell of 'none' is missing"),
    "variance": ("huge", {"kind": "real"}, "infinite", "the variance of 'huge'"),
    "nothing left": ("x", {"kind": "identifier"}, "nothing", "nothing to model"),
}
SOURCES: dict[str, Any] = {
    "x": [-2.5, 1.5, 2.5, 3.5, 4.5, 5.5],
    "y": [0.0, 0.5, 2.5, 3.5, 4.5, 1.5],
    "z": [0.0, 5.0, 0.0, 5.0],
    "c": [2.5] * 6,
    "w": ["u", "v", "u", "v", "u", "v"],
    "many": np.arange(5000) * 0.5,
    "list": [[1], [2, 3]],
    "none": pa.array([None, None], pa.string()),
    "huge": [-1e308, 1e308, 0.5],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_rows_outside_a_schema_are_refused(name: str) -> None:
    column, keys, code, words = OUTSIDE[name]
    with pytest.raises(DataError) as caught:
        fitted(column, source=SOURCES[column], **keys)
    assert caught.value.code == code, caught.value
    assert words in str(caught.value)


def test_without_the_check_rows_outside_would_be_learned_from() -> None:
    """The broken twin: nothing else looks at them."""
    layout = Layout((Column(name="x", kind="positive"),))
    rows = encode(layout, read_cells({"x": [-2.5, 1.5]})).rows
    assert (rows < 0).any()
    with pytest.raises(DataError, match="above 0"):
        check_rows(layout, rows, "the table")
    check_rows(layout, rows, "the table", modelled=False)  # conditions may lie anywhere


def test_real_and_positive() -> None:
    assert fitted("size", kind="positive", low=-100.0).schema.columns[0].kind == "positive"
    prepared = fitted("rain", kind="positive", atoms=[0.0])
    assert prepared.rows[:, 0].sum() == (TABLE["rain"] == 0).sum()
    assert back(prepared) == TABLE["rain"].tolist()
    assert fitted("rain", kind="real").rows.shape == (120, 1)


def test_atoms_on_decimal_steps_are_found() -> None:
    """3 * 0.1 is not 0.3, and an atom at 0.3 must catch it."""
    source = [0.3] * 4 + [0.1, 0.7, 1.1]
    prepared = fitted("a", source=source, kind="positive", step=0.1, atoms=[0.3])
    assert prepared.rows[:, 0].tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert back(prepared) == source


def test_large_numbers_stay_where_they_are() -> None:
    """A tolerance relative to the number moved seconds since 1970 by minutes, and prices by whole units."""
    values = [20_000_000, 20_000_001, 123_456_789_012, 5]
    prepared = fitted("a", source=values, kind="count", type="int64", step=1.0)
    assert prepared.rows[:, 0].tolist() == values
    assert back(prepared) == values
    single = np.array([0.1, 0.7, 1234.3, 20000.7], np.float32)
    assert back(fitted("a", source=single, kind="positive", type="float", step=0.1)) == single.tolist()


def test_formats_of_dates_by_hand() -> None:
    day = fitted("when", kind="datetime", type="string", format="%d/%m/%Y", step=1.0)
    month = fitted("when", kind="datetime", type="string", format="%m/%d/%Y", step=1.0)
    assert back(day) == back(month) == TABLE["when"]
    assert (day.rows != month.rows).any()
    clock = ["01/02/20 05:30 PM", "03/04/21 07:15 AM"]
    prepared = fitted("a", source=clock, kind="datetime", type="string", format="%m/%d/%y %I:%M %p", step=1.0)
    assert back(prepared) == clock


def test_circles_by_hand() -> None:
    source = [10.0, 350.0, 180.0, 359.5]
    prepared = fitted("a", source=source, kind="circular", low=0.0, period=360.0, step=0.5)
    assert prepared.rows[:, 0].tolist() == source
    prepared = fitted("a", source=[10.0, -170.0, 179.5], kind="circular", low=-180.0, period=360.0, step=0.5)
    assert prepared.rows[:, 0].tolist() == [190.0, 10.0, 359.5]
    assert back(prepared) == [10.0, -170.0, 179.5]
    prepared = fitted("a", source=source, kind="circular", low=0.0, period=360.0, step=0.5)
    assert back(prepared) == source


def test_missing_cells_and_schemas() -> None:
    source = pa.array([1.5, None, 2.5, 3.0])
    with pytest.raises(DataError, match="missing values in 'a' \\(1\\)"):
        fitted("a", source=source, kind="real")
    assert fitted("a", source=source, kind="real", missing="drop").rows.shape == (3, 1)
    assert back(fitted("a", "model", source=source, kind="real")) == [1.5, None, 2.5, 3.0]


def test_schema_files(tmp_path: Path) -> None:
    cells = read_cells(TABLE)
    schema, _, _ = detect_schema(cells)
    assert [column.kind for column in schema.columns] == [
        *("positive", "ordinal", "category", "identifier", "datetime", "boolean", "positive", "constant")
    ]
    path = tmp_path / "schema.json"
    path.write_text(schema.to_json())
    assert TableSchema.from_json(path.read_bytes()) == schema
    prepared = prepare(cells, None, names=None, schema=path, given=["rank"], missing="error")
    assert prepared.schema == schema
    assert prepared.given == ("rank",)
    edited = json.loads(schema.to_json())
    edited["columns"][3] = {"name": "code", "kind": "category"}
    prepared = prepare(cells, None, names=None, schema=edited, given=None, missing="error")
    assert prepared.schema.columns[3].kind == "category"
    for target, code in ((tmp_path / "none.json", "not-found"), (tmp_path, "unreadable")):
        with pytest.raises(DataError) as caught:
            prepare(cells, None, names=None, schema=target, given=None, missing="error")
        assert caught.value.code == code
    columns = [{"name": "extra", "kind": "real"}]
    with pytest.raises(DataError, match="'extra', which the table lacks"):
        prepare(cells, None, names=None, schema={"columns": columns}, given=None, missing="error")
    with pytest.raises(TypeError, match="a TableSchema, a dict or a path"):
        prepare(cells, None, names=None, schema=3, given=None, missing="error")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"type": "string", "format": "%Y/%m/%d", "low": 15339.0, "high": 16801.0}, "from 2011/12/31 to 2016/01/01"),
        ({"type": "timestamp[s]", "low": 1577833200.0, "high": 1585418400.0}, "from 2019-12-31 23:00:00 to 2020-03-28"),
        ({"type": "date32[day]", "unit": "month", "low": 240.0, "step": 1.0}, "from 1990-01"),
    ],
)
def test_points_in_time_are_described_as_people_write_them(facts: dict, words: str):
    assert words in described(Column(name="when", kind="datetime", **facts))
