"""The commands under ``gar-video synth``."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from gar_video.commands.console import Voice

app = typer.Typer(
    no_args_is_help=True,
    help="Render clips whose truth is known, to try things on, to test with and to train on.",
)


class Level(str, Enum):
    """How hard the clips are."""

    basic = "basic"
    full = "full"


class Split(str, Enum):
    """Which wordings questions use."""

    train = "train"
    heldout = "heldout"


LevelOption = Annotated[
    Level,
    typer.Option(
        help="basic: up to three large, distinct objects in clear motion; "
        "full: more of everything, patterns, a shaking camera."
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")]
CountOption = Annotated[int, typer.Option(min=1, help="How many.")]
OutOption = Annotated[Path, typer.Option(help="Folder to make.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on the way.")]


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×,](\d{1,5})", text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a size; expected WIDTHxHEIGHT, as 640x360")
    return int(match.group(1)), int(match.group(2))


SizeOption = Annotated[
    str, typer.Option("--size", metavar="WIDTHxHEIGHT", help="Frame size; both numbers even.")
]


@app.command()
def clip(
    out: Annotated[Path, typer.Option(help="The .mp4 to write.")],
    seed: SeedOption = 0,
    level: LevelOption = Level.basic,
    size: SizeOption = "448x448",
    objects: Annotated[
        int | None, typer.Option(min=1, max=9, help="How many objects; the seed says, by default.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length; the seed says, by default.")
    ] = None,
    tracks: Annotated[
        Path | None, typer.Option(help="Where the tracks go; by default OUT's name .tracks.json.")
    ] = None,
    tracks_format: Annotated[
        str | None, typer.Option(help="Format of the tracks; by the name's ending by default.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Where the truth goes; by default OUT's name .truth.json.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Render one clip: the video, the tracks of its objects, and all that is true of it."""
    from gar_video.synth.write import write_clip

    with Voice(quiet).progress("rendering") as update:
        written = write_clip(
            out,
            seed,
            level.value,
            resolution_wh=_size(size),
            num_objects=objects,
            duration_s=seconds,
            tracks_path=tracks,
            tracks_format=tracks_format,
            truth_path=truth,
            progress=update,
        )
    for path in written:
        print(path)


@app.command("videorefer-q")
def videorefer_q(
    out: OutOption,
    count: CountOption = 400,
    seed: SeedOption = 0,
    level: LevelOption = Level.basic,
    size: SizeOption = "224x224",
    wordings: Annotated[
        Split, typer.Option(help="Wordings that training uses, or those kept out of it.")
    ] = Split.train,
    quiet: QuietOption = False,
) -> None:
    """Render multiple-choice questions in the layout of VideoRefer-BenchQ."""
    from gar_video.synth.benchmarks import write_videorefer_q

    with Voice(quiet).progress("rendering") as update:
        path = write_videorefer_q(
            out,
            count,
            seed,
            level.value,
            resolution_wh=_size(size),
            split=wordings.value,
            progress=update,
        )
    print(path)


@app.command("videorefer-d")
def videorefer_d(
    out: OutOption,
    count: CountOption = 100,
    seed: SeedOption = 0,
    level: LevelOption = Level.basic,
    size: SizeOption = "224x224",
    quiet: QuietOption = False,
) -> None:
    """Render clips with true captions in the layout of VideoRefer-BenchD."""
    from gar_video.synth.benchmarks import write_videorefer_d

    with Voice(quiet).progress("rendering") as update:
        path = write_videorefer_d(
            out, count, seed, level.value, resolution_wh=_size(size), progress=update
        )
    print(path)
