"""What a group looks at: its clip opened, its masks brought to the frames, its frames chosen."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from gar_video import masks
from gar_video.bench.case import Case, Regions
from gar_video.bench.groups import Group
from gar_video.bench.settings import Settings
from gar_video.encoding import look
from gar_video.errors import GARVideoError, TracksError
from gar_video.prompt import ObjectMention, QuestionPart, RegionPrompt, RegionSlot
from gar_video.tracks import Tracks
from gar_video.video import Video
from gar_video.visual_prompts import Mask

if TYPE_CHECKING:
    from gar_video.processor import GARProcessor

# Kept free for a question, so that questions of usual length look at the same frames.
_QUESTION_ROOM = 256


class DiskError(GARVideoError):
    """Tracks cannot be kept; the question is not to blame."""


class Tracker(Protocol):
    """What follows masks through a clip, such as ``gar_video.trackers.Sam2Tracker``."""

    def track(self, video: Video, prompts: Sequence[Mask]) -> Tracks:
        """Return the objects' tracks."""


@dataclass(frozen=True, eq=False)
class Sight:
    """What the model is shown.

    Attributes:
        key: Names it: equal for equal sights of one benchmark's files.
        prompt: Frames and slots; None when blind, or when they are encoded already.
        frames: Indices of the frames, rising.
        times_s: Their times.
        numbers: Object id to N of ``<PromptN>``, hidden objects included.
        hidden: Objects that have no mask in any of the frames.
    """

    key: str
    prompt: RegionPrompt | None
    frames: tuple[int, ...]
    times_s: tuple[float, ...]
    numbers: Mapping[int, int]
    hidden: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Sights:
    """Decides what groups look at.

    Attributes:
        data: The benchmark's folder.
        processor: The checkpoint's processor.
        settings: The run's settings, ``num_frames`` given.
        tracker: Follows masks, in mode ``"track"``.
        tracks: The files where its tracks are kept, by group; read where they are there.
    """

    data: Path
    processor: GARProcessor
    settings: Settings
    tracker: Tracker | None = None
    tracks: Callable[[Group], Path] | None = None

    def see(self, group: Group, text_tokens: int, encoded: Container[str] = ()) -> Sight:
        """Open a group's clip and choose what to look at.

        Args:
            group: The cases.
            text_tokens: Tokens to keep free for question and answer.
            encoded: Keys of sights that are encoded already; their frames are not decoded.

        Raises:
            GARVideoError: If the clip cannot be read, a mask is malformed, or nothing fits the
                context.
        """
        first = group.first
        numbers = {i: first.first_number + i - 1 for i in first.object_ids}
        if self.settings.blind:
            return Sight(f"blind {sorted(numbers.items())}", None, (), (), numbers, ())
        assert self.settings.num_frames is not None
        with Video(media_path(self.data, first.media)) as video:
            tracks, candidates = self._tracks(group, video)
            view = look(
                video,
                tracks,
                first.object_ids,
                self.processor,
                frames=self.settings.num_frames,
                time=None,
                text_tokens=max(text_tokens, _QUESTION_ROOM),
                describe=first.kind == "describe" and not first.question and len(numbers) == 1,
                numbers=tuple(numbers.values()),
                candidates=candidates,
            )
            key = f"{first.media} {view.content_key}"
            prompt = None if key in encoded else view.prompt()
            times = tuple(round(time, 6) for time in view.times_s)
        return Sight(key, prompt, view.frames, times, numbers, view.hidden)

    def _tracks(self, group: Group, video: Video) -> tuple[Tracks, Sequence[int] | None]:
        """Return the objects' masks, and the only frames that may be looked at."""
        if self.settings.mode != "track" or group.first.prompt_frame is None:
            return annotated(group.first, video, self.settings)
        kept = None if self.tracks is None else self.tracks(group)
        if kept is not None and kept.is_file():
            return Tracks.load(kept), None
        tracks = _tracked(group.first.objects, group.first.prompt_frame, video, self.tracker)
        if kept is not None:
            try:
                kept.parent.mkdir(parents=True, exist_ok=True)
                tracks.save(kept, "json")
            except (OSError, GARVideoError) as error:
                raise DiskError(
                    f"{error}; what was done is kept: make room, and run again"
                ) from None
        return tracks, None


def media_path(data: Path, media: str) -> Path:
    """Return where a case's video or picture lies."""
    return data / media


def annotated(case: Case, video: Video, settings: Settings) -> tuple[Tracks, Sequence[int] | None]:
    """Return a case's annotated masks, and the only frames that may be looked at.

    Raises:
        TracksError: If the masks do not fit the video, or the frame that points has none.
    """
    objects, prompt_frame = case.objects, case.prompt_frame
    if prompt_frame is None or settings.mode == "multi":
        frames = sorted({frame for regions in objects for frame in regions})
        return _of_masks(objects, video), (None if video.is_image else frames or None)
    for place, regions in enumerate(objects, 1):
        if prompt_frame not in regions:
            raise TracksError(
                f"object {place} has no annotation at frame_idx {prompt_frame}; it has frames "
                f"{_listed(sorted(regions))}"
            )
    return _of_masks([{prompt_frame: one[prompt_frame]} for one in objects], video), None


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
