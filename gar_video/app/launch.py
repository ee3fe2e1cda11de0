"""Starting the page: everything put together and served until somebody stops it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gar_video.app.address import is_loopback, need_gradio
from gar_video.app.models import Models
from gar_video.app.serving import Gate, add_routes, asset
from gar_video.app.sessions import Sessions

_MOST_UPLOADED = "4gb"
_FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")


def make_app(
    models: Models, *, clip: Path | None = None, token: str | None = None, host: str = "127.0.0.1"
) -> tuple[Any, Sessions]:
    """Put the page together.

    Args:
        models: What the menus offer.
        clip: A clip that every visitor begins with.
        token: What visitors must show; None for nothing.
        host: The address it will be served on.

    Returns:
        The ASGI application, and the sessions, to be closed at the end.

    Raises:
        GARVideoError: If Gradio is not installed.
    """
    need_gradio()
    sessions = Sessions(models)
    # Read by Gradio when it is imported, or when an upload comes.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(sessions.folder / "uploads")
    import gradio as gr
    from fastapi import FastAPI

    from gar_video.app.page import Page

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_routes(app, sessions)
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue, neutral_hue=gr.themes.colors.gray,
        font=list(_FONT), font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    blocks = Page(sessions, clip).build()
    gr.mount_gradio_app(
        app, blocks, path="/", theme=theme, css=asset("page.css"), footer_links=[],
        show_error=False, max_file_size=_MOST_UPLOADED, run_history=False, ssr_mode=False,
        enable_monitoring=False, pwa=False, server_name=host,
    )  # fmt: skip
    return Gate(app, token=token, only_local=is_loopback(host)), sessions


def serve(app: Any, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted.

    Args:
        app: The application.
        host: The address.
        port: The port; 0 for any that is free.
        ready: Called with the page's address once it answers.
    """
    import uvicorn

    # Open pages hold a connection for ever; the end does not wait for them.
    settings = uvicorn.Config(
        app, host=host, port=port, log_level="critical", access_log=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                bound = self.servers[0].sockets[0].getsockname()[1]
                name = f"[{host}]" if ":" in host else host
                ready(f"http://{name}:{bound}/")

    Server(settings).run()
