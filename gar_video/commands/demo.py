"""``gar-video demo``: the whole way on a rendered clip, with what is true beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries

Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Which clip to render.")]
Folder = Annotated[
    str,
    typer.Option("--out", metavar="FOLDER", help="Where the files go.", rich_help_panel=opt.OUTPUT),
]


def demo(
    seed: Seed = 0,
    out: Folder = "gar-video-demo",
    model: opt.Model = "nano",
    sam2: opt.Sam2 = "nano",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    quiet: opt.Quiet = False,
) -> None:
    """Render a clip, point at two objects, follow, describe and ask about them; offline."""
    from gar_video.demo import run_demo

    voice = Voice(quiet)
    with voice.progress("starting"):
        quiet_libraries(voice)

    run_demo(Path(out), seed=seed, model=model, sam2=sam2, device=device, dtype=dtype, say=_say)


def _say(line: str) -> None:
    print(line, flush=True)
