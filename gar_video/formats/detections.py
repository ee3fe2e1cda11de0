"""supervision's ``Detections``: one frame's in, one frame's out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gar_video.errors import TracksError
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

if TYPE_CHECKING:
    import supervision as sv


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
