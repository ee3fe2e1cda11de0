"""What a seeing judge is shown: the picture with its regions drawn, and each region from near."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from gar_video import masks
from gar_video.bench.case import Case
from gar_video.bench.looking import media_path, to_rle
from gar_video.tracks import Tracks
from gar_video.video import Video
from gar_video.visuals import draw_objects, object_colors

Picture = npt.NDArray[np.uint8]
_LEAST_SIDE = 56  # of a region, before what is around it is added
_MOST_SIDE = 1024
_VIDEO_FRAMES = 4


def views(case: Case, data: Path) -> list[tuple[str, str]]:
    """Return what is shown of a case: labels and pictures as data addresses.

    Of a picture: all of it with its regions drawn, and for each region a part three times its
    size, with its mask. Of a video: up to four frames that show the object, with it drawn.

    Args:
        case: The case.
        data: The benchmark's folder.

    Raises:
        GARVideoError: If the picture or a mask cannot be read.
    """
    with Video(media_path(data, case.media)) as video:
        rles = {
            object_id: {frame: to_rle(mask, video.resolution_wh) for frame, mask in regions.items()}
            for object_id, regions in enumerate(case.objects, 1)
        }
        tracks = Tracks.from_rles(rles, video.resolution_wh, len(video), allow_empty=True)
        colors = object_colors(tracks.object_ids)
        if not video.is_image:
            seen = np.flatnonzero(tracks.visibility().any(axis=0))
            count = min(_VIDEO_FRAMES, len(seen))
            places = np.unique(np.linspace(0, len(seen) - 1, count).round().astype(int))
            return [
                (
                    f"Frame at {float(video.times_s[frame]):.2f} s, the object outlined:",
                    address(draw_objects(video[frame], tracks.detections(frame), colors)),
                )
                for frame in (int(seen[place]) for place in places)
            ]
        picture = video[0]
        drawn = draw_objects(picture, tracks.detections(0), colors)
        shown = [("The picture, its regions outlined:", address(drawn))]
        for object_id in tracks:
            mask = tracks[object_id].mask(0)
            if mask is None:
                continue
            name = f"<Prompt{case.first_number + object_id - 1}>"
            near, its_mask = close_up(picture, mask)
            shown.append((f"{name} from near:", address(near)))
            shown.append((f"The mask of {name}:", address(its_mask)))
    return shown


def close_up(picture: Picture, mask: npt.NDArray[np.bool_]) -> tuple[Picture, Picture]:
    """Cut out a region with its surroundings: three times its box, which counts as 56 px at least.

    Args:
        picture: ``(H, W, 3)`` uint8.
        mask: ``(H, W)`` bool with a pixel in it.

    Returns:
        The part of the picture and of the mask, both uint8.
    """
    box = masks.box_xyxy(mask)
    assert box is not None
    x_1, y_1, x_2, y_2 = box
    spans = []
    for low, high, side in ((y_1, y_2, mask.shape[0]), (x_1, x_2, mask.shape[1])):
        size = max(int(high - low), _LEAST_SIDE)
        start = int((low + high) / 2 - size / 2)
        spans.append(slice(max(start - size, 0), min(start + 2 * size, side)))
    part = mask[spans[0], spans[1]].astype(np.uint8) * 255
    return picture[spans[0], spans[1]], part


def address(picture: Picture) -> str:
    """Return a picture, ``(H, W, 3)`` RGB or ``(H, W)`` uint8, as a data address."""
    scale = _MOST_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1]
    return "data:image/png;base64," + base64.b64encode(coded.tobytes()).decode("ascii")
