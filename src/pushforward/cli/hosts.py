"""`pushforward fit` on several hosts: the flags that say who takes part, and the end of a process that lost another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from pushforward.cli.reporter import Reporter, fail


@dataclass(frozen=True)
class Hosts:
    """The hosts of a fit; without any of these options it has one, or those that SLURM started."""

    coordinator: Annotated[
        str | None,
        typer.Option("--coordinator", metavar="HOST:PORT", help="Address of process 0 of a fit on several hosts."),
    ] = None
    process_id: Annotated[
        int | None, typer.Option("--process-id", metavar="I", min=0, help="Number of this process, from 0.")
    ] = None
    n_processes: Annotated[
        int | None, typer.Option("--n-processes", metavar="N", min=1, help="Number of all processes of the fit.")
    ] = None

    def join(self) -> bool:
        """Join the other hosts, if there are any, and say whether there are.

        Raises:
            typer.BadParameter: Some of the three are given and others not, or the hosts did not meet.
        """
        given = (self.coordinator, self.process_id, self.n_processes)
        by_slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
        if all(part is None for part in given) and not by_slurm:
            return False
        if None in given and any(part is not None for part in given):
            raise typer.BadParameter(
                "expected --coordinator, --process-id and --n-processes together, or none of them."
            )
        from pushforward.training import connect

        try:
            connect(*given)
        except (ValueError, ConnectionError) as error:
            raise typer.BadParameter(str(error)) from error
        return True


def on_hosts(run: Callable[[], int], reporter: Reporter) -> int:
    """Run a fit on several hosts; a process whose fit has lost another host says so, and ends at once.

    The usual end of a process would wait for the hosts that are gone.

    Args:
        run: Function that fits and returns the exit code.
        reporter: Reporter.
    """
    from pushforward.training.hosts import HostLostError, part

    try:
        code = run()
        part()
        return code
    except HostLostError as error:
        code = fail(error, as_json=reporter.as_json, debug=False)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def is_first() -> bool:
    """Whether this process writes the results, as one of several does."""
    jax: Any = sys.modules.get("jax")
    return jax is None or jax.process_index() == 0
