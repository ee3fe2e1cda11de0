"""Between an annotation tool's keyframes: shapes that move from one to the next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from gar_video.errors import TracksError
from gar_video.masks import RLE
from gar_video.tracks_builder import TracksBuilder

Box: TypeAlias = tuple[float, float, float, float]
Polygon: TypeAlias = tuple[tuple[float, float], ...]


MAX_FILLED = 3_000_000  # regions that a file's keyframes may grow into; 28 hours of one object


@dataclass(frozen=True)
class Shape:
    """What an object looks like in one frame; one of box, polygon and mask is given.

    Attributes:
        box: ``(x_min, y_min, x_max, y_max)``.
        rotation: Degrees by which the box is turned clockwise about its centre.
        polygon: Corners.
        mask: COCO RLE.
    """

    box: Box | None = None
    rotation: float = 0.0
    polygon: Polygon | None = None
    mask: RLE | None = None

    def add_to(self, builder: TracksBuilder, frame: int, object_id: Any) -> None:
        """Add this as a region; a turned box becomes the mask of its outline."""
        if self.mask is not None:
            builder.add_mask(frame, object_id, self.mask)
        elif self.polygon is not None:
            builder.add_mask(frame, object_id, [[v for point in self.polygon for v in point]])
        elif self.box is not None and self.rotation % 180:
            corners = _turned(self.box, self.rotation)
            builder.add_mask(frame, object_id, [[v for point in corners for v in point]])
        else:
            builder.add_box(frame, object_id, self.box)


@dataclass(frozen=True)
class Keyframe:
    """A shape as the annotator left it.

    Attributes:
        frame: 0-based.
        shape: The shape; None where the object is outside from here on.
        goes_on: Whether the object is there until the next keyframe.
    """

    frame: int
    shape: Shape | None
    goes_on: bool = True


def between(keyframes: Sequence[Keyframe], end: int | None) -> Iterator[tuple[int, Shape]]:
    """Yield the shape in every frame in which the object is visible.

    Boxes move, turn and grow evenly between keyframes, and so do polygons with as many corners;
    other shapes stand still until the next keyframe. After the last one the shape stays to the end.

    Args:
        keyframes: In any order.
        end: One past the last frame, None to stop at the last keyframe.

    Raises:
        TracksError: If a frame stands twice.
    """
    ordered = sorted(keyframes, key=lambda keyframe: keyframe.frame)
    for index, keyframe in enumerate(ordered):
        following = ordered[index + 1] if index + 1 < len(ordered) else None
        if following is not None and following.frame == keyframe.frame:
            raise TracksError(f"frame {keyframe.frame} stands twice; expected once")
        if keyframe.shape is None:
            continue
        yield keyframe.frame, keyframe.shape
        if not keyframe.goes_on:
            continue
        stop = end if following is None else following.frame
        for frame in range(keyframe.frame + 1, stop or 0):
            if following is None or following.shape is None:
                yield frame, keyframe.shape
            else:
                share = (frame - keyframe.frame) / (following.frame - keyframe.frame)
                yield frame, _blend(keyframe.shape, following.shape, share)


def add_tracks(
    builder: TracksBuilder, tracks: Iterable[tuple[Any, Sequence[Keyframe], int | None]]
) -> None:
    """Add objects with everything between their keyframes.

    Args:
        builder: Where to add them.
        tracks: Id, keyframes and end (see ``between``) of each object.

    Raises:
        TracksError: If a few keyframes claim more regions than ``MAX_FILLED``, or one does not fit.
    """
    filled = 0
    for object_id, keyframes, end in tracks:
        for frame, shape in between(keyframes, end):
            filled += 1
            if filled > MAX_FILLED:
                raise TracksError(
                    f"its keyframes grow into more than {MAX_FILLED:,} regions; "
                    "the file is damaged, or should be split"
                )
            shape.add_to(builder, frame, object_id)


def _blend(first: Shape, second: Shape, share: float) -> Shape:
    if first.box is not None and second.box is not None:
        x_1, y_1, x_2, y_2 = _mix(first.box, second.box, share)
        turn = (second.rotation - first.rotation + 180) % 360 - 180  # the shorter way round
        return Shape(box=(x_1, y_1, x_2, y_2), rotation=first.rotation + share * turn)
    if first.polygon and second.polygon and len(first.polygon) == len(second.polygon):
        points = zip(first.polygon, second.polygon, strict=True)
        return Shape(polygon=tuple((*_mix(a, b, share),) for a, b in points))  # type: ignore[misc]
    return first


def _mix(first: Sequence[float], second: Sequence[float], share: float) -> list[float]:
    return [a + (b - a) * share for a, b in zip(first, second, strict=True)]


def _turned(box: Box, degrees: float) -> Polygon:
    x_1, y_1, x_2, y_2 = box
    centre = np.array([(x_1 + x_2) / 2, (y_1 + y_2) / 2])
    corners = np.array([(x_1, y_1), (x_2, y_1), (x_2, y_2), (x_1, y_2)]) - centre
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return tuple((float(x), float(y)) for x, y in corners @ turn + centre)
