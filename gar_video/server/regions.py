"""The ``regions`` of a request: what is pointed at, and the tracks that come of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gar_video import masks
from gar_video.errors import PromptError
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder
from gar_video.video import Video
from gar_video.visual_prompts import Box, Mask, Points, VisualPrompt

if TYPE_CHECKING:
    from gar_video.trackers import Sam2Tracker

Number = Annotated[float, Field(allow_inf_nan=False)]
FrameIndex = Annotated[int, Field(ge=0, lt=2**31)]


class RunLength(BaseModel):
    """A mask, run-length coded as COCO does: compressed text, or counts."""

    model_config = ConfigDict(extra="forbid")

    size: Annotated[list[int], Field(min_length=2, max_length=2, description="[height, width]")]
    counts: str | list[Annotated[int, Field(ge=0, lt=2**40)]]

    def checked(self, video: Video) -> masks.RLE:
        """Return it in the one form used inside.

        Raises:
            TracksError: If it is malformed or of another size than the video's frames.
        """
        return masks.as_rle(self.model_dump(), video.resolution_wh)


class Region(BaseModel):
    """One object: a box, points or a mask on one frame, or masks on several."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[int, Field(ge=0, lt=2**31, description="<id> in the text means this object")]
    frame: FrameIndex = 0
    box: Annotated[
        list[Number] | None, Field(min_length=4, max_length=4, description="[x1, y1, x2, y2]")
    ] = None
    points: Annotated[
        list[Annotated[list[Number], Field(min_length=2, max_length=3)]] | None,
        Field(min_length=1, max_length=256, description="[[x, y, 1 on the object or 0 off it], …]"),
    ] = None
    rle: RunLength | None = None
    masks: Annotated[
        dict[Annotated[str, Field(pattern=r"^\d{1,9}$")], RunLength] | None,
        Field(min_length=1, description="frame to mask; used as they are"),
    ] = None
    label: Annotated[str | None, Field(max_length=100)] = None

    @model_validator(mode="after")
    def _one_way(self) -> Region:
        ways = [self.box, self.points, self.rle, self.masks]
        if sum(way is not None for way in ways) != 1:
            raise ValueError("expected exactly one of box, points, rle and masks")
        return self


@dataclass
class Pointed:
    """Regions that were checked against their video.

    Attributes:
        video: The video.
        ids: Objects, in the order given.
        prompts: For SAM 2 to follow, or on one frame only.
        given: Object to frame to mask, to be used as they are.
        boxes: Object to frame to box, to be used as they are.
        labels: Object to word.
        follow: Whether prompts are followed through the video.
        key: Equal for equal regions on equal clips.
    """

    video: Video
    follow: bool
    ids: list[int] = field(default_factory=list)
    prompts: list[VisualPrompt] = field(default_factory=list)
    given: dict[int, dict[int, masks.RLE]] = field(default_factory=dict)
    boxes: dict[int, dict[int, Sequence[float]]] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    key: str = ""

    @property
    def needs_tracker(self) -> bool:
        """Whether SAM 2 has anything to do."""
        return bool(self.prompts)


def read_regions(
    regions: Sequence[Region], video: Video, digest: str, *, follow: bool, max_masks: int
) -> Pointed:
    """Check regions against their video.

    Args:
        regions: The request's.
        video: Its video.
        digest: The clip's.
        follow: Whether a region on one frame is followed through the video.
        max_masks: Most masks in all.

    Raises:
        PromptError: If a region lies outside the video, an object is given in two ways, or there
            are too many masks.
        TracksError: If a mask is malformed.
    """
    total = sum(len(region.masks or ()) or 1 for region in regions)
    if total > max_masks:
        raise PromptError(f"{total} masks in one request; expected at most {max_masks}")
    boxes_stay = not follow
    follow = follow and len(video) > 1
    pointed = Pointed(video, follow)
    for region in regions:
        _add(pointed, region, boxes_stay)
    for object_id in set(pointed.given) | set(pointed.boxes):
        if any(prompt.object_id == object_id for prompt in pointed.prompts):
            raise PromptError(
                f"object {object_id} has masks of its own and is to be followed too; give one"
            )
    plain = json.dumps([region.model_dump() for region in regions], sort_keys=True)
    pointed.key = hashlib.sha256(f"{digest}|{boxes_stay}|{plain}".encode()).hexdigest()
    return pointed


def _add(pointed: Pointed, region: Region, boxes_stay: bool) -> None:
    video, at = pointed.video, region.id
    if at not in pointed.ids:
        pointed.ids.append(at)
    if region.label:
        pointed.labels[at] = region.label
    prompt: VisualPrompt | None = None
    if region.masks is not None:
        for frame, rle in region.masks.items():
            _check_frame(int(frame), video)
            pointed.given.setdefault(at, {})[int(frame)] = rle.checked(video)
        return
    if region.box is not None:
        x1, y1, x2, y2 = region.box
        prompt = Box(region.frame, (x1, y1, x2, y2), at)
    elif region.points is not None:
        xy = [(point[0], point[1]) for point in region.points]
        labels = [int(point[2]) if len(point) > 2 else 1 for point in region.points]
        prompt = Points(region.frame, xy, labels, at)
    elif region.rle is not None:
        _check_frame(region.frame, video)
        prompt = Mask(region.frame, masks.decode(region.rle.checked(video)), at)
    assert prompt is not None
    prompt.check(len(video), video.resolution_wh)
    if isinstance(prompt, Mask) and not pointed.follow:
        pointed.given.setdefault(at, {})[prompt.frame] = masks.encode(prompt.mask)
    elif isinstance(prompt, Box) and boxes_stay:
        pointed.boxes.setdefault(at, {})[prompt.frame] = prompt.xyxy
    else:
        pointed.prompts.append(prompt)


def _check_frame(frame: int, video: Video) -> None:
    if frame >= len(video):
        raise PromptError(
            f"a region on frame {frame}, but the video has frames 0 to {len(video) - 1}"
        )


def make_tracks(
    pointed: Pointed,
    tracker: Callable[[], Sam2Tracker],
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Tracks:
    """Return the tracks of regions, asking SAM 2 where it is needed.

    Args:
        pointed: The regions.
        tracker: Returns SAM 2.
        progress: Called with (frames done, frames in all).
        cancel: Asked before every frame; True stops.

    Raises:
        GARVideoError: As ``Sam2Tracker.track``.
    """
    video = pointed.video
    builder = TracksBuilder(video.resolution_wh, len(video))
    for object_id in pointed.ids:
        builder.add_object(object_id, pointed.labels.get(object_id))
    for object_id, frames in pointed.given.items():
        for frame, rle in frames.items():
            builder.add_mask(frame, object_id, rle)
    for object_id, boxes in pointed.boxes.items():
        for frame, xyxy in boxes.items():
            builder.add_box(frame, object_id, xyxy)
    for group in _groups(pointed):
        span: dict[str, Any] = {}
        if not pointed.follow:
            span = {"start_frame": group[0].frame, "end_frame": group[0].frame + 1}
        found = tracker().track(video, group, progress=progress, cancel=cancel, **span)
        for object_id in found:
            track = found[object_id]
            for index in track.frames.tolist():
                builder.add_mask(index, object_id, track.rle(index), track.score(index))
    return builder.build(allow_empty=True)


def _groups(pointed: Pointed) -> list[list[VisualPrompt]]:
    """Prompts that are given to SAM 2 together: all, or those of one frame."""
    if pointed.follow or not pointed.prompts:
        return [pointed.prompts] if pointed.prompts else []
    by_frame: dict[int, list[VisualPrompt]] = {}
    for prompt in pointed.prompts:
        by_frame.setdefault(prompt.frame, []).append(prompt)
    return list(by_frame.values())
