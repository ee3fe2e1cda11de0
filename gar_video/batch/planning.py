"""What there is to do in a recording: its tracks and the tasks make units of work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt

from gar_video.batch.state import Unit
from gar_video.batch.tasks import Pairs, Task, Where
from gar_video.track import Track
from gar_video.tracks import Tracks

Floats = npt.NDArray[np.float64]
Region = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Clock:
    """When frames are shown.

    Attributes:
        times_s: ``(T,)`` times of the frames, rising, from 0.
        duration_s: When the last frame ends.
    """

    times_s: Floats
    duration_s: float

    def ends(self, frames: npt.NDArray[np.int64]) -> Floats:
        """Return when frames end."""
        following = np.append(self.times_s[1:], self.duration_s)
        ends: Floats = following[frames]
        return ends


def plan_units(
    recording: int,
    tracks: Tracks,
    clock: Clock,
    tasks: Sequence[Task],
    region: Region | None = None,
) -> list[Unit]:
    """Return what is to be done in a recording.

    Stretches of ``window_s`` are cut at its multiples from the video's start, so that tasks and
    objects share them; an object's first and last stretch may be shorter.

    Args:
        recording: Its number in the run.
        tracks: What is in it.
        clock: When its frames are shown.
        tasks: What is to be found out.
        region: Corners in pixels; objects whose boxes never have their middle in it are left out.
    """
    things = [tracks[object_id] for object_id in tracks if _is_inside(tracks[object_id], region)]
    units: list[Unit] = []
    for task in tasks:
        able = [thing for thing in things if _qualifies(thing, task.where, clock)]
        if task.pairs is None:
            for thing in able:
                units += _stretches(recording, task, (thing.object_id,), thing.frames, clock)
            continue
        for one, other, both in _meetings(able, task.pairs, clock, tracks.resolution_wh):
            ids = (one.object_id, other.object_id)
            units += _stretches(recording, task, ids, both, clock)
    return units


def _is_inside(track: Track, region: Region | None) -> bool:
    if region is None:
        return True
    boxes = track.boxes_xyxy
    corners = np.asarray(region, np.float32)
    middles = np.stack([boxes[:, [0, 2]].mean(1), boxes[:, [1, 3]].mean(1)], 1)
    return any(cv2.pointPolygonTest(corners, (float(x), float(y)), False) >= 0 for x, y in middles)


def visible_s(track: Track, clock: Clock) -> float:
    """Return for how many seconds an object is visible."""
    frames = track.frames
    return float((clock.ends(frames) - clock.times_s[frames]).sum())


def _qualifies(track: Track, where: Where, clock: Clock) -> bool:
    if not len(track):
        return False
    labels = {label.casefold() for label in where.labels}
    if labels and (track.label or "").casefold() not in labels:
        return False
    width, height = track.resolution_wh
    if where.min_area and track.areas.max() < where.min_area * width * height:
        return False
    # A hair less counts: seconds are sums of times that are no binary fractions.
    return visible_s(track, clock) >= where.min_visible_s - 1e-6


def _meetings(
    things: Sequence[Track], pairs: Pairs, clock: Clock, resolution_wh: tuple[int, int]
) -> Iterator[tuple[Track, Track, npt.NDArray[np.int64]]]:
    """Yield pairs that come close enough for long enough, with the frames that show both."""
    diagonal = math.hypot(*resolution_wh)
    for one, other in combinations(things, 2):
        both, at_one, at_other = np.intersect1d(
            one.frames, other.frames, assume_unique=True, return_indices=True
        )
        if not len(both):
            continue
        seconds = float((clock.ends(both) - clock.times_s[both]).sum())
        if seconds < pairs.min_overlap_s - 1e-6:
            continue
        gaps = box_gaps(one.boxes_xyxy[at_one], other.boxes_xyxy[at_other])
        if gaps.min() <= pairs.max_distance * diagonal:
            yield one, other, both


def box_gaps(boxes: Floats, others: Floats) -> Floats:
    """Return how far boxes are apart, row by row, in pixels; 0 where they overlap.

    Args:
        boxes: ``(N, 4)`` xyxy.
        others: The same.
    """
    apart = np.maximum(boxes[:, :2] - others[:, 2:], others[:, :2] - boxes[:, 2:]).clip(0)
    gaps: Floats = np.hypot(apart[:, 0], apart[:, 1])
    return gaps


def _stretches(
    recording: int,
    task: Task,
    ids: tuple[int, ...],
    frames: npt.NDArray[np.int64],
    clock: Clock,
) -> Iterator[Unit]:
    """Yield an object's units: its whole life, or the stretches of it in which it is visible."""
    starts, ends = clock.times_s[frames], clock.ends(frames)

    def unit(first: int, last: int) -> Unit:
        # Six digits: the same number wherever it is worked out.
        times = round(float(starts[first]), 6), round(float(ends[last]), 6)
        return Unit(0, recording, task.name, ids, *times)

    if task.window_s is None:
        yield unit(0, -1)
        return
    numbers = np.floor(starts / task.window_s + 1e-9).astype(np.int64)
    for number in np.unique(numbers):
        own = np.flatnonzero(numbers == number)
        yield unit(int(own[0]), int(own[-1]))
