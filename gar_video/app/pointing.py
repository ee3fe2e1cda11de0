"""What a visitor has pointed at: objects with names and colours, and marks on frames."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.errors import PromptError
from gar_video.lettering import RGB, object_colors
from gar_video.visual_prompts import Box, Mask, Points, VisualPrompt

BoolMask = npt.NDArray[np.bool_]
Click = tuple[float, float, int]

MOST_OBJECTS = 64
_MOST_CLICKS = 64
_MOST_NAME = 80
_REMEMBERED = 100  # steps that can be undone
_NUM_COLORS = 10


@dataclass(frozen=True)
class Named:
    """How an object is called and shown.

    Attributes:
        name: A word for it; may be empty.
        color: RGB.
        hidden: Whether its masks are not drawn.
    """

    name: str
    color: RGB
    hidden: bool = False


@dataclass(frozen=True, eq=False)
class Marks:
    """What was marked of one object on one frame.

    Attributes:
        points: ``(x, y, label)``, label 1 on the object and 0 off it.
        box: ``(x_min, y_min, x_max, y_max)``.
        paint: ``(H, W)`` bool; with it there is neither box nor points.
    """

    points: tuple[Click, ...] = ()
    box: tuple[float, float, float, float] | None = None
    paint: BoolMask | None = None

    @property
    def says_where(self) -> bool:
        """Whether this alone tells what is meant: more than points that are off the object."""
        on = any(label for _, _, label in self.points)
        return on or self.box is not None or self.paint is not None

    def prompts(self, object_id: int, frame: int) -> list[VisualPrompt]:
        """Return it as prompts for a tracker."""
        if self.paint is not None:
            return [Mask(frame, self.paint, object_id)]
        found: list[VisualPrompt] = []
        if self.box is not None:
            found.append(Box(frame, self.box, object_id))
        if self.points:
            xy = [(x, y) for x, y, _ in self.points]
            found.append(Points(frame, xy, [label for *_, label in self.points], object_id))
        return found


class Pointing:
    """Objects and their marks; every change can be undone.

    Args:
        resolution_wh: The clip's ``(width, height)``; what lies outside is moved to the edge.
        num_frames: The clip's length.

    Attributes:
        objects: By id, in the order they were made.
        marks: By object and frame.
    """

    def __init__(self, resolution_wh: tuple[int, int], num_frames: int) -> None:
        self.resolution_wh = resolution_wh
        self.num_frames = num_frames
        self.objects: dict[int, Named] = {}
        self.marks: dict[tuple[int, int], Marks] = {}
        self._before: list[tuple[dict[int, Named], dict[tuple[int, int], Marks]]] = []

    # ---- objects ------------------------------------------------------------------------------

    def add(self, object_id: int | None = None, name: str = "") -> int:
        """Make an object and return its id: the one given, or one more than the highest.

        Raises:
            PromptError: If there are too many, or the id is taken.
        """
        if len(self.objects) >= MOST_OBJECTS:
            raise PromptError(f"{MOST_OBJECTS} objects are as many as a page can show; remove one")
        if object_id is None:
            object_id = max(self.objects, default=0) + 1
        elif object_id in self.objects:
            raise PromptError(f"there is an object <{object_id}> already")
        self._remember()
        self.objects[object_id] = Named(_as_name(name), self._free_color())
        return object_id

    def remove(self, object_id: int) -> None:
        """Drop an object with all its marks."""
        self._check(object_id)
        self._remember()
        del self.objects[object_id]
        self.marks = {key: value for key, value in self.marks.items() if key[0] != object_id}

    def rename(self, object_id: int, name: str) -> None:
        """Call an object by a word, cut to a usual length."""
        self._change(object_id, name=_as_name(name))

    def recolor(self, object_id: int, color: str) -> None:
        """Show an object in a colour, ``#rrggbb``."""
        if not isinstance(color, str) or not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
            raise PromptError(f"color {color!r}; expected #rrggbb")
        red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
        self._change(object_id, color=(red, green, blue))

    def hide(self, object_id: int, hidden: bool) -> None:
        """Draw an object's masks, or do not."""
        self._change(object_id, hidden=bool(hidden))

    # ---- marks --------------------------------------------------------------------------------

    def point(self, object_id: int, frame: int, x: float, y: float, label: int = 1) -> None:
        """Click on an object (label 1), or beside it (0)."""
        marks = self._unpainted(object_id, frame)
        if len(marks.points) >= _MOST_CLICKS:
            raise PromptError(f"{_MOST_CLICKS} clicks on one frame are enough; undo some")
        x, y = self._inside(x, y)
        width, height = self.resolution_wh
        click = (min(x, width - 1e-3), min(y, height - 1e-3), 1 if label else 0)
        self._remember()
        self.marks[object_id, frame] = replace(marks, points=(*marks.points, click))

    def box(self, object_id: int, frame: int, xyxy: Sequence[float]) -> None:
        """Draw a box around an object; it replaces the one it had on this frame."""
        marks = self._unpainted(object_id, frame)
        if len(xyxy) != 4:
            raise PromptError(f"box has {len(xyxy)} values; expected four: X1,Y1,X2,Y2")
        (x1, y1), (x2, y2) = self._inside(xyxy[0], xyxy[1]), self._inside(xyxy[2], xyxy[3])
        corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        if corners[2] - corners[0] < 1 or corners[3] - corners[1] < 1:
            raise PromptError("that box is smaller than a pixel; drag from corner to corner")
        self._remember()
        self.marks[object_id, frame] = replace(marks, box=corners)

    def paint(
        self,
        object_id: int,
        frame: int,
        way: Sequence[Sequence[float]],
        radius: float,
        *,
        erase: bool = False,
        base: BoolMask | None = None,
    ) -> None:
        """Paint an object with a brush, or take paint away.

        Args:
            object_id: The object.
            frame: The frame.
            way: Points ``(x, y)`` that the brush went through.
            radius: The brush's radius in pixels.
            erase: Take away.
            base: What is painted on where there is no paint yet, such as the tracker's mask.
        """
        self._check(object_id, frame)
        marks = self.marks.get((object_id, frame), Marks())
        width, height = self.resolution_wh
        start = marks.paint if marks.paint is not None else base
        canvas = np.zeros((height, width), np.uint8)
        if start is not None:
            canvas[start] = 1
        if not way or not 0 < radius <= max(width, height):
            raise PromptError(
                "that stroke has no points, or a brush of no size; drag over the object"
            )
        line = np.array([self._inside(x, y) for x, y in way]).round().astype(np.int32)
        ink = 0 if erase else 1
        cv2.polylines(canvas, [line], False, ink, max(1, round(2 * radius)))
        for x, y in (line[0], line[-1]):
            cv2.circle(canvas, (int(x), int(y)), max(0, round(radius)), ink, -1)
        painted = canvas.astype(bool)
        self._remember()
        if painted.any():
            painted.setflags(write=False)
            self.marks[object_id, frame] = Marks(paint=painted)
        else:
            self.marks.pop((object_id, frame), None)

    def clear(self, object_id: int, frame: int | None = None) -> None:
        """Take away an object's marks on a frame, or all of them."""
        self._check(object_id)
        self._remember()
        self.marks = {
            key: value
            for key, value in self.marks.items()
            if key[0] != object_id or frame not in (None, key[1])
        }

    def undo(self) -> bool:
        """Take back the last change; False if there is none."""
        if not self._before:
            return False
        self.objects, self.marks = self._before.pop()
        return True

    def forget_steps(self) -> None:
        """Make what is there the beginning, which nothing undoes."""
        self._before.clear()

    # ---- what comes of it ---------------------------------------------------------------------

    def of_object(self, object_id: int) -> dict[int, Marks]:
        """Return an object's marks by frame, rising."""
        return {
            frame: self.marks[key] for key in sorted(self.marks) if key[0] == object_id
            for frame in (key[1],)
        }  # fmt: skip

    def prompts(self, object_ids: Iterable[int]) -> list[VisualPrompt]:
        """Return the marks of objects as prompts for a tracker.

        Raises:
            PromptError: If an object's first marks are only off it.
        """
        found: list[VisualPrompt] = []
        for object_id in object_ids:
            marks = self.of_object(object_id)
            if marks and not next(iter(marks.values())).says_where:
                raise PromptError(
                    f"<{object_id}> has only clicks that are not on it on frame {min(marks)}; "
                    "click on the object there too"
                )
            for frame, there in marks.items():
                found += there.prompts(object_id, frame)
        return found

    def fingerprint(self, object_id: int) -> tuple[tuple[int, Marks], ...]:
        """Return a value that is the same as long as an object's marks are."""
        return tuple(self.of_object(object_id).items())

    # ---- inside -------------------------------------------------------------------------------

    def _check(self, object_id: int, frame: int = 0) -> None:
        if object_id not in self.objects:
            shown = ", ".join(f"<{known}>" for known in list(self.objects)[:12]) or "none"
            raise PromptError(f"there is no object <{object_id}>; the objects here are {shown}")
        if not 0 <= frame < self.num_frames:
            raise PromptError(f"frame {frame}; the clip has frames 0 to {self.num_frames - 1}")

    def _unpainted(self, object_id: int, frame: int) -> Marks:
        self._check(object_id, frame)
        marks = self.marks.get((object_id, frame), Marks())
        if marks.paint is not None:
            raise PromptError(
                f"<{object_id}> is painted on this frame, and paint stands alone; clear it first, "
                "or go on painting"
            )
        return marks

    def _inside(self, x: float, y: float) -> tuple[float, float]:
        if not np.isfinite([x, y]).all():
            raise PromptError("a point holds NaN or infinity; expected pixels of the clip")
        width, height = self.resolution_wh
        return float(min(max(x, 0), width)), float(min(max(y, 0), height))

    def _change(self, object_id: int, **values: object) -> None:
        self._check(object_id)
        self._remember()
        self.objects[object_id] = replace(self.objects[object_id], **values)  # type: ignore[arg-type]

    def _remember(self) -> None:
        self._before.append((dict(self.objects), dict(self.marks)))
        del self._before[:-_REMEMBERED]

    def _free_color(self) -> RGB:
        palette = list(object_colors(range(_NUM_COLORS)).values())
        taken = [named.color for named in self.objects.values()]
        return min(palette, key=taken.count)


def _as_name(name: str) -> str:
    return " ".join(str(name).split())[:_MOST_NAME]
