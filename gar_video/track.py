"""``Track``: one object through time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gar_video.masks import RLE
from gar_video.regions import RegionColumns, check_frame
from gar_video.runs import BoolMask, mask_of_counts, pack


class Track:
    """One object through time: a region (a mask or a box) in each frame it is seen in.

    Made by ``Tracks``. Frames are 0-based; masks are of the video's size.
    """

    __slots__ = ("_columns", "label", "num_frames", "object_id", "resolution_wh")

    object_id: int
    label: str | None
    resolution_wh: tuple[int, int]
    num_frames: int
    _columns: RegionColumns

    def __init__(
        self,
        object_id: int,
        label: str | None,
        resolution_wh: tuple[int, int],
        num_frames: int,
        columns: RegionColumns,
    ) -> None:
        for name, value in (
            ("object_id", object_id),
            ("label", label),
            ("resolution_wh", resolution_wh),
            ("num_frames", num_frames),
            ("_columns", columns),
        ):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Track cannot be changed (tried to set {name!r}); make a new one")

    @property
    def frames(self) -> npt.NDArray[np.int64]:
        """Frames in which the object is visible, ascending; read-only."""
        return self._columns.frames

    @property
    def boxes_only(self) -> bool:
        """Whether the regions are boxes from a tracker without masks (False if there are none)."""
        return len(self.frames) > 0 and not self._columns.lengths.any()

    @property
    def boxes_xyxy(self) -> npt.NDArray[np.float64]:
        """Boxes of all regions, ``(len(frames), 4)`` float64; read-only."""
        return self._columns.boxes

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of all regions, ``(len(frames),)``; read-only."""
        return self._columns.areas

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Scores of all regions, ``(len(frames),)``, NaN for none; read-only."""
        return self._columns.scores

    def _row(self, frame: int) -> int | None:
        index = check_frame(frame, self.num_frames)
        row = int(np.searchsorted(self.frames, index))
        return row if row < len(self.frames) and self.frames[row] == index else None

    def is_visible(self, frame: int) -> bool:
        """Whether the object has a region in this frame."""
        return self._row(frame) is not None

    def is_box(self, frame: int) -> bool:
        """Whether the region in this frame is a box rather than a mask."""
        row = self._row(frame)
        return row is not None and self._columns.lengths[row] == 0

    def mask(self, frame: int) -> BoolMask | None:
        """Mask as ``(H, W)`` bool, a box drawn filled; None where the object is not visible."""
        row = self._row(frame)
        if row is None:
            return None
        return mask_of_counts(self._columns.counts(row, self.resolution_wh), self.resolution_wh)

    def rle(self, frame: int) -> RLE | None:
        """Mask as COCO RLE with ``str`` counts; None where the object is not visible."""
        row = self._row(frame)
        if row is None:
            return None
        packed = self._columns.packed(row)
        if packed is None:
            packed = pack(self._columns.counts(row, self.resolution_wh))
        width, height = self.resolution_wh
        return {"size": [height, width], "counts": packed.decode("ascii")}

    def codes(self) -> list[str | None]:
        """Compressed RLE counts of all regions, ``(len(frames),)``; None where one is a box."""
        packed = self._columns.all_packed()
        return [None if code is None else code.decode("ascii") for code in packed]

    def box_xyxy(self, frame: int) -> npt.NDArray[np.float64] | None:
        """Box in pixel edges, ``(4,)`` float64: the mask's tight one, or the tracker's own."""
        row = self._row(frame)
        return None if row is None else self._columns.boxes[row].copy()

    def score(self, frame: int) -> float | None:
        """The tracker's score in this frame, if it gave one."""
        row = self._row(frame)
        if row is None or np.isnan(self._columns.scores[row]):
            return None
        return float(self._columns.scores[row])

    def area(self, frame: int) -> int:
        """Pixels of the region; 0 where the object is not visible."""
        row = self._row(frame)
        return 0 if row is None else int(self._columns.areas[row])

    def _window(self, start: int, end: int) -> Track:
        first, last = np.searchsorted(self.frames, [start, end])
        columns = self._columns.rows(int(first), int(last))
        return Track(self.object_id, self.label, self.resolution_wh, self.num_frames, columns)

    def __reduce__(self) -> tuple[type[Track], tuple[object, ...]]:
        # Slots that refuse to be set need their own way through pickle and copy.
        fields = (self.object_id, self.label, self.resolution_wh, self.num_frames, self._columns)
        return Track, fields

    def __len__(self) -> int:
        return len(self.frames)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Track):
            return NotImplemented
        return (
            (self.object_id, self.label, self.resolution_wh, self.num_frames)
            == (other.object_id, other.label, other.resolution_wh, other.num_frames)
        ) and self._columns.same(other._columns)

    def __hash__(self) -> int:
        return hash((self.object_id, self.label, self.resolution_wh, len(self.frames)))

    def __repr__(self) -> str:
        label = "" if self.label is None else f" {self.label!r}"
        seen = "never visible"
        if len(self.frames):
            kind = "boxes" if self.boxes_only else "masks"
            seen = f"{len(self.frames)} {kind} in frames {self.frames[0]}-{self.frames[-1]}"
        return f"Track({self.object_id}{label}: {seen})"

    def _repr_html_(self) -> str:
        from gar_video.notebook import track_html

        return track_html(self)
