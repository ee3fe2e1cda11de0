"""What several formats share: order of rows, ignored regions, what masks alone cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from gar_video.track import Track
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder


def rows_by_frame(tracks: Tracks) -> Iterator[tuple[int, Track]]:
    """Yield ``(frame, track)`` for every region, frame by frame, objects in their order."""
    all_tracks = [tracks[object_id] for object_id in tracks]
    if not all_tracks:
        return
    frames = np.concatenate([track.frames for track in all_tracks])
    owners = np.repeat(np.arange(len(all_tracks)), [len(track) for track in all_tracks])
    for index in np.argsort(frames, kind="stable"):
        yield int(frames[index]), all_tracks[owners[index]]


def rows_by_object(tracks: Tracks) -> Iterator[tuple[int, Track]]:
    """Yield ``(frame, track)`` for every region, object by object.

    Formats without a list of objects are written so: read again, objects have the same order.
    """
    for object_id in tracks:
        for frame in tracks[object_id].frames.tolist():
            yield frame, tracks[object_id]


def objects_of_frames(tracks: Tracks) -> Iterator[tuple[int, list[Track]]]:
    """Yield every frame of the video with the objects visible in it."""
    grouped = groupby(rows_by_frame(tracks), key=lambda row: row[0])
    coming = next(grouped, None)
    for frame in range(tracks.num_frames):
        if coming is not None and coming[0] == frame:
            yield frame, [track for _, track in coming[1]]
            coming = next(grouped, None)
        else:
            yield frame, []


def build_both(builder: TracksBuilder, apart: TracksBuilder) -> Tracks:
    """Build tracks with the regions that are to be ignored kept apart."""
    builder.see_frame(apart.last_frame)
    apart.see_frame(builder.last_frame)
    ignored = apart.build()
    return builder.build(ignored=ignored if len(ignored) else None)


def lost_in_masks(
    tracks: Tracks, *, labels: bool = False, never_visible: bool = False, ignored: bool = True
) -> list[str | None]:
    """What bare masks cannot hold of these tracks, said for ``warn_lost``.

    Args:
        tracks: What is being saved.
        labels: Whether the format holds labels.
        never_visible: Whether it holds objects without a region.
        ignored: Whether it keeps regions to be ignored apart.
    """
    all_tracks = [tracks[object_id] for object_id in tracks]
    boxes = any(map(_has_boxes, all_tracks))
    never = [track.object_id for track in all_tracks if not len(track)]
    return [
        "boxes: they are drawn as masks" if boxes else None,
        "labels" if not labels and any(t.label is not None for t in all_tracks) else None,
        "scores" if any(not np.isnan(t.scores).all() for t in all_tracks) else None,
        f"objects that are never visible: {never} are left out"
        if never and not never_visible
        else None,
        "regions to be ignored" if tracks.ignored is not None and not ignored else None,
    ]


def _has_boxes(track: Track) -> bool:
    return track.boxes_only or any(map(track.is_box, track.frames))
