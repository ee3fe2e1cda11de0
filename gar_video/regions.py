"""The regions of one object, kept in columns: 64 bytes a region and its RLE.

A Python object a region would cost more than the mask itself: 10,000 frames with 20 objects are
200,000 regions. ``RegionColumns`` is what tracks share; ``RegionWriter`` appends to one.
"""

from __future__ import annotations

import math
import operator
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError
from gar_video.masks import pixels_of_box
from gar_video.runs import Counts, box_of_counts, counts_of_rectangle, pack, unpack

BadBoxes: TypeAlias = Literal["clip", "refuse", "drop"]
"""What to do with boxes that do not fit.

``"clip"`` cuts boxes that reach over the frame's edge and refuses those that are NaN, inverted,
without area or wholly outside; ``"refuse"`` refuses the former too; ``"drop"`` cuts, and leaves
the latter out (the object counts as not visible in that frame).
"""

_DEFLATED = 0x78  # begins what zlib.compress makes; COCO's characters end before it
MAX_FRAMES = 10_000_000  # about four days at 30 frames a second


def whole(value: Any, name: str) -> int:
    """Return ``value`` as an int; whole floats pass, as many trackers carry ids in float arrays.

    Raises:
        TracksError: If it is anything else, a bool included.
    """
    if not isinstance(value, (bool, np.bool_)):
        try:
            return operator.index(value)
        except TypeError:
            if isinstance(value, (float, np.floating)) and float(value).is_integer():
                return int(value)
    raise TracksError(f"{name} is {value!r}; expected a whole number")


def check_frame(frame: Any, num_frames: int | None = None) -> int:
    """Return a 0-based frame index as int.

    Raises:
        TracksError: If it is no whole number, negative, or beyond the end.
    """
    index = whole(frame, "frame")
    end = MAX_FRAMES if num_frames is None else num_frames
    if not 0 <= index < end:
        what = (
            f"the tracks have frames 0 to {end - 1}" if num_frames else f"at most {end - 1} can be"
        )
        raise TracksError(f"frame {index}, but {what}; frames are counted from 0")
    return index


def fit_box(
    xyxy: Any, resolution_wh: tuple[int, int], bad_boxes: BadBoxes, where: str
) -> tuple[float, float, float, float] | None:
    """Check a box and cut it to the frame.

    Args:
        xyxy: ``(x_min, y_min, x_max, y_max)`` in pixel edges.
        resolution_wh: The frame's ``(width, height)``.
        bad_boxes: What to do where it does not fit; see ``BadBoxes``.
        where: Named in the error, such as ``"object 3 in frame 7"``.

    Returns:
        The box inside the frame, or None where it is dropped.

    Raises:
        TracksError: If it is no box, or does not fit and ``bad_boxes`` refuses it.
    """
    try:
        x_1, y_1, x_2, y_2 = (float(v) for v in xyxy)
    except (TypeError, ValueError):
        raise TracksError(f"box {xyxy!r} of {where}; expected four numbers") from None
    width, height = resolution_wh
    given = x_1, y_1, x_2, y_2
    box = max(x_1, 0.0), max(y_1, 0.0), min(x_2, float(width)), min(y_2, float(height))
    finite = all(map(math.isfinite, given))
    if finite and box[0] < box[2] and box[1] < box[3] and (box == given or bad_boxes != "refuse"):
        return box
    if not finite:
        problem = "holds NaN or infinity; expected finite numbers"
    elif not (x_1 < x_2 and y_1 < y_2):
        problem = "is inverted or has no area; expected x_min < x_max and y_min < y_max"
    elif box[0] < box[2] and box[1] < box[3]:
        problem = f"reaches outside the {width}x{height} frame"
    else:
        problem = f"lies outside the {width}x{height} frame"
    if bad_boxes == "drop":
        return None
    setting = "clip" if "reaches" in problem else "drop"
    shown = f"box ({x_1:g}, {y_1:g}, {x_2:g}, {y_2:g}) of {where}"
    raise TracksError(f"{shown} {problem}; mend it, or pass bad_boxes={setting!r}")


@dataclass(frozen=True, eq=False)
class RegionColumns:
    """One object's regions, a row each, frames ascending; rows are never changed.

    Attributes:
        frames: ``(N,)`` int64, 0-based, ascending, each once.
        boxes: ``(N, 4)`` float64 xyxy: a mask's tight box, or the box that is the region.
        areas: ``(N,)`` int64, pixels.
        scores: ``(N,)`` float64, NaN for none.
        starts: ``(N,)`` int64, where a row's mask begins in ``blob``.
        lengths: ``(N,)`` int64, how many bytes it takes; 0 for a region that is a box.
        blob: RLE counts: deflated if they were counted here, else as they came. Shared with the
            writer, which only ever appends, and with every window and subset.
    """

    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    blob: bytearray

    def __post_init__(self) -> None:
        for column in (self.frames, self.boxes, self.areas, self.scores, self.starts, self.lengths):
            column.flags.writeable = False

    def __reduce__(self) -> tuple[type[RegionColumns], tuple[object, ...]]:
        # Through __init__, so that copies are read-only too.
        columns = (self.frames, self.boxes, self.areas, self.scores, self.starts, self.lengths)
        return RegionColumns, (*columns, self.blob)

    def rows(self, first: int, end: int) -> RegionColumns:
        """Rows ``first`` to ``end``, sharing memory."""
        cut = slice(first, end)
        return RegionColumns(
            self.frames[cut],
            self.boxes[cut],
            self.areas[cut],
            self.scores[cut],
            self.starts[cut],
            self.lengths[cut],
            self.blob,
        )

    def packed(self, row: int) -> bytes | None:
        """Compressed RLE counts of a row; None where the region is a box."""
        if self.lengths[row] == 0:
            return None
        start = self.starts[row]
        return _inflated(self.blob[start : start + self.lengths[row]])

    def all_packed(self) -> list[bytes | None]:
        """Compressed RLE counts of all rows; None where the region is a box."""
        parts = zip(self.starts.tolist(), self.lengths.tolist(), strict=True)
        return [
            _inflated(self.blob[start : start + length]) if length else None
            for start, length in parts
        ]

    def counts(self, row: int, resolution_wh: tuple[int, int]) -> Counts:
        """Run lengths of a row, a box drawn as the rectangle of its pixels."""
        packed = self.packed(row)
        if packed is not None:
            return unpack(packed, resolution_wh[0] * resolution_wh[1])
        pixels = pixels_of_box(self.boxes[row], resolution_wh)
        assert pixels is not None, "boxes are cut to the frame when they come in"
        return counts_of_rectangle(pixels, resolution_wh)

    def same(self, other: RegionColumns) -> bool:
        """Whether both hold the same regions: frames, masks, boxes and scores."""
        return (
            np.array_equal(self.frames, other.frames)
            and np.array_equal(self.boxes, other.boxes)
            and np.array_equal(self.scores, other.scores, equal_nan=True)
            and np.array_equal(self.lengths == 0, other.lengths == 0)
            and all(self.packed(row) == other.packed(row) for row in range(len(self.frames)))
        )


def _inflated(packed: bytearray) -> bytes:
    return zlib.decompress(packed) if packed[0] == _DEFLATED else bytes(packed)


class RegionWriter:
    """Collects one object's regions in any order of frames."""

    def __init__(self, resolution_wh: tuple[int, int]) -> None:
        self._resolution_wh = resolution_wh
        self._frames: list[int] = []
        self._numbers = bytearray()  # per row: four of the box, area, score; as float64
        self._ends: list[int] = []
        self._blob = bytearray()

    def __len__(self) -> int:
        return len(self._frames)

    def add_mask(self, frame: int, counts: Counts, score: float) -> bool:
        """Append a mask by its canonical counts; an empty one is left out and returns False."""
        box = box_of_counts(counts, self._resolution_wh[1])
        if box is None:
            return False
        # Level 1 makes a quarter of typical counts in 20 microseconds; level 6 takes twice that
        # for a tenth less.
        self._append(frame, box, int(counts[1::2].sum()), score, zlib.compress(pack(counts), 1))
        return True

    def add_box(self, frame: int, xyxy: Sequence[float], score: float) -> None:
        """Append a box that lies inside the frame."""
        pixels = pixels_of_box(xyxy, self._resolution_wh)
        assert pixels is not None, "fit_box lets none outside pass"
        x_0, y_0, x_1, y_1 = pixels
        self._append(frame, xyxy, (x_1 - x_0) * (y_1 - y_0), score, b"")

    def add_codes(
        self, frames: Sequence[int], codes: Sequence[bytes], numbers: npt.NDArray[np.float64]
    ) -> None:
        """Append masks that were checked and measured; none is empty.

        Args:
            frames: 0-based frames.
            codes: Compressed counts as ``runs.pack`` writes them. They are not deflated: that
                takes longer than all else about them.
            numbers: ``(N, 6)`` float64, their boxes, areas and scores.
        """
        self._frames.extend(frames)
        self._numbers += numbers.tobytes()
        for code in codes:
            self._blob += code
            self._ends.append(len(self._blob))

    def _append(
        self, frame: int, box: Sequence[float], area: int, score: float, packed: bytes
    ) -> None:
        self._frames.append(frame)
        self._numbers += np.array([*box, area, score], np.float64).tobytes()
        self._blob += packed
        self._ends.append(len(self._blob))

    def columns(self, object_id: int) -> RegionColumns:
        """Return what was added so far, in order of frames; more can be added afterwards.

        Raises:
            TracksError: If a frame stands twice.
        """
        frames = np.array(self._frames, np.int64)
        numbers = np.frombuffer(bytes(self._numbers), np.float64).reshape(-1, 6)
        ends = np.array(self._ends, np.int64)
        starts = np.concatenate([np.zeros(min(1, len(ends)), np.int64), ends[:-1]])
        order = np.argsort(frames, kind="stable")
        frames = frames[order]
        twice = np.flatnonzero(np.diff(frames) == 0)
        if len(twice):
            raise TracksError(
                f"object {object_id} stands twice in frame {frames[twice[0]]}; expected once"
            )
        return RegionColumns(
            frames=frames,
            boxes=numbers[order, :4],
            areas=numbers[order, 4].astype(np.int64),
            scores=numbers[order, 5],
            starts=starts[order],
            lengths=(ends - starts)[order],
            blob=self._blob,
        )
