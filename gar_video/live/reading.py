"""What one update brings: a frame and a tracker's output, checked and brought to one form."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError, VideoError
from gar_video.formats.results import kind_of
from gar_video.regions import BadBoxes, fit_box, whole

if TYPE_CHECKING:
    import supervision as sv

Frame = npt.NDArray[np.uint8]

_MAX_NAMES = 65_536  # string ids remembered; a day's worth, and bounded


@dataclass(frozen=True)
class Row:
    """One object in one frame.

    Attributes:
        at: Its row in the detections.
        object_id: Its id.
        box: ``(x1, y1, x2, y2)`` in pixels, inside the frame.
        worth: How clearly it is seen: its area, less where the frame's edge cuts it or the
            detector is unsure.
    """

    at: int
    object_id: int
    box: tuple[float, float, float, float]
    worth: float


def as_detections(output: Any, bad_boxes: BadBoxes = "drop") -> sv.Detections:
    """Return a tracker's output as ``sv.Detections``.

    Args:
        bad_boxes: What to do with rows of an array that are not finite, which ``sv.Detections``
            does not take; see ``BadBoxes``.
        output: ``sv.Detections``, one Ultralytics ``Results`` (or a list of one), or a BoxMOT array
            ``(N, 8)``.

    Raises:
        TracksError: If it is none of these, or a box is not finite and ``bad_boxes`` refuses it.
    """
    import supervision as sv

    if isinstance(output, (list, tuple)) and len(output) == 1:
        output = output[0]
    kind = kind_of(output)
    if kind == "supervision":
        return output
    if kind == "ultralytics":
        return sv.Detections.from_ultralytics(output)
    if kind == "boxmot":
        rows: Any = np.asarray(output, np.float64)
        rows = rows.reshape(len(rows), rows.shape[1] if rows.ndim == 2 else 8)
        finite = np.isfinite(rows[:, :5]).all(axis=1)
        if not finite.all() and bad_boxes != "drop":
            raise TracksError("a box holds NaN or infinity; mend it, or pass bad_boxes='drop'")
        rows = rows[finite]
        if len(rows) == 0:
            return sv.Detections.empty()
        ids: Any = rows[:, 4]  # whole numbers in a float array; anything else is refused later
        return sv.Detections(
            xyxy=rows[:, :4],
            tracker_id=ids.astype(np.int64) if (ids == np.rint(ids)).all() else ids,
            confidence=rows[:, 5] if rows.shape[1] > 5 else None,
            class_id=rows[:, 6].astype(int) if rows.shape[1] > 6 else None,
        )
    raise TracksError(
        f"detections are {type(output).__name__}; expected sv.Detections, Ultralytics Results or "
        "BoxMOT's array"
    )


def check_frame_pixels(frame: Any, size_wh: tuple[int, int] | None) -> tuple[int, int]:
    """Return a frame's ``(width, height)``.

    Raises:
        VideoError: If it is no ``(H, W, 3)`` uint8 array, or of another size than ``size_wh``.
    """
    shape: Any = getattr(frame, "shape", ())
    if len(shape) != 3 or shape[2] != 3 or frame.dtype != np.uint8 or 0 in shape:
        given = f"{shape} of {getattr(frame, 'dtype', type(frame).__name__)}"
        raise VideoError(f"frame is {given}; expected (height, width, 3) of uint8")
    found = (int(shape[1]), int(shape[0]))
    if size_wh is not None and found != size_wh:
        raise VideoError(
            f"frame of {found[0]}x{found[1]} after frames of {size_wh[0]}x{size_wh[1]}; expected "
            "one size: begin a new LiveDescriber where the size changes"
        )
    return found


class RowReader:
    """Reads detections into rows.

    Attributes:
        dropped_boxes: Boxes left out: NaN, inverted or outside the frame.
        unconfirmed: Rows of id -1, which trackers give before they are sure.
        source_ids: What objects were called whose ids are strings, by int id.

    Args:
        bad_boxes: What to do with boxes that do not fit the frame; see ``BadBoxes``.
    """

    def __init__(self, bad_boxes: BadBoxes) -> None:
        if bad_boxes not in ("clip", "refuse", "drop"):
            raise TracksError(f"bad_boxes={bad_boxes!r}; expected 'clip', 'refuse' or 'drop'")
        self._bad_boxes = bad_boxes
        self.dropped_boxes = 0
        self.unconfirmed = 0
        self.source_ids: OrderedDict[int, str] = OrderedDict()
        self._numbers: dict[str, int] = {}
        self._next = 1

    def read(self, found: sv.Detections, size_wh: tuple[int, int]) -> list[Row]:
        """Return a row for each detection that has an id and a box inside the frame.

        Raises:
            TracksError: If there are no ids, an id is no whole number and no string or stands
                twice, a box does not fit and ``bad_boxes`` refuses it, or masks are of another
                size than the frame.
        """
        count = len(found)
        if count == 0:
            return []
        if found.tracker_id is None:
            raise TracksError(
                "detections have no tracker_id; run a tracker over them first (with Ultralytics: "
                "model.track, not predict)"
            )
        width, height = size_wh
        masks: Any = found.mask
        if masks is not None and tuple(masks.shape[1:]) != (height, width):
            raise TracksError(
                f"masks of {masks.shape[2]}x{masks.shape[1]} pixels for a frame of "
                f"{width}x{height}; expected the frame's own size"
            )
        ids, boxes = found.tracker_id.tolist(), found.xyxy.tolist()
        sure = None if found.confidence is None else found.confidence.tolist()
        rows: list[Row] = []
        taken: set[int] = set()
        for at in range(count):
            number = self._number(ids[at])
            if number == -1:
                self.unconfirmed += 1
                continue
            if number in taken:
                raise TracksError(f"object {ids[at]!r} stands twice in one frame; expected once")
            box = fit_box(boxes[at], size_wh, self._bad_boxes, f"object {ids[at]}")
            if box is None:
                self.dropped_boxes += 1
                continue
            taken.add(number)
            rows.append(Row(at, number, box, _worth(box, size_wh, sure[at] if sure else 1.0)))
        return rows

    def _number(self, given: Any) -> int:
        """Return an int id: strings of digits as they are, other strings mapped."""
        if isinstance(given, str):
            text = given.strip()
            if not text:
                raise TracksError("an object id is an empty string; expected a number or a name")
            if not (text.isascii() and text.isdigit()):
                return self._mapped(text)
            given = int(text[:19])
        number = whole(given, "object id")
        if number < -1:
            raise TracksError(f"object id {number}; expected 0 or more (-1 for not confirmed)")
        if number in self.source_ids:
            raise TracksError(
                f"object id {number} is a number, but {self.source_ids[number]!r} was mapped to "
                "it; use strings for all ids, or numbers for all"
            )
        self._next = max(self._next, number + 1)  # so that no string is mapped to it later
        return number

    def _mapped(self, text: str) -> int:
        if text not in self._numbers:
            if len(self._numbers) >= _MAX_NAMES:
                _, oldest = self.source_ids.popitem(last=False)
                del self._numbers[oldest]
            self._numbers[text] = self._next
            self.source_ids[self._next] = text
            self._next += 1
        return self._numbers[text]


def _worth(box: tuple[float, float, float, float], size_wh: tuple[int, int], score: float) -> float:
    width, height = size_wh
    x1, y1, x2, y2 = box
    whole_view = x1 > 1 and y1 > 1 and x2 < width - 1 and y2 < height - 1
    sure = score if 0.0 < score <= 1.0 else 1.0
    return (x2 - x1) * (y2 - y1) * (1.0 if whole_view else 0.4) * (0.5 + 0.5 * sure)


def with_words(found: sv.Detections, words: list[str]) -> sv.Detections:
    """Return the detections with ``data["description"]``, one text a row; the rest is shared."""
    column = np.empty(len(words), object)
    column[:] = words
    given = copy.copy(found)  # not made anew, which would check every box again
    given.data = {**found.data, "description": column}
    return given
