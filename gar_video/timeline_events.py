"""What a track shows without any model: when its object appears, leaves and turns.

Motion is motion in the picture: where the camera itself moves, things turn that stand still.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gar_video.timeline import Event

if TYPE_CHECKING:
    from gar_video.track import Track

#: An object that is not seen for less than this has not gone: trackers lose things for a moment.
ABSENCE_S = 0.5
#: Headings are compared over this long before and after a moment.
LOOK_S = 0.4
#: A turn is a change of heading by at least this much more than a steady curve would make.
TURN_DEGREES = 35.0
_STEADY = 0.85  # of its area an object keeps while its centre is trusted
_AT_ONCE = 4096  # moments, so that memory does not follow the length
_EDGE = 0.01  # of the frame's side: a box that comes so close touches the edge

Floats = npt.NDArray[np.float64]
_NAMES = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")


def events_of(track: Track, times_s: Floats, *, absence_s: float = ABSENCE_S) -> list[Event]:
    """Return what happens to an object, as far as its track shows it.

    Args:
        track: The object.
        times_s: ``(T,)`` times of the video's frames, in seconds.
        absence_s: Seconds for which an object has to be out of sight to have gone.

    Returns:
        Events by time. An object that is seen in the first frame does not appear, and one that is
        seen in the last does not leave.
    """
    events: list[Event] = []
    for run in _runs(track, times_s, absence_s):
        first, last = int(track.frames[run[0]]), int(track.frames[run[-1]])
        if first > 0:
            side = _edge(track, run[0])
            where = f"at the {side} edge" if side else ""
            events.append(Event(track.object_id, float(times_s[first]), "appears", where))
        events += _turns(track, times_s, run)
        if last < len(times_s) - 1:
            side = _edge(track, run[-1])
            gone = float(times_s[last])
            if side:
                events.append(Event(track.object_id, gone, "leaves", f"at the {side} edge"))
            else:
                events.append(Event(track.object_id, gone, "disappears"))
    return events


def _runs(track: Track, times_s: Floats, absence_s: float) -> list[npt.NDArray[np.int64]]:
    """Cut a track's rows where its object is gone for long."""
    frames = np.asarray(track.frames)
    if len(frames) == 0:
        return []
    missing = np.diff(frames) > 1
    # From the end of the last frame with it to the beginning of the next.
    away = times_s[frames[1:]] - times_s[np.minimum(frames[:-1] + 1, len(times_s) - 1)]
    cuts = np.flatnonzero(missing & (away >= absence_s)) + 1
    return np.split(np.arange(len(frames)), cuts)


def _edge(track: Track, row: int) -> str:
    """Return the edge of the frame that a region touches, the one it is deepest at; may be none."""
    width, height = track.resolution_wh
    x1, y1, x2, y2 = (float(side) for side in track.boxes_xyxy[row])
    near_x, near_y = max(1.0, _EDGE * width), max(1.0, _EDGE * height)
    touching = {
        "left": (x1 <= near_x, (x1 + x2) / 2 / width),
        "right": (x2 >= width - near_x, 1 - (x1 + x2) / 2 / width),
        "top": (y1 <= near_y, (y1 + y2) / 2 / height),
        "bottom": (y2 >= height - near_y, 1 - (y1 + y2) / 2 / height),
    }
    sides = [(depth, side) for side, (touches, depth) in touching.items() if touches]
    return min(sides)[1] if sides else ""


def _turns(track: Track, times_s: Floats, run: npt.NDArray[np.int64]) -> list[Event]:
    """Find the moments at which an object's way bends.

    Headings are compared over ``LOOK_S`` before and after each moment. What a steady curve would
    turn in that time, seen from the headings inside either side, does not count.
    """
    frames = np.asarray(track.frames)[run]
    times = times_s[frames]
    boxes = np.asarray(track.boxes_xyxy)[run]
    centres = np.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]], axis=1) / 2
    if len(run) < 5 or times[-1] - times[0] < 2 * LOOK_S:
        return []
    free = _free(boxes, track.resolution_wh)
    size = float(np.median(np.sqrt(np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1.0))))
    # Less than this is a tracker's trembling, not a way.
    least = max(0.08 * size, 0.006 * min(track.resolution_wh), 1.5)
    moments = np.arange(times[0] + LOOK_S, times[-1] - LOOK_S + 1e-9, LOOK_S / 16)
    areas = np.asarray(track.areas, dtype=float)[run]
    known = np.column_stack([centres, areas, free.astype(float)])
    bend = np.zeros(len(moments))
    headings = np.zeros((len(moments), 2, 2))  # before and after, x and y
    for first in range(0, len(moments), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        bend[part], headings[part] = _bends(times, known, moments[part], least)
    found: list[Event] = []
    while len(bend) and bend.max() >= TURN_DEGREES:
        best = int(bend.argmax())
        words = f"from {_heading(headings[best, 0])} to {_heading(headings[best, 1])}"
        # The first frame on the new way.
        frame = min(int(np.searchsorted(times, moments[best] - 1e-6)), len(times) - 1)
        found.append(Event(track.object_id, float(times[frame]), "turns", words))
        bend = np.where(np.abs(moments - moments[best]) <= 1.5 * LOOK_S, 0.0, bend)
    return sorted(found, key=lambda event: event.time_s)


def _bends(times: Floats, known: Floats, moments: Floats, least: float) -> tuple[Floats, Floats]:
    """Return how much a way bends at some moments.

    Args:
        times: ``(R,)`` times of an object's regions.
        known: ``(R, 4)``: centre, area, and whether the box is clear of the frame's edge.
        moments: ``(M,)`` times to look at.
        least: Pixels that are a way rather than a tracker's trembling.

    Returns:
        ``(M,)`` degrees, 0 where it cannot be told, and ``(M, 2, 2)`` ways before and after.
    """
    steps = np.array([-LOOK_S, -LOOK_S / 2, 0.0, LOOK_S / 2, LOOK_S])
    at = moments[:, None] + steps
    x, y, areas, free = (np.interp(at, times, column) for column in known.T)
    # A thing going behind another, or out of the frame, moves its centre without turning.
    trusted = (areas.min(axis=1) >= _STEADY * areas.max(axis=1)) & (free.min(axis=1) > 0.99)
    legs = np.diff(np.stack([x, y], axis=-1), axis=1)  # [M, 4, 2]: two before, two after
    ways = np.stack([legs[:, :2].sum(axis=1), legs[:, 2:].sum(axis=1)], axis=1)
    moved = np.linalg.norm(ways, axis=2).min(axis=1) >= least
    curve = _angle(legs[:, 0], legs[:, 1]) + _angle(legs[:, 2], legs[:, 3])
    bend = _angle(ways[:, 0], ways[:, 1]) - curve
    return np.where(moved & trusted, bend, 0.0), ways


def _free(boxes: Floats, resolution_wh: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Say where a box is clear of the frame's edge: one that is cut there moves its centre."""
    width, height = resolution_wh
    x1, y1, x2, y2 = boxes.T
    inside = (x1 > 0.5) & (y1 > 0.5) & (x2 < width - 0.5) & (y2 < height - 0.5)
    return np.asarray(inside)


def _angle(one: Floats, other: Floats) -> Floats:
    """Return ``(M,)`` degrees between vectors, 0 to 180; 0 where one has no length."""
    dot = (one * other).sum(axis=-1)
    cross = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return np.degrees(np.abs(np.arctan2(cross, dot)))


def _heading(way: Floats) -> str:
    turn = math.degrees(math.atan2(float(way[1]), float(way[0])))
    return _NAMES[round(turn / 45) % 8]
