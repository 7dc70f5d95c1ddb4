"""Who is let in: this machine's browser with the token, and nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pushforward.explore.guard import Guard

TOKEN, PORT = "secret", 8123


def answer(kind: str = "http", query: str = "", **headers: str) -> list[Any]:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    made = {"host": f"127.0.0.1:{PORT}"} | headers
    scope = {
        "type": kind,
        "path": "/",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in made.items()],
    }
    asyncio.run(Guard(app, TOKEN, PORT)(scope, receive, send))
    return sent


def test_the_token_becomes_a_cookie_of_this_server_alone():
    first = answer(query=f"token={TOKEN}")[0]
    headers = dict(first["headers"])
    assert first["status"] == 303
    assert headers[b"location"] == b"/"
    cookie = headers[b"set-cookie"].decode()
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    known = answer(cookie=cookie.partition(";")[0])[0]
    assert known["status"] == 200
    assert b"default-src 'self'" in dict(known["headers"])[b"content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": f"pushforward-{PORT}=wrong"},
        {"cookie": f"pushforward-{PORT + 1}={TOKEN}"},
        {"cookie": f"pushforward-{PORT}={TOKEN}", "host": f"evil.example:{PORT}"},
        {"cookie": f"pushforward-{PORT}={TOKEN}", "host": "127.0.0.1"},
        {"cookie": f"pushforward-{PORT}={TOKEN}", "origin": "http://127.0.0.1:9999"},
        {"cookie": f"pushforward-{PORT}={TOKEN}", "origin": "null"},
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_others_are_refused(kind: str, headers: dict[str, str]):
    found = answer(kind, **headers)
    assert found[0] == {"type": "websocket.close", "code": 1008} if kind == "websocket" else found[0]["status"] == 403


def test_a_wrong_token_and_a_foreign_host_with_the_right_one_are_refused():
    assert answer(query="token=wrong")[0]["status"] == 403
    assert answer(query=f"token={TOKEN}", host="evil.example")[0]["status"] == 403
