"""Who may see the page: only a browser on this machine that was given the address."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What the page may load: its own files and what it holds, nothing of another host. The library compiles its templates
# in the browser, which takes `unsafe-eval`; every text of the page is escaped.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws://{host}; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
}


class Guard:
    """Lets requests through to an application that come from this machine's browser and know the token.

    The `Host` header has to be that of this server, so that no other page can reach it through a name that was made to
    point here (DNS rebinding); an `Origin`, where a browser sends one, has to be this server's too. The first address
    holds the token; the answer puts it into a cookie of this server alone and leads to the address without it.

    Args:
        app: ASGI application.
        token: Secret words.
        port: Port of the server.
    """

    def __init__(self, app: App, token: str, port: int):
        self._app, self._token, self._port = app, token, port
        self._hosts = tuple(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        origins = [None, *(f"http://{own}" for own in self._hosts)]
        if host not in self._hosts or origin not in origins:
            await _refuse(scope, send, b"This page is served to 127.0.0.1 alone.\n")
            return
        asked = _named(scope.get("query_string", b"").decode("latin-1"), "&", "token")
        if asked and scope["type"] == "http" and self._is_token(asked):
            cookie = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
            headers_of_answer = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
            await _answer(send, 303, headers_of_answer, b"")
            return
        if not self._is_token(_named(headers.get(b"cookie", ""), ";", self._cookie)):
            await _refuse(scope, send, b"This address lacks its token. Open the address that pushforward printed.\n")
            return
        await self._app(scope, receive, self._with_headers(send, host))

    @property
    def _cookie(self) -> str:
        # Cookies of 127.0.0.1 are shared by all its ports.
        return f"pushforward-{self._port}"

    def _is_token(self, words: str) -> bool:
        return hmac.compare_digest(words.encode(), self._token.encode())

    def _with_headers(self, send: Send, host: str) -> Send:
        policy = POLICY.format(host=host).encode()

        async def sending(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = [*HEADERS.items(), (b"content-security-policy", policy)]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        return sending


def _named(words: str, between: str, name: str) -> str:
    """The value of a name among `name=value` pairs; empty where it is not there."""
    pairs = (part.strip().partition("=") for part in words.split(between))
    return next((value for key, _, value in pairs if key == name), "")


async def _refuse(scope: Scope, send: Send, words: bytes) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await _answer(send, 403, [(b"content-type", b"text/plain; charset=utf-8")], words)


async def _answer(send: Send, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
