"""Options that several commands share, each described once."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

Context = typer.Context

POINTING = "Pointing at objects"
LOOKING = "Where to look"
MODELS = "Models"
OUTPUT = "Output"

# One line a paragraph: whoever shows it wraps it.
POINTING_HELP = "\n\n".join(
    (
        "Pointing: every --box, --point and --mask belongs to the last --frame before it (frame 0 "
        "if there is none) and to the last --object before it. Without --object, each --box, each "
        "--mask and each --point X,Y begins a new object, numbered 1, 2, 3 …; --point X,Y,0 says "
        "that this pixel does not belong to the object before it. A --frame or --object that is "
        "the only one may also stand last.",
        "Two objects, one clicked on, one boxed on frame 40:",
        "--point 310,220 --frame 40 --box 10,20,110,220",
        "One object by two clicks and a pixel beside it, and a box on frame 60:",
        "--object 1 --point 310,220 --point 330,250 --point 300,9,0 --frame 60 --box 28,18,38,30",
    )
)


class Mode(str, Enum):
    """How SAM 2 is computed, as for ``Sam2Tracker``."""

    exact = "exact"
    fast = "fast"
    faster = "faster"


class By(str, Enum):
    """How options of a choice are scored."""

    letter = "letter"
    text = "text"


Source = Annotated[
    str, typer.Argument(metavar="VIDEO", help="Video file, photograph, or folder of images.")
]
BoxList = Annotated[
    list[str] | None,
    typer.Option(
        "--box", metavar="X1,Y1,X2,Y2", help="Box around an object, in pixels.",
        rich_help_panel=POINTING,
    ),
]  # fmt: skip
PointList = Annotated[
    list[str] | None,
    typer.Option(
        "--point", metavar="X,Y[,0]", rich_help_panel=POINTING,
        help="Pixel on an object; with ,0 one that is not on the object before it.",
    ),
]  # fmt: skip
MaskFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--mask", metavar="FILE", rich_help_panel=POINTING,
        help="PNG of the video's size, an object's pixels not black.",
    ),
]  # fmt: skip
FrameList = Annotated[
    list[str] | None,
    typer.Option(
        "--frame", metavar="N", rich_help_panel=POINTING,
        help="Frame, from 0, that the boxes, points and masks after it are on.",
    ),
]  # fmt: skip
ObjectList = Annotated[
    list[str] | None,
    typer.Option(
        "--object", metavar="ID", rich_help_panel=POINTING,
        help="Object that the boxes, points and masks after it belong to.",
    ),
]  # fmt: skip
TracksFile = Annotated[
    str | None,
    typer.Option(
        "--tracks", metavar="FILE", help="Tracks made before, instead of pointing.",
        rich_help_panel=POINTING,
    ),
]  # fmt: skip
MasksFolder = Annotated[
    str | None,
    typer.Option(
        "--masks", metavar="FOLDER", help="Folder of mask PNGs, instead of pointing.",
        rich_help_panel=POINTING,
    ),
]  # fmt: skip
Time = Annotated[
    str | None,
    typer.Option(
        "--time", metavar="START:END", rich_help_panel=LOOKING,
        help="Look at this part only: seconds (3:9.5), or MM:SS with a dash (0:03-1:20).",
    ),
]  # fmt: skip
NumFrames = Annotated[
    int | None,
    typer.Option(
        "--num-frames", metavar="N", min=1, rich_help_panel=LOOKING,
        help="How many frames the model looks at; the checkpoint's own number by default.",
    ),
]  # fmt: skip
Frames = Annotated[
    str | None,
    typer.Option(
        "--frames", metavar="N,N,…", help="Exactly which frames it looks at.",
        rich_help_panel=LOOKING,
    ),
]  # fmt: skip
TokenBudget = Annotated[
    int | None,
    typer.Option(
        "--token-budget", metavar="N", min=1, rich_help_panel=LOOKING,
        help="Most tokens that frames and regions may cost: fewer frames where they cost more.",
    ),
]  # fmt: skip
Model = Annotated[
    str,
    typer.Option(
        "--model", metavar="NAME", rich_help_panel=MODELS,
        help="GAR checkpoint: nano, a folder, or a hub id such as HaochenWang/GAR-1B.",
    ),
]  # fmt: skip
Sam2 = Annotated[
    str,
    typer.Option(
        "--sam2", metavar="NAME", rich_help_panel=MODELS,
        help="SAM 2 checkpoint: nano, a folder, or such as facebook/sam2.1-hiera-small.",
    ),
]  # fmt: skip
Sam2Mode = Annotated[
    Mode,
    typer.Option(
        "--sam2-mode", rich_help_panel=MODELS,
        help="exact: sam2's own masks; fast: the objects of a frame together; faster: that, and "
        "memories pooled, which changes masks, in real footage much.",
    ),
]  # fmt: skip
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.", rich_help_panel=MODELS
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype", metavar="NAME", help="auto, float32, bfloat16 or float16.",
        rich_help_panel=MODELS,
    ),
]  # fmt: skip
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens", metavar="N", min=1, help="Longest answer.", rich_help_panel=MODELS
    ),
]
MoreObjects = Annotated[
    bool,
    typer.Option(
        "--more-objects", rich_help_panel=MODELS,
        help="Allow more objects in a question than the checkpoint was trained for.",
    ),
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", help="Print a JSON list on stdout.", rich_help_panel=OUTPUT)
]
Out = Annotated[
    str | None,
    typer.Option(
        "--out", metavar="PATH", rich_help_panel=OUTPUT,
        help="Also write the answers to a file (.json, or text), or into a folder.",
    ),
]  # fmt: skip
VideoOut = Annotated[
    str | None,
    typer.Option(
        "--video-out", metavar="FILE.mp4", help="Write the video with its objects drawn in.",
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Sheet = Annotated[
    str | None,
    typer.Option(
        "--sheet", metavar="FILE.png", help="Write a picture: each object's clearest views.",
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="No progress and no notes on stderr.", rich_help_panel=OUTPUT
    ),
]
