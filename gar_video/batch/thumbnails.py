"""Thumbnails: a small JPEG of an object where it shows best, its outline drawn in."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.batch.redacting import Redactor
from gar_video.lettering import object_colors
from gar_video.track import Track

Image = npt.NDArray[np.uint8]
_WH = (208, 156)
_QUALITY = 80


def best_frame(tracks: Sequence[Track], frames: Sequence[int]) -> int:
    """Return which of some frames shows objects best: all of them, large, not cut by the edge."""

    def worth(frame: int) -> tuple[int, float]:
        seen, area = 0, 0.0
        for track in tracks:
            box = track.box_xyxy(frame)
            if box is None:
                continue
            width, height = track.resolution_wh
            whole = box[0] > 0 and box[1] > 0 and box[2] < width and box[3] < height
            seen, area = seen + 1, area + track.area(frame) * (1.0 if whole else 0.4)
        return seen, area

    return max(frames, key=worth)


def thumbnail(
    picture: Image, tracks: Sequence[Track], frame: int, redactor: Redactor | None = None
) -> bytes:
    """Return a JPEG of the part of a frame around objects.

    Args:
        picture: The frame, ``(H, W, 3)`` uint8 RGB.
        tracks: The objects; at least one is seen in it.
        frame: Its index.
        redactor: Makes faces or people unrecognisable.
    """
    seen = [(track, box) for track in tracks if (box := track.box_xyxy(frame)) is not None]
    boxes = np.array([box for _, box in seen])
    x1, y1 = boxes[:, :2].min(0)
    x2, y2 = boxes[:, 2:].max(0)
    tall, wide = picture.shape[:2]
    width, height = _WH
    # Twice the objects, of the thumbnail's shape, and inside the frame as far as it can be.
    span = max((x2 - x1) / width, (y2 - y1) / height, 24 / width) * 2
    part_w, part_h = min(span * width, wide), min(span * height, tall)
    left = int(np.clip((x1 + x2 - part_w) / 2, 0, wide - part_w))
    top = int(np.clip((y1 + y2 - part_h) / 2, 0, tall - part_h))
    part = (slice(top, top + max(1, int(part_h))), slice(left, left + max(1, int(part_w))))
    crop = np.ascontiguousarray(picture[part])
    scale = min(width / crop.shape[1], height / crop.shape[0])
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    view = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    if redactor is not None:
        inside = (boxes - [left, top, left, top]) * scale
        view = redactor.picture(view, [track.label for track, _ in seen], inside)
    colors = object_colors([track.object_id for track in tracks])
    for track, _ in seen:
        mask = track.mask(frame)
        assert mask is not None
        shape = np.ascontiguousarray(mask[part]).astype(np.uint8)
        shape = cv2.resize(shape, size, interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(view, outlines, -1, colors[track.object_id], 2, cv2.LINE_AA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(view, cv2.COLOR_RGB2BGR), quality)
    return bytes(jpeg.tobytes())
