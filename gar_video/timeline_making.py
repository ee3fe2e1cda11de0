"""The making of a timeline: windows over objects' lives, each described, the words then summed up.

Windows stream through the video: frames are decoded window by window, those that several objects
are looked at in once for all of them, and let go. What grows is the words alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
import numpy.typing as npt
import torch

from gar_video.devices import memory_guard
from gar_video.encoding import Look, encode
from gar_video.errors import Cancelled, PromptError
from gar_video.generation import GenerationSettings
from gar_video.objects import check_ids
from gar_video.prompt import DESCRIBE, ObjectMention, QuestionPart, mentioned_ids, parse_question
from gar_video.sampling import frame_window
from gar_video.timeline import Event, Segment, Summary, Timeline, content, merge
from gar_video.timeline_events import ABSENCE_S, events_of

if TYPE_CHECKING:
    from gar_video.pipeline import Frames, GARVideo, Window
    from gar_video.tracks import Track, Tracks
    from gar_video.video import Video

SummaryBy = Literal["auto", "model", "notes"]

#: Decoded frames that are held at once, in bytes; one object's are held in any case.
HELD_BYTES = 256 << 20
# Notes in one question of the model; more are summed up part by part.
_SUM_UP = (
    "These are notes about one and the same object in a video, in order of time:\n{notes}\n\n"
    "Sum up in one or two sentences what the object is and what it does. Say nothing that is not "
    "in the notes."
)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is asked for, checked.

    Attributes:
        video: The video.
        tracks: Where its objects are.
        objects: Ids of the objects.
        windows: Frames of each window.
        parts: The question, the object's own mention as asked.
        settings: How words are generated.
        frames: How many frames are looked at in a window.
    """

    video: Video
    tracks: Tracks
    objects: tuple[int, ...]
    windows: tuple[range, ...]
    parts: list[QuestionPart]
    settings: GenerationSettings
    frames: int | None


def make_timeline(
    gar: GARVideo,
    video: Video,
    tracks: Tracks,
    *,
    every_s: float,
    objects: Sequence[int] | None,
    question: str | None,
    frames: Frames,
    time: Window,
    summary: SummaryBy,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
    settings: GenerationSettings,
) -> Timeline:
    """Make a timeline; see ``GARVideo.timeline``."""
    if summary not in ("auto", "model", "notes"):
        raise PromptError(f"summary is {summary!r}; expected 'auto', 'model' or 'notes'")
    if frames is not None and (isinstance(frames, bool) or not isinstance(frames, int)):
        raise PromptError("frames of a timeline are how many to look at in a window; not a list")
    tracks.check_fits(video)
    ids = tracks.object_ids if objects is None else tuple(objects)
    check_ids(tracks, ids)
    asked = DESCRIBE if question is None else question
    parts = parse_question(asked)
    if len(mentioned_ids(parts)) > 1:
        raise PromptError(
            "the question of a timeline mentions several objects; expected one <ID>, which stands "
            "for each object in turn"
        )
    windows = _windows(video, every_s, time)
    plan = Plan(video, tracks, ids, windows, parts, settings, frames)
    segments = merge(_segments(gar, plan, progress, cancel), gap_s=ABSENCE_S)
    span = (video.times_s[windows[0].start], _end_of(video, windows[-1].stop - 1))
    return Timeline(
        video=video.name,
        duration_s=video.duration_s,
        every_s=float(every_s),
        question=asked,
        model=gar.name,
        object_ids=ids,
        labels={i: label for i in ids if (label := tracks[i].label)},
        segments=tuple(segments),
        events=tuple(_events(video, tracks, ids, span)),
        summaries=tuple(_summaries(gar, ids, segments, summary, settings, cancel)),
    )


def _windows(video: Video, every_s: float, time: Window) -> tuple[range, ...]:
    """Cut the video, or the part of it that is asked for, into stretches of ``every_s``."""
    if video.is_image:
        raise PromptError(f"{video.name} is a photograph; a timeline needs a video")
    try:
        every = float(every_s)
    except (TypeError, ValueError):
        every = math.nan
    shortest = float(1 / video.fps)
    if not math.isfinite(every) or every < shortest * (1 - 1e-6):
        raise PromptError(
            f"every_s is {every_s!r}; expected seconds, at least a frame's {shortest:.3f} s"
        )
    inside = frame_window(video, time)
    start = 0.0 if time is None else float(time[0])
    times = video.times_s[inside.start : inside.stop]
    # A hair's breadth for times that rounding left just before a window's start.
    which = np.floor((times - start) / every + 1e-6).astype(np.int64)
    # A rest of less than half a window belongs to the one before it.
    rest = float(times[-1]) + shortest - start - float(which[-1]) * every
    if which[-1] > 0 and rest < every / 2:
        which = np.minimum(which, which[-1] - 1)
    cuts = [0, *(np.flatnonzero(np.diff(which)) + 1).tolist(), len(times)]
    return tuple(range(inside.start + a, inside.start + b) for a, b in pairwise(cuts))


def _end_of(video: Video, frame: int) -> float:
    """Return when a frame ends."""
    return float(video.times_s[frame + 1]) if frame + 1 < len(video) else video.duration_s


def _events(
    video: Video, tracks: Tracks, ids: Sequence[int], span: tuple[float, float]
) -> list[Event]:
    found = [event for i in ids for event in events_of(tracks[i], video.times_s)]
    inside = [event for event in found if span[0] <= event.time_s <= span[1]]
    order = {object_id: at for at, object_id in enumerate(ids)}
    return sorted(inside, key=lambda event: (event.time_s, order[event.object_id]))


# ---- windows --------------------------------------------------------------------------------


def _segments(
    gar: GARVideo,
    plan: Plan,
    progress: Callable[[int, int], None] | None,
    cancel: Callable[[], bool] | None,
) -> Iterator[Segment]:
    """Describe every object in every window in which it is seen."""
    for at in range(len(plan.windows)):
        looks = []
        for object_id in plan.objects:
            seen = _seen_in(plan.tracks[object_id], plan.windows, at)
            if seen is not None:
                looks.append((seen, _look(gar, plan, object_id, seen)))
        for group in _groups(plan.video, looks):
            frames = sorted({frame for _, view in group for frame in view.frames})
            pictures = plan.video.frames(frames)
            for seen, view in group:
                if cancel is not None and cancel():
                    raise Cancelled("the timeline was cancelled")
                mine = pictures[np.searchsorted(frames, view.frames)]
                yield _segment(gar, plan, view, seen, mine)
        if progress is not None:
            progress(at + 1, len(plan.windows))


def _seen_in(track: Track, windows: Sequence[range], at: int) -> range | None:
    """Return from where to where an object is seen in a window.

    A glimpse of it where it comes or goes, of less than a quarter of a window, says little alone:
    it belongs to the neighbouring window.
    """
    mine = _part(track, windows[at])
    if mine is None or _glimpse(track, windows, at):
        return None
    before, after = at - 1, at + 1
    if before >= 0 and _glimpse(track, windows, before) == "coming":
        mine = range(cast(range, _part(track, windows[before])).start, mine.stop)
    if after < len(windows) and _glimpse(track, windows, after) == "going":
        mine = range(mine.start, cast(range, _part(track, windows[after])).stop)
    return mine


def _part(track: Track, window: range) -> range | None:
    first, end = np.searchsorted(track.frames, [window.start, window.stop]).tolist()
    if first == end:
        return None
    return range(int(track.frames[first]), int(track.frames[end - 1]) + 1)


def _glimpse(track: Track, windows: Sequence[range], at: int) -> str:
    """Say whether an object is only ``"coming"`` or ``"going"`` in a window."""

    def short(place: int) -> bool:
        part = _part(track, windows[place]) if 0 <= place < len(windows) else None
        return part is None or len(part) < len(windows[place]) / 4

    part = _part(track, windows[at])
    if part is None or not short(at):
        return ""
    if part.stop == windows[at].stop and not short(at + 1) and track.is_visible(part.stop):
        return "coming"
    if part.start == windows[at].start and not short(at - 1) and track.is_visible(part.start - 1):
        return "going"
    return ""


def _parts_for(plan: Plan, object_id: int) -> list[QuestionPart]:
    return [
        ObjectMention(object_id) if isinstance(part, ObjectMention) else part for part in plan.parts
    ]


def _look(gar: GARVideo, plan: Plan, object_id: int, seen: range) -> Look:
    """Choose frames where the object is seen, by the pipeline's own rules."""
    start, end = float(plan.video.times_s[seen.start]), _end_of(plan.video, seen.stop - 1)
    parts = _parts_for(plan, object_id)
    return gar._look(
        plan.video, plan.tracks, (object_id,), parts, plan.settings, plan.frames, (start, end),
        describe=parts == [DESCRIBE],
    )  # fmt: skip


def _groups(
    video: Video, looks: Sequence[tuple[range, Look]]
) -> Iterator[list[tuple[range, Look]]]:
    """Yield looks whose frames can be held together."""
    most = max(1, HELD_BYTES // (3 * video.width * video.height))
    group: list[tuple[range, Look]] = []
    held: set[int] = set()
    # In order of the video, so that the decoder goes forward.
    for seen, view in sorted(looks, key=lambda look: look[1].frames):
        if group and len(held | set(view.frames)) > most:
            yield group
            group, held = [], set()
        group.append((seen, view))
        held |= set(view.frames)
    if group:
        yield group


def _segment(
    gar: GARVideo, plan: Plan, view: Look, seen: range, pictures: npt.NDArray[np.uint8]
) -> Segment:
    (object_id,) = view.objects
    encoded = encode(gar._decoder, gar.processor, view.prompt(pictures))
    suffix = gar.processor.question_ids(_parts_for(plan, object_id), encoded.prompt)
    with memory_guard("describing a window"):
        (generated,) = gar._decoder.generate(encoded.cache, [suffix], plan.settings)
    return Segment(
        object_id=object_id,
        start_s=float(plan.video.times_s[seen.start]),
        end_s=_end_of(plan.video, seen.stop - 1),
        text=gar.processor.decode(generated.token_ids),
        frames=view.frames,
    )


# ---- summing up -----------------------------------------------------------------------------


def _summaries(
    gar: GARVideo,
    ids: Sequence[int],
    segments: Sequence[Segment],
    by: SummaryBy,
    settings: GenerationSettings,
    cancel: Callable[[], bool] | None,
) -> Iterator[Summary]:
    if by == "auto":
        # Checkpoints that choose by letter have an instructed language model. The others, nano
        # among them, know only the questions they were trained on and would make things up.
        by = "model" if gar.model.config.choice_scoring == "letter" else "notes"
    for object_id in ids:
        if cancel is not None and cancel():
            raise Cancelled("the timeline was cancelled")
        notes = [_note(segment) for segment in segments if segment.object_id == object_id]
        mine = [segment.text for segment in segments if segment.object_id == object_id]
        if not notes:
            yield Summary(object_id, "Not seen.", "tracks")
        elif len(notes) == 1:
            yield Summary(object_id, mine[0], "notes")
        elif by == "model":
            yield Summary(object_id, sum_up(gar, notes, settings), "model")
        else:
            yield Summary(object_id, " ".join(_distinct(mine)), "notes")


def _note(segment: Segment) -> str:
    return f"{segment.start_s:.1f} to {segment.end_s:.1f} s: {segment.text}"


def _distinct(texts: Sequence[str]) -> list[str]:
    """Return each text once, in order, as sentences."""
    kept: dict[tuple[str, ...], str] = {}
    for text in texts:
        if text.strip():
            kept.setdefault(content(text), text.strip())
    return [text if text[-1] in ".!?" else f"{text}." for text in kept.values()]


def sum_up(gar: GARVideo, notes: Sequence[str], settings: GenerationSettings) -> str:
    """Have the model sum up notes, without any picture.

    Notes that do not fit its context are summed up part by part, and then their summaries.

    Args:
        gar: The pipeline.
        notes: In order of time.
        settings: How words are generated.

    Raises:
        PromptError: If not even two notes fit the context.
    """
    notes = list(notes)
    while True:
        parts = _fitting(gar, notes, settings)
        said = [
            text
            for first in range(0, len(parts), gar.batch_size)
            for text in _answer_words(
                gar,
                [
                    _SUM_UP.format(notes="\n".join(part))
                    for part in parts[first : first + gar.batch_size]
                ],
                settings,
            )
        ]
        if len(said) == 1:
            return said[0]
        notes = said


def _fitting(gar: GARVideo, notes: Sequence[str], settings: GenerationSettings) -> list[list[str]]:
    """Cut notes into parts that the context holds, each of two notes at least."""
    frame = len(gar.processor.encode_plain(_SUM_UP)) + len(_opening(gar)) + 32
    room = gar.processor.context_length - frame - settings.max_new_tokens
    parts: list[list[str]] = [[]]
    used = 0
    for note in notes:
        cost = len(gar.processor.encode_plain(note)) + 1
        if parts[-1] and used + cost > room:
            if len(parts[-1]) < 2:
                raise PromptError(
                    f"two notes do not fit the context of {gar.processor.context_length} tokens; "
                    "lower max_new_tokens, or take the notes with summary='notes'"
                )
            parts.append([])
            used = 0
        parts[-1].append(note)
        used += cost
    return parts


def _opening(gar: GARVideo) -> list[int]:
    turns = gar.processor.turns
    return gar.processor.encode_control(turns.opening + turns.before_text)


@torch.inference_mode()
def _answer_words(gar: GARVideo, texts: Sequence[str], settings: GenerationSettings) -> list[str]:
    """Ask the language model about words alone; all texts in one batch."""
    embedding = gar.model.get_input_embeddings()
    ids = torch.tensor([_opening(gar)], device=embedding.weight.device)
    ending = gar.processor.encode_control(gar.processor.turns.to_assistant)
    suffixes = [[*gar.processor.encode_plain(text), *ending] for text in texts]
    with memory_guard("summing up"):
        cache = gar._decoder.prefill(cast(torch.Tensor, embedding(ids)))
        generated = gar._decoder.generate(cache, suffixes, settings)
    return [gar.processor.decode(one.token_ids) for one in generated]
