"""Frames of a session as pictures: the objects drawn in, small enough to be sent quickly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from gar_video.masks import box_xyxy
from gar_video.visuals import draw_objects

if TYPE_CHECKING:
    import numpy.typing as npt

    from gar_video.app.session import Session

VIEW_SIDE, THUMB_SIDE = 1280, 224
_ENLARGED = 800
_QUALITY = 88


def view(
    session: Session, frame: int, *, drawn: bool = True, side: int = VIEW_SIDE
) -> npt.NDArray[np.uint8]:
    """Draw a frame with the objects that are not hidden.

    Args:
        session: Whose.
        frame: 0-based frame.
        drawn: Whether to draw objects.
        side: The longer side is made no longer than this, in pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        PromptError: If no clip is open.
        VideoError: If there is no such frame, or it is damaged.
    """
    import supervision as sv

    video = session.opened()
    picture = video[frame]
    longest = max(video.resolution_wh)
    # Small clips are enlarged, so that outlines and ids drawn into them are sharp.
    least = _ENLARGED / longest if side >= _ENLARGED else 0.0
    scale = min(max(1.0, least), side / longest)
    size = (max(1, round(video.width * scale)), max(1, round(video.height * scale)))
    if scale != 1:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)
    if not drawn:
        return picture
    ids, regions = [], []
    for object_id, named in list(session.pointing.objects.items()):
        region = None if named.hidden else session.region(object_id, frame)
        if region is None:
            continue
        if scale != 1:
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            region = cv2.resize(region.astype(np.float32), size, interpolation=way) >= 0.5
        if region.any():
            ids.append(object_id)
            regions.append(region)
    if not ids:
        return picture
    found = sv.Detections(
        xyxy=np.array([box_xyxy(region) for region in regions], float),
        mask=np.array(regions),
        tracker_id=np.array(ids),
    )
    tagged = () if side > THUMB_SIDE else ids
    return draw_objects(picture, found, session.colors, untagged=tagged)


def as_jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode an RGB picture."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    assert done
    return data.tobytes()
