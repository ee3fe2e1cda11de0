"""``gar-video describe``, ``ask`` and ``choose``: words about objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.commands.inputs import (
    check_mentions,
    open_inputs,
    read_looking,
    track_inputs,
)
from gar_video.commands.pointing import pointing_events
from gar_video.commands.results import check_outputs, draw_outputs, evidence, give_answers
from gar_video.commands.values import parse_whole_list

if TYPE_CHECKING:
    from gar_video.pipeline import GARVideo

ANSWERS = "answers.json"

Only = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="ID,ID,…",
        help="Describe these objects only.",
        rich_help_panel=opt.LOOKING,
    ),
]
Question = Annotated[
    str, typer.Argument(metavar="QUESTION", help="Objects are <ID> in it, such as <1>.")
]
Questions = Annotated[
    list[str], typer.Argument(metavar="QUESTION…", help="Objects are <ID> in them, such as <1>.")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="TEXT", help="One option; give two or more."),
]
ByOption = Annotated[
    opt.By | None,
    typer.Option(
        "--by", help="Compare the options' letters or their words; the checkpoint says which."
    ),
]


def describe(
    ctx: opt.Context,
    source: opt.Source,
    box: opt.BoxList = None,
    point: opt.PointList = None,
    mask: opt.MaskFiles = None,
    frame: opt.FrameList = None,
    object: opt.ObjectList = None,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    only: Only = None,
    time: opt.Time = None,
    num_frames: opt.NumFrames = None,
    frames: opt.Frames = None,
    token_budget: opt.TokenBudget = None,
    model: opt.Model = "nano",
    sam2: opt.Sam2 = "nano",
    sam2_mode: opt.Sam2Mode = opt.Mode.exact,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    max_new_tokens: opt.MaxNewTokens = None,
    json: opt.Json = False,
    out: opt.Out = None,
    video_out: opt.VideoOut = None,
    sheet: opt.Sheet = None,
    quiet: opt.Quiet = False,
) -> None:
    """Describe objects, each in its own words."""
    target = check_outputs(out, video_out, sheet, name=ANSWERS)
    inputs = open_inputs(source, pointing_events(ctx), tracks, masks)
    chosen = None if only is None else parse_whole_list(only, "--only")
    check_mentions([f"<{object_id}>" for object_id in chosen or ()], inputs.object_ids)
    looking = read_looking(inputs.video, time, num_frames, frames)
    voice = Voice(quiet)
    gar = _load(model, device, dtype, voice, token_budget)
    # Drawings show the whole clip, so then all of it is tracked.
    span = None if video_out or sheet else looking.span
    found = track_inputs(
        inputs, voice, sam2=sam2, mode=sam2_mode.value, device=device, dtype=dtype, span=span
    )
    assert found is not None
    with voice.progress("describing") as update:
        answers = gar.describe(
            inputs.video,
            found,
            objects=chosen,
            frames=looking.frames,
            time=looking.time,
            progress=update,
            **_generation(max_new_tokens),
        )
    give_answers(answers, json, target)
    words = {answer.objects[0]: answer.text for answer in answers}
    shown = found if chosen is None else found.subset(chosen)
    draw_outputs(inputs.video, shown, words, voice, video_out, sheet)
    _say_evidence(voice, answers, target)


def ask(
    ctx: opt.Context,
    source: opt.Source,
    questions: Questions,
    box: opt.BoxList = None,
    point: opt.PointList = None,
    mask: opt.MaskFiles = None,
    frame: opt.FrameList = None,
    object: opt.ObjectList = None,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    time: opt.Time = None,
    num_frames: opt.NumFrames = None,
    frames: opt.Frames = None,
    token_budget: opt.TokenBudget = None,
    model: opt.Model = "nano",
    sam2: opt.Sam2 = "nano",
    sam2_mode: opt.Sam2Mode = opt.Mode.exact,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    max_new_tokens: opt.MaxNewTokens = None,
    more_objects: opt.MoreObjects = False,
    json: opt.Json = False,
    out: opt.Out = None,
    quiet: opt.Quiet = False,
) -> None:
    """Ask one or more questions; the clip is looked at once for all about the same objects."""
    target = check_outputs(out, name=ANSWERS)
    inputs = open_inputs(source, pointing_events(ctx), tracks, masks, need_objects=False)
    check_mentions(questions, inputs.object_ids)
    looking = read_looking(inputs.video, time, num_frames, frames)
    voice = Voice(quiet)
    gar = _load(model, device, dtype, voice, token_budget)
    found = track_inputs(
        inputs,
        voice,
        sam2=sam2,
        mode=sam2_mode.value,
        device=device,
        dtype=dtype,
        span=looking.span,
    )
    with voice.progress("answering") as update:
        answers = gar.ask_many(
            inputs.video,
            found,
            questions,
            frames=looking.frames,
            time=looking.time,
            more_objects=more_objects,
            progress=update,
            **_generation(max_new_tokens),
        )
    give_answers(answers, json, target)
    _say_evidence(voice, answers, target)


def choose(
    ctx: opt.Context,
    source: opt.Source,
    question: Question,
    option: Options = None,
    by: ByOption = None,
    box: opt.BoxList = None,
    point: opt.PointList = None,
    mask: opt.MaskFiles = None,
    frame: opt.FrameList = None,
    object: opt.ObjectList = None,
    tracks: opt.TracksFile = None,
    masks: opt.MasksFolder = None,
    time: opt.Time = None,
    num_frames: opt.NumFrames = None,
    frames: opt.Frames = None,
    token_budget: opt.TokenBudget = None,
    model: opt.Model = "nano",
    sam2: opt.Sam2 = "nano",
    sam2_mode: opt.Sam2Mode = opt.Mode.exact,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    more_objects: opt.MoreObjects = False,
    json: opt.Json = False,
    out: opt.Out = None,
    quiet: opt.Quiet = False,
) -> None:
    """Choose between options, with a probability for each."""
    from gar_video.prompt import multiple_choice

    target = check_outputs(out, name=ANSWERS)
    options = list(option or ())
    listed = multiple_choice(question, options)
    inputs = open_inputs(source, pointing_events(ctx), tracks, masks, need_objects=False)
    check_mentions([question, listed], inputs.object_ids)
    looking = read_looking(inputs.video, time, num_frames, frames)
    voice = Voice(quiet)
    gar = _load(model, device, dtype, voice, token_budget)
    found = track_inputs(
        inputs,
        voice,
        sam2=sam2,
        mode=sam2_mode.value,
        device=device,
        dtype=dtype,
        span=looking.span,
    )
    with voice.progress("choosing"):
        choice = gar.choose(
            inputs.video,
            found,
            question,
            options,
            by=None if by is None else by.value,
            frames=looking.frames,
            time=looking.time,
            more_objects=more_objects,
        )
    give_answers([choice], json, target)
    _say_evidence(voice, [choice], target)


def _load(model: str, device: str, dtype: str, voice: Voice, token_budget: int | None) -> GARVideo:
    """Load GAR before anything is tracked, so that a wrong name costs no waiting."""
    with voice.progress(f"loading {model}"):
        quiet_libraries(voice)
        from gar_video.pipeline import GARVideo

        return GARVideo.from_pretrained(
            model, device=device, dtype=dtype, token_budget=token_budget
        )


def _generation(max_new_tokens: int | None) -> dict[str, Any]:
    return {} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}


def _say_evidence(voice: Voice, answers: Any, target: Any) -> None:
    for line in evidence(answers):
        voice.note(line)
    if target is not None:
        voice.note(f"wrote {target}")
