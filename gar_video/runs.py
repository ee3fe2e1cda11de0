"""Run lengths of a mask: counted, written as COCO writes them, measured and drawn. Pure numpy.

Counts are the runs of 0 and 1 pixels in turn, column by column. Canonical ones have no empty run
but the first, so that equal masks have equal counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError

MAX_PIXELS = 2**28  # 16,384 x 16,384; a file that claims more is damaged or hostile
_MAX_CHARS = 7  # per run in compressed counts: 35 bits, more than MAX_PIXELS can need

BoolMask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


def check_resolution(resolution_wh: Any) -> tuple[int, int]:
    """Return ``(width, height)`` as Python ints.

    Raises:
        TracksError: If it is not two whole numbers from 1 on, or claims over ``MAX_PIXELS``.
    """
    try:
        width, height = resolution_wh
        wh = int(width), int(height)
        whole = wh == (width, height) and not isinstance(width, bool)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or min(wh) < 1:
        raise TracksError(f"frame size {resolution_wh!r}; expected (width, height) in whole pixels")
    if wh[0] * wh[1] > MAX_PIXELS:
        raise TracksError(
            f"frame size {wh[0]}x{wh[1]} claims {wh[0] * wh[1]:,} pixels; "
            f"expected at most {MAX_PIXELS:,}; the file is damaged"
        )
    return wh


def counts_of_mask(mask: npt.ArrayLike) -> Counts:
    """Count the runs of an ``(H, W)`` mask; non-zero pixels belong to the object.

    Raises:
        TracksError: If the mask is not two-dimensional or has no pixels at all.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0:
        raise TracksError(f"mask of shape {array.shape}; expected (height, width)")
    check_resolution((array.shape[1], array.shape[0]))
    if array.dtype != np.bool_:
        array = array != 0
    height = array.shape[0]
    rows = np.flatnonzero(array.any(axis=1))
    if len(rows) == 0:
        return np.array([array.size], np.int64)
    y_0, y_1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(array[y_0:y_1].any(axis=0))
    x_0, x_1 = int(columns[0]), int(columns[-1]) + 1
    # One empty pixel before the first and after each column: every run starts and ends inside it.
    stride = y_1 - y_0 + 1
    padded = np.zeros(1 + (x_1 - x_0) * stride, np.bool_)
    padded[1:].reshape(x_1 - x_0, stride)[:, :-1] = array[y_0:y_1, x_0:x_1].T
    column, row = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), stride)
    edges = (x_0 + column) * height + (y_0 + row)
    return _counts_of_edges(edges, array.size)


def _counts_of_edges(edges: Counts, num_pixels: int) -> Counts:
    """Turn positions where runs of 1 start and end, in turn, into canonical counts."""
    counts = np.diff(edges, prepend=0, append=num_pixels)
    return canonical(counts)


def canonical(counts: Counts) -> Counts:
    """Merge runs around empty ones, so that equal masks have equal counts."""
    if counts[1:].all():
        return counts
    value = np.arange(len(counts)) % 2
    kept = counts > 0
    counts, value = counts[kept], value[kept]
    first = np.flatnonzero(np.diff(value, prepend=-1))
    merged = np.add.reduceat(counts, first)
    return merged if value[0] == 0 else np.concatenate([[0], merged])


def counts_of_rectangle(box: tuple[int, int, int, int], resolution_wh: tuple[int, int]) -> Counts:
    """Counts of a filled rectangle ``(x_0, y_0, x_1, y_1)``, its ends exclusive."""
    width, height = resolution_wh
    x_0, y_0, x_1, y_1 = box
    starts = np.arange(x_0, x_1, dtype=np.int64) * height
    edges = np.stack([starts + y_0, starts + y_1], axis=1).ravel()
    return _counts_of_edges(edges, width * height)


def pack(counts: Counts) -> bytes:
    """Write counts in COCO's compressed form.

    From the fourth on, each count stands as its difference from the one before last; a number is
    written in groups of five bits, lowest first, as ``chr(48 + group + 32 * more)``.
    """
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    magnitude = np.where(values < 0, ~values, values)
    num_chars = np.ones(len(values), np.int64)
    for chars in range(1, _MAX_CHARS):
        num_chars += magnitude >= 1 << (5 * chars - 1)
    place = np.arange(int(num_chars.max()))
    groups = (values[:, None] >> (5 * place)) & 31
    groups += np.where(place < num_chars[:, None] - 1, 32 + 48, 48)
    return groups.astype(np.uint8)[place < num_chars[:, None]].tobytes()


def unpack(packed: bytes, num_pixels: int) -> Counts:
    """Read COCO's compressed counts.

    Raises:
        TracksError: If a character is not of the code, the last number is cut off, or the runs do
            not add up to ``num_pixels``.
    """
    chars = np.frombuffer(packed, np.uint8).astype(np.int64) - 48
    if len(chars) == 0 or len(chars) > _MAX_CHARS * (num_pixels + 2):
        raise TracksError(f"RLE of {len(chars)} characters for {num_pixels} pixels is malformed")
    last = np.flatnonzero(chars & 32 == 0)
    if chars.min() < 0 or chars.max() > 63 or len(last) == 0 or last[-1] != len(chars) - 1:
        raise TracksError("RLE counts are malformed; expected COCO's compressed counts")
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > _MAX_CHARS:
        raise TracksError("RLE counts hold a number out of range; the file is damaged")
    place = np.arange(len(chars)) - np.repeat(first, length)
    counts = np.add.reduceat((chars & 31) << (5 * place), first)
    negative = chars[last] & 16 != 0
    counts[negative] -= np.int64(1) << (5 * length[negative])
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return checked(counts, num_pixels)


def checked(counts: Counts, num_pixels: int) -> Counts:
    """Return canonical counts, or raise TracksError unless they cover the frame exactly."""
    if len(counts) == 0 or counts.min() < 0 or counts.max() > num_pixels:
        raise TracksError("RLE counts hold a run out of range; the file is damaged")
    total = int(counts.sum())
    if total != num_pixels:
        raise TracksError(
            f"RLE counts add up to {total} pixels, but its size says {num_pixels}; "
            "expected them equal"
        )
    return canonical(counts)


def box_of_counts(counts: Counts, height: int) -> tuple[int, int, int, int] | None:
    """Tight rectangle ``(x_0, y_0, x_1, y_1)`` around the object, ends exclusive; None if empty."""
    if len(counts) < 2:
        return None
    edges = np.cumsum(counts)
    starts, ends = edges[0:-1:2], edges[1::2] - 1  # ends inclusive here
    x_0, x_1 = int(starts[0]) // height, int(ends[-1]) // height + 1
    first_row, last_row = starts % height, ends % height
    if (starts // height != ends // height).any():  # a run that goes over a column's end
        return x_0, 0, x_1, height
    return x_0, int(first_row.min()), x_1, int(last_row.max()) + 1


def mask_of_counts(counts: Counts, resolution_wh: tuple[int, int]) -> BoolMask:
    """Draw counts as an ``(H, W)`` bool array, row-major."""
    width, height = resolution_wh
    mask = np.zeros((height, width), np.bool_)
    box = box_of_counts(counts, height)
    if box is not None:
        x_0, y_0, x_1, y_1 = box
        edges = np.cumsum(counts)[: len(counts) // 2 * 2] - x_0 * height
        runs = np.diff(edges, prepend=0, append=(x_1 - x_0) * height)
        columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(x_1 - x_0, height)
        mask[y_0:y_1, x_0:x_1] = columns[:, y_0:y_1].T
    return mask
