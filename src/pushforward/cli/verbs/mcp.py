"""`pushforward mcp`: a fitted model answers the questions of an assistant."""

from __future__ import annotations

from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Model, verb


@verb("pushforward mcp model")
def mcp(model: Model, *, reporter: Reporter) -> int:
    """Answer the questions of an assistant about a model, by the Model Context Protocol.

    The tools inspect, score, sample and evaluate read; nothing is written. Standard input and output are the channel,
    so that the program that starts this one is the only caller.
    """
    from pushforward.cli.mcp_server import server_of

    reporter.table_on_stdout = True  # standard output belongs to the protocol
    server_of(model).run("stdio")
    return OK
