"""``gar-video timeline``: what objects do over time, as subtitles, tables or JSON."""

from __future__ import annotations

import json as json_module
import sys
from enum import Enum
from typing import Annotated, Any

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.commands.inputs import check_mentions, open_inputs, read_looking
from gar_video.commands.values import parse_whole_list
from gar_video.errors import PromptError
from gar_video.files import check_writable

ENDINGS = (".srt", ".vtt", ".csv", ".json", ".parquet")


class SummaryBy(str, Enum):
    """Who sums up."""

    auto = "auto"
    model = "model"
    notes = "notes"


Every = Annotated[
    float,
    typer.Option(
        "--every", metavar="SECONDS", rich_help_panel=opt.LOOKING,
        help="Length of a window; every object is described in every window in which it is seen.",
    ),
]  # fmt: skip
Only = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="ID,ID,…", help="These objects only.", rich_help_panel=opt.LOOKING
    ),
]
Ask = Annotated[
    str | None,
    typer.Option(
        "--ask", metavar="QUESTION", rich_help_panel=opt.LOOKING,
        help="Ask this in every window instead of describing; <ID> stands for each object in turn.",
    ),
]  # fmt: skip
Summarise = Annotated[
    SummaryBy,
    typer.Option(
        "--summary", rich_help_panel=opt.MODELS,
        help="Who sums up at the end: the model, from its notes; nobody, so that the notes follow "
        "each other; or whichever suits the checkpoint.",
    ),
]  # fmt: skip
Outs = Annotated[
    list[str] | None,
    typer.Option(
        "--out", metavar="FILE", rich_help_panel=opt.OUTPUT,
        help="Write it as .srt, .vtt, .csv, .json or .parquet; may be given several times.",
    ),
]  # fmt: skip
AsJson = Annotated[
    bool, typer.Option("--json", help="Print it as JSON on stdout.", rich_help_panel=opt.OUTPUT)
]


def timeline(
    source: opt.Source,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    every: Every = 5.0,
    only: Only = None,
    ask: Ask = None,
    time: opt.Time = None,
    num_frames: opt.NumFrames = None,
    summary: Summarise = SummaryBy.auto,
    model: opt.Model = "nano",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    max_new_tokens: opt.MaxNewTokens = None,
    json: AsJson = False,
    out: Outs = None,
    quiet: opt.Quiet = False,
) -> None:
    """Say what objects do over time, window by window, then in short.

    Words are the model's; when objects appear, leave and turn is read from their tracks.
    """
    from gar_video.timeline_files import check_format

    for file in out or ():
        check_format(check_writable(file, suffixes=ENDINGS))
    if not (tracks or masks):
        raise PromptError("no tracks; give --tracks FILE or --masks FOLDER (track makes them)")
    inputs = open_inputs(source, [], tracks, masks)
    assert inputs.tracks is not None
    chosen = None if only is None else parse_whole_list(only, "--only")
    check_mentions([f"<{object_id}>" for object_id in chosen or ()], inputs.object_ids)
    looking = read_looking(inputs.video, time, num_frames, None)
    voice = Voice(quiet)
    with voice.progress(f"loading {model}"):
        quiet_libraries(voice)
        from gar_video.pipeline import GARVideo

        gar = GARVideo.from_pretrained(model, device=device, dtype=dtype)
    settings: dict[str, Any] = {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}
    with voice.progress("describing windows") as update:
        made = gar.timeline(
            inputs.video,
            inputs.tracks,
            every_s=every,
            objects=chosen,
            question=ask,
            frames=num_frames,
            time=looking.time,
            summary=summary.value,
            progress=update,
            **settings,
        )
    for file in out or ():
        made.save(file)
    if json:
        unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        print(json_module.dumps(made.to_dict(), ensure_ascii=not unicode))
    else:
        print(made)
    for file in out or ():
        voice.note(f"wrote {file}")
