"""Many RLE codes at once: checked and measured in a few passes of numpy over all their characters.

One by one a code of 300 characters takes 60 calls of numpy, which cost more than their work. Here
a batch is read as one number after the other and measured as one picture, its frames side by side.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_Numbers = npt.NDArray[np.signedinteger]
_Indices = npt.NDArray[np.int64]

_MOST_CHARS = 2**18  # at once; more would fall out of the processor's cache
_MAX_CHARS = 6  # a number: 30 bits with its sign, as much as runs of ``runs.MAX_PIXELS`` can need


def measure(
    codes: Sequence[bytes], resolution_wh: tuple[int, int]
) -> tuple[_Indices, _Indices] | None:
    """Areas and tight boxes of compressed counts, if all are well-formed and written canonically.

    Args:
        codes: COCO's compressed counts, at least one.
        resolution_wh: The frames' ``(width, height)``.

    Returns:
        ``(N,)`` pixels and ``(N, 4)`` boxes xyxy, int64, all 0 where there is no pixel. None if any
        code is malformed, or is not what ``runs.pack`` would write: ``runs.unpack`` tells which.
    """
    if len(codes) > 1 and sum(map(len, codes)) > _MOST_CHARS:
        half = len(codes) // 2
        first, second = measure(codes[:half], resolution_wh), measure(codes[half:], resolution_wh)
        if first is None or second is None:
            return None
        return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
    width, height = resolution_wh
    num_pixels = width * height
    # With edges of all frames below 2**31, nothing below can wrap unseen: numbers have 30 bits,
    # and in each sum the first value out of range still fits.
    dtype: type[np.signedinteger] = np.int32 if len(codes) * num_pixels < 2**31 else np.int64
    numbers = _read(codes, num_pixels, dtype)
    if numbers is None:
        return None
    values, starts, ends = numbers
    is_end = np.zeros(len(values), np.uint8)  # 1 where an object's run ends, 0 where it begins
    is_end[1::2] = 1
    is_end ^= np.repeat((starts & 1).astype(np.uint8), ends - starts)
    runs = _undo_differences(values, starts, ends)
    if runs.min() < 0 or runs.max() > num_pixels:
        return None
    if np.count_nonzero(runs) + np.count_nonzero(runs[starts] == 0) < len(runs):
        return None  # an empty run that is not the first
    edges = np.cumsum(runs, dtype=dtype)
    frames = np.arange(len(codes))
    if edges.min() < 0 or (edges[ends - 1] != (frames + 1) * num_pixels).any():
        return None

    areas = np.add.reduceat(runs * is_end, starts, dtype=dtype).astype(np.int64)
    pixels = edges - is_end  # first and last pixel of each of the object's runs
    columns = pixels // dtype(height)
    rows = pixels - columns * dtype(height)
    open_end = (ends - starts) % 2  # 1 where empty pixels end the frame; they are no run's
    rows[(ends - 1)[open_end == 1]] = rows[starts[open_end == 1]]
    is_over = np.zeros(len(runs), np.bool_)  # runs that go over a column's end
    is_over[1:] = (columns[1:] != columns[:-1]) & is_end[1:].view(np.bool_)
    is_tall = np.logical_or.reduceat(is_over, starts)
    boxes = np.empty((len(codes), 4), np.int64)
    boxes[:, 0] = columns[starts] - frames * width
    boxes[:, 1] = np.where(is_tall, 0, np.minimum.reduceat(rows, starts))
    boxes[:, 2] = columns[ends - 1 - open_end] - frames * width + 1
    boxes[:, 3] = np.where(is_tall, height, np.maximum.reduceat(rows, starts) + 1)
    boxes[areas == 0] = 0
    return areas, boxes


def _read(
    codes: Sequence[bytes], num_pixels: int, dtype: type[np.signedinteger]
) -> tuple[_Numbers, _Indices, _Indices] | None:
    """Read the numbers that codes hold, and where each code's begin and end among them."""
    lengths = np.fromiter(map(len, codes), np.int64, len(codes))
    if lengths.min() == 0 or lengths.max() > _MAX_CHARS * (num_pixels + 2):
        return None
    chars = np.frombuffer(b"".join(codes), np.uint8) - np.uint8(48)
    if chars.max() > 63:
        return None
    stops = np.cumsum(lengths)
    if (chars[stops - 1] >= 32).any():  # a number is cut off
        return None
    last = np.flatnonzero(chars < 32)  # of each number; it holds the highest bits and the sign
    ends = np.searchsorted(last, stops)
    starts = np.concatenate([[0], ends[:-1]])
    values = ((chars[last] ^ 16).view(np.int8) - np.int8(16)).astype(dtype)
    size = last + 1
    size[1:] -= size[:-1].copy()
    if size.max() > _MAX_CHARS:
        return None
    number, place = np.flatnonzero(size > 1), 1
    while len(number):
        bits = (chars[last[number] - place] & 31).astype(dtype)
        high = values[number]
        if place == 1 and (high == -(bits >> 4)).any():  # fewer characters would do
            return None
        values[number] = high * 32 + bits
        place += 1
        number = number[size[number] > place]
    return values, starts, ends


def _undo_differences(values: _Numbers, starts: _Indices, ends: _Indices) -> _Numbers:
    """Turn numbers into runs: from each code's fourth on they are less the run before last."""
    runs = np.empty_like(values)
    for half in (0, 1):  # every second number, added up over all codes
        every_second = values[half::2]
        sums = np.zeros(len(every_second) + 1, values.dtype)
        np.cumsum(every_second.copy(), out=sums[1:])  # the copy makes it twice as fast
        first, end = (starts + 1 - half) // 2, (ends + 1 - half) // 2
        # What came before a code's own second and third number; its first stands alone.
        before = sums[first + (starts % 2 == half)]
        runs[half::2] = sums[1:] - np.repeat(before, end - first)
    runs[starts] = values[starts]
    return runs
