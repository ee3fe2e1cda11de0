"""supervision's ``Detections``: a tracker's stream in, one frame's regions out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gar_video.errors import TracksError
from gar_video.regions import BadBoxes
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

if TYPE_CHECKING:
    import supervision as sv


def tracks_from_detections(
    detections: Iterable[Any],
    resolution_wh: tuple[int, int] | None = None,
    num_frames: int | None = None,
    bad_boxes: BadBoxes = "clip",
) -> Tracks:
    """Make tracks from ``sv.Detections``; see ``Tracks.from_detections``."""
    builder: TracksBuilder | None = None
    seen, box_regions = 0, 0
    for frame, found in _by_frame(detections):
        seen = max(seen, frame + 1)
        if len(found) == 0:
            continue
        if builder is None:
            builder = TracksBuilder(
                resolution_wh or _resolution(found), num_frames, bad_boxes=bad_boxes
            )
        add_detections(builder, frame, found)
        box_regions += len(found) if found.mask is None else 0
    if builder is None:
        if resolution_wh is None:
            raise TracksError("no detections and no frame size; pass resolution_wh=(width, height)")
        builder = TracksBuilder(resolution_wh, num_frames)
    if box_regions:
        warnings.warn(
            f"{box_regions} detections have boxes but no masks; their regions are the boxes "
            "(boxes_only says so)",
            stacklevel=3,
        )
    # A stream with nothing in its last frames still says that they were there.
    builder.see_frame(seen - 1)
    return builder.build(allow_empty=True)


def add_detections(builder: TracksBuilder, frame: int, found: sv.Detections) -> None:
    """Add one frame's detections, leaving out those with id -1 (not confirmed yet).

    Raises:
        TracksError: If they have no ids, or something does not fit; see ``TracksBuilder``.
    """
    if len(found) == 0:
        return
    if found.tracker_id is None:
        raise TracksError(
            f"detections of frame {frame} have no tracker_id; run a tracker over them first"
        )
    names = found.data.get("class_name")
    for row, object_id in enumerate(found.tracker_id):
        if not isinstance(object_id, str) and object_id == -1:
            continue
        name = None if names is None or str(names[row]) in ("", "None") else str(names[row])
        score = None if found.confidence is None else float(found.confidence[row])
        if found.mask is None:
            builder.add_box(frame, object_id, found.xyxy[row], score, name)
        else:
            builder.add_mask(frame, object_id, np.asarray(found.mask[row]), score, name)


def _by_frame(detections: Iterable[Any]) -> Iterator[tuple[int, Any]]:
    if hasattr(detections, "xyxy"):
        raise TracksError("got one sv.Detections; expected a list or stream of them, one a frame")
    try:
        items = iter(detections)
    except TypeError:
        raise TracksError(
            f"got {type(detections).__name__}; expected a list or stream of sv.Detections"
        ) from None
    for index, item in enumerate(items):
        frame, found = item if isinstance(item, tuple) and len(item) == 2 else (index, item)
        if not hasattr(found, "xyxy") or not hasattr(found, "tracker_id"):
            raise TracksError(
                f"item {index} is {type(found).__name__}; "
                "expected sv.Detections or (frame, sv.Detections)"
            )
        yield frame, found


def _resolution(found: sv.Detections) -> tuple[int, int]:
    if found.mask is None:
        raise TracksError(
            "boxes do not say how large the frames are; pass resolution_wh=(width, height)"
        )
    height, width = found.mask.shape[1:]
    return int(width), int(height)


def detections_of_frame(tracks: Tracks, frame: int) -> sv.Detections:
    """What is visible in one frame; see ``Tracks.detections``."""
    import supervision as sv

    seen = [tracks[object_id] for object_id in tracks if tracks[object_id].is_visible(frame)]
    if not seen:
        return sv.Detections.empty()
    ids = [track.object_id for track in seen]
    scores = [track.score(frame) for track in seen]
    data: dict[str, Any] = {}
    if any(track.label is not None for track in seen):
        data["class_name"] = np.array([track.label or "" for track in seen])
    return sv.Detections(
        xyxy=np.array([track.box_xyxy(frame) for track in seen], np.float64),
        mask=None if all(t.is_box(frame) for t in seen) else tracks.masks(frame, ids),
        confidence=(
            None
            if all(score is None for score in scores)
            else np.array([np.nan if score is None else score for score in scores])
        ),
        tracker_id=np.array(ids),
        data=data,
    )
