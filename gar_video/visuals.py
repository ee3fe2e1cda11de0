"""Pictures of tracks: annotated video, contact sheets, words that can be read.

Objects are drawn into the picture with mask, outline and id; words stand on a panel below or beside
it, where they hide nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

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
    wrap,
)

if TYPE_CHECKING:
    import supervision as sv

    from gar_video.tracks import Track, Tracks
    from gar_video.video import Video

_TICKS_PER_S = 90_000


def draw_objects(
    picture: Picture, detections: sv.Detections, colors: Mapping[int, RGB], *, opacity: float = 0.25
) -> Picture:
    """Draw objects into a picture: a tint, an outline and the id beside each.

    Args:
        picture: ``(H, W, 3)`` uint8 RGB; not changed.
        detections: With ``tracker_id``, and masks or boxes.
        colors: RGB by object id.
        opacity: How strong the tint is, 0 to 1.

    Returns:
        ``(H, W, 3)`` uint8 RGB.
    """
    import supervision as sv

    drawn = picture.copy()
    if len(detections) == 0:
        return drawn
    ids = [int(object_id) for object_id in _ids(detections)]
    # supervision blends channels as they come, so RGB stays RGB.
    palette = sv.ColorPalette([sv.Color(*colors[object_id]) for object_id in ids])
    lookup = np.arange(len(ids))
    line = max(1, round(min(picture.shape[:2]) / 240))
    masks = detections.mask
    covered: npt.NDArray[np.bool_]
    if masks is None:
        box = sv.BoxAnnotator(color=_swapped(palette), thickness=line + 1)
        drawn = box.annotate(drawn, detections, custom_color_lookup=lookup)
        covered = _filled(detections.xyxy, picture.shape[:2])
    else:
        tint = sv.MaskAnnotator(color=_swapped(palette), opacity=opacity)
        drawn = tint.annotate(drawn, detections, custom_color_lookup=lookup)
        covered = np.asarray(masks, dtype=bool)
        for object_id, mask in zip(ids, covered, strict=True):
            outlines, _ = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(drawn, outlines, -1, colors[object_id], line, cv2.LINE_AA)
    return _tag(drawn, ids, detections.xyxy, np.asarray(covered.any(axis=0)), colors)


def _ids(detections: sv.Detections) -> npt.NDArray[Any]:
    ids = detections.tracker_id
    return np.arange(len(detections)) if ids is None else ids


def _swapped(palette: sv.ColorPalette) -> sv.ColorPalette:
    """Exchange red and blue: supervision writes colours as BGR, and the pictures here are RGB."""
    import supervision as sv

    return sv.ColorPalette([sv.Color(color.b, color.g, color.r) for color in palette.colors])


def _filled(boxes_xyxy: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    masks = np.zeros((len(boxes_xyxy), *shape[:2]), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes_xyxy, strict=True):
        mask[max(0, int(y1)) : int(y2) + 1, max(0, int(x1)) : int(x2) + 1] = True
    return masks


def _tag(
    picture: Picture,
    ids: Sequence[int],
    boxes_xyxy: npt.NDArray[Any],
    covered: npt.NDArray[np.bool_],
    colors: Mapping[int, RGB],
) -> Picture:
    """Put each id beside its object, where it covers least of any object or other id."""
    height, width = covered.shape
    size = int(np.clip(min(height, width) / 18, 11, 40))
    taken = covered.copy()
    for object_id, (x1, y1, x2, y2) in zip(ids, boxes_xyxy, strict=True):
        tag = label(str(object_id), size, colors[object_id])
        tall, wide = tag.shape[:2]
        if tall > height or wide > width:
            continue
        middle_x, middle_y = (x1 + x2 - wide) / 2, (y1 + y2 - tall) / 2
        places = [
            (x1, y1 - tall - 2), (x2 - wide, y1 - tall - 2), (x1, y2 + 2), (x2 - wide, y2 + 2),
            (x2 + 2, y1), (x1 - wide - 2, y1), (x2 + 2, middle_y), (x1 - wide - 2, middle_y),
            (middle_x, y1 - tall - 2), (middle_x, y2 + 2), (x1 + 2, y1 + 2),
        ]  # fmt: skip
        best, least = (0, 0), float("inf")
        for place_x, place_y in places:
            x = int(np.clip(round(place_x), 0, width - wide))
            y = int(np.clip(round(place_y), 0, height - tall))
            cost = float(taken[y : y + tall, x : x + wide].sum())
            if cost < least:
                best, least = (x, y), cost
        x, y = best
        picture[y : y + tall, x : x + wide] = tag
        taken[y : y + tall, x : x + wide] = True
    return picture


def _legend(
    tracks: Tracks, words: Mapping[int, str], colors: Mapping[int, RGB], width: int
) -> Picture | None:
    """Return the panel of what is said about each object; None if nothing is."""
    size = int(np.clip(width / 44, 12, 30))
    room = width - 3 * max(4, size // 2) - size
    entries = []
    for object_id in tracks:
        said = [text for text in (tracks[object_id].label, words.get(object_id)) if text]
        if said:
            text = f"{object_id}: {'. '.join(said)}"
            lines = tuple((line, INK) for line in wrap(text, room, size))
            entries.append(Entry(colors[object_id], lines))
    return panel(width, size, entries) if entries else None


def write_annotated_video(
    path: str | os.PathLike[str],
    video: Video,
    tracks: Tracks,
    words: Mapping[int, str] | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the video as H.264 mp4 with its objects drawn in, and words on a panel below.

    Every frame keeps its time. One frame is held at a time.

    Args:
        path: The file to write, ending in ``.mp4``; replaced only when the new one is whole.
        video: The video.
        tracks: Its objects.
        words: What is said about objects, by id.
        progress: Called with (frames done, frames in all).

    Raises:
        TracksError: If the tracks do not fit the video.
        VideoError: If a frame cannot be decoded.
        GARVideoError: If the file cannot be written.
    """
    import av

    tracks.check_fits(video)
    colors = object_colors(tracks.object_ids)
    width = max(video.width, 2)
    legend = _legend(tracks, words or {}, colors, width)
    times = video.times_s
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        # A rate is asked for but the frames' own times are what is written.
        stream: Any = container.add_stream("libx264", rate=max(Fraction(1), Fraction(video.fps)))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "veryfast"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
        for index, picture in enumerate(video):
            drawn = picture
            if index < tracks.num_frames:
                drawn = draw_objects(picture, tracks.detections(index), colors)
            sheet = _even(drawn if legend is None else np.vstack([drawn, legend]))
            if index == 0:
                stream.height, stream.width = sheet.shape[:2]
            frame = av.VideoFrame.from_ndarray(sheet, format="rgb24")
            frame.time_base = Fraction(1, _TICKS_PER_S)
            frame.pts = round(float(times[index]) * _TICKS_PER_S)
            container.mux(stream.encode(frame))
            if progress is not None:
                progress(index + 1, len(video))
        container.mux(stream.encode(None))


def _even(picture: Picture) -> Picture:
    """Repeat the last row and column where a side is odd: H.264 stores colour for 2x2 pixels."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


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
    words: Mapping[int, str] | None = None,
    *,
    views: int = 5,
    view_wh: tuple[int, int] = (208, 156),
) -> Picture:
    """Draw one row per object: what is said about it, and its clearest views with their times.

    Args:
        video: The video.
        tracks: Its objects.
        words: What is said about objects, by id.
        views: Views in a row at most.
        view_wh: Size of a view in pixels.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        TracksError: If the tracks do not fit the video.
        VideoError: If a frame cannot be decoded.
    """
    tracks.check_fits(video)
    colors = object_colors(tracks.object_ids)
    chosen = {i: clearest_frames(tracks[i], views, video.resolution_wh) for i in tracks}
    rows = []
    for object_id, frames in chosen.items():
        size, text_width = 15, 330
        entry = _row_entry(video, tracks[object_id], (words or {}).get(object_id), size, text_width)
        text = panel(text_width, size, [Entry(colors[object_id], entry)])
        tiles = [_view(video, tracks[object_id], frame, view_wh, colors) for frame in frames]
        blank = np.full((view_wh[1] + 22, view_wh[0], 3), PAPER, np.uint8)
        tiles += [blank] * (views - len(tiles))
        tall = max(len(text), len(blank))
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
) -> Picture:
    """Return a part of a frame around an object, its outline drawn in, its time below."""
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
    return view


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
    words: Mapping[int, str] | None = None,
) -> None:
    """Write a contact sheet to a file; see ``contact_sheet`` and ``write_picture``."""
    write_picture(path, contact_sheet(video, tracks, words))
