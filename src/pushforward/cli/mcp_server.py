"""A server of the Model Context Protocol that answers questions about one fitted density, and changes nothing."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward._checks import message, package_of
from pushforward._json import to_json

if TYPE_CHECKING:
    from pushforward.tables.reading.cells import Cells

MOST_ROWS = 10_000  # rows that one call takes or gives: more belong into files, and to the command line
INSTRUCTIONS = (
    "A fitted density of a table. Rows are JSON objects with the columns that `inspect` lists; null is a missing cell. "
    "Log-densities are natural logarithms (nats) in the units of the table, so that they may be above 0: compare them "
    "with those of other rows. Nothing here changes the model or a file."
)


class Tools:
    """The tools of the server, each a method whose docstring tells the caller what it does.

    Args:
        folder: Folder of the model, as `fit` wrote it.
    """

    def __init__(self, folder: Path):
        from pushforward.tables.estimators import FlowDensity

        self._folder, self._density = folder, FlowDensity.load(folder)

    def _table(self, rows: list[dict[str, Any]]) -> Cells:
        import pyarrow as pa

        from pushforward.tables.reading.cells import read_cells

        if not 0 < len(rows) <= MOST_ROWS:
            fix = "Use `pushforward score` or `evaluate` for files."
            raise ValueError(message("rows", f"1 to {MOST_ROWS:,} rows", f"{len(rows):,}", fix))
        density = self._density
        names = list(dict.fromkeys(name for row in rows for name in row))
        lacking = [name for name in density.model_.needed if name not in names]
        if lacking:
            fix = "Name every column in one row or more; null is a missing cell."
            expected = f"the columns {', '.join(density.model_.needed)}"
            raise ValueError(message("rows", expected, f"no {', no '.join(lacking)}", fix))
        table = pa.table({name: [row.get(name) for row in rows] for name in names})
        return read_cells(table, conventions=density.schema_.reading).select(density.model_.needed)

    def inspect(self) -> dict[str, Any]:
        """The columns of the table, how the fit went, how the model compares with simple densities, and its checks."""
        from pushforward.tables.modelling.folder import inspect_model
        from pushforward.tables.schema import described

        facts, density = inspect_model(self._folder), self._density
        return {
            "flow": facts.config.flow.name,
            "fitted_rows": facts.metrics.rows,
            "columns": [{"name": c.name, "kind": c.kind, "what": described(c)} for c in facts.schema.columns],
            "scores": density.meaning(),
            "given": list(density.given_),
            "verdict": facts.metrics.verdict.text,
            "comparison": density.compared(),
            "remarks": list(facts.metrics.notes),
            "checks": facts.checks,
        }

    def score(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The log-density of each row in nats, null where it is 0, and the status of the row."""
        table = self._table(rows)
        scores, statuses = self._density.score_samples(table), self._density.row_status(table)
        pairs = zip(scores.tolist(), statuses.tolist(), strict=True)
        return [{"log_prob": nats if math.isfinite(nats) else None, "status": status} for nats, status in pairs]

    def sample(self, n: int, where: str = "", seed: int = 0) -> dict[str, Any]:
        """Draws of the density. `where` says what is known of every row, such as "weather=rain,temp_max>20"."""
        import pyarrow as pa

        from pushforward.tables.estimators.conditioned import condition_table
        from pushforward.tables.estimators.drawing import draw_pieces
        from pushforward.tables.estimators.where import parse_where

        if not 0 < n <= MOST_ROWS:
            raise ValueError(message("sample", f"n from 1 to {MOST_ROWS:,}", f"{n:,}", "Use `pushforward sample`."))
        if self._density.given_:
            fix = "Use `pushforward sample --given`."
            raise ValueError(message("sample", "a density without conditions", "one with", fix))
        if where:
            table, report = condition_table(self._density, parse_where(where)).table(n, seed)
            return {"rows": _plain(table), "report": report.sentence}
        return {"rows": _plain(pa.concat_tables(draw_pieces(self._density, n, None, seed, None)))}

    def evaluate(self, rows: list[dict[str, Any]], seed: int = 0) -> list[str]:
        """Sentences that judge the model by rows that it has not seen: likelihood, columns, tails, likeness."""
        from pushforward.tables.estimators import evaluate

        return list(evaluate(self._density, self._table(rows), seed=seed).sentences)


def _plain(table: Any) -> Any:
    """The rows of an Arrow table as JSON has them: dates and times as text, what is not finite as null."""
    return json.loads(to_json(table.to_pylist()))


def _in_words(tool: Callable[..., Any]) -> Callable[..., Any]:
    """The tool with its errors as answers, so that the caller learns what was expected."""
    from mcp.server.mcpserver.exceptions import ToolError

    @functools.wraps(tool)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        try:
            return tool(*arguments, **options)
        except ValueError as error:
            raise ToolError(str(error)) from error

    return wrapped


def server_of(folder: Path) -> Any:
    """The server of a model, whose tools are declared to be read-only.

    Args:
        folder: Folder of the model.

    Raises:
        ImportError: The package `mcp` is not installed.
    """
    package_of("pushforward mcp", "mcp.server.mcpserver", "mcp")
    from mcp.server.mcpserver import MCPServer
    from mcp.types import ToolAnnotations

    from pushforward import __version__

    server = MCPServer("pushforward", instructions=INSTRUCTIONS, version=__version__, log_level="ERROR")
    tools = Tools(folder)
    for tool in (tools.inspect, tools.score, tools.sample, tools.evaluate):
        server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))(_in_words(tool))
    return server
