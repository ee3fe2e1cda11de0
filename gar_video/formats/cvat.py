"""CVAT for video XML 1.1, read only: a ``<track>`` per object with a shape per keyframe.

Boxes (also turned), polygons and RLE masks are read; points, polylines and other shapes that cover
no area are refused. ``outside`` means not visible; ``occluded`` objects are partly visible and so
count. What CVAT exports has every frame in it (``keyframe="0"`` for those in between). Files with
keyframes alone are filled in as CVAT does when it imports them.

The file is parsed as a stream, and one that declares entities or a document type is refused:
CVAT writes none, and they are how small files grow to gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.keyframes import Keyframe, Shape, add_tracks
from gar_video.formats.source import Format, Source
from gar_video.masks import RLE, encode
from gar_video.regions import check_frame
from gar_video.runs import check_resolution
from gar_video.tracks import Tracks

_MAX_DEPTH = 64
_SHAPES = ("box", "polygon", "mask")
_WITHOUT_AREA = ("points", "polyline", "ellipse", "cuboid", "skeleton")


def sniff(source: Source) -> bool:
    """Tell by XML with an ``<annotations>`` root."""
    return source.head.lstrip().startswith("<") and "<annotations" in source.head


class _Track:
    def __init__(self, attributes: dict[str, str]) -> None:
        self.name = attributes.get("id", "")
        self.label = attributes.get("label")
        self.shapes: list[tuple[int, bool, str, dict[str, str]]] = []  # frame, outside, kind, rest
        self.full = False  # has rows for the frames between keyframes


class _Reader:
    """Collects tracks from expat's events; shapes are drawn once the frame size is known."""

    def __init__(self) -> None:
        self.tracks: list[_Track] = []
        self.meta: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._path and name != "annotations":
            raise TracksError(f"its root is <{name[:20]}>; expected CVAT's <annotations>")
        self._path.append(name)
        self._text = []
        if len(self._path) > _MAX_DEPTH:
            raise TracksError(f"XML nested deeper than {_MAX_DEPTH}; this is no CVAT file")
        if name == "image":
            raise TracksError(
                "this is 'CVAT for images', which has no tracks; export as 'CVAT for video 1.1'"
            )
        if name == "track":
            self.tracks.append(_Track(attributes))
        elif len(self._path) == 3 and self._path[1] == "track":
            self._shape(name, attributes)

    def _shape(self, kind: str, attributes: dict[str, str]) -> None:
        track = self.tracks[-1]
        outside = attributes.get("outside") == "1"
        if kind in _WITHOUT_AREA and not outside:
            raise TracksError(f"track {track.name} has a {kind}; expected box, polygon or mask")
        frame = check_frame(_int(attributes, "frame"))
        track.full = track.full or attributes.get("keyframe") == "0"
        track.shapes.append((frame, outside, kind, attributes))

    def end(self, name: str) -> None:
        in_meta = self._path[1:2] == ["meta"] and self._path[-2] in ("original_size", "task", "job")
        if in_meta and name in ("width", "height", "size", "start_frame"):
            self.meta[name] = "".join(self._text).strip()
        self._path.pop()
        self._text = []

    def text(self, text: str) -> None:
        if self._path[1:2] == ["meta"]:
            self._text.append(text)


def _refuse(*_: Any) -> None:
    raise TracksError("XML with a document type or entities is refused; CVAT writes none")


def _parse(source: Source) -> _Reader:
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        with source.path.open("rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise TracksError(f"not well-formed XML ({error}); the file is damaged") from None
    return reader


def read(source: Source) -> Tracks:
    """Read CVAT for video XML."""
    reader = _parse(source)
    meta = {key: int(value) for key, value in reader.meta.items() if value.isdecimal()}
    size = (meta["width"], meta["height"]) if "width" in meta and "height" in meta else None
    # A task that starts later in its video has the video's frame numbers but its own length.
    length = None if meta.get("start_frame") else meta.get("size")
    builder = source.builder(size, length)
    names = [track.name for track in reader.tracks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TracksError(f"track id {twice} stands twice; expected once")
    full_dump = any(track.full for track in reader.tracks)
    for track in reader.tracks:
        builder.add_object(track.name, track.label)
    drawn = [_drawn(t, builder.resolution_wh, goes_on=not full_dump) for t in reader.tracks]
    ends = [_end_of(keyframes, builder.num_frames) for keyframes in drawn]
    add_tracks(builder, zip(names, drawn, ends, strict=True))
    return builder.build(allow_empty=True)


def _end_of(keyframes: list[Keyframe], num_frames: int | None) -> int | None:
    """Where a track ends that is not closed: at the video's end, unless every frame is listed."""
    frames = [keyframe.frame for keyframe in keyframes]
    listed = len(frames) == max(frames, default=0) - min(frames, default=0) + 1
    return None if listed and len(frames) > 1 else num_frames


def _drawn(track: _Track, resolution_wh: tuple[int, int], goes_on: bool) -> list[Keyframe]:
    keyframes = []
    for frame, outside, kind, attributes in track.shapes:
        try:
            shape = None if outside else _READERS[kind](attributes, resolution_wh)
        except (TracksError, KeyError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise TracksError(f"track {track.name}, frame {frame}, {kind}: {missing}") from None
        keyframes.append(Keyframe(frame, shape, goes_on))
    return keyframes


def _int(attributes: dict[str, str], key: str) -> int:
    text = attributes.get(key, "").strip()
    try:
        return int(text)
    except ValueError:
        raise TracksError(f"{key} is {text!r:.20}; expected a whole number") from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise TracksError(f"{text!r:.20} is no number") from None


def _box(attributes: dict[str, str], _: tuple[int, int]) -> Shape:
    x_1, y_1, x_2, y_2 = (_float(attributes[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
    return Shape(box=(x_1, y_1, x_2, y_2), rotation=_float(attributes.get("rotation", "0")))


def _polygon(attributes: dict[str, str], _: tuple[int, int]) -> Shape:
    corners = []
    for pair in attributes["points"].split(";"):
        x, y = (*pair.split(","), "")[:2]
        corners.append((_float(x), _float(y)))
    return Shape(polygon=tuple(corners))


def _mask(attributes: dict[str, str], resolution_wh: tuple[int, int]) -> Shape:
    """Runs over the rows of a rectangle, the first one empty."""
    left, top = _int(attributes, "left"), _int(attributes, "top")
    width, height = check_resolution((_int(attributes, "width"), _int(attributes, "height")))
    if left < 0 or top < 0 or left + width > resolution_wh[0] or top + height > resolution_wh[1]:
        raise TracksError(
            f"mask at ({left}, {top}) of {width}x{height} reaches outside the frame of "
            f"{resolution_wh[0]}x{resolution_wh[1]}"
        )
    runs = np.array([int(_float(text)) for text in attributes["rle"].split(",")], np.int64)
    if runs.min() < 0 or runs.sum() != width * height:
        raise TracksError(
            f"RLE counts add up to {runs.sum()}, its rectangle has {width * height} pixels; "
            "expected them equal"
        )
    full = np.zeros(resolution_wh[::-1], np.bool_)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    full[top : top + height, left : left + width] = inside
    rle: RLE = encode(full)
    return Shape(mask=rle)


_READERS: dict[str, Callable[[dict[str, str], tuple[int, int]], Shape]] = {
    "box": _box,
    "polygon": _polygon,
    "mask": _mask,
}

FORMAT = Format("cvat", "CVAT for video XML", sniff, read)
