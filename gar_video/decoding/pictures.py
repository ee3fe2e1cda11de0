"""Photographs and folders of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gar_video.errors import VideoError

Image = npt.NDArray[np.uint8]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
_MAGIC = (
    (0, b"\xff\xd8\xff"),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF8"),
    (0, b"BM"),
    (0, b"II*\0"),  # TIFF
    (0, b"MM\0*"),
    (0, b"P5"),
    (0, b"P6"),
    (8, b"WEBP"),
    (4, b"ftypavif"),
    (4, b"ftypheic"),
    (4, b"ftypmif1"),
)
_EXIF_ORIENTATION = 0x0112

# What damaged pictures raise. ImportError: other packages put an opener of their own in Pillow's
# place, which asks for decoders that are not installed.
_BROKEN = (OSError, ValueError, SyntaxError, ImportError)


def is_picture(path: Path) -> bool:
    """Whether the file's first bytes are those of a picture; animations are videos.

    Raises:
        VideoError: If it is an animation that cannot be decoded.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if path.suffix.lower() in (".mjpeg", ".mjpg"):
        return False  # a stream of JPEGs begins like one
    if not any(head[at : at + len(magic)] == magic for at, magic in _MAGIC):
        return False
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            animated = frames > 1 and picture.format in ("GIF", "PNG", "WEBP")
            kind = picture.format
    except _BROKEN:
        return True  # damaged: load() says how
    if animated and kind == "WEBP":
        raise VideoError(
            f"{path} is an animated WebP, which cannot be decoded here; convert it to GIF or MP4"
        )
    return not animated


def load(path: Path) -> Image:
    """Read a picture as ``(H, W, 3)`` uint8 RGB, turned upright by its EXIF orientation.

    Gray is repeated, 16 bits become 8, CMYK is converted, and an alpha channel is dropped.

    Raises:
        VideoError: If the picture cannot be read, or is cut off.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    try:
        with Pillow.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip instead of scale
                levels = np.clip(np.asarray(upright).astype(np.int64) >> 8, 0, 255)
                return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)
            if upright.mode.startswith("F"):
                raise ValueError("its pixels are floating-point numbers")
            return np.array(upright.convert("RGB"))
    except (*_BROKEN, Pillow.DecompressionBombError) as error:
        raise VideoError(
            f"{path} is no picture that can be read ({_words(error)}); "
            "expected a whole JPEG, PNG, WebP, BMP or TIFF file"
        ) from None


def size_of(path: Path) -> tuple[int, int]:
    """Return the upright ``(width, height)`` of a picture from its header alone.

    Raises:
        VideoError: If the file is no picture.
    """
    from PIL import Image as Pillow

    try:
        with Pillow.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
    except (*_BROKEN, Pillow.DecompressionBombError) as error:
        raise VideoError(
            f"{path} is no picture that can be read ({_words(error)}); remove it from the folder "
            "or replace it"
        ) from None
    return (height, width) if turned else (width, height)


def in_folder(folder: Path) -> list[Path]:
    """List a folder's pictures in natural order: ``2.jpg`` before ``10.jpg``.

    Hidden files, sub-folders and files of other kinds are left aside.

    Raises:
        VideoError: If there is none, or two files are named alike but for their suffix.
    """
    try:
        entries = [p for p in folder.iterdir() if not p.name.startswith(".")]
    except OSError as error:
        raise VideoError(f"{folder} cannot be read: {error.strerror or error}") from None
    paths = [p for p in entries if p.suffix.lower() in SUFFIXES and p.is_file()]
    if not paths:
        held = f"{len(entries)} other entries" if entries else "nothing"
        raise VideoError(
            f"the folder {folder} holds no pictures ({held}); expected JPEG, PNG, WebP, BMP or "
            "TIFF files, one a frame"
        )
    stems: dict[str, Path] = {}
    for path in paths:
        twin = stems.setdefault(path.stem, path)
        if twin is not path:
            raise VideoError(
                f"the folder {folder} holds both {twin.name} and {path.name}; expected one picture "
                "a frame: keep masks and frames in folders of their own"
            )
    return sorted(paths, key=lambda p: natural_key(p.name))


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Return a sorting key that compares runs of digits as numbers."""
    parts = re.split(r"([0-9]+)", name.lower())
    # A number sorts before a word at the same place; ties go by the name itself.
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts if p], name


class PictureReader:
    """Read the frames of a list of pictures that all have one size.

    Args:
        paths: The pictures, one a frame.

    Raises:
        VideoError: If one is no picture or its size differs from the first one's.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.resolution_wh = size_of(self.paths[0])
        for path in self.paths[1:]:
            size = size_of(path)
            if size != self.resolution_wh:
                width, height = self.resolution_wh
                raise VideoError(
                    f"{path} is {size[0]}x{size[1]} but {self.paths[0].name} is {width}x{height}; "
                    "expected pictures of one size"
                )

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        """Yield the pictures of ``indices``, each ``(H, W, 3)`` uint8 RGB.

        Raises:
            VideoError: If a picture is damaged.
        """
        for index in indices:
            image = load(self.paths[index])
            if (image.shape[1], image.shape[0]) != self.resolution_wh:
                raise VideoError(
                    f"{self.paths[index]} changed its size since the folder was opened"
                )
            yield image

    def close(self) -> None:
        """Do nothing: no file stays open."""


class ArrayReader:
    """Hand out frames of a ``(T, H, W, 3)`` uint8 array, each a copy that may be drawn on."""

    def __init__(self, frames: Image) -> None:
        self.frames = frames
        self.resolution_wh = (int(frames.shape[2]), int(frames.shape[1]))

    def read(self, indices: Sequence[int]) -> Iterator[Image]:
        """Yield copies of the frames ``indices``."""
        for index in indices:
            yield np.array(self.frames[index], order="C")

    def close(self) -> None:
        """Do nothing: the array is the caller's."""


def _words(error: Exception) -> str:
    """Return an error's first line without the file's name in it."""
    text = (str(error).splitlines() or [""])[0]
    return "cannot identify its format" if "cannot identify" in text else text.rstrip(".")
