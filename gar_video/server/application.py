"""The application: addresses, gate and beginning and end of the house behind them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.middleware import Middleware

import gar_video
from gar_video.server import chat, native, problems
from gar_video.server.chat import TheService
from gar_video.server.docs_page import docs_page
from gar_video.server.gate import Gate, Message
from gar_video.server.metrics import CONTENT_TYPE
from gar_video.server.service import Service

_ABOUT = (
    "Words about objects in pictures and videos. Objects are pointed at in `regions` and meant by "
    "`<id>` in texts."
)


def create_app(service: Service) -> FastAPI:
    """Return the application around a service, which it starts and stops.

    Args:
        service: The house behind the addresses.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(
        title="gar-video",
        version=gar_video.__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        responses=problems.RESPONSES,
        middleware=[
            Middleware(
                Gate,
                settings=service.settings,
                metrics=service.metrics,
                route_of=_route_of,
            )
        ],
    )
    app.state.service = service
    problems.install(app)
    app.include_router(chat.router)
    app.include_router(native.router)
    _add_own(app)
    return app


def _route_of(scope: Message) -> str:
    """Return the pattern of the route that served a request: paths themselves have no end."""
    route: Any = scope.get("route")
    return str(getattr(route, "path", "")) or "none"


def _add_own(app: FastAPI) -> None:
    @app.get("/healthz", tags=["the server"])
    async def healthz() -> dict[str, str]:
        """Say that the process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["the server"])
    async def readyz(service: TheService) -> JSONResponse:
        """Say whether requests are taken."""
        ready = service.is_ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    @app.get("/metrics", tags=["the server"])
    async def metrics(service: TheService) -> Response:
        """Return counters for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))
