"""``TracksBuilder``: collects regions as they come and makes ``Tracks`` of them."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, groupby
from types import NoneType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gar_video.codes import measure
from gar_video.errors import TracksError
from gar_video.masks import counts_of_segmentation
from gar_video.regions import (
    MAX_FRAMES,
    BadBoxes,
    RegionWriter,
    check_frame,
    fit_box,
    whole,
)
from gar_video.runs import check_resolution, counts_of_mask
from gar_video.track import Track
from gar_video.tracks import Tracks

_BATCH = 512  # masks that are checked at once


class GivenMask(NamedTuple):
    """A mask for ``TracksBuilder.add_masks``: what ``add_mask`` takes, and its place in the source.

    Attributes:
        frame: 0-based frame.
        object_id: Whose mask it is.
        mask: ``(H, W)``, or anything ``masks.as_rle`` takes.
        score: The tracker's score, if it gave one.
        label: A word for the object.
        where: Begins the message where the mask is refused, such as ``"line 7: "``.
    """

    frame: Any
    object_id: Any
    mask: Any
    score: float | None = None
    label: str | None = None
    where: str = ""


class TracksBuilder:
    """Collects regions as they come, in any order, and makes ``Tracks`` of them.

    Memory grows by the coded regions alone. Building does not end it: a recorder may build again
    after adding more, and the earlier ``Tracks`` stay as they were.

    Attributes:
        num_frames_known: Whether ``num_frames`` is the video's length, or the least it can be.
        num_dropped_boxes: How many boxes were left out.
        source_ids: What objects are called whose ids were mapped to ints by somebody else.

    Args:
        resolution_wh: The frames' ``(width, height)``.
        num_frames: The video's length; None while it is not known.
        bad_boxes: What to do with boxes that do not fit; see ``BadBoxes``.

    Raises:
        TracksError: If size or length are not positive whole numbers.
    """

    def __init__(
        self,
        resolution_wh: tuple[int, int],
        num_frames: int | None = None,
        *,
        bad_boxes: BadBoxes = "clip",
    ) -> None:
        if bad_boxes not in ("clip", "refuse", "drop"):
            raise TracksError(f"bad_boxes={bad_boxes!r}; expected 'clip', 'refuse' or 'drop'")
        self.resolution_wh = check_resolution(resolution_wh)
        if num_frames is not None:
            num_frames = whole(num_frames, "num_frames")
            if not 1 <= num_frames <= MAX_FRAMES:
                raise TracksError(f"num_frames is {num_frames}; expected 1 to {MAX_FRAMES:,}")
        self.num_frames = num_frames
        self.num_frames_known = num_frames is not None
        self.num_dropped_boxes = 0
        self.source_ids: dict[int, str] = {}
        self._bad_boxes = bad_boxes
        self._writers: dict[int | str, RegionWriter] = {}
        self._labels: dict[int | str, Counter[str]] = {}
        self._emptied: set[int | str] = set()  # ids for which an empty mask was given
        self.last_frame = -1

    def add_object(self, object_id: Any, label: str | None = None) -> None:
        """Make an object known, perhaps never visible, or give it a label."""
        self._writer(self._key(object_id), label)

    def add_mask(
        self,
        frame: Any,
        object_id: Any,
        mask: Any,
        score: float | None = None,
        label: str | None = None,
    ) -> None:
        """Add a mask: ``(H, W)``, or anything ``masks.as_rle`` takes.

        An empty one means that the object is not visible in this frame.

        Raises:
            TracksError: If the frame lies outside the video, or the mask is malformed or of
                another size.
        """
        frame, key = check_frame(frame, self.num_frames), self._key(object_id)
        try:
            if isinstance(mask, np.ndarray) and mask.ndim == 2:
                self._check_mask_size(mask)
                counts = counts_of_mask(mask)
            else:
                counts = counts_of_segmentation(mask, self.resolution_wh)
        except TracksError as error:
            raise TracksError(f"object {object_id} in frame {frame}: {error}") from None
        if not self._writer(key, label).add_mask(frame, counts, _score(score)):
            self._emptied.add(key)
        self.last_frame = max(self.last_frame, frame)

    def add_masks(self, masks: Iterable[GivenMask]) -> None:
        """Add masks as ``add_mask`` does, fast where they come as compressed RLE.

        Raises:
            TracksError: As ``add_mask``, for the first mask that is refused; those before it, and
                perhaps some after it, were taken.
        """
        batch: list[GivenMask] = []
        try:
            for given in masks:
                batch.append(given)
                if len(batch) == _BATCH:
                    full, batch = batch, []
                    self._add_batch(full)
        finally:  # of several errors the first one counts, also where ``masks`` itself raises
            self._add_batch(batch)

    def _add_batch(self, batch: list[GivenMask]) -> None:
        if not batch:
            return
        frames, ids, masks, scores, labels, _ = zip(*batch, strict=True)
        counts = _plain_counts(masks, self.resolution_wh)
        if counts is not None and self._take(frames, ids, counts, scores, labels):
            return
        for given in batch:
            try:
                self.add_mask(*given[:-1])
            except TracksError as error:
                raise TracksError(f"{given.where}{error}") from None

    def add_codes(
        self,
        object_id: Any,
        frames: Sequence[Any],
        counts: Sequence[Any],
        scores: Sequence[float | None],
    ) -> None:
        """Add an object's masks by their RLE counts alone, as ``add_mask`` adds each.

        Args:
            object_id: Whose masks they are.
            frames: 0-based frames.
            counts: RLE counts of masks of the video's size, as many.
            scores: The tracker's scores, None where it gave none, as many.

        Raises:
            TracksError: As ``add_masks``.
        """
        width, height = self.resolution_wh
        for first in range(0, len(frames), _BATCH):
            part = slice(first, first + _BATCH)
            columns = frames[part], counts[part], scores[part]
            count = len(columns[0])
            if self._take(columns[0], [object_id] * count, columns[1], columns[2], [None] * count):
                continue
            for frame, own_counts, score in zip(*columns, strict=True):
                rle = {"size": [height, width], "counts": own_counts}
                self.add_mask(frame, object_id, rle, score)

    def _take(
        self,
        frames: Sequence[Any],
        ids: Sequence[Any],
        counts: Sequence[Any],
        scores: Sequence[Any],
        labels: Sequence[str | None],
    ) -> bool:
        """Add masks at once if all about them is plain; False leaves them to ``add_mask``."""
        if not (
            _types(frames) == {int}
            and 0 <= min(frames) <= max(frames) < (self.num_frames or MAX_FRAMES)
            and _types(ids) <= {int, str}
            and _types(scores) <= {float, NoneType}
            and not {math.inf, -math.inf}.intersection(scores)
        ):
            return False
        try:
            keys = {object_id: self._key(object_id) for object_id in dict.fromkeys(ids)}
        except TracksError:
            return False
        if _types(counts) == {str} and all(map(str.isascii, counts)):
            counts = list(map(str.encode, counts))
        measured = measure(counts, self.resolution_wh) if _types(counts) == {bytes} else None
        if measured is None:
            return False
        areas, boxes = measured
        numbers = np.column_stack([boxes, areas, np.array(scores, np.float64)])
        first = 0
        for (object_id, label), run in groupby(zip(ids, labels, strict=True)):
            end = first + len(list(run))
            key = keys[object_id]
            writer = self._writer(key, label, end - first)
            rows = np.flatnonzero(areas[first:end]) + first
            if len(rows) < end - first:
                self._emptied.add(key)
            kept = rows.tolist()
            writer.add_codes(
                [frames[row] for row in kept], [counts[row] for row in kept], numbers[rows]
            )
            first = end
        self.last_frame = max(self.last_frame, *frames)
        return True

    def add_box(
        self,
        frame: Any,
        object_id: Any,
        xyxy: Any,
        score: float | None = None,
        label: str | None = None,
    ) -> None:
        """Add a box region ``(x_min, y_min, x_max, y_max)`` in pixel edges.

        Raises:
            TracksError: If the frame lies outside the video, or the box does not fit and the
                builder's ``bad_boxes`` refuses it.
        """
        frame, key = check_frame(frame, self.num_frames), self._key(object_id)
        where = f"object {object_id} in frame {frame}"
        box = fit_box(xyxy, self.resolution_wh, self._bad_boxes, where)
        writer = self._writer(key, label)
        if box is None:
            self.num_dropped_boxes += 1
        else:
            writer.add_box(frame, box, _score(score))
        self.last_frame = max(self.last_frame, frame)

    def see_frame(self, frame: Any) -> None:
        """Note that the video has this frame, though nothing is visible in it."""
        if frame >= 0:
            self.last_frame = max(self.last_frame, check_frame(frame, self.num_frames))

    def build(
        self,
        *,
        allow_empty: bool = False,
        source_format: str | None = None,
        ignored: Tracks | None = None,
    ) -> Tracks:
        """Make tracks of what was added so far, objects in order of their first addition.

        Raises:
            TracksError: If a frame stands twice for an object, or all its masks are empty and
                ``allow_empty`` is False.
        """
        if self.num_dropped_boxes:
            warnings.warn(
                f"{self.num_dropped_boxes} boxes were left out: NaN, inverted or outside the frame",
                stacklevel=3,
            )
        num_frames = max(self.last_frame + 1, 1) if self.num_frames is None else self.num_frames
        numbers = self._numbers()
        tracks = []
        for key, writer in self._writers.items():
            if key in self._emptied and not len(writer) and not allow_empty:
                raise TracksError(
                    f"the mask of object {key} is empty in every frame given; "
                    "expected at least one pixel of the object"
                )
            labels = self._labels.get(key)
            label = labels.most_common(1)[0][0] if labels else None
            columns = writer.columns(numbers[key])
            tracks.append(Track(numbers[key], label, self.resolution_wh, num_frames, columns))
        return Tracks(
            tracks,
            self.resolution_wh,
            num_frames,
            num_frames_known=self.num_frames_known,
            source_format=source_format,
            source_ids=self.source_ids
            | {numbers[key]: key for key in self._writers if isinstance(key, str)},
            ignored=ignored,
        )

    def _writer(
        self, key: int | str, label: str | None = None, num_labels: int = 1
    ) -> RegionWriter:
        """Writer of an object that is made known; its label is counted."""
        if label is not None:
            self._labels.setdefault(key, Counter())[str(label)] += num_labels
        if key not in self._writers:
            self._writers[key] = RegionWriter(self.resolution_wh)
        return self._writers[key]

    def _check_mask_size(self, mask: npt.NDArray[Any]) -> None:
        width, height = self.resolution_wh
        if mask.shape != (height, width):
            raise TracksError(
                f"mask of {mask.shape[1]}x{mask.shape[0]} pixels for frames of {width}x{height}; "
                "expected the video's own size"
            )

    @staticmethod
    def _key(object_id: Any) -> int | str:
        """Ints and strings of digits are ids; other strings get one when tracks are built."""
        if isinstance(object_id, str):
            text = object_id.strip()
            if not text:
                raise TracksError("an object id is an empty string; expected a number or a name")
            if not (text.isascii() and text.isdigit() and text == str(int(text[:18]))):
                return object_id
            object_id = int(text)
        number = whole(object_id, "object id")
        if not 0 <= number < 2**63:
            raise TracksError(f"object id {number}; expected 0 or more, below 2**63")
        return number

    def _numbers(self) -> dict[int | str, int]:
        taken = {key for key in self._writers if isinstance(key, int)}
        numbers: dict[int | str, int] = {}
        free = 1
        for key in self._writers:
            if isinstance(key, int):
                numbers[key] = key
                continue
            while free in taken:
                free += 1
            numbers[key] = free
            free += 1
        return numbers


def _plain_counts(masks: Sequence[Any], resolution_wh: tuple[int, int]) -> list[Any] | None:
    """Counts of RLEs of this size; None if any mask is something else."""
    if _types(masks) != {dict}:
        return None
    sizes = [mask.get("size") for mask in masks]
    if _types(sizes) != {list} or _types(chain.from_iterable(sizes)) != {int}:
        return None
    if sizes.count([*reversed(resolution_wh)]) < len(sizes):
        return None
    return [mask.get("counts") for mask in masks]


def _types(values: Iterable[Any]) -> set[type]:
    """Which types there are; of what is plain it is one."""
    return set(map(type, values))


def _score(score: float | None) -> float:
    """Return a score as float, NaN for none."""
    if score is None:
        return float("nan")
    value = float(score)
    if value in (float("inf"), float("-inf")):
        raise TracksError("a score is infinite; expected a finite number or none")
    return value
