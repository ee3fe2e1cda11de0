"""Where words stand beside moving objects: readable, still, inside the frame, on nothing else.

Words that follow an object cannot be read, so they stand still and a line leads to the object.
They go elsewhere only when their place has become bad: an object comes under them, or their own has
gone far. Where objects will be is known from the tracks: places are chosen that stay good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.lettering import PAPER, RGB, Picture, callout

if TYPE_CHECKING:
    from gar_video.captions import Captions
    from gar_video.tracks import Tracks

Floats = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]

_THINK_S = 0.2  # places are looked over so often
_AHEAD_S = (0.0, 0.35, 0.8, 1.4)
_STAY_S = 1.2  # words stand so long at least, unless something comes under them
_LINGER_S = 0.4  # words outlast a moment in which the tracker has lost their object
_FADE_S = 0.2
# What covering costs, by the covered share of the words' own area, and being away from the object.
_OTHERS, _OWN, _WORDS, _AWAY, _MOVE = 6.0, 3.0, 60.0, 2.0, 0.15
_BETTER = 0.15  # so much better another place has to be
_BAD = 0.5  # of the covering costs: then words move at once
_FULL = 0.02  # share of words that may lie on other words


@dataclass
class _Placed:
    """Words in their place."""

    text: str
    xy: tuple[int, int]
    wh: tuple[int, int]
    since_s: float
    seen_s: float
    box: Box


class Callouts:
    """Places words beside the objects of a video, frame by frame, in order.

    Args:
        tracks: The objects.
        captions: Their words.
        times_s: ``(T,)`` times of the frames.
        colors: RGB by object id.
        size: Height of the letters in pixels; by the frame's size if None.
    """

    def __init__(
        self,
        tracks: Tracks,
        captions: Captions,
        times_s: Floats,
        colors: Mapping[int, RGB],
        size: int | None = None,
    ) -> None:
        self._tracks, self._captions, self._times = tracks, captions, times_s
        self._colors = colors
        width, height = tracks.resolution_wh
        self._wh = (width, height)
        self.size = size or int(np.clip(min(width, height) / 32, 11, 30))
        self._room = int(min(0.42 * width, 12.5 * self.size))
        self._cell = max(3, round(min(width, height) / 72))
        self._grid = (-(-height // self._cell), -(-width // self._cell))
        self._placed: dict[int, _Placed] = {}
        self._refused_s: dict[int, float] = {}
        self._thought_s = -np.inf
        #: Ids of objects whose words found no room at some time.
        self.crowded_out: set[int] = set()

    def shown(self) -> tuple[int, ...]:
        """Return the ids of the objects whose words stand now."""
        return tuple(self._placed)

    def step(self, frame: int) -> None:
        """Go on to a frame: words appear, stay, move or go."""
        now = float(self._times[frame])
        fresh = self._update(frame, now)
        if not fresh and now - self._thought_s < _THINK_S - 1e-6:
            return
        self._thought_s = now
        ahead = self._ahead(frame)
        # New words first find a place, then make room for each other.
        for object_id in [*fresh, *(fresh if len(fresh) > 1 else ())]:
            self._place(object_id, ahead, now, new=True)
        for object_id in self._placed:
            if object_id not in fresh:
                self._place(object_id, ahead, now, new=False)
        for object_id in reversed(fresh):
            if self._lapping(object_id):
                self.crowded_out.add(object_id)
                self._refused_s[object_id] = now
                del self._placed[object_id]

    def _update(self, frame: int, now: float) -> list[int]:
        """Let words go whose time or object has gone; return the ids of new ones."""
        fresh = []
        for object_id in self._tracks:
            box = self._tracks[object_id].box_xyxy(frame)
            text = self._captions.at(object_id, now)
            held = self._placed.get(object_id)
            if held is not None and (
                (box is None and now - held.seen_s > _LINGER_S) or (not text and box is not None)
            ):
                del self._placed[object_id]
                held = None
            refused_s = self._refused_s.get(object_id, -np.inf)
            if box is None or not text or (held is None and now - refused_s < _STAY_S):
                continue
            whole: Box = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
            if held is None or held.text != text:
                picture = callout(str(object_id), text, self._room, self.size,
                                  self._colors[object_id])  # fmt: skip
                high, wide = picture.shape[:2]
                if wide > self._wh[0] or high > self._wh[1]:
                    self.crowded_out.add(object_id)
                    continue
                if held is None:
                    start = (-1, -1)
                    fresh.append(object_id)
                else:  # other words: at the same place if they fit there
                    start = (
                        min(held.xy[0], self._wh[0] - wide), min(held.xy[1], self._wh[1] - high)
                    )  # fmt: skip
                self._placed[object_id] = _Placed(text, start, (wide, high), now, now, whole)
                self._thought_s = -np.inf
            else:
                held.seen_s, held.box = now, whole
        return fresh

    # ---- choosing a place -----------------------------------------------------------------------

    def _ahead(self, frame: int) -> list[dict[int, Box]]:
        """Return where objects are now and will be soon."""
        now, last = float(self._times[frame]), self._tracks.num_frames - 1
        found = []
        for later in _AHEAD_S:
            at = min(int(np.searchsorted(self._times, now + later - 1e-6)), last)
            boxes = {}
            for object_id in self._tracks:
                box = self._tracks[object_id].box_xyxy(at)
                if box is not None:
                    boxes[object_id] = tuple(float(side) for side in box)
            found.append(boxes)
        return found  # type: ignore[return-value]

    def _place(self, object_id: int, ahead: list[dict[int, Box]], now: float, new: bool) -> None:
        mine = self._placed[object_id]
        covering, away = self._costs(object_id, ahead)
        total = covering + away
        if not new or mine.xy[0] >= 0:
            rows, columns = np.indices(total.shape)
            x, y = mine.xy
            far = np.hypot(columns * self._cell - x, rows * self._cell - y)
            total = total + _MOVE * np.minimum(far / (0.5 * min(self._wh)), 1.0)
        row, column = np.unravel_index(int(total.argmin()), total.shape)
        best = (int(column) * self._cell, int(row) * self._cell)
        if not new and mine.xy[0] >= 0:
            at = (min(mine.xy[1] // self._cell, total.shape[0] - 1),
                  min(mine.xy[0] // self._cell, total.shape[1] - 1))  # fmt: skip
            gain = float(total[at] - total[row, column])
            bad = float(covering[at]) > _BAD
            if gain < _BETTER or not (bad or now - mine.since_s >= _STAY_S):
                return
        if best != mine.xy:
            mine.xy, mine.since_s = best, now

    def _costs(self, object_id: int, ahead: list[dict[int, Box]]) -> tuple[Floats, Floats]:
        """Return what each place for an object's words costs: by what it covers, by how far it is.

        Both are (rows, columns) over the places, in cells, at which the words are in the frame.
        """
        mine = self._placed[object_id]
        cost = np.zeros(self._grid)
        for boxes in ahead:
            for other, box in boxes.items():
                weight = _OWN if other == object_id else _OTHERS
                self._add(cost, box, weight / len(ahead))
        for other, placed in self._placed.items():
            if other != object_id and placed.xy[0] >= 0:
                (x, y), (wide, high) = placed.xy, placed.wh
                self._add(cost, (x - 2, y - 2, x + wide + 2, y + high + 2), _WORDS)
        tall, wide = (-(-side // self._cell) for side in reversed(mine.wh))
        total = np.zeros((self._grid[0] + 1, self._grid[1] + 1))
        total[1:, 1:] = cost.cumsum(0).cumsum(1)
        covered = total[tall:, wide:] - total[:-tall, wide:] - total[tall:, :-wide]
        covered = (covered + total[:-tall, :-wide]) / (tall * wide)
        rows, columns = (np.arange(side) * self._cell for side in covered.shape)
        away = np.zeros_like(covered)
        near = [boxes[object_id] for boxes in ahead if object_id in boxes] or [mine.box]
        for x1, y1, x2, y2 in near:
            gap_x = np.maximum(np.maximum(x1 - (columns + mine.wh[0]), columns - x2), 0)
            gap_y = np.maximum(np.maximum(y1 - (rows + mine.wh[1]), rows - y2), 0)
            # A little off is as good as touching, and the line shows whose words they are.
            gap = np.maximum(np.hypot(gap_y[:, None], gap_x[None]) - self.size, 0)
            away += gap / (min(self._wh) * len(near))
        # The last rows and columns of cells may reach out of the frame.
        fits_y = rows + mine.wh[1] <= self._wh[1]
        fits_x = columns + mine.wh[0] <= self._wh[0]
        outside = ~(fits_y[:, None] & fits_x[None])
        return covered + 1e3 * outside, _AWAY * away

    def _add(self, cost: Floats, box: Box, weight: float) -> None:
        x1, y1, x2, y2 = (side / self._cell for side in box)
        top, left = max(int(y1), 0), max(int(x1), 0)
        cost[top : max(int(np.ceil(y2)), 0), left : max(int(np.ceil(x2)), 0)] += weight

    def _lapping(self, object_id: int) -> bool:
        """Say whether words lie on other words, or found no place at all."""
        mine = self._placed[object_id]
        (x, y), (wide, high) = mine.xy, mine.wh
        if x < 0:
            return True
        for other, placed in self._placed.items():
            if other == object_id or placed.xy[0] < 0:
                continue
            (a, b), (c, d) = placed.xy, placed.wh
            over = max(0, min(x + wide, a + c) - max(x, a)) * max(
                0, min(y + high, b + d) - max(y, b)
            )
            if over > _FULL * min(wide * high, c * d):
                return True
        return False

    # ---- drawing --------------------------------------------------------------------------------

    def rectangles(self) -> dict[int, tuple[int, int, int, int]]:
        """Return where words stand now: ``(x, y, width, height)`` by object id."""
        return {key: (*placed.xy, *placed.wh) for key, placed in self._placed.items()}

    def draw(self, picture: Picture, frame: int) -> None:
        """Draw the words and their lines into a picture, in place."""
        now = float(self._times[frame])
        line = max(2, self.size // 8)
        for object_id, placed in self._placed.items():
            ends = self._line(object_id, placed, frame)
            if ends is not None:
                cv2.line(picture, *ends, PAPER, line + 2, cv2.LINE_AA)
                cv2.line(picture, *ends, self._colors[object_id], line, cv2.LINE_AA)
                cv2.circle(picture, ends[1], line + 3, PAPER, -1, cv2.LINE_AA)
                cv2.circle(picture, ends[1], line + 2, self._colors[object_id], -1, cv2.LINE_AA)
        for object_id, placed in self._placed.items():
            words = callout(
                str(object_id), placed.text, self._room, self.size, self._colors[object_id]
            )
            (x, y), (wide, high) = placed.xy, placed.wh
            share = min(1.0, (now - placed.since_s) / _FADE_S + 0.7) if placed.since_s else 1.0
            under = picture[y : y + high, x : x + wide]
            strength = words[:, :, 3:].astype(np.float32) * (share / 255)
            blend = under + (words[:, :, :3].astype(np.float32) - under) * strength
            picture[y : y + high, x : x + wide] = np.rint(blend).astype(np.uint8)

    def _line(
        self, object_id: int, placed: _Placed, frame: int
    ) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Return the line from words to their object; None where they touch."""
        (x, y), (wide, high) = placed.xy, placed.wh
        x1, y1, x2, y2 = placed.box
        goal = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
        start = np.array([np.clip(goal[0], x, x + wide - 1), np.clip(goal[1], y, y + high - 1)])
        shares = np.linspace(0, 1, 64)[:, None]
        points = np.rint(start + (goal - start) * shares).astype(int)
        points = np.clip(points, 0, np.array(self._wh) - 1)
        mask = self._tracks[object_id].mask(frame)
        if mask is not None:
            on = mask[points[:, 1], points[:, 0]]
            end = points[int(on.argmax())] if on.any() else points[-1]
        else:
            inside = (points >= (x1, y1)).all(axis=1) & (points <= (x2, y2)).all(axis=1)
            end = points[int(inside.argmax())]
        if np.hypot(*(end - start)) < 4:
            return None
        return (int(start[0]), int(start[1])), (int(end[0]), int(end[1]))
