"""`pushforward infer`: the posterior of a simulator's parameters from a table of simulations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.flags import names_in
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import DATA, Force, Seed, verb


@verb("pushforward infer simulations.csv --parameters mass,radius --out posterior")
def infer(
    simulations: Annotated[str, typer.Argument(metavar="SIMULATIONS", help=DATA, show_default=False)],
    parameters: Annotated[
        str,
        typer.Option(
            metavar="A,B,...", help="Columns that are parameters; all others are the simulation.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="MODEL", help="Folder to write.", show_default=False)],
    bounds: Annotated[
        str | None,
        typer.Option(
            metavar="A=LOW:HIGH,...",
            help="Bounds of parameters; by default parameters that look uniform are held to the range of the table.",
        ),
    ] = None,
    n_members: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of flows that are trained at once and averaged.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0.001, help="Length of the training at most.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Learn the posterior of parameters given an observation from a table of simulations.

    Each row of the table holds parameters that were drawn from their prior, and what the simulator made of them. The
    posterior is then there for any observation: `pushforward sample --given` draws from it.
    """
    import warnings

    from pushforward.cli.simulations import bounds_in, learn
    from pushforward.inference.simulations import SimulationWarning
    from pushforward.io.files import check_folder_target

    check_folder_target(out, force)
    chosen = names_in(parameters) or []
    known = bounds_in(bounds, chosen)
    progress = False if reporter.quiet or reporter.as_json else "auto"
    options = {"n_members": n_members, "random_state": seed, "progress": progress}
    options["max_seconds"] = None if max_minutes is None else 60 * max_minutes
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SimulationWarning)
        posterior, words = learn(simulations, chosen, known, options)
    for each in caught:
        if issubclass(each.category, SimulationWarning):
            reporter.warn(str(each.message))
    posterior.save(out, force=force)
    verdict = posterior.result_.verdict
    names = ", ".join(posterior.x_names_ or ())
    reporter.say(f"{posterior.n_simulations_:,} simulations; parameters {', '.join(chosen)} given {names}.")
    for line in (*words, verdict.text, f"Model: {out}"):
        reporter.say(line)
    facts = {"model": out, "simulations": posterior.n_simulations_, "failed": posterior.n_failed_, "seed": seed}
    facts |= {"parameters": chosen, "observed": list(posterior.x_names_ or ()), "prior": list(words)}
    facts |= {"held_out_nats": verdict.held_out_nats, "standard_error": verdict.standard_error}
    reporter.result("infer", {**facts, "status": verdict.status, "seconds": verdict.seconds})
    return OK
