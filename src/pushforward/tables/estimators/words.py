"""What a model's numbers mean, in sentences; and the card that lies in its folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.tables.modelling.folder import ModelParts
from pushforward.tables.modelling.rows import MIDDLE_ERROR
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.schema import MEANING, Column

# Columns named one by one in a sentence.
NAMED = 8


def meaning(model: TableModel) -> list[str]:
    """What the log-probability of a row is, a sentence for each of its parts."""
    layout = model.layout
    stated = [layout.columns[i] for i in layout.stated]
    valued = [layout.columns[i] for i in layout.valued]
    lines = []
    levels = [column.name for column in stated if not column.valued]
    atoms = [f"{c.name} = {', '.join(f'{atom:g}' for atom in c.atoms)}" for c in stated if c.valued and c.atoms]
    missing = [column.name for column in stated if column.missing]
    facts = [*levels, *atoms, *(["what is missing"] if missing else [])]
    if facts:
        lines.append(f"log_mass: the log-probability of {_listed(facts)}; exact.")
    if valued:
        counted = [c.name for c in valued if c.counted]
        dense = [c.name for c in valued if not c.counted]
        what = []
        if dense:
            what.append(f"the log-density of {_listed(dense)} in their units")
        if counted:
            what.append(f"the log-probability of the whole numbers {_listed(counted)}")
        # Values with spaces of their own have exact masses; rounded values of the flow do not.
        rounded = [valued[j].name for j in model.member.flow_places if valued[j].step is not None]
        given = " given these" if facts else ""
        exact = "exact"
        if rounded:
            drawn = float(np.max(model.member.middle_error.value)) > MIDDLE_ERROR
            how = "averaged over draws within its steps" if drawn else "taken at the middle of its steps"
            how = how.replace("its", "their") if len(rounded) > 1 else how
            exact = f"exact but for {_listed(rounded)}, {how} to within bound_error"
        lines.append(f"log_density: {' and '.join(what)}{given}; {exact}.")
    return lines


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def card(parts: ModelParts, sentences: Sequence[str]) -> str:
    """The page for people that lies in a model folder. It holds no row of the data."""
    verdict, recipe = parts.verdict, parts.recipe
    lines = [
        "---",
        "library_name: pushforward",
        "tags: [normalizing-flow, density-estimation]",
        "---",
        "",
        f"# A density of {parts.rows:,} rows",
        "",
        f"A normalizing flow (`{recipe.flow}`) fitted by [pushforward]. It draws new rows and gives each row its "
        "log-probability in nats.",
        "",
        "```bash",
        "pushforward sample MODEL -n 1000 --out samples.csv",
        "pushforward score MODEL data.csv --parts --out scores.csv",
        "```",
        "",
        "## Columns",
        "",
        "| column | kind | |",
        "|---|---|---|",
    ]
    lines += [
        f"| {_cell(c.name)} | {c.kind}{' (given)' if c.name in parts.given else ''} | {_range(c)} |"
        for c in parts.schema.columns
    ]
    lines += [
        "",
        "## What its numbers are",
        "",
        *[f"- {_cell(line)}" for line in sentences],
        "",
        "## How good it is",
        "",
    ]
    lines += [_cell(str(verdict["text"])), ""]
    if parts.baselines:
        lines += ["| on held-out rows | nats per row | standard error |", "|---|---|---|"]
        lines.append(f"| this model | {_number(verdict['held_out_nats'])} | {_number(verdict['standard_error'])} |")
        lines += [f"| {b['name']} | {_number(b['nats'])} | {_number(b['standard_error'])} |" for b in parts.baselines]
        lines.append("")
    if parts.checks:
        lines += ["## Checks of the trained model", "", "| check | verdict | |", "|---|---|---|"]
        lines += [f"| {c['name']} | {c['verdict']} | {_cell(c['sentence'])} |" for c in parts.checks["lines"]]
        lines.append("")
    if parts.notes:
        lines += ["## Remarks on the data", "", *[f"- {_cell(note)}" for note in parts.notes], ""]
    lines += [
        "## Limits",
        "",
        "- Rows unlike those of the fit get scores that nobody tested; `score` marks them `tail` or `extrapolated`.",
        "- A high density is not the same as a typical row, and a log-density may be positive.",
        "- Samples may resemble rows of the data. There is no differential privacy.",
        "- Licence of the data and of this model: not stated here; ask whoever made them.",
        "",
        "[pushforward]: https://pypi.org/project/pushforward",
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _range(column: Column) -> str:
    if column.levels:
        return f"{len(column.levels)} levels"
    if column.seen is not None:
        return f"from {column.seen[0]:g} to {column.seen[1]:g}"
    return MEANING[column.kind]


def _number(value: Any) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.4f}"
