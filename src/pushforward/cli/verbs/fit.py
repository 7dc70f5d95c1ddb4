"""`pushforward fit`: a table in, a model folder out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.flags import gather
from pushforward.cli.hosts import Hosts, on_hosts
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import DATA, Force, verb

ONE_HOST = Hosts()


@verb("pushforward fit weather.csv --out model", fit_options=True)
def fit(
    data: Annotated[str | None, typer.Argument(metavar="DATA", help=DATA, show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Model folder to write.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="TOML file with options; flags override them.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set an option by its key in the TOML file, such as flow.n_layers=3."
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the options as TOML, and do nothing else.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be fitted, its size and its time, and do nothing else.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an interrupted fit that was to be written to --out.")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            metavar="WHERE",
            help="Log the curve also to tensorboard:FOLDER, mlflow:EXPERIMENT or wandb:PROJECT.",
        ),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="N|all", help="Number of devices that share the rows of each batch, or all."),
    ] = None,
    detector: Annotated[
        bool, typer.Option("--detector", help="Fit a detector of unusual rows instead, for `pushforward detect`.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="HTML file for a report on the model and DATA at the end."),
    ] = None,
    force: Force = False,
    hosts: Hosts = ONE_HOST,
    *,
    reporter: Reporter,
    flags: dict[str, Any],
) -> int:
    """Fit a flow to a table and write it as a model folder."""
    options = gather(config, settings, flags)
    if print_config:
        if not reporter.as_json:
            typer.echo(options.to_toml())
        reporter.result("fit", {"config": options.model_dump(mode="json"), "toml": options.to_toml()})
        return OK
    if data is None:
        raise typer.BadParameter("expected DATA.")
    if dry_run:
        from pushforward.cli.dry_run import run_dry

        return run_dry(data, options, reporter=reporter)
    if out is None:
        raise typer.BadParameter("expected --out PATH.")
    if detector:
        from pushforward.cli.fit_detector import run_fit_detector

        if options.data.stream:
            fix = "Leave out --detector: `detect` judges by the folder of a streamed density, and its held-out rows."
            raise typer.BadParameter(f"--detector goes without --stream: its scores need all rows at once. {fix}")
        if resume or track or report or devices:
            raise typer.BadParameter("--detector goes without --resume, --track, --report and --devices.")
        if hosts != ONE_HOST:
            raise typer.BadParameter("--detector is fitted on one host.")
        return run_fit_detector(data, out, options, flags, force=force, reporter=reporter)
    several = hosts.join()  # before JAX is used
    from pushforward.cli.fit_and_save import run_fit

    how: dict[str, Any] = {"resume": resume, "track": track or [], "devices": devices, "page": report}
    if several:
        how["devices"] = devices or "all"

    def run() -> int:
        return run_fit(data, out, options, **how, force=force, reporter=reporter)

    return on_hosts(run, reporter) if several else run()
