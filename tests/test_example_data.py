"""The tables that ship with the examples: each is what `SOURCE.txt` says, and small."""

from __future__ import annotations

import hashlib
import re

from documents import ROOT

DATA = ROOT / "examples/data"
LARGEST = 300_000  # bytes of a table in the repository


def test_every_table_has_its_source_and_its_digest():
    parts = re.split(r"^(?=\S+\.csv$)", (DATA / "SOURCE.txt").read_text(), flags=re.MULTILINE)
    said = {part.split("\n", 1)[0]: part for part in parts if part.strip()}
    tables = sorted(DATA.glob("*.csv"))
    assert sorted(said) == [table.name for table in tables]
    for table in tables:
        assert hashlib.sha256(table.read_bytes()).hexdigest() in said[table.name]
        assert "Licence" in said[table.name]
        assert table.stat().st_size <= LARGEST
