"""Trackers' live output: recognised by attributes and shape, their packages never imported.

- supervision's ``Detections`` (also what Roboflow's trackers return): ``xyxy``, ``tracker_id``;
- Ultralytics' ``Results``: ``boxes`` (or ``obb``), ``orig_shape``, ``names``;
- BoxMOT's arrays: ``(N, 8)`` of x1, y1, x2, y2, id, confidence, class, detection index.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError
from gar_video.formats.detections import add_detections
from gar_video.regions import BadBoxes, whole
from gar_video.tracks import Tracks
from gar_video.tracks_builder import TracksBuilder


def kind_of(item: Any) -> str | None:
    """What one frame's output is: ``"supervision"``, ``"ultralytics"``, ``"boxmot"`` or None."""
    if hasattr(item, "xyxy") and hasattr(item, "tracker_id"):
        return "supervision"
    if hasattr(item, "orig_shape") and (hasattr(item, "boxes") or hasattr(item, "obb")):
        return "ultralytics"
    shape = getattr(item, "shape", None)
    if shape is not None and ((len(shape) == 2 and shape[1] >= 5) or tuple(shape)[:1] == (0,)):
        return "boxmot"
    return None


def add_output(
    builder: TracksBuilder, frame: int, item: Any, names: Mapping[int, str] | None = None
) -> None:
    """Add one frame's output of any known kind.

    Raises:
        TracksError: If it is of no known kind, has no ids, or does not fit.
    """
    kind = kind_of(item)
    if kind == "supervision":
        add_detections(builder, frame, item)
    elif kind == "ultralytics":
        _add_result(builder, frame, item)
    elif kind == "boxmot":
        _add_rows(builder, frame, _array(item), names)
    else:
        raise TracksError(
            f"frame {frame} is {type(item).__name__}; expected sv.Detections, Ultralytics Results "
            "or rows of x1, y1, x2, y2, id, confidence, class"
        )
    builder.see_frame(frame)


def tracks_from_stream(
    outputs: Iterable[Any],
    resolution_wh: tuple[int, int] | None = None,
    num_frames: int | None = None,
    names: Mapping[int, str] | Sequence[str] | None = None,
    bad_boxes: BadBoxes = "clip",
    only: str | None = None,
) -> Tracks:
    """Make tracks of a tracker's output, one item a frame, or pairs ``(frame, item)``.

    Frames in which nothing has an id yet are left out with a warning, as trackers begin so; a
    stream without any id is refused. ``only`` names the one kind that is taken. For the rest see
    ``Tracks.from_results``.
    """
    if names is not None and not isinstance(names, Mapping):
        names = dict(enumerate(names))
    builder: TracksBuilder | None = None
    kind, last, without_ids, boxes = None, -1, 0, 0
    for frame, output in _by_frame(outputs, only):
        kind, last = kind or kind_of(output), max(last, frame)
        found = _found(output)
        if found is None or len(found) == 0:
            continue
        if _ids(output) is None:
            without_ids += 1
            continue
        if builder is None:
            size = resolution_wh or _resolution(output)
            builder = TracksBuilder(size, num_frames, bad_boxes=bad_boxes)
        add_output(builder, frame, output, names)
        boxes += kind == "supervision" and output.mask is None
    if without_ids and builder is None:
        raise TracksError(
            f"{without_ids} frames have detections, but none has ids; run a tracker over them "
            "first (with Ultralytics: model.track, not predict)"
        )
    if builder is None:
        if resolution_wh is None:
            raise TracksError("nothing was detected; pass resolution_wh=(width, height)")
        builder = TracksBuilder(resolution_wh, num_frames)
    builder.see_frame(last)  # a stream that ends with empty frames still had them
    if without_ids:
        _warn(f"{without_ids} frames have detections without ids; these are left out")
    if boxes:
        _warn(
            f"detections of {boxes} frames have boxes but no masks; their regions are the boxes "
            "(boxes_only says so)"
        )
    return builder.build(allow_empty=True, source_format=kind)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)  # the line that called Tracks.from_…


def _by_frame(outputs: Iterable[Any], only: str | None) -> Iterator[tuple[int, Any]]:
    expected = {
        None: "one item a frame: sv.Detections, Ultralytics Results or BoxMOT arrays",
        "supervision": "sv.Detections one a frame, or (frame, sv.Detections)",
    }[only]
    if kind_of(outputs) is not None or not isinstance(outputs, Iterable):
        what = type(outputs).__name__
        raise TracksError(f"got one {what}; expected a list or stream with {expected}")
    for index, item in enumerate(outputs):
        pair = isinstance(item, tuple) and len(item) == 2
        frame, output = item if pair else (index, item)
        kind = kind_of(output)
        if kind is None or only not in (None, kind):
            raise TracksError(f"item {index} is {type(output).__name__}; expected {expected}")
        yield whole(frame, "frame"), output


def _found(output: Any) -> Any:
    """Boxes of one frame's output, which have a length."""
    if kind_of(output) != "ultralytics":
        return output
    turned = getattr(output, "obb", None)
    return turned if turned is not None else output.boxes


def _ids(output: Any) -> Any:
    kind = kind_of(output)
    if kind == "supervision":
        return output.tracker_id
    return _found(output).id if kind == "ultralytics" else output


def _resolution(output: Any) -> tuple[int, int]:
    kind = kind_of(output)
    if kind == "ultralytics":
        height, width = output.orig_shape[:2]
    elif kind == "supervision" and output.mask is not None:
        height, width = output.mask.shape[1:]
    else:
        raise TracksError(
            "boxes do not say how large the frames are; pass resolution_wh=(width, height)"
        )
    return int(width), int(height)


def _array(value: Any) -> npt.NDArray[Any]:
    """Return a tensor (on any device) or array as a numpy array."""
    for step in ("detach", "cpu", "numpy"):
        value = getattr(value, step)() if callable(getattr(value, step, None)) else value
    return np.asarray(value)


def _add_result(builder: TracksBuilder, frame: int, result: Any) -> None:
    turned, found = getattr(result, "obb", None), _found(result)
    if found is None or len(found) == 0:
        return
    if found.id is None:
        raise TracksError(f"frame {frame} has boxes without ids; call model.track, not predict")
    ids, boxes = _array(found.id), _array(found.xyxy)
    scores, classes = _array(found.conf), _array(found.cls)
    names = getattr(result, "names", None) or {}
    corners = None if turned is None else _array(turned.xyxyxyxy).reshape(len(ids), -1)
    for row, object_id in enumerate(ids):
        label = _name(names, classes[row])
        score = float(scores[row])
        mask = [corners[row].tolist()] if corners is not None else _mask(result, row)
        if mask is None:
            builder.add_box(frame, object_id, boxes[row], score, label)
        else:
            builder.add_mask(frame, object_id, mask, score, label)


def _mask(result: Any, row: int) -> Any:
    """Mask of a row: as it is if made at the frame's size, else its outline in frame pixels."""
    masks = getattr(result, "masks", None)
    if masks is None:
        return None
    if tuple(masks.data.shape[1:]) == tuple(result.orig_shape[:2]):
        return _array(masks.data[row]) > 0.5
    outline = np.asarray(masks.xy[row], np.float64)
    return [outline.ravel()] if len(outline) >= 3 else None


def _add_rows(
    builder: TracksBuilder, frame: int, rows: npt.NDArray[Any], names: Mapping[int, str] | None
) -> None:
    for row in rows.reshape(len(rows), -1) if len(rows) else ():
        score = float(row[5]) if len(row) > 5 else None
        label = _name(names or {}, row[6]) if len(row) > 6 else None
        builder.add_box(frame, row[4], row[:4], score, label)


def _name(names: Any, number: Any) -> str | None:
    try:
        return str(names[int(number)])
    except (KeyError, IndexError, ValueError, OverflowError):
        return None
