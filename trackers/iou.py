"""A tracker of our own, for where no other is installed: boxes that overlap are the same object."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import supervision as sv

Boxes = npt.NDArray[np.float64]


class IouTracker:
    """Follows boxes by their overlap with where each object is expected.

    Objects are expected to go on at the speed they had. Pairs are made greedily, largest overlap
    first. It knows no looks, so that objects that meet may swap ids; ByteTrack does better.

    Args:
        min_iou: Least overlap of an object with its expected box.
        max_age: Frames after which an object that is not found is forgotten.
        min_hits: Frames in which an object must have been found to be given an id.
    """

    def __init__(self, *, min_iou: float = 0.2, max_age: int = 15, min_hits: int = 2) -> None:
        self.min_iou, self.max_age, self.min_hits = min_iou, max_age, min_hits
        self.reset()

    def reset(self) -> None:
        """Forget all objects; ids begin at 1 again."""
        self._boxes: Boxes = np.empty((0, 4))
        self._speeds: Boxes = np.empty((0, 4))
        self._ages: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._hits: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._ids: npt.NDArray[Any] = np.empty(0, np.int64)
        self._next = 1

    def update(self, detections: sv.Detections) -> sv.Detections:
        """Give each detection the id of its object.

        Args:
            detections: One frame's; boxes ``xyxy`` in pixels.

        Returns:
            The same with ``tracker_id``, -1 for objects that are not sure yet.
        """
        found = np.asarray(detections.xyxy, np.float64).reshape(-1, 4)
        expected = self._boxes + self._speeds * (self._ages[:, None] + 1)
        pairs = _pairs(_overlaps(expected, found), self.min_iou)
        self._ages += 1
        taken: Any = np.full(len(found), -1, np.int64)
        for known, new in pairs:
            step = (found[new] - self._boxes[known]) / self._ages[known]
            first = self._hits[known] == 1
            self._speeds[known] = step if first else 0.6 * self._speeds[known] + 0.4 * step
            self._boxes[known], self._ages[known] = found[new], 0
            self._hits[known] += 1
            if self._ids[known] < 0 and self._hits[known] >= self.min_hits:
                self._ids[known] = self._new_id()
            taken[new] = int(self._ids[known])
        self._drop_old()
        self._begin(found, [new for new in range(len(found)) if new not in {n for _, n in pairs}])
        if self.min_hits <= 1:
            for row in np.flatnonzero(taken < 0):
                at = int(np.flatnonzero((self._boxes == found[row]).all(axis=1))[-1])
                taken[row] = self._ids[at]
        tracked = copy(detections)
        tracked.tracker_id = taken
        return tracked

    def _new_id(self) -> int:
        self._next += 1
        return self._next - 1

    def _drop_old(self) -> None:
        # What was seen once and not again was noise.
        kept = (self._ages <= self.max_age) & ((self._ids >= 0) | (self._ages == 0))
        self._boxes, self._speeds = self._boxes[kept], self._speeds[kept]
        self._ages, self._hits, self._ids = self._ages[kept], self._hits[kept], self._ids[kept]

    def _begin(self, found: Boxes, places: list[int]) -> None:
        ids = [self._new_id() if self.min_hits <= 1 else -1 for _ in places]
        self._boxes = np.concatenate([self._boxes, found[places]])
        self._speeds = np.concatenate([self._speeds, np.zeros((len(places), 4))])
        self._ages = np.concatenate([self._ages, np.zeros(len(places), np.int64)])
        self._hits = np.concatenate([self._hits, np.ones(len(places), np.int64)])
        self._ids = np.concatenate([self._ids, np.array(ids, np.int64)])


def _overlaps(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Return intersection over union, ``(len(first), len(second))``."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=-1)
             for boxes in (first, second)]  # fmt: skip
    union = areas[0][:, None] + areas[1][None] - shared
    return shared / np.maximum(union, 1e-9)


def _pairs(overlaps: npt.NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pair rows with columns, largest overlap first."""
    pairs: list[tuple[int, int]] = []
    rows, columns = set(), set()
    for flat in np.argsort(-overlaps, axis=None):
        row, column = divmod(int(flat), overlaps.shape[1])
        if overlaps[row, column] < least:
            break
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs
