"""What a group looks at: its clip opened, its masks brought to the frames, its frames chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gar_video import masks
from gar_video.bench.case import Regions
from gar_video.bench.groups import Group
from gar_video.bench.settings import Settings
from gar_video.errors import GARVideoError, PromptError, TracksError
from gar_video.prompt import ObjectMention, QuestionPart, RegionPrompt, RegionSlot
from gar_video.sampling import TokenBudget, choose_frames
from gar_video.tracks import Tracks
from gar_video.video import Video
from gar_video.visual_prompts import Mask

if TYPE_CHECKING:
    from gar_video.processor import GARProcessor

# Kept free for a question, so that questions of usual length look at the same frames.
_QUESTION_ROOM = 256


class Tracker(Protocol):
    """What follows masks through a clip, such as ``gar_video.trackers.Sam2Tracker``."""

    def track(self, video: Video, prompts: Sequence[Mask]) -> Tracks:
        """Return the objects' tracks."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What the model is shown.

    Attributes:
        prompt: Frames and slots; None when blind.
        frames: Indices of the frames, rising.
        times_s: Their times.
        numbers: Object id to N of ``<PromptN>``, hidden objects included.
        hidden: Objects that have no mask in any of the frames.
    """

    prompt: RegionPrompt | None
    frames: tuple[int, ...]
    times_s: tuple[float, ...]
    numbers: Mapping[int, int]
    hidden: tuple[int, ...]


def media_path(data: Path, media: str) -> Path:
    """Return where a case's video or picture lies."""
    return data / media


def see(
    group: Group,
    data: Path,
    processor: GARProcessor,
    settings: Settings,
    *,
    text_tokens: int,
    num_frames: int,
    tracker: Tracker | None = None,
    tracks_file: Path | None = None,
) -> Sight:
    """Open a group's clip and choose what to look at.

    Args:
        group: The cases.
        data: The benchmark's folder.
        processor: The checkpoint's processor.
        settings: The run's settings.
        text_tokens: Tokens to keep free for question and answer.
        num_frames: Frames of a video to look at.
        tracker: Follows masks, in mode ``"track"``.
        tracks_file: Where its tracks are kept; read if it is there.

    Raises:
        GARVideoError: If the clip cannot be read, a mask is malformed, or nothing fits the context.
    """
    first = group.first
    numbers = {i: first.first_number + i - 1 for i in first.object_ids}
    if settings.blind:
        return Sight(None, (), (), numbers, ())
    with Video(media_path(data, first.media)) as video:
        if settings.mode == "track" and tracks_file is not None and tracks_file.is_file():
            tracks = Tracks.load(tracks_file)
            candidates: Sequence[int] = range(len(video))
        else:
            tracks, candidates = _tracks(group, video, settings, tracker)
            if settings.mode == "track" and tracks_file is not None:
                tracks_file.parent.mkdir(exist_ok=True)
                tracks.save(tracks_file, "json")
        budget = TokenBudget(
            available=processor.context_length
            - max(text_tokens, _QUESTION_ROOM)
            - processor.preamble_length(tuple(numbers.values())),
            per_tile=processor.config.tokens_per_tile,
            context=processor.context_length,
        )
        frames = _frames(video, tracks, candidates, budget, num_frames, processor)
        slots, hidden = [], []
        for object_id, number in numbers.items():
            rles = tuple(tracks[object_id].rle(frame) for frame in frames)
            if any(rle is not None for rle in rles):
                slots.append(RegionSlot(object_id, number, rles))
            else:
                hidden.append(object_id)
        described = first.kind == "describe" and len(slots) == 1 and not first.question
        prompt = RegionPrompt(video.frames(frames), tuple(slots), video.is_image, described)
        times = tuple(round(float(video.times_s[frame]), 6) for frame in frames)
    return Sight(prompt, tuple(frames), times, numbers, tuple(hidden))


def _frames(
    video: Video,
    tracks: Tracks,
    candidates: Sequence[int],
    budget: TokenBudget,
    num_frames: int,
    processor: GARProcessor,
) -> list[int]:
    seen = tracks.visibility()
    if video.is_image:
        columns, rows = processor.tile_grid(video.width, video.height)
        cost = processor.tokens_for(1 + columns * rows, int(seen.sum()))
        if cost > budget.available:
            raise PromptError(
                f"{video.name} with {int(seen.sum())} regions costs {cost} tokens but "
                f"{budget.available} of {budget.context} are left beside the text"
            )
        return [0]
    # The candidates are numbered anew: frames between them are not to be chosen.
    chosen = choose_frames(
        range(len(candidates)),
        seen[:, list(candidates)],
        num_frames,
        budget,
        num_frames=len(candidates),
    )
    return [candidates[place] for place in chosen]


def _tracks(
    group: Group, video: Video, settings: Settings, tracker: Tracker | None
) -> tuple[Tracks, Sequence[int]]:
    """Return the objects' masks, and the frames that may be looked at."""
    objects, prompt_frame = group.first.objects, group.first.prompt_frame
    every = range(len(video))
    if prompt_frame is None or settings.mode == "multi":
        frames = sorted({frame for regions in objects for frame in regions})
        return _of_masks(objects, video), (every if video.is_image or not frames else frames)
    if settings.mode == "single":
        for place, regions in enumerate(objects, 1):
            if prompt_frame not in regions:
                raise TracksError(
                    f"object {place} has no annotation at frame_idx {prompt_frame}; it has frames "
                    f"{_listed(sorted(regions))}"
                )
        return _of_masks([{prompt_frame: one[prompt_frame]} for one in objects], video), every
    return _tracked(objects, prompt_frame, video, tracker), every


def _of_masks(objects: Sequence[Regions], video: Video) -> Tracks:
    rles = {
        object_id: {frame: to_rle(mask, video.resolution_wh) for frame, mask in regions.items()}
        for object_id, regions in enumerate(objects, 1)
    }
    return Tracks.from_rles(rles, video.resolution_wh, len(video), allow_empty=True)


def _tracked(
    objects: Sequence[Regions], prompt_frame: int, video: Video, tracker: Tracker | None
) -> Tracks:
    """Follow each object from the frame that points at it, or the nearest that shows it."""
    if tracker is None:
        raise GARVideoError("mode track needs a tracker; name a SAM 2 checkpoint with --sam2")
    prompts = []
    for object_id, regions in enumerate(objects, 1):
        for frame in sorted(regions, key=lambda frame: abs(frame - prompt_frame)):
            rle = to_rle(regions[frame], video.resolution_wh)
            if rle is not None and masks.area(rle):
                prompts.append(Mask(frame, masks.decode(rle), object_id))
                break
    tracked = tracker.track(video, prompts) if prompts else None
    rles: dict[int, dict[int, Any]] = {}
    for object_id in range(1, len(objects) + 1):
        known = tracked is not None and object_id in tracked
        own = tracked[object_id] if known and tracked is not None else None
        rles[object_id] = {} if own is None else {int(f): own.rle(int(f)) for f in own.frames}
    return Tracks.from_rles(rles, video.resolution_wh, len(video), allow_empty=True)


def to_rle(segmentation: Any, resolution_wh: tuple[int, int]) -> masks.RLE | None:
    """Bring a published mask to the frames' size.

    Args:
        segmentation: An RLE, compressed or not, of any size; polygons in the frames' pixels; None.
        resolution_wh: The frames' width and height.

    Raises:
        TracksError: If it is malformed.
    """
    if segmentation is None:
        return None
    if isinstance(segmentation, dict) and segmentation.get("size") != [*resolution_wh[::-1]]:
        rle = masks.encode(masks.resize(masks.decode(segmentation), resolution_wh))
    else:
        rle = masks.as_rle(segmentation, resolution_wh)
    return rle if masks.area(rle) else None


def sayable(parts: Sequence[QuestionPart], sight: Sight) -> list[QuestionPart]:
    """Name objects that are hidden in plain words, as they have no region to stand for."""
    return [
        f"<Prompt{sight.numbers[part.object_id]}>"
        if isinstance(part, ObjectMention) and part.object_id in sight.hidden
        else part
        for part in parts
    ]


def names_only(numbers: Mapping[int, int]) -> RegionPrompt:
    """Return a prompt of names without pictures, to word questions with when blind."""
    dot = masks.encode(np.ones((1, 1), bool))
    slots = tuple(RegionSlot(object_id, number, (dot,)) for object_id, number in numbers.items())
    return RegionPrompt(np.zeros((1, 1, 1, 3), np.uint8), slots)


def _listed(frames: Sequence[int]) -> str:
    shown = ", ".join(map(str, frames[:6])) or "none"
    return shown + (", …" if len(frames) > 6 else "")
