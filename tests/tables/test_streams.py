"""CSV on a stream: batches of whatever lines have come."""

from __future__ import annotations

import io

import pytest

from pushforward.tables.errors import DataError
from pushforward.tables.reading.streams import stream_cells


class Slow:
    """A stream that gives a few bytes at a time, as a pipe does."""

    def __init__(self, *pieces: bytes):
        self.pieces = list(pieces)

    def read1(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    read = read1


def rows(stream) -> list[list]:
    return [batch.table.to_pylist() for batch in stream_cells(stream)]


def test_rows_come_as_soon_as_their_line_is_complete():
    found = rows(Slow(b"a,b\n1,x", b"y\n2,z\n", b"3,", b"w"))
    assert found == [[{"a": 1, "b": "xy"}, {"a": 2, "b": "z"}], [{"a": 3, "b": "w"}]]


def test_a_line_end_in_a_quoted_cell_parts_nothing():
    assert rows(Slow(b'a,b\n1,"x\n', b'y"\n2,z\n')) == [[{"a": 1, "b": "x\ny"}, {"a": 2, "b": "z"}]]


def test_names_are_made_up_once_where_there_are_none():
    assert rows(Slow(b"1,2\n", b"3,4\n")) == [[{"x0": 1, "x1": 2}], [{"x0": 3, "x1": 4}]]


def test_one_file_is_one_table():
    text = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(200_000))
    batches = list(stream_cells(io.BytesIO(text)))
    assert sum(len(batch) for batch in batches) == 200_000
    assert max(batch.table.nbytes for batch in batches) < 4e6


@pytest.mark.parametrize("text", [b"", b"a,b\n", b"a,b\n1,2,3\n"])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(DataError):
        rows(io.BytesIO(text))
