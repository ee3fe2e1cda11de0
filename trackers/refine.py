"""Boxes into masks: SAM 2 on the frames that are looked at, and on no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from gar_video.devices import memory_guard
from gar_video.errors import Cancelled
from gar_video.sampling import TokenBudget, choose_frames, frame_window
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

if TYPE_CHECKING:
    from gar_video.trackers.sam2 import Sam2Tracker
    from gar_video.trackers.sam2_session import Sam2Session

    from gar_video.video import Video

_PLENTY = TokenBudget(1 << 40, 1, 1 << 40)
_AT_ONCE = 16  # objects decoded together
_MARGIN = 0.1  # of a box's sides: a mask may reach so far beyond its box


def refine_masks(
    video: Video,
    tracks: Tracks,
    sam: Sam2Tracker,
    *,
    frames: int | Sequence[int] = 16,
    time: tuple[float, float] | None = None,
    objects: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Tracks:
    """Turn box regions into masks on the frames that a question will look at.

    SAM 2 is prompted with the boxes themselves. A frame is encoded once for all its objects; no
    other frame is decoded. Give the ``frames`` and ``time`` that ``describe`` or ``ask`` is going
    to be given: for each object these choose the same frames (as do all objects together, unless
    the context budget allows fewer; then list the frames).

    Args:
        video: The video.
        tracks: Tracks with boxes; regions that are masks already stay.
        sam: The model.
        frames: How many frames are going to be looked at, or which. The checkpoint's default is
            ``gar.model.config.num_frames``.
        time: ``(start, end)`` in seconds that is going to be looked at.
        objects: Ids to refine; all by default.
        progress: Called with (frames done, frames in all).
        cancel: Asked before every frame; True stops.

    Returns:
        The same tracks, with masks in those frames, cut where they reach far beyond their box.
        Where SAM 2 sees nothing in a box, it stays.

    Raises:
        TracksError: If the tracks do not fit the video, or an id is unknown.
        PromptError: If frames or time cannot be meant.
        Cancelled: If ``cancel`` said so.
        DeviceError: If memory runs out.
    """
    tracks.check_fits(video)
    ids = tracks.object_ids if objects is None else tuple(tracks[i].object_id for i in objects)
    wanted = _wanted(video, tracks, ids, frames, time)
    masks: dict[tuple[int, int], npt.NDArray[np.bool_]] = {}
    with sam.session(video) as session:
        for done, (frame, present) in enumerate(sorted(wanted.items()), start=1):
            if cancel is not None and cancel():
                raise Cancelled(f"refining was cancelled at frame {frame}")
            boxes = np.array([tracks[object_id].box_xyxy(frame) for object_id in present])
            for first in range(0, len(present), _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                found = masks_of_boxes(session, frame, boxes[part])
                for object_id, mask, box in zip(present[part], found, boxes[part], strict=True):
                    inside = cut_to_box(mask, box)
                    if inside.any():
                        masks[object_id, frame] = inside
            if progress is not None:
                progress(done, len(wanted))
    return _with_masks(tracks, masks)


def _wanted(
    video: Video,
    tracks: Tracks,
    ids: Sequence[int],
    frames: int | Sequence[int],
    time: tuple[float, float] | None,
) -> dict[int, list[int]]:
    """Return the boxes to refine: frame to the objects in it."""
    window = frame_window(video, time)
    seen = tracks.visibility(object_ids=ids)  # [objects, frames]
    groups = [[row] for row in range(len(ids))]
    if len(ids) > 1:
        groups.append(list(range(len(ids))))
    wanted: dict[int, list[int]] = {}
    for rows in groups:
        for frame in choose_frames(window, seen[rows], frames, _PLENTY, num_frames=len(video)):
            for row in rows:
                if seen[row, frame] and tracks[ids[row]].is_box(frame):
                    present = wanted.setdefault(frame, [])
                    if ids[row] not in present:
                        present.append(ids[row])
    return wanted


def cut_to_box(mask: npt.NDArray[np.bool_], xyxy: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return the part of an ``(H, W)`` mask that lies in a box or close by."""
    x1, y1, x2, y2 = xyxy
    more_x, more_y = _MARGIN * (x2 - x1), _MARGIN * (y2 - y1)
    columns = slice(max(int(x1 - more_x), 0), int(np.ceil(x2 + more_x)))
    rows = slice(max(int(y1 - more_y), 0), int(np.ceil(y2 + more_y)))
    inside = np.zeros_like(mask)
    inside[rows, columns] = mask[rows, columns]
    return inside


@torch.inference_mode()
def masks_of_boxes(
    session: Sam2Session, frame: int, boxes_xyxy: npt.NDArray[np.float64]
) -> list[npt.NDArray[np.bool_]]:
    """Return the masks that SAM 2 finds in boxes of one frame.

    They are those of prompting each box alone on this frame; the frame is encoded once.

    Args:
        session: A session of the video.
        frame: The frame.
        boxes_xyxy: ``(N, 4)`` in pixels.

    Returns:
        N masks ``(H, W)`` bool; empty where the model says that nothing is there.
    """
    predictor: Any = session._predictor
    width, height = session.resolution_wh
    size = predictor.image_size
    corners = torch.tensor(boxes_xyxy, dtype=torch.float32).reshape(-1, 2, 2)
    corners = corners / torch.tensor([width, height]) * size  # [N, 2 corners, xy]
    labels = torch.tensor([[2, 3]], dtype=torch.int32).expand(len(corners), 2)
    prompts = {
        "point_coords": corners.to(predictor.device),
        "point_labels": labels.to(predictor.device),
    }
    with memory_guard(f"refining {len(corners)} boxes on frame {frame}"), session._computing():
        _, low_res = predictor._run_single_frame_inference(
            inference_state=session._state,
            output_dict={"cond_frame_outputs": {}, "non_cond_frame_outputs": {}},
            frame_idx=frame,
            batch_size=len(corners),
            is_init_cond_frame=True,
            point_inputs=prompts,
            mask_inputs=None,
            reverse=False,
            run_mem_encoder=False,
        )
        return session._full_size([low_res[k : k + 1] for k in range(len(corners))])


def _with_masks(tracks: Tracks, masks: dict[tuple[int, int], npt.NDArray[np.bool_]]) -> Tracks:
    """Return the tracks with some regions exchanged."""
    length = tracks.num_frames if tracks.num_frames_known else None
    builder = TracksBuilder(tracks.resolution_wh, length)
    builder.source_ids = tracks.source_ids
    for object_id in tracks:
        track = tracks[object_id]
        builder.add_object(object_id, track.label)
        for row, frame in enumerate(track.frames.tolist()):
            score = track.score(frame)
            mask = masks.get((object_id, frame))
            if mask is not None:
                builder.add_mask(frame, object_id, mask, score)
            elif track.is_box(frame):
                builder.add_box(frame, object_id, track.boxes_xyxy[row], score)
            else:
                builder.add_mask(frame, object_id, track.rle(frame), score)
    builder.see_frame(tracks.num_frames - 1)
    return builder.build(
        allow_empty=True, source_format=tracks.source_format, ignored=tracks.ignored
    )
