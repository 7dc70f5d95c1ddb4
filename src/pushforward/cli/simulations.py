"""Tables of simulations on the command line: the posterior is learned from one, drawn from, and judged by another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import typer

from pushforward._checks import message
from pushforward.cli.reporter import Reporter
from pushforward.inference.posterior import NPE
from pushforward.inference.priors import prior_of_draws
from pushforward.tables.errors import DataError
from pushforward.tables.pairs import numbers_of, observations
from pushforward.tables.reading.cells import read_cells


def bounds_in(words: str | None, parameters: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Bounds such as `a=0:1,b=-3:3` by name.

    Raises:
        typer.BadParameter: The words are of another form, or name another column.
    """
    found: dict[str, tuple[float, float]] = {}
    for part in [] if words is None else words.split(","):
        name, _, ends = part.partition("=")
        low, _, high = ends.partition(":")
        try:
            found[name.strip()] = float(low), float(high)
        except ValueError as error:
            raise typer.BadParameter(f"--bounds {part!r}: expected NAME=LOW:HIGH, such as a=0:1.") from error
        if name.strip() not in parameters:
            raise typer.BadParameter(f"--bounds {part!r}: {name.strip()!r} is not among --parameters.")
    return found


def learn(
    source: str, parameters: Sequence[str], bounds: dict[str, tuple[float, float]], options: dict[str, Any]
) -> tuple[NPE, tuple[str, ...]]:
    """The posterior of a table of simulations, and what was taken for the prior, a sentence a parameter.

    Args:
        source: The table.
        parameters: Columns that are parameters; all others are the simulation.
        bounds: Bounds of parameters by name.
        options: Options of `NPE`.

    Raises:
        DataError: The table cannot be used.
    """
    cells = read_cells(source)
    others = [name for name in cells.names if name not in set(parameters)]
    if not others:
        fix = "Leave columns out of --parameters."
        raise DataError("columns", message(cells.source, "columns of simulations beside parameters", "none", fix))
    theta = numbers_of(cells, parameters)
    prior, words = prior_of_draws(theta, parameters, bounds)
    try:
        posterior = NPE(prior, **options).fit(theta, numbers_of(cells, others))
    except ValueError as error:
        raise DataError("missing", str(error)) from error
    posterior.x_names_ = tuple(others)
    return posterior, words


def draw_to(posterior: NPE, given: str | None, n: int, out: Path, seed: int, force: bool, reporter: Reporter) -> None:
    """Write draws of the parameters given each observation of a table.

    With several observations a first column `observation` holds the number of the row, from 1.

    Raises:
        typer.BadParameter: There is no table of observations.
    """
    import jax

    from pushforward.cli.table_output import write_out

    if given is None:
        raise typer.BadParameter("the model is a posterior: pass a table of observations as --given FILE.")
    seen = observations(posterior, given)
    draws = posterior.sample(n, x=seen, key=jax.random.key(seed))
    names = posterior.prior_.names
    columns = {name: draws[..., i].reshape(-1) for i, name in enumerate(names)}
    if len(seen) > 1:
        columns = {"observation": np.repeat(np.arange(1, len(seen) + 1), n), **columns}
    write_out(out, [pa.table(columns)], force)
    reporter.say(f"{len(seen) * n:,} rows, columns {', '.join(columns)}: {out}")
    facts = {"out": out, "rows": len(seen) * n, "columns": list(columns), "seed": seed, "observations": len(seen)}
    reporter.result("sample", facts)
