"""The gate that every request goes through: who asks, how often, how much, and of what kind."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from gar_video.server.metrics import Metrics
from gar_video.server.problems import Problem
from gar_video.server.settings import Settings, is_loopback

Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_OPEN = frozenset({"/healthz", "/readyz"})
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "testserver"})
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; "
     b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
)  # fmt: skip
_LONGEST_TOKEN = 4096
_SINGLE = frozenset({b"host", b"authorization", b"content-length", b"content-type"})


class Rates:
    """How often each caller asks: a bucket that fills evenly and holds half a minute's share.

    Args:
        per_minute: Requests of one caller in a minute; 0 for no limit.
        clock: Returns seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._clock = per_minute / 60.0, clock
        self._most = max(1.0, per_minute / 2)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, caller: str) -> None:
        """Count a request.

        Raises:
            Problem: 429 if the caller asks too often.
        """
        if self._per_s == 0:
            return
        now = self._clock()
        level, then = self._buckets.pop(caller, (self._most, now))
        level = min(self._most, level + (now - then) * self._per_s)
        self._buckets[caller] = (max(0.0, level - 1), now)
        while len(self._buckets) > 10_000:
            self._buckets.popitem(last=False)
        if level < 1:
            raise Problem(
                429, f"more than {self._per_s * 60:.0f} requests a minute; ask less often",
                code="rate_limit", retry_after=(1 - level) / self._per_s,
            )  # fmt: skip


class Gate:
    """An ASGI middleware around the application.

    Args:
        app: The application.
        settings: Tokens and limits.
        metrics: Counts requests.
        route_of: Returns the route's pattern of a request that was served.
    """

    def __init__(
        self,
        app: Any,
        settings: Settings,
        metrics: Metrics,
        route_of: Callable[[Message], str],
    ) -> None:
        self._app, self._settings, self._metrics, self._route_of = app, settings, metrics, route_of
        self._tokens = [hashlib.sha256(token.encode()).digest() for token in settings.tokens]
        self._rates = Rates(settings.limits.per_minute)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, seen = time.monotonic(), _Seen(send)
        try:
            limited = self._admit(scope, receive)
        except Problem as problem:
            await problem.response()(scope, receive, seen)
        else:
            await self._app(scope, limited, seen)
        finally:
            route = self._route_of(scope)
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._metrics.requests.labels(route, method, str(seen.status)).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - began)

    def _admit(self, scope: Message, receive: Receive) -> Receive:
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _SINGLE and name in headers:
                raise Problem(400, f"the header {name.decode()} stands twice")
            headers[name] = value
        self._check_host(headers)
        scope.setdefault("state", {})["caller"] = "local"
        if scope["path"] in _OPEN:
            return _bounded(receive, headers, 0)
        caller = self._caller(scope, headers)
        scope["state"]["caller"] = caller
        self._rates.check(caller)
        raw = scope["method"] == "PATCH"
        self._check_type(scope, headers, b"application/octet-stream" if raw else
                         b"application/json")  # fmt: skip
        return _bounded(receive, headers, self._settings.limits.body_bytes)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse names that lead here from elsewhere: a page may call its own name 127.0.0.1."""
        if self._tokens or not is_loopback(self._settings.host):
            return
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name not in _LOCAL_NAMES and not is_loopback(name):
            raise Problem(
                400, "the Host header names another machine; without a token only localhost is "
                "answered", code="host_refused",
            )  # fmt: skip

    def _caller(self, scope: Message, headers: dict[bytes, bytes]) -> str:
        """Return who asks.

        Raises:
            Problem: 401 if the token is missing or wrong.
        """
        if not self._tokens:
            client = scope.get("client")
            return f"at {client[0] if client else 'local'}"
        given = headers.get(b"authorization", b"")
        scheme, _, token = given.partition(b" ")
        if scheme.lower() != b"bearer" or not token or len(token) > _LONGEST_TOKEN:
            raise Problem(
                401, "no usable token; send the header Authorization: Bearer TOKEN",
                code="missing_token",
            )  # fmt: skip
        digest = hashlib.sha256(token).digest()
        # All are compared, each in constant time: how long it takes tells nothing.
        found = [hmac.compare_digest(digest, known) for known in self._tokens]
        if not any(found):
            raise Problem(401, "the token is not one of this server's", code="wrong_token")
        return f"token {found.index(True)}"

    def _check_type(self, scope: Message, headers: dict[bytes, bytes], expected: bytes) -> None:
        """Refuse bodies of another kind; browsers' forms, too, of which none may ask here."""
        has_body = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        if scope["method"] not in ("POST", "PUT", "PATCH") or not has_body:
            return
        kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if kind != expected:
            raise Problem(
                415, f"the body is of type {kind[:60].decode('latin-1') or 'none'}; expected "
                f"{expected.decode()}",
            )  # fmt: skip


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _bounded(receive: Receive, headers: dict[bytes, bytes], limit: int) -> Receive:
    """Return a ``receive`` that refuses bodies longer than a limit."""
    said = headers.get(b"content-length", b"0")
    if not said.isdigit():
        raise Problem(400, "the header Content-Length is malformed")
    if int(said[:20]) > limit:
        raise _too_long(limit)
    total = 0

    async def limited() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise _too_long(limit)
        return message

    return limited


def _too_long(limit: int) -> Problem:
    return Problem(
        413, f"the body has more than {limit} bytes; upload videos in pieces to /v1/videos"
    )


class _Seen:
    """A ``send`` that adds our headers and remembers the status."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            named = {name.lower() for name, _ in message.get("headers", ())}
            added = [pair for pair in _HEADERS if pair[0] not in named]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self._send(message)
