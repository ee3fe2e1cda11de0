"""What is kept of a stream: a few pictures, shared between objects, and where each object is.

An object's life is cut into equal slots of time; each slot keeps the clearest view that fell into
it. When the slots are used up they are made twice as long and merged in pairs, so that the views
stay evenly spread however long the object lives, and memory stays the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.live.reading import Row
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder
from gar_video.video import Video

# Smaller pictures are kept as they are: compressing them frees little.
_RAW_BYTES = 96 * 1024
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
# So much clearer must a view be to take another's place in its slot.
BETTER = 1.25


class Picture:
    """A kept frame, scaled down and compressed where that pays."""

    __slots__ = ("_blob", "_pixels", "frame", "num_bytes", "size_wh", "time_s")

    def __init__(self, pixels: npt.NDArray[np.uint8], frame: int, time_s: float) -> None:
        self.frame, self.time_s = frame, time_s
        self.size_wh = (pixels.shape[1], pixels.shape[0])
        self._pixels: npt.NDArray[np.uint8] | None = None
        self._blob: npt.NDArray[np.uint8] | None = None
        if pixels.nbytes > _RAW_BYTES:
            # Both ways through BGR, as the codec takes it.
            done, blob = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), _JPEG)
            self._blob = blob if done else None
        if self._blob is None:
            self._pixels = pixels
        self.num_bytes = int((pixels if self._blob is None else self._blob).nbytes)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return ``(H, W, 3)`` uint8 RGB."""
        if self._pixels is not None:
            return self._pixels
        assert self._blob is not None
        decoded: Any = cv2.imdecode(self._blob, cv2.IMREAD_COLOR)
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


@dataclass(frozen=True, eq=False)
class View:
    """One object in one kept picture.

    Attributes:
        picture: The picture.
        region: A box ``(x1, y1, x2, y2)`` in the picture's pixels, or its mask as RLE.
        worth: How clearly the object is seen.
        looks: ``(27,)`` shares of colours inside the region, to tell whether looks changed.
    """

    picture: Picture
    region: tuple[float, float, float, float] | dict[str, Any]
    worth: float
    looks: npt.NDArray[np.float32]


class Album:
    """The views kept of one object.

    Args:
        capacity: Slots, even.
        first_slot_s: Length of a slot at first, in seconds.
        refresh_s: Beside the slots the latest view is kept, not older than this, so that old
            objects' words can follow what they do now.
    """

    def __init__(self, capacity: int, first_slot_s: float, refresh_s: float) -> None:
        self._capacity = capacity
        self._slot_s = first_slot_s
        self._refresh_s = refresh_s
        self._latest: View | None = None
        self._expected_s = -math.inf
        self._born_s: float | None = None
        self._views: dict[int, View] = {}
        self._offered: dict[int, float] = {}  # slot -> worth of what is on its way here

    def __len__(self) -> int:
        return len(self._views)

    def wants(self, time_s: float, worth: float) -> bool:
        """Whether a view would be kept, nothing better being on its way."""
        slot = self._slot(time_s)
        if time_s - self._expected_s >= self._refresh_s:
            return True
        known = self._offered.get(slot, -1.0)
        view = self._views.get(slot)
        if view is not None:
            known = max(known, view.worth)
        return worth > BETTER * known if known >= 0 else True

    def expect(self, time_s: float, worth: float) -> None:
        """Note that such a view is on its way."""
        self._offered = {self._slot(time_s): worth}
        self._expected_s = time_s

    def lost(self) -> None:
        """Note that what was on its way was dropped."""
        self._offered = {}
        self._expected_s = -math.inf if self._latest is None else self._latest.picture.time_s

    def keep(self, view: View) -> bool:
        """Take a view; return whether it is the clearest of its slot, or much newer than others."""
        time_s = view.picture.time_s
        slot = self._slot(time_s)
        known = self._views.get(slot)
        latest = self._latest
        newer = latest is None or time_s - latest.picture.time_s >= self._refresh_s
        if latest is None or time_s > latest.picture.time_s:
            self._latest = view
        if known is not None and view.worth <= known.worth:
            return newer
        self._views[slot] = view
        return True

    def views(self) -> list[View]:
        """Return the views in order of time: each slot's, and the latest."""
        views = {view.picture.time_s: view for view in self._views.values()}
        if self._latest is not None:
            views[self._latest.picture.time_s] = self._latest
        return [views[time_s] for time_s in sorted(views)]

    def _slot(self, time_s: float) -> int:
        """Return the slot of a time, making slots longer until it is one of them."""
        if self._born_s is None:
            self._born_s = time_s
        slot = int(max(time_s - self._born_s, 0.0) / self._slot_s)
        while slot >= self._capacity:
            self._merge(slot)
            slot = int((time_s - self._born_s) / self._slot_s)
        return slot

    def _merge(self, slot: int) -> None:
        self._slot_s *= 2
        merged: dict[int, View] = {}
        for old, view in self._views.items():
            known = merged.get(old // 2)
            if known is None or view.worth > known.worth:
                merged[old // 2] = view
        self._views, self._offered = merged, {}


def region_of(
    mask: npt.NDArray[np.bool_] | None,
    box: tuple[float, float, float, float],
    size_wh: tuple[int, int],
    kept_wh: tuple[int, int],
) -> tuple[float, float, float, float] | dict[str, Any]:
    """Return where an object is in a kept picture: its mask as RLE, or its box without one."""
    from gar_video.masks import encode

    if mask is not None and mask.any():
        small: Any = mask
        if size_wh != kept_wh:
            # OpenCV lets go of the interpreter meanwhile, which the user's loop needs.
            small = cv2.resize(mask.view(np.uint8), kept_wh, interpolation=cv2.INTER_NEAREST_EXACT)
        if small.any():
            return dict(encode(small))
    scale_x, scale_y = kept_wh[0] / size_wh[0], kept_wh[1] / size_wh[1]
    return (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)


def looks_in(
    pixels: npt.NDArray[np.uint8], box: tuple[float, float, float, float]
) -> npt.NDArray[np.float32]:
    """Return ``(27,)`` shares of colours in the middle of a box: three steps a channel."""
    x1, y1, x2, y2 = box
    in_x, in_y = (x2 - x1) / 5, (y2 - y1) / 5
    left, top = int(x1 + in_x), int(y1 + in_y)
    part = pixels[top : max(int(y2 - in_y), top + 1), left : max(int(x2 - in_x), left + 1)]
    steps = part[::2, ::2].reshape(-1, 3).astype(np.int32) // 86
    counts = np.bincount(steps @ np.array([9, 3, 1]), minlength=27)
    return (counts / max(counts.sum(), 1)).astype(np.float32)


def looks_changed(old: npt.NDArray[np.float32], new: npt.NDArray[np.float32]) -> bool:
    """Whether more than half of an object's colours are others than before."""
    return bool(np.minimum(old, new).sum() < 0.5)


@dataclass(frozen=True, eq=False)
class Taken:
    """A copied frame on its way to the albums.

    Attributes:
        pixels: ``(H, W, 3)`` uint8.
        frame: Number of the update.
        time_s: Its time in the stream.
        rows: Who is in it.
        masks: ``(N, H, W)`` bool by row of the detections; None without masks.
    """

    pixels: npt.NDArray[np.uint8]
    frame: int
    time_s: float
    rows: tuple[Row, ...]
    masks: Any


def views_of(taken: Taken, side: int, swap: bool) -> list[tuple[int, View]]:
    """Scale a frame down and say where everything in it is.

    Args:
        taken: The frame.
        side: Longest side of what is kept, in pixels.
        swap: Whether the frame's colours are in order BGR.

    Returns:
        Object ids and their views, which share one picture.
    """
    height, width = taken.pixels.shape[:2]
    scale = min(1.0, side / max(width, height))
    kept_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    pixels: Any = taken.pixels
    if kept_wh != (width, height):
        pixels = cv2.resize(pixels, kept_wh, interpolation=cv2.INTER_AREA)
    if swap:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    picture = Picture(pixels, taken.frame, taken.time_s)
    views = []
    for row in taken.rows:
        mask = None if taken.masks is None else np.asarray(taken.masks[row.at], bool)
        region = region_of(mask, row.box, (width, height), kept_wh)
        x1, y1, x2, y2 = (side * scale for side in row.box)
        looks = looks_in(pixels, (x1, y1, x2, y2))
        views.append((row.object_id, View(picture, region, row.worth, looks)))
    return views


class KeptVideo(Video):
    """Kept pictures as a video, with the times at which they stood in the stream.

    Args:
        pictures: Pictures of one size, in order of time.
    """

    def __init__(self, pictures: Sequence[Picture]) -> None:
        super().__init__(np.stack([picture.pixels() for picture in pictures]))
        times = np.array([picture.time_s for picture in pictures], np.float64)
        span = float(times[-1] - times[0])
        gap = span / (len(times) - 1) if span > 0 else 0.04
        self._times_s = times - times[0]
        self._times_s.setflags(write=False)
        self._last_s = gap
        self._fps = Fraction(1 / gap).limit_denominator(1000) or Fraction(1, 1000)
        self.name = "live"


def clip_of(object_id: int, views: Sequence[View]) -> tuple[KeptVideo, Tracks]:
    """Return views of one object as a video and tracks, as the model takes them."""
    pictures = [view.picture for view in views]
    builder = TracksBuilder(pictures[0].size_wh, len(pictures), bad_boxes="drop")
    for frame, view in enumerate(views):
        if isinstance(view.region, dict):
            builder.add_mask(frame, object_id, view.region)
        else:
            builder.add_box(frame, object_id, view.region)
    return KeptVideo(pictures), builder.build(allow_empty=True)
