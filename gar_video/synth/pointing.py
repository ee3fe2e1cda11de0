"""How a user would point at a thing: a click in its middle, a box around it."""

from __future__ import annotations

import cv2
import numpy as np

from gar_video.tracks import Track
from gar_video.visual_prompts import Box, Points


def click_on(track: Track) -> Points:
    """Click where an object is thickest, on a frame that shows it well.

    Args:
        track: The object's true masks.

    Returns:
        One positive click on the first frame of which that is true.
    """
    frame = early_clear_frame(track)
    mask = track.mask(frame)
    assert mask is not None
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Points(frame, [(float(x), float(y))], object_id=track.object_id)


def box_around(track: Track) -> Box:
    """Draw a box around an object, on the first frame that shows it well."""
    frame = early_clear_frame(track)
    box = track.box_xyxy(frame)
    assert box is not None
    x1, y1, x2, y2 = (float(side) for side in box)
    return Box(frame, (x1, y1, x2, y2), track.object_id)


def early_clear_frame(track: Track) -> int:
    """Return the first frame that shows most of an object."""
    clear = track.areas >= 0.8 * np.percentile(track.areas, 90)
    return int(track.frames[int(clear.argmax())])
