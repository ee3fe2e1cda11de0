"""Label Studio's video JSON, read only: ``videorectangle`` results with keyframes.

Boxes are in percent of the frame, frames count from 1, and ``enabled`` says whether the object is
there until the next keyframe (after the last one: to the end). Regions are named by random text,
which is mapped to ids and kept.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gar_video.errors import TracksError
from gar_video.formats.keyframes import Keyframe, Shape, add_tracks
from gar_video.formats.source import Format, Source
from gar_video.regions import check_frame, whole
from gar_video.tracks import Tracks

_TYPE = "videorectangle"


def sniff(source: Source) -> bool:
    """Tell by results of type ``videorectangle``."""
    if not source.looks_like_json:
        return False
    tasks = source.json if isinstance(source.json, list) else [source.json]
    return any(isinstance(task, dict) and _regions(task) for task in tasks[:100])


def _results(task: dict[str, Any]) -> list[dict[str, Any]]:
    """Results of the first annotation that was not cancelled, else of the first prediction."""
    done = [a for a in task.get("annotations") or [] if not a.get("was_cancelled")]
    for entry in [*done, *(task.get("predictions") or [])]:
        if entry.get("result"):
            return list(entry["result"])
    return list(task.get("result") or [])


def _regions(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in _results(task) if isinstance(r, dict) and r.get("type") == _TYPE]


def _pick_task(source: Source) -> dict[str, Any]:
    if isinstance(source.json, dict):
        return source.json
    tasks: list[dict[str, Any]] = [task for task in source.json if _regions(task)]
    if source.sequence is not None:
        tasks = [task for task in tasks if source.sequence in _task_names(task)]
    elif len(tasks) > 1 and source.video_name is not None:
        # Uploaded files get something random before their name.
        stem = Path(source.video_name).stem
        tasks = [t for t in tasks if any(Path(n).stem.endswith(stem) for n in _task_names(t))]
    if len(tasks) != 1:
        known = ", ".join(str(task.get("id")) for task in source.json[:8])
        raise TracksError(
            f"{len(tasks)} of its tasks fit; pass sequence=, the id of one task ({known})"
        )
    return tasks[0]


def _task_names(task: dict[str, Any]) -> set[str]:
    data = task.get("data") or {}
    return {str(task.get("id"))} | {value for value in data.values() if isinstance(value, str)}


def read(source: Source) -> Tracks:
    """Read one task's video regions."""
    regions = _regions(_pick_task(source))
    if not regions:
        raise TracksError(f"no results of type {_TYPE!r}; expected a video labelling task")
    builder = source.builder(None, _length(regions))
    width, height = builder.resolution_wh
    objects = []
    for region in regions:
        value = region["value"]
        name = region.get("id") or (value.get("meta") or {}).get("id")
        if name is None:
            raise TracksError("a region has no id; expected one each")
        labels = value.get("labels") or []
        builder.add_object(name, labels[0] if labels else None)
        keyframes = [_keyframe(entry, width, height) for entry in value["sequence"]]
        objects.append((name, keyframes, builder.num_frames))
    add_tracks(builder, objects)
    return builder.build(allow_empty=True)


def _length(regions: list[dict[str, Any]]) -> int | None:
    lengths = {r["value"]["framesCount"] for r in regions if r["value"].get("framesCount")}
    if len(lengths) > 1:
        raise TracksError(f"regions with different framesCount {sorted(lengths)}; expected one")
    return whole(lengths.pop(), "framesCount") if lengths else None


def _keyframe(entry: dict[str, Any], width: int, height: int) -> Keyframe:
    frame = whole(entry["frame"], "frame")
    if frame < 1:
        raise TracksError(f"frame {frame}; Label Studio counts frames from 1")
    x, y, w, h = (float(entry[key]) for key in ("x", "y", "width", "height"))
    box = (
        x * width / 100,
        y * height / 100,
        (x + w) * width / 100,
        (y + h) * height / 100,
    )
    rotation = float(entry.get("rotation") or 0)
    if rotation % 360:
        box = _about_corner(box, rotation)
    shape = Shape(box=box, rotation=rotation)
    return Keyframe(check_frame(frame - 1), shape, bool(entry.get("enabled", True)))


def _about_corner(
    box: tuple[float, float, float, float], degrees: float
) -> tuple[float, float, float, float]:
    """Move a box so that a turn about its centre equals Label Studio's about its corner."""
    x_1, y_1, x_2, y_2 = box
    half_w, half_h = (x_2 - x_1) / 2, (y_2 - y_1) / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    centre_x = x_1 + half_w * cos - half_h * sin
    centre_y = y_1 + half_w * sin + half_h * cos
    return centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h


FORMAT = Format("label_studio", "Label Studio video JSON", sniff, read)
