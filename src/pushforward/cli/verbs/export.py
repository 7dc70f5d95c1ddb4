"""`pushforward export`: the density and the sampler of a model as programs that run without this library."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import DATA, Force, Model, verb

if TYPE_CHECKING:
    import numpy as np

    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.modelling.table_model import TableModel

# Number of rows on which an export is verified.
VERIFIED_ROWS = 1000


class Target(StrEnum):
    """Formats of exported programs."""

    stablehlo = "stablehlo"
    onnx = "onnx"


class Precision(StrEnum):
    """Floating types of exported programs."""

    float64 = "float64"
    float32 = "float32"


@verb("pushforward export model --to onnx --out exported")
def export(
    model: Model,
    to: Annotated[
        Target,
        typer.Option(
            "--to", help="Format of the programs: StableHLO for JAX, ONNX for onnxruntime.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Folder to write.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=DATA + " The export is verified on its rows.", show_default=False),
    ] = None,
    precision: Annotated[
        Precision, typer.Option(help="Floating type in which the exported programs compute.")
    ] = Precision.float64,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Write density and sampler as StableHLO or ONNX programs.

    The programs run without this library. They are verified on 1000 rows; the exit code is 6 if their numbers differ
    from those of the model.
    """
    import jax

    from pushforward.export import export_onnx, export_stablehlo
    from pushforward.tables.estimators import FlowDensity

    density = FlowDensity.load(model)
    fitted: TableModel = density.model_
    rows, condition = _rows(density, data)
    with jax.enable_x64(True):
        distribution = fitted.as_flow() or fitted.distribution
    names = _names(fitted.layout)
    given = () if fitted.given_layout is None else _names(fitted.given_layout)
    write = export_stablehlo if to is Target.stablehlo else export_onnx
    try:
        report = write(
            distribution,
            out,
            names=names,
            condition_names=given,
            precision=precision.value,
            rows=rows,
            conditions=condition,
            force=force,
        )
    except (ImportError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    reporter.say(report.sentence)
    for name, reason in report.custom_calls.items():
        reporter.warn(f"the programs call {name}: {reason}")
    if not fitted.plain:
        reporter.say(f"Rows are numbers: {', '.join(names)}. States are numbered as in {model / 'schema.json'}.")
    facts = {
        "model": model,
        "out": out,
        "to": to.value,
        "precision": precision.value,
        "names": names,
        "files": dict(report.files),
        "rows": report.rows,
        "max_abs_error_log_prob": report.max_abs_error_log_prob,
        "max_abs_error_sample": report.max_abs_error_sample,
        "passed": report.ok,
    }
    return reporter.result("export", facts, OK if report.ok else CHECK_FAILED)


def _rows(density: FlowDensity, data: str | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Up to `VERIFIED_ROWS` encoded rows of the table and their conditions."""
    import numpy as np

    from pushforward.tables.reading.cells import read_cells

    if data is None:
        return None, None
    fitted: TableModel = density.model_
    table = read_cells(data, conventions=fitted.schema.reading).select(fitted.needed)
    encoded, condition = fitted.encode(table.take(np.arange(min(len(table), VERIFIED_ROWS))))
    return encoded.rows, condition


def _names(layout: Any) -> list[str]:
    """A name for each number of an event: the states first, then the values."""
    states = [f"{layout.columns[i].name} (state)" for i in layout.stated]
    return [*states, *(layout.columns[i].name for i in layout.valued)]
