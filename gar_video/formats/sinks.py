"""Files of supervision's ``JSONSink`` and ``CSVSink``, read only: a row per detection.

The frame stands in a column that the user adds, as in supervision's own examples:
``sink.append(detections, custom_data={"frame_index": index})``; it counts from 0.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from typing import Any

from gar_video.errors import TracksError
from gar_video.formats.numbers import decimal
from gar_video.formats.source import Format, Source
from gar_video.regions import whole
from gar_video.tracks import Tracks

_BOX = ("x_min", "y_min", "x_max", "y_max")
_FRAME = ("frame_index", "frame_idx", "frame_number", "frame_id", "frame_no", "frame")


def _sniff_json(source: Source) -> bool:
    if not source.looks_like_json or not isinstance(source.json, list) or not source.json:
        return False
    first = source.json[0]
    return isinstance(first, dict) and all(key in first for key in (*_BOX, "tracker_id"))


def _sniff_csv(source: Source) -> bool:
    header = source.head.split("\n", 1)[0].strip().split(",")
    return all(key in header for key in (*_BOX, "tracker_id"))


def _rows_of_json(source: Source) -> Iterator[dict[str, Any]]:
    if not isinstance(source.json, list):
        raise TracksError("expected a list of rows")
    yield from source.json


def _rows_of_csv(source: Source) -> Iterator[dict[str, Any]]:
    with source.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            rows = csv.DictReader(file)
            if not {*_BOX, "tracker_id"} <= set(rows.fieldnames or ()):
                raise TracksError(f"its first line does not name {', '.join(_BOX)}, tracker_id")
            yield from rows
        except csv.Error as error:
            raise TracksError(f"not valid CSV ({error}); the file is damaged") from None


def _read(source: Source, rows: Iterator[dict[str, Any]]) -> Tracks:
    builder = source.builder()
    frame_key = None
    for number, row in enumerate(rows, 1):
        if number == 1:
            frame_key = next((key for key in _FRAME if key in row), None)
            if frame_key is None:
                raise TracksError(
                    "no column says which frame a row belongs to; write it with "
                    "sink.append(detections, custom_data={'frame_index': index})"
                )
        assert frame_key is not None
        try:
            _add_row(builder, row, frame_key)
        except TracksError as error:
            raise TracksError(f"row {number}: {error}") from None
    return builder.build()


def _add_row(builder: Any, row: dict[str, Any], frame_key: str) -> None:
    missing = [key for key in (*_BOX, frame_key) if row.get(key) in (None, "")]
    if missing:
        raise TracksError(f"no {missing[0]} in it; the file is cut off or damaged")
    object_id = row.get("tracker_id")
    if object_id in (None, ""):
        raise TracksError("it has no tracker_id; run a tracker over the detections first")
    if str(object_id) == "-1":  # a track that is not confirmed yet
        return
    with contextlib.suppress(ValueError):  # tables may turn ids into 3.0; names stay as they are
        object_id = float(str(object_id))
    frame = whole(float(decimal(row[frame_key])), "frame")
    box = [float(decimal(row[key])) for key in _BOX]
    score = row.get("confidence")
    label = row.get("class_name")
    builder.add_box(
        frame,
        object_id,
        box,
        None if score in (None, "") else float(decimal(score)),
        None if label in (None, "", "None") else str(label),
    )


JSON = Format(
    "supervision_json",
    "supervision JSONSink file",
    _sniff_json,
    lambda source: _read(source, _rows_of_json(source)),
)
CSV = Format(
    "supervision_csv",
    "supervision CSVSink file",
    _sniff_csv,
    lambda source: _read(source, _rows_of_csv(source)),
)
