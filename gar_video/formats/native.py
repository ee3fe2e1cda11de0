"""Our own JSON: everything a ``Tracks`` holds, without loss.

One object a line, its regions in columns::

    {"format": "gar-video-tracks", "version": 1, "resolution_wh": [640, 360], "num_frames": 100,
     "objects": [{"id": 1, "label": "dog", "frames": [0, 1], "rles": ["…", null],
                  "boxes": [null, [1.5, 2, 30, 40]], "scores": [0.9, null]}]}

``rles`` are COCO's compressed counts, null where the region is a box. ``boxes`` and ``scores`` are
left out where there are none, ``label`` where there is none. ``source_id`` is the object's name
where its id was mapped; ``ignored`` holds objects as ``objects`` does.
"""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gar_video.errors import TracksError
from gar_video.formats.files import whole_file
from gar_video.formats.source import Format, Source
from gar_video.track import Track
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder

VERSION = 1
_MAGIC = "gar-video-tracks"


def sniff(source: Source) -> bool:
    """Tell by the name of the format inside."""
    return source.looks_like_json and f'"{_MAGIC}"' in source.head


def read(source: Source) -> Tracks:
    """Read our own JSON."""
    whole = source.json
    if not isinstance(whole, dict) or whole.get("format") != _MAGIC:
        raise TracksError(f'no "format": "{_MAGIC}" in it; this is another kind of JSON')
    if whole.get("version") != VERSION:
        raise TracksError(
            f"version {whole.get('version')!r}; this gar-video reads version {VERSION}; "
            "save it again with the gar-video that is installed, or update"
        )
    size, length = _need(whole, "resolution_wh", list), _need(whole, "num_frames", int)
    known = whole.get("num_frames_known", True)
    if not known and source.num_frames is not None and source.num_frames >= length:
        length, known = source.num_frames, True
    builder = source.builder(size, length)
    builder.num_frames_known = bool(known)
    _read_objects(builder, _need(whole, "objects", list))
    ignored = None
    if whole.get("ignored"):
        apart = source.builder(size, length)
        apart.num_frames_known = bool(known)
        _read_objects(apart, _need(whole, "ignored", list))
        ignored = apart.build(allow_empty=True)
    return builder.build(allow_empty=True, ignored=ignored)


def _need(where: dict[str, Any], key: str, kind: type) -> Any:
    value = where.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TracksError(f"{key!r} is {value!r:.40}; expected a {kind.__name__}")
    return value


def _read_objects(builder: TracksBuilder, objects: list[Any]) -> None:
    seen: set[int] = set()
    for entry in objects:
        if not isinstance(entry, dict):
            raise TracksError(f"an object is {entry!r:.40}; expected a dictionary")
        object_id = _need(entry, "id", int)
        if object_id in seen:
            raise TracksError(f"object id {object_id} stands twice; expected once")
        seen.add(object_id)
        builder.add_object(object_id, entry.get("label"))
        if entry.get("source_id") is not None:
            builder.source_ids[object_id] = str(entry["source_id"])
        frames = _need(entry, "frames", list)
        nothing = [None] * len(frames)
        columns = [entry.get(key) or nothing for key in ("rles", "boxes", "scores")]
        if any(not isinstance(c, list) or len(c) != len(frames) for c in columns):
            raise TracksError(
                f"object {object_id} has {len(frames)} frames, but another number of rles, boxes "
                "or scores; expected as many"
            )
        rows = zip(frames, *columns, strict=True)
        for has_mask, group in groupby(rows, key=lambda row: row[1] is not None):
            if has_mask:
                own_frames, counts, _, scores = zip(*group, strict=True)
                builder.add_codes(object_id, own_frames, counts, scores)
                continue
            for frame, _, box, score in group:
                if box is None:
                    raise TracksError(
                        f"object {object_id} has neither mask nor box in frame {frame}"
                    )
                builder.add_box(frame, object_id, box, score)


def write(tracks: Tracks, path: Path) -> None:
    """Write our own JSON."""
    head = {
        "format": _MAGIC,
        "version": VERSION,
        "resolution_wh": list(tracks.resolution_wh),
        "num_frames": tracks.num_frames,
        "num_frames_known": tracks.num_frames_known,
    }
    with whole_file(path) as file:
        file.write(json.dumps(head)[:-1])
        _write_objects(file, "objects", tracks)
        if tracks.ignored is not None:
            _write_objects(file, "ignored", tracks.ignored)
        file.write("}\n")


def _write_objects(file: TextIO, key: str, tracks: Tracks) -> None:
    file.write(f', "{key}": [')
    for index, object_id in enumerate(tracks):
        entry = _entry(tracks[object_id], tracks.source_ids.get(object_id))
        file.write(",\n" if index else "\n")
        # Not json.dump, which writes token by token in Python and takes three times as long.
        file.write(json.dumps(entry, separators=(",", ":"), allow_nan=False))
    file.write("\n]")


def _entry(track: Track, source_id: str | None) -> dict[str, Any]:
    codes = track.codes()
    entry: dict[str, Any] = {"id": track.object_id}
    if track.label is not None:
        entry["label"] = track.label
    if source_id is not None:
        entry["source_id"] = source_id
    entry["frames"] = track.frames.tolist()
    if any(code is not None for code in codes):
        entry["rles"] = codes
    if None in codes:
        boxes = zip(track.boxes_xyxy.tolist(), codes, strict=True)
        entry["boxes"] = [box if code is None else None for box, code in boxes]
    unknown = np.isnan(track.scores)
    if not unknown.all():
        scores = zip(track.scores.tolist(), unknown.tolist(), strict=True)
        entry["scores"] = [None if no_score else score for score, no_score in scores]
    return entry


FORMAT = Format("json", "gar-video JSON", sniff, read, write)
