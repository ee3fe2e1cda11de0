"""A session as plain data: all that the page's picture and timeline need to show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gar_video.app.pointing import Marks
    from gar_video.app.session import Session
    from gar_video.video import Video

_MOST_TIMES = 20_000


def state_of(session: Session, message: str = "", problem: bool = False) -> dict[str, Any]:
    """Return a session's state as JSON types.

    Args:
        session: Whose.
        message: A line to be shown.
        problem: Whether the line says what went wrong.
    """
    with session.lock:
        objects = [_object(session, object_id) for object_id in session.pointing.objects]
        return {
            "key": session.key,
            "version": session.version,
            "clip": None if session.video is None else _clip(session.video),
            "objects": objects,
            "window": None if session.window_s is None else list(session.window_s),
            "busy": _busy(session),
            "message": message,
            "problem": problem,
        }


def _clip(video: Video) -> dict[str, Any]:
    few = len(video) <= _MOST_TIMES
    return {
        "name": video.name,
        "width": video.width,
        "height": video.height,
        "frames": len(video),
        "fps": float(video.fps),
        "duration": video.duration_s,
        "photo": video.is_image,
        # Where there are very many, evenly spaced ones will do to steer by.
        "times": [round(float(t), 4) for t in video.times_s] if few else None,
    }


def _object(session: Session, object_id: int) -> dict[str, Any]:
    named = session.pointing.objects[object_id]
    track = session.track_of(object_id)
    return {
        "id": object_id,
        "name": named.name,
        "color": "#{:02x}{:02x}{:02x}".format(*named.color),
        "hidden": named.hidden,
        "tracked": track is not None,
        "stale": session.is_stale(object_id),
        "runs": [] if track is None else runs(track.frames),
        "marks": {
            str(frame): _marks(there)
            for frame, there in session.pointing.of_object(object_id).items()
        },
    }


def _marks(marks: Marks) -> dict[str, Any]:
    return {
        "points": [list(point) for point in marks.points],
        "box": None if marks.box is None else list(marks.box),
        "paint": marks.paint is not None,
    }


def _busy(session: Session) -> dict[str, Any] | None:
    if session.busy is None:
        return None
    doing, done, total = session.busy
    return {"doing": doing, "done": done, "total": total}


def runs(frames: np.ndarray) -> list[list[int]]:
    """Return rising frames as runs ``[first, last]``."""
    if len(frames) == 0:
        return []
    breaks = np.flatnonzero(np.diff(frames) > 1)
    firsts = frames[np.concatenate([[0], breaks + 1])]
    lasts = frames[np.concatenate([breaks, [len(frames) - 1]])]
    return [[int(a), int(b)] for a, b in zip(firsts, lasts, strict=True)]
