"""``gar-video annotate`` and ``sheet``: pictures of objects and of what is said about them."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice
from gar_video.commands.inputs import open_inputs
from gar_video.commands.results import PICTURES
from gar_video.commands.values import parse_whole_list
from gar_video.errors import PromptError
from gar_video.files import check_writable

if TYPE_CHECKING:
    from gar_video.captions import Captions
    from gar_video.tracks import Tracks
    from gar_video.video import Video


class Place(str, Enum):
    """Where words stand."""

    beside = "beside"
    below = "below"


Answers = Annotated[
    str | None,
    typer.Option(
        "--answers", metavar="FILE", rich_help_panel=opt.LOOKING,
        help="Words: what describe, ask, choose or timeline wrote as JSON.",
    ),
]  # fmt: skip
Only = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="ID,ID,…", help="These objects only.", rich_help_panel=opt.LOOKING
    ),
]
VideoFile = Annotated[
    str,
    typer.Option(
        "--out", metavar="FILE.mp4", help="The video to write.", rich_help_panel=opt.OUTPUT
    ),
]
Words = Annotated[
    Place,
    typer.Option(
        "--words", rich_help_panel=opt.OUTPUT,
        help="Where words stand: beside their objects, five lines at most, or below the picture.",
    ),
]  # fmt: skip
Boxes = Annotated[
    bool, typer.Option("--boxes", help="Draw boxes as well.", rich_help_panel=opt.OUTPUT)
]
SheetFile = Annotated[
    str,
    typer.Option(
        "--out", metavar="FILE.png", help="The picture to write.", rich_help_panel=opt.OUTPUT
    ),
]
Views = Annotated[
    int,
    typer.Option(
        "--views", metavar="N", min=1, max=20, help="Views of each object at most.",
        rich_help_panel=opt.OUTPUT,
    ),
]  # fmt: skip


def annotate(
    source: opt.Source,
    out: VideoFile,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    answers: Answers = None,
    only: Only = None,
    words: Words = Place.beside,
    boxes: Boxes = False,
    quiet: opt.Quiet = False,
) -> None:
    """Write the video with its objects and words drawn in; times and sound stay."""
    check_writable(out, suffixes=(".mp4",))
    video, found, captions = _inputs(source, tracks, masks, answers, only)
    voice = Voice(quiet)
    from gar_video.visuals import write_annotated_video

    with voice.progress("drawing") as update:
        write_annotated_video(
            out, video, found, captions, place=words.value, boxes=boxes, progress=update
        )
    voice.note(f"wrote {out}")


def sheet(
    source: opt.Source,
    out: SheetFile,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    answers: Answers = None,
    only: Only = None,
    views: Views = 5,
    quiet: opt.Quiet = False,
) -> None:
    """Write a contact sheet: a row for each object, its words and its clearest views."""
    check_writable(out, suffixes=PICTURES)
    video, found, captions = _inputs(source, tracks, masks, answers, only)
    voice = Voice(quiet)
    from gar_video.visuals import contact_sheet, write_picture

    with voice.progress("drawing"):
        write_picture(out, contact_sheet(video, found, captions, views=views))
    voice.note(f"wrote {out}")


def _inputs(
    source: str, tracks: str | None, masks: str | None, answers: str | None, only: str | None
) -> tuple[Video, Tracks, Captions]:
    """Open the video, its tracks and its words, and check that they belong together."""
    from gar_video.captions import Captions

    if not (tracks or masks):
        raise PromptError("no tracks; give --tracks FILE or --masks FOLDER (track makes them)")
    captions = Captions({}, {}) if answers is None else Captions.load(answers)
    inputs = open_inputs(source, [], tracks, masks)
    found = inputs.tracks
    assert found is not None
    captions.check_known(found.object_ids, f"--answers {answers}")
    if only is not None:
        chosen = parse_whole_list(only, "--only")
        unknown = [object_id for object_id in chosen if object_id not in found]
        if unknown:
            shown = ", ".join(f"<{known}>" for known in found.object_ids[:12]) or "none"
            raise PromptError(f"--only {only}: the objects here are {shown}")
        found = found.subset(dict.fromkeys(chosen))
    return inputs.video, found, captions
