"""Masks of one object in one frame: run-length coded, as boxes, resized. Pure numpy.

An RLE is COCO's compressed form, ``{"size": [height, width], "counts": str}``: pixels counted
column by column, the first run empty pixels. What comes from outside goes through ``as_rle`` or
``decode``, which check it in Python; malformed counts never reach native code.

Measured on discs of 300 pixels across in 1080p frames, one mask, one core:
encode 0.3 ms here, 1.0 pycocotools (with cv2.transpose; 2.5 without), 2.4 supervision;
decode to a row-major array 0.2 ms here, 1.9 pycocotools, 2.1 supervision. Ours is fastest because
only the rectangle around the object is transposed. pycocotools still draws polygons, whose exact
pixels COCO defines by that code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError
from gar_video.runs import (
    BoolMask,
    Counts,
    box_of_counts,
    check_resolution,
    checked,
    counts_of_mask,
    mask_of_counts,
    pack,
    unpack,
)


class RLE(TypedDict):
    """COCO compressed run-length code: ``size`` is ``[height, width]``, ``counts`` ASCII."""

    size: list[int]
    counts: str


# -- RLE dictionaries ------------------------------------------------------------------------------


def encode(mask: npt.ArrayLike) -> RLE:
    """Code an ``(H, W)`` mask; non-zero pixels belong to the object.

    Raises:
        TracksError: If the mask is not two-dimensional.
    """
    array = np.asarray(mask)
    counts = counts_of_mask(array)
    return {"size": [int(array.shape[0]), int(array.shape[1])], "counts": pack(counts).decode()}


def encode_many(masks: Iterable[npt.ArrayLike]) -> list[RLE]:
    """Code ``(N, H, W)`` masks, one RLE each."""
    return [encode(mask) for mask in masks]


def decode(rle: Any) -> BoolMask:
    """Draw an RLE (compressed or uncompressed counts) as an ``(H, W)`` bool array.

    Raises:
        TracksError: If the RLE is malformed.
    """
    counts, resolution_wh = _counts_of_rle(rle)
    return mask_of_counts(counts, resolution_wh)


def area(rle: Any) -> int:
    """Number of the object's pixels in an RLE.

    Raises:
        TracksError: If the RLE is malformed.
    """
    return int(_counts_of_rle(rle)[0][1::2].sum())


def box_xyxy(rle_or_mask: Any) -> npt.NDArray[np.float64] | None:
    """Tight box around the object, in pixel edges.

    Args:
        rle_or_mask: An RLE or an ``(H, W)`` mask.

    Returns:
        ``(x_min, y_min, x_max, y_max)`` float64, where a single pixel at column 3 spans 3 to 4;
        None if there is no pixel.

    Raises:
        TracksError: If the RLE is malformed or the mask not two-dimensional.
    """
    if isinstance(rle_or_mask, dict):
        counts, (_, height) = _counts_of_rle(rle_or_mask)
        box = box_of_counts(counts, height)
        return None if box is None else np.array(box, np.float64)
    mask = np.asarray(rle_or_mask)
    if mask.ndim != 2 or mask.size == 0:
        raise TracksError(f"mask of shape {mask.shape}; expected (height, width)")
    rows = np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float64)


def _counts_of_rle(rle: Any) -> tuple[Counts, tuple[int, int]]:
    """Validate an RLE dictionary; return its canonical counts and ``(width, height)``."""
    if not isinstance(rle, dict) or "counts" not in rle or "size" not in rle:
        raise TracksError(
            f"RLE is {_short(rle)}; expected {{'size': [height, width], 'counts': …}}"
        )
    size, counts = rle["size"], rle["counts"]
    if not isinstance(size, (list, tuple, np.ndarray)) or len(size) != 2:
        raise TracksError(f"RLE size {_short(size)}; expected [height, width]")
    width, height = check_resolution((size[1], size[0]))
    if isinstance(counts, str):
        try:
            counts = counts.encode("ascii")
        except UnicodeEncodeError:
            raise TracksError("RLE counts are not ASCII; expected COCO's code") from None
    if isinstance(counts, bytes):
        return unpack(counts, width * height), (width, height)
    if not isinstance(counts, (list, tuple, np.ndarray)):
        raise TracksError(f"RLE counts are {_short(counts)}; expected a string or a list of runs")
    if len(counts) > width * height + 2:
        raise TracksError(f"RLE of {len(counts)} runs for {width * height} pixels is malformed")
    try:
        runs = np.asarray(counts)
    except ValueError:
        runs = np.empty(0)
    if runs.ndim != 1 or not np.issubdtype(runs.dtype, np.integer):
        raise TracksError("uncompressed RLE counts; expected a list of whole numbers")
    return checked(runs.astype(np.int64), width * height), (width, height)


def counts_of_segmentation(segmentation: Any, resolution_wh: tuple[int, int]) -> Counts:
    """Counts of anything ``as_rle`` takes; see there."""
    width, height = check_resolution(resolution_wh)
    if isinstance(segmentation, dict):
        counts, size_wh = _counts_of_rle(segmentation)
    elif isinstance(segmentation, np.ndarray) and _is_mask(segmentation):
        counts, size_wh = counts_of_mask(segmentation), segmentation.shape[::-1]
    elif isinstance(segmentation, (list, tuple, np.ndarray)):
        return _counts_of_polygons(list(segmentation), width, height)
    else:
        raise TracksError(
            f"segmentation is {_short(segmentation)}; expected an RLE, polygons or a mask"
        )
    if tuple(size_wh) != (width, height):
        raise TracksError(
            f"mask of {size_wh[0]}x{size_wh[1]} pixels for frames of {width}x{height}; "
            "expected the video's own size"
        )
    return counts


def as_rle(segmentation: Any, resolution_wh: tuple[int, int]) -> RLE:
    """Bring a mask in any of COCO's forms into the compressed one.

    Args:
        segmentation: An RLE with compressed (``str``, ``bytes``) or uncompressed (list) counts;
            polygons ``[[x1, y1, x2, y2, ...], ...]`` in pixels, of which the union counts; one flat
            polygon; or an ``(H, W)`` mask of bool or integers.
        resolution_wh: The frame's ``(width, height)``; an RLE's size must equal it.

    Raises:
        TracksError: If it is malformed or of another size.
    """
    counts = counts_of_segmentation(segmentation, resolution_wh)
    return {"size": [resolution_wh[1], resolution_wh[0]], "counts": pack(counts).decode()}


def _is_mask(array: npt.NDArray[Any]) -> bool:
    return array.dtype == np.bool_ or (array.ndim == 2 and np.issubdtype(array.dtype, np.integer))


def _counts_of_polygons(polygons: Sequence[Any], width: int, height: int) -> Counts:
    """Union of polygons, drawn by pycocotools after every coordinate is checked."""
    import pycocotools.mask as coco

    if len(polygons) > 0 and np.isscalar(polygons[0]):
        polygons = [polygons]
    limit = 16 * max(width, height)  # far outside the frame: native code would allocate by it
    rings = []
    for polygon in polygons:
        try:
            ring = np.asarray(polygon, dtype=np.float64).ravel()
        except (TypeError, ValueError):
            raise TracksError(f"polygon {_short(polygon)}; expected [x1, y1, x2, y2, …]") from None
        if len(ring) < 6 or len(ring) % 2:
            raise TracksError(f"polygon of {len(ring)} numbers; expected three or more x, y pairs")
        if not np.isfinite(ring).all() or np.abs(ring).max() > limit:
            raise TracksError(
                f"polygon holds NaN or lies far outside the {width}x{height} frame; "
                "expected pixel coordinates"
            )
        rings.append(ring.tolist())
    if not rings:
        return np.array([width * height], np.int64)
    merged = coco.merge(coco.frPyObjects(rings, height, width))
    return unpack(merged["counts"], width * height)


# -- boxes and sizes -------------------------------------------------------------------------------


def pixels_of_box(
    xyxy: Sequence[float] | npt.NDArray[np.float64], resolution_wh: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Whole pixels that a box covers: those whose centre lies in it, at least one each way.

    Returns:
        ``(x_0, y_0, x_1, y_1)``, ends exclusive, cut to the frame; None where the box has no area
        or lies outside the frame.
    """
    x_1, y_1, x_2, y_2 = (float(v) for v in xyxy)
    if not (x_1 < x_2 and y_1 < y_2):
        return None
    spans = []
    for low, high, size in ((x_1, x_2, resolution_wh[0]), (y_1, y_2, resolution_wh[1])):
        low, high = max(low, 0.0), min(high, float(size))
        if low >= high:
            return None
        first, end = math.floor(low + 0.5), math.floor(high + 0.5)
        if first >= end:  # thinner than a pixel and over no centre: the pixel it lies in
            first = min(math.floor((low + high) / 2), size - 1)
            end = first + 1
        spans.append((first, end))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def from_box(xyxy: Sequence[float], resolution_wh: tuple[int, int]) -> BoolMask:
    """Draw a box as a mask.

    Args:
        xyxy: ``(x_min, y_min, x_max, y_max)`` in pixel edges; sub-pixel boxes take the pixels
            whose centres they hold, at least one.
        resolution_wh: The frame's ``(width, height)``.

    Returns:
        ``(H, W)`` bool; all False where the box has no area or lies outside the frame.

    Raises:
        TracksError: If a coordinate is not finite.
    """
    width, height = check_resolution(resolution_wh)
    if len(xyxy) != 4 or not np.isfinite(np.asarray(xyxy, np.float64)).all():
        raise TracksError(f"box {_short(xyxy)}; expected four finite numbers X1,Y1,X2,Y2")
    mask = np.zeros((height, width), np.bool_)
    box = pixels_of_box(xyxy, (width, height))
    if box is not None:
        mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def resize(mask: npt.ArrayLike, resolution_wh: tuple[int, int]) -> BoolMask:
    """Resize an ``(H, W)`` mask by nearest neighbour, pixel centre to pixel centre.

    Raises:
        TracksError: If the mask is not two-dimensional or the size not positive.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0:
        raise TracksError(f"mask of shape {array.shape}; expected (height, width)")
    width, height = check_resolution(resolution_wh)
    rows = (np.arange(height) * 2 + 1) * array.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * array.shape[1] // (2 * width)
    return array[rows[:, None], columns] != 0


def _short(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"
