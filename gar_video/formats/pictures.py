"""Reading and writing single mask PNGs, and which frame a file's number means."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gar_video.errors import TracksError
from gar_video.runs import check_resolution

_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def png_files(folder: Path) -> list[Path]:
    """PNG files of a folder in natural order, hidden ones left out."""
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() == ".png" and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(files, key=lambda path: natural_key(path.name))


def natural_key(name: str) -> list[Any]:
    """Sort key by which ``frame10`` follows ``frame9``."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def number_of(path: Path) -> int:
    """Frame number in a file's name: the last run of digits.

    Raises:
        TracksError: If there is none.
    """
    found = _LAST_NUMBER.search(path.stem)
    if found is None or len(found[1]) > 9:
        raise TracksError(f"{path.name} has no frame number in its name; expected as in 00012.png")
    return int(found[1])


def read_png(path: Path, resolution_wh: tuple[int, int] | None) -> tuple[npt.NDArray[Any], str]:
    """Read a PNG's values without turning a palette into colours.

    Args:
        path: The file.
        resolution_wh: The size it must have, checked before it is decoded; None for any.

    Returns:
        ``(H, W)`` or ``(H, W, channels)`` array, and Pillow's mode (``"P"``, ``"L"``, …).

    Raises:
        TracksError: If it is no PNG, damaged, or of another size.
    """
    size = check_resolution(png_header(path)[:2])
    if resolution_wh is not None and size != tuple(resolution_wh):
        raise TracksError(
            f"{path.name} has {size[0]}x{size[1]} pixels; "
            f"expected {resolution_wh[0]}x{resolution_wh[1]} like the frames"
        )
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # own limit above
            with Image.open(path, formats=("PNG",)) as image:
                return np.array(image), image.mode
    # ImportError: where Ultralytics is loaded, Image.open looks for a HEIF reader when it fails.
    except (OSError, SyntaxError, ValueError, ImportError, Image.DecompressionBombError) as error:
        raise TracksError(f"{path.name} is damaged ({str(error).splitlines()[0]})") from None


def png_header(path: Path) -> tuple[int, int, int, int]:
    """Width, height, bits a channel and kind of colour (0 gray, 3 palette) of a PNG.

    Raises:
        TracksError: If it is no PNG.
    """
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise TracksError(f"{path.name} is no PNG; expected a mask picture")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:])
    return width, height, bits, colour


def read_ids(path: Path, resolution_wh: tuple[int, int] | None) -> tuple[npt.NDArray[Any], str]:
    """Read a palette or gray PNG whose values are object ids; see ``read_png``."""
    values, mode = read_png(path, resolution_wh)
    if values.ndim != 2:
        raise TracksError(f"{path.name} is a colour picture; expected palette or gray, value = id")
    if values.dtype == np.bool_:  # one bit a pixel: black and white
        values = values.astype(np.uint8) * 255
    return values, mode


def ids_in(values: npt.NDArray[Any], path: Path) -> list[int]:
    """Object ids in a picture, background left out.

    Raises:
        TracksError: If there are so many that it must be a photograph or a depth map.
    """
    ids = np.unique(values[values != 0])
    most = 200 if values.dtype == np.uint8 else 1000
    if len(ids) > most:
        raise TracksError(f"{path.name} holds {len(ids)} values; expected {most} ids at most")
    return [int(value) for value in ids]


def read_binary(path: Path, resolution_wh: tuple[int, int] | None) -> npt.NDArray[np.bool_]:
    """Read one object's mask: every pixel that is not black and not transparent."""
    values, mode = read_png(path, resolution_wh)
    if mode in ("RGBA", "LA"):
        return (values[..., :-1] != 0).any(axis=-1) & (values[..., -1] != 0)
    return (values != 0).any(axis=-1) if values.ndim == 3 else values != 0


def frame_indices(
    numbers: Sequence[int], num_frames: int | None, every_frame: bool
) -> tuple[dict[int, int], bool]:
    """Which frame each number in a file's name means.

    Numbers are taken as 0-based frames, but: where a folder has one file for each frame, the
    n-th file is the n-th frame; and numbers from 1 to the number of frames count from 1.

    Args:
        numbers: The numbers found.
        num_frames: The video's length, if known.
        every_frame: Whether the layout has a file for each frame, also for empty ones.

    Returns:
        Number to frame, and whether the files alone say how long the video is.

    Raises:
        TracksError: If they do not fit the video.
    """
    ordered = sorted(set(numbers))
    first, last, count = ordered[0], ordered[-1], len(ordered)
    in_a_row = last - first + 1 == count
    if num_frames is None:
        from_one = every_frame and in_a_row and first == 1
        return {n: n - from_one for n in ordered}, every_frame and in_a_row and first <= 1
    if every_frame and count == num_frames:
        return {number: index for index, number in enumerate(ordered)}, True
    if every_frame and in_a_row and first <= 1:
        raise TracksError(
            f"masks for {count} frames, but the video has {num_frames}; expected as many"
        )
    if last < num_frames:
        return {n: n for n in ordered}, False
    if last == num_frames and first >= 1:
        return {n: n - 1 for n in ordered}, False
    raise TracksError(f"a mask for frame {last}, but the video has frames 0 to {num_frames - 1}")


@cache
def palette() -> list[int]:
    """256 colours in which neighbouring ids differ, black for 0 (the bits of an id, dealt out)."""
    colours = []
    for index in range(256):
        rgb = [0, 0, 0]
        for bit in range(8):
            rgb[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
        colours += rgb
    return colours


def write_ids(path: Path, ids: npt.NDArray[np.uint8]) -> None:
    """Write ``(H, W)`` uint8 ids as a palette PNG."""
    from PIL import Image

    image = Image.fromarray(ids, mode="P")
    image.putpalette(palette())
    image.save(path)


def write_gray(path: Path, values: npt.NDArray[Any]) -> None:
    """Write ``(H, W)`` uint8 or uint16 values as a gray PNG."""
    from PIL import Image

    Image.fromarray(values).save(path)
