"""The page as a web application: its pictures, files and scripts, and who may see them."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gar_video.app.address import is_loopback
from gar_video.app.sessions import Sessions
from gar_video.app.views import THUMB_SIDE, VIEW_SIDE, as_jpeg, view
from gar_video.errors import GARVideoError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

SCRIPTS = ("stage.js", "pointer.js", "lanes.js")
_COOKIE = "gar_video_token"
# All comes from this server. Gradio's own page has inline scripts and compiles its templates.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "font-src 'self' data:; connect-src 'self' blob: data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)


def asset(name: str) -> str:
    """Return a script, style or page of this package as text."""
    return files("gar_video.app").joinpath("web", name).read_text(encoding="utf-8")


def add_routes(app: FastAPI, sessions: Sessions) -> None:
    """Serve frames, thumbnails, exported files and the page's scripts.

    Args:
        app: The application.
        sessions: Whose frames and files; their keys address them.
    """
    from starlette.responses import FileResponse, Response
    from starlette.routing import Route

    def picture(request: Request, side: int, drawn: bool) -> Response:
        try:
            session = sessions.get(request.path_params["key"])
            data = as_jpeg(view(session, request.path_params["frame"], drawn=drawn, side=side))
        except GARVideoError:
            return Response(status_code=404)
        # The address changes whenever the picture does.
        headers = {"Cache-Control": "private, max-age=3600, immutable"}
        return Response(data, media_type="image/jpeg", headers=headers)

    def frame_picture(request: Request) -> Response:
        return picture(request, VIEW_SIDE, "plain" not in request.query_params)

    def thumbnail(request: Request) -> Response:
        return picture(request, THUMB_SIDE, True)

    def exported(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            path = sessions.get(request.path_params["key"]).files.get(name)
        except GARVideoError:
            path = None
        if path is None or not path.is_file():
            return Response(status_code=404)
        return FileResponse(path, filename=name, content_disposition_type="attachment")

    def scripts(_: Request) -> Response:
        return Response("\n".join(map(asset, SCRIPTS)), media_type="text/javascript")

    app.router.routes += [
        Route("/frames/{key}/{frame:int}.jpg", frame_picture),
        Route("/thumbs/{key}/{frame:int}.jpg", thumbnail),
        Route("/files/{key}/{name}", exported),
        Route("/page.js", scripts),
    ]


class Gate:
    """ASGI middleware: asks for the token, checks the name asked for, sets headers.

    Args:
        app: What is behind it.
        token: What visitors must show once, as ``?token=``; None for nothing.
        only_local: Refuse names other than this machine's, so that no other site reaches in.
    """

    def __init__(self, app: Any, *, token: str | None, only_local: bool) -> None:
        self._app, self._token, self._only_local = app, token, only_local

    async def __call__(
        self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]
    ) -> None:
        """Let a request through, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        from starlette.requests import HTTPConnection
        from starlette.responses import PlainTextResponse, RedirectResponse

        asked = HTTPConnection(scope)
        if self._only_local and not is_loopback(asked.url.hostname or ""):
            await PlainTextResponse("unknown host", 421)(scope, receive, send)
            return
        if self._token is not None and not self._shown(asked.cookies.get(_COOKIE)):
            if self._shown(asked.query_params.get("token")):
                welcome = RedirectResponse("/", 303)
                welcome.set_cookie(_COOKIE, self._token, httponly=True, samesite="strict")
                await welcome(scope, receive, send)
            else:
                text = "This page needs its token: open it as /?token=…"
                await PlainTextResponse(text, 401)(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _shown(self, given: str | None) -> bool:
        known = (self._token or "").encode()
        return given is not None and hmac.compare_digest(given.encode(), known)
