"""``gar-video app``: a page to point, track and ask on, in the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.errors import GARVideoError

SERVING = "Serving"

Clip = Annotated[
    str | None,
    typer.Argument(metavar="[VIDEO]", help="Video file, photograph, or folder to begin with."),
]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Listen here.", rich_help_panel=SERVING)
]
Port = Annotated[
    int,
    typer.Option(
        "--port", metavar="N", min=0, max=65535, help="Listen on this port; 0 for any.",
        rich_help_panel=SERVING,
    ),
]  # fmt: skip
Token = Annotated[
    str | None,
    typer.Option(
        "--token", metavar="TEXT", envvar="GAR_VIDEO_TOKEN", show_envvar=False,
        rich_help_panel=SERVING,
        help="What visitors must show, as /?token=TEXT; better in the environment's "
        "GAR_VIDEO_TOKEN. Needed unless only this machine can reach the page.",
    ),
]  # fmt: skip
Gar = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="NAME", rich_help_panel=opt.MODELS,
        help="GAR checkpoints of the menu, the first one chosen; may be given several times.",
    ),
]  # fmt: skip
Sam2s = Annotated[
    list[str] | None,
    typer.Option(
        "--sam2", metavar="NAME", rich_help_panel=opt.MODELS,
        help="SAM 2 checkpoints of the menu, likewise.",
    ),
]  # fmt: skip


def app(
    video: Clip = None,
    host: Host = "127.0.0.1",
    port: Port = 7860,
    token: Token = None,
    model: Gar = None,
    sam2: Sam2s = None,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    quiet: opt.Quiet = False,
) -> None:
    """Open a page to point at objects, track them and ask about them; Ctrl-C ends it."""
    from gar_video.app.address import check_address, is_loopback, need_gradio

    need_gradio()
    if token is None and not is_loopback(host):
        raise GARVideoError(
            f"others can reach {host}: set GAR_VIDEO_TOKEN (or --token) to what they must show, or "
            "leave --host at 127.0.0.1"
        )
    if token is not None and len(token) < 8:
        raise GARVideoError("the token has fewer than 8 letters; expected one hard to guess")
    check_address(host, port)
    voice = Voice(quiet)
    with voice.progress("starting"):
        clip = None if video is None else _openable(video)
        quiet_libraries(voice)
        from gar_video.app.launch import make_app, serve
        from gar_video.app.models import GAR_NAMES, SAM2_NAMES, Models
        from gar_video.devices import resolve_device, resolve_dtype

        resolve_dtype(dtype, resolve_device(device))
        models = Models(
            tuple(dict.fromkeys(model or GAR_NAMES)), tuple(dict.fromkeys(sam2 or SAM2_NAMES)),
            device=device, dtype=dtype,
        )  # fmt: skip
        # So that a wrong name is refused now, and the first click waits for nothing.
        models.gar(models.gar_names[0])
        models.sam2(models.sam2_names[0])
        page, sessions = make_app(models, clip=clip, token=token, host=host)
    sessions.keep_tidy()
    try:
        serve(page, host, port, lambda address: print(f"gar-video is at {address}", flush=True))
    finally:
        sessions.close()


def _openable(video: str) -> Path:
    """Return a clip's path, once it has been opened."""
    from gar_video.video import Video

    Video(video).close()
    return Path(os.path.abspath(video))  # noqa: PTH100 - links stay as they are
