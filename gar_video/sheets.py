"""Contact sheets: a row for each object, its words and its clearest views with their times."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np

from gar_video.captions import Captions
from gar_video.files import replacing
from gar_video.lettering import (
    FAINT,
    INK,
    PAPER,
    RGB,
    Entry,
    Picture,
    label,
    object_colors,
    panel,
    paragraph,
    wrap,
)

if TYPE_CHECKING:
    from gar_video.track import Track
    from gar_video.tracks import Tracks
    from gar_video.video import Video


def clearest_frames(track: Track, count: int, resolution_wh: tuple[int, int]) -> list[int]:
    """Choose frames that show an object well, spread over the time it is seen.

    Args:
        track: The object.
        count: How many frames at most.
        resolution_wh: The video's size.

    Returns:
        Frame indices, rising: from each of ``count`` equal parts of the frames it is seen in, the
        one where most of it shows, not cut by the frame's edge if that can be had.
    """
    frames = np.asarray(track.frames)
    if len(frames) == 0:
        return []
    width, height = resolution_wh
    x1, y1, x2, y2 = track.boxes_xyxy.T
    whole = (x1 > 0) & (y1 > 0) & (x2 < width) & (y2 < height)
    worth = track.areas * np.where(whole, 1.0, 0.4)
    parts = np.array_split(np.arange(len(frames)), min(count, len(frames)))
    # Of equally good views the one in the middle of its part, so that views differ.
    return [
        int(frames[max(part, key=lambda row: (worth[row], -abs(row - part.mean())))])
        for part in parts
    ]


def contact_sheet(
    video: Video,
    tracks: Tracks,
    words: Mapping[int, str] | Captions | None = None,
    *,
    views: int = 5,
    view_wh: tuple[int, int] = (208, 156),
    colors: Mapping[int, RGB] | None = None,
) -> Picture:
    """Draw one row per object: what is said about it, and its clearest views with their times.

    Args:
        video: The video.
        tracks: Its objects.
        words: What is said about objects, by id; with ``Captions`` that change over time, what
            holds stands under each view, and what sums it up beside them.
        views: Views in a row at most.
        view_wh: Size of a view in pixels.
        colors: RGB by object id, of all objects; apart from each other by default.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        TracksError: If the tracks do not fit the video.
        VideoError: If a frame cannot be decoded.
    """
    tracks.check_fits(video)
    colors = dict(colors or object_colors(tracks.object_ids))
    chosen = {i: clearest_frames(tracks[i], views, video.resolution_wh) for i in tracks}
    captions = words if isinstance(words, Captions) else Captions.always(words or {})
    rows = []
    for object_id, frames in chosen.items():
        size, text_width = 15, 330
        entry = _row_entry(
            video, tracks[object_id], captions.summaries.get(object_id), size, text_width
        )
        text = panel(text_width, size, [Entry(colors[object_id], entry)])
        changing = len(captions.texts(object_id)) > 1
        tiles = []
        for frame in frames:
            then = captions.at(object_id, float(video.times_s[frame])) if changing else ""
            tiles.append(_view(video, tracks[object_id], frame, view_wh, colors, then))
        blank = np.full((view_wh[1] + 22, view_wh[0], 3), PAPER, np.uint8)
        tiles += [blank] * (views - len(tiles))
        tall = max(len(text), *map(len, tiles))
        cells = [_padded(text, tall), *(_padded(tile, tall) for tile in tiles)]
        gap = np.full((tall, 6, 3), PAPER, np.uint8)
        rows.append(np.hstack([part for cell in cells for part in (cell, gap)]))
    if not rows:
        entry = (("no objects", FAINT),)
        return panel(330, 15, [Entry(None, entry)])
    rule = np.full((3, rows[0].shape[1], 3), 225, np.uint8)
    return np.vstack([part for row in rows for part in (row, rule)][:-1])


def _row_entry(
    video: Video, track: Track, said: str | None, size: int, width: int
) -> tuple[tuple[str, RGB], ...]:
    room = width - 3 * max(4, size // 2) - size
    frames = track.frames
    title = f"{track.object_id}" + (f": {track.label}" if track.label else "")
    lines = [(line, INK) for line in wrap(title, room, size)]
    if said:
        lines += [(line, INK) for line in wrap(said, room, size)]
    when = "not seen in any frame"
    if len(frames):
        first, last = video.times_s[frames[0]], video.times_s[frames[-1]]
        when = f"seen {first:.2f} to {last:.2f} s, in {len(frames) / len(video):.0%} of frames"
    return (*lines, *((line, FAINT) for line in wrap(when, room, size)))


def _view(
    video: Video,
    track: Track,
    frame: int,
    view_wh: tuple[int, int],
    colors: Mapping[int, RGB],
    said: str,
) -> Picture:
    """Return a part of a frame around an object, its outline drawn in, its time and words below."""
    width, height = view_wh
    picture = video[frame]
    tall, wide = picture.shape[:2]
    box, mask = track.box_xyxy(frame), track.mask(frame)
    assert box is not None
    assert mask is not None
    x1, y1, x2, y2 = box
    # Twice the object, of the view's shape, and inside the frame as far as it can be.
    span = max((x2 - x1) / width, (y2 - y1) / height, 24 / width) * 2
    part_w, part_h = min(span * width, wide), min(span * height, tall)
    left = int(np.clip((x1 + x2 - part_w) / 2, 0, wide - part_w))
    top = int(np.clip((y1 + y2 - part_h) / 2, 0, tall - part_h))
    part = (slice(top, top + max(1, int(part_h))), slice(left, left + max(1, int(part_w))))
    scale = min(width / (part[1].stop - left), height / (part[0].stop - top))
    size = (
        min(width, max(1, round((part[1].stop - left) * scale))),
        min(height, max(1, round((part[0].stop - top) * scale))),
    )
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    crop = cv2.resize(np.ascontiguousarray(picture[part]), size, interpolation=method)
    shape = cv2.resize(
        np.ascontiguousarray(mask[part]).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST
    )
    outlines, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(crop, outlines, -1, colors[track.object_id], 2, cv2.LINE_AA)
    view = np.full((height + 22, width, 3), PAPER, np.uint8)
    y, x = (height - size[1]) // 2, (width - size[0]) // 2
    view[y : y + size[1], x : x + size[0]] = crop
    caption = f"{float(video.times_s[frame]):.2f} s"
    stamp = label(caption, 13, PAPER)
    view[height : height + len(stamp), : stamp.shape[1]] = stamp[: len(view) - height]
    if not said:
        return view
    return np.vstack([view, paragraph(said, width, 13)])


def _padded(picture: Picture, height: int) -> Picture:
    extra = height - len(picture)
    paper = np.full((extra, picture.shape[1], 3), PAPER, np.uint8)
    return np.vstack([picture, paper]) if extra else picture


def write_picture(path: str | os.PathLike[str], picture: Picture) -> None:
    """Write an RGB picture as PNG or JPEG, by the name's ending, whole or not at all.

    Raises:
        GARVideoError: If the file cannot be written.
    """
    from PIL import Image

    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary)


def write_contact_sheet(
    path: str | os.PathLike[str],
    video: Video,
    tracks: Tracks,
    words: Mapping[int, str] | Captions | None = None,
) -> None:
    """Write a contact sheet to a file; see ``contact_sheet`` and ``write_picture``."""
    write_picture(path, contact_sheet(video, tracks, words))
