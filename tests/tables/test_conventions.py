"""Marks of missing values, decimal commas and signs are read when asked for, and a model reads as its fit did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.tables import DataError, read_cells
from pushforward.tables.detect import detect_schema
from pushforward.tables.reading.batches import iterate_cells
from pushforward.tables.reading.conventions import Conventions, advice
from pushforward.tables.schema import TableSchema

GERMAN = "ort;preis;anteil\nUlm;1.234,50 €;45 %\nBonn;99,00 €;3,5 %\nKiel;2.000.000,00 €;-999\nUlm;7,25 €;12 %\n"
HOW = Conventions.of(na=[-999], decimal=",", strip="€%")
EXPECTED = {
    "ort": ["Ulm", "Bonn", "Kiel", "Ulm"],
    "preis": [1234.5, 99.0, 2e6, 7.25],
    "anteil": [45.0, 3.5, None, 12.0],
}


def test_a_table_as_it_is_written_in_another_country(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(GERMAN)
    cells = read_cells(tmp_path / "t.csv", conventions=HOW)
    assert cells.table.to_pydict() == EXPECTED
    assert cells.conventions.columns == ("preis", "anteil")
    schema, _, _ = detect_schema(cells)
    again = TableSchema.from_json(schema.to_json())
    assert again.reading == cells.conventions
    pieces = list(iterate_cells(tmp_path / "t.csv", 3, conventions=again.reading))
    assert [row for piece in pieces for row in piece.table["anteil"].to_pylist()] == EXPECTED["anteil"]


def test_points_are_thousands_where_commas_are_decimal(tmp_path: Path) -> None:
    """Without a comma in sight 1.234 would be read as a number a thousand times smaller."""
    (tmp_path / "t.csv").write_text("a;b\n1.234;1,5\n5.678;2\n")
    assert read_cells(tmp_path / "t.csv").table["a"].to_pylist() == [1.234, 5.678]
    table = read_cells(tmp_path / "t.csv", conventions=Conventions.of(decimal=",")).table
    assert table.to_pydict() == {"a": [1234, 5678], "b": [1.5, 2.0]}


SOURCES: dict[str, Any] = {
    "whole numbers": ([1, 99, 3, -999], [1, None, 3, None]),
    "fractions": ([1.5, 99.0, 3.0, -999.0], [1.5, None, 3.0, None]),
    "words": (["a", "n.d.", "b", "99"], ["a", None, "b", None]),
    "numbers among words": (["1", "n.d.", "2", "3"], [1, None, 2, 3]),
    "flags": ([True, False, True, True], [True, False, True, True]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_values_that_mean_missing(name: str) -> None:
    values, expected = SOURCES[name]
    cells = read_cells(pd.DataFrame({"c": values}), conventions=Conventions.of(na=[99, -999, "n.d."]))
    assert cells.table["c"].to_pylist() == expected
    assert read_cells(cells, conventions=cells.conventions) is cells


def test_categories_keep_their_frame_and_lose_the_marks() -> None:
    frame = pd.DataFrame({"c": pd.Categorical(["a", "n.d.", "b"])})
    found = read_cells(frame, conventions=Conventions.of(na="n.d.")).table["c"]
    assert found.to_pylist() == ["a", None, "b"]
    assert found.type.value_type == "large_string"


def test_codes_stay_words() -> None:
    frame = pd.DataFrame({"zip": ["02134", "$", "00501"]})
    assert read_cells(frame, conventions=Conventions.of(strip="$")).table["zip"].to_pylist() == ["02134", "$", "00501"]


def test_what_was_a_number_in_the_fit_is_one_in_every_row() -> None:
    """One row alone decides nothing: "5 %" is text where the fit saw words, "x" an error where it saw numbers."""
    how = Conventions.of(strip="%").model_copy(update={"columns": ("share",)})
    row = pd.DataFrame({"share": ["5 %"], "word": ["5 %"]})
    assert read_cells(row, conventions=how).table.to_pylist() == [{"share": 5, "word": "5 %"}]
    with pytest.raises(DataError, match="'share' holds 'x'"):
        read_cells(pd.DataFrame({"share": ["x"], "word": ["y"]}), conventions=how)


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("1,5", "--decimal , (decimal=',' in Python)"),
        ("$3.20", "--strip \"$\" (strip='$' in Python)"),
        ("45%", "--strip \"%\" (strip='%' in Python)"),
        ("$1,234.50", "--strip \"$,\" (strip='$,' in Python)"),
        ("1.234,50 €", "--strip \"€\" --decimal , (strip='€', decimal=',' in Python)"),
    ],
)
def test_the_error_names_the_option_that_reads_it(word: str, options: str) -> None:
    assert advice(word) == options
    frame = pd.DataFrame({"price": [word] * 4, "x": [1.0, 2.0, 3.0, 4.5]})
    frame.loc[1, "price"] = word.replace("5", "7").replace("3", "4")
    with pytest.raises(DataError, match="writes numbers as") as caught:
        detect_schema(read_cells(frame))
    assert options in str(caught.value)
    signs = options.partition("strip='")[2].partition("'")[0]
    how = Conventions.of(decimal="," if "decimal" in options else ".", strip=signs)
    assert read_cells(frame, conventions=how).conventions.columns == ("price",)


@pytest.mark.parametrize("options", [{"decimal": ";"}, {"strip": "-"}, {"strip": "1"}, {"strip": ".", "decimal": "."}])
def test_options_that_cannot_be(options: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Conventions.of(**options)


def test_a_model_reads_as_its_fit_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x, share = rng.normal(size=80).round(2), rng.integers(0, 100, 80)
    rows = [f"{number:.2f};{part} %".replace(".", ",") for number, part in zip(x, share, strict=True)]
    (tmp_path / "t.csv").write_text("x;share\n" + "\n".join([*rows, "-999;50 %"]) + "\n")
    frame = pd.DataFrame({"x": x, "share": share})
    small: dict[str, Any] = {"n_layers": 2, "width": 8, "max_epochs": 1, "verify": False, "random_state": 0}
    asked: dict[str, Any] = {"na": [-999], "decimal": ",", "strip": "%", "missing": "drop"}
    density = pf.FlowDensity(**small, **asked).fit(tmp_path / "t.csv")
    density.save(tmp_path / "model")
    loaded = pf.FlowDensity.load(tmp_path / "model")
    assert (loaded.na, loaded.decimal, loaded.strip) == (["-999"], ",", "%")
    (tmp_path / "u.csv").write_text("x;share\n" + "\n".join(rows) + "\n")
    expected = loaded.score_samples(frame)
    np.testing.assert_array_equal(loaded.score_samples(tmp_path / "u.csv"), expected)
    out = tmp_path / "s.parquet"
    assert main(["score", str(tmp_path / "model"), str(tmp_path / "u.csv"), "--out", str(out), "-q"]) == 0
    np.testing.assert_allclose(pq.read_table(out)["log_prob"].to_numpy(), expected, rtol=1e-9)
    capsys.readouterr()
    flags = ["--na", "-999,n.d.", "--decimal", ",", "--strip", "%"]
    assert main(["schema", str(tmp_path / "t.csv"), *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    reading = {"na": ["-999", "n.d."], "decimal": ",", "strip": "%", "columns": ["share"]}
    assert found["reading"] == reading
    assert main(["fit", str(tmp_path / "t.csv"), "--print-config", *flags]) == 0
    assert 'na = ["-999", "n.d."]' in capsys.readouterr().out


def test_marks_in_an_array() -> None:
    x = np.random.default_rng(0).normal(size=(60, 2))
    x[3, 1] = -999
    small: dict[str, Any] = {"n_layers": 2, "width": 8, "max_epochs": 1, "verify": False, "random_state": 0}
    density = pf.FlowDensity(na=[-999], missing="drop", **small)
    with pytest.warns(pf.tables.TableWarning, match="1 of 60 rows"):
        density.fit(x)
    assert density._n_rows == 59
