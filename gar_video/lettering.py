"""Words in pictures: wrapped lines, tags and panels of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

Picture = npt.NDArray[np.uint8]
RGB = tuple[int, int, int]

PAPER: RGB = (250, 250, 248)
INK: RGB = (28, 28, 30)
FAINT: RGB = (120, 120, 124)
# Apart from each other in hue and lightness, for most kinds of colour vision as well.
_COLORS: tuple[RGB, ...] = (
    (230, 60, 60), (40, 120, 240), (250, 190, 30), (30, 170, 90), (170, 70, 220),
    (20, 190, 210), (245, 120, 30), (240, 110, 190), (130, 150, 30), (120, 85, 60),
)  # fmt: skip


def object_colors(object_ids: Sequence[int]) -> dict[int, RGB]:
    """Return an RGB colour for each object, the same for the same list of ids."""
    return {object_id: _COLORS[at % len(_COLORS)] for at, object_id in enumerate(object_ids)}


@lru_cache(maxsize=256)
def label(text: str, size: int, color: RGB) -> Picture:
    """Return a filled tag with a word on it, ``(H, W, 3)``; read-only.

    Args:
        text: The word.
        size: Height of the letters, in pixels.
        color: The tag's colour; the letters are black or white, whichever is read better.
    """
    from PIL import Image, ImageDraw

    pad = max(2, size // 5)
    left, top, right, bottom = font(size).getbbox(text)
    image = Image.new("RGB", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad), color)
    bright = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 150
    ink = (0, 0, 0) if bright else (255, 255, 255)
    ImageDraw.Draw(image).text((pad - left, pad - top), text, fill=ink, font=font(size))
    picture = np.asarray(image)
    picture.setflags(write=False)
    return picture


@lru_cache(maxsize=16)
def font(size: int) -> FreeTypeFont:
    """Return a font in a size in pixels."""
    from PIL import ImageFont

    # Matplotlib comes with supervision and carries a font that knows many scripts; Pillow's own
    # knows little beyond ASCII.
    spec = find_spec("matplotlib")
    for home in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(home) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    fallback: Any = ImageFont.load_default(size)
    return fallback


def wrap(text: str, width: int, size: int) -> list[str]:
    """Break text into lines that fit a width; a word that is too long is broken as well.

    Args:
        text: The words.
        width: Pixels.
        size: Height of the letters, in pixels.
    """
    face = font(size)
    lines: list[str] = []
    for paragraph in text.splitlines() or [""]:
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if face.getlength(longer) <= width:
                line = longer
                continue
            if line:
                lines.append(line)
            line = word
            while face.getlength(line) > width and len(line) > 1:
                fits = next(n for n in range(len(line) - 1, 0, -1)
                            if n == 1 or face.getlength(line[:n]) <= width)  # fmt: skip
                lines.append(line[:fits])
                line = line[fits:]
        lines.append(line)
    return lines


@dataclass(frozen=True)
class Entry:
    """Words on a panel: a coloured square, and lines beside it."""

    color: RGB | None
    lines: tuple[tuple[str, RGB], ...]


def panel(width: int, size: int, entries: Sequence[Entry], height: int | None = None) -> Picture:
    """Draw entries under each other on paper, as tall as they need or as asked for."""
    from PIL import Image, ImageDraw

    step, pad = round(size * 1.3), max(4, size // 2)
    needed = 2 * pad + sum(step * len(entry.lines) + pad // 2 for entry in entries)
    image = Image.new("RGB", (width, needed if height is None else height), PAPER)
    draw = ImageDraw.Draw(image)
    y = pad
    for entry in entries:
        if entry.color is not None:
            draw.rectangle((pad, y + 1, pad + size - 1, y + size), fill=entry.color)
        for line, ink in entry.lines:
            draw.text((2 * pad + size, y), line, fill=ink, font=font(size))
            y += step
        y += pad // 2
    return np.asarray(image).copy()


def paragraph(text: str, width: int, size: int) -> Picture:
    """Draw words on paper, wrapped, without any margin but below.

    Args:
        text: The words.
        width: Pixels.
        size: Height of the letters, in pixels.
    """
    from PIL import Image, ImageDraw

    lines, step = wrap(text, width - 4, size), round(size * 1.3)
    image = Image.new("RGB", (width, step * len(lines) + size // 2), PAPER)
    draw = ImageDraw.Draw(image)
    for at, line in enumerate(lines):
        draw.text((2, at * step), line, fill=INK, font=font(size))
    return np.asarray(image).copy()


#: Words beside an object are cut after so many lines.
CALLOUT_LINES = 5


@lru_cache(maxsize=128)
def callout(name: str, text: str, width: int, size: int, color: RGB) -> npt.NDArray[np.uint8]:
    """Draw words to stand in a picture: the object's name in its colour, the words beside it.

    Args:
        name: The object's name.
        text: The words; what does not fit into ``CALLOUT_LINES`` lines ends in dots.
        width: Pixels that a line of words may have.
        size: Height of the letters, in pixels.
        color: The object's colour.

    Returns:
        ``(H, W, 4)`` uint8 RGBA; read-only.
    """
    from PIL import Image, ImageDraw

    lines = wrap(text, width, size)
    if len(lines) > CALLOUT_LINES:
        lines = lines[:CALLOUT_LINES]
        while lines[-1] and font(size).getlength(f"{lines[-1]} …") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] = f"{lines[-1].rstrip(' ,.;')} …"
    face, step, pad = font(size), round(size * 1.25), max(3, size // 3)
    chip = round(face.getlength(name)) + 2 * pad
    wide = chip + round(max(face.getlength(line) for line in lines)) + 2 * pad
    high = step * len(lines) + pad
    # Drawn large and made small: Pillow's own shapes have hard edges.
    large = Image.new("RGBA", (4 * wide, 4 * high), (0, 0, 0, 0))
    shapes = ImageDraw.Draw(large)
    round_off = 4 * max(2, size // 4)
    shapes.rounded_rectangle((0, 0, 4 * wide - 1, 4 * high - 1), round_off, fill=(*PAPER, 232))
    shapes.rounded_rectangle((0, 0, 4 * chip, 4 * high - 1), round_off, fill=(*color, 255))
    shapes.rectangle((4 * chip - round_off, 0, 4 * chip, 4 * high - 1), fill=(*color, 255))
    shapes.rounded_rectangle(
        (0, 0, 4 * wide - 1, 4 * high - 1), round_off, outline=(*color, 255), width=4
    )
    image = large.resize((wide, high), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    bright = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 150
    ink = (0, 0, 0, 255) if bright else (255, 255, 255, 255)
    draw.text((pad, pad // 2), name, fill=ink, font=face)
    for at, line in enumerate(lines):
        draw.text((chip + pad, pad // 2 + at * step), line, fill=(*INK, 255), font=face)
    picture = np.asarray(image).copy()
    picture.setflags(write=False)
    return picture
