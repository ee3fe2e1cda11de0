"""Tracks of known content for the tests of formats, and a stand-in for a video."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

T, H, W = 7, 24, 40
WH = (W, H)


class Clip(list):
    """What a reader needs to know of a video: size, length and name."""

    def __init__(self, width: int = W, height: int = H, num_frames: int = T, name: str = "clip"):
        super().__init__([None] * num_frames)
        self.resolution_wh = (width, height)
        self.name = name


def blob(left: int, top: int, size: int = 5) -> np.ndarray:
    """A mask that is no rectangle and has a hole."""
    mask = np.zeros((H, W), bool)
    mask[top : top + size, left : left + size] = True
    mask[top, left] = False
    mask[top + size // 2, left + size // 2] = False
    return mask


def masks(
    ids: tuple[int, ...] = (1, 2),
    labels: Mapping[int, str] | None = None,
    frames: tuple[int, ...] = (0, 1, 2, 4, 5),
) -> Tracks:
    """Blobs side by side that move down, never overlapping, with a gap; nobody in the last frame."""
    builder = TracksBuilder(WH, T)
    for index, object_id in enumerate(ids):
        builder.add_object(object_id, (labels or {}).get(object_id))
        for frame in frames[index % 2 :]:
            builder.add_mask(frame, object_id, blob(2 + 7 * index, 1 + 2 * frame))
    return builder.build()


BOXES = {
    0: (1.5, 2.25, 10.1, 12.7),
    1: (0.0, 0.0, 40.0, 24.0),
    3: (30.333333333333332, 0.1, 39.9, 0.30000000000000004),
    6: (7, 8, 9, 10),
}


def boxes(scores: bool = False, labels: Mapping[int, str] | None = None) -> Tracks:
    """Boxes at awkward sub-pixel places, in the first and last frame and with gaps."""
    builder = TracksBuilder(WH, T)
    for object_id in (12, 5):
        for frame, box in BOXES.items():
            if (frame + object_id) % 3:
                score = 0.1 * frame + object_id / 7 if scores else None
                builder.add_box(frame, object_id, box, score)
        builder.add_object(object_id, (labels or {}).get(object_id))
    return builder.build()


def ignored() -> Tracks:
    """Another blob, for regions that are to be ignored."""
    builder = TracksBuilder(WH, T)
    builder.add_mask(2, 255, blob(30, 15))
    return builder.build()


def with_label(tracks: Tracks, object_id: int, label: str) -> Tracks:
    """The one object of these tracks under another id and with a label."""
    (track,) = (tracks[i] for i in tracks)
    rles = {object_id: {frame: track.rle(frame) for frame in track.frames.tolist()}}
    return Tracks.from_rles(rles, WH, T, {object_id: label})


def with_ignored(tracks: Tracks, apart: Tracks) -> Tracks:
    """The same tracks with others kept apart as ignored."""
    return Tracks(
        [tracks[object_id] for object_id in tracks],
        tracks.resolution_wh,
        tracks.num_frames,
        ignored=apart,
    )


def everything() -> Tracks:
    """Masks and boxes, labels, changing scores, a name for an id, one never visible, ignored."""
    builder = TracksBuilder(WH, T)
    for frame in range(4):
        builder.add_mask(frame, 3, blob(2 + frame, 2), 0.5 + frame / 9, "big dog")
        builder.add_mask(frame, 4, blob(4 + frame, 3))  # overlaps the other
    builder.add_box(4, 3, (3.3, 4.4, 9.9, 9.1), 0.25)
    builder.add_box(5, "the second", (1, 2, 3, 4), None, "cat")
    builder.add_object(90, "ghost")
    return builder.build(ignored=ignored())


def quietly(action, *args, **kwargs):
    """Call without minding warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return action(*args, **kwargs)
