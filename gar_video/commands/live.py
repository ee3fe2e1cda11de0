"""``gar-video live``: words about what moves through a stream, as they come."""

from __future__ import annotations

import contextlib
import json as json_
import queue
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gar_video.commands import options as opt
from gar_video.commands.console import Voice, quiet_libraries
from gar_video.commands.results import check_outputs
from gar_video.errors import GARVideoError, PromptError, TracksError

if TYPE_CHECKING:
    from gar_video.live import LiveAnswer, LiveDescriber
    from gar_video.live.sources import FrameSource, LiveFrame

FOLLOWING = "Following objects"

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="Video file, camera number (0), or an address (rtsp://…)."
    ),
]
Detector = Annotated[
    str,
    typer.Option(
        "--detector", metavar="NAME", rich_help_panel=FOLLOWING,
        help="motion, a plug-in, or MODULE:NAME(TEXT), such as 'ultralytics:YOLO(yolo11n.pt)'.",
    ),
]  # fmt: skip
Tracker = Annotated[
    str,
    typer.Option(
        "--tracker", metavar="NAME", rich_help_panel=FOLLOWING,
        help="iou, bytetrack and others where installed; gar-video trackers lists them.",
    ),
]  # fmt: skip
TracksFile = Annotated[
    str | None,
    typer.Option(
        "--tracks", metavar="FILE", rich_help_panel=FOLLOWING,
        help="Tracks of a file, made before, instead of detector and tracker.",
    ),
]  # fmt: skip
Every = Annotated[
    float,
    typer.Option("--every", metavar="SECONDS", help="Renew words that are so old."),
]
MinVisible = Annotated[
    int,
    typer.Option(
        "--min-visible", metavar="N", min=1, help="Frames an object must be seen in to be told of."
    ),
]
Question = Annotated[
    list[str] | None,
    typer.Option("--question", metavar="TEXT", help="Ask this of every object, which is <1>."),
]
Seconds = Annotated[
    float | None,
    typer.Option("--seconds", metavar="S", min=0, help="Stop after so many seconds of the stream."),
]
Patient = Annotated[
    bool,
    typer.Option(
        "--patient", help="For a file: wait for the words, instead of keeping to its pace."
    ),
]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print a JSON line an answer.", rich_help_panel=opt.OUTPUT)
]
OutLines = Annotated[
    str | None,
    typer.Option(
        "--out", metavar="FILE.jsonl", rich_help_panel=opt.OUTPUT,
        help="Also append each answer to a file as it comes, as a JSON line.",
    ),
]  # fmt: skip

Tracking = Callable[["LiveFrame"], Any]


def live(
    source: Source,
    detector: Detector = "motion",
    tracker: Tracker = "iou",
    tracks: TracksFile = None,
    every: Every = 2.0,
    min_visible: MinVisible = 3,
    question: Question = None,
    seconds: Seconds = None,
    patient: Patient = False,
    model: opt.Model = "nano",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "auto",
    max_new_tokens: opt.MaxNewTokens = None,
    json: JsonLines = False,
    out: OutLines = None,
    video_out: opt.VideoOut = None,
    quiet: opt.Quiet = False,
) -> None:
    """Describe what moves through a video, camera or stream while it runs.

    Words are printed as they come. Ctrl-C stops, and what was written stays.
    """
    from gar_video.live.sources import open_source

    target = check_outputs(out, video_out)
    voice = Voice(quiet)
    with contextlib.closing(open_source(source, pace=not patient)) as frames:
        follow = _following(frames, detector, tracker, tracks)
        if patient and not hasattr(frames, "video"):
            raise PromptError(f"--patient is for files, which {source} is not")
        describer, answers = _describer(
            voice, model, device, dtype, max_new_tokens,
            every_s=every, min_visible=min_visible, questions=question or (),
        )  # fmt: skip
        with contextlib.ExitStack() as stack:
            lines = None
            if target is not None:
                lines = stack.enter_context(target.open("a", encoding="utf-8"))
            say = _Sayer(answers, describer, json, lines)
            stack.callback(say)
            drawing = stack.enter_context(_drawing(video_out, frames.fps))
            stack.enter_context(describer)
            try:
                for frame in frames:
                    if seconds is not None and frame.time_s >= seconds:
                        break
                    found = describer.update(frame.image, follow(frame), frame.time_s)
                    if patient:
                        describer.wait()
                    drawing(frame, found)
                    say()
            except KeyboardInterrupt:
                # What was drawn so far is finished before the command ends.
                describer.close(last_words=False)
                stack.close()
                raise
        _say_numbers(voice, describer)


def _following(
    frames: FrameSource, detector: str, tracker: str, tracks_file: str | None
) -> Tracking:
    """Return what finds the objects of a frame and gives them ids."""
    if tracks_file is not None:
        from gar_video.tracks import Tracks

        video = getattr(frames, "video", None)
        if video is None:
            raise TracksError("--tracks is for a file's frames; a camera needs --tracker")
        tracks = Tracks.load(tracks_file, video=video)
        return lambda frame: tracks.detections(frame.number)
    from gar_video.trackers.online import make_detector, make_tracker

    detect, follow = make_detector(detector), make_tracker(tracker, frames.fps)
    return lambda frame: follow(detect(frame.image), frame.image)


def _describer(
    voice: Voice, model: str, device: str, dtype: str, max_new_tokens: int | None, **settings: Any
) -> tuple[LiveDescriber, queue.SimpleQueue[LiveAnswer]]:
    with voice.progress(f"loading {model}"):
        quiet_libraries(voice)
        from gar_video.live import LiveDescriber
        from gar_video.pipeline import GARVideo

        gar = GARVideo.from_pretrained(model, device=device, dtype=dtype)
    answers: queue.SimpleQueue[LiveAnswer] = queue.SimpleQueue()
    if max_new_tokens is not None:
        settings["max_new_tokens"] = max_new_tokens
    return LiveDescriber(gar, on_answer=answers.put, **settings), answers


class _Sayer:
    """Prints the answers that have come, from the thread that owns stdout."""

    def __init__(
        self,
        answers: queue.SimpleQueue[LiveAnswer],
        describer: LiveDescriber,
        as_json: bool,
        lines: Any,
    ) -> None:
        self._answers, self._describer = answers, describer
        self._as_json, self._lines = as_json, lines

    def __call__(self) -> None:
        while not self._answers.empty():
            one = self._answers.get()
            name = self._describer.source_ids.get(one.object_id)
            entry = json_.dumps({**one.to_dict(), "source_id": name})
            if self._lines is not None:
                self._lines.write(entry + "\n")
                self._lines.flush()
            print(entry if self._as_json else _in_words(one), flush=True)


def _in_words(one: LiveAnswer) -> str:
    last = " (last)" if one.is_last else ""
    asked = "" if one.question is None else f"{one.answer.question} "
    return f"{one.time_s:8.2f} s  <{one.object_id}>{last}: {asked}{one.text}"


@contextlib.contextmanager
def _drawing(path: str | None, fps: float) -> Iterator[Callable[[LiveFrame, Any], None]]:
    if path is None:
        yield lambda frame, found: None
        return
    from gar_video.live.drawing import LiveVideo

    with LiveVideo(path, fps) as video:
        yield video.write


def _say_numbers(voice: Voice, describer: LiveDescriber) -> None:
    stats = describer.stats
    if stats.updates == 0:
        raise GARVideoError("the source gave no frames; check it and start again")
    parts = [f"{stats.updates} frames", f"{stats.objects} objects", f"{stats.answers} answers"]
    for count, what in (
        (stats.frames_dropped, "views dropped"),
        (stats.failures, "failures"),
        (stats.without_last_words, "ended without last words"),
        (stats.skipped, "rows over the limit of objects"),
    ):
        if count:
            parts.append(f"{count} {what}")
    voice.note(", ".join(parts))
    sys.stderr.flush()
