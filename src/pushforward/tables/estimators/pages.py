"""What a notebook shows of an estimator: its columns, how good it is, its checks. It loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity

# Columns that are listed one by one.
SHOWN = 30


def page_of(density: FlowDensity) -> str:
    """The estimator as HTML: its parameters if it is not fitted; all texts are escaped."""
    if not density.__sklearn_is_fitted__():
        return f"<pre>{escape(repr(density))}</pre>"
    columns = density.schema_.columns
    rows = []
    for column in columns[:SHOWN]:
        kind = column.kind + (" (given)" if column.name in density.given_ else "")
        seen = "" if column.seen is None else f"{column.seen[0]:g} to {column.seen[1]:g}"
        rows.append((column.name, kind, seen))
    if len(columns) > SHOWN:
        rows.append((f"and {len(columns) - SHOWN} more", "", ""))
    parts = [
        f"<h4>FlowDensity: {escape(density.config_['flow'])}, fitted to {density._n_rows:,} rows</h4>",
        f"<p>{escape(density.result_.verdict.text)}</p>",
        _table(("column", "kind", "range"), rows),
        _list(density.compared()),
        _list(density.meaning()),
    ]
    if density.checks_ is not None:
        lines = [(line.name, line.verdict, line.sentence) for line in density.checks_.lines]
        parts.append(f"<details><summary>Checks: {'OK' if density.checks_.ok else 'FAILED'}</summary>")
        parts += [_table(("check", "verdict", ""), lines), "</details>"]
    if density.notes_:
        parts += ["<p>Remarks</p>", _list(density.notes_)]
    return "<div>" + "".join(parts) + "</div>"


def _list(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in row) + "</tr>"

    return f"<table>{cells(header, 'th')}{''.join(cells(row, 'td') for row in rows)}</table>"
