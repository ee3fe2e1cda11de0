"""What a visitor does in the picture and the timeline, as plain data, checked and carried out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gar_video.errors import PromptError

if TYPE_CHECKING:
    from gar_video.app.session import Session

Gesture = Mapping[str, Any]

_MOST_POINTS = 5_000
# What changes no picture; everything else makes drawn frames out of date.
_UNSEEN = ("window", "rename")


def carry_out(session: Session, gesture: Any) -> int | None:
    """Do what a visitor asked for in the picture.

    Args:
        session: Whose.
        gesture: ``{"do": NAME, ...}``; coordinates in pixels of the clip, frames from 0.

    Returns:
        The id of the object it was about; None if it was about none.

    Raises:
        PromptError: If it is malformed or cannot be meant.
    """
    if not isinstance(gesture, Mapping) or gesture.get("do") not in _DOING:
        raise PromptError(f"no such gesture; expected one of {', '.join(_DOING)}")
    session.opened()
    name = str(gesture["do"])
    with session.lock:
        about = _DOING[name](session, gesture)
        if name not in _UNSEEN:
            session.version += 1
    return about


def _object(session: Session, gesture: Gesture) -> int:
    """Return the object a gesture is about; pointing at nothing chosen makes a new one."""
    if gesture.get("object") is None and gesture["do"] in ("point", "box", "paint"):
        return session.pointing.add()
    return _whole(gesture, "object")


def _point(session: Session, gesture: Gesture) -> int:
    frame, x, y = _whole(gesture, "frame"), _number(gesture, "x"), _number(gesture, "y")
    label = _whole(gesture, "label")
    object_id = _object(session, gesture)
    session.pointing.point(object_id, frame, x, y, label)
    return object_id


def _box(session: Session, gesture: Gesture) -> int:
    frame, xyxy = _whole(gesture, "frame"), _numbers(gesture.get("xyxy"), 4)
    object_id = _object(session, gesture)
    session.pointing.box(object_id, frame, xyxy)
    return object_id


def _paint(session: Session, gesture: Gesture) -> int:
    way = gesture.get("way")
    if not isinstance(way, (list, tuple)) or len(way) > _MOST_POINTS:
        raise PromptError(f"a stroke is a list of at most {_MOST_POINTS} points")
    points = [_numbers(point, 2) for point in way]
    frame, radius = _whole(gesture, "frame"), _number(gesture, "radius")
    object_id = _object(session, gesture)
    session.pointing.paint(
        object_id, frame, points, radius,
        erase=bool(gesture.get("erase")), base=session.region(object_id, frame),
    )  # fmt: skip
    return object_id


def _clear(session: Session, gesture: Gesture) -> int:
    object_id = _object(session, gesture)
    frame = None if gesture.get("frame") is None else _whole(gesture, "frame")
    session.pointing.clear(object_id, frame)
    return object_id


def _undo(session: Session, gesture: Gesture) -> None:
    session.pointing.undo()


def _add(session: Session, gesture: Gesture) -> int:
    return session.pointing.add()


def _remove(session: Session, gesture: Gesture) -> None:
    session.pointing.remove(_object(session, gesture))


def _rename(session: Session, gesture: Gesture) -> int:
    object_id = _object(session, gesture)
    session.pointing.rename(object_id, str(gesture.get("name", "")))
    return object_id


def _recolor(session: Session, gesture: Gesture) -> int:
    object_id = _object(session, gesture)
    session.pointing.recolor(object_id, gesture.get("color", ""))
    return object_id


def _hide(session: Session, gesture: Gesture) -> int:
    object_id = _object(session, gesture)
    session.pointing.hide(object_id, bool(gesture.get("hidden")))
    return object_id


def _window(session: Session, gesture: Gesture) -> None:
    if gesture.get("span") is None:
        session.window_s = None
        return
    start, end = _numbers(gesture["span"], 2)
    video = session.opened()
    start, end = max(0.0, min(start, end)), min(video.duration_s, max(start, end))
    if end <= start:
        raise PromptError("that part of the clip is empty; drag over more of the timeline")
    session.window_s = (start, end)


def _number(gesture: Gesture, name: str) -> float:
    value = gesture.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise PromptError(f"{name} is {str(value)[:40]!r}; expected a number")
    return float(value)


def _whole(gesture: Gesture, name: str) -> int:
    value = _number(gesture, name)
    if value != int(value):
        raise PromptError(f"{name} is {value:g}; expected a whole number")
    return int(value)


def _numbers(values: Any, count: int) -> list[float]:
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise PromptError(f"expected {count} numbers, such as pixels of the clip")
    return [_number({"value": value}, "value") for value in values]


_DOING: dict[str, Callable[[Session, Gesture], int | None]] = {
    "point": _point,
    "box": _box,
    "paint": _paint,
    "clear": _clear,
    "undo": _undo,
    "add": _add,
    "remove": _remove,
    "rename": _rename,
    "recolor": _recolor,
    "hide": _hide,
    "window": _window,
}
