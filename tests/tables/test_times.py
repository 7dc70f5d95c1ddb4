"""Dates and times as people write them: each format is found, its numbers are right, and it is written as it was."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pushforward.tables import DataError, times
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, decode, encode
from pushforward.tables.reading.cells import read_cells

MOMENTS = [
    dt.datetime(2024, 1, 2, 3, 4, 5, 123000),
    dt.datetime(2024, 11, 23, 15, 0, 59, 500000),
    dt.datetime(1999, 12, 31, 0, 30, 0, 7000),
    dt.datetime(2023, 5, 30, 12, 59, 1, 999000),
]
# What is written, the format that is found if it has another name, what one number counts, and the step.
SECOND, MINUTE, DAY, MONTH = ("second", 1.0), ("second", 60.0), ("day", 1.0), ("month", 1.0)
WRITTEN = {
    "%Y-%m-%dT%H:%M:%S+01:00": SECOND,
    "%Y-%m-%dT%H:%M:%S-0530": SECOND,
    "%Y-%m-%dT%H:%M:%SZ": SECOND,
    "%Y-%m-%d %H:%M:%S UTC": SECOND,
    "%m/%d/%Y %I:%M %p": MINUTE,
    "%-m/%-d/%Y %-I:%M %p": MINUTE,
    "%-m/%-d/%Y %H:%M": MINUTE,
    "%d.%m.%Y %H:%M": MINUTE,
    "%d.%m.%Y, %H:%M:%S": SECOND,
    "%d %b %Y": DAY,
    "%-d %b %Y": DAY,
    "%-d. %B %Y": DAY,
    "%B %-d, %Y": DAY,
    "%d-%b-%Y": DAY,
    "%d-%^b-%Y": DAY,
    "%a, %d %b %Y %H:%M:%S +0000": SECOND,
    "%d/%m/%y": DAY,
    "%-m/%-d/%y": DAY,
    "%d-%b-%y": DAY,
    "%y-%m-%d": DAY,
    "%Y/%m/%d": DAY,
    "%Y%m%d": DAY,
    "%Y-%m": MONTH,
    "%m/%Y": MONTH,
    "%b %Y": MONTH,
    "%B %Y": MONTH,
    "%H:%M": MINUTE,
    "%H:%M:%S": SECOND,
    "%-H:%M": MINUTE,
    "%I:%M %p": MINUTE,
    "%-I:%M %P": MINUTE,
}


def written(form: str) -> list[str]:
    capitals = "%^" in form
    words = [moment.strftime(form.replace("%^", "%")) for moment in MOMENTS]
    return [word.upper() if capitals else word for word in words]


def found_in(words: list[str]) -> str:
    form, _, _ = times.find_format(pa.array(sorted(words), pa.large_string()))
    assert form is not None
    return form


def seconds(word: str) -> float:
    moment = pd.Timestamp(word)
    assert isinstance(moment, pd.Timestamp)
    return moment.timestamp()


def number(moment: dt.datetime, form: str) -> float:
    """The number that a format stands for, by Python's own calendar."""
    form = form.replace("-", "")
    clock = any(code in form for code in ("%H", "%I"))
    if not any(code in form for code in ("%Y", "%y")):
        return moment.hour * 3600 + moment.minute * 60 + (moment.second if "%S" in form else 0)
    if "%d" not in form:
        return 12 * (moment.year - 1970) + moment.month - 1
    kept = moment.replace(microsecond=0, second=moment.second if "%S" in form else 0)
    seconds = (kept - dt.datetime(1970, 1, 1)).total_seconds()
    return seconds if clock else float(seconds // 86400)


@pytest.mark.parametrize("form", WRITTEN)
def test_formats(form: str) -> None:
    words = written(form)
    found, ambiguous, examples = times.find_format(pa.array(sorted(set(words)), pa.large_string()))
    assert (found, ambiguous, examples) == (form, False, [])
    values = times.parse(pa.array([*words, None]), form)
    np.testing.assert_array_equal(values, [*(number(moment, form) for moment in MOMENTS), np.nan])
    assert times.write(values, form).to_pylist() == [*words, None]
    unit, step = WRITTEN[form]
    assert times.step_of(form) == step
    assert times.unit_of(form) == {"second": 1.0, "day": 86400.0, "month": None}[unit]


@pytest.mark.parametrize("form", sorted(set(WRITTEN) - {"%Y%m%d"}))  # bare digits are numbers before they are dates
def test_columns_of_text_are_dates_and_come_back(form: str) -> None:
    words = written(form) * 5
    cells = read_cells(pd.DataFrame({"t": words, "x": np.arange(20.0) ** 2}))
    schema, tidy, _ = detect_schema(cells)
    column = schema.columns[0]
    assert (column.kind, column.format) == ("circular" if times.only_clock(form) else "datetime", form)
    layout = Layout((column,))
    assert decode(layout, encode(layout, tidy).rows)["t"].to_pylist() == words


@pytest.mark.parametrize("digits", [1, 3, 6])
@pytest.mark.parametrize("offset", ["", "Z", "+01:00"])
def test_fractions_of_a_second(digits: int, offset: str) -> None:
    words = [f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}"[: 20 + digits] + offset for moment in MOMENTS]
    form = found_in(words)
    assert form == f"%Y-%m-%dT%H:%M:%S.%{digits}f{offset}"
    values = times.parse(pa.array(words), form)
    expected = [seconds(word.removesuffix(offset) if offset else word) for word in words]
    np.testing.assert_allclose(values, expected, rtol=0, atol=3e-7)
    assert times.write(values, form).to_pylist() == words
    assert times.step_of(form) == 10.0**-digits


def test_fractions_that_some_lack() -> None:
    """Python's isoformat leaves out a fraction of 0."""
    words = [moment.replace(microsecond=i % 2 * 250000).isoformat() for i, moment in enumerate(MOMENTS)]
    form = found_in(words)
    assert form == "%Y-%m-%dT%H:%M:%S.%f"
    values = times.parse(pa.array(words), form)
    np.testing.assert_allclose(values, [seconds(word) for word in words], rtol=0, atol=3e-7)
    assert times.write(values, form).to_pylist() == words


def test_offsets_that_differ_are_moments() -> None:
    """Summer and winter time in one column: the numbers are seconds in Greenwich, which the text then says."""
    words = ["2024-01-02T12:00:00+01:00", "2024-07-02T12:00:00+02:00"]
    form = found_in(words)
    assert form == "%Y-%m-%dT%H:%M:%S%:z"
    values = times.parse(pa.array(words), form)
    assert values.tolist() == [seconds(word) for word in words]
    assert times.write(values, form).to_pylist() == ["2024-01-02T11:00:00+00:00", "2024-07-02T10:00:00+00:00"]


def test_another_offset_than_that_of_the_format_is_the_same_moment() -> None:
    form = "%Y-%m-%dT%H:%M:%S+01:00"
    values = times.parse(pa.array(["2024-01-02T12:00:00+01:00", "2024-01-02T11:00:00Z"]), form)
    assert values[0] == values[1]


def test_dates_are_taken_where_their_text_was_fitted() -> None:
    """A model of months as text scores real dates too."""
    days = pd.date_range("2020-01-01", periods=30, freq="MS")
    schema, _, _ = detect_schema(read_cells(pd.DataFrame({"m": days.strftime("%Y-%m")})))
    layout = Layout(schema.columns)
    text = encode(layout, read_cells(pd.DataFrame({"m": days.strftime("%Y-%m")}))).rows
    dates = encode(layout, read_cells(pd.DataFrame({"m": days}))).rows
    np.testing.assert_array_equal(text, dates)


NOT_DATES = {
    "ratios": ["16:9", "4:3", "2:1"],
    "codes": ["1234-05", "9999-11", "0001-02"],
    "versions": ["1.2.3", "10.0.1", "2.4.7"],
    "words": ["red", "green", "May"],
    "two orders of a short year": ["01-02-03", "04-05-06"],
    "numbers of eight digits": ["99999999", "12345678"],
    "no such day": ["2024-02-30x", "2024-01-01x"],
}


@pytest.mark.parametrize("name", NOT_DATES)
def test_what_is_no_date(name: str) -> None:
    assert times.find_format(pa.array(sorted(NOT_DATES[name]), pa.large_string())) == (None, False, [])


def test_day_and_month_that_may_be_turned_are_said() -> None:
    for words in (["01/02/2024", "03/04/2024"], ["01/02/24", "03/04/24"]):
        form, ambiguous, _ = times.find_format(pa.array(words, pa.large_string()))
        assert form is not None
        assert (form[:5], ambiguous) == ("%d/%m", True)


def test_mixed_formats_are_an_error() -> None:
    table = pd.DataFrame({"t": ["2024-01-02", "3 Jan 2024", "2024-01-04", "January 5, 2024"] * 9})
    with pytest.raises(DataError, match="several formats") as caught:
        detect_schema(read_cells(table))
    assert caught.value.code == "dates"
