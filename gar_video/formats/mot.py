"""MOTChallenge text: ``frame, id, left, top, width, height, confidence, …``, counted from 1.

Ground truth has nine columns, of which the seventh is 1 or 0 (0: not to be evaluated; kept apart as
``ignored``), the eighth the class and the ninth the visible share. Trackers write ten, the last
three unused; -1 as confidence means none. The text states neither frame size nor length: they come
from the video, or from a ``seqinfo.ini`` beside the file or its folder.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.common import build_both, rows_by_object
from gar_video.formats.files import warn_lost, whole_file
from gar_video.formats.numbers import decimal, xywh_of_xyxy, xyxy_of_xywh
from gar_video.formats.source import Format, Source
from gar_video.regions import whole
from gar_video.tracks import Tracks

_TITLE = "MOTChallenge text"
# The benchmark's classes 1 to 13 (MOT16, MOT17, MOT20).
_CLASSES = (
    "pedestrian",
    "person on vehicle",
    "car",
    "bicycle",
    "motorbike",
    "non motorized vehicle",
    "static person",
    "distractor",
    "occluder",
    "occluder on the ground",
    "occluder full",
    "reflection",
    "crowd",
)
_GT_COLUMNS = (8, 9)


def sniff(source: Source) -> bool:
    """Tell by a first line of six to ten numbers with commas, or a folder with ``gt/gt.txt``."""
    if source.is_folder:
        return (source.path / "gt" / "gt.txt").is_file()
    line = next(filter(str.strip, source.head.splitlines()), "")
    fields = line.split(",")
    if not 6 <= len(fields) <= 10:
        return False
    try:
        for field in fields:
            float(field)
    except ValueError:
        return False
    return True


def read(source: Source) -> Tracks:
    """Read MOTChallenge text."""
    path = source.path / "gt" / "gt.txt" if source.is_folder else source.path
    size, length = _seqinfo(path)
    is_truth = _is_ground_truth(path)
    builder = source.builder(size, length)
    apart = source.builder(size, length)
    number = without_id = 0
    for number, fields in _rows(path):
        try:
            frame = whole(float(decimal(fields[0])), "frame")
            if frame < 1:
                raise TracksError(f"frame {frame}; MOTChallenge counts frames from 1")
            object_id = whole(float(decimal(fields[1])), "object id")
            if object_id == -1:
                without_id += 1
                continue
            box = xyxy_of_xywh(fields[2:6], origin=1)
            value = float(decimal(fields[6])) if len(fields) > 6 else -1.0
            if is_truth:
                target = builder if value else apart
                target.add_box(frame - 1, object_id, box, None, _label(fields))
            else:
                score = None if value == -1 else value
                builder.add_box(frame - 1, object_id, box, score)
        except TracksError as error:
            raise TracksError(f"line {number}: {error}") from None
    if not number:
        raise TracksError("no rows in it; expected frame, id, left, top, width, height, …")
    if without_id:
        raise TracksError(
            f"{without_id} rows have id -1: detections, not tracks; run a tracker over them first"
        )
    return build_both(builder, apart)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each line that is not blank."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fields = line.strip().rstrip(",").split(",")
            if len(fields) < 6:
                raise TracksError(
                    f"line {number} has {len(fields)} values; expected frame, id, left, top, "
                    "width, height, …"
                )
            yield number, fields


def _is_ground_truth(path: Path) -> bool:
    """Whether the seventh column is a flag: in gt files, and where it is only ever 0 or 1."""
    by_name = path.stem.startswith("gt") or path.parent.name == "gt"
    flags_only, columns = True, 0
    for _, fields in _rows(path):
        columns = max(columns, len(fields))
        flags_only = flags_only and len(fields) > 6 and fields[6].strip() in _FLAGS
        if not flags_only:
            return False
    return flags_only and (columns in _GT_COLUMNS or by_name)


_FLAGS = frozenset(("0", "1", "0.0", "1.0"))


def _label(fields: list[str]) -> str | None:
    if len(fields) not in _GT_COLUMNS:
        return None
    number = whole(float(decimal(fields[7])), "class")
    return _CLASSES[number - 1] if 1 <= number <= len(_CLASSES) else None


def _seqinfo(path: Path) -> tuple[tuple[int, int] | None, int | None]:
    """Frame size and length from ``seqinfo.ini``, where there is one."""
    for folder in (path.parent, path.parent.parent):
        file = folder / "seqinfo.ini"
        if file.is_file():
            parser = configparser.ConfigParser(interpolation=None)
            try:
                parser.read(file, encoding="utf-8")
                info = parser["Sequence"]
                return (int(info["imWidth"]), int(info["imHeight"])), int(info["seqLength"])
            except (configparser.Error, KeyError, ValueError):
                raise TracksError(
                    f"{file.name} beside it is damaged; expected [Sequence] with imWidth, "
                    "imHeight and seqLength"
                ) from None
    return None, None


def write(tracks: Tracks, path: Path) -> None:
    """Write boxes: as ground truth if there are labels or ignored regions, else as results."""
    all_tracks = [tracks[object_id] for object_id in tracks]
    labels = sorted({track.label for track in all_tracks if track.label is not None})
    scores = any(not np.isnan(track.scores).all() for track in all_tracks)
    as_truth = tracks.ignored is not None or (bool(labels) and not scores)
    strange = [label for label in labels if label not in _CLASSES]
    with whole_file(path) as file:
        _write_rows(file, tracks, as_truth, 1)
        if tracks.ignored is not None:
            _write_rows(file, tracks.ignored, as_truth, 0)
    never = [track.object_id for track in all_tracks if not len(track)]
    masks = any(len(t) and not t.boxes_only for t in all_tracks)
    warn_lost(
        _TITLE,
        [
            "masks: their boxes are written" if masks else None,
            f"labels that are no class of the benchmark: {strange}"
            if as_truth and strange
            else None,
            f"labels beside scores: {labels}" if not as_truth and labels else None,
            "scores beside ignored regions" if as_truth and scores else None,
            f"objects that are never visible: {never}" if never else None,
        ],
    )


def _write_rows(file: TextIO, tracks: Tracks, as_truth: bool, flag: int) -> None:
    for frame, track in rows_by_object(tracks):
        box = track.box_xyxy(frame)
        assert box is not None
        if as_truth:
            number = _CLASSES.index(track.label) + 1 if track.label in _CLASSES else -1
            rest = [str(flag), str(number), "-1"]
        else:
            score = track.score(frame)
            rest = ["-1" if score is None else repr(score), "-1", "-1", "-1"]
        place = xywh_of_xyxy(box.tolist(), origin=1)
        file.write(",".join([str(frame + 1), str(track.object_id), *place, *rest]) + "\n")


FORMAT = Format("mot", _TITLE, sniff, read, write)
