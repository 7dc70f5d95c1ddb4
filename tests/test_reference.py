"""The generated tables of the reference are those of the code."""

from __future__ import annotations

import sys

import pytest

import pushforward as pf
from documents import ROOT


@pytest.mark.parametrize(
    "name", ["README.md", *(f"docs/reference/{page}.md" for page in ("zoo", "images", "bijections"))]
)
def test_tables_are_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    import reference  # type: ignore[import-not-found]

    text = (ROOT / name).read_text()
    for mark in reference.TABLES[name]:
        assert f"<!-- end of {mark} -->" in text
    assert reference.page(name) == text, "Run .venv/bin/python scripts/reference.py"


def test_every_flow_says_where_it_comes_from() -> None:
    described = pf.flows.describe()
    assert {row.call.split("(")[0] for row in described} == set(pf.flows.ZOO)
    for row in described:
        assert row.conditional, row.call
        assert "arXiv" in row.source or row.source.endswith(tuple("0123456789")), row.call
    assert str(described).splitlines()[0].split() == ["call", "density", "sampling", "log-det", "source"]


def test_the_api_reference_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page for every public module, with every exported name."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    import api_reference  # type: ignore[import-not-found]

    pages = api_reference.pages()
    assert {path.stem for path in pages} == {"index", *pf._MODULES}
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text() != text]
    assert stale == [], "Run .venv/bin/python scripts/api_reference.py"
