"""Serving the page of a model on this machine, until it is stopped."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Callable
from typing import Any

from pushforward._checks import package_of
from pushforward.explore.guard import Guard
from pushforward.explore.subject import Subject

HOST = "127.0.0.1"
# Seconds that open connections get to end once the server is stopped.
GRACE = 1


def serve(subject: Subject, *, port: int = 0, announce: Callable[[str], None]) -> None:
    """Serve the page of a model on 127.0.0.1 until Ctrl-C.

    Args:
        subject: The model as a page shows it.
        port: Port to listen at; 0 takes a free one.
        announce: Called with the address, which holds a token that nobody else knows.

    Raises:
        ImportError: The extra `explore` is not installed.
        OSError: The port is taken.
    """
    package_of("pushforward explore", "nicegui", "explore")
    import uvicorn
    from fastapi import FastAPI
    from nicegui import ui

    from pushforward.explore.page import build

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
        own_port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        ui.page("/", title=subject.title)(lambda: build(subject))
        options: dict[str, Any] = {"dark": None, "tailwind": False, "show_welcome_message": False}
        ui.run_with(app, gzip_middleware_factory=None, reconnect_timeout=10.0, **options)
        config = uvicorn.Config(
            Guard(app, token, own_port), log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE,
            server_header=False, date_header=False, ws="websockets-sansio",
        )  # fmt: skip
        # Connections that end with the server are nothing to be told about.
        logging.getLogger("uvicorn.error").addFilter(lambda record: "graceful shutdown" not in record.getMessage())
        announce(f"http://{HOST}:{own_port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        listener.close()
