"""MOTS and KITTI-MOTS: a line ``frame id class height width RLE``, or 16-bit PNGs.

Object ids are class x 1000 + number, classes 1 car and 2 pedestrian; id 10000 (class 10) marks
regions to be ignored. MOTSChallenge's text counts frames from 1, KITTI's from 0; the text does not
say which it is. It is taken for KITTI's if it has a frame 0 or a car.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.common import (
    build_both,
    lost_in_masks,
    objects_of_frames,
    rows_by_object,
)
from gar_video.formats.files import warn_lost, whole_file, whole_folder
from gar_video.formats.pictures import (
    frame_indices,
    ids_in,
    number_of,
    png_files,
    png_header,
    read_ids,
    write_gray,
)
from gar_video.formats.source import Format, Source
from gar_video.regions import whole
from gar_video.track import Track
from gar_video.tracks import Tracks
from gar_video.tracks_builder import GivenMask

_CLASSES = {1: "car", 2: "pedestrian"}
_NUMBERS = {label: number for number, label in _CLASSES.items()}
_IGNORED_ID, _IGNORED_CLASS = 10_000, 10
_ROW = re.compile(r"^\s*\d+\s+\d+\s+\d+\s+\d+\s+\d+\s+[0-o]+\s*$")


def _label(number: int) -> str | None:
    if number == 0:
        return None
    return _CLASSES.get(number, f"class {number}")


def _class(label: str | None) -> int | None:
    """Class number of a label; 0 for none, None where the format has no number for it."""
    if label is None:
        return 0
    other = re.fullmatch(r"class (\d{1,2})", label)
    return _NUMBERS.get(label, int(other[1]) if other else None)


# -- text ------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[int, list[int], str]]:
    """Yield line number, the five numbers and the RLE of each line."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fields = line.split()
            if len(fields) != 6:
                raise TracksError(
                    f"line {number} has {len(fields)} values; expected frame, id, class, height, "
                    "width, RLE"
                )
            try:
                yield number, [whole(float(field), "value") for field in fields[:5]], fields[5]
            except ValueError:
                raise TracksError(f"line {number}: {line.strip()[:40]!r} is damaged") from None


def _sniff_text(source: Source) -> bool:
    lines = source.head.splitlines()
    first = next(filter(str.strip, lines), "")
    return bool(_ROW.match(first)) or (len(lines) == 1 and _is_long_row(first))


def _is_long_row(line: str) -> bool:
    """Whether a line longer than the head that was read begins as a row does."""
    return bool(re.match(r"^\s*(\d+\s+){5}[0-o]+$", line))


def _sniff_kitti(source: Source) -> bool:
    if not _sniff_text(source):
        return False
    return any(numbers[0] == 0 or numbers[2] == 1 for _, numbers, _ in _rows(source.path))


def _read_text(source: Source, first_frame: int) -> Tracks:
    size = next(((row[4], row[3]) for _, row, _ in _rows(source.path)), None)
    if size is None:
        raise TracksError("no rows in it; expected frame, id, class, height, width, RLE")
    builder, apart = source.builder(size), source.builder(size)
    rows = groupby(_masks(source.path, first_frame), key=itemgetter(0))
    for is_ignored, group in rows:
        (apart if is_ignored else builder).add_masks(given for _, given in group)
    return build_both(builder, apart)


def _masks(path: Path, first_frame: int) -> Iterator[tuple[bool, GivenMask]]:
    """Yield the mask of each line, and whether it is to be ignored."""
    for number, (frame, object_id, class_id, height, width), counts in _rows(path):
        where = f"line {number}: "
        if frame < first_frame:
            raise TracksError(f"{where}frame {frame}; this format counts frames from {first_frame}")
        rle = {"size": [height, width], "counts": counts}
        mask = GivenMask(frame - first_frame, object_id, rle, None, _label(class_id), where)
        yield _is_ignored(object_id, class_id), mask


def _is_ignored(object_id: int, class_id: int) -> bool:
    return object_id == _IGNORED_ID or class_id == _IGNORED_CLASS


def _write_text(tracks: Tracks, path: Path, first_frame: int) -> None:
    width, height = tracks.resolution_wh
    strange, tells_kitti = set(), False
    with whole_file(path) as file:
        for part in (tracks, tracks.ignored):
            for frame, track in rows_by_object(part) if part is not None else ():
                number = _class(track.label) if part is tracks else _IGNORED_CLASS
                if number is None:
                    strange.add(str(track.label))
                tells_kitti = tells_kitti or frame == 0 or number == 1
                rle = track.rle(frame)
                assert rle is not None
                row = f"{frame + first_frame} {track.object_id} {number or 0} {height} {width}"
                file.write(f"{row} {rle['counts']}\n")
    overlapping = sum(_overlap(seen, frame) for frame, seen in objects_of_frames(tracks))
    seen_kitti = tells_kitti if first_frame == 0 else _has_cars(tracks)
    misread = any(len(tracks[i]) for i in tracks) and seen_kitti != (first_frame == 0)
    warn_lost(
        "MOTSChallenge text" if first_frame else "KITTI-MOTS text",
        [
            *lost_in_masks(tracks, labels=True),
            f"labels other than car and pedestrian: {sorted(strange)}" if strange else None,
            f"overlapping objects: evaluation kits refuse the {overlapping} frames that have some"
            if overlapping
            else None,
            "whether frames count from 0 or 1, and here it would be taken for the other kind: "
            "name the format when it is read"
            if misread
            else None,
        ],
    )


def _overlap(tracks: list[Track], frame: int) -> bool:
    """Whether any two of these objects share a pixel in this frame."""
    if len(tracks) < 2:
        return False
    masks = [mask for mask in (track.mask(frame) for track in tracks) if mask is not None]
    return int(np.logical_or.reduce(masks).sum()) < sum(track.area(frame) for track in tracks)


def _has_cars(tracks: Tracks) -> bool:
    return any(tracks[i].label == _CLASSES[1] and len(tracks[i]) for i in tracks)


# -- PNG -------------------------------------------------------------------------------------------


def _sniff_png(source: Source) -> bool:
    if not source.is_folder:
        return False
    for path in png_files(source.path)[:1]:
        try:
            _, _, bits, colour = png_header(path)
        except TracksError:
            return False
        return bits == 16 and colour == 0
    return False


def _read_png(source: Source) -> Tracks:
    files = png_files(source.path) if source.is_folder else []
    if not files:
        raise TracksError(f"no PNG in {source.path}; expected one a frame, such as 000000.png")
    numbers = [number_of(path) for path in files]
    frames, length_known = frame_indices(numbers, source.num_frames, every_frame=True)
    first, _ = read_ids(files[0], source.resolution_wh)
    size = (first.shape[1], first.shape[0])
    length = max(frames.values()) + 1 if length_known else None
    builder, apart = source.builder(size, length), source.builder(size, length)
    for path, number in zip(files, numbers, strict=True):
        values, _ = read_ids(path, size)
        for value in ids_in(values, path):
            target = apart if _is_ignored(value, value // 1000) else builder
            target.add_mask(frames[number], value, values == value, None, _label(value // 1000))
        builder.see_frame(frames[number])
    return build_both(builder, apart)


def _write_png(tracks: Tracks, path: Path) -> None:
    strange, renumbered, overlapping = set(), {}, 0
    values: dict[int, int] = {}
    for object_id in tracks:
        number = _class(tracks[object_id].label)
        if number is None:
            strange.add(str(tracks[object_id].label))
            number = 0
        values[object_id] = object_id
        if object_id // 1000 != number:
            values[object_id] = renumbered[object_id] = number * 1000 + object_id % 1000
        if not 0 < values[object_id] < 2**16 or values[object_id] % 1000 == 0:
            raise TracksError(f"object id {object_id} does not fit a MOTS PNG; use format='json'")
    if len(set(values.values())) < len(values):
        raise TracksError(f"ids {sorted(renumbered)} collide as class x 1000 + number; use 'mots'")
    width, height = tracks.resolution_wh
    with whole_folder(path) as folder:
        for frame, visible in objects_of_frames(tracks):
            picture = np.zeros((height, width), np.uint16)
            for ignored_id in tracks.ignored or ():
                mask = tracks.ignored[ignored_id].mask(frame)  # type: ignore[index]
                if mask is not None:
                    picture[mask] = _IGNORED_ID
            for track in visible:
                picture[track.mask(frame)] = values[track.object_id]
            overlapping += _overlap(visible, frame)
            write_gray(folder / f"{frame:06d}.png", picture)
    warn_lost(
        PNG.title,
        [
            *lost_in_masks(tracks, labels=True),
            f"labels other than car and pedestrian: {sorted(strange)}" if strange else None,
            f"ids apart from classes: {renumbered} were renumbered" if renumbered else None,
            f"overlapping objects: in {overlapping} frames later ones cover earlier ones"
            if overlapping
            else None,
        ],
    )


KITTI = Format(
    "kitti_mots",
    "KITTI-MOTS text (frames from 0)",
    _sniff_kitti,
    lambda source: _read_text(source, 0),
    lambda tracks, path: _write_text(tracks, path, 0),
)
CHALLENGE = Format(
    "mots",
    "MOTSChallenge text (frames from 1)",
    _sniff_text,
    lambda source: _read_text(source, 1),
    lambda tracks, path: _write_text(tracks, path, 1),
)
PNG = Format("mots_png", "MOTS folder of 16-bit PNGs", _sniff_png, _read_png, _write_png)
