"""The verbs and their options. Everything heavy is imported inside the command that needs it."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.options import Chosen, gather, names_in, with_flags
from pushforward.cli.report import INTERRUPT, OK, Interrupted, Reporter, fail, silence

SETTINGS: dict[str, Any] = {
    "name": "pushforward",
    "help": "Fit a normalizing flow to a table of numbers; then sample it, score rows with their exact log-density, "
    "plot.",
    "epilog": "Exit codes: 0 done, 2 usage, 3 data, 4 numerical, 5 untrusted model, 6 a check failed, 130 interrupted.",
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 110},
}
app = typer.Typer(**SETTINGS)  # every verb but `fit`, whose flags depend on the flow


class Kind(StrEnum):
    """Which figure."""

    pair = "pair"
    curve = "curve"
    qq = "qq"
    trajectories = "trajectories"
    field = "field"
    layers = "layers"
    everything = "all"


class Target(StrEnum):
    """What to export to."""

    stablehlo = "stablehlo"
    onnx = "onnx"


class Precision(StrEnum):
    """Floating types of exported programs."""

    float64 = "float64"
    float32 = "float32"


Model = Annotated[Path, typer.Argument(help="Model folder that `fit` wrote.", metavar="MODEL", show_default=False)]
Seed = Annotated[
    int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Of all that is random; the same gives the same.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists at --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, also for errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DATA = "CSV, TSV, Parquet, Arrow, Feather, NPY or NPZ file; a quoted glob of such; or - for CSV on standard input."
TABLE_OUT = "Table to write: .csv, .tsv, .parquet, .arrow, .feather, .npz; or - for CSV on standard output."


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    code = _run((sys.argv[1:] if arguments is None else arguments) or ["--help"])
    if code == INTERRUPT and arguments is None:
        # XLA may still be computing in a thread of its own, and the interpreter's orderly end under it is a crash
        # (seen: SIGSEGV, exit code 139). Everything is written by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPT)
    return code


def _run(arguments: list[str]) -> int:
    try:
        code = app_for(arguments)(args=arguments, prog_name="pushforward", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except BrokenPipeError:
        silence()
        return OK
    except (Exception, KeyboardInterrupt) as error:
        return fail(error, as_json="--json" in arguments, debug="--debug" in arguments)


def interruptible(command: Callable[..., int]) -> Callable[..., int]:
    """Turn Ctrl-C into an error that reaches `main`; typer would end without a word."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> int:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt as error:
            raise Interrupted from error

    return wrapped


def _version(wanted: bool) -> None:
    if wanted:
        from pushforward import __version__

        typer.echo(f"pushforward {__version__}")
        raise typer.Exit


def _pushforward(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def app_for(arguments: list[str]) -> typer.Typer:
    """The verbs, `fit` among them with the flags of the flow that these arguments choose."""
    chosen = Chosen.of(arguments)
    made = typer.Typer(**SETTINGS)
    made.callback()(_pushforward)
    example = f"{chosen.sentence} Example: pushforward fit weather.csv --out model"
    made.command(epilog=example)(interruptible(with_flags(fit, chosen)))
    made.registered_commands += app.registered_commands
    return made


def fit(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA, show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Model folder to write.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file of options; flags override it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option by its key, such as flow.n_layers=3."),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the options as TOML, and do nothing else.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be fitted, its size and time, and stop.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the fit that was interrupted on its way to --out.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track", metavar="WHERE", help="Log the fit also to tensorboard:FOLDER, mlflow:EXPERIMENT, wandb:PROJECT."
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
    *,
    flags: dict[str, Any],
) -> int:
    """Fit a flow to the rows of a table and write it as a model folder."""
    options = gather(config, settings, flags)
    if print_config:
        typer.echo(options.to_toml())
        return OK
    if data is None:
        raise typer.BadParameter("expected DATA.")
    if dry_run:
        from pushforward.cli.dry_run import run as run_dry

        return run_dry(data, options, reporter=Reporter(as_json, quiet))
    if out is None:
        raise typer.BadParameter("expected --out PATH.")
    from pushforward.cli.fit import run

    return run(data, out, options, resume=resume, track=track or [], force=force, reporter=Reporter(as_json, quiet))


@app.command(epilog="Example: pushforward schema weather.csv > schema.json")
@interruptible
def schema(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA, show_default=False)],
    columns: Annotated[str | None, typer.Option(metavar="A,B,...", help="Columns to look at; all by default.")] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Model missing values as a state of their own.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write; standard output by default.")
    ] = None,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Say what each column is, as JSON to edit and to pass to `fit --schema`."""
    from pushforward.cli.tables import run_schema

    return run_schema(data, names_in(columns), missing, out, force=force, reporter=Reporter(table_on_stdout=True))


@app.command(epilog="Example: pushforward sample model -n 1000 --out samples.csv")
@interruptible
def sample(
    model: Model,
    n: Annotated[
        int,
        typer.Option(
            "-n", "--n-samples", metavar="N", min=1, help="Rows to draw (per row of --given).", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help=TABLE_OUT, show_default=False)],
    given: Annotated[
        str | None, typer.Option(metavar="FILE", help="Table of conditions, for a model fitted with --given.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="The same seed gives the same rows.")
    ] = 0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Draw new rows from a model."""
    from pushforward.cli.use import run_sample

    return run_sample(model, n, out, given=given, seed=seed, force=force, reporter=reporter_for(out, as_json, quiet))


@app.command(epilog="Example: pushforward score model weather.csv --out scores.csv")
@interruptible
def score(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA, show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PATH", help=TABLE_OUT + " Columns log_prob and status, a row each."),
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Write log-masses and log-densities in columns of their own, too.")
    ] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Give each row its exact log-density in nats, in the units of the data; print their mean."""
    from pushforward.cli.use import run_score

    return run_score(model, data, out, parts=parts, force=force, reporter=reporter_for(out, as_json, quiet))


@app.command(epilog="Example: pushforward plot model weather.csv --out fit.png")
@interruptible
def plot(
    model: Model,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="PATH", help="Figure to write: .png, .pdf or .svg.", show_default=False),
    ],
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help=DATA + " Needed for the latents.", show_default=False)
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="Pairs of columns, learning curve, latent quantiles; or all three on one page. How the flow carries "
            "noise to data: trajectories, velocity field, layers."
        ),
    ] = Kind.everything,
    columns: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="One or two columns, for trajectories and layers; the first two by default."),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Row of DATA whose condition trajectories, field and layers take; else the first."
        ),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Draw data against samples, the learning curve, the quantiles of the latents, or the way from noise to data."""
    from pushforward.cli.draw import run_plot

    return run_plot(
        model,
        data,
        out,
        kind=kind.value,
        columns=names_in(columns),
        row=row,
        seed=seed,
        force=force,
        reporter=Reporter(as_json, quiet),
    )


@app.command(epilog="Example: pushforward check model weather.csv")
@interruptible
def check(
    model: Model,
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", help=DATA + " Best rows that the fit has not seen.")
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Check the trained model: is it invertible, exact, normalised, the same in float32? Exit code 6 if not."""
    from pushforward.cli.trust import run_check

    return run_check(model, data, seed=seed, reporter=Reporter(as_json, quiet))


@app.command(epilog="Example: pushforward inspect model")
@interruptible
def inspect(model: Model, as_json: Json = False, debug: Debug = False) -> int:
    """Say what a model is: columns, layers, costs, how its fit went, its checks. Its weights are not loaded."""
    from pushforward.cli.trust import run_inspect

    return run_inspect(model, reporter=Reporter(as_json))


@app.command(epilog="Example: pushforward export model --to onnx --out exported")
@interruptible
def export(
    model: Model,
    to: Annotated[
        Target,
        typer.Option(
            "--to", help="The format of the programs: StableHLO for JAX, ONNX for onnxruntime.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Folder to write.", show_default=False)],
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA + " Rows to verify the export on.")] = None,
    precision: Annotated[Precision, typer.Option(help="Of the exported programs.")] = Precision.float64,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Write the density and the sampler as programs that need no pushforward, and verify them on 1000 rows."""
    from pushforward.cli.trust import run_export

    reporter = Reporter(as_json, quiet)
    return run_export(model, data, to.value, out, precision=precision.value, force=force, reporter=reporter)


def reporter_for(out: Path | None, as_json: bool, quiet: bool) -> Reporter:
    """A reporter that leaves standard output to the table where the table goes there."""
    on_stdout = out is not None and str(out) == "-"
    if on_stdout and as_json:
        raise typer.BadParameter("standard output takes either the table (--out -) or the JSON object (--json).")
    return Reporter(as_json, quiet, table_on_stdout=on_stdout)


class Blank(StrEnum):
    """What becomes of rows with missing values that a model has no state for."""

    error = "error"
    drop = "drop"


@app.command(epilog="Example: pushforward evaluate model new_rows.csv --out report.json")
@interruptible
def evaluate(
    model: Model,
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA, show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="JSON file to write.", show_default=False)
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            min=1,
            help="Rows to draw for the tests of columns; as many as DATA has by default.",
        ),
    ] = None,
    missing: Annotated[Blank, typer.Option(help="Rows with missing values: refuse them, or drop them.")] = Blank.error,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Hold a model against rows it has not seen: likelihood, simple densities, columns, a classifier, tails."""
    from pushforward.cli.evaluate import run_evaluate

    return run_evaluate(
        model,
        data,
        out,
        n_samples=samples,
        missing=missing.value,
        seed=seed,
        force=force,
        reporter=Reporter(as_json, quiet),
    )


@app.command(epilog="Example: pushforward doctor")
@interruptible
def doctor(quiet: Quiet = False, as_json: Json = False, debug: Debug = False) -> int:
    """Say what is installed and what it runs on, and fit, save and load a small model; exit code 6 if that fails."""
    from pushforward.cli.doctor import run_doctor

    return run_doctor(Reporter(as_json, quiet))


class Missing(StrEnum):
    """What becomes of rows with missing values."""

    error = "error"
    drop = "drop"
    model = "model"


@app.command(epilog="Example: pushforward tune weather.csv --out best.toml --max-minutes 10")
@interruptible
def tune(
    data: Annotated[str, typer.Argument(metavar="DATA", help=DATA, show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="TOML file to write, for fit --config.", show_default=False),
    ],
    max_minutes: Annotated[float, typer.Option(metavar="X", min=0.01, help="For all trials together.")] = 10.0,
    trials: Annotated[
        int | None,
        typer.Option("--trials", metavar="N", min=1, help="Trials at most; as many as there is time for by default."),
    ] = None,
    max_epochs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Passes over the rows per trial.")] = None,
    columns: Annotated[str | None, typer.Option(metavar="A,B,...", help="Columns to model; all by default.")] = None,
    given: Annotated[str | None, typer.Option(metavar="A,B,...", help="Columns that are conditions.")] = None,
    weights: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of row weights, not modelled.")] = None,
    schema: Annotated[
        Path | None, typer.Option("--schema", metavar="FILE", help="Schema of the columns, as `schema` writes it.")
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="Rows with missing values: refuse them, drop them, or model missing values.")
    ] = Missing.error,
    seed: Seed = 0,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Search flow, sizes, learning rate and batch size within a budget of minutes; write the best as a TOML file."""
    from pushforward.cli.tune import run_tune

    chosen = {
        "data.columns": names_in(columns),
        "data.given": names_in(given),
        "data.weights": weights,
        "data.schema_file": None if schema is None else str(schema),
        "data.missing": missing.value,
        "training.seed": seed,
        "training.max_epochs": max_epochs,
    }
    options = gather(None, None, {key: value for key, value in chosen.items() if value is not None})
    return run_tune(
        data,
        out,
        options,
        max_minutes=max_minutes,
        n_trials=trials,
        force=force,
        reporter=Reporter(as_json, quiet),
    )
